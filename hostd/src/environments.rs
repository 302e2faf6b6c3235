//! Recipe to build: bases, setup in a VM, immutable disks.

mod types;

use std::{path::Path, sync::Arc};

use tokio::sync::{broadcast, mpsc};

use crate::{gateway::Gateway, vm::Vmm};

pub use types::{BuildEvent, BuildInfo, EnvironmentError, EnvironmentInfo, EnvironmentState, ReadyBuild};

/// The environments of a host. State is files under the data folder, never SQLite.
pub struct Environments {
    changes: broadcast::Sender<EnvironmentInfo>,
}

impl Environments {
    /// Reads what the data folder knows, and sweeps builds that an earlier hostd left half done.
    ///
    /// # Errors
    /// [`EnvironmentError::File`] where the data folder cannot be read or written.
    pub async fn open(data: &Path, vmm: Arc<dyn Vmm>, gateway: Arc<Gateway>) -> Result<Arc<Self>, EnvironmentError> {
        let _ = (data, vmm, gateway);
        Ok(Arc::new(Self { changes: broadcast::channel(64).0 }))
    }

    /// All environments, by name.
    #[must_use]
    pub fn list(&self) -> Vec<EnvironmentInfo> {
        vec![]
    }

    /// One environment.
    ///
    /// # Errors
    /// [`EnvironmentError::NotFound`].
    pub fn get(&self, name: &str) -> Result<EnvironmentInfo, EnvironmentError> {
        Err(EnvironmentError::NotFound { name: name.into(), known: vec![] })
    }

    /// Every change from now on. Bounded: a reader that lags reads [`Environments::list`] again.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<EnvironmentInfo> {
        self.changes.subscribe()
    }

    /// Checks a recipe and keeps it; returns its name. `source` stands in errors, and as where it came from.
    ///
    /// # Errors
    /// [`EnvironmentError::BadRecipe`], [`EnvironmentError::TooLarge`], [`EnvironmentError::File`]; nothing is kept then.
    pub async fn register(&self, source: &str, text: &str) -> Result<String, EnvironmentError> {
        let recipe = hostd_core::Recipe::parse(source, text).map_err(EnvironmentError::BadRecipe)?;
        Ok(recipe.name)
    }

    /// Builds an environment, or joins the build of it that is under way: its progress from the start on, ended by
    /// [`BuildEvent::Done`] or [`BuildEvent::Failed`]. The build goes on when the receiver is dropped.
    ///
    /// # Errors
    /// [`EnvironmentError::NotFound`].
    pub async fn build(self: &Arc<Self>, name: &str) -> Result<mpsc::Receiver<BuildEvent>, EnvironmentError> {
        Err(EnvironmentError::NotFound { name: name.into(), known: vec![] })
    }

    /// What a session of this environment starts from.
    ///
    /// # Errors
    /// [`EnvironmentError::NotFound`], [`EnvironmentError::NoBuild`], [`EnvironmentError::TooLarge`].
    pub fn ready(&self, name: &str) -> Result<ReadyBuild, EnvironmentError> {
        Err(EnvironmentError::NotFound { name: name.into(), known: vec![] })
    }
}
