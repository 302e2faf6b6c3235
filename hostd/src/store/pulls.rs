//! Pull requests, checks and rules of the local forge.

use std::collections::{BTreeMap, BTreeSet};

use hostd_core::{
    UnixMillis,
    checks::Check,
    pulls::{PullRequest, Rules},
    story::of_pull,
};
use rusqlite::{OptionalExtension as _, Params, Row, Transaction, params};
use serde::{Deserialize, Serialize};

use super::{
    Store, StoreError,
    columns::{json, value},
    events,
};

const SET_RULES: &str = "INSERT INTO repositories (name, rules) VALUES (?1, ?2)
    ON CONFLICT (name) DO UPDATE SET rules = excluded.rules";

/// What the store keeps of a pull request of the local forge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRecord {
    /// State of the pull request, by the rules of the core.
    pub pull: PullRequest,
    /// Number of entries of the head branch's reflog that are in its revisions.
    pub pushes: u64,
}

/// Selection of pull requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Which {
    /// Name of the repository whose pull requests are asked for; None: those of all.
    pub repository: Option<String>,
    /// Id of the session whose pull requests are asked for; None: those of all.
    pub session: Option<String>,
    /// Whether merged and closed ones are asked for, too.
    pub all: bool,
}

impl Store {
    /// Keeps a new pull request, which `make` makes with its number; returns the open one of the same head branch instead, if
    /// there is one. True: it is new.
    ///
    /// # Errors
    /// [`StoreError::Write`]; nothing is kept then.
    pub async fn add_pull(
        &self,
        repository: &str,
        head_branch: &str,
        make: impl FnOnce(u64) -> PullRecord + Send + 'static,
    ) -> Result<(PullRecord, bool), StoreError> {
        let (repository, head_branch) = (repository.to_owned(), head_branch.to_owned());
        self.transact_new(move |tx| {
            let sql = "SELECT state, pushes FROM pulls WHERE repository = ?1 AND head_branch = ?2 AND open = 1";
            if let Some(known) = tx.query_row(sql, [&repository, &head_branch], record).optional()? {
                return Ok((known, false));
            }
            let next = "INSERT INTO repositories (name, numbers) VALUES (?1, 1)
                ON CONFLICT (name) DO UPDATE SET numbers = numbers + 1 RETURNING numbers";
            let number: i64 = tx.query_row(next, [&repository], |row| row.get(0))?;
            let made = make(number.unsigned_abs());
            let pull = &made.pull;
            tx.execute(
                "INSERT INTO pulls (repository, number, session, head_branch, open, state, pushes)
                 VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6)",
                params![repository, number, pull.author.session, head_branch, json(pull)?, integer(made.pushes)],
            )?;
            events::keep(tx, &of_pull(None, pull, pull.created_at))?;
            Ok((made, true))
        })
        .await
    }

    /// The pull request of this number.
    ///
    /// # Errors
    /// [`StoreError::Gone`] where there is none.
    pub async fn pull(&self, repository: &str, number: u64) -> Result<PullRecord, StoreError> {
        let repository = repository.to_owned();
        self.transact(move |tx| one(tx, &repository, number)).await
    }

    /// The pull requests of this selection, by repository and number.
    ///
    /// # Errors
    /// [`StoreError::Write`] for a row that is not understood.
    pub async fn pulls(&self, which: Which) -> Result<Vec<PullRecord>, StoreError> {
        self.transact(move |tx| {
            let Which { repository, session, all } = which;
            let mut statement = tx.prepare_cached(
                "SELECT state, pushes FROM pulls WHERE (?1 IS NULL OR repository = ?1) AND (?2 IS NULL OR session = ?2)
                 AND (?3 OR open = 1) ORDER BY repository, number",
            )?;
            statement.query_map(params![repository, session, all], record)?.collect()
        })
        .await
    }

    /// Ids of the sessions that opened the pull request of this number.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub async fn authors_of(&self, repository: &str, number: u64) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT session FROM pulls WHERE repository = ?1 AND number = ?2";
        let repository = repository.to_owned();
        self.transact(move |tx| texts(tx, sql, params![repository, integer(number)])).await
    }

    /// Ids of the sessions of which a pull request, whatever became of it, has this head commit.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub async fn authors_at(&self, repository: &str, commit: &str) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT DISTINCT session FROM pulls
            WHERE repository = ?1 AND json_extract(state, '$.revisions[#-1].head') = ?2";
        let (repository, commit) = (repository.to_owned(), commit.to_owned());
        self.transact(move |tx| texts(tx, sql, params![repository, commit])).await
    }

    /// Changes a pull request by `change` in one transaction, and returns it as it is then; what `change` refuses is left
    /// as it was.
    ///
    /// # Errors
    /// [`StoreError::Gone`] where there is none, [`StoreError::Write`]. The inner error is that of `change`.
    pub async fn change_pull<E: Send + 'static>(
        &self,
        repository: &str,
        number: u64,
        change: impl FnOnce(&PullRecord) -> Result<PullRecord, E> + Send + 'static,
    ) -> Result<Result<PullRecord, E>, StoreError> {
        let repository = repository.to_owned();
        self.transact(move |tx| {
            let before = one(tx, &repository, number)?;
            let changed = match change(&before) {
                Ok(changed) => changed,
                Err(refusal) => return Ok(Err(refusal)),
            };
            tx.execute(
                "UPDATE pulls SET open = ?3, state = ?4, pushes = ?5 WHERE repository = ?1 AND number = ?2",
                params![
                    repository,
                    integer(number),
                    changed.pull.state.is_open(),
                    json(&changed.pull)?,
                    integer(changed.pushes)
                ],
            )?;
            events::keep(tx, &of_pull(Some(&before.pull), &changed.pull, changed.pull.updated_at))?;
            Ok(Ok(changed))
        })
        .await
    }

    /// The checks of a commit, by name.
    ///
    /// # Errors
    /// [`StoreError::Write`] for a row that is not understood.
    pub async fn checks(&self, repository: &str, commit: &str) -> Result<Vec<Check>, StoreError> {
        let (repository, commit) = (repository.to_owned(), commit.to_owned());
        self.transact(move |tx| checks(tx, &repository, &commit)).await
    }

    /// The checks of several commits, each named with its repository, in the same order.
    ///
    /// # Errors
    /// As [`Store::checks`].
    pub async fn checks_of(&self, commits: Vec<(String, String)>) -> Result<Vec<Vec<Check>>, StoreError> {
        self.transact(move |tx| commits.iter().map(|(repository, commit)| checks(tx, repository, commit)).collect())
            .await
    }

    /// Keeps what `change` makes of a commit's check of this name, and returns what was there before; None from `change`
    /// keeps it as it is.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub async fn change_check(
        &self,
        (repository, commit, name): (&str, &str, &str),
        change: impl FnOnce(Option<&Check>) -> Option<Check> + Send + 'static,
    ) -> Result<(Option<Check>, bool), StoreError> {
        let key = [repository.to_owned(), commit.to_owned(), name.to_owned()];
        self.transact(move |tx| {
            let sql = "SELECT state FROM checks WHERE repository = ?1 AND \"commit\" = ?2 AND name = ?3";
            let before: Option<Check> =
                tx.query_row(sql, params![key[0], key[1], key[2]], |row| value(row, 0)).optional()?;
            let Some(after) = change(before.as_ref()) else { return Ok((before, false)) };
            let [repository, commit, name] = key;
            tx.execute(
                "INSERT OR REPLACE INTO checks (repository, \"commit\", name, state) VALUES (?1, ?2, ?3, ?4)",
                params![repository, commit, name, json(&after)?],
            )?;
            Ok((before, true))
        })
        .await
    }

    /// Forgets checks that were last changed before `before`, but those of revisions of open pull requests. Returns how many,
    /// and the ids of all logs that are still named, with whether their pull request is open.
    ///
    /// # Errors
    /// [`StoreError::Write`] for a row that is not understood.
    pub async fn forget_checks(&self, before: UnixMillis) -> Result<(usize, BTreeMap<String, bool>), StoreError> {
        self.transact(move |tx| {
            let open = open_heads(tx)?;
            let (mut forgotten, mut named) = (0, BTreeMap::new());
            for Kept { row, of, check } in all_checks(tx)? {
                let is_open = open.contains(&of);
                if !is_open && check.updated_at < before {
                    forgotten += tx.execute("DELETE FROM checks WHERE rowid = ?1", [row])?;
                } else if let Some(log) = check.log {
                    *named.entry(log).or_default() |= is_open;
                }
            }
            Ok((forgotten, named))
        })
        .await
    }

    /// The rules of a repository.
    ///
    /// # Errors
    /// [`StoreError::Write`] for a row that is not understood.
    pub async fn rules(&self, repository: &str) -> Result<Rules, StoreError> {
        let name = repository.to_owned();
        self.transact(move |tx| {
            let sql = "SELECT rules FROM repositories WHERE name = ?1 AND rules IS NOT NULL";
            Ok(tx.query_row(sql, [name], |row| value(row, 0)).optional()?.unwrap_or_default())
        })
        .await
    }

    /// Lets a repository ask for these checks, as long as nobody has given it rules. True: it asked for others before.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub async fn suggest_checks(&self, repository: &str, required_checks: Vec<String>) -> Result<bool, StoreError> {
        let name = repository.to_owned();
        self.transact(move |tx| {
            let sql = "SELECT rules FROM repositories WHERE name = ?1 AND rules IS NOT NULL";
            let kept: Option<KeptRules> = tx.query_row(sql, [&name], |row| value(row, 0)).optional()?;
            let Some(suggested) = suggestion(kept, required_checks) else { return Ok(false) };
            tx.execute(SET_RULES, params![name, json(&suggested)?]).map(|_| true)
        })
        .await
    }

    /// Gives a repository these rules.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub async fn set_rules(&self, repository: &str, rules: Rules) -> Result<(), StoreError> {
        let name = repository.to_owned();
        self.transact(move |tx| tx.execute(SET_RULES, params![name, json(&rules)?]).map(drop)).await
    }
}

/// Rules of a repository as the store keeps them.
#[derive(Debug, Serialize, Deserialize)]
struct KeptRules {
    #[serde(flatten)]
    rules: Rules,
    /// Whether the rules come from environments, and no person has given any.
    #[serde(default)]
    suggested: bool,
}

/// Rules that ask for these checks, where nobody has given rules; None: those that are kept stay.
fn suggestion(kept: Option<KeptRules>, required_checks: Vec<String>) -> Option<KeptRules> {
    let rules = match kept {
        Some(KeptRules { suggested: true, rules }) => rules,
        Some(_) => return None,
        None => Rules::default(),
    };
    let differs = rules.required_checks != required_checks;
    differs.then_some(KeptRules { rules: Rules { required_checks, ..rules }, suggested: true })
}

fn texts(tx: &Transaction<'_>, sql: &str, params: impl Params) -> rusqlite::Result<Vec<String>> {
    tx.prepare_cached(sql)?.query_map(params, |row| row.get(0))?.collect()
}

/// Repository and commit of every revision of an open pull request.
fn open_heads(tx: &Transaction<'_>) -> rusqlite::Result<BTreeSet<(String, String)>> {
    let mut heads = BTreeSet::new();
    let mut open = tx.prepare_cached("SELECT state FROM pulls WHERE open")?;
    for pull in open.query_map([], |row| value::<PullRequest>(row, 0))? {
        let PullRequest { repository, revisions, .. } = pull?;
        heads.extend(revisions.into_iter().map(|revision| (repository.clone(), revision.head)));
    }
    Ok(heads)
}

/// A check as the store keeps it.
struct Kept {
    row: i64,
    /// Repository and commit of the check.
    of: (String, String),
    check: Check,
}

fn all_checks(tx: &Transaction<'_>) -> rusqlite::Result<Vec<Kept>> {
    let sql = "SELECT rowid, repository, \"commit\", state FROM checks";
    let kept = |row: &Row<'_>| Ok(Kept { row: row.get(0)?, of: (row.get(1)?, row.get(2)?), check: value(row, 3)? });
    tx.prepare_cached(sql)?.query_map([], kept)?.collect()
}

fn one(tx: &Transaction<'_>, repository: &str, number: u64) -> rusqlite::Result<PullRecord> {
    let sql = "SELECT state, pushes FROM pulls WHERE repository = ?1 AND number = ?2";
    tx.query_row(sql, params![repository, integer(number)], record)
}

fn checks(tx: &Transaction<'_>, repository: &str, commit: &str) -> rusqlite::Result<Vec<Check>> {
    let sql = "SELECT state FROM checks WHERE repository = ?1 AND \"commit\" = ?2 ORDER BY name";
    tx.prepare_cached(sql)?.query_map([repository, commit], |row| value(row, 0))?.collect()
}

fn record(row: &Row<'_>) -> rusqlite::Result<PullRecord> {
    Ok(PullRecord { pull: value(row, 0)?, pushes: row.get::<_, i64>(1)?.unsigned_abs() })
}

/// Converts a number for SQLite, whose integers have a sign.
fn integer(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
