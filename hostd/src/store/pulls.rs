//! Pull requests of the local forge.

use std::collections::{BTreeMap, BTreeSet};

use hostd_core::{
    pulls::{PullRequest, Refusal},
    story::of_pull,
};
use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use super::{
    checks,
    columns::{json, value},
    repositories,
    stories::Stories,
};
use crate::forge::{ChangePull, KeptPull, MakePull, PullFilter, PullRecord};

/// Keeps a new pull request, unless there is an open one of the same head branch. True: it is new.
pub(super) fn add(
    tx: &Transaction<'_>,
    stories: &Stories,
    repository: &str,
    head_branch: &str,
    make: MakePull,
) -> rusqlite::Result<(PullRecord, bool)> {
    let sql = "SELECT state, pushes FROM pulls WHERE repository = ?1 AND head_branch = ?2 AND open = 1";
    if let Some(known) = tx.query_row(sql, [repository, head_branch], record).optional()? {
        return Ok((known, false));
    }
    let next = "INSERT INTO repositories (name, numbers) VALUES (?1, 1)
        ON CONFLICT (name) DO UPDATE SET numbers = numbers + 1 RETURNING numbers";
    let number: i64 = tx.query_row(next, [repository], |row| row.get(0))?;
    let made = make(number.unsigned_abs());
    let pull = &made.pull;
    tx.execute(
        "INSERT INTO pulls (repository, number, session, head_branch, open, state, pushes)
         VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6)",
        params![repository, number, pull.author.session, head_branch, json(pull)?, integer(made.pushes)],
    )?;
    stories.keep(tx, &of_pull(None, pull, &owner(tx, &pull.author.session)?, pull.created_at))?;
    Ok((made, true))
}

/// The pull request of this number; an error where there is none.
pub(super) fn one(tx: &Transaction<'_>, repository: &str, number: u64) -> rusqlite::Result<PullRecord> {
    let sql = "SELECT state, pushes FROM pulls WHERE repository = ?1 AND number = ?2";
    tx.query_row(sql, params![repository, integer(number)], record)
}

/// A pull request with all that decides about it.
pub(super) fn whole(tx: &Transaction<'_>, record: PullRecord) -> rusqlite::Result<KeptPull> {
    let rules = repositories::rules(tx, &record.pull.repository)?;
    let checks = checks::of_commit(tx, &record.pull.repository, record.pull.head())?;
    Ok(KeptPull { record, rules, checks })
}

/// The pull requests of this selection, by repository and number.
pub(super) fn selected(tx: &Transaction<'_>, filter: PullFilter) -> rusqlite::Result<Vec<KeptPull>> {
    let PullFilter { repository, session, all } = filter;
    let mut statement = tx.prepare_cached(
        "SELECT state, pushes FROM pulls WHERE (?1 IS NULL OR repository = ?1) AND (?2 IS NULL OR session = ?2)
         AND (?3 OR open = 1) ORDER BY repository, number",
    )?;
    let records: Vec<PullRecord> =
        statement.query_map(params![repository, session, all], record)?.collect::<Result<_, _>>()?;
    let names: BTreeSet<&str> = records.iter().map(|record| &*record.pull.repository).collect();
    let rules = names.into_iter().map(|name| Ok((name.to_owned(), repositories::rules(tx, name)?)));
    let rules = rules.collect::<rusqlite::Result<BTreeMap<_, _>>>()?;
    let whole = |record: PullRecord| {
        let checks = checks::of_commit(tx, &record.pull.repository, record.pull.head())?;
        let rules = rules.get(&record.pull.repository).cloned().unwrap_or_default();
        Ok(KeptPull { record, rules, checks })
    };
    records.into_iter().map(whole).collect()
}

/// Changes a pull request, and returns it as it is then; what `change` refuses is left as it was.
pub(super) fn change(
    tx: &Transaction<'_>,
    stories: &Stories,
    repository: &str,
    number: u64,
    change: ChangePull,
) -> rusqlite::Result<Result<PullRecord, Refusal>> {
    let before = one(tx, repository, number)?;
    let changed = match change(&before) {
        Ok(changed) => changed,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let pull = &changed.pull;
    tx.execute(
        "UPDATE pulls SET open = ?3, state = ?4, pushes = ?5 WHERE repository = ?1 AND number = ?2",
        params![repository, integer(number), pull.state.is_open(), json(pull)?, integer(changed.pushes)],
    )?;
    let person = owner(tx, &pull.author.session)?;
    stories.keep(tx, &of_pull(Some(&before.pull), pull, &person, pull.updated_at))?;
    Ok(Ok(changed))
}

/// Ids of the sessions of which a pull request, whatever became of it, has this head commit.
pub(super) fn authors_at(tx: &Transaction<'_>, repository: &str, commit: &str) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT DISTINCT session FROM pulls
        WHERE repository = ?1 AND json_extract(state, '$.revisions[#-1].head') = ?2";
    tx.prepare_cached(sql)?.query_map([repository, commit], |row| row.get(0))?.collect()
}

/// Whether a revision of an open pull request has this head commit.
pub(super) fn has_head(tx: &Transaction<'_>, repository: &str, commit: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM pulls, json_each(pulls.state, '$.revisions') AS revision
        WHERE pulls.repository = ?1 AND pulls.open = 1 AND json_extract(revision.value, '$.head') = ?2)";
    tx.prepare_cached(sql)?.query_row([repository, commit], |row| row.get(0))
}

/// Repository and commit of every revision of an open pull request.
pub(super) fn open_heads(tx: &Transaction<'_>) -> rusqlite::Result<BTreeSet<(String, String)>> {
    let mut heads = BTreeSet::new();
    let mut open = tx.prepare_cached("SELECT state FROM pulls WHERE open")?;
    for pull in open.query_map([], |row| value::<PullRequest>(row, 0))? {
        let PullRequest { repository, revisions, .. } = pull?;
        heads.extend(revisions.into_iter().map(|revision| (repository.clone(), revision.head)));
    }
    Ok(heads)
}

/// User name of whoever a session belongs to; empty for one that is gone.
fn owner(tx: &Transaction<'_>, session: &str) -> rusqlite::Result<String> {
    let sql = "SELECT json_extract(state, '$.owner') FROM sessions WHERE id = ?1";
    Ok(tx.query_row(sql, [session], |row| row.get(0)).optional()?.unwrap_or_default())
}

fn record(row: &Row<'_>) -> rusqlite::Result<PullRecord> {
    Ok(PullRecord { pull: value(row, 0)?, pushes: row.get::<_, i64>(1)?.unsigned_abs() })
}

/// Converts a number for SQLite, whose integers have a sign.
fn integer(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
