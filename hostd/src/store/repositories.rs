//! Repositories of the local forge: what they ask of pull requests, where they came from, and what is renamed or forgotten with
//! them.

use hostd_core::{pulls::Rules, upstream::Upstream};
use rusqlite::{OptionalExtension as _, Transaction, params};
use serde::{Deserialize, Serialize};

use super::columns::{json, value};
use crate::forge::ChangeUpstream;

const RULES: &str = "SELECT rules FROM repositories WHERE name = ?1 AND rules IS NOT NULL";
const SET_RULES: &str = "INSERT INTO repositories (name, rules) VALUES (?1, ?2)
    ON CONFLICT (name) DO UPDATE SET rules = excluded.rules";

/// Rules of a repository as the store keeps them.
#[derive(Debug, Serialize, Deserialize)]
struct KeptRules {
    #[serde(flatten)]
    rules: Rules,
    /// Whether the rules come from environments, and no person has given any.
    #[serde(default)]
    suggested: bool,
}

/// The rules of a repository.
pub(super) fn rules(tx: &Transaction<'_>, name: &str) -> rusqlite::Result<Rules> {
    Ok(tx.prepare_cached(RULES)?.query_row([name], |row| value(row, 0)).optional()?.unwrap_or_default())
}

/// Gives a repository these rules.
pub(super) fn set_rules(tx: &Transaction<'_>, name: &str, rules: &Rules) -> rusqlite::Result<()> {
    tx.execute(SET_RULES, params![name, json(rules)?]).map(drop)
}

/// Lets a repository ask for these checks, as long as nobody has given it rules. True: it asked for others before.
pub(super) fn suggest_checks(tx: &Transaction<'_>, name: &str, required: Vec<String>) -> rusqlite::Result<bool> {
    let kept: Option<KeptRules> = tx.query_row(RULES, [name], |row| value(row, 0)).optional()?;
    let Some(suggested) = suggestion(kept, required) else { return Ok(false) };
    tx.execute(SET_RULES, params![name, json(&suggested)?]).map(|_| true)
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

/// The upstream of a repository; None: nobody has set any.
pub(super) fn upstream(tx: &Transaction<'_>, name: &str) -> rusqlite::Result<Option<Upstream>> {
    let sql = "SELECT upstream FROM repositories WHERE name = ?1 AND upstream IS NOT NULL";
    tx.query_row(sql, [name], |row| value(row, 0)).optional()
}

/// Keeps what `change` makes of a repository's upstream, and returns that.
pub(super) fn change_upstream(tx: &Transaction<'_>, name: &str, change: ChangeUpstream) -> rusqlite::Result<Upstream> {
    let upstream = change(upstream(tx, name)?);
    let sql = "INSERT INTO repositories (name, upstream) VALUES (?1, ?2)
        ON CONFLICT (name) DO UPDATE SET upstream = excluded.upstream";
    tx.execute(sql, params![name, json(&upstream)?])?;
    Ok(upstream)
}

/// Forgets a repository: its rules, its pull requests and their checks.
pub(super) fn forget(tx: &Transaction<'_>, name: &str) -> rusqlite::Result<()> {
    tx.execute("DELETE FROM checks WHERE repository = ?1", [name])?;
    tx.execute("DELETE FROM pulls WHERE repository = ?1", [name])?;
    tx.execute("DELETE FROM repositories WHERE name = ?1", [name]).map(drop)
}

/// Gives a repository another name, with all that is kept of it. What was kept under that name is forgotten.
pub(super) fn rename(tx: &Transaction<'_>, old: &str, new: &str) -> rusqlite::Result<()> {
    forget(tx, new)?;
    tx.execute("UPDATE checks SET repository = ?2 WHERE repository = ?1", [old, new])?;
    let sql = "UPDATE pulls SET repository = ?2, state = json_set(state, '$.repository', ?2) WHERE repository = ?1";
    tx.execute(sql, [old, new])?;
    tx.execute("UPDATE repositories SET name = ?2 WHERE name = ?1", [old, new]).map(drop)
}
