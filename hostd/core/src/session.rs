//! The session machine: one agent's task and its microVM, from dispatch to deletion.
//!
//! [`step`] is total and pure. What has to be done in the world comes back as [`Effect`]s, which the session's supervisor
//! carries out after state and effects are committed together; what came of it goes in as the next [`Input`].
//!
//! ```text
//!            Admitted           Started                Suspend            Suspended
//!  queued ───────────▶ starting ───────▶ running ───────────▶ suspending ───────────▶ suspended
//!    ▲                    │                │ ▲  ▲                 │                      │ ▲
//!    │                    │ StartFailed    │ │  └── SuspendFailed ┘               Resume │ │ ResumeFailed
//!    │                    │ VmEnded        │ │                                           ▼ │ VmEnded
//!    │                    ▼                │ └────────────── Resumed ──────────────── resuming
//!    ├──── Restart ─── crashed ◀───────────┤ VmEnded
//!    ├──── Restart ─── stopped ◀───────────┤ VmEnded in good order
//!    └──── Restart, if the agent has ended ┘
//! ```
//!
//! Nobody starts or is resumed before there is room ([`crate::capacity`]): a queued session and a suspended one that is
//! wanted ask for it with [`Effect::Admit`], say why they wait, and go on with [`Input::Admitted`].
//!
//! A fork is made from the snapshot of a session, suspended or running; a running one stands still for it, which is
//! [`Session::forking`], and then runs on as if nothing had been. The fork begins suspended and wanted.
//!
//! A checkpoint is taken as a fork is made, but that the snapshot stays the session's own ([`Input::Checkpoint`]). A session goes
//! back to one by [`Input::Restore`]: it is suspended then, as it was, and wanted.
//!
//! Where hostd dies, VMs run on: the next hostd takes them over ([`Input::Adopting`]), and the session goes on as if nothing had
//! been ([`Input::Adopted`]); what cannot be taken over has ended, and is reported so.
//!
//! Where hostd is stopped and told to, what runs is suspended and wanted ([`Input::HostStops`]): the next hostd resumes it.
//!
//! A crashed session of a recipe that says so starts again by itself ([`RestartPolicy`]): it is fed [`Input::RestartIsDue`] when
//! [`Session::restarts_at`] has come.
//!
//! A suspended session can be restarted too, where its memory may be given up: it boots from its disk as it was suspended.
//!
//! Deleting is legal in every state: it sets [`Session::deleting`], asks for [`Effect::Remove`], and from then on only
//! [`Input::HostRestarted`] does anything (it asks again). A generation numbers the life of one VM; what an earlier one still
//! reports is ignored.
//!
//! A message for the agent stays in [`Session::inbox`] until the agent has read it: one is typed at a time, and what was not read
//! before its VM ended waits for the next. A guest that has one keeps it over a suspend, and gives it to an agent that begins
//! to wait for a message instead of reading its terminal.
//!
//! An agent that its model's API has stopped goes on when that is over, where its profile says so, or when its budget is raised.
//!
//! A [`Wait`] of the agent is answered the same way: what answers it is worked out from each [`Input::Observed`], kept in
//! [`Session::answer`] until the agent has it, and brings a suspended session back.

mod adopt;
mod agent;
mod allowed;
mod answer;
mod bounds;
mod cause;
mod changes;
mod checkpoint;
mod deliver;
mod delivered;
mod exit;
mod exited;
mod go_on;
mod inbox;
mod input;
mod lifecycle;
mod message;
mod restarts;
mod send;
mod step;
#[cfg(test)]
pub(crate) mod tests;
mod turn;
mod types;
mod wait;

pub use answer::Answered;
pub use cause::{Cause, NoAgent};
pub use delivered::Delivered;
pub use exit::how_it_ended;
pub use input::{Budget, Denied, Effect, Input, Status};
pub use lifecycle::{Activity, Lifecycle};
pub use message::{Message, Modes};
pub use restarts::RestartPolicy;
pub use step::step;
pub use turn::TypedEvents;
pub use types::{NewFork, NewSession, Session, Size};
pub use wait::{Answer, CheckSeen, CommentSeen, Due, Failure, Fate, Observation, Pull, ReviewSeen, Wait, WaitFor};
