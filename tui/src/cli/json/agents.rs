//! Shapes of agent profiles.

use std::collections::BTreeMap;

use pilothouse_proto::hostd::v1 as api;
use serde::Serialize;

/// An agent profile: an element of `agent ls`, and what `agent show` prints.
#[derive(Debug, Serialize)]
pub(crate) struct AgentProfile<'a> {
    name: &'a str,
    host: &'a str,
    source: &'a str,
    /// Why it cannot be used; null: it can.
    error: Option<&'a str>,
    about: &'a str,
    command: &'a [String],
    task: &'a str,
    resume: Option<&'a [String]>,
    packages: &'a [String],
    npm: &'a [String],
    python: &'a [String],
    user: &'a str,
    sudo: bool,
    environment: BTreeMap<&'a str, &'a str>,
    egress: &'a [String],
    credentials: &'a [String],
    memory_bytes: Option<u64>,
    files: &'a [String],
    hooks: &'a [String],
    /// What titles of its terminal mean, and then text at its cursor.
    titles: Vec<Mark<'a>>,
    patterns: Vec<Mark<'a>>,
    answers: Answers<'a>,
    after_rate_limit: Option<&'a str>,
    conversation_file: Option<&'a str>,
    rehearse: bool,
}

/// What a text of the terminal means: working, idle, permission or question.
#[derive(Debug, Serialize)]
struct Mark<'a> {
    contains: &'a str,
    means: &'a str,
}

/// Keys that answer a permission; empty: it takes none.
#[derive(Debug, Serialize)]
struct Answers<'a> {
    allow: &'a [String],
    deny: &'a [String],
}

fn marks(marks: &[api::agent_profile::Mark]) -> Vec<Mark<'_>> {
    marks.iter().map(|mark| Mark { contains: &mark.contains, means: &mark.means }).collect()
}

impl<'a> AgentProfile<'a> {
    pub(crate) fn new(host: &'a str, it: &'a api::AgentProfile) -> Self {
        Self {
            name: &it.name,
            host,
            source: &it.source,
            error: Some(it.error.as_str()).filter(|error| !error.is_empty()),
            about: &it.about,
            command: &it.command,
            task: &it.task,
            resume: Some(&it.resume[..]).filter(|resume| !resume.is_empty()),
            packages: &it.packages,
            npm: &it.npm,
            python: &it.python,
            user: &it.user,
            sudo: it.sudo,
            environment: it.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
            egress: &it.egress,
            credentials: &it.credentials,
            memory_bytes: Some(it.memory_bytes).filter(|bytes| *bytes > 0),
            files: &it.files,
            hooks: &it.hooks,
            titles: marks(&it.titles),
            patterns: marks(&it.patterns),
            answers: Answers { allow: &it.allow, deny: &it.deny },
            after_rate_limit: Some(it.after_rate_limit.as_str()).filter(|word| !word.is_empty()),
            conversation_file: Some(it.conversation_file.as_str()).filter(|path| !path.is_empty()),
            rehearse: it.rehearse,
        }
    }
}

/// What `agent try` found.
#[derive(Debug, Serialize)]
pub(crate) struct Tried<'a> {
    pub(crate) profile: &'a str,
    pub(crate) host: &'a str,
    pub(crate) environment: &'a str,
    /// Whether the agent started and had drawn something, and went on after that.
    pub(crate) starts: bool,
    /// What its program says of its version; null: it was not asked, or says nothing.
    pub(crate) version: Option<&'a str>,
    /// Milliseconds from the order to the first output; null: there was none.
    pub(crate) first_output_ms: Option<u64>,
    /// Why it did not start; null: it did.
    pub(crate) error: Option<&'a str>,
    /// What it had drawn when it was looked at last, as text.
    pub(crate) screen: &'a str,
    /// Whether its model's answer to what it was asked came; null: it was asked nothing, for its profile gives it no task.
    pub(crate) answered: Option<bool>,
    /// Milliseconds from the order to the answer; null: none came.
    pub(crate) answer_ms: Option<u64>,
    /// How the session stood where no answer came; null: one came, or it did not come so far.
    pub(crate) stands: Option<&'a str>,
    pub(crate) reaches: &'a [Reached],
    pub(crate) credentials: &'a [Held],
}

/// Whether the host has a credential that the agent uses.
#[derive(Debug, Serialize)]
pub(crate) struct Held {
    pub(crate) name: String,
    /// Whether the host has it, and can read its secret.
    pub(crate) held: bool,
    /// Whether all hosts of the credential take it; null: they could not be asked.
    pub(crate) accepted: Option<bool>,
    /// What is wrong with it; null: nothing.
    pub(crate) why: Option<String>,
}

/// Whether a destination is reached from the VM.
#[derive(Debug, Serialize)]
pub(crate) struct Reached {
    pub(crate) destination: String,
    pub(crate) reached: bool,
    /// Why not; null: it is reached.
    pub(crate) why: Option<String>,
}
