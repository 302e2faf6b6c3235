//! The repositories of the local forge: bare, `NAME.git` in one folder.
//!
//! git runs here with an environment of its own: no configuration of the machine or of the user who started hostd takes part.

use std::path::PathBuf;

use hostd_core::recipe::{INTERNAL_HOST, is_repository_name};

use super::{ForgeError, RepositoryInfo, git::Repository};

/// The repositories.
#[derive(Clone, Debug)]
pub struct Repositories {
    root: PathBuf,
}

impl Repositories {
    /// The `NAME.git` folders in `root`.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Their folder.
    pub(super) fn root(&self) -> &PathBuf {
        &self.root
    }

    /// Where a repository is, if there is one of that name.
    #[must_use]
    pub fn repository(&self, name: &str) -> Option<PathBuf> {
        let path = self.path(name);
        (is_repository_name(name) && path.join("HEAD").is_file()).then_some(path)
    }

    /// The commit that a branch points at.
    ///
    /// # Errors
    /// [`ForgeError`] where there is no such repository or branch, or git fails.
    pub async fn head(&self, name: &str, branch: &str) -> Result<String, ForgeError> {
        let repository = self.open(name)?;
        let head = repository.commit(&format!("refs/heads/{branch}")).await?;
        let place = || repository.path.display().to_string();
        head.ok_or_else(|| ForgeError::NoBranch { name: name.into(), branch: branch.into(), place: place() })
    }

    /// The names of all, in order.
    ///
    /// # Errors
    /// [`ForgeError::File`] where the folder cannot be read.
    pub async fn names(&self) -> Result<Vec<String>, ForgeError> {
        let failed = |error| ForgeError::File { path: self.root.clone(), error };
        let mut entries = match tokio::fs::read_dir(&self.root).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
            Err(error) => return Err(failed(error)),
        };
        let mut names = vec![];
        while let Some(entry) = entries.next_entry().await.map_err(failed)? {
            let file = entry.file_name();
            let name = file.to_str().and_then(|file| file.strip_suffix(".git"));
            names.extend(name.filter(|name| self.repository(name).is_some()).map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }

    /// A repository as it stands.
    ///
    /// # Errors
    /// As [`Repositories::head`]; a broken HEAD is none.
    pub async fn info(&self, name: &str) -> Result<RepositoryInfo, ForgeError> {
        let repository = self.open(name)?;
        let branch = repository.run(["symbolic-ref", "--quiet", "--short", "HEAD"]).await?.line();
        let head = repository.commit("HEAD").await?.unwrap_or_default();
        let url = format!("http://{INTERNAL_HOST}/git/{name}.git");
        Ok(RepositoryInfo { name: name.into(), url, path: Some(repository.path), default_branch: branch, head })
    }

    pub(super) fn open(&self, name: &str) -> Result<Repository, ForgeError> {
        let path = self.repository(name).ok_or_else(|| ForgeError::NoRepository { name: name.into() })?;
        Ok(Repository { path })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(format!("{name}.git"))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::git, *};

    #[tokio::test]
    async fn heads_are_found_or_said_to_be_missing() {
        let root = tempfile::tempdir().unwrap();
        let forge = Repositories::new(root.path().into());
        assert!(matches!(forge.head("a", "main").await, Err(ForgeError::NoRepository { .. })));
        assert!(forge.repository("../a").is_none());
        let run = async |args: &[&str]| {
            let output = git(root.path()).args(["-c", "user.name=a", "-c", "user.email=a@b"]).args(args).output().await;
            let output = output.unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        run(&["init", "-q", "--bare", "-b", "main", "a.git"]).await;
        assert!(matches!(forge.head("a", "main").await, Err(ForgeError::NoBranch { .. })));
        assert_eq!(forge.info("a").await.unwrap().head, "");
        let tree = run(&["--git-dir=a.git", "mktree"]).await;
        let commit = run(&["--git-dir=a.git", "commit-tree", "-m", "x", &tree]).await;
        run(&["--git-dir=a.git", "update-ref", "refs/heads/main", &commit]).await;
        assert_eq!(forge.head("a", "main").await.unwrap(), commit);
        let info = forge.info("a").await.unwrap();
        assert_eq!((info.default_branch.as_str(), info.head), ("main", commit));
        assert_eq!(forge.names().await.unwrap(), ["a"]);
    }
}
