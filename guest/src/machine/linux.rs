//! The machine that a guest really runs on.

use std::{
    collections::HashMap,
    fs, io,
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use pilothouse_proto::guest::v1::{HandshakeRequest, Trust};
use rustix::{
    ioctl,
    mount::{MountFlags, mount_remount},
    system::{RebootCommand, reboot},
};

use super::{
    Machine,
    identity::{self, Adopted},
    trust::Trusted,
};
use crate::{identity_file::IdentityFile, process::Cgroups};

/// Time that programs get to end by themselves when the machine is powered off.
const END_WITHIN: Duration = Duration::from_secs(3);

/// The machine that this runs in, as PID 1's child.
#[derive(Debug, Default)]
pub struct Linux {
    cgroups: Option<Cgroups>,
    adopted: Mutex<Adopted>,
    trusted: Mutex<Trusted>,
}

impl Linux {
    /// Creates the machine; without cgroups nothing can be frozen.
    #[must_use]
    pub fn new(cgroups: Option<Cgroups>) -> Self {
        Self { cgroups, adopted: Mutex::default(), trusted: Mutex::default() }
    }

    /// Sends a signal to all processes but PID 1 and this one. A negative pid is what no safe wrapper has.
    #[allow(unsafe_code)]
    fn signal_all(signal: i32) {
        // SAFETY: takes two numbers.
        unsafe { libc::kill(-1, signal) };
    }
}

impl Machine for Linux {
    fn adopt(&self, identity: &HandshakeRequest) -> io::Result<()> {
        self.adopted.lock().unwrap_or_else(PoisonError::into_inner).adopt(identity)
    }

    fn trust(&self, trust: &Trust) -> HashMap<String, String> {
        self.trusted.lock().unwrap_or_else(PoisonError::into_inner).trust(Path::new("/"), trust)
    }

    fn write_identity(&self, identity: &IdentityFile) {
        self.adopted.lock().unwrap_or_else(PoisonError::into_inner).write_identity(identity);
    }

    fn set_clock(&self, unix_nanos: i64) -> io::Result<()> {
        identity::set_clock(unix_nanos)
    }

    fn freeze(&self, freeze: bool) -> io::Result<()> {
        match &self.cgroups {
            Some(cgroups) => cgroups.freeze(freeze),
            None if freeze => Err(io::Error::new(io::ErrorKind::Unsupported, "the guest's kernel has no cgroup v2")),
            None => Ok(()),
        }
    }

    /// Where the kernel refuses, things take longer, and that is all.
    #[allow(unsafe_code)]
    fn go_first(&self, first: bool) {
        let policy = if first { libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK } else { libc::SCHED_OTHER };
        // SAFETY: all zero is a valid sched_param.
        let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
        parameters.sched_priority = first.into();
        // SAFETY: reads one sched_param.
        unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
    }

    /// Syncs the root's file system alone: whatever else is mounted is in memory, and all of it would be gone through twice.
    fn sync(&self) {
        if fs::File::open("/").and_then(|root| Ok(rustix::fs::syncfs(root)?)).is_err() {
            rustix::fs::sync();
        }
    }

    #[allow(unsafe_code)]
    fn trim(&self) -> io::Result<u64> {
        /// `_IOWR('X', 121, struct fstrim_range)`
        const TRIM: ioctl::Opcode = ioctl::opcode::read_write::<[u64; 3]>(b'X', 121);
        let root = fs::File::open("/")?;
        // Start, length, least extent; the length comes back as what was trimmed.
        let mut range = [0, u64::MAX, 0];
        // SAFETY: FITRIM reads and writes a struct of three u64.
        unsafe { ioctl::ioctl(&root, ioctl::Updater::<TRIM, [u64; 3]>::new(&mut range)) }?;
        Ok(range[1])
    }

    fn power_off(&self) -> io::Error {
        let _ = self.freeze(false);
        Self::signal_all(libc::SIGTERM);
        if let Some(cgroups) = &self.cgroups {
            let _ = cgroups.wait_empty(END_WITHIN);
            let _ = cgroups.kill(END_WITHIN);
        }
        Self::signal_all(libc::SIGKILL);
        rustix::fs::sync();
        // Clean, so that the next boot has nothing to repair. Files held open by a dying process may prevent it; synced is
        // enough.
        let _ = mount_remount(Path::new("/"), MountFlags::RDONLY, c"");
        match reboot(RebootCommand::PowerOff) {
            Ok(()) => io::Error::other("the machine is still on"),
            Err(error) => error.into(),
        }
    }
}
