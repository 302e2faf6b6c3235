//! Credentials of a host: `credentials.toml` in, checked [`Credential`]s out, and which requests each of them is for.
//!
//! A credential says where its secret is kept and where it goes; the secret itself is never in here.

mod check;
mod pattern;
mod raw;
mod request;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::checked_toml::{self, TextError};

pub use check::is_credential_name;
pub use pattern::HostPattern;
pub(crate) use pattern::{destination, is_below, is_internal};
pub use request::{Fit, best};

/// Longest `credentials.toml` that is read, in bytes; what is longer than any TOML may be is refused.
pub const TEXT_MAX: usize = 256 * 1024;
/// Most bytes of all names and values of the variables of one credential.
pub const VARIABLES_MAX: usize = 4096;

/// A secret of the host that is put into guests' requests: where it is kept, where it goes, and who may use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Name of the credential: lower-case letters, digits and dashes; at most 40.
    pub name: String,
    /// Hosts that the secret is sent to, and no other.
    pub hosts: Vec<HostPattern>,
    /// Place of a request that the secret is put into.
    pub place: Place,
    /// Where the secret is read from.
    pub source: Source,
    /// What the path of a request must begin with, e.g. `/v1/`; empty: anything.
    pub path: String,
    /// Names of the environments that may use it; None: all whose recipe names it.
    pub environments: Option<Vec<String>>,
    /// Variables that programs of the guest find, by name: stand-ins, for programs that do not start without one.
    pub variables: BTreeMap<String, String>,
    /// Absolute path of a PEM file with the certificates that vouch for the hosts; None: those of the host's system.
    pub ca: Option<String>,
    /// Whether the secret is also put into requests that are not encrypted.
    pub plain: bool,
    /// Whether the hosts may also lie at addresses that are not public ones.
    pub private: bool,
}

/// Place of a request that a secret is put into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The header of this name, in lower case, is the secret.
    Header(String),
    /// `Authorization: Bearer SECRET`
    Bearer,
    /// `Authorization: Basic ...`, of this user with the secret as password.
    Basic {
        /// Name of the user; may be empty.
        user: String,
    },
    /// The same, in requests of git over HTTP alone.
    Git {
        /// Name of the user; may be empty.
        user: String,
        /// Whether pushes have it too.
        push: bool,
    },
}

/// Where a secret is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Absolute path of a file; white space at its end is no part of the secret.
    File(String),
    /// Program and arguments that print the secret; run without a shell.
    Command(Vec<String>),
    /// Name of a credential that systemd hands to hostd's service.
    Systemd(String),
}

impl Credential {
    /// Parses and checks a whole file. `source_name` stands in errors only.
    ///
    /// # Errors
    /// Where something is wrong, with line and column, and what is allowed there. No value of the file is in it.
    pub fn parse(source_name: &str, text: &str) -> Result<Vec<Self>, TextError> {
        let read = checked_toml::read(source_name, text, check::file);
        read.map_err(|error| TextError { message: without_values(&error.message), ..error })
    }

    /// Whether the secret is for this host, in lower case and without brackets, and port.
    #[must_use]
    pub fn is_for(&self, host: &str, port: u16) -> bool {
        self.hosts.iter().any(|pattern| pattern.matches(host, port))
    }

    /// Whether the guests of this environment may use it, where their recipe names it.
    #[must_use]
    pub fn allows(&self, environment: &str) -> bool {
        self.environments.as_ref().is_none_or(|names| names.iter().any(|name| name == environment))
    }

    /// Whether it goes to this host over a connection that is not encrypted. The host itself is not far.
    #[must_use]
    pub fn goes_plain_to(&self, host: &str) -> bool {
        self.plain || host == checked_toml::HOST_LOOPBACK
    }

    /// Place of the secret in words, for people.
    #[must_use]
    pub fn place_words(&self) -> String {
        match &self.place {
            Place::Header(name) => format!("header {name}"),
            Place::Bearer => "bearer".into(),
            Place::Basic { user } => format!("basic {user}"),
            Place::Git { user, push } => format!("git {user}{}", if *push { ", with pushes" } else { "" }),
        }
    }
}

impl Source {
    /// The source in words, for people. Arguments of a command may tell too much: only its program is named.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::File(path) => format!("file {path}"),
            Self::Command(command) => format!("command {}", command.first().map_or("", String::as_str)),
            Self::Systemd(name) => format!("systemd {name}"),
        }
    }
}

/// A message of serde's without the value that it is about: somebody may have written the secret itself there.
fn without_values(message: &str) -> String {
    let Some((before, rest)) = message.split_once("invalid ") else { return message.into() };
    match (rest.split_once(':'), rest.rsplit_once(", expected ")) {
        (Some((what, _)), Some((_, expected))) => format!("{before}invalid {what}, expected {expected}"),
        _ => format!("{before}invalid value"),
    }
}
