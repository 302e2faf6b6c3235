//! The life of one run.

use std::sync::Arc;

use hostd_core::{
    checks::CheckState,
    ci::{Key, SUPERSEDED},
    text,
};
use tokio_util::sync::CancellationToken;

use super::{Ci, Job, Log, State, vm::End};

/// Longest summary, in bytes: it stands in tables.
const SUMMARY: usize = 200;

impl Ci {
    /// Runs a check and reports what it found. What says nothing of the commit is tried once more.
    pub(super) async fn run(self: Arc<Self>, key: Key, job: Job, log: Arc<Log>, cancel: CancellationToken) {
        self.report(&key, CheckState::Running, "", None).await;
        let mut end = self.attempt(&key, &job, &log, &cancel).await;
        if let End::Broken(why) = &end {
            tracing::warn!(check = %key, why, "a run broke; it is tried once more");
            log.note(&format!("{why}; it is tried once more"));
            end = self.attempt(&key, &job, &log, &cancel).await;
        }
        let (state, summary) = match end {
            // As running it is found, and begun again, by the next hostd.
            End::Closing => return log.end(),
            End::Cancelled => (CheckState::Cancelled, SUPERSEDED.into()),
            End::Passed => (CheckState::Passed, log.last_line()),
            End::Failed(why) => (CheckState::Failed, why),
            End::TimedOut => (CheckState::Failed, format!("timed out after {}", duration(job.check.timeout))),
            End::Broken(why) => (CheckState::Errored, why),
        };
        let summary = text::clean(&text::one_line(&summary), SUMMARY);
        log.note(&match summary.as_str() {
            "" => state.word().to_owned(),
            summary => format!("{}: {summary}", state.word()),
        });
        tracing::info!(check = %key, state = state.word(), summary, "a check is over");
        let kept = self.report(&key, state, &summary, Some(log.all())).await;
        // Without its log, where there is no room for it.
        let kept = kept || self.report(&key, state, &summary, None).await;
        log.end();
        if kept {
            self.forget(&key);
            if state == CheckState::Cancelled {
                self.look_again.notify_one();
            }
            return;
        }
        if let Some(run) = self.runs().get_mut(&key) {
            run.state = State::Lost;
        }
    }
}

fn duration(seconds: u64) -> String {
    match seconds {
        s if s % 3600 == 0 => format!("{} h", s / 3600),
        s if s % 60 == 0 => format!("{} min", s / 60),
        s => format!("{s} s"),
    }
}
