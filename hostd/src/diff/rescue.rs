//! A session's working tree as a branch of its repository.

use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
};

use tempfile::TempDir;

use super::{
    Diffs,
    error::DiffError,
    git::{self, Git},
    kept::{Kept, drain},
    trees::is_id,
};

/// Most branches of a session's that its work is put on.
const BRANCHES: u32 = 100;
/// Longest answer of git that is read, in bytes.
const ANSWER: u64 = 4096;

/// Work that was put on a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rescued {
    /// Name of the branch, without `refs/heads/`.
    pub branch: String,
    /// Id of its commit.
    pub commit: String,
    /// What could not be read, in words for a person; empty: nothing.
    pub missing: String,
}

/// Who the commit is of, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// Name of the author; its address is of no host.
    pub author: String,
    /// Message of the commit.
    pub message: String,
}

impl Diffs {
    /// Puts a working tree on a new branch of its repository, as one commit on its merge base: `PREFIXrescue-1`, or the next that is free.
    /// Work that is on one of them already is not put there again. What the guest has made is checked as a push of it would be.
    ///
    /// # Errors
    /// Where contents of it were left out, there is nothing in it that its merge base has not, or git fails.
    pub async fn rescue(
        &self,
        repository: &str,
        kept: Kept,
        prefix: &str,
        words: &Words,
    ) -> Result<Rescued, DiffError> {
        let path = self.repository(repository)?;
        let (base, tree, missing) = kept.label();
        if missing.contains("left out") {
            let why = format!("{missing}; restart the session and push from it");
            return Err(DiffError::WorkingTree(why));
        }
        let beside = TempDir::new_in(&self.scratch)?;
        let fresh = repository_beside(&path, beside.path()).await?;
        pour_into(kept, &fresh).await?;
        if !is_commit(&path, &base).await? {
            return Err(DiffError::NoRevision { repository: repository.into(), revision: base });
        }
        if ask(&path, &["rev-parse", "--verify", "-q", &format!("{base}^{{tree}}")]).await? == tree {
            return Err(DiffError::WorkingTree(format!("it has nothing that {} has not", short(&base))));
        }
        for number in 1..=BRANCHES {
            let branch = format!("{prefix}rescue-{number}");
            let name = format!("refs/heads/{branch}");
            let there = ask(&path, &["rev-parse", "--verify", "-q", &name]).await.unwrap_or_default();
            if is_id(&there) {
                if ask(&path, &["rev-parse", "--verify", "-q", &format!("{there}^{{tree}}")]).await? == tree {
                    return Ok(Rescued { branch, commit: there, missing });
                }
                continue;
            }
            let commit = commit(&fresh, (&base, &tree), words).await?;
            let mut fetch = git::command(&path);
            fetch.args(["-c", "fetch.fsckObjects=true", "fetch", "-q", "--no-tags", "--no-write-fetch-head"]);
            fetch.arg(&fresh).arg(format!("refs/heads/rescue:{name}"));
            git::run(&fetch, ANSWER).await?;
            return Ok(Rescued { branch, commit, missing });
        }
        Err(DiffError::WorkingTree(format!("there are {BRANCHES} branches {prefix}rescue-N already; delete some")))
    }
}

/// A repository in this folder that has what the other one has.
async fn repository_beside(below: &Path, folder: &Path) -> Result<PathBuf, DiffError> {
    let fresh = folder.join("rescue.git");
    let objects = below.join("objects");
    let objects = objects.to_str().filter(|path| !path.contains(['\n', '"']));
    let objects =
        objects.ok_or_else(|| io::Error::other("the data folder's path has characters that git cannot take"))?;
    tokio::fs::create_dir(&fresh).await?;
    let mut init = git::command(&fresh);
    init.args(["init", "-q", "--bare"]);
    git::run(&init, ANSWER).await?;
    tokio::fs::write(fresh.join("objects/info/alternates"), format!("{objects}\n")).await?;
    Ok(fresh)
}

/// Takes the pack into that repository.
async fn pour_into(kept: Kept, fresh: &Path) -> Result<(), DiffError> {
    let mut command = git::command(fresh);
    command.args(["index-pack", "--stdin", "--fix-thin", "--threads=1"]);
    let mut git = Git::start(&command, Stdio::piped())?;
    let stdin = git.stdin.take().ok_or_else(|| io::Error::other("its pipes are missing"))?;
    let poured = kept.pour(stdin).await;
    drain(&mut git).await?;
    git.finish().await?;
    Ok(poured?)
}

async fn commit(fresh: &Path, (base, tree): (&str, &str), words: &Words) -> Result<String, DiffError> {
    let mut make = git::command(fresh);
    for who in ["AUTHOR", "COMMITTER"] {
        make.env(format!("GIT_{who}_NAME"), &words.author);
        make.env(format!("GIT_{who}_EMAIL"), "rescue@pilothouse.internal");
    }
    make.args(["commit-tree", tree, "-p", base, "-m", &words.message]);
    let made = String::from_utf8_lossy(&git::run(&make, ANSWER).await?).trim().to_owned();
    let mut name = git::command(fresh);
    name.args(["update-ref", "refs/heads/rescue", &made]);
    git::run(&name, ANSWER).await?;
    Ok(made)
}

async fn is_commit(repository: &Path, id: &str) -> Result<bool, DiffError> {
    let found = ask(repository, &["rev-parse", "--verify", "-q", &format!("{id}^{{commit}}")]).await;
    match found {
        Ok(found) => Ok(found == id),
        Err(DiffError::Failed(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn ask(repository: &Path, question: &[&str]) -> Result<String, DiffError> {
    let mut git = git::command(repository);
    git.args(question);
    Ok(String::from_utf8_lossy(&git::run(&git, ANSWER).await?).trim().to_owned())
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
