//! The host's end of the link: connects both ports of a VM, shakes hands, reconnects for ever.
//!
//! ```text
//!  Link ── link task ───▶ Port::Link:   preamble, handshake, first output, HTTP/2 client of guest.v1.Guest
//!       └─ tunnel task ─▶ Port::Tunnel: preamble, HTTP/2 server of guest.v1.Gateway, a Gateway::serve for each stream
//! ```
//!
//! The guest is hostile: what it sends is bounded in size, number and time, and at worst its own link goes down.

pub(crate) mod command;
mod connection;
mod handshake;
mod last_sync;
mod link;
mod rehearsal;
mod streams;
#[cfg(test)]
mod tests;
mod tunnel;

pub(crate) use command::{Output, bad_end, follow};
pub use connection::Held;
pub use handshake::{Greeting, Identity, Trust};
pub use last_sync::last_sync;
pub use link::{Hello, Link, LinkError, LinkState};
pub(crate) use rehearsal::{Rehearsal, Rehearsed};
