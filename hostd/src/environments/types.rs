use std::{io, path::PathBuf, sync::Arc};

use hostd_core::{Recipe, RecipeError, UnixMillis, recipe::Warm, session::Size};

use crate::vm::VmError;

/// Where an environment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvironmentState {
    /// Never built.
    Unbuilt,
    /// Being built; an older build may be in use meanwhile.
    Building,
    /// Has a build.
    Ready,
    /// Its last build failed; an older build may still be in use.
    Failed,
}

impl EnvironmentState {
    /// The word of the API and of `--json`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unbuilt => "unbuilt",
            Self::Building => "building",
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }
}

/// An environment, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentInfo {
    /// Its name.
    pub name: String,
    /// Its recipe, TOML as registered.
    pub recipe: String,
    /// Where the recipe came from: `built-in`, or the source it was registered with.
    pub source: String,
    /// Where it stands.
    pub state: EnvironmentState,
    /// Why its last build failed; empty where it did not.
    pub error: String,
    /// The build in use.
    pub build: Option<BuildInfo>,
    /// Earlier ones, which sessions still lie on.
    pub older: Vec<BuildInfo>,
    /// Of its VMs.
    pub size: Size,
    /// Its repository's URL; empty: none.
    pub repository: String,
    /// Names of the other repositories of this host that its sessions may read.
    pub also_read: Vec<String>,
    /// Its agent's command.
    pub agent: Vec<String>,
    /// How many VMs of the build in use stand ready.
    pub warm: Warm,
}

/// A build, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildInfo {
    /// First 16 hex digits of the hash of its inputs.
    pub id: String,
    /// Of the repository; empty: none.
    pub commit: String,
    /// When it was made.
    pub created_at: UnixMillis,
    /// Bytes on disk, without the base.
    pub size_bytes: u64,
    /// Bytes on disk of the base, shared with other builds.
    pub base_bytes: u64,
    /// Bytes on disk of its template; 0: it has none, its sessions boot.
    pub template_bytes: u64,
}

/// What a session starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyBuild {
    /// Of the build.
    pub id: String,
    /// What the build was published with.
    pub recipe: Recipe,
    /// The repository's branch that its clone was made of; empty: not known, or no repository.
    pub branch: String,
    /// Immutable images, bottom first.
    pub layers: Vec<PathBuf>,
    /// Folder of its template: a VM that has booted on these layers, to be cloned.
    pub template: Option<PathBuf>,
}

/// Progress of a build.
#[derive(Clone, Debug)]
pub enum BuildEvent {
    /// A step begins.
    Step {
        /// From 1.
        number: u32,
        /// How many there are.
        count: u32,
        /// For people.
        name: String,
    },
    /// A line of the step's output, without its line end.
    Output(String),
    /// A line of the step's output that the next one stands in for: how far it has come.
    Passing(String),
    /// Last: the environment is ready.
    Done {
        /// As it stands now.
        info: Box<EnvironmentInfo>,
        /// Nothing had to be done.
        cached: bool,
    },
    /// Last: it failed; what was in use before still is.
    Failed(EnvironmentError),
}

/// What went wrong with an environment. The text says what to do.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// No such environment.
    #[error("there is no environment `{name}`; {}", known_names(.known))]
    NotFound {
        /// Asked for.
        name: String,
        /// Those that exist.
        known: Vec<String>,
    },
    /// Known, but never built.
    #[error("environment `{name}` has no build yet; run `pilothouse env build {name}`")]
    NoBuild {
        /// Its name.
        name: String,
    },
    /// The recipe is wrong.
    #[error(transparent)]
    BadRecipe(RecipeError),
    /// A step of the build failed.
    #[error("{step} failed:\n{output}")]
    BuildFailed {
        /// Which.
        step: String,
        /// The end of what it printed.
        output: String,
    },
    /// Its VMs would not fit this host.
    #[error("environment `{name}` asks for {} MiB of memory, but this host has {} MiB; lower `size.memory`", .memory >> 20, .host >> 20)]
    TooLarge {
        /// Of the environment.
        name: String,
        /// Bytes asked for.
        memory: u64,
        /// Bytes that the host has.
        host: u64,
    },
    /// The VM of a build, or a program that is missing.
    #[error(transparent)]
    Vm(Arc<VmError>),
    /// A file of the data folder.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// What went wrong.
        error: Arc<io::Error>,
    },
}

impl From<VmError> for EnvironmentError {
    fn from(error: VmError) -> Self {
        Self::Vm(Arc::new(error))
    }
}

fn known_names(known: &[String]) -> String {
    if known.is_empty() { "none is registered".into() } else { format!("known are: {}", known.join(", ")) }
}
