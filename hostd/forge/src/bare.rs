//! The repositories of the local forge: bare, `NAME.git` in one folder.
//!
//! git runs here with an environment of its own: no configuration of the machine or of the user who started hostd takes part.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use hostd_core::{
    recipe::{INTERNAL_HOST, is_branch_name, is_repository_name},
    text,
};

use super::{ForgeError, Head, Mirror, RepositoryInfo, git::Repository};

/// Longest remark on a HEAD, in bytes: what it names is foreign.
const WHY_MAX: usize = 512;

/// The bare repositories of the local forge.
#[derive(Clone, Debug)]
pub struct BareRepositories {
    root: PathBuf,
}

impl BareRepositories {
    /// The repositories that are the `NAME.git` folders in `root`.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The mirror whose repositories are the `NAME.git` folders in `root`.
    #[must_use]
    pub fn at(root: PathBuf) -> Arc<dyn Mirror> {
        Arc::new(Self::new(root))
    }

    /// The names of all repositories, in order.
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

    /// Reads a repository as it is now.
    ///
    /// # Errors
    /// As [`Mirror::head`]; a broken HEAD is none.
    pub async fn info(&self, name: &str) -> Result<RepositoryInfo, ForgeError> {
        let repository = self.open(name)?;
        let branch = repository.head_branch().await?;
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

#[async_trait]
impl Mirror for BareRepositories {
    fn root(&self) -> &Path {
        &self.root
    }

    fn repository(&self, name: &str) -> Option<PathBuf> {
        let path = self.path(name);
        (is_repository_name(name) && path.join("HEAD").is_file()).then_some(path)
    }

    async fn head(&self, name: &str, branch: &str) -> Result<String, ForgeError> {
        let repository = self.open(name)?;
        let head = repository.commit(&format!("refs/heads/{branch}")).await?;
        let place = || repository.path.display().to_string();
        head.ok_or_else(|| ForgeError::NoBranch { name: name.into(), branch: branch.into(), place: place() })
    }

    async fn file(&self, name: &str, commit: &str, path: &str, most: usize) -> Result<Option<Vec<u8>>, ForgeError> {
        let repository = self.open(name)?;
        let listed = ["--literal-pathspecs", "ls-tree", "-z", "-l", "--end-of-options", commit, "--", path];
        let ran = repository.run(listed).await?;
        if ran.code != 0 {
            return Err(ran.failed("looking for a file"));
        }
        let line = String::from_utf8_lossy(&ran.stdout).into_owned();
        let entry = line.split('\0').next().and_then(|entry| entry.split_once('\t'));
        let fields: Vec<&str> = entry.iter().flat_map(|(fields, _)| fields.split_whitespace()).collect();
        let &["100644" | "100664" | "100755", "blob", id, size] = fields.as_slice() else { return Ok(None) };
        if size.parse::<usize>().is_ok_and(|size| size > most) {
            let path = text::clean(path, WHY_MAX);
            return Err(ForgeError::Invalid(format!("{path} has {size} bytes; at most {most} are read")));
        }
        let ran = repository.run(["cat-file", "blob", id]).await?;
        if ran.code == 0 { Ok(Some(ran.stdout)) } else { Err(ran.failed("reading a file")) }
    }

    async fn default_head(&self, name: &str, help: &str) -> Result<Head, ForgeError> {
        let repository = self.open(name)?;
        let branch = repository.head_branch().await?;
        let commit = repository.commit(&format!("refs/heads/{branch}")).await?;
        let branches = repository.branches().await?;
        let why = match (branch.as_str(), commit) {
            (named, Some(commit)) if is_branch_name(named) => return Ok(Head { branch, commit }),
            _ if branches.is_empty() => "it is empty".to_owned(),
            ("", _) => "its HEAD names no branch".into(),
            (named, Some(_)) => format!("its HEAD names {named:?}, which cannot be a branch's name here"),
            (gone, None) => format!("its HEAD names the branch {gone:?}, which is not there"),
        };
        // Those of sessions are many, and nobody begins on them.
        let others = branches.into_iter().filter(|name| !name.starts_with("agent/"));
        let some: Vec<String> = others.take(ForgeError::PATHS).collect();
        let help = if some.is_empty() {
            format!("push a branch to {}, and {help} if HEAD does not name that one", repository.path.display())
        } else {
            format!("{help}, of: {}", some.join(", "))
        };
        Err(ForgeError::NoDefaultBranch { name: name.into(), why: text::clean(&why, WHY_MAX), help })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::git, *};

    async fn run(at: &Path, args: &[&str]) -> String {
        let output = git(at).args(["-c", "user.name=a", "-c", "user.email=a@b"]).args(args).output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    #[tokio::test]
    async fn heads_are_found_or_said_to_be_missing() {
        let root = tempfile::tempdir().unwrap();
        let forge = BareRepositories::new(root.path().into());
        assert!(matches!(forge.head("a", "main").await, Err(ForgeError::NoRepository { .. })));
        assert!(forge.repository("../a").is_none());
        let run = async |args: &[&str]| run(root.path(), args).await;
        run(&["init", "-q", "--bare", "-b", "main", "a.git"]).await;
        assert!(matches!(forge.head("a", "main").await, Err(ForgeError::NoBranch { .. })));
        assert_eq!(forge.info("a").await.unwrap().head, "");
        let tree = run(&["--git-dir=a.git", "mktree"]).await;
        let commit = run(&["--git-dir=a.git", "commit-tree", "-m", "x", &tree]).await;
        run(&["--git-dir=a.git", "update-ref", "refs/heads/main", &commit]).await;
        assert_eq!(forge.head("a", "main").await.unwrap(), commit);
        // Of the same name as the branch: git would call that `heads/main` to be clear.
        run(&["--git-dir=a.git", "update-ref", "refs/tags/main", &commit]).await;
        let info = forge.info("a").await.unwrap();
        assert_eq!((info.default_branch.as_str(), info.head), ("main", commit));
        assert_eq!(forge.names().await.unwrap(), ["a"]);
    }

    #[tokio::test]
    async fn files_are_read_at_a_commit() {
        let root = tempfile::tempdir().unwrap();
        let forge = BareRepositories::new(root.path().into());
        let run = async |args: &[&str]| run(root.path(), args).await;
        run(&["init", "-q", "-b", "main", "work"]).await;
        std::fs::create_dir(root.path().join("work/sub")).unwrap();
        std::fs::write(root.path().join("work/sub/*.json"), "{}").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.path().join("work/link")).unwrap();
        run(&["-C", "work", "add", "."]).await;
        run(&["-C", "work", "commit", "-q", "-m", "x"]).await;
        run(&["clone", "-q", "--bare", "work", "a.git"]).await;
        let head = forge.head("a", "main").await.unwrap();
        let file = async |path: &str, most: usize| forge.file("a", &head, path, most).await;
        assert_eq!(file("sub/*.json", 2).await.unwrap().as_deref(), Some(&b"{}"[..]));
        assert!(matches!(file("sub/*.json", 1).await, Err(ForgeError::Invalid(_))));
        for nothing in ["sub", "link", "gone", "sub/a.json"] {
            assert_eq!(file(nothing, 9).await.unwrap(), None, "{nothing}");
        }
    }

    #[tokio::test]
    async fn the_default_branch_is_what_head_names_or_the_error_says_what_to_do() {
        let root = tempfile::tempdir().unwrap();
        let forge = BareRepositories::new(root.path().into());
        let run = async |args: &[&str]| run(root.path(), args).await;
        let refused = async || forge.default_head("a", "name one").await.unwrap_err().to_string();
        run(&["init", "-q", "--bare", "-b", "trunk", "a.git"]).await;
        let place = root.path().join("a.git").display().to_string();
        let empty = format!("it is empty; push a branch to {place}, and name one if HEAD does not name that one");
        assert_eq!(refused().await, format!("repository `a` has no default branch: {empty}"));

        let tree = run(&["--git-dir=a.git", "mktree"]).await;
        let commit = run(&["--git-dir=a.git", "commit-tree", "-m", "x", &tree]).await;
        for name in ["heads/trunk", "heads/other", "heads/a+b", "heads/agent/x/work", "tags/trunk"] {
            run(&["--git-dir=a.git", "update-ref", &format!("refs/{name}"), &commit]).await;
        }
        assert_eq!(forge.default_head("a", "").await.unwrap(), Head { branch: "trunk".into(), commit: commit.clone() });
        for (head, says) in [
            ("refs/heads/gone", "its HEAD names the branch \"gone\", which is not there"),
            ("refs/heads/a+b", "its HEAD names \"a+b\", which cannot be a branch's name here"),
            ("refs/tags/trunk", "its HEAD names no branch"),
        ] {
            run(&["--git-dir=a.git", "symbolic-ref", "HEAD", head]).await;
            let expected = format!("repository `a` has no default branch: {says}; name one, of: other, trunk");
            assert_eq!(refused().await, expected);
        }
    }
}
