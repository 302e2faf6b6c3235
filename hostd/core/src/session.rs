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
//! Deleting is legal in every state: it sets [`Session::deleting`], asks for [`Effect::Remove`], and from then on only
//! [`Input::HostRestarted`] does anything (it asks again). A generation numbers the life of one VM; what an earlier one still
//! reports is ignored.
//!
//! A message for the agent stays in [`Session::inbox`] until it has been typed: one is typed at a time, and what a VM did not
//! get before it ended waits for the next.

mod input;
mod lifecycle;
mod step;
#[cfg(test)]
mod tests;
mod types;

pub use input::{Denied, Effect, Input, Status};
pub use lifecycle::{Activity, Cause, Lifecycle};
pub use step::step;
pub use types::{NewSession, Session, Size};
