use std::path::PathBuf;

use crate::forge::StorageError;

/// What went wrong with the store. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite cannot open or read the database.
    #[error("{path}: {error}")]
    Open {
        /// Path of the database.
        path: PathBuf,
        /// Error of SQLite.
        error: rusqlite::Error,
    },
    /// The file is not a database, or one of another program.
    #[error("{path} is not a database of hostd; move it away, or choose another folder with --data")]
    NotOurs {
        /// Path of the file.
        path: PathBuf,
    },
    /// The database is damaged.
    #[error(
        "{path} is damaged ({detail}); nothing was changed. Restore it from a backup, or move it away to start without \
         sessions (their disks stay in `sessions/`)"
    )]
    Damaged {
        /// Path of the database.
        path: PathBuf,
        /// What SQLite found.
        detail: String,
    },
    /// A newer hostd has written the database.
    #[error(
        "{path} has schema {found}, but this hostd knows only up to {known}; nothing was changed. Start the newer hostd \
         again, or choose another folder with --data"
    )]
    Newer {
        /// Path of the database.
        path: PathBuf,
        /// Version of the database's schema.
        found: i64,
        /// Newest version of the schema that this hostd knows.
        known: i64,
    },
    /// A row of the database is not understood by this hostd.
    #[error("{path}: session {id}: {error}; nothing was changed")]
    Row {
        /// Path of the database.
        path: PathBuf,
        /// Id of the row's session.
        id: String,
        /// What is wrong with the row.
        error: String,
    },
    /// The slug belongs to another session.
    #[error("another session has this slug")]
    SlugTaken,
    /// The row that is asked for is not there.
    #[error("the session is gone")]
    Gone,
    /// The database could not be written because the disk is full.
    #[error(
        "the host's disk is full; delete sessions that you do not need with `pilothouse rm` (`pilothouse host show` names the \
         largest), or make room on it otherwise"
    )]
    Full,
    /// The database could not be read or written; SQLite's words.
    #[error("the store could not be written: {0}")]
    Write(String),
    /// The store's thread did not start.
    #[error("the store's thread did not start: {0}")]
    Thread(String),
    /// The store's thread has ended, as hostd stops.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the same may be written another time, as nothing is wrong with it.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Full | Self::Write(_))
    }
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
            rusqlite::Error::SqliteFailure(code, _) if code.code == rusqlite::ErrorCode::DiskFull => Self::Full,
            _ => Self::Write(error.to_string()),
        }
    }
}

impl From<StoreError> for StorageError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Gone => Self::Gone,
            StoreError::Closed => Self::Closed,
            error => Self::Failed(Box::new(error)),
        }
    }
}
