use std::{io, path::PathBuf, sync::Arc};

use hostd_core::{Recipe, RecipeError, UnixMillis, recipe::Warm, session::Size};
use serde::{Deserialize, Serialize};

use crate::vm::VmError;

/// State of an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvironmentState {
    /// The environment was never built.
    Unbuilt,
    /// The environment is being built; an older build may be in use meanwhile.
    Building,
    /// The environment has a build.
    Ready,
    /// The environment's last build failed; an older build may still be in use.
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

/// An environment, as people are shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentInfo {
    /// Name of the environment.
    pub name: String,
    /// Recipe of the environment, in TOML as it was registered.
    pub recipe: String,
    /// Where the recipe came from: `built-in`, or the source it was registered with.
    pub source: String,
    /// State of the environment.
    pub state: EnvironmentState,
    /// Why the last build failed; empty: it did not.
    pub error: String,
    /// The build in use; None: there is none.
    pub build: Option<BuildInfo>,
    /// Earlier builds that sessions still lie on.
    pub older: Vec<BuildInfo>,
    /// Size of the environment's VMs.
    pub size: Size,
    /// URL of the environment's repository; empty: it has none.
    pub repository: String,
    /// Names of the other repositories of this host that the environment's sessions may read.
    pub also_read: Vec<String>,
    /// Names of credentials that the environment's guests are to use.
    pub credentials: Vec<String>,
    /// Command of the environment's agent: program and arguments.
    pub agent: Vec<String>,
    /// Numbers of VMs of the build in use that stand ready.
    pub warm: Warm,
}

/// A devcontainer.json that a build followed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DevcontainerInfo {
    /// Path of the devcontainer.json in the repository.
    pub path: String,
    /// Ports of servers that it would have forwarded.
    pub ports: Vec<u16>,
    /// What of it is not honoured: a line each, for people.
    pub ignored: Vec<String>,
}

/// A build, as people are shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildInfo {
    /// Id of the build: the first 16 hex digits of the hash of its inputs.
    pub id: String,
    /// Commit of the repository; empty: the environment has none.
    pub commit: String,
    /// Name and digest of the container image that its base is made from; empty: there is none.
    pub image: String,
    /// The devcontainer.json that the build followed; None: there is none.
    pub devcontainer: Option<Box<DevcontainerInfo>>,
    /// When the build was made.
    pub created_at: UnixMillis,
    /// Bytes on disk of the build, without its base.
    pub size_bytes: u64,
    /// Bytes on disk of the build's base, which other builds share.
    pub base_bytes: u64,
    /// Bytes on disk of the build's template; 0: it has none, and its sessions boot.
    pub template_bytes: u64,
}

/// A build that sessions can start from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyBuild {
    /// Id of the build.
    pub id: String,
    /// Recipe that the build is in use with.
    pub recipe: Recipe,
    /// Branch of the repository that the build cloned; empty: not known, or there is no repository.
    pub branch: String,
    /// Immutable images of the build's disk, bottom first.
    pub layers: Vec<PathBuf>,
    /// Folder of the build's template: a VM that has booted on these layers, to be cloned; None: sessions boot.
    pub template: Option<PathBuf>,
}

/// What became of a destination that was added to an environment's recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedInRecipe {
    /// Where the recipe came from: `built-in`, or the source it was registered with, which does not have it.
    pub source: String,
    /// Whether it is in use only with the next build.
    pub next_build: bool,
}

/// Progress of a build.
#[derive(Clone, Debug)]
pub enum BuildEvent {
    /// A step of the build begins.
    Step {
        /// Number of the step, from 1.
        number: u32,
        /// Number of steps in all.
        count: u32,
        /// Name of the step, for people.
        name: String,
    },
    /// A line of the step's output, without its line end.
    Output(String),
    /// A line of the step's output that the next line overwrites: how far the step has come.
    Passing(String),
    /// The build has ended, and the environment is ready; the last event.
    Done {
        /// The environment as it is now.
        info: Box<EnvironmentInfo>,
        /// Whether nothing had to be done.
        cached: bool,
    },
    /// The build has failed, and what was in use before still is; the last event.
    Failed(EnvironmentError),
}

/// What went wrong with an environment. The text says what to do.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// There is no environment of this name.
    #[error("there is no environment `{name}`; {}", known_names(.known))]
    NotFound {
        /// Name that was asked for.
        name: String,
        /// Names of the environments that exist.
        known: Vec<String>,
    },
    /// The environment was never built.
    #[error("environment `{name}` has no build yet; run `pilothouse env build {name}`")]
    NoBuild {
        /// Name of the environment.
        name: String,
    },
    /// The recipe is wrong.
    #[error(transparent)]
    BadRecipe(RecipeError),
    /// A step of the build failed.
    #[error("{step} failed:\n{output}")]
    BuildFailed {
        /// Name of the step.
        step: String,
        /// The end of what the step printed.
        output: String,
    },
    /// The environment's VMs do not fit this host.
    #[error("environment `{name}` asks for {} MiB of memory, but this host has {} MiB; lower `size.memory`", .memory >> 20, .host >> 20)]
    TooLarge {
        /// Name of the environment.
        name: String,
        /// Bytes of memory that one of its VMs takes.
        memory: u64,
        /// Bytes of memory that the host has.
        host: u64,
    },
    /// A VM of the build could not be run, or a program is missing.
    #[error(transparent)]
    Vm(Arc<VmError>),
    /// A file of the data folder cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Error of the system.
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
