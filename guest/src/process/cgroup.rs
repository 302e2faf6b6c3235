use std::{
    fs, io,
    os::{fd::OwnedFd, unix::fs::FileExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Name of the file that says whether a cgroup is frozen, and whether any process is in it.
const EVENTS: &str = "cgroup.events";
/// Longest time for freezing.
const FREEZE_WITHIN: Duration = Duration::from_secs(5);

/// The cgroup of all programs that run beside the supervisor, so that it can be frozen and ended as one:
///
/// ```text
/// /sys/fs/cgroup/pilothouse/agent   the agent and its children
/// /sys/fs/cgroup/pilothouse/exec    exec'd commands and theirs
/// ```
#[derive(Clone, Debug)]
pub struct Cgroups {
    folder: PathBuf,
    freezer: Arc<Freezer>,
}

/// Files that are kept open: to find them anew would cost an emulated processor a good part of a resume's handshake.
#[derive(Debug)]
struct Freezer {
    control: fs::File,
    events: fs::File,
}

impl Cgroups {
    /// Makes the cgroups under `root`, e.g. /sys/fs/cgroup.
    ///
    /// # Errors
    /// There is no cgroup v2 there, or we may not write it.
    pub fn make(root: &Path) -> io::Result<Self> {
        let ours = root.join("pilothouse");
        for name in ["agent", "exec"] {
            fs::create_dir_all(ours.join(name))?;
        }
        for folder in [root, &ours] {
            // One at a time: a kernel without one of them still gives the others.
            for controller in ["+memory", "+pids", "+cpu", "+io"] {
                let _ = fs::write(folder.join("cgroup.subtree_control"), controller);
            }
        }
        let control = fs::File::options().write(true).open(ours.join("cgroup.freeze"))?;
        let events = fs::File::open(ours.join(EVENTS))?;
        Ok(Self { folder: ours, freezer: Arc::new(Freezer { control, events }) })
    }

    /// A file that moves whoever writes "0" to it into the cgroup `name`.
    ///
    /// # Errors
    /// As of opening a file.
    pub fn door(&self, name: &str) -> io::Result<OwnedFd> {
        Ok(fs::File::options().write(true).open(self.folder.join(name).join("cgroup.procs"))?.into())
    }

    /// Freezes all of the cgroup, and returns when it is frozen; or thaws it. Blocks. One caller at a time.
    ///
    /// # Errors
    /// It did not freeze in time; then it is thawed.
    pub fn freeze(&self, freeze: bool) -> io::Result<()> {
        let Freezer { control, events } = &*self.freezer;
        control.write_all_at(if freeze { b"1" } else { b"0" }, 0)?;
        if freeze && let Err(error) = wait_for(events, "frozen 1", FREEZE_WITHIN) {
            control.write_all_at(b"0", 0)?;
            return Err(error);
        }
        Ok(())
    }

    /// Kills every process in the cgroup. Blocks until they are gone, or `within` is over.
    ///
    /// # Errors
    /// As of writing a file, or they are not gone in time.
    pub fn kill(&self, within: Duration) -> io::Result<()> {
        fs::write(self.folder.join("cgroup.kill"), "1")?;
        self.wait_empty(within)
    }

    /// Waits until no process is in the cgroup. Blocks.
    ///
    /// # Errors
    /// There still are some.
    pub fn wait_empty(&self, within: Duration) -> io::Result<()> {
        wait_for(&fs::File::open(self.folder.join(EVENTS))?, "populated 0", within)
    }
}

/// Waits until this cgroup.events has this line; the kernel says when the file changes.
fn wait_for(file: &fs::File, line: &str, within: Duration) -> io::Result<()> {
    let deadline = Instant::now() + within;
    loop {
        // Read through the very file that is polled: reading is what arms it.
        let mut text = [0; 256];
        let length = rustix::io::pread(file, &mut text, 0)?;
        if String::from_utf8_lossy(&text[..length]).lines().any(|l| l == line) {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs().try_into().unwrap_or(0), tv_nsec: left.subsec_nanos().into() };
        if poll(&mut [PollFd::new(file, PollFlags::PRI)], Some(&left))? == 0 {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("no \"{line}\" in {EVENTS}")));
        }
    }
}
