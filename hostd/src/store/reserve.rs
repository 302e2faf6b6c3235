//! Room inside the database and its log, taken while the disk has some: a commit that fits into it needs none of the disk.
//!
//! The log is written from its beginning again once all of it is in the database, over what is there; the database has pages that
//! were used once and are free. Neither becomes smaller, also when hostd ends.

use std::path::Path;

use rusqlite::{Connection, config::DbConfig};

/// Bytes of the log that are there.
const LOG: u64 = 2 << 20;
/// Pages of the log after which it is brought into the database: less than all, because the last commit may be a long one.
const PAGES_OF_LOG: i64 = 384;
/// Fewer free pages of the database than these are made more, with [`FREE`] bytes at a time.
const FREE_LEAST: i64 = 128;
const FREE: i64 = 1 << 20;

/// Has the log kept when hostd ends, and written from its beginning again before it grows.
pub(super) fn keep(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.pragma_update(None, "wal_autocheckpoint", PAGES_OF_LOG)
}

/// Takes what room is missing.
pub(super) fn take(connection: &mut Connection, path: &Path) -> rusqlite::Result<()> {
    let free: i64 = connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let log = std::fs::metadata(log).map_or(0, |log| log.len());
    if free >= FREE_LEAST && log >= LOG {
        return Ok(());
    }
    let bytes = FREE.max(i64::try_from(LOG.saturating_sub(log)).unwrap_or(FREE));
    // In two steps: pages that are free when a transaction ends are not written by it. Random, because some file systems keep
    // nothing of zeros.
    let fill = connection.transaction()?;
    fill.execute_batch("DROP TABLE IF EXISTS reserve; CREATE TABLE reserve (bytes BLOB)")?;
    fill.execute("INSERT INTO reserve VALUES (randomblob(?1))", [bytes])?;
    fill.commit()?;
    connection.execute_batch("DROP TABLE reserve")?;
    connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()))
}
