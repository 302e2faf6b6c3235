//! The two trees that are compared, and where their objects are.

use std::path::PathBuf;

use tempfile::TempDir;
use tokio::process::Command;

use super::{
    error::DiffError,
    git,
    objects::Objects,
    types::{Revisions, Start},
};

/// Longest name of a revision, in bytes.
const REVISION_MAX: usize = 256;

/// Two trees of a repository that are compared.
#[derive(Debug)]
pub(super) struct Trees {
    repository: PathBuf,
    /// Folder with objects that the repository does not have.
    pub(super) more: Option<TempDir>,
    /// Id of the old commit.
    pub(super) old: String,
    /// Id of the new commit or tree.
    pub(super) new: String,
}

impl Trees {
    /// The trees of two revisions, and the git that was asked for them, for more questions.
    pub(super) async fn of(repository: PathBuf, asked: &Revisions) -> Result<(Self, Start, Objects), DiffError> {
        let mut objects = Objects::start(git::command(&repository))?;
        let mut ids = [String::new(), String::new()];
        for (id, name) in ids.iter_mut().zip([&asked.old, &asked.new]) {
            *id = commit(&mut objects, name).await?.ok_or_else(|| DiffError::NoRevision {
                repository: asked.repository.clone(),
                revision: name.clone(),
            })?;
        }
        let [mut old, new] = ids;
        if asked.since_merge_base {
            let mut git = git::command(&repository);
            git.args(["merge-base", &old, &new]);
            let found = git::run(&git, 128).await.map(|out| String::from_utf8_lossy(&out).trim().to_owned());
            old = match found {
                Ok(base) if is_id(&base) => base,
                Ok(_) | Err(DiffError::Failed(_)) => {
                    return Err(DiffError::NoMergeBase {
                        repository: asked.repository.clone(),
                        old: asked.old.clone(),
                        new: asked.new.clone(),
                    });
                }
                Err(error) => return Err(error),
            };
        }
        let start = Start { old: old.clone(), new: new.clone(), ..Start::default() };
        Ok((Self { repository, more: None, old, new }, start, objects))
    }

    /// The trees of a commit of the repository and of a tree among `more` objects.
    pub(super) fn with(repository: PathBuf, more: TempDir, old: String, new: String) -> Self {
        Self { repository, more: Some(more), old, new }
    }

    /// A git command that can read both trees.
    pub(super) fn git(&self) -> Command {
        let mut git = git::command(&self.repository);
        if let Some(more) = &self.more {
            git.env("GIT_OBJECT_DIRECTORY", more.path());
        }
        git
    }
}

/// The id of the commit that a revision names; None: there is none.
pub(super) async fn commit(objects: &mut Objects, name: &str) -> Result<Option<String>, DiffError> {
    let name = if name.is_empty() { "HEAD" } else { name };
    // A colon names files, braces search; and `cat-file` reads one question a line.
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ':' | '{');
    if name.len() > REVISION_MAX || name.starts_with('-') || name.contains(odd) {
        return Err(DiffError::Invalid(format!(
            "{name:?} is no name of a commit; give a branch, a tag or a commit id"
        )));
    }
    objects.ask_info(&format!("{name}^{{commit}}")).await?;
    Ok(objects.info().await?.map(|info| info.id))
}

/// Whether it is the whole id of an object.
pub(super) fn is_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
