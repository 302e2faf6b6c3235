//! Bringing in a repository: cloned beside, looked at, then renamed into its place.

use std::{collections::VecDeque, fmt::Debug, path::Path, process::Stdio, time::Duration};

use async_trait::async_trait;
use hostd_core::{recipe::is_repository_name, text};
use tokio::{
    fs,
    io::{AsyncRead, AsyncReadExt as _},
    sync::mpsc,
    time::timeout,
};

use super::Local;
use crate::{
    forge::{
        About, ForgeError, RepositoryInfo,
        git::{Repository, git},
    },
    process::Group,
};

/// What a folder is called while it is being filled.
const HALF: &str = ".import-";
/// For all of it.
const DEADLINE: Duration = Duration::from_secs(3600);
/// Longest line of progress, in bytes.
const LINE_MAX: usize = 1024;
/// Lines of git's last words that an error repeats.
const WORDS: usize = 8;

/// What is to be brought in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// A URL, or an absolute path on this host.
    pub source: String,
    /// What it is called here; empty: made from the source.
    pub name: String,
    /// The branch that sessions begin on; empty: the one that the source's HEAD names.
    pub branch: String,
}

/// What only a forge on this host can do: repositories are brought in to it. Another has them already.
#[async_trait]
pub trait Importer: Debug + Send + Sync {
    /// Brings in a repository with all its branches and tags. Lines of progress go to `progress`, and are lost where nobody
    /// takes them. Dropping it leaves nothing.
    ///
    /// # Errors
    /// [`ForgeError::Invalid`], [`ForgeError::Taken`], and [`ForgeError::NotImported`] with git's words.
    async fn import(&self, import: Import, progress: mpsc::Sender<String>) -> Result<RepositoryInfo, ForgeError>;
}

#[async_trait]
impl Importer for Local {
    async fn import(&self, import: Import, progress: mpsc::Sender<String>) -> Result<RepositoryInfo, ForgeError> {
        let name = name(&import)?;
        check_source(&import.source)?;
        let place = self.repositories.path(&name);
        if fs::try_exists(&place).await.unwrap_or(true) {
            return Err(ForgeError::Taken(name));
        }
        let root = self.repositories.root();
        let failed = |error| ForgeError::File { path: root.clone(), error };
        fs::create_dir_all(root).await.map_err(failed)?;
        let half = tempfile::Builder::new().prefix(HALF).tempdir_in(root).map_err(failed)?;
        let bare = half.path().join("repository.git");
        timeout(DEADLINE, clone(&import.source, half.path(), &bare, progress))
            .await
            .map_err(|_| ForgeError::NotImported("it took longer than an hour and was given up".into()))??;
        let repository = Repository { path: bare.clone() };
        set_head(&repository, &import).await?;
        // Later pushes by whatever way leave their trace for pull requests.
        repository.run(["config", "core.logAllRefUpdates", "always"]).await?;
        // A folder that came meanwhile is not replaced: rename refuses where it is not empty.
        fs::rename(&bare, &place).await.map_err(|_| ForgeError::Taken(name.clone()))?;
        self.hint(&name, About::Repository);
        self.repositories.info(&name).await
    }
}

impl Local {
    /// What an earlier hostd left of imports.
    pub(super) async fn remove_half_imports(&self) {
        let Ok(mut entries) = fs::read_dir(self.repositories.root()).await else { return };
        while let Ok(Some(entry)) = entries.next_entry().await {
            if entry.file_name().to_string_lossy().starts_with(HALF)
                && let Err(error) = fs::remove_dir_all(entry.path()).await
            {
                tracing::warn!(path = %entry.path().display(), %error, "a half import stays");
            }
        }
    }
}

fn name(import: &Import) -> Result<String, ForgeError> {
    let of_source = || {
        let last = import.source.trim_end_matches('/').trim_end_matches("/.git").rsplit(['/', ':']).next();
        let last = last.unwrap_or_default();
        last.strip_suffix(".git").unwrap_or(last).to_lowercase()
    };
    let name = if import.name.is_empty() { of_source() } else { import.name.clone() };
    if is_repository_name(&name) {
        return Ok(name);
    }
    let allowed = "at most 64 of `a-z 0-9 . _ -`, beginning with a letter or digit";
    Err(ForgeError::Invalid(format!("{name:?} cannot be a repository's name ({allowed}); choose one with --name")))
}

fn check_source(source: &str) -> Result<(), ForgeError> {
    let scheme =
        ["https://", "http://", "git://", "ssh://", "file:///"].iter().any(|scheme| source.starts_with(scheme));
    // user@host:path, as ssh and git write it.
    let short = source.split_once(':').is_some_and(|(host, _)| host.contains('@') && !host.contains('/'));
    if source.starts_with('-') || !(scheme || short || source.starts_with('/')) {
        let text = format!("{source:?} is neither a URL that git understands nor an absolute path on the host");
        return Err(ForgeError::Invalid(text));
    }
    Ok(())
}

async fn clone(source: &str, half: &Path, bare: &Path, progress: mpsc::Sender<String>) -> Result<(), ForgeError> {
    // The source may belong to another user, and git asks its global configuration alone whether that is all right.
    let config = half.join("gitconfig");
    let failed = |error| ForgeError::File { path: config.clone(), error };
    fs::write(&config, "[safe]\n\tdirectory = *\n").await.map_err(failed)?;
    let mut command = git(half);
    command
        .env("GIT_CONFIG_GLOBAL", &config)
        .env("GIT_ALLOW_PROTOCOL", "file:git:http:https:ssh")
        .env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
        .args(["clone", "--bare", "--progress", "--no-local", "--template=", "--"])
        .arg(source)
        .arg(bare)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let (mut group, pipes) = Group::spawn(&mut command).map_err(ForgeError::Git)?;
    let words = listen(pipes.stderr, &progress).await;
    let status = group.wait().await.map_err(ForgeError::Git)?;
    if status.success() {
        return Ok(());
    }
    Err(ForgeError::NotImported(format!("{} could not be cloned:\n{}", text::clean(source, 1024), words.join("\n"))))
}

/// Passes lines on (progress ends them with CR), and keeps the last that are no progress.
async fn listen(pipe: Option<impl AsyncRead + Unpin>, progress: &mpsc::Sender<String>) -> Vec<String> {
    let mut words = VecDeque::new();
    let Some(mut pipe) = pipe else { return vec![] };
    let (mut line, mut buffer) = (vec![], [0; 1024]);
    while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
        for &byte in &buffer[..length] {
            if byte != b'\r' && byte != b'\n' {
                if line.len() < LINE_MAX {
                    line.push(byte);
                }
                continue;
            }
            let text = text::clean(&text::one_line(&String::from_utf8_lossy(&line)), LINE_MAX);
            line.clear();
            if text.is_empty() {
                continue;
            }
            if !text.contains('%') {
                words.push_back(text.clone());
                words.drain(..words.len().saturating_sub(WORDS));
            }
            // Who is slow misses some.
            let _ = progress.try_send(text);
        }
    }
    words.into()
}

/// Lets HEAD name the branch that sessions begin on, which must be there.
async fn set_head(repository: &Repository, import: &Import) -> Result<(), ForgeError> {
    let branches = repository.branches().await?;
    if branches.is_empty() {
        return Err(ForgeError::NotImported("the repository has no branch; push a commit to it first".into()));
    }
    let named = repository.head_branch().await?;
    let wanted = if import.branch.is_empty() { &named } else { &import.branch };
    if !branches.contains(wanted) || repository.commit(&format!("refs/heads/{wanted}")).await?.is_none() {
        let some = branches[..branches.len().min(ForgeError::PATHS)].join(", ");
        let what = match import.branch.as_str() {
            "" if wanted.is_empty() => "its HEAD names no branch".to_owned(),
            "" => format!("its HEAD names the branch `{wanted}`, which is not there"),
            branch => format!("it has no branch `{branch}`"),
        };
        return Err(ForgeError::NotImported(format!("{what}; choose one with --branch, of: {some}")));
    }
    let ran = repository.run(["symbolic-ref", "HEAD", &format!("refs/heads/{wanted}")]).await?;
    if ran.code == 0 { Ok(()) } else { Err(ran.failed("setting HEAD")) }
}
