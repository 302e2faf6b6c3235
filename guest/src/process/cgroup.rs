use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long freezing may take.
const FREEZE_WITHIN: Duration = Duration::from_secs(5);

/// The cgroup of all that runs here beside us, so that it can be frozen and ended as one:
///
/// ```text
/// /sys/fs/cgroup/pilothouse/agent   the agent and its children
/// /sys/fs/cgroup/pilothouse/exec    exec'd commands and theirs
/// ```
#[derive(Clone, Debug)]
pub struct Cgroups(PathBuf);

impl Cgroups {
    /// Makes them under `root`, e.g. /sys/fs/cgroup.
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
        Ok(Self(ours))
    }

    /// A file that moves whoever writes "0" to it into the cgroup `name`.
    ///
    /// # Errors
    /// As of opening a file.
    pub fn door(&self, name: &str) -> io::Result<OwnedFd> {
        Ok(fs::File::options().write(true).open(self.0.join(name).join("cgroup.procs"))?.into())
    }

    /// Freezes all of it, and returns when it is frozen; or thaws it. Blocks.
    ///
    /// # Errors
    /// It did not freeze in time; then it is thawed.
    pub fn freeze(&self, freeze: bool) -> io::Result<()> {
        let control = self.0.join("cgroup.freeze");
        fs::write(&control, if freeze { "1" } else { "0" })?;
        if freeze && let Err(error) = self.wait_for("frozen 1", FREEZE_WITHIN) {
            fs::write(&control, "0")?;
            return Err(error);
        }
        Ok(())
    }

    /// Kills every process in it. Blocks until they are gone, or `within` is over.
    ///
    /// # Errors
    /// As of writing a file, or they are not gone in time.
    pub fn kill(&self, within: Duration) -> io::Result<()> {
        fs::write(self.0.join("cgroup.kill"), "1")?;
        self.wait_for("populated 0", within)
    }

    /// Waits until no process is in it. Blocks.
    ///
    /// # Errors
    /// There still are some.
    pub fn wait_empty(&self, within: Duration) -> io::Result<()> {
        self.wait_for("populated 0", within)
    }

    /// Waits until cgroup.events has this line; the kernel says when the file changes.
    fn wait_for(&self, line: &str, within: Duration) -> io::Result<()> {
        let deadline = Instant::now() + within;
        let path = self.0.join("cgroup.events");
        let file = fs::File::open(&path)?;
        loop {
            // Read through the very file that is polled: reading is what arms it.
            let mut text = [0; 256];
            let length = rustix::io::pread(&file, &mut text, 0)?;
            if String::from_utf8_lossy(&text[..length]).lines().any(|l| l == line) {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec { tv_sec: left.as_secs().try_into().unwrap_or(0), tv_nsec: left.subsec_nanos().into() };
            if poll(&mut [PollFd::new(&file, PollFlags::PRI)], Some(&left))? == 0 {
                return Err(io::Error::new(io::ErrorKind::TimedOut, format!("no \"{line}\" in {}", path.display())));
            }
        }
    }
}
