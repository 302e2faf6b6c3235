//! What a supervisor is told, and by whom it is answered. Whoever tells it something needs no more of it than this.

use hostd_core::{
    Actor, Input,
    session::{NewFork, Observation},
};
use tokio::{sync::oneshot, time::Instant};

use super::error::FleetError;

/// What becomes of the VMs of sessions when hostd is stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AtStop {
    /// They run on, and the next hostd takes them over.
    #[default]
    Leave,
    /// They are put to disk, and the next hostd resumes them.
    Suspend,
    /// They are powered off.
    End,
}

impl AtStop {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Leave, Self::Suspend, Self::End];

    /// The word of the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Leave => "leave",
            Self::Suspend => "suspend",
            Self::End => "end",
        }
    }
}

/// Who is told what became of a command.
pub(super) type Answer = oneshot::Sender<Result<(), FleetError>>;

/// What a supervisor is asked to do, in the order in which it is asked. It listens to commands at any time, also while the
/// store cannot be written and reports have to wait.
pub(super) enum Command {
    /// A command of the machine.
    Do {
        /// Actor on whose behalf the command is given.
        actor: Actor,
        /// What the session is commanded to do.
        input: Input,
        /// Is told when the command is committed, or why it is not; for a deletion when all of the session is gone.
        answer: Answer,
    },
    /// A person wants a fork.
    Fork {
        /// The fork that is to be made.
        new: NewFork,
        /// Number of the checkpoint that it is made from; None: from the session as it is.
        from: Option<u64>,
        /// Is told when both sessions run their own ways, or why there is no fork.
        answer: Answer,
    },
    /// A person wants a checkpoint.
    Checkpoint {
        /// Actor on whose behalf it is taken.
        actor: Actor,
        /// Is told when it is there and the session runs on, or why there is none.
        answer: Answer,
    },
    /// A person has the session go back to a checkpoint.
    Restore {
        /// Number of the checkpoint.
        number: u64,
        /// Actor on whose behalf the command is given.
        actor: Actor,
        /// Is told when the session is as it was, suspended and wanted, or why it is not.
        answer: Answer,
    },
    /// hostd ends.
    Stop {
        /// When the session is powered off if it is to be on disk and is not.
        until: Instant,
        /// What becomes of its VM.
        vms: AtStop,
    },
}

/// What a supervisor is told of that has happened. Reports are taken one after the other, each when the one before is
/// committed.
pub(super) enum Report {
    /// Something happened in the guest.
    Guest {
        /// Generation of the VM.
        generation: u64,
        /// The input that says what happened.
        input: Input,
        /// Number of the guest's event.
        sequence: u64,
        /// Is told when the event is committed; dropped where it is not.
        committed: oneshot::Sender<()>,
    },
    /// There is a place to start in; held until the session runs.
    Admitted(Place),
    /// There is no place, and why: one is waited for, or there will never be one.
    NoPlace(Input),
    /// What became of a message: [`Input::Typed`], [`Input::Read`] or [`Input::NotTyped`].
    Typed(Input),
    /// The forge was read.
    Observed {
        /// Number of the reading.
        reading: u64,
        /// The session's pull request, where it has one.
        seen: Option<Box<Observation>>,
    },
    /// An answer was handed over, or nobody waited for it.
    Delivered {
        /// Generation of the VM.
        generation: u64,
        /// Whether somebody waited for the answer.
        known: bool,
    },
    /// The link stayed down.
    LinkLost {
        /// Generation of the VM.
        generation: u64,
    },
}

/// A place to start in on this host. What is held for it, a processor and memory or a warm VM that has both, is given back when
/// it is dropped.
pub(super) struct Place(#[expect(dead_code, reason = "held, not read")] Box<dyn Send + Sync>);

impl Place {
    /// A place for as long as this is held.
    pub(super) fn holding(held: impl Send + Sync + 'static) -> Self {
        Self(Box::new(held))
    }
}
