use std::path::PathBuf;

/// What went wrong with the store. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite cannot open or read it.
    #[error("{path}: {error}")]
    Open {
        /// The database.
        path: PathBuf,
        /// SQLite's words.
        error: rusqlite::Error,
    },
    /// Not a database, or one of another program.
    #[error("{path} is not a database of hostd; move it away, or choose another folder with --data")]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// Damaged.
    #[error(
        "{path} is damaged ({detail}); nothing was changed. Restore it from a backup, or move it away to start without \
         sessions (their disks stay in `sessions/`)"
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite found.
        detail: String,
    },
    /// Written by a newer hostd.
    #[error(
        "{path} has schema {found}, but this hostd knows only up to {known}; nothing was changed. Start the newer hostd \
         again, or choose another folder with --data"
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// A row that this hostd does not understand.
    #[error("{path}: session {id}: {error}; nothing was changed")]
    Row {
        /// The database.
        path: PathBuf,
        /// The session's id.
        id: String,
        /// What is wrong with it.
        error: String,
    },
    /// The slug belongs to another session.
    #[error("another session has this slug")]
    SlugTaken,
    /// The session is not there any more.
    #[error("the session is gone")]
    Gone,
    /// Not written, because the disk is full.
    #[error(
        "the host's disk is full; delete sessions that you do not need with `pilothouse rm` (`pilothouse host show` names the \
         largest), or make room on it otherwise"
    )]
    Full,
    /// Not written.
    #[error("the store could not be written: {0}")]
    Write(String),
    /// Its thread did not start.
    #[error("the store's thread did not start: {0}")]
    Thread(String),
    /// hostd is ending.
    #[error("the store is closed")]
    Closed,
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match &error {
            rusqlite::Error::QueryReturnedNoRows => Self::Gone,
            rusqlite::Error::SqliteFailure(code, Some(text))
                if code.code == rusqlite::ErrorCode::ConstraintViolation && text.contains("sessions.slug") =>
            {
                Self::SlugTaken
            }
            rusqlite::Error::SqliteFailure(code, _) if is_full(*code) => Self::Full,
            _ => Self::Write(error.to_string()),
        }
    }
}

/// SQLite's word for it, or that it could not write, or make its index larger, which is mostly that.
fn is_full(code: rusqlite::ffi::Error) -> bool {
    use rusqlite::ffi::{SQLITE_IOERR_SHMSIZE, SQLITE_IOERR_WRITE};
    code.code == rusqlite::ErrorCode::DiskFull
        || [SQLITE_IOERR_SHMSIZE, SQLITE_IOERR_WRITE].contains(&code.extended_code)
}
