//! What a supervisor is told, and by whom it is answered. Whoever tells it something needs no more of it than this.

use hostd_core::{
    Actor, Input,
    session::{NewFork, Observation},
};
use tokio::{sync::oneshot, time::Instant};

use super::FleetError;

/// Who is told what became of a command.
pub(super) type Answer = oneshot::Sender<Result<(), FleetError>>;

/// What a supervisor is told from outside.
pub(super) enum Message {
    /// A command.
    Command {
        /// On whose behalf.
        actor: Actor,
        /// Which.
        input: Input,
        /// Told when it is committed, or why not; of a deletion: when all is gone.
        answer: Answer,
    },
    /// A person wants a fork.
    Fork {
        /// What it is to be.
        new: NewFork,
        /// Told when both run their own ways, or why not.
        answer: Answer,
    },
    /// Something happened in the guest.
    Report {
        /// What.
        input: Input,
        /// Of the guest's event.
        sequence: u64,
        /// Told when it is committed.
        done: oneshot::Sender<()>,
    },
    /// There is a place to start in; held until it runs.
    Admitted(Place),
    /// There is none, and why; waited for, or never to be.
    NoPlace(Input),
    /// What became of a message: [`Input::Typed`], [`Input::Read`] or [`Input::NotTyped`].
    Typed(Input),
    /// The forge was read.
    Observed {
        /// Which reading it was.
        reading: u64,
        /// The session's pull request, where it has one.
        seen: Option<Box<Observation>>,
    },
    /// An answer was handed over, or nobody waited for it.
    Told {
        /// In which VM.
        generation: u64,
        /// Somebody did.
        known: bool,
    },
    /// The link stayed down.
    LinkLost {
        /// Of which VM.
        generation: u64,
    },
    /// hostd ends: put it to disk.
    Stop {
        /// What is not there by then is powered off.
        until: Instant,
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
