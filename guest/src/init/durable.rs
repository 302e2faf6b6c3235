//! What the guest has written is on its disk soon: its VM may end at any moment, without a word.

use std::{fs, io, io::Write as _, path::Path};

use crate::boot_log::report;

/// Options with which the root file system is mounted: a second after a change of names and sizes, it is in the journal. What
/// was written to a new file is on the disk before its size is there: allocated later, as is usual, a file that git has
/// committed could be found empty.
pub(super) const MOUNT: &std::ffi::CStr = c"discard,commit=1,nodelalloc";
/// Hundredths of a second. What was written half a second ago goes to the disk with the next round, and one comes each half
/// second while there is something to write: with [`MOUNT`] that is two seconds at the most, where Linux takes 35.
const WRITE_BACK: [(&str, &str); 2] =
    [("/proc/sys/vm/dirty_writeback_centisecs", "50"), ("/proc/sys/vm/dirty_expire_centisecs", "50")];
/// What git reads first: what the user and the repository say comes after it.
const GIT: &str = "/etc/gitconfig";
/// git itself waits for the disk for packs alone: an abrupt end would leave empty objects behind, and a HEAD that names one.
const GIT_SYNCS: &str =
    "# pilothouse: what git says is done is on the disk, however its VM ends\n[core]\n\tfsync = all\n";

/// Once the root file system is entered. Whatever of it fails is reported and done without.
pub(super) fn set_up() {
    for (file, value) in WRITE_BACK {
        if let Err(error) = fs::write(file, value) {
            report(&format!("{file}: {error}"));
        }
    }
    if let Err(error) = git_syncs(Path::new(GIT)) {
        report(&format!("git does not sync: {GIT}: {error}"));
    }
}

/// Has git sync what it commits, where nobody has said how it syncs; not where there is no /etc.
fn git_syncs(config: &Path) -> io::Result<()> {
    let config = fs::canonicalize(config).unwrap_or_else(|_| config.into());
    let text = match fs::read_to_string(&config) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let says = |line: &str| line.trim_start().get(..5).is_some_and(|word| word.eq_ignore_ascii_case("fsync"));
    if text.lines().any(says) || config.parent().is_none_or(|folder| !folder.is_dir()) {
        return Ok(());
    }
    // Whole under another name first: half of it would be an error in each call of git.
    let new = config.with_extension("pilothouse");
    let mut file = fs::File::create(&new)?;
    file.write_all(format!("{GIT_SYNCS}{text}").as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, &config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_syncs_unless_somebody_said_how() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("gitconfig");
        let read = || fs::read_to_string(&config).unwrap();
        git_syncs(&config).unwrap();
        assert_eq!(read(), GIT_SYNCS);
        git_syncs(&config).unwrap();
        assert_eq!(read(), GIT_SYNCS);
        fs::write(&config, "[user]\n\tname = a\n").unwrap();
        git_syncs(&config).unwrap();
        assert_eq!(read(), format!("{GIT_SYNCS}[user]\n\tname = a\n"));
        for own in ["[core]\n\tfsync = none\n", "[core]\n  fsyncMethod=batch\n", "[core]\nFSync = committed\n"] {
            fs::write(&config, own).unwrap();
            git_syncs(&config).unwrap();
            assert_eq!(read(), own);
        }
        git_syncs(&folder.path().join("none/gitconfig")).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
