use std::{
    fmt::Debug,
    path::{Path, PathBuf},
};

use async_trait::async_trait;

use super::ForgeError;

/// The bare repositories of a forge on this host: the gateway serves them to guests, and builds and diffs are made from them.
#[async_trait]
pub trait Mirror: Debug + Send + Sync {
    /// Folder that has the repositories, each as `NAME.git`.
    fn root(&self) -> &Path;

    /// Path of the repository of this name; None: there is none.
    fn repository(&self, name: &str) -> Option<PathBuf>;

    /// Id of the commit that a branch points to.
    ///
    /// # Errors
    /// [`ForgeError`] where there is no such repository or branch, or git fails.
    async fn head(&self, name: &str, branch: &str) -> Result<String, ForgeError>;

    /// The contents of a file at a commit; None: there is no file at this path. A symbolic link is none.
    ///
    /// # Errors
    /// [`ForgeError`] where there is no such repository, the file has more than `most` bytes, or git fails.
    async fn file(&self, name: &str, commit: &str, path: &str, most: usize) -> Result<Option<Vec<u8>>, ForgeError>;

    /// The default branch: the one that HEAD names. `help` says how to name another branch, for who has none.
    ///
    /// # Errors
    /// As [`Mirror::head`], and [`ForgeError::NoDefaultBranch`].
    async fn default_head(&self, name: &str, help: &str) -> Result<Head, ForgeError>;
}

/// A branch and the commit that it points to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Name of the branch, without `refs/heads/`.
    pub branch: String,
    /// Id of the commit, whole.
    pub commit: String,
}
