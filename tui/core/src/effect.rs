//! What the runtime is asked to do.

use pilothouse_terminal::Copy;

use crate::{
    diff::Subject,
    draft::{Comment, Draft},
    fleet::SessionKey,
    host_id::HostId,
    log::Source,
    pull::PullKey,
    ticket::{Slot, Ticket},
};

/// Something for the runtime to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// End the console.
    Quit,
    /// Stop the process, as Ctrl-Z does elsewhere; draw everything when it goes on.
    Background,
    /// Draw the whole window again.
    Redraw,
    /// Tell a person who looks elsewhere whose turn it has become and why, a line each. Never empty, and without the bell.
    Alert(Vec<String>),
    /// Open a terminal and keep it open, through restarts of its host.
    OpenTerminal {
        /// Ticket of the preview or of the attached terminal.
        ticket: Ticket,
        /// The session whose terminal is opened.
        session: SessionKey,
        /// Whether this console is never to become the writer.
        observe: bool,
        /// Size of the window in columns and rows.
        size: (u16, u16),
        /// Rows of history that are wanted.
        scrollback: u32,
        /// Milliseconds to wait first; another terminal may be wanted by then.
        delay: u64,
    },
    /// End the stream of this slot.
    Close(Slot),
    /// Type these bytes into the terminal.
    Input(Ticket, Vec<u8>),
    /// Tell that the writer's window has another size: columns and rows.
    Resize(Ticket, (u16, u16)),
    /// Become the terminal's writer.
    Take(Ticket),
    /// Ring the bell.
    Bell,
    /// Give the window this title; empty: the one that it had.
    Title(String),
    /// Put this text on the clipboard.
    Copy(Copy),
    /// Read a diff.
    OpenDiff {
        /// Ticket of the diff.
        ticket: Ticket,
        /// Subject of the diff.
        subject: Subject,
    },
    /// Read a log.
    OpenLog {
        /// Ticket of the log.
        ticket: Ticket,
        /// The log that is read.
        source: Source,
    },
    /// Read a session's story, its newest page first, and go on to tell what happens.
    OpenStory {
        /// Ticket of the story.
        ticket: Ticket,
        /// The session whose story is read.
        session: SessionKey,
        /// Milliseconds to wait first; another story may be wanted by then.
        delay: u64,
    },
    /// Ask this host this question.
    Call(Ticket, HostId, Call),
    /// Keep what is drafted on a pull request, so that nothing but its sending or discarding loses it; an empty draft is
    /// removed.
    KeepDraft(PullKey, Box<Draft>),
    /// Keep title and task of the new session that is being filled in; both empty: there is none.
    KeepForm(String, String),
}

/// A question to a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Create a session.
    Create {
        /// Name of the environment.
        environment: String,
        /// Title of the session; empty: made from the task.
        title: String,
        /// Task of the session's agent.
        task: String,
    },
    /// Send this message to the session of this id.
    Send(String, String),
    /// Press these keys for the agent of the session of this id.
    Press(String, Vec<String>),
    /// Allow or deny what the program of a session's agent asks a permission for.
    Answer {
        /// Id of the session.
        id: String,
        /// Id of the permission, as it was shown.
        permission: String,
        /// Whether the permission is given.
        allow: bool,
    },
    /// Let a session reach a destination that it was refused.
    Allow {
        /// Id of the session.
        id: String,
        /// The destination: `HOST:PORT`.
        destination: String,
        /// Whether it may lie at a private address.
        private: bool,
        /// Whether the recipe of its environment gets the destination, too.
        recipe: bool,
    },
    /// Delete the session of this id.
    Delete(String),
    /// Restart the session of this id.
    Restart(String),
    /// Have the session of this id go back to its checkpoint of this number.
    GoBack(String, u64),
    /// Take a checkpoint of the session of this id.
    Checkpoint(String),
    /// Suspend the session of this id.
    Suspend(String),
    /// Resume the session of this id.
    Resume(String),
    /// Fork the session of this id.
    Fork(String),
    /// Build the environment of this name.
    Build(String),
    /// Read which destinations this session was refused.
    ReadRefused(String),
    /// Read the page of the story of the session of this id that is before the event of this number.
    ReadStory(String, i64),
    /// Read the pull request of this name, with all that was said.
    ReadPull(String),
    /// Give a review of a pull request.
    Review {
        /// Name of the pull request: `REPOSITORY#NUMBER`.
        id: String,
        /// Id of the commit that was looked at.
        head: String,
        /// Whether that commit is known to be an earlier revision's.
        older: bool,
        /// Word of the verdict: comment, approve or request-changes.
        verdict: &'static str,
        /// Text of the verdict; may be empty with approve, or with comments.
        body: String,
        /// Comments on lines and in threads.
        comments: Vec<Comment>,
    },
    /// Mark a thread of a pull request as resolved, or as open again.
    Resolve {
        /// Name of the pull request: `REPOSITORY#NUMBER`.
        id: String,
        /// Id of the thread.
        thread: u64,
        /// Whether the thread is resolved from now on.
        resolved: bool,
    },
    /// Run a check again.
    Rerun {
        /// Name of the check's repository.
        repository: String,
        /// Id of the commit that is checked.
        commit: String,
        /// Name of the check.
        name: String,
    },
    /// Close a pull request.
    Close(String),
    /// Open a closed pull request again.
    Reopen(String),
    /// Read the closed pull requests.
    ReadClosed,
    /// Merge a pull request.
    Merge {
        /// Name of the pull request: `REPOSITORY#NUMBER`.
        id: String,
        /// Id of the commit that was looked at.
        head: String,
    },
}

impl Call {
    /// Whether the call does once more what the other one does: the same kind of thing to the same object. One object takes one
    /// message and one verdict at a time, whatever they say.
    #[must_use]
    pub fn repeats(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Send(id, _), Self::Send(of, _))
            | (Self::Answer { permission: id, .. }, Self::Answer { permission: of, .. })
            | (Self::Review { id, .. }, Self::Review { id: of, .. })
            | (Self::Merge { id, .. }, Self::Merge { id: of, .. }) => id == of,
            // A key may be pressed twice.
            (Self::Press(..), _) => false,
            _ => self == other,
        }
    }
}
