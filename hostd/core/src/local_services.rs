//! Which services of a host and of its private networks guests may reach at all, as the host's own `egress.toml` says it.

use std::net::IpAddr;

use serde::Deserialize;
use toml::Spanned;

use crate::{
    checked_toml::{self, list, parsed},
    credentials,
    recipe::{Egress, RecipeError},
};

/// Longest `egress.toml` that is read, in bytes; what is longer than any TOML may be is refused.
pub const TEXT_MAX: usize = 256 * 1024;

/// The services that a host names. A guest reaches one where its recipe, or a person, names it as well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalServices(Vec<Egress>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct Raw {
    local: Vec<Spanned<String>>,
}

impl LocalServices {
    /// Parses and checks a file. `source_name` stands in errors only.
    ///
    /// # Errors
    /// What is wrong, and at which line and column.
    pub fn parse(source_name: &str, text: &str) -> Result<Self, RecipeError> {
        let allowed = "host:port or *.domain:port; without a port, 443";
        checked_toml::read(source_name, text, |Raw { local }: Raw| {
            let entry = |raw: Spanned<String>| {
                let to = parsed(&raw, credentials::destination, "local", allowed)?;
                Ok(Egress { to, private: true })
            };
            list(local, "local", entry).map(Self)
        })
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a guest that asks for this host, a name in lower case or an address without brackets, and port may be led to this
    /// address, which is not a public one: one of the two is named. What is below a domain leads to private networks alone.
    #[must_use]
    pub fn name(&self, host: &str, port: u16, address: IpAddr) -> bool {
        let by_name = |entry: &&Egress| entry.names(host, port) && entry.may_lead_to(address);
        let by_address = |entry: &&Egress| entry.names(&address.to_canonical().to_string(), port);
        self.0.iter().any(|entry| by_name(&entry) || by_address(&entry))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("host.pilothouse.internal", 11434, "127.0.0.1", true)]
    #[case("host.pilothouse.internal", 11434, "::1", true)]
    #[case("host.pilothouse.internal", 22, "127.0.0.1", false)]
    #[case("db.corp.lan", 5432, "10.0.0.9", true)]
    #[case("db.corp.lan", 5432, "127.0.0.1", false)]
    #[case("corp.lan", 5432, "10.0.0.9", false)]
    #[case::by_its_address("db.elsewhere", 5432, "10.0.0.5", true)]
    #[case::as_v6("db.elsewhere", 5432, "::ffff:10.0.0.5", true)]
    #[case("10.0.0.5", 5432, "10.0.0.5", true)]
    #[case("10.0.0.6", 5432, "10.0.0.6", false)]
    fn services_are_named(#[case] host: &str, #[case] port: u16, #[case] address: &str, #[case] named: bool) {
        let text = r#"local = ["host.pilothouse.internal:11434", "*.corp.lan:5432", "10.0.0.5:5432"]"#;
        let services = LocalServices::parse("egress.toml", text).unwrap();
        assert_eq!(services.name(host, port, address.parse().unwrap()), named);
    }

    #[rstest]
    #[case(
        "local = [\"a.lan:1\",\n  \"a b\"]",
        "egress.toml:2:3: local is \"a b\"; allowed: host:port or *.domain:port"
    )]
    #[case("lokal = []", "egress.toml:1:1: unknown key `lokal`, expected `local`")]
    #[case("", "egress.toml:1:1: missing key `local`")]
    #[case("local = [1]", "egress.toml:1:10: ")]
    fn mistakes_have_a_place(#[case] text: &str, #[case] expected: &str) {
        let error = LocalServices::parse("egress.toml", text).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}
