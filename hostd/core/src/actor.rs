//! On whose behalf something is done.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ForgeId;

/// Whoever has something done: each command, report and observation has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Actor {
    /// A person, by their own hands.
    Person {
        /// The person's user name.
        name: String,
    },
    /// The agent of a session, for whoever dispatched the session.
    Session {
        /// The session's slug.
        slug: String,
        /// User name of the person that the session belongs to; empty where the record names the session alone.
        person: String,
    },
    /// hostd itself: its policy, or what it saw of a VM.
    Host,
    /// A forge: what it says of a pull request or of checks.
    Forge {
        /// The forge's name.
        name: String,
    },
}

impl Actor {
    /// The person of this user name.
    #[must_use]
    pub fn person(name: impl Into<String>) -> Self {
        Self::Person { name: name.into() }
    }

    /// The forge of this name.
    #[must_use]
    pub fn forge(id: &ForgeId) -> Self {
        Self::Forge { name: id.to_string() }
    }

    /// The word of the API and of `--json` for its kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Person { .. } => "person",
            Self::Session { .. } => "session",
            Self::Host => "host",
            Self::Forge { .. } => "forge",
        }
    }

    /// What it is called among its kind; empty for [`Actor::Host`].
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Person { name } | Self::Forge { name } => name,
            Self::Session { slug, .. } => slug,
            Self::Host => "",
        }
    }

    /// User name of the person on whose behalf it acts; empty where there is none, or none is known.
    #[must_use]
    pub fn behalf(&self) -> &str {
        match self {
            Self::Person { name } => name,
            Self::Session { person, .. } => person,
            Self::Host | Self::Forge { .. } => "",
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person { name } => f.write_str(name),
            Self::Session { slug, person } if person.is_empty() => f.write_str(slug),
            Self::Session { slug, person } => write!(f, "{slug} (for {person})"),
            Self::Host => f.write_str("hostd"),
            Self::Forge { name } => write!(f, "forge {name}"),
        }
    }
}
