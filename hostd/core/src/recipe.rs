//! Environment recipes: TOML in, a checked [`Recipe`] out, errors with line and column.

use serde::Deserialize;

use crate::session::Size;

/// A recipe: base system, packages, repository, setup, agent, size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// Lower-case letters, digits and dashes; at most 40.
    pub name: String,
    /// What the root file system is made from.
    pub base: Base,
    /// What is cloned into it.
    pub repository: Option<Repository>,
    /// Shell commands run once, as root, in the repository (or `/`), while it is built.
    pub setup: Vec<String>,
    /// What works in it.
    pub agent: Agent,
    /// Command of its checks; empty: none.
    pub ci: Vec<String>,
    /// Of its VMs.
    pub size: Size,
    /// How many VMs stand ready.
    pub warm: Warm,
    /// Seconds that a waiting session runs on before it is suspended.
    pub suspend_after: u64,
    /// `host:port` destinations that its guests may reach.
    pub egress: Vec<String>,
}

/// A Debian base.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// Suite, e.g. bookworm.
    pub debian: String,
    /// Packages beside the essential ones.
    #[serde(default)]
    pub packages: Vec<String>,
}

/// A repository in the environment.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repository {
    /// Of the local forge: `http://pilothouse.internal/git/NAME.git`.
    pub url: String,
    /// Checked out.
    #[serde(default = "main_branch")]
    pub branch: String,
    /// Absolute path in the guest.
    pub path: String,
}

/// The agent of an environment.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Whether the task is also its last argument.
    #[serde(default)]
    pub task_argument: bool,
}

/// VMs that stand ready for sessions to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Warm {
    /// At least so many.
    pub min: u32,
    /// At most so many; not below `min`.
    pub max: u32,
}

/// What is wrong with a recipe, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{source_name}:{line}:{column}: {message}")]
pub struct RecipeError {
    /// File name, as given.
    pub source_name: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What, and what is allowed there.
    pub message: String,
}

fn main_branch() -> String {
    "main".into()
}

impl Recipe {
    /// Parses and checks a recipe. `source_name` stands in errors only.
    ///
    /// # Errors
    /// [`RecipeError`] for anything that is not TOML, an unknown or missing key, a wrong type, or a value out of bounds.
    pub fn parse(source_name: &str, text: &str) -> Result<Self, RecipeError> {
        let _ = (source_name, text);
        Err(RecipeError { source_name: source_name.into(), line: 1, column: 1, message: "not built yet".into() })
    }

    /// The name of the repository in the local forge, e.g. `widgets`.
    #[must_use]
    pub fn local_repository(&self) -> Option<&str> {
        self.repository.as_ref()?.url.strip_prefix("http://pilothouse.internal/git/")?.strip_suffix(".git")
    }
}
