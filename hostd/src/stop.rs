//! `hostd stop`: ends the hostd of a data folder, and says what is to become of the VMs of its sessions.
//!
//! What is wanted stands in a file of the data folder for as long as hostd takes to read it: a signal has no room for it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use eyre::{Context as _, bail};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Signal, pidfd_send_signal},
};

use crate::{data_folder::LOCK, sessions::AtStop, vm::identity::ProcessIdentity};

/// Name of the file with what is wanted.
const WISH: &str = "hostd.stop";
/// Longest wait for hostd to end: it may put all sessions to disk.
const WITHIN: Duration = Duration::from_secs(120);

/// What was wanted of the hostd of this folder, which is forgotten with that.
pub(crate) fn wish(data: &Path) -> Option<AtStop> {
    let said = fs::read_to_string(data.join(WISH)).ok()?;
    forget(data);
    AtStop::ALL.into_iter().find(|vms| vms.word() == said.trim())
}

/// Forgets what was wanted of an earlier hostd.
pub(crate) fn forget(data: &Path) {
    // Mostly there is nothing, and what cannot be removed is written over by the next who wants something.
    let _ = fs::remove_file(data.join(WISH));
}

/// Ends the hostd of this data folder, and waits until it has ended. None: as it was told when it was started.
///
/// # Errors
/// None runs there, or it may not be ended, or does not end.
pub fn run(data: &Path, vms: Option<AtStop>) -> eyre::Result<()> {
    let data = fs::canonicalize(data).wrap_err_with(|| data.display().to_string())?;
    let none = || format!("no hostd runs on {}; say which folder with --data DIR", data.display());
    let Some(process) = holder(&data.join(LOCK)) else { bail!(none()) };
    let Some(handle) = process.open()? else { bail!(none()) };
    match vms {
        Some(vms) => fs::write(data.join(WISH), vms.word()).wrap_err("what is wanted of it cannot be written")?,
        None => forget(&data),
    }
    pidfd_send_signal(&handle, Signal::TERM).map_err(io::Error::from).wrap_err("it cannot be told to end")?;
    let within = Timespec::try_from(WITHIN)?;
    if poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&within))? == 0 {
        bail!("hostd (pid {}) has not ended within {} s; its log says why", process.pid, WITHIN.as_secs());
    }
    Ok(())
}

/// The process that has the lock: its pid stands in the file, and it has the file open.
pub(crate) fn holder(lock: &Path) -> Option<ProcessIdentity> {
    let pid = fs::read_to_string(lock).ok()?.trim().parse().ok()?;
    let process = ProcessIdentity::of(pid).ok()?;
    let files = fs::read_dir(PathBuf::from(format!("/proc/{pid}/fd"))).ok()?;
    let open = files.flatten().filter_map(|file| fs::read_link(file.path()).ok()).any(|file| file == lock);
    open.then_some(process)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_read_once() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(wish(data.path()), None);
        for vms in AtStop::ALL {
            fs::write(data.path().join(WISH), format!("{}\n", vms.word())).unwrap();
            assert_eq!([wish(data.path()), wish(data.path())], [Some(vms), None]);
        }
        fs::write(data.path().join(WISH), "garbage").unwrap();
        assert_eq!(wish(data.path()), None);
    }

    #[test]
    fn only_who_has_the_lock_is_ended() {
        let data = tempfile::tempdir().unwrap();
        let lock = fs::canonicalize(data.path()).unwrap().join(LOCK);
        let error = |data: &Path| run(data, Some(AtStop::Leave)).unwrap_err().to_string();
        assert!(error(data.path()).starts_with("no hostd runs on "));
        // Its pid is another's by now.
        fs::write(&lock, format!("{:<10}\n", std::process::id())).unwrap();
        assert!(error(data.path()).starts_with("no hostd runs on "));
        assert!(!data.path().join(WISH).exists());
        let _held = fs::File::open(&lock).unwrap();
        assert_eq!(holder(&lock).unwrap().pid, std::process::id());
    }
}
