//! Results of checks.

use std::collections::BTreeMap;

use hostd_core::{UnixMillis, checks::Check, ci::Key};
use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use super::{
    columns::{json, value},
    pulls,
};
use crate::forge::{ChangeCheck, ChangedCheck};

/// The checks of a commit, by name.
pub(super) fn of_commit(tx: &Transaction<'_>, repository: &str, commit: &str) -> rusqlite::Result<Vec<Check>> {
    let sql = "SELECT state FROM checks WHERE repository = ?1 AND \"commit\" = ?2 ORDER BY name";
    tx.prepare_cached(sql)?.query_map([repository, commit], |row| value(row, 0))?.collect()
}

/// Keeps what `change` makes of a check.
pub(super) fn change(tx: &Transaction<'_>, key: &Key, change: ChangeCheck) -> rusqlite::Result<ChangedCheck> {
    let Key { repository, commit, name } = key;
    let sql = "SELECT state FROM checks WHERE repository = ?1 AND \"commit\" = ?2 AND name = ?3";
    let before: Option<Check> = tx.query_row(sql, [repository, commit, name], |row| value(row, 0)).optional()?;
    let Some(after) = change(before.as_ref()) else {
        return Ok(ChangedCheck { before, changed: false, sessions: vec![] });
    };
    tx.execute(
        "INSERT OR REPLACE INTO checks (repository, \"commit\", name, state) VALUES (?1, ?2, ?3, ?4)",
        params![repository, commit, name, json(&after)?],
    )?;
    Ok(ChangedCheck { before, changed: true, sessions: pulls::authors_at(tx, repository, commit)? })
}

/// Forgets checks that were last changed before `before`, but those of revisions of open pull requests. Returns how many, and
/// the ids of all logs that are still named, with whether their pull request is open.
pub(super) fn forget(tx: &Transaction<'_>, before: UnixMillis) -> rusqlite::Result<(usize, BTreeMap<String, bool>)> {
    let open = pulls::open_heads(tx)?;
    let (mut forgotten, mut named) = (0, BTreeMap::new());
    for Kept { row, of, check } in all(tx)? {
        let is_open = open.contains(&of);
        if !is_open && check.updated_at < before {
            forgotten += tx.execute("DELETE FROM checks WHERE rowid = ?1", [row])?;
        } else if let Some(log) = check.log {
            *named.entry(log).or_default() |= is_open;
        }
    }
    Ok((forgotten, named))
}

/// A check as it is kept.
struct Kept {
    row: i64,
    /// Repository and commit of the check.
    of: (String, String),
    check: Check,
}

fn all(tx: &Transaction<'_>) -> rusqlite::Result<Vec<Kept>> {
    let sql = "SELECT rowid, repository, \"commit\", state FROM checks";
    let kept = |row: &Row<'_>| Ok(Kept { row: row.get(0)?, of: (row.get(1)?, row.get(2)?), check: value(row, 3)? });
    tx.prepare_cached(sql)?.query_map([], kept)?.collect()
}
