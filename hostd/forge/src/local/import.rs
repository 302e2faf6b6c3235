//! Bringing in a repository: cloned beside, looked at, then renamed into its place.

use std::path::Path;

use hostd_core::{recipe::is_repository_name, text, upstream::Upstream};
use tokio::{fs, sync::mpsc};

use super::{
    Local,
    credentials::{Credentials, advice},
    remote,
};
use crate::{ForgeError, Mirror as _, RepositoryInfo, git::Repository};

/// Prefix of a folder's name while a repository is being brought into it.
const HALF: &str = ".import-";
/// Prefix of a folder's name while a repository in it is being removed.
pub(super) const GONE: &str = ".removed-";

/// A repository that is to be brought in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Where the repository is: a URL, or an absolute path on this host.
    pub source: String,
    /// Name that the repository gets here; empty: made from the source.
    pub name: String,
    /// Branch that sessions begin on; empty: the one that the source's HEAD names.
    pub branch: String,
}

impl Local {
    pub(super) async fn import_repository(
        &self,
        import: Import,
        progress: mpsc::Sender<String>,
    ) -> Result<RepositoryInfo, ForgeError> {
        let name = name(&import)?;
        check_source(&import.source)?;
        let place = self.repositories.path(&name);
        if fs::try_exists(&place).await.unwrap_or(true) {
            return Err(ForgeError::Taken(name));
        }
        let root = self.repositories.root();
        let failed = |error| ForgeError::File { path: root.into(), error };
        fs::create_dir_all(root).await.map_err(failed)?;
        let half = tempfile::Builder::new().prefix(HALF).tempdir_in(root).map_err(failed)?;
        let bare = half.path().join("repository.git");
        clone(&import.source, &self.credentials, half.path(), &bare, progress).await?;
        let repository = Repository { path: bare.clone() };
        set_head(&repository, &import).await?;
        // Later pushes by whatever way leave their trace for pull requests.
        repository.run(["config", "core.logAllRefUpdates", "always"]).await?;
        // A folder that came meanwhile is not replaced: rename refuses where it is not empty.
        fs::rename(&bare, &place).await.map_err(|_| ForgeError::Taken(name.clone()))?;
        let upstream = Upstream { url: import.source, ..Upstream::default() };
        self.storage.change_upstream(&name, Box::new(|_| upstream)).await?;
        self.hint_at_repository(&name);
        self.repositories.info(&name).await
    }

    /// Removes what an earlier hostd left of imports and removals.
    pub(super) async fn remove_leftovers(&self) {
        let Ok(mut entries) = fs::read_dir(self.repositories.root()).await else { return };
        while let Ok(Some(entry)) = entries.next_entry().await {
            let name = entry.file_name();
            if [HALF, GONE].iter().any(|begin| name.to_string_lossy().starts_with(begin))
                && let Err(error) = fs::remove_dir_all(entry.path()).await
            {
                tracing::warn!(path = %entry.path().display(), %error, "what is left of a repository stays");
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
    check_name(&name)?;
    Ok(name)
}

pub(super) fn check_name(name: &str) -> Result<(), ForgeError> {
    if is_repository_name(name) {
        return Ok(());
    }
    let allowed = "at most 64 of `a-z 0-9 . _ -`, beginning with a letter or digit";
    Err(ForgeError::Invalid(format!("{name:?} cannot be a repository's name ({allowed}); choose another")))
}

pub(super) fn check_source(source: &str) -> Result<(), ForgeError> {
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

async fn clone(
    source: &str,
    file: &Path,
    half: &Path,
    bare: &Path,
    progress: mpsc::Sender<String>,
) -> Result<(), ForgeError> {
    let credentials = Credentials::new(source, file, half)?;
    let mut command = remote::git(half, &credentials).await?;
    command.args(["clone", "--bare", "--progress", "--no-local", "--template=", "--"]).arg(&credentials.url).arg(bare);
    let done = remote::run(&mut command, progress).await?;
    let shown = Upstream { url: source.into(), ..Upstream::default() }.shown();
    done.map_err(|words| {
        let help = advice(&words, file);
        ForgeError::NotImported(format!("{} could not be cloned:\n{words}{help}", text::clean(&shown, 1024)))
    })
}

/// Sets HEAD to the branch that sessions begin on, which must be there.
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
