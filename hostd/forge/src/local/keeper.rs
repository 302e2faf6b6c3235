//! What only a forge on this host can do with its repositories.

use std::fmt::Debug;

use async_trait::async_trait;
use hostd_core::{
    pulls::Who,
    upstream::{Stands, Upstream},
};
use tokio::{process::Command, sync::mpsc};

use super::{Import, Local};
use crate::{ForgeError, RepositoryInfo};

/// A branch as a fetch from an upstream found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedBranch {
    /// Name of the branch.
    pub branch: String,
    /// How the branch stood to the upstream's before the fetch.
    pub stood: Stands,
    /// Number of commits that the branch had and the upstream's lacks.
    pub ahead: u64,
    /// Number of commits that the branch lacked and the upstream's has.
    pub behind: u64,
    /// Commit of the upstream's branch, to which the branch was moved where it was missing or behind.
    pub upstream: String,
}

/// A branch that was sent to an upstream, which has it now as it is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedBranch {
    /// Name of the branch.
    pub branch: String,
    /// Id of the branch's commit.
    pub commit: String,
}

/// Half of git's protocol that is served to a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Fetches and clones, by `git upload-pack`.
    Fetch,
    /// Pushes, by `git receive-pack`.
    Push,
}

/// What only a forge on this host can do: its repositories come in, are kept up, and are served to people. Lines of progress
/// go to `progress`, and are lost where nobody takes them.
#[async_trait]
pub trait Keeper: Debug + Send + Sync {
    /// Brings in a repository with all its branches and tags. Dropping it leaves nothing.
    ///
    /// # Errors
    /// [`ForgeError::Invalid`], [`ForgeError::Taken`], and [`ForgeError::NotImported`] with git's words.
    async fn import(&self, import: Import, progress: mpsc::Sender<String>) -> Result<RepositoryInfo, ForgeError>;

    /// The upstream of a repository.
    ///
    /// # Errors
    /// [`ForgeError::NoRepository`].
    async fn upstream(&self, name: &str) -> Result<Upstream, ForgeError>;

    /// Changes a repository's upstream (empty: none), and how often it is fetched from by itself, in seconds (0: never). None:
    /// that stays.
    ///
    /// # Errors
    /// [`ForgeError::NoRepository`], [`ForgeError::Invalid`].
    async fn set_upstream(&self, name: &str, url: Option<String>, fetch_every: Option<u64>) -> Result<(), ForgeError>;

    /// Fetches what is new at a repository's upstream: new branches and tags, and branches that have nothing of their own move
    /// on. Others stay as they are. Answers with every branch that is not the same; those of sessions are left out.
    ///
    /// # Errors
    /// [`ForgeError::Invalid`], and [`ForgeError::NotFetched`] with git's words.
    async fn fetch(&self, name: &str, progress: mpsc::Sender<String>) -> Result<Vec<FetchedBranch>, ForgeError>;

    /// Sends branches (none named: the default one) to a repository's upstream, which takes them only on top of what it has.
    ///
    /// # Errors
    /// [`ForgeError::Invalid`], and [`ForgeError::NotPushed`] with git's words.
    async fn push(
        &self,
        name: &str,
        branches: Vec<String>,
        progress: mpsc::Sender<String>,
    ) -> Result<Vec<PushedBranch>, ForgeError>;

    /// Removes a repository, with its pull requests and all that is kept of it.
    ///
    /// # Errors
    /// [`ForgeError::NoRepository`], [`ForgeError::Busy`].
    async fn remove(&self, name: &str) -> Result<(), ForgeError>;

    /// Gives a repository another name.
    ///
    /// # Errors
    /// [`ForgeError::NoRepository`], [`ForgeError::Taken`], [`ForgeError::Busy`].
    async fn rename(&self, name: &str, new: &str) -> Result<RepositoryInfo, ForgeError>;

    /// The program that serves a person's git on its stdin and stdout. `protocol` is that git's `GIT_PROTOCOL`.
    ///
    /// # Errors
    /// [`ForgeError::NoRepository`], [`ForgeError::NoRoom`].
    async fn serve(&self, name: &str, service: Service, who: &Who, protocol: &str) -> Result<Command, ForgeError>;

    /// Reads pull requests again after a person may have pushed to this repository.
    async fn pushed(&self, name: &str);
}

#[async_trait]
impl Keeper for Local {
    async fn import(&self, import: Import, progress: mpsc::Sender<String>) -> Result<RepositoryInfo, ForgeError> {
        self.import_repository(import, progress).await
    }

    async fn upstream(&self, name: &str) -> Result<Upstream, ForgeError> {
        self.upstream_of(name).await
    }

    async fn set_upstream(&self, name: &str, url: Option<String>, fetch_every: Option<u64>) -> Result<(), ForgeError> {
        self.change_upstream(name, url, fetch_every).await
    }

    async fn fetch(&self, name: &str, progress: mpsc::Sender<String>) -> Result<Vec<FetchedBranch>, ForgeError> {
        self.fetch_upstream(name, progress).await
    }

    async fn push(
        &self,
        name: &str,
        branches: Vec<String>,
        progress: mpsc::Sender<String>,
    ) -> Result<Vec<PushedBranch>, ForgeError> {
        self.push_upstream(name, branches, progress).await
    }

    async fn remove(&self, name: &str) -> Result<(), ForgeError> {
        self.remove_repository(name).await
    }

    async fn rename(&self, name: &str, new: &str) -> Result<RepositoryInfo, ForgeError> {
        self.rename_repository(name, new).await
    }

    async fn serve(&self, name: &str, service: Service, who: &Who, protocol: &str) -> Result<Command, ForgeError> {
        self.serve_git(name, service, who, protocol).await
    }

    async fn pushed(&self, name: &str) {
        self.look_after_push(name).await;
    }
}
