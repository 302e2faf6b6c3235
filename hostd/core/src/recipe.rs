//! Environment recipes: TOML in, a checked [`Recipe`] out, errors with line and column.
//!
//! What a checked recipe holds is safe to use as it is: no name, package, suite, branch, path or destination in it can be
//! taken for an option, a pattern or a piece of shell. Setup commands alone are shell, and run in the guest only.

mod check;
mod egress;
mod raw;
#[cfg(test)]
mod tests;
mod words;

use serde::{Deserialize, Serialize};

use crate::session::Size;

pub use egress::Egress;
pub use words::{bytes, is_branch_name, is_repository_name};

/// Host name by which guests reach the local forge.
pub const INTERNAL_HOST: &str = "pilothouse.internal";
/// Host name by which guests reach their host's loopback, where an [`Egress`] names a port of it.
pub const HOST_LOOPBACK: &str = "host.pilothouse.internal";
/// User that the agent runs as where the recipe names none.
pub const ROOT: &str = "root";

/// A recipe that was checked: base system, packages, repository, setup, agent, size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// Name of the environment: lower-case letters, digits and dashes; at most 40.
    pub name: String,
    /// Debian that the root file system is made from.
    pub base: Base,
    /// Repository that is cloned into the environment; None: it has none.
    pub repository: Option<Repository>,
    /// Shell commands that the build runs once, as root, in the repository (or `/`).
    pub setup: Vec<String>,
    /// Name of the guest's user that the agent and the checks run as, and that the working tree belongs to once `setup` is done.
    pub user: String,
    /// The agent that works in the environment.
    pub agent: Agent,
    /// Checks that are run on each revision of a pull request, in this order; their names differ.
    pub ci: Vec<CiCheck>,
    /// Size of the environment's VMs.
    pub size: Size,
    /// What the environment's guests get of the host's processor beside the usual.
    pub cpu: Cpu,
    /// Numbers of VMs that stand ready for sessions.
    pub warm: Warm,
    /// Seconds that a waiting session runs on before it is suspended.
    pub suspend_after: u64,
    /// Destinations that the environment's guests may reach.
    pub egress: Vec<Egress>,
}

/// The Debian that an environment is based on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// Name of the Debian suite, e.g. bookworm.
    pub debian: String,
    /// Names of packages that are installed beside the essential ones.
    pub packages: Vec<String>,
}

/// The repository that an environment works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// URL of the repository in the local forge: `http://pilothouse.internal/git/NAME.git`.
    pub url: String,
    /// Name of the branch that is checked out; None: the default branch of the repository, whatever that is at the build.
    pub branch: Option<String>,
    /// Absolute path of the working tree in the guest.
    pub path: String,
    /// Names of other repositories of the local forge that the environment's guests may read, e.g. those of its submodules.
    pub read: Vec<String>,
}

/// The agent of an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Program and arguments that start the agent.
    pub command: Vec<String>,
    /// Whether the session's task is also the command's last argument.
    pub task_argument: bool,
    /// Whether results of checks and reviews are typed into the agent's terminal, because it cannot run `session wait`.
    pub typed_events: bool,
}

/// One of the checks of an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CiCheck {
    /// Name of the check: letters, digits, dot, underscore, slash and dash; at most 64.
    pub name: String,
    /// Program and arguments of the check, run in the repository.
    pub command: Vec<String>,
    /// Seconds that a run of the check may take.
    pub timeout: u64,
    /// Whether a pull request may be merged only when the check has passed.
    pub required: bool,
}

/// Features of the host's processor that guests get only where it is asked for. Of no effect where the processor is emulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cpu {
    /// Whether guests get virtualization, so that VMs run in them.
    #[serde(default)]
    pub nested: bool,
    /// Whether guests get the processor's performance counters.
    #[serde(default)]
    pub counters: bool,
}

/// Numbers of VMs that stand ready for sessions to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Warm {
    /// Least number of VMs that stand ready.
    pub min: u32,
    /// Greatest number of VMs that stand ready; not below `min`.
    pub max: u32,
}

/// What is wrong with a recipe, and where in its text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{source_name}:{line}:{column}: {message}")]
pub struct RecipeError {
    /// Name of the recipe's file, as the caller gave it.
    pub source_name: String,
    /// Number of the line, from 1.
    pub line: usize,
    /// Number of the column in characters, from 1.
    pub column: usize,
    /// What is wrong, and what is allowed there.
    pub message: String,
}

/// Longest recipe, in bytes.
const TEXT_MAX: usize = 256 * 1024;

impl Recipe {
    /// Parses and checks a recipe. `source_name` stands in errors only.
    ///
    /// # Errors
    /// [`RecipeError`] for anything that is not TOML, an unknown or missing key, a wrong type, or a value out of bounds.
    pub fn parse(source_name: &str, text: &str) -> Result<Self, RecipeError> {
        let error = |at: usize, message: String| {
            let (line, column) = position(text, at);
            RecipeError { source_name: source_name.into(), line, column, message }
        };
        if text.len() > TEXT_MAX {
            return Err(error(0, format!("too long: {} bytes, at most {TEXT_MAX}", text.len())));
        }
        let raw: raw::Recipe = toml::from_str(text)
            .map_err(|e| error(e.span().map_or(0, |span| span.start), in_toml_words(e.message())))?;
        check::recipe(raw).map_err(|wrong| error(wrong.at, wrong.message))
    }

    /// The name of the repository in the local forge, e.g. `widgets`.
    #[must_use]
    pub fn local_repository(&self) -> Option<&str> {
        words::repository_of(&self.repository.as_ref()?.url)
    }

    /// Names of the other repositories of the local forge that the environment's guests may read.
    #[must_use]
    pub fn also_read(&self) -> &[String] {
        self.repository.as_ref().map_or(&[], |repository| &repository.read)
    }

    /// What the recipe may say and will not do what was meant: a line each, for people.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.egress.iter().filter_map(Egress::warning).collect()
    }
}

/// An error of serde's in TOML's words: serde speaks of fields and Rust's types; TOML has keys and integers.
fn in_toml_words(message: &str) -> String {
    let message = crate::text::one_line(message).replace("expected i64", "expected an integer");
    match message.split_once(" field ") {
        Some((what @ ("unknown" | "missing" | "duplicate"), rest)) => format!("{what} key {rest}"),
        _ => message,
    }
}

/// Line and column of a byte offset, both from 1.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset.min(text.len())).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}
