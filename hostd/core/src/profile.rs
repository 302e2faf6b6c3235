//! Agent profiles: TOML in, a checked [`Profile`] out, errors with line and column.
//!
//! A profile says how one agent's program gets into an environment, how it is started, watched and continued. It lies below
//! the recipe that names it (`agent = "codex"`): what the recipe says itself goes over it, see [`crate::recipe`]. As of a
//! recipe, nothing in a checked profile can be taken for an option, a pattern or a piece of shell.

mod check;
mod profiles;
mod raw;
mod session_id;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    checked_toml::{self, TextError},
    keys::Key,
};

pub use profiles::{NoProfile, Profiles, SHIPPED};
pub use session_id::{PLACEHOLDER as SESSION_ID, is_conversation, session_id, with_session_id};

/// Folder of the guest that has a folder for each profile's programs.
pub const PROGRAMS: &str = "/opt/agents";
/// Word of a task's arguments that stands for the task.
pub const TASK: &str = "{task}";
/// Text that tells an agent of the command `session`.
pub const SESSION_HELP: &str = include_str!("../../../agents/session.md");

/// An agent profile that was checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Profile {
    /// Name of the profile: lower-case letters, digits and dashes; at most 40.
    pub name: String,
    /// What the profile is, in a line for people.
    pub about: String,
    /// Names of Debian packages that the program needs.
    pub packages: Vec<String>,
    /// Packages of npm that hold the program, each with its exact version.
    pub npm: Vec<Pin>,
    /// Packages of PyPI that hold the program, each with its exact version.
    pub python: Vec<Pin>,
    /// Programs of these packages that are put on the PATH.
    pub programs: Vec<Program>,
    /// How it is seen that the right program is there; None: there is nothing to be seen.
    pub check: Option<Check>,
    /// Program and arguments that start the agent at its prompt, for a person to talk to.
    pub command: Vec<String>,
    /// How the agent is given its task.
    pub task: Task,
    /// Whether results of checks and reviews are typed into the agent's terminal: all, or none. None: those that leave it
    /// something to do, when it has ended its turn.
    pub typed_events: Option<bool>,
    /// Name of the guest's user that the agent runs as.
    pub user: String,
    /// Whether that user may become root.
    pub sudo: bool,
    /// Variables of the agent, and of commands that are run beside it.
    pub environment: BTreeMap<String, String>,
    /// Destinations that the program needs: `host:port`, in lower case.
    pub egress: Vec<String>,
    /// Names of the credentials that the program uses.
    pub credentials: Vec<String>,
    /// Bytes of memory that a VM needs for the agent; None: as little as any.
    pub memory: Option<u64>,
    /// Files that are written into the environment, none of them in the repository's working tree.
    pub files: Vec<File>,
    /// Names of the hooks by which the program tells of itself, as it calls them; the first is called at every start.
    pub hooks: Vec<String>,
    /// What titles of the program's terminal mean.
    pub titles: Vec<Mark>,
    /// What text means that the row of its terminal's cursor has; it counts less than a title, and is no permission.
    pub patterns: Vec<Mark>,
    /// Keys that answer the program where it asks for a permission.
    pub answers: Answers,
    /// Program and arguments that go on with the conversation of [`SESSION_ID`]; empty: the program cannot.
    pub resume: Vec<String>,
    /// Path below the user's home, after `~/`, of the file by which it is seen that the conversation of [`SESSION_ID`] is there; a part `*`
    /// is any folder. Where it is not there the agent begins anew. Empty: it is taken to be there.
    pub conversation_file: String,
    /// Name of the variable by which the program keeps that file elsewhere: where the agent has it, the file is taken to be there. Empty:
    /// there is none.
    pub conversation_moved_by: String,
    /// Whether the program is run once in a VM that no session has yet, so that its start in a session is quicker.
    pub rehearse: bool,
    /// What becomes of the agent when the limit of its model that has stopped it is over.
    pub after_rate_limit: AfterRateLimit,
}

/// A package with its exact version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Name of the package.
    pub package: String,
    /// Version of the package.
    pub version: String,
}

/// A program of a profile's packages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Name of the program on the PATH.
    pub name: String,
    /// What is run by that name.
    pub starts: Starts,
}

/// What a program's name starts. Paths are relative to the profile's folder below [`PROGRAMS`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Starts {
    /// A program that can be executed by itself.
    File(String),
    /// A script, run by this interpreter of the packages.
    Script {
        /// Path of the interpreter.
        interpreter: String,
        /// Path of the script.
        file: String,
    },
    /// A module of the Python packages, run by Debian's own Python.
    Module(String),
}

/// How it is seen that the right program is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Program and arguments, run as the agent's user.
    pub command: Vec<String>,
    /// A word of what the command must print: the version.
    pub prints: String,
}

/// How an agent is given its task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// The agent is not told; the task is in its environment (`PILOTHOUSE_TASK`) alone.
    #[default]
    Untold,
    /// These arguments follow the command where there is a task; [`TASK`] is replaced by it.
    Arguments(Vec<String>),
    /// The task is typed into the terminal, as the first message.
    Typed,
}

/// A file that is written into an environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Absolute path, or `~/` and a path in the home of the agent's user.
    pub path: String,
    /// Permissions of the file.
    pub mode: u32,
    /// Text of the file. In it `{session_help}` stands for [`SESSION_HELP`], `{directory}` for where the agent starts, and
    /// `{home}` for the home of its user.
    pub text: String,
}

/// What a title of the program's terminal, or the row of its cursor, means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Text that the title or the row contains.
    pub contains: String,
    /// What that means.
    pub means: Meaning,
}

/// What the program says by its terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Meaning {
    /// The program works.
    Working,
    /// The program waits for its next task.
    Idle,
    /// The program asks for a permission.
    Permission,
    /// The program asks a question.
    Question,
}

impl Meaning {
    /// The word of profiles and of the API.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Idle => "idle",
            Self::Permission => "permission",
            Self::Question => "question",
        }
    }
}

/// What becomes of an agent that a limit of its model's rate or quota has stopped, when that is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AfterRateLimit {
    /// The agent waits for a person.
    #[default]
    Wait,
    /// The agent is told to go on; one that has ended is started again with its conversation.
    Resume,
}

impl AfterRateLimit {
    /// The word of profiles and of the API.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Resume => "resume",
        }
    }
}

/// Keys that answer a program that asks for a permission; none: it takes no single keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answers {
    /// Keys that allow what was asked for, this once.
    pub allow: Vec<Key>,
    /// Keys that refuse it.
    pub deny: Vec<Key>,
}

impl Profile {
    /// Parses and checks a profile. `source_name` stands in errors only.
    ///
    /// # Errors
    /// [`TextError`] for anything that is not TOML, an unknown or missing key, a wrong type, or a value out of bounds.
    pub fn parse(source_name: &str, text: &str) -> Result<Self, TextError> {
        checked_toml::read(source_name, text, check::profile)
    }

    /// Absolute path of the folder that the profile's programs lie in.
    #[must_use]
    pub fn folder(&self) -> String {
        format!("{PROGRAMS}/{}", self.name)
    }

    /// The profile's files as they are written for an agent that starts in this directory and has this home, both absolute.
    #[must_use]
    pub fn files_in(&self, directory: &str, home: &str) -> Vec<File> {
        let home = home.trim_end_matches('/');
        let file = |file: &File| {
            let path = file.path.strip_prefix("~/").map_or_else(|| file.path.clone(), |path| format!("{home}/{path}"));
            let text = file.text.replace("{session_help}", SESSION_HELP);
            File { path, mode: file.mode, text: text.replace("{directory}", directory).replace("{home}", home) }
        };
        self.files.iter().map(file).collect()
    }

    /// Whether the program is told which id its conversation has; else it tells by its hooks.
    #[must_use]
    pub fn gives_session_id(&self) -> bool {
        self.command.iter().any(|word| word.contains(SESSION_ID))
    }
}
