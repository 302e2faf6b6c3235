//! Programs of agent profiles: packages of npm and PyPI, fetched by the host's own `npm` and `pip` with whatever configuration
//! they have, at exactly the profile's versions, and without a line of the packages' own install scripts being run here.
//!
//! What is fetched becomes one archive of what is put into a base image: the packages below `/opt/agents/NAME`, and links or
//! small scripts in `/usr/local/bin`. It is named by the hash of its inputs, there whole or not at all, and the newest of them
//! are kept.

mod archive;
mod fetch;
mod launchers;
#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use hostd_core::{
    Recipe,
    profile::{Pin, Profile},
    recipe::System,
};

use super::{files, progress::Progress, types::EnvironmentError};

/// Format of archives; raised when the same inputs would give another one.
const FORMAT: &str = "programs 1";
/// Most bytes of archives that are kept, beside the one that was made last.
const KEPT_MAX: u64 = 4 << 30;
/// Extension of an archive.
const ARCHIVE: &str = "tar";

/// What is to be fetched for a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Hash of all that the archive depends on.
    pub(super) hash: String,
    profile: Profile,
    /// Version of the guest's Python; None: nobody knows which this system has.
    python: Option<&'static str>,
    /// Name of the system, for people.
    system: String,
}

impl Wanted {
    /// What a recipe's profile wants fetched; None: nothing.
    pub(super) fn of(recipe: &Recipe) -> Option<Self> {
        let profile =
            recipe.profile.as_deref().filter(|profile| !(profile.npm.is_empty() && profile.python.is_empty()))?;
        let (system, python) = match &recipe.base.system {
            System::Debian(suite) => (format!("Debian {suite}"), python_of(suite)),
            System::Devcontainer { .. } => ("a devcontainer.json's image".into(), None),
            System::Image { reference, .. } => (reference.to_string(), None),
        };
        let python = python.filter(|_| !profile.python.is_empty());
        let Profile { name, npm, python: wheels, programs, .. } = profile;
        // JSON, so that no two lists of words look alike.
        let inputs = serde_json::json!([FORMAT, name, npm, wheels, programs, python]);
        let hash = blake3::hash(inputs.to_string().as_bytes()).to_hex()[..16].to_owned();
        Some(Self { hash, profile: profile.clone(), python, system })
    }

    /// The packages, each with its version, for people.
    fn packages(&self) -> String {
        let pins = self.profile.npm.iter().chain(&self.profile.python);
        pins.map(|Pin { package, version }| format!("{package} {version}")).collect::<Vec<_>>().join(", ")
    }
}

/// Version of the Python that a Debian has.
fn python_of(suite: &str) -> Option<&'static str> {
    match suite {
        "bookworm" => Some("3.11"),
        "trixie" => Some("3.13"),
        _ => None,
    }
}

/// The archives of programs.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    folder: PathBuf,
    /// PATH that programs of the host are looked for in; None: hostd's own.
    path: Option<OsString>,
}

impl Programs {
    pub(super) fn at(folder: PathBuf) -> Self {
        Self { folder, path: None }
    }

    /// The archive of what is wanted, which is fetched if it is not there.
    ///
    /// # Errors
    /// The step's failure, where it cannot be fetched or is not what was wanted; [`EnvironmentError::Vm`] where npm or pip is
    /// missing.
    pub(super) async fn archive(&self, wanted: &Wanted, progress: &Progress) -> Result<PathBuf, EnvironmentError> {
        let archive = self.folder.join(format!("{}.{ARCHIVE}", wanted.hash));
        if files::stat(&archive).await.is_some() {
            progress.output(format!("{} is there already", wanted.packages()));
            return Ok(archive);
        }
        let workshop = self.folder.join(format!("new-{}", wanted.hash));
        files::remove(&workshop).await?;
        let made = self.make(wanted, &workshop, &archive, progress).await;
        files::remove(&workshop).await?;
        made?;
        self.prune(&archive).await?;
        Ok(archive)
    }

    async fn make(
        &self,
        wanted: &Wanted,
        workshop: &Path,
        archive: &Path,
        progress: &Progress,
    ) -> Result<(), EnvironmentError> {
        let root = files::folder(workshop.join("root")).await?;
        let packages = files::folder(root.join(wanted.profile.folder().trim_start_matches('/'))).await?;
        progress.output(format!("fetches {}", wanted.packages()));
        fetch::npm(&wanted.profile, &packages, self.path.as_ref(), progress).await?;
        fetch::python(wanted, &packages, self.path.as_ref(), progress).await?;
        launchers::put(&wanted.profile, &packages, &root, progress).await?;
        let fresh = workshop.join("fresh");
        archive::pack(&root, &fresh, progress).await?;
        files::freeze(&fresh).await?;
        files::publish(&fresh, archive).await
    }

    /// Removes the oldest archives beyond [`KEPT_MAX`], and what an earlier hostd left half done; never this one.
    async fn prune(&self, latest: &Path) -> Result<(), EnvironmentError> {
        let mut archives = vec![];
        for name in files::names(&self.folder).await? {
            let path = self.folder.join(&name);
            if path == latest {
                continue;
            }
            match files::stat(&path).await {
                Some(stat) if path.extension().is_some_and(|extension| extension == ARCHIVE) => {
                    archives.push((stat.stamp, stat.on_disk, path));
                }
                // One build is made at a time: nobody else works in here.
                _ => files::remove(&path).await?,
            }
        }
        archives.sort();
        let mut kept = 0;
        for (_, on_disk, path) in archives.into_iter().rev() {
            kept += on_disk;
            if kept > KEPT_MAX {
                files::remove(&path).await?;
            }
        }
        Ok(())
    }
}
