//! What the runtime is asked to do.

use crate::diff::Subject;
use crate::draft::{Comment, Draft};
use crate::fleet::{HostId, SessionKey};
use crate::log::Source;
use crate::pull::PullKey;
use pilothouse_terminal::Copy;

/// Names one use of one slot. Answers under a ticket that is no longer the slot's are late and dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    /// What for.
    pub slot: Slot,
    /// Rises with each use of any slot.
    pub generation: u64,
}

/// What a stream or call is for. All but the last hold one stream each: opening another ends the former.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// The terminal beside the list.
    Preview,
    /// The terminal in the whole window.
    Attach,
    /// The log in the whole window.
    Log,
    /// The changes in the whole window.
    Diff,
    /// What differs between two revisions, to carry comments along.
    Carry,
    /// A call; any number.
    Call,
}

/// Something to do in the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// End the console.
    Quit,
    /// Stop the process, as Ctrl-Z does elsewhere; draw everything when it goes on.
    Background,
    /// Draw everything again.
    Redraw,
    /// Tell a person who looks elsewhere: whose turn it has become and why, a line each. Never empty, and without the bell.
    Alert(Vec<String>),
    /// Open a terminal and keep it open, through restarts of its host.
    OpenTerminal {
        /// Of the preview or of the attached terminal.
        ticket: Ticket,
        /// Whose.
        session: SessionKey,
        /// Never write.
        observe: bool,
        /// Columns and rows of the window.
        size: (u16, u16),
        /// Rows of history wanted.
        scrollback: u32,
        /// Wait so many milliseconds first; another one may be wanted by then.
        delay: u64,
    },
    /// End the slot's stream.
    Close(Slot),
    /// Type into the terminal.
    Input(Ticket, Vec<u8>),
    /// The writer's window has another size: columns, rows.
    Resize(Ticket, (u16, u16)),
    /// Become the writer.
    Take(Ticket),
    /// Ring.
    Bell,
    /// Give the window this title; empty: the one that it had.
    Title(String),
    /// Put this on the clipboard.
    Copy(Copy),
    /// Read what was changed.
    OpenDiff {
        /// Of the diff.
        ticket: Ticket,
        /// Whose.
        subject: Subject,
    },
    /// Read a log.
    OpenLog {
        /// Of the log.
        ticket: Ticket,
        /// Which.
        source: Source,
    },
    /// Ask a host.
    Call(Ticket, HostId, Call),
    /// Keep what is drafted on a pull request, so that nothing but its sending or discarding loses it; an empty draft is none.
    KeepDraft(PullKey, Box<Draft>),
    /// Keep the new session that is being filled in, its title and its task; both empty: there is none.
    KeepForm(String, String),
}

/// What a host is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Create a session.
    Create {
        /// In this environment.
        environment: String,
        /// Empty: made from the task.
        title: String,
        /// For the agent.
        task: String,
    },
    /// Send a message to this session.
    Send(String, String),
    /// Press these keys for this session's agent.
    Press(String, Vec<String>),
    /// Delete this session.
    Delete(String),
    /// Restart this session.
    Restart(String),
    /// Put this session to disk.
    Suspend(String),
    /// Bring this session back.
    Resume(String),
    /// Make another session from this one.
    Fork(String),
    /// Build this environment.
    Build(String),
    /// Read a pull request with all that was said.
    ReadPull(String),
    /// Review a pull request.
    Review {
        /// `REPOSITORY#NUMBER`.
        id: String,
        /// The commit that was looked at.
        head: String,
        /// It is known to be an earlier revision's.
        older: bool,
        /// comment, approve or request-changes.
        verdict: &'static str,
        /// In words; may be empty with approve, or with comments.
        body: String,
        /// On lines and in threads.
        comments: Vec<Comment>,
    },
    /// Settle a thread of a pull request, or take that back.
    Resolve {
        /// `REPOSITORY#NUMBER`.
        id: String,
        /// Its id.
        thread: u64,
        /// Whether it is settled.
        resolved: bool,
    },
    /// Run a check again.
    Rerun {
        /// Of this repository.
        repository: String,
        /// Of this commit.
        commit: String,
        /// Its name.
        name: String,
    },
    /// Merge a pull request.
    Merge {
        /// `REPOSITORY#NUMBER`.
        id: String,
        /// The commit that was looked at.
        head: String,
    },
}

impl Call {
    /// Whether it does once more what the other one does: the same kind of thing to the same object. One object takes one
    /// message and one verdict at a time, whatever they say.
    #[must_use]
    pub fn repeats(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Send(id, _), Self::Send(of, _))
            | (Self::Review { id, .. }, Self::Review { id: of, .. })
            | (Self::Merge { id, .. }, Self::Merge { id: of, .. }) => id == of,
            // A key may be pressed twice.
            (Self::Press(..), _) => false,
            _ => self == other,
        }
    }
}
