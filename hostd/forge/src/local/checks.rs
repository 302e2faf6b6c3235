//! Reports on checks, and their kept logs.

use hostd_core::{
    checks::{Check, NAME_MAX},
    ci::Key,
    text,
};
use tokio::fs;
use ulid::Ulid;

use super::{Local, now};
use crate::{About, ChangedCheck, ForgeError, Report};

/// Most bytes of a log that are kept, from its end.
const LOG_MAX: usize = 4 << 20;
/// Longest summary that is kept, in bytes.
const SUMMARY_MAX: usize = 512;
/// Longest URL that is taken, in bytes.
const URL_MAX: usize = 2048;

impl Local {
    pub(super) async fn whole_id(&self, repository: &str, commit: &str) -> Result<String, ForgeError> {
        let git = self.repositories.open(repository)?;
        let gone = || ForgeError::NoCommit { name: repository.into(), commit: text::clean(commit, 64) };
        if !(7..=64).contains(&commit.len()) || !commit.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(gone());
        }
        git.commit(commit).await?.ok_or_else(gone)
    }

    /// The whole id of a commit that is reported on. git is not asked of one that is the head of an open pull request's
    /// revision.
    async fn reported_commit(&self, repository: &str, commit: &str) -> Result<String, ForgeError> {
        self.repositories.open(repository)?;
        if self.storage.has_head(repository, commit).await? {
            return Ok(commit.to_owned());
        }
        self.whole_id(repository, commit).await
    }

    pub(super) async fn report_check(
        &self,
        repository: &str,
        commit: &str,
        report: Report,
    ) -> Result<bool, ForgeError> {
        let Report { name, state, summary, url, log } = report;
        check_name(&name)?;
        let is_web = url.is_empty() || url.starts_with("https://") || url.starts_with("http://");
        if !is_web || url.len() > URL_MAX {
            return Err(ForgeError::Invalid(format!("a check's URL is http or https, at most {URL_MAX} bytes")));
        }
        let commit = self.reported_commit(repository, commit).await?;
        let kept = match &log {
            Some(log) => Some(self.keep_log(log).await?),
            None => None,
        };
        let summary = text::clean(&text::one_line(&summary), SUMMARY_MAX);
        let url = text::clean(&text::one_line(&url), URL_MAX);
        let (fresh, log) = (name.clone(), kept.clone());
        let change = move |before: Option<&Check>| {
            let now = now();
            // A run goes on until it is over; what comes after that is another.
            let run = before.filter(|before| !before.state.is_over() || before.state == state);
            let log = log.or_else(|| run.and_then(|run| run.log.clone()));
            let started_at = run.map_or(now, |run| run.started_at);
            let after = Check { name: fresh, state, summary, url, log, started_at, updated_at: now };
            let same = |before: &&Check| Check { updated_at: before.updated_at, ..after.clone() } == **before;
            before.filter(same).is_none().then_some(after)
        };
        let key = Key { repository: repository.into(), commit, name };
        let ChangedCheck { before, changed, sessions } =
            self.storage.change_check(key.clone(), Box::new(change)).await?;
        if changed {
            let another = |before: &Check| kept.is_some() || (before.state.is_over() && before.state != state);
            let replaced = before.filter(another).and_then(|before| before.log);
            if let Some(old) = replaced {
                // Gone already is what was wanted.
                let _ = fs::remove_file(self.log_path(&old)).await;
            }
            self.hint(repository, About::Checks(key.commit), Some(sessions));
        }
        Ok(changed)
    }

    /// The kept log of a check; None: none is kept.
    pub(super) async fn kept_log(&self, check: &Check) -> Result<Option<Vec<u8>>, ForgeError> {
        let Some(id) = &check.log else { return Ok(None) };
        let path = self.log_path(id);
        match fs::read(&path).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ForgeError::File { path, error }),
        }
    }

    async fn keep_log(&self, log: &[u8]) -> Result<String, ForgeError> {
        let id = Ulid::new().to_string();
        let path = self.log_path(&id);
        let failed = |error| ForgeError::File { path: path.clone(), error };
        fs::create_dir_all(&self.logs).await.map_err(failed)?;
        fs::write(&path, &log[log.len().saturating_sub(LOG_MAX)..]).await.map_err(failed)?;
        Ok(id)
    }

    pub(super) fn log_path(&self, id: &str) -> std::path::PathBuf {
        self.logs.join(format!("{id}.log"))
    }
}

/// Checks that a text is fit for a check's name.
pub(super) fn check_name(name: &str) -> Result<(), ForgeError> {
    let harmless = text::one_line(&text::clean(name, NAME_MAX)) == name;
    if name.is_empty() || !harmless {
        let text =
            format!("{name:?} cannot be a check's name: 1 to {NAME_MAX} bytes on one line, without outer blanks");
        return Err(ForgeError::Invalid(text));
    }
    Ok(())
}
