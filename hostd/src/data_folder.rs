//! The data folder: nobody's but hostd's own user's, or it is not used. Disks, memory, logs and repositories of sessions are in
//! it.

use std::{
    fs::{DirBuilder, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rustix::{fs::Mode, process};

/// Name of the lock's file, which is in every folder that a hostd has used.
pub const LOCK: &str = "hostd.lock";
/// Name of the socket that hostd listens on in the folder, where it is told no other.
pub const SOCKET: &str = "hostd.sock";
/// Rights of all users but the folder's owner.
const OTHERS: u32 = 0o077;

/// Why a folder is not fit to be the data folder.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// The folder cannot be made, looked at or written to.
    #[error("{path}: {error}; give hostd a folder that it may write with --data DIR")]
    Io {
        /// Path of the folder.
        path: PathBuf,
        /// Error of the system.
        error: io::Error,
    },
    /// Another user owns the folder, and may look into it whatever its rights are.
    #[error(
        "{path} belongs to the user with the id {owner}; run hostd as that user, or choose another folder with --data DIR"
    )]
    Foreign {
        /// Path of the folder.
        path: PathBuf,
        /// Number of the user who owns the folder.
        owner: u32,
    },
    /// Others have rights to the folder, and may need them for what is in it.
    #[error(
        "{path} is open to other users (rights {mode:03o}) and holds what is not hostd's; if it is meant for hostd alone, \
         run `chmod 700 {path}`, or choose another folder with --data DIR"
    )]
    Shared {
        /// Path of the folder.
        path: PathBuf,
        /// Rights of the folder.
        mode: u32,
    },
    /// The folder's file system keeps no rights.
    #[error(
        "{path} stays open to other users whatever is asked for; choose a folder of another file system with --data DIR"
    )]
    Open {
        /// Path of the folder.
        path: PathBuf,
    },
}

/// From here on this process, and what it starts, makes files that no other user may read, unless it says otherwise for one.
pub fn keep_private() {
    process::umask(Mode::RWXG | Mode::RWXO);
}

/// Makes the folder where it is not there. A folder that is there is closed to all other users where it is empty or a hostd's.
///
/// # Errors
/// [`Unfit`]: it is not private, or cannot be written.
pub fn claim(data: &Path) -> Result<(), Unfit> {
    let io = |error| Unfit::Io { path: data.into(), error };
    DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(io)?;
    // By its descriptor: what is judged is what is changed.
    let folder = File::open(data).map_err(io)?;
    let is = folder.metadata().map_err(io)?;
    let (owner, mode) = (is.uid(), is.mode() & 0o777);
    if owner != process::geteuid().as_raw() {
        return Err(Unfit::Foreign { path: data.into(), owner });
    }
    if mode & OTHERS != 0 {
        let is_ours = data.join(LOCK).exists() || data.read_dir().map_err(io)?.next().is_none();
        if !is_ours {
            return Err(Unfit::Shared { path: data.into(), mode });
        }
        folder.set_permissions(Permissions::from_mode(0o700)).map_err(io)?;
        if folder.metadata().map_err(io)?.mode() & OTHERS != 0 {
            return Err(Unfit::Open { path: data.into() });
        }
        tracing::warn!(data = %data.display(), "the data folder was open to other users (rights {mode:03o}), and is closed now");
    }
    tempfile::tempfile_in(data).map(drop).map_err(io)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    fn open(path: &Path) {
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn is_private_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        let made = folder.path().join("deep/made");
        claim(&made).unwrap();
        assert_eq!(mode(&made), 0o700);
        open(&made);
        claim(&made).unwrap();
        assert_eq!(mode(&made), 0o700, "it is empty");
        fs::write(made.join("notes"), "").unwrap();
        claim(&made).unwrap();
        open(&made);
        let error = claim(&made).unwrap_err();
        assert!(matches!(error, Unfit::Shared { mode: 0o755, .. }), "{error:?}");
        assert!(error.to_string().contains("chmod 700"), "{error}");
        assert_eq!(mode(&made), 0o755, "what is not hostd's stays as it is");
        fs::write(made.join(LOCK), "").unwrap();
        claim(&made).unwrap();
        assert_eq!(mode(&made), 0o700);
    }

    /// To root even another's folder is open to write; to an ordinary user /proc is another's.
    #[test]
    fn a_folder_of_another_user_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let other = if process::geteuid().is_root() {
            std::os::unix::fs::chown(folder.path(), Some(65534), None).unwrap();
            folder.path()
        } else {
            Path::new("/proc")
        };
        let error = claim(other).unwrap_err();
        assert!(matches!(error, Unfit::Foreign { .. }), "{error:?}");
    }

    #[test]
    fn says_what_to_do_where_it_cannot_be_made() {
        let error = claim(Path::new("/proc/none")).unwrap_err().to_string();
        assert!(error.contains("--data DIR"), "{error}");
    }
}
