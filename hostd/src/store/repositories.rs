//! Repositories of the local forge: where they came from, and what is renamed or forgotten with them.

use hostd_core::upstream::Upstream;
use rusqlite::{OptionalExtension as _, params};

use super::{
    Store, StoreError,
    columns::{json, value},
};

impl Store {
    /// The upstream of a repository; None: nobody has set any.
    ///
    /// # Errors
    /// [`StoreError::Write`] for a row that is not understood.
    pub async fn upstream(&self, repository: &str) -> Result<Option<Upstream>, StoreError> {
        let name = repository.to_owned();
        self.transact(move |tx| {
            let sql = "SELECT upstream FROM repositories WHERE name = ?1 AND upstream IS NOT NULL";
            tx.query_row(sql, [name], |row| value(row, 0)).optional()
        })
        .await
    }

    /// Keeps what `change` makes of it, and returns that.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub async fn change_upstream(
        &self,
        repository: &str,
        change: impl FnOnce(Option<Upstream>) -> Upstream + Send + 'static,
    ) -> Result<Upstream, StoreError> {
        let name = repository.to_owned();
        self.transact(move |tx| {
            let sql = "SELECT upstream FROM repositories WHERE name = ?1 AND upstream IS NOT NULL";
            let upstream = change(tx.query_row(sql, [&name], |row| value(row, 0)).optional()?);
            let sql = "INSERT INTO repositories (name, upstream) VALUES (?1, ?2)
                ON CONFLICT (name) DO UPDATE SET upstream = excluded.upstream";
            tx.execute(sql, params![name, json(&upstream)?])?;
            Ok(upstream)
        })
        .await
    }

    /// Forgets a repository: its rules, its pull requests and their checks. Their logs are removed as those of others are
    /// that nothing names.
    ///
    /// # Errors
    /// [`StoreError::Write`]; nothing is forgotten then.
    pub async fn forget_repository(&self, repository: &str) -> Result<(), StoreError> {
        let name = repository.to_owned();
        self.transact(move |tx| {
            tx.execute("DELETE FROM checks WHERE repository = ?1", [&name])?;
            tx.execute("DELETE FROM pulls WHERE repository = ?1", [&name])?;
            tx.execute("DELETE FROM repositories WHERE name = ?1", [&name]).map(drop)
        })
        .await
    }

    /// Gives a repository another name, with all that is kept of it. What was kept under that name, of one that was removed
    /// by hand, is forgotten.
    ///
    /// # Errors
    /// [`StoreError::Write`]; nothing is changed then.
    pub async fn rename_repository(&self, old: &str, new: &str) -> Result<(), StoreError> {
        let (old, new) = (old.to_owned(), new.to_owned());
        self.transact(move |tx| {
            for table in ["checks", "pulls"] {
                tx.execute(&format!("DELETE FROM {table} WHERE repository = ?1"), [&new])?;
            }
            tx.execute("DELETE FROM repositories WHERE name = ?1", [&new])?;
            tx.execute("UPDATE checks SET repository = ?2 WHERE repository = ?1", [&old, &new])?;
            let sql =
                "UPDATE pulls SET repository = ?2, state = json_set(state, '$.repository', ?2) WHERE repository = ?1";
            tx.execute(sql, [&old, &new])?;
            tx.execute("UPDATE repositories SET name = ?2 WHERE name = ?1", [&old, &new]).map(drop)
        })
        .await
    }
}
