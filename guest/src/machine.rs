//! What the guest does to its machine. A trait, so that tests do not do it to theirs.

mod identity;
mod linux;
pub mod oom;
pub mod usage;

use std::io;

pub use identity::BOOT_ID;
pub use linux::Linux;
use pilothouse_proto::guest::v1::HandshakeRequest;

use crate::who::Who;

/// The machine that the guest runs on. Its methods block.
pub trait Machine: Send + Sync + 'static {
    /// Takes on the clock, entropy and names of a new life.
    ///
    /// # Errors
    /// What it cannot live without could not be set.
    fn adopt(&self, identity: &HandshakeRequest) -> io::Result<()>;

    /// Tells programs on the machine which session it is.
    fn say_who(&self, who: &Who);

    /// Steps the wall clock: the machine stood still for a while.
    ///
    /// # Errors
    /// It could not be set.
    fn set_clock(&self, unix_nanos: i64) -> io::Result<()>;

    /// Freezes user processes, and returns when they are; or thaws them.
    ///
    /// # Errors
    /// They did not freeze; then none is.
    fn freeze(&self, freeze: bool) -> io::Result<()>;

    /// Sets whether this thread goes before all others, of programs and the kernel; not so threads and programs that it starts.
    fn go_first(&self, first: bool);

    /// Writes everything to the disk.
    fn sync(&self);

    /// Tells the disk what the root file system does not use; returns how many bytes that are.
    ///
    /// # Errors
    /// The disk cannot.
    fn trim(&self) -> io::Result<u64>;

    /// Ends all processes, syncs and powers off; returns only if that failed.
    fn power_off(&self) -> io::Error;
}
