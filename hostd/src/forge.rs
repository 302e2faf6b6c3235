//! Repositories and their git: bare repositories `NAME.git` in one folder.
//!
//! git runs here with an environment of its own: no configuration of the machine or of the user who started hostd takes part.

mod hooks;

use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use hostd_core::recipe::is_repository_name;
use tokio::process::Command;

pub(crate) use hooks::{PREFIX_VARIABLE, SLUG_VARIABLE, install};

/// For a question to git about a repository on this machine's disk.
const DEADLINE: Duration = Duration::from_secs(30);

/// Why a question to the forge has no answer. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ForgeError {
    /// No such repository.
    #[error("there is no repository `{name}`; make it with `git clone --bare SOURCE {}`", .path.display())]
    NoRepository {
        /// Asked for.
        name: String,
        /// Where it would be.
        path: PathBuf,
    },
    /// The repository has no such branch.
    #[error("repository `{name}` has no branch `{branch}`; push one to {}", .path.display())]
    NoBranch {
        /// The repository.
        name: String,
        /// Asked for.
        branch: String,
        /// Where it is.
        path: PathBuf,
    },
    /// git is not there, or did not answer.
    #[error("git: {0}; is git installed?")]
    Git(io::Error),
}

/// The local forge.
#[derive(Clone, Debug)]
pub struct Forge {
    root: PathBuf,
}

impl Forge {
    /// The forge whose repositories are the `NAME.git` folders in `root`.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root }
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
        let Some(path) = self.repository(name) else {
            return Err(ForgeError::NoRepository { name: name.into(), path: self.path(name) });
        };
        let mut git = git(&self.root);
        trust(&mut git, &path, &[]);
        git.arg("--git-dir").arg(&path).args(["rev-parse", "--verify", "--quiet", "--end-of-options"]);
        git.arg(format!("refs/heads/{branch}^{{commit}}"));
        let output = tokio::time::timeout(DEADLINE, git.output()).await;
        let output = output.map_err(|_| ForgeError::Git(io::ErrorKind::TimedOut.into()))?.map_err(ForgeError::Git)?;
        let commit = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if !output.status.success() || commit.len() < 40 || !commit.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(ForgeError::NoBranch { name: name.into(), branch: branch.into(), path });
        }
        Ok(commit)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(format!("{name}.git"))
    }
}

/// A git command that knows nothing but what it is told. Ended when dropped.
pub(crate) fn git(directory: &Path) -> Command {
    let mut git = Command::new("git");
    git.env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into()))
        .env("LANG", "C.UTF-8")
        .env("HOME", directory)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .current_dir(directory)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    git
}

/// Gives git its configuration. The repository may belong to another user than hostd's: it is in hostd's own folder.
pub(crate) fn trust(git: &mut Command, repository: &Path, settings: &[(&str, &str)]) {
    git.env("GIT_CONFIG_COUNT", (settings.len() + 1).to_string());
    git.env("GIT_CONFIG_KEY_0", "safe.directory").env("GIT_CONFIG_VALUE_0", repository);
    for (number, (key, value)) in (1..).zip(settings) {
        git.env(format!("GIT_CONFIG_KEY_{number}"), key).env(format!("GIT_CONFIG_VALUE_{number}"), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn heads_are_found_or_said_to_be_missing() {
        let root = tempfile::tempdir().unwrap();
        let forge = Forge::new(root.path().into());
        assert!(matches!(forge.head("a", "main").await, Err(ForgeError::NoRepository { .. })));
        assert!(forge.repository("../a").is_none());
        let run = async |args: &[&str]| {
            let output = git(root.path()).args(["-c", "user.name=a", "-c", "user.email=a@b"]).args(args).output().await;
            let output = output.unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        run(&["init", "-q", "--bare", "a.git"]).await;
        assert!(matches!(forge.head("a", "main").await, Err(ForgeError::NoBranch { .. })));
        let tree = run(&["--git-dir=a.git", "mktree"]).await;
        let commit = run(&["--git-dir=a.git", "commit-tree", "-m", "x", &tree]).await;
        run(&["--git-dir=a.git", "update-ref", "refs/heads/main", &commit]).await;
        assert_eq!(forge.head("a", "main").await.unwrap(), commit);
    }
}
