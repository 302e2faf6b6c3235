//! How long results of checks and their logs are kept: those of open pull requests for as long as these are open, others for
//! a while. Logs have room for so many bytes together; the oldest go first, those of open pull requests last.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hostd_core::UnixMillis;
use tokio::fs;

use super::{Local, now};
use crate::ForgeError;

/// Time between two sweeps.
const EVERY: Duration = Duration::from_secs(24 * 3600);
/// Time for which results are kept that no open pull request has, in milliseconds.
const RESULTS: UnixMillis = 30 * 24 * 3600 * 1000;
/// Time after which a log that no result names is removed, in milliseconds: until then it may be about to be named.
const UNNAMED: UnixMillis = 3600 * 1000;
/// Most bytes of all logs together.
const LOGS_MAX: u64 = 1 << 30;

/// A log that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Log {
    id: String,
    bytes: u64,
    written_at: UnixMillis,
}

impl Local {
    /// Sweeps now and every day, until this is dropped.
    pub async fn tidy(self) {
        let mut days = tokio::time::interval(EVERY);
        loop {
            days.tick().await;
            match self.sweep_checks(now(), LOGS_MAX).await {
                Ok((0, 0)) => {}
                Ok((results, logs)) => {
                    tracing::info!(results, logs, "old results of checks and their logs are removed")
                }
                Err(error) => tracing::warn!(%error, "old results of checks are not removed"),
            }
        }
    }

    /// Forgets old results, and removes logs that are not named or that there is no room for; returns how many of each.
    pub(super) async fn sweep_checks(&self, now: UnixMillis, most: u64) -> Result<(usize, usize), ForgeError> {
        // Listed first: what is written and named meanwhile is not taken for forgotten.
        let logs = self.kept_logs().await?;
        let (forgotten, named) = self.storage.forget_checks(now.saturating_sub(RESULTS)).await?;
        let gone = superfluous(logs, &named, now, most);
        for id in &gone {
            // Gone already is what was wanted.
            let _ = fs::remove_file(self.log_path(id)).await;
        }
        Ok((forgotten, gone.len()))
    }

    async fn kept_logs(&self) -> Result<Vec<Log>, ForgeError> {
        let failed = |error| ForgeError::File { path: self.logs.clone(), error };
        let mut folder = match fs::read_dir(&self.logs).await {
            Ok(folder) => folder,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
            Err(error) => return Err(failed(error)),
        };
        let mut logs = vec![];
        while let Some(entry) = folder.next_entry().await.map_err(failed)? {
            let name = entry.file_name();
            let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".log")) else { continue };
            let Ok(stat) = entry.metadata().await else { continue };
            let written_at = stat.modified().map_or(0, millis);
            logs.push(Log { id: id.to_owned(), bytes: stat.len(), written_at });
        }
        Ok(logs)
    }
}

fn millis(time: SystemTime) -> UnixMillis {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis::try_from(since.as_millis()).unwrap_or(UnixMillis::MAX)
}

/// Ids of logs to be removed. `named` says of each that a result names whether its pull request is open.
fn superfluous(logs: Vec<Log>, named: &BTreeMap<String, bool>, now: UnixMillis, most: u64) -> BTreeSet<String> {
    let (mut kept, unnamed): (Vec<_>, Vec<_>) = logs.into_iter().partition(|log| named.contains_key(&log.id));
    let old = unnamed.into_iter().filter(|log| now.saturating_sub(log.written_at) > UNNAMED);
    let mut gone: BTreeSet<_> = old.map(|log| log.id).collect();
    // The newest first, those of open pull requests before all others.
    kept.sort_by_key(|log| std::cmp::Reverse((named.get(&log.id).copied(), log.written_at)));
    let mut bytes = 0u64;
    for log in kept {
        bytes = bytes.saturating_add(log.bytes);
        if bytes > most {
            gone.insert(log.id);
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_logs_go_first_and_those_of_open_pull_requests_last() {
        let log = |id: &str, bytes, written_at| Log { id: id.into(), bytes, written_at };
        let logs =
            vec![log("old", 4, 1), log("open", 4, 0), log("new", 4, 2), log("unnamed", 1, 0), log("fresh", 1, 9)];
        let named = BTreeMap::from([("old".into(), false), ("open".into(), true), ("new".into(), false)]);
        let gone = |now, most| superfluous(logs.clone(), &named, now, most).into_iter().collect::<Vec<_>>();
        assert_eq!(gone(9, 12), Vec::<String>::new());
        assert_eq!(gone(9, 11), ["old"]);
        assert_eq!(gone(UNNAMED + 2, 7), ["new", "old", "unnamed"]);
    }
}
