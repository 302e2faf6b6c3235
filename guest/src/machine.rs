//! What the guest does to its machine. A trait, so that tests do not do it to theirs.

mod identity;
pub mod linux;
pub mod oom;
mod trust;
pub mod usage;

use std::{collections::HashMap, io};

pub use identity::BOOT_ID;
use pilothouse_proto::guest::v1::{HandshakeRequest, Trust};

use crate::identity_file::IdentityFile;

/// The machine that the guest runs on. Its methods block.
pub trait Machine: Send + Sync + 'static {
    /// Takes on the clock, entropy and names of a new life.
    ///
    /// # Errors
    /// What it cannot live without could not be set.
    fn adopt(&self, identity: &HandshakeRequest) -> io::Result<()>;

    /// Trusts an authority as whole and as lastingly as the machine can; returns the variables by which programs find it, and those
    /// that came along. What cannot be written is reported.
    fn trust(&self, trust: &Trust) -> HashMap<String, String> {
        trust.variables.clone()
    }

    /// Tells programs on the machine which session it is, by the identity file.
    fn write_identity(&self, identity: &IdentityFile);

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
