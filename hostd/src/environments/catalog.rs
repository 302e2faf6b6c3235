//! The environments that a host knows: the built-in ones, and what stands in `environments/NAME/`.
//!
//! ```text
//! recipe.toml    as registered; in its place, a built-in recipe of the same name
//! source         where it came from
//! current.json   the build in use, and the recipe that goes with it; absent: none
//! error, log     of the last build, if it failed
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use hostd_core::{
    Recipe,
    profile::{Profile, Profiles},
};
use serde::{Deserialize, Serialize};

use super::{
    files,
    manifest::{Manifest, Shelf},
    progress::Progress,
    types::{BuildInfo, EnvironmentError, EnvironmentInfo, EnvironmentState},
};

const BUILT_IN: [&str; 1] = [include_str!("../../../environments/demo.toml")];
pub(super) const BUILT_IN_SOURCE: &str = "built-in";

/// What is known of one environment.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) source: String,
    pub(super) text: String,
    pub(super) recipe: Recipe,
    pub(super) current: Option<Current>,
    /// Builds of the environment that are not in use, and that sessions lie on.
    pub(super) older: Vec<BuildInfo>,
    pub(super) error: String,
    pub(super) building: Option<Arc<Progress>>,
}

/// The build of an environment that is in use.
#[derive(Clone, Debug)]
pub(super) struct Current {
    pub(super) manifest: Manifest,
    /// Recipe that the build is used with; later than the manifest's where what changed since does not touch the disk: its
    /// agent, its size, its egress.
    pub(super) recipe: Recipe,
}

/// Content of `current.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Pointer {
    build: String,
    recipe: String,
    /// Profile that the recipe named, as it was then; None: it named none.
    #[serde(default)]
    profile: Option<Profile>,
}

impl Entry {
    pub(super) fn new(source: &str, text: &str, recipe: Recipe) -> Self {
        let (source, text) = (source.into(), text.into());
        Self { source, text, recipe, current: None, older: vec![], error: String::new(), building: None }
    }

    pub(super) fn info(&self) -> EnvironmentInfo {
        let state = match (&self.building, self.error.is_empty(), &self.current) {
            (Some(_), _, _) => EnvironmentState::Building,
            (None, false, _) => EnvironmentState::Failed,
            (None, true, Some(_)) => EnvironmentState::Ready,
            (None, true, None) => EnvironmentState::Unbuilt,
        };
        EnvironmentInfo {
            name: self.recipe.name.clone(),
            recipe: self.text.clone(),
            source: self.source.clone(),
            state,
            error: self.error.clone(),
            build: self.current.as_ref().map(|current| current.manifest.info()),
            older: self.older.clone(),
            size: self.recipe.size,
            repository: self.recipe.repository.as_ref().map(|r| r.url.clone()).unwrap_or_default(),
            also_read: self.recipe.also_read().to_vec(),
            credentials: self.recipe.credentials.clone(),
            agent: self.recipe.agent.command.clone(),
            warm: self.current.as_ref().map(|current| current.recipe.warm).unwrap_or_default(),
        }
    }
}

/// The folders of environments.
#[derive(Clone, Debug)]
pub(super) struct Catalog {
    pub(super) root: PathBuf,
}

impl Catalog {
    /// Reads all environments. A registered recipe that cannot be read any more is left out, with a warning: it must not keep
    /// hostd from starting.
    pub(super) async fn load(
        &self,
        shelf: &Shelf,
        profiles: &Profiles,
    ) -> Result<BTreeMap<String, Entry>, EnvironmentError> {
        let mut entries = BTreeMap::new();
        for text in BUILT_IN {
            let recipe = Recipe::parse_with(BUILT_IN_SOURCE, text, profiles).map_err(EnvironmentError::BadRecipe)?;
            entries.insert(recipe.name.clone(), Entry::new(BUILT_IN_SOURCE, text, recipe));
        }
        for name in files::names(&self.root).await? {
            let folder = self.root.join(&name);
            let Some(text) = files::read(&folder.join("recipe.toml")).await? else { continue };
            let source = files::read(&folder.join("source")).await?.unwrap_or_else(|| "registered".into());
            match Recipe::parse_with(&folder.join("recipe.toml").to_string_lossy(), &text, profiles) {
                Ok(recipe) if recipe.name == name => {
                    entries.insert(name, Entry::new(&source, &text, recipe));
                }
                Ok(recipe) => tracing::warn!(folder = name, recipe = recipe.name, "a recipe is in another's folder"),
                Err(error) => tracing::warn!(%error, "an environment is left out"),
            }
        }
        for (name, entry) in &mut entries {
            let folder = self.root.join(name);
            entry.current = current(&folder, shelf).await?;
            entry.error = files::read(&folder.join("error")).await?.unwrap_or_default();
        }
        Ok(entries)
    }

    pub(super) async fn register(&self, source: &str, text: &str, name: &str) -> Result<(), EnvironmentError> {
        let folder = files::folder(self.root.join(name)).await?;
        files::write(&folder.join("source"), source.as_bytes()).await?;
        files::write(&folder.join("recipe.toml"), text.as_bytes()).await
    }

    /// Puts a build into use, with the text of the recipe that it was asked for with.
    pub(super) async fn publish(&self, build: &str, text: &str, recipe: &Recipe) -> Result<(), EnvironmentError> {
        self.point(build, text, recipe).await?;
        let folder = self.root.join(&recipe.name);
        files::remove(&folder.join("error")).await?;
        files::remove(&folder.join("log")).await
    }

    /// Has a build used with this text of a recipe.
    pub(super) async fn point(&self, build: &str, text: &str, recipe: &Recipe) -> Result<(), EnvironmentError> {
        let folder = files::folder(self.root.join(&recipe.name)).await?;
        let profile = recipe.profile.as_deref().cloned();
        let pointer = Pointer { build: build.into(), recipe: text.into(), profile };
        let text = serde_json::to_string_pretty(&pointer).unwrap_or_default();
        files::write(&folder.join("current.json"), text.as_bytes()).await
    }

    /// Ids of the builds that all environments point at, also of those that could not be loaded; None: one of them cannot be
    /// read.
    pub(super) async fn pointers(&self) -> Result<Option<BTreeSet<String>>, EnvironmentError> {
        let mut builds = BTreeSet::new();
        for name in files::names(&self.root).await? {
            let Some(text) = files::read(&self.root.join(&name).join("current.json")).await? else { continue };
            let Ok(pointer) = serde_json::from_str::<Pointer>(&text) else {
                tracing::warn!(environment = name, "current.json makes no sense; no build is removed");
                return Ok(None);
            };
            builds.insert(pointer.build);
        }
        Ok(Some(builds))
    }

    /// Keeps why a build failed, and all that it said.
    pub(super) async fn keep_failure(&self, name: &str, error: &str, log: &str) -> Result<(), EnvironmentError> {
        let folder = files::folder(self.root.join(name)).await?;
        files::write(&folder.join("log"), log.as_bytes()).await?;
        files::write(&folder.join("error"), error.as_bytes()).await
    }
}

async fn current(folder: &Path, shelf: &Shelf) -> Result<Option<Current>, EnvironmentError> {
    let Some(text) = files::read(&folder.join("current.json")).await? else { return Ok(None) };
    let Ok(pointer) = serde_json::from_str::<Pointer>(&text) else { return Ok(None) };
    let profiles = Profiles::of(pointer.profile);
    let Ok(recipe) = Recipe::parse_with("current.json", &pointer.recipe, &profiles) else { return Ok(None) };
    Ok(shelf.find(&pointer.build).await?.map(|manifest| {
        let recipe = manifest.with_image(&recipe);
        Current { manifest, recipe }
    }))
}
