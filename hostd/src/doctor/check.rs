use serde::Serialize;
use serde_json::Value;

/// Result of a check; the worse, the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All is as it should be.
    Ok,
    /// Sessions run, but something is slower or less safe than it could be.
    Warning,
    /// Something that sessions need does not work.
    Failed,
}

impl Status {
    /// The word for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// One thing that the doctor looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Name of the check; one or two words that stay the same.
    pub name: &'static str,
    /// Result of the check.
    pub status: Status,
    /// What was found, in a line.
    pub found: String,
    /// What a person can do about it; empty: nothing.
    pub advice: String,
    /// What was found, for scripts; null: nothing more than `found` says.
    pub facts: Value,
}

impl Check {
    pub(super) fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, status: Status::Ok, found: found.into(), advice: String::new(), facts: Value::Null }
    }

    pub(super) fn warning(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { status: Status::Warning, advice: advice.into(), ..Self::ok(name, found) }
    }

    pub(super) fn failed(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { status: Status::Failed, advice: advice.into(), ..Self::ok(name, found) }
    }

    pub(super) fn with(self, facts: impl Serialize) -> Self {
        Self { facts: serde_json::to_value(facts).unwrap_or_default(), ..self }
    }
}
