//! Recipe to build: bases, setup in a VM, immutable disks.
//!
//! ```text
//! recipe ──▶ base (mmdebstrap or image, *.ext4)   ──▶ VM: clone, setup, power off ──▶ builds/ID/disk.qcow2
//!            builds/ID/template (memory, devices) ◀── VM: boot, freeze ◀──────────────┘
//!                                                     sessions: clones of it, own layer on disk.qcow2 on the base
//! ```
//! A build is named by the hash of its inputs (base, repository, commit, setup, and the machine that its template is): the
//! same inputs are built once. What is built is never changed and never in the way of what is in use: it is made in a folder
//! of its own and renamed when whole.

mod agent;
mod bake;
mod base;
mod base_of_debian;
mod base_of_image;
mod build;
mod catalog;
mod collect;
mod devcontainer;
mod exec;
mod files;
mod lines;
mod manifest;
mod mirrors;
mod packages;
mod profiles;
mod programs;
mod progress;
mod template;
#[cfg(test)]
pub(crate) mod tests;
mod types;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hostd_core::{
    Recipe,
    profile::Profiles,
    recipe::{Egress, with_egress},
};
use tokio::sync::{broadcast, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{admission::Admission, forge::Mirror, gateway::Gateway, guest_vm, registry::Images, vm::Vmm};
use catalog::{Catalog, Current, Entry};
use manifest::Shelf;
use programs::Programs;
use progress::Progress;

pub use types::{
    AllowedInRecipe, BuildEvent, BuildInfo, DevcontainerInfo, EnvironmentError, EnvironmentInfo, EnvironmentState,
    ReadyBuild,
};

/// Most changes that a slow watcher may be behind; then it is told that it missed some.
const CHANGES: usize = 64;

/// The environments of a host. State is files under the data folder, never SQLite.
pub struct Environments {
    vmm: Arc<dyn Vmm>,
    gateway: Arc<Gateway>,
    mirror: Arc<dyn Mirror>,
    admission: Admission,
    shelf: Shelf,
    catalog: Catalog,
    programs: Programs,
    images: Images,
    /// Path of the base that the last build of each environment was for, in so far as it is made from a container image: which one
    /// that is, its recipe alone does not say.
    bases_of_images: Mutex<BTreeMap<String, PathBuf>>,
    /// Folder of the host's own agent profiles.
    agents: PathBuf,
    entries: Mutex<BTreeMap<String, Entry>>,
    changes: broadcast::Sender<EnvironmentInfo>,
    /// Held by the build under way: one is made at a time.
    turn: tokio::sync::Mutex<()>,
    /// Held while a recipe is registered, changed, or put into use with a build: one is at a time.
    registering: tokio::sync::Mutex<()>,
    builds: TaskTracker,
    closing: CancellationToken,
}

impl Environments {
    /// Reads the environments of the data folder; builds clone from `mirror` and have their room from `admission`. Sweeps builds that an earlier hostd left
    /// half done.
    ///
    /// # Errors
    /// [`EnvironmentError::File`] where the data folder cannot be read or written.
    pub async fn open(
        data: &Path,
        vmm: Arc<dyn Vmm>,
        gateway: Arc<Gateway>,
        mirror: Arc<dyn Mirror>,
        admission: Admission,
    ) -> Result<Arc<Self>, EnvironmentError> {
        let shelf = Shelf {
            builds: files::folder(data.join("builds")).await?,
            bases: files::folder(data.join("bases")).await?,
        };
        let catalog = Catalog { root: files::folder(data.join("environments")).await? };
        let agents = data.join("agents");
        let programs = Programs::at(files::folder(data.join("programs")).await?);
        let images = Images::at(files::folder(data.join("images")).await?, gateway.clone());
        let entries = Mutex::new(catalog.load(&shelf, &profiles::read(&agents).await?).await?);
        let environments = Self {
            vmm,
            gateway,
            mirror,
            admission,
            shelf,
            catalog,
            programs,
            images,
            bases_of_images: Mutex::default(),
            agents,
            entries,
            changes: broadcast::channel(CHANGES).0,
            turn: tokio::sync::Mutex::default(),
            registering: tokio::sync::Mutex::default(),
            builds: TaskTracker::new(),
            closing: CancellationToken::new(),
        };
        environments.sweep().await?;
        if let Err(error) = environments.images.prune(None).await {
            tracing::warn!(%error, "images that were pulled are not cleaned up");
        }
        Ok(Arc::new(environments))
    }

    /// The agent profiles that recipes may name: the shipped ones, and over them the host's own.
    ///
    /// # Errors
    /// [`EnvironmentError::File`] where the folder of the host's own cannot be read.
    pub async fn profiles(&self) -> Result<Profiles, EnvironmentError> {
        profiles::read(&self.agents).await
    }

    /// All environments, by name.
    #[must_use]
    pub fn list(&self) -> Vec<EnvironmentInfo> {
        self.lock().values().map(Entry::info).collect()
    }

    /// The environment of this name.
    ///
    /// # Errors
    /// [`EnvironmentError::NotFound`].
    pub fn get(&self, name: &str) -> Result<EnvironmentInfo, EnvironmentError> {
        let entries = self.lock();
        find(&entries, name).map(Entry::info)
    }

    /// Receives every change from now on. Bounded: a reader that lags reads [`Environments::list`] again.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<EnvironmentInfo> {
        self.changes.subscribe()
    }

    /// Checks a recipe and keeps it; returns its name. `source` stands in errors, and as where it came from.
    ///
    /// # Errors
    /// [`EnvironmentError::BadRecipe`], [`EnvironmentError::TooLarge`], [`EnvironmentError::File`]; nothing is kept then.
    pub async fn register(&self, source: &str, text: &str) -> Result<String, EnvironmentError> {
        let profiles = profiles::read(&self.agents).await?;
        let recipe = Recipe::parse_with(source, text, &profiles).map_err(EnvironmentError::BadRecipe)?;
        fits(&recipe)?;
        let name = recipe.name.clone();
        let _one = self.registering.lock().await;
        // Else a build of a built-in recipe would make it look registered.
        if self.lock().get(&name).is_some_and(|entry| entry.text == text) {
            return Ok(name);
        }
        self.catalog.register(source, text, &name).await?;
        let info = {
            let mut entries = self.lock();
            let entry = entries.entry(name.clone()).or_insert_with(|| Entry::new(source, text, recipe.clone()));
            (entry.source, entry.text, entry.recipe) = (source.into(), text.into(), recipe);
            entry.info()
        };
        self.tell(info);
        Ok(name)
    }

    /// Adds a destination to the registered recipe of an environment. It is in use at once where the recipe was.
    ///
    /// # Errors
    /// [`EnvironmentError::NotFound`], and as of [`Environments::register`]; nothing is changed then.
    pub async fn allow(&self, name: &str, egress: &Egress) -> Result<AllowedInRecipe, EnvironmentError> {
        let profiles = profiles::read(&self.agents).await?;
        let _one = self.registering.lock().await;
        let (text, source, before, current) = {
            let entries = self.lock();
            let entry = find(&entries, name)?;
            // A build under way publishes the recipe that it was begun with.
            let current = entry.current.clone().filter(|_| entry.building.is_none());
            (entry.text.clone(), entry.source.clone(), entry.recipe.clone(), current)
        };
        let (text, recipe) = with_egress(&source, &text, &profiles, egress).map_err(EnvironmentError::BadRecipe)?;
        // Built in it is not any more.
        let kept = if source == catalog::BUILT_IN_SOURCE { "registered" } else { &source };
        // A profile that has changed since is for the next build, too.
        let is_all = Recipe { egress: before.egress.clone(), ..recipe.clone() } == before;
        let in_use = current.filter(|current| is_all && current.recipe == current.manifest.with_image(&before));
        // First what is in use: where the other fails, nothing of it is in the way of a registration.
        if let Some(current) = &in_use {
            self.catalog.point(&current.manifest.id, &text, &recipe).await?;
        }
        self.catalog.register(kept, &text, name).await?;
        let (info, next_build) = {
            let mut entries = self.lock();
            let entry = entries.entry(name.into()).or_insert_with(|| Entry::new(kept, &text, recipe.clone()));
            (entry.source, entry.text, entry.recipe) = (kept.into(), text, recipe.clone());
            let same =
                |current: &&mut Current| in_use.as_ref().is_some_and(|was| was.manifest.id == current.manifest.id);
            if let Some(current) = entry.current.as_mut().filter(same) {
                current.recipe = current.manifest.with_image(&recipe);
            }
            // A build that began meanwhile has the recipe as it was.
            (entry.info(), in_use.is_none() || entry.building.is_some())
        };
        self.tell(info);
        Ok(AllowedInRecipe { source, next_build })
    }

    /// Builds an environment, or joins the build of the same recipe that is under way. The receiver gets its progress from the
    /// start on, ended by [`BuildEvent::Done`] or [`BuildEvent::Failed`]. The build goes on when the receiver is dropped.
    ///
    /// # Errors
    /// [`EnvironmentError::NotFound`]; [`EnvironmentError::BadRecipe`] where the profile that the recipe names is not what it was
    /// and cannot be used any more.
    pub async fn build(self: &Arc<Self>, name: &str) -> Result<mpsc::Receiver<BuildEvent>, EnvironmentError> {
        let profiles = profiles::read(&self.agents).await?;
        let (job, info) = {
            let mut entries = self.lock();
            let known = entries.keys().cloned().collect();
            let Some(entry) = entries.get_mut(name) else {
                return Err(EnvironmentError::NotFound { name: name.into(), known });
            };
            if let Some(progress) = entry.building.as_ref().filter(|progress| progress.recipe == entry.text) {
                return Ok(progress.read());
            }
            let again = Recipe::parse_with(&entry.source, &entry.text, &profiles);
            entry.recipe = again.map_err(EnvironmentError::BadRecipe)?;
            let progress = Progress::new(entry.text.clone());
            entry.building = Some(progress.clone());
            (build::Job { recipe: entry.recipe.clone(), progress }, entry.info())
        };
        self.tell(info);
        let events = job.progress.read();
        self.builds.spawn(build::run(self.clone(), job));
        Ok(events)
    }

    /// The build that a session of this environment starts from.
    ///
    /// # Errors
    /// [`EnvironmentError::NotFound`], [`EnvironmentError::NoBuild`], [`EnvironmentError::TooLarge`].
    pub fn ready(&self, name: &str) -> Result<ReadyBuild, EnvironmentError> {
        let entries = self.lock();
        let Some(Current { manifest, recipe }) = &find(&entries, name)?.current else {
            return Err(EnvironmentError::NoBuild { name: name.into() });
        };
        fits(recipe)?;
        let layers = vec![self.shelf.base(manifest), self.shelf.disk(&manifest.id)];
        let template = manifest.template_bytes.map(|_| self.shelf.template(&manifest.id));
        let named = || recipe.repository.as_ref().and_then(|repository| repository.branch.clone()).unwrap_or_default();
        let branch = if manifest.branch.is_empty() { named() } else { manifest.branch.clone() };
        Ok(ReadyBuild { id: manifest.id.clone(), recipe: recipe.clone(), branch, layers, template })
    }

    /// Ends builds that are under way and waits until nothing of them runs any more, as hostd stops.
    pub async fn close(&self) {
        self.closing.cancel();
        self.builds.close();
        self.builds.wait().await;
    }

    /// Records the end of a build: the build that is in use now, or why it failed.
    fn finished(&self, job: &build::Job, outcome: Result<Current, String>) -> EnvironmentInfo {
        let info = {
            let mut entries = self.lock();
            let name = job.recipe.name.clone();
            let text = &job.progress.recipe;
            let entry = entries.entry(name).or_insert_with(|| Entry::new("registered", text, job.recipe.clone()));
            // A later recipe may be waiting for its turn already.
            if entry.building.as_ref().is_some_and(|progress| Arc::ptr_eq(progress, &job.progress)) {
                entry.building = None;
            }
            match outcome {
                Ok(current) => (entry.current, entry.error) = (Some(current), String::new()),
                Err(error) => entry.error = error,
            }
            entry.info()
        };
        self.tell(info.clone());
        info
    }

    /// Ends and removes what is left of builds that were cut off.
    async fn sweep(&self) -> Result<(), EnvironmentError> {
        for workshop in self.shelf.workshops().await? {
            if guest_vm::end_orphan(&*self.vmm, &workshop.join("vm"), "the VM of a build").await {
                files::remove(&workshop).await?;
            }
        }
        for image in base::unfinished(&self.shelf.bases).await? {
            files::remove(&image).await?;
        }
        Ok(())
    }

    fn tell(&self, info: EnvironmentInfo) {
        // Nobody watching is fine.
        let _ = self.changes.send(info);
    }

    fn bases_of_images(&self) -> MutexGuard<'_, BTreeMap<String, PathBuf>> {
        self.bases_of_images.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find<'a>(entries: &'a BTreeMap<String, Entry>, name: &str) -> Result<&'a Entry, EnvironmentError> {
    entries
        .get(name)
        .ok_or_else(|| EnvironmentError::NotFound { name: name.into(), known: entries.keys().cloned().collect() })
}

/// Checks whether this host has the memory for one VM of the environment.
fn fits(recipe: &Recipe) -> Result<(), EnvironmentError> {
    let system = rustix::system::sysinfo();
    let host = system.totalram.saturating_mul(u64::from(system.mem_unit));
    let memory = recipe.size.memory;
    if memory > host {
        return Err(EnvironmentError::TooLarge { name: recipe.name.clone(), memory, host });
    }
    Ok(())
}
