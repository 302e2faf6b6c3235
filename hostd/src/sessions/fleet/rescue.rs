//! The work of a session, put on a branch of its repository by hostd: whatever became of its VM.

use hostd_core::{Lifecycle, story::Event, text};

use super::{Hands, LINK_WAIT};
use crate::{
    clock::now,
    diff::{DiffError, Rescued, Words},
    sessions::{error::FleetError, vm::changes::working_tree},
};

/// Longest cause in a commit's message, in bytes.
const CAUSE_MAX: usize = 1024;

impl Hands<'_> {
    /// Puts all that the session's working tree has, and its merge base has not, on a new branch of its repository, below its own
    /// prefix. Its agent is neither started nor asked.
    ///
    /// # Errors
    /// As [`super::Fleet::diff`]; [`FleetError::Diff`] where there is nothing to put there.
    pub async fn rescue(&self, asked: &str) -> Result<Rescued, FleetError> {
        let handle = self.fleet.handle(asked)?;
        let record = handle.record.borrow().clone();
        let session = &record.session;
        let repository = session.repository.clone().ok_or(DiffError::NothingToCompare)?;
        let diffs = &self.fleet.ctx().diffs;
        let folder = self.fleet.ctx().folder(&handle.id);
        let kept = match session.lifecycle {
            Lifecycle::Running => {
                let live = handle.live_within(LINK_WAIT).await;
                let live = live.ok_or_else(|| FleetError::NotRunning("its guest does not answer".into()))?;
                let hello = live.link.client(LINK_WAIT).await;
                let hello = hello.map_err(|error| FleetError::NotRunning(error.to_string()))?;
                let kept = diffs.keep(&working_tree(&record, &hello), &folder.changes(), now()).await?;
                // It is of no other time.
                folder.forget_changes().await;
                kept
            }
            _ => self.fleet.kept_on_disk(&handle, &record).await?,
        };
        let cause = match &session.lifecycle {
            Lifecycle::Crashed { cause } | Lifecycle::Stopped { cause } => {
                format!("\n\n{}", text::clean(&cause.to_string(), CAUSE_MAX))
            }
            _ => String::new(),
        };
        let message = format!("Work of {} that was not pushed{cause}", session.slug);
        let words = Words { author: session.slug.clone(), message };
        let rescued = diffs.rescue(&repository, kept, &session.branch_prefix(), &words).await?;
        let told = format!("its work to the branch {} of {repository}", rescued.branch);
        let event = Event::new(&handle.id, now(), self.actor.clone(), "rescued", &told);
        if let Err(error) = self.fleet.ctx().store.add_event(event).await {
            tracing::warn!(slug = handle.slug, %error, "a rescue is not in the story");
        }
        Ok(rescued)
    }
}
