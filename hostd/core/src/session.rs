//! The session machine: one agent's task and its microVM, from dispatch to deletion.
//!
//! [`step`] is total and pure. What has to be done in the world comes back as [`Effect`]s, which the session's supervisor
//! carries out after state and effects are committed together; what came of it goes in as the next [`Input`].
//!
//! ```text
//!            Admitted           Started                Suspend            Suspended
//!  queued ───────────▶ starting ───────▶ running ───────────▶ suspending ───────────▶ suspended
//!    ▲                    │                │ ▲  ▲                 │                      │ │
//!    │                    │ StartFailed    │ │  └── SuspendFailed ┘               Resume │ │
//!    │                    │ VmEnded        │ │                                           ▼ │
//!    │                    ▼                │ └────────────── Resumed ──────────────── resuming
//!    └──── Restart ─── crashed ◀───────────┤ VmEnded                                     │
//!    │                                     │                     suspended ◀─────────────┘
//!    └──── Restart ─── stopped ◀───────────┘ VmEnded, powered off          ResumeFailed
//! ```
//!
//! Deleting is legal in every state: it sets [`Session::deleting`], asks for [`Effect::Remove`], and from then on only
//! [`Input::HostRestarted`] does anything (it asks again). A generation numbers the life of one VM; what an earlier one still
//! reports is ignored.

mod step;
#[cfg(test)]
mod tests;
mod types;

pub use step::step;
pub use types::{Activity, Cause, Denied, Effect, Input, Lifecycle, NewSession, Session, Size, Status};
