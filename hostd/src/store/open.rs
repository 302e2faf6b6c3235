use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{error::StoreError, record::Record, reserve, stories};

/// Number in the file's header that marks it as hostd's: "PLTH".
const APPLICATION: i64 = 0x504c_5448;
/// Scripts of the schema's versions, in order; none is changed once released.
const MIGRATIONS: &[&str] = &[
    include_str!("001.sql"),
    include_str!("002.sql"),
    include_str!("003.sql"),
    include_str!("004.sql"),
    include_str!("005.sql"),
];

/// Opens or makes the database and brings it to the newest schema.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let failed = |error| foreign(path, error);
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    let version = check(&connection, path)?;
    // FULL: an effect is carried out right after its commit, and must not be forgotten by a power cut. Commits are few.
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
        .map_err(failed)?;
    reserve::keep(&connection).map_err(failed)?;
    connection.busy_timeout(std::time::Duration::from_secs(5)).map_err(failed)?;
    migrate(&mut connection, version).map_err(failed)?;
    // A full disk, on which nothing can be forgotten either, must not keep hostd from starting.
    if let Err(error) = stories::forget_old(&connection, jiff::Timestamp::now().as_millisecond()) {
        tracing::warn!(%error, "old stories are not forgotten");
    }
    Ok(connection)
}

/// Checks before anything is written whose file it is, and that it is whole; returns its schema version.
fn check(connection: &Connection, path: &Path) -> Result<usize, StoreError> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let failed = |error| foreign(path, error);
    let application = pragma("application_id").map_err(failed)?;
    let version = pragma("user_version").map_err(failed)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    if application != APPLICATION && (application != 0 || version != 0 || tables != 0) {
        return Err(StoreError::NotOurs { path: path.into() });
    }
    let newest = MIGRATIONS.len();
    let version = usize::try_from(version).unwrap_or(usize::MAX);
    if version > newest {
        let (found, known) = (i64::try_from(version).unwrap_or(i64::MAX), i64::try_from(newest).unwrap_or(i64::MAX));
        return Err(StoreError::Newer { path: path.into(), found, known });
    }
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
    if found != "ok" {
        return Err(StoreError::Damaged { path: path.into(), detail: found });
    }
    Ok(version)
}

fn migrate(connection: &mut Connection, version: usize) -> rusqlite::Result<()> {
    for (done, script) in MIGRATIONS.iter().enumerate().skip(version) {
        let tx = connection.transaction()?;
        tx.execute_batch(script)?;
        tx.pragma_update(None, "application_id", APPLICATION)?;
        tx.pragma_update(None, "user_version", i64::try_from(done + 1).unwrap_or(i64::MAX))?;
        tx.commit()?;
    }
    Ok(())
}

/// Reads all sessions, oldest first (an id begins with its time).
pub(super) fn load(connection: &mut Connection, path: &Path) -> Result<Vec<Record>, StoreError> {
    let failed = |error| foreign(path, error);
    let mut statement = connection.prepare("SELECT id, state, machine FROM sessions ORDER BY id").map_err(failed)?;
    let rows = statement
        .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?)))
        .map_err(failed)?;
    let mut records = Vec::new();
    for row in rows {
        let (id, state, machine) = row.map_err(failed)?;
        let wrong =
            |error: serde_json::Error| StoreError::Row { path: path.into(), id: id.clone(), error: error.to_string() };
        records.push(Record {
            session: serde_json::from_str(&state).map_err(wrong)?,
            machine: serde_json::from_str(&machine).map_err(wrong)?,
        });
    }
    Ok(records)
}

fn foreign(path: &Path, error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => StoreError::NotOurs { path: path.into() },
        Some(ErrorCode::DiskFull) => StoreError::Full,
        Some(ErrorCode::DatabaseCorrupt) => StoreError::Damaged { path: path.into(), detail: error.to_string() },
        _ => StoreError::Open { path: path.into(), error },
    }
}
