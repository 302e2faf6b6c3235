//! The commands: everything a person can ask of the console. Keymaps bind keys to them, the palette and the help are made
//! from them.

/// Whether a command asks before it ends or removes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Danger {
    /// The command ends or removes nothing.
    Safe,
    /// The command asks before it does anything.
    Asks,
}

macro_rules! commands {
    ($($variant:ident $name:literal $doc:literal $group:ident $danger:ident,)+) => {
        /// A named command.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Command { $(#[doc = $doc] $variant,)+ }

        impl Command {
            /// Every command, in the order of the help.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The command's name, as keymaps and the palette have it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What the command does; one line.
            #[must_use]
            pub fn doc(self) -> &'static str {
                match self { $(Self::$variant => $doc,)+ }
            }

            /// Chapter of the help that lists the command.
            #[must_use]
            pub fn group(self) -> Group {
                match self { $(Self::$variant => Group::$group,)+ }
            }

            /// Whether the command asks before it ends or removes something.
            #[must_use]
            pub fn danger(self) -> Danger {
                match self { $(Self::$variant => Danger::$danger,)+ }
            }
        }
    };
}

/// A chapter of the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Commands that hold everywhere.
    Everywhere,
    /// Commands in lists.
    Lists,
    /// Commands for the selected session.
    Session,
    /// Commands for the selected pull request.
    Review,
    /// Commands for environments.
    Environments,
    /// Commands among changes.
    Diff,
    /// Commands in an attached terminal.
    Attached,
    /// Commands in dialogs and text fields.
    Dialogs,
}

impl Group {
    /// Every chapter, in the order of the help.
    pub const ALL: [Self; 8] = [
        Self::Session,
        Self::Review,
        Self::Lists,
        Self::Everywhere,
        Self::Environments,
        Self::Diff,
        Self::Attached,
        Self::Dialogs,
    ];

    /// Heading of the chapter.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Everywhere => "Everywhere",
            Self::Lists => "Lists",
            Self::Session => "The selected session",
            Self::Review => "The selected pull request",
            Self::Environments => "Environments",
            Self::Diff => "Among changes",
            Self::Attached => "In an attached terminal",
            Self::Dialogs => "Dialogs and text",
        }
    }
}

commands! {
    Attach "attach" "Attach: the session's terminal in the whole window" Session Safe,
    Observe "observe" "Attach to watch only; nothing typed reaches the session" Session Safe,
    New "new" "Create a session" Session Safe,
    Message "message" "Send the agent a message: typed into its terminal" Session Safe,
    Keys "keys" "Press keys for the agent, without its terminal" Session Safe,
    Allow "allow" "Allow what the agent's program needs a permission for" Session Safe,
    Deny "deny" "Deny it; the agent goes on without, or asks what to do instead" Session Safe,
    Answer1 "answer-1" "Send the first answer that the agent offers" Session Safe,
    Answer2 "answer-2" "Send the second answer that the agent offers" Session Safe,
    Answer3 "answer-3" "Send the third answer that the agent offers" Session Safe,
    Answer4 "answer-4" "Send the fourth answer that the agent offers" Session Safe,
    Answer5 "answer-5" "Send the fifth answer that the agent offers" Session Safe,
    Answer6 "answer-6" "Send the sixth answer that the agent offers" Session Safe,
    Answer7 "answer-7" "Send the seventh answer that the agent offers" Session Safe,
    Answer8 "answer-8" "Send the eighth answer that the agent offers" Session Safe,
    Answer9 "answer-9" "Send the ninth answer that the agent offers" Session Safe,
    Answer10 "answer-10" "Send the tenth answer that the agent offers" Session Safe,
    Answers "answers" "Find one of the answers that the agent offers, by typing" Session Safe,
    Reach "reach" "Let the session reach what it was refused, it alone or by its recipe" Session Safe,
    Restart "restart" "Boot a stopped or crashed session again from its disk" Session Asks,
    Checkpoint "checkpoint" "Take a checkpoint, to which the session can go back" Session Safe,
    GoBack "go-back" "Have the session go back to its last checkpoint" Session Asks,
    Suspend "suspend" "Suspend the session to disk, or resume a suspended one" Session Safe,
    Fork "fork" "Fork: another session from this one as it is now" Session Safe,
    Delete "delete" "Delete the session, its VM and its disk" Session Asks,
    Log "log" "Show all that is kept of the agent's terminal" Session Safe,
    SerialLog "serial-log" "Show the serial console of the session's VM" Session Safe,
    Diff "diff" "Show what the session or the pull request changed" Session Safe,
    Story "story" "Show what happened to the session, when and by whom, or its terminal" Session Safe,
    Preview "preview" "Show or hide the preview beside the list" Session Safe,

    Approve "approve" "Approve the revision that was shown, after a text" Review Safe,
    RequestChanges "request-changes" "Say what must change before a merge" Review Safe,
    Comment "comment" "Comment on the pull request" Review Safe,
    DiscardDraft "discard-draft" "Discard the comments that were drafted and not sent" Review Asks,
    CheckLog "check-log" "Show what the selected check prints, live" Review Safe,
    Rerun "rerun" "Run the selected check again" Review Safe,
    NextCheck "next-check" "Select the next check" Review Safe,
    PreviousCheck "previous-check" "Select the check before" Review Safe,
    ShowNewer "show-newer" "Show what changed since the revision that you have seen" Review Safe,
    Merge "merge" "Merge the pull request, as its repository says" Review Asks,
    Close "close" "Close the pull request, or open a closed one again" Review Asks,
    Closed "closed" "Show closed pull requests, too, or only open ones" Review Safe,

    Up "up" "Move up" Lists Safe,
    Down "down" "Move down" Lists Safe,
    PageUp "page-up" "Move up a page" Lists Safe,
    PageDown "page-down" "Move down a page" Lists Safe,
    Top "top" "Move to the first" Lists Safe,
    Bottom "bottom" "Move to the last" Lists Safe,
    DetailsDown "details-down" "Scroll down in all that is known of the selected one" Lists Safe,
    DetailsUp "details-up" "Scroll up in it; a session's terminal is above its beginning" Lists Safe,
    DetailsPageDown "details-page-down" "Scroll down a page in it" Lists Safe,
    DetailsPageUp "details-page-up" "Scroll up a page in it" Lists Safe,
    NextGroup "next-group" "Move to the next group" Lists Safe,
    PreviousGroup "previous-group" "Move to the previous group" Lists Safe,
    NextYours "next-yours" "Move to the next session that waits for you" Lists Safe,
    Filter "filter" "Show only what matches" Lists Safe,
    FilterDone "filter-done" "Keep the filter and go back to the list" Lists Safe,
    FilterClear "filter-clear" "Show everything again" Lists Safe,

    ShowSessions "sessions" "Show the sessions" Everywhere Safe,
    ShowReview "review" "Show the queue of pull requests" Everywhere Safe,
    ShowHosts "hosts" "Show the hosts" Everywhere Safe,
    ShowEnvironments "environments" "Show the environments" Everywhere Safe,
    ShowCrashes "crashes" "Show the crashed sessions" Everywhere Safe,
    NextView "next-view" "Show the next list" Everywhere Safe,
    PreviousView "previous-view" "Show the previous list" Everywhere Safe,
    Palette "palette" "Find a command by its name" Everywhere Safe,
    Help "help" "Show all keys, those of what is shown first" Everywhere Safe,
    Notices "notices" "Show what was told lately" Everywhere Safe,
    Back "back" "Close what is open on top" Everywhere Safe,
    Redraw "redraw" "Draw the whole window again" Everywhere Safe,
    Background "background" "Stop the console; `fg` in the shell brings it back" Everywhere Safe,
    Quit "quit" "Leave the console; the sessions go on" Everywhere Safe,

    CommentLine "comment-line" "Draft a comment on the selected line of a pull request" Diff Safe,
    Reply "reply" "Draft an answer in the selected thread" Diff Safe,
    Resolve "resolve" "Settle the selected thread, or take that back" Diff Safe,
    Wrap "wrap" "Let long lines go on in the next row, or show each in one" Diff Safe,
    PanLeft "pan-left" "Show what long lines have further left" Diff Safe,
    PanRight "pan-right" "Show what long lines have further right" Diff Safe,
    NextHunk "next-hunk" "Go to the next change" Diff Safe,
    PreviousHunk "previous-hunk" "Go to the change before" Diff Safe,
    NextFile "next-file" "Go to the next file" Diff Safe,
    PreviousFile "previous-file" "Go to the file before" Diff Safe,

    Build "build" "Build the selected environment" Environments Safe,

    Detach "detach" "Go back to the list; the session goes on" Attached Safe,
    Take "take" "Become the writer: what you type reaches the session" Attached Safe,
    Copy "copy" "Copy what the program offers for the clipboard" Attached Safe,
    SendPrefix "send-prefix" "Send the chord's first key to the program" Attached Safe,
    Scroll "scroll" "Look at the terminal's history" Attached Safe,
    ScrollUp "scroll-up" "One line up in the history" Attached Safe,
    ScrollDown "scroll-down" "One line down in the history" Attached Safe,
    ScrollPageUp "scroll-page-up" "One page up in the history" Attached Safe,
    ScrollPageDown "scroll-page-down" "One page down in the history" Attached Safe,
    ScrollTop "scroll-top" "To the beginning of the history" Attached Safe,
    ScrollBottom "scroll-bottom" "To the end of the history, and back to the live screen" Attached Safe,
    ScrollLeave "scroll-leave" "Back to the live screen" Attached Safe,

    Submit "submit" "Send what is filled in" Dialogs Safe,
    TakeAlong "take-along" "Take the drafted comments along with the verdict, or leave them" Dialogs Safe,
    NextField "next-field" "Go to the next field" Dialogs Safe,
    PreviousField "previous-field" "Go to the previous field" Dialogs Safe,
    NextChoice "next-choice" "Choose the next" Dialogs Safe,
    PreviousChoice "previous-choice" "Choose the previous" Dialogs Safe,
    Yes "yes" "Yes, do it" Dialogs Safe,
    No "no" "No, leave it" Dialogs Safe,
}

impl Command {
    /// The command of this name; None: there is none.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|command| command.name() == name)
    }

    /// Number of the offered answer that the command sends, from 0; None: it sends none.
    #[must_use]
    pub fn answer(self) -> Option<usize> {
        let first = Self::Answer1 as usize;
        (self as usize).checked_sub(first).filter(|n| *n < 10)
    }

    /// Whether the palette offers the command: moves and parts of dialogs make sense by key alone.
    #[must_use]
    pub fn in_palette(self) -> bool {
        match self.group() {
            Group::Attached | Group::Dialogs | Group::Diff => false,
            Group::Lists => matches!(self, Self::NextYours | Self::Filter | Self::FilterClear),
            Group::Session => self.answer().is_none(),
            Group::Everywhere => !matches!(self, Self::Back | Self::Palette | Self::NextView | Self::PreviousView),
            Group::Review => !matches!(self, Self::NextCheck | Self::PreviousCheck),
            Group::Environments => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_docs_are_one_line() {
        let mut names: Vec<_> = Command::ALL.iter().map(|c| c.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Command::ALL.len());
        for command in Command::ALL {
            assert_eq!(Command::by_name(command.name()), Some(*command));
            assert!(!command.doc().contains('\n') && command.doc().len() < 70, "{command:?}");
        }
    }

    #[test]
    fn answers_are_numbered() {
        assert_eq!(Command::Answer1.answer(), Some(0));
        assert_eq!(Command::Answer10.answer(), Some(9));
        assert_eq!(Command::Answers.answer(), None);
        assert_eq!(Command::Message.answer(), None);
    }
}
