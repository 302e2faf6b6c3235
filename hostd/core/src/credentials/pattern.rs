//! Which hosts a credential is for.

use std::{fmt, net::IpAddr};

use crate::checked_toml::is_destination;

/// Port where a pattern names none.
const HTTPS: u16 = 443;

/// A host and its port, or all hosts below a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    /// Name or address, in lower case, without brackets; of a wildcard the domain that its hosts are below.
    pub host: String,
    /// Port of the host.
    pub port: u16,
    /// Whether all hosts below the domain are meant, and not the domain itself.
    pub wildcard: bool,
}

impl HostPattern {
    /// Reads `HOST`, `HOST:PORT`, `*.DOMAIN` or `*.DOMAIN:PORT`; None: it is none of them. A domain has two labels at least.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let (wildcard, rest) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text.as_str()),
        };
        let with_port = if is_destination(rest) { rest.to_owned() } else { format!("{rest}:{HTTPS}") };
        if !is_destination(&with_port) {
            return None;
        }
        let (host, port) = with_port.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if wildcard && (host.parse::<IpAddr>().is_ok() || !host.contains('.')) {
            return None;
        }
        Some(Self { host: host.into(), port: port.parse().ok()?, wildcard })
    }

    /// Whether it names this host, in lower case and without brackets, and port.
    #[must_use]
    pub fn matches(&self, host: &str, port: u16) -> bool {
        if port != self.port {
            return false;
        }
        if self.wildcard {
            let below = host.strip_suffix(self.host.as_str()).and_then(|labels| labels.strip_suffix('.'));
            return below.is_some_and(|labels| !labels.is_empty() && !labels.starts_with('.'));
        }
        match (self.host.parse::<IpAddr>(), host.parse::<IpAddr>()) {
            (Ok(own), Ok(other)) => own == other,
            _ => self.host == host,
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, wildcard } = self;
        let star = if *wildcard { "*." } else { "" };
        match (host.contains(':'), *port) {
            (true, port) => write!(f, "[{host}]:{port}"),
            (false, HTTPS) => write!(f, "{star}{host}"),
            (false, port) => write!(f, "{star}{host}:{port}"),
        }
    }
}
