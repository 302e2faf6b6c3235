//! Which QEMU a program is. Asked once for each file: info must be cheap.

use std::{
    fs,
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::identity;

/// Longest wait for `--version` to end.
const WITHIN: Duration = Duration::from_secs(5);

/// The last file that was asked about, and its answer.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Option<(Stamp, String)>>);

/// State of a file: path, inode, length, time of its last change.
type Stamp = (PathBuf, u64, u64, i64);

impl Cache {
    /// Version of the program, e.g. 7.2.22; empty where the program does not say.
    pub(super) fn of(&self, program: &Path) -> String {
        let Ok(meta) = fs::metadata(program) else { return String::new() };
        let stamp = (program.to_owned(), meta.ino(), meta.len(), meta.mtime());
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, version)) = &*known
            && *of == stamp
        {
            return version.clone();
        }
        let version = ask(program).unwrap_or_default();
        *known = Some((stamp, version.clone()));
        version
    }
}

/// Whether a version is this one or a later one; one that is not known is an old one.
pub(super) fn at_least(version: &str, (major, minor): (u32, u32)) -> bool {
    let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (major, minor)
}

/// Whether a QEMU of this version opens the RAM of templates for reading only; one that does not gets a sealed copy of it in
/// memory.
pub(super) fn maps_read_only(version: &str) -> bool {
    at_least(version, (8, 2))
}

/// What a program of QEMU's says of its version; None where it does not say.
pub(super) fn ask(program: &Path) -> Option<String> {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let in_time = Pid::from_raw(i32::try_from(child.id()).ok()?)
        .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
        .is_some_and(|handle| identity::ends(handle.as_fd(), WITHIN).unwrap_or(false));
    if !in_time {
        // One that hangs, or was gone already.
        let _ = child.kill();
    }
    let output = child.wait_with_output().ok()?;
    parse(&String::from_utf8_lossy(&output.stdout))
}

/// The version in `QEMU emulator version 7.2.22 (Debian ...)`: 7.2.22.
fn parse(text: &str) -> Option<String> {
    let word = text.split_once("version ")?.1.split_whitespace().next()?;
    let good = word.len() <= 32 && word.starts_with(|c: char| c.is_ascii_digit());
    good.then(|| word.chars().filter(|c| c.is_ascii_graphic()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program;

    #[test]
    fn parses_and_remembers() {
        assert_eq!(parse("QEMU emulator version 7.2.22 (Debian 1:7.2)\n").as_deref(), Some("7.2.22"));
        assert_eq!(parse("QEMU emulator version 10.0.0\n").as_deref(), Some("10.0.0"));
        assert_eq!(parse("garbage"), None);
        let folder = tempfile::tempdir().unwrap();
        let qemu = folder.path().join("qemu");
        let write = |version| {
            program::put_script(&qemu, &format!("echo QEMU emulator version {version}; echo x >> $0.calls"));
        };
        let cache = Cache::default();
        write("7.2.1");
        assert_eq!((cache.of(&qemu), cache.of(&qemu)), ("7.2.1".into(), "7.2.1".into()));
        assert_eq!(fs::read_to_string(folder.path().join("qemu.calls")).unwrap(), "x\n");
        write("10.0.11");
        assert_eq!(cache.of(&qemu), "10.0.11");
        assert_eq!(cache.of(&folder.path().join("none")), "");
    }
}
