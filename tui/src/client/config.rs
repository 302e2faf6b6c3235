//! Which hosts there are: `--host`, the environment, `config.toml`, or the one on this machine.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use tui_core::copy::Policy;

use super::{
    HostAddress,
    endpoint::{Endpoint, EndpointError},
};

/// Hosts and settings of `config.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hosts {
    /// Path of the file they were read from, for messages.
    file: PathBuf,
    hosts: Vec<HostAddress>,
    copy: Policy,
}

/// What is wrong with a host's name, an address or the file; one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file says what is not allowed.
    #[error("{file}:{line}:{column}: {message}")]
    Invalid {
        /// Path of the file.
        file: String,
        /// Number of the line, from 1.
        line: usize,
        /// Number of the column in characters, from 1.
        column: usize,
        /// What is wrong, and what is allowed there.
        message: String,
    },
    /// The file exists and cannot be read.
    #[error("cannot read {file}: {message}")]
    Unreadable {
        /// Path of the file.
        file: String,
        /// Reason, in the system's words.
        message: String,
    },
    /// A text is neither a host's name nor an address.
    #[error("{0}")]
    Address(String),
    /// There is no home directory, so no place to look for anything.
    #[error("there is no home directory, so no default host; say which with --host unix:PATH or --host ssh://HOST")]
    NoHome,
}

impl ConfigError {
    /// The same, of a text that nobody has written: only what is wrong.
    pub(super) fn without_place(self) -> Self {
        match self {
            Self::Invalid { message, .. } => Self::Address(message),
            other => other,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    hosts: BTreeMap<toml::Spanned<String>, toml::Spanned<Host>>,
    // The console reads these itself; here they are only no mistake.
    #[serde(default, rename = "theme")]
    _theme: Option<String>,
    #[serde(default, rename = "keymap")]
    _keymap: Option<String>,
    #[serde(default)]
    copy: Policy,
    #[serde(default, rename = "alerts")]
    _alerts: Option<toml::Table>,
}

/// A host: its address, or a table that has it.
struct Host(HostTable);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HostTable {
    address: String,
    /// Path of the program `hostd` at the other end of an ssh.
    #[serde(default)]
    hostd: Option<String>,
}

impl HostTable {
    fn endpoint(self) -> Result<Endpoint, String> {
        match (self.address.parse().map_err(|error: EndpointError| error.to_string())?, self.hostd) {
            (endpoint, None) => Ok(endpoint),
            (Endpoint::Ssh(ssh), Some(program)) => {
                ssh.running(program).map(Endpoint::Ssh).map_err(|why| format!("`hostd` {why}"))
            }
            (Endpoint::Unix(_), Some(_)) => Err("`hostd` is for an address that begins with ssh://".into()),
        }
    }
}

impl<'de> Deserialize<'de> for Host {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Host;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "an address such as \"unix:/run/hostd.sock\" or \"ssh://HOST\", or a table with the key `address`",
                )
            }

            fn visit_str<E: de::Error>(self, address: &str) -> Result<Host, E> {
                Ok(Host(HostTable { address: address.to_owned(), hostd: None }))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Host, A::Error> {
                HostTable::deserialize(MapAccessDeserializer::new(map)).map(Host)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl Hosts {
    /// Reads `config.toml` of the user's config folder; no file means no hosts.
    pub(crate) fn load() -> Result<Self, ConfigError> {
        let Some(file) = path() else { return Ok(Self::default()) };
        match std::fs::read_to_string(&file) {
            Ok(text) => Self::parse(&file, &text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self { file, ..Self::default() }),
            Err(error) => Err(ConfigError::Unreadable { file: file.display().to_string(), message: error.to_string() }),
        }
    }

    pub(super) fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let invalid = |at: usize, message: String| {
            let (line, column) = position(text, at);
            ConfigError::Invalid { file: file.display().to_string(), line, column, message }
        };
        let parsed: File = toml::from_str(text).map_err(|error| {
            let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
            invalid(error.span().map_or(0, |span| span.start), message)
        })?;
        let mut hosts = Vec::new();
        for (name, address) in parsed.hosts {
            if !is_name(name.get_ref()) {
                let message = "a host's name has letters, digits, dashes, dots and underscores only".into();
                return Err(invalid(name.span().start, message));
            }
            let at = address.span().start;
            let endpoint = address.into_inner().0.endpoint().map_err(|why| invalid(at, why))?;
            hosts.push(HostAddress { name: name.into_inner(), endpoint });
        }
        Ok(Self { file: file.to_owned(), hosts, copy: parsed.copy })
    }

    /// What happens to text that a session's program wants on the clipboard.
    pub(crate) fn copy(&self) -> Policy {
        self.copy
    }

    /// Chooses the hosts that are meant: those named, else the one of `PILOTHOUSE_HOST` (`default`), else all configured ones,
    /// else the one on this machine.
    pub(crate) fn choose(&self, named: &[String], default: Option<&str>) -> Result<Vec<HostAddress>, ConfigError> {
        if !named.is_empty() {
            let mut chosen = Vec::new();
            for name in named {
                let host = self.one(name)?;
                if !chosen.contains(&host) {
                    chosen.push(host);
                }
            }
            return Ok(chosen);
        }
        match default.filter(|name| !name.is_empty()) {
            Some(name) => Ok(vec![self.one(name).map_err(|error| match error {
                ConfigError::Address(message) => ConfigError::Address(format!("PILOTHOUSE_HOST: {message}")),
                other => other,
            })?]),
            None if self.hosts.is_empty() => {
                let endpoint = self.unconfigured().ok_or(ConfigError::NoHome)?;
                Ok(vec![HostAddress { name: endpoint.to_string(), endpoint }])
            }
            None => Ok(self.hosts.clone()),
        }
    }

    /// The host on this machine, which is meant where none is configured.
    pub(crate) fn unconfigured(&self) -> Option<Endpoint> {
        let folders = folders().filter(|_| self.hosts.is_empty())?;
        Some(Endpoint::Unix(folders.data_dir().join("hostd.sock")))
    }

    fn one(&self, text: &str) -> Result<HostAddress, ConfigError> {
        if let Some(known) = self.hosts.iter().find(|host| host.name == text) {
            return Ok(known.clone());
        }
        if is_name(text) {
            let known = self.hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>().join(", ");
            let known = if known.is_empty() { "none are configured".into() } else { format!("known: {known}") };
            let message =
                format!("no host `{text}` in {} ({known}); or use unix:PATH or ssh://HOST", self.file.display());
            return Err(ConfigError::Address(message));
        }
        let endpoint = text.parse().map_err(|error: EndpointError| ConfigError::Address(error.to_string()))?;
        Ok(HostAddress { name: text.to_owned(), endpoint })
    }
}

/// Path of `config.toml`; None: there is no home directory.
pub(super) fn path() -> Option<PathBuf> {
    folders().map(|folders| folders.config_dir().join("config.toml"))
}

fn folders() -> Option<directories::ProjectDirs> {
    directories::ProjectDirs::from("", "", "pilothouse")
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) && !text.starts_with('-')
}

/// Line and column, both from 1, of byte `at`.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn parse(text: &str) -> Result<Hosts, ConfigError> {
        Hosts::parse(Path::new("config.toml"), text)
    }

    #[rstest]
    #[case(
        "[hosts]\nnear = \"unix:/a\"\n[colours]\n",
        "config.toml:3:2: unknown field `colours`, expected one of `hosts`, `theme`, `keymap`, `copy`, `alerts`"
    )]
    #[case("copy = \"maybe\"", "config.toml:1:8: unknown variant `maybe`, expected one of `ask`, `allow`, `deny`")]
    #[case("theme = 1", "config.toml:1:9: invalid type: integer `1`, expected a string")]
    #[case(
        "[hosts]\nnear = 4\n",
        "config.toml:2:8: invalid type: integer `4`, expected an address such as \"unix:/run/hostd.sock\" or \"ssh://HOST\", or a table with the key `address`"
    )]
    #[case(
        "[hosts.near]\naddres = \"unix:/a\"\n",
        "config.toml:2:1: unknown field `addres`, expected `address` or `hostd`"
    )]
    #[case(
        "[hosts.near]\naddress = \"unix:/a\"\nhostd = \"/b\"\n",
        "config.toml:1:1: `hostd` is for an address that begins with ssh://"
    )]
    #[case(
        "[hosts]\nfar = { address = \"ssh://far\", hostd = \"a\\nb\" }\n",
        "config.toml:2:7: `hostd` is a whole path, without ~, control characters and backslashes"
    )]
    #[case(
        "[hosts]\nfar = \"ssh://-oProxyCommand=x\"\n",
        "config.toml:2:7: ssh://-oProxyCommand=x: a host's name has letters, digits, dashes, dots and underscores; \
         write ssh://[USER@]HOST[:PORT][/PATH of the socket there]"
    )]
    #[case("[hosts]\nnear = \"/run/a\"\n", "config.toml:2:8: /run/a: a socket is written unix:/run/a")]
    #[case(
        "[hosts]\nnear = \"unix:\"\n",
        "config.toml:2:8: unix: needs the path of hostd's socket, like unix:/run/hostd.sock"
    )]
    #[case(
        "[hosts]\nnear = \"https://a\"\n",
        "config.toml:2:8: https://a: hosts over TCP are not built yet; use unix:PATH or ssh://HOST"
    )]
    #[case(
        "[hosts]\n\"a b\" = \"unix:/a\"\n",
        "config.toml:2:1: a host's name has letters, digits, dashes, dots and underscores only"
    )]
    #[case("[hosts\n", "config.toml:1:7: unclosed table, expected `]`")]
    fn bad_files_are_errors_with_their_place(#[case] text: &str, #[case] message: &str) {
        assert_eq!(parse(text).unwrap_err().to_string(), message);
    }

    #[test]
    fn hosts_are_chosen_in_order_of_how_near_they_were_said() {
        let hosts = parse("theme = \"dark\"\n[hosts]\nnear = \"unix:/a\"\nfar = \"unix:/b\"\n").unwrap();
        let names = |named: &[&str], default| {
            let named = named.iter().map(ToString::to_string).collect::<Vec<_>>();
            let chosen = hosts.choose(&named, default).unwrap();
            chosen.into_iter().map(|host| format!("{}={}", host.name, host.endpoint)).collect::<Vec<_>>()
        };
        assert_eq!(names(&["near", "unix:/c", "near"], Some("far")), ["near=unix:/a", "unix:/c=unix:/c"]);
        assert_eq!(names(&[], Some("far")), ["far=unix:/b"]);
        assert_eq!(names(&[], Some("")), ["far=unix:/b", "near=unix:/a"]);
        assert_eq!(names(&[], None), ["far=unix:/b", "near=unix:/a"]);
        assert!(parse("").unwrap().choose(&[], None).unwrap()[0].is_nameless());
    }

    #[test]
    fn a_host_may_be_a_table() {
        let hosts = parse("[hosts]\nfar = { address = \"unix:/b\" }\n[hosts.near]\naddress = \"unix:/a\"\n").unwrap();
        let hosts: Vec<_> = hosts.hosts.iter().map(|host| (host.name.as_str(), host.endpoint.to_string())).collect();
        assert_eq!(hosts, [("far", "unix:/b".to_owned()), ("near", "unix:/a".to_owned())]);
    }

    #[test]
    fn the_documented_file_is_a_good_one() {
        let docs = include_str!("../../../docs/configuration.md");
        let (_, rest) = docs.split_once("```toml\n").unwrap();
        let hosts = parse(rest.split_once("```").unwrap().0).unwrap();
        assert_eq!(hosts.hosts.len(), 2);
    }

    #[rstest]
    #[case("nowhere", "no host `nowhere` in config.toml (known: near); or use unix:PATH or ssh://HOST")]
    #[case("/run/x", "/run/x: a socket is written unix:/run/x")]
    #[case("", "`` is no host: use a configured name, unix:PATH or ssh://HOST")]
    fn unknown_hosts_are_errors(#[case] name: &str, #[case] message: &str) {
        let hosts = parse("[hosts]\nnear = \"unix:/a\"\n").unwrap();
        assert_eq!(hosts.choose(&[name.to_owned()], None).unwrap_err().to_string(), message);
    }
}
