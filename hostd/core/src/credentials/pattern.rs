//! Which hosts a credential is for.

use std::{fmt, net::IpAddr};

use crate::checked_toml::{INTERNAL, is_destination};

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
    /// Reads `HOST`, `HOST:PORT`, `*.DOMAIN` or `*.DOMAIN:PORT`; None: it is none of them. A domain has two labels at least,
    /// and is none of hostd's own.
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
        if wildcard && (host.parse::<IpAddr>().is_ok() || !host.contains('.') || is_internal(host)) {
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
            return is_below(host, &self.host);
        }
        match (self.host.parse::<IpAddr>(), host.parse::<IpAddr>()) {
            (Ok(own), Ok(other)) => own == other,
            _ => self.host == host,
        }
    }
}

impl HostPattern {
    /// The pattern as a destination of egress: `host:port`, always with its port.
    #[must_use]
    pub fn destination(&self) -> String {
        let Self { host, port, wildcard } = self;
        let star = if *wildcard { "*." } else { "" };
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{star}{host}:{port}") }
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

/// Whether a name, and no address, is below a domain, and not the domain itself.
pub(crate) fn is_below(name: &str, domain: &str) -> bool {
    let labels = name.strip_suffix(domain).and_then(|labels| labels.strip_suffix('.'));
    labels.is_some_and(|labels| !labels.is_empty() && !labels.starts_with('.')) && name.parse::<IpAddr>().is_err()
}

/// Whether a name is one of hostd's own.
pub(crate) fn is_internal(name: &str) -> bool {
    name == INTERNAL || is_below(name, INTERNAL)
}

/// Reads a pattern as a destination of egress: `host:port`, in lower case and always with its port. None: it is no pattern.
pub(crate) fn destination(text: &str) -> Option<String> {
    HostPattern::parse(text).map(|pattern| pattern.destination())
}
