//! Where guests may go.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use serde::{Deserialize, Serialize};

use super::HOST_LOOPBACK;
use crate::{
    credentials::{self, is_below, is_internal},
    text,
};

/// Addresses of private networks at which AWS and Google tell machines who they are.
const METADATA: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

/// A destination that guests may reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Egress {
    /// `host:port`, in lower case; the host is a DNS name, an IPv4 address, an IPv6 address in brackets, or `*.domain` for all names
    /// below a domain. Before it `https://` or `http://` where only that may be spoken, see [`Egress::speaks`].
    pub to: String,
    /// Whether the destination may also lie at addresses that are not public ones.
    pub private: bool,
}

/// What may be spoken with a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// Whatever both ends like.
    Anything,
    /// HTTP that is not encrypted.
    Http,
    /// TLS that asks for the destination's name.
    Tls,
}

const HTTPS: &str = "https://";
const HTTP: &str = "http://";
const TCP: &str = "tcp://";

/// What a destination of egress may be, for people.
pub(crate) const DESTINATION: &str = "host:port, e.g. \"packages.example.com:443\", or *.domain:port for all names below a \
     domain; without a port, 443. With https:// before it TLS alone may be spoken, with http:// HTTP alone (port 80), with tcp:// \
     (and a port) anything";

/// Reads a destination, in lower case and always with its port. What may speak anything has nothing before it. None: it is none.
pub(crate) fn destination(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    if let Some(place) = text.strip_prefix(TCP) {
        return credentials::destination(place).filter(|whole| whole == place);
    }
    if let Some(place) = text.strip_prefix(HTTPS) {
        return Some(format!("{HTTPS}{}", credentials::destination(place)?));
    }
    let Some(place) = text.strip_prefix(HTTP) else { return credentials::destination(&text) };
    let whole = credentials::destination(place)?;
    let whole = if whole == place { whole } else { credentials::destination(&format!("{place}:80"))? };
    Some(format!("{HTTP}{whole}"))
}

/// A destination as the store keeps it: a string, as it was before there was more to say, or a table.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Stored {
    Public(String),
    Private { private: String },
}

impl From<Stored> for Egress {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Public(to) => Self { to, private: false },
            Stored::Private { private } => Self { to: private, private: true },
        }
    }
}

impl From<Egress> for Stored {
    fn from(egress: Egress) -> Self {
        if egress.private { Self::Private { private: egress.to } } else { Self::Public(egress.to) }
    }
}

impl fmt::Display for Egress {
    /// As a recipe has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.private { write!(f, "{{ to = {:?}, private = true }}", self.to) } else { write!(f, "{:?}", self.to) }
    }
}

impl Egress {
    /// Reads a destination as recipes name it.
    ///
    /// # Errors
    /// It is none; says what one is.
    pub fn parse(to: &str, private: bool) -> Result<Self, String> {
        let parsed = destination(to).ok_or_else(|| {
            format!("{:?} is no destination; allowed: {DESTINATION}", text::clean(&text::one_line(to), 300))
        });
        parsed.map(|to| Self { to, private })
    }

    /// Host, an IPv6 address without its brackets, and port; None: `to` is no destination.
    #[must_use]
    pub fn parts(&self) -> Option<(&str, u16)> {
        let (host, port) = self.place().rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Some((host, port.parse().ok()?))
    }

    /// What may be spoken with the destination.
    #[must_use]
    pub fn speaks(&self) -> Speaks {
        match &self.to {
            to if to.starts_with(HTTPS) => Speaks::Tls,
            to if to.starts_with(HTTP) => Speaks::Http,
            _ => Speaks::Anything,
        }
    }

    /// The destination without what may be spoken with it.
    #[must_use]
    pub fn place(&self) -> &str {
        self.to.strip_prefix(HTTPS).or_else(|| self.to.strip_prefix(HTTP)).unwrap_or(&self.to)
    }

    /// Whether the entry names this host, a name in lower case or an address without brackets, and port. What is below a domain is
    /// a name, and none of the host's own.
    #[must_use]
    pub fn names(&self, host: &str, port: u16) -> bool {
        let Some((own, own_port)) = self.parts() else { return false };
        let same = || match (own.parse::<IpAddr>(), host.parse::<IpAddr>()) {
            (Ok(own), Ok(address)) => own == address,
            _ => own.eq_ignore_ascii_case(host),
        };
        let below = || own.strip_prefix("*.").is_some_and(|domain| is_below(host, domain) && !is_internal(host));
        own_port == port && (same() || below())
    }

    /// Whether a name that the entry names may lead to this address, which is not a public one. All names below a domain are more
    /// than anybody has looked at: they lead to private networks alone (RFC 1918, RFC 4193), and not to the addresses there that
    /// tell a cloud's machines who they are.
    #[must_use]
    pub fn may_lead_to(&self, address: IpAddr) -> bool {
        self.private && (!self.place().starts_with("*.") || is_in_private_network(address))
    }

    /// Why no program in a guest will get to the destination; None: it may.
    pub(super) fn warning(&self) -> Option<String> {
        let (host, port) = self.parts()?;
        let address = host.parse::<IpAddr>().ok();
        let own = address.is_some_and(|address| address.is_loopback() || address.is_unspecified());
        (own || host == "localhost" || host.ends_with(".localhost")).then(|| {
            format!(
                "egress names {}, which in a guest is the guest itself; \
                 write \"{HOST_LOOPBACK}:{port}\" for that port of the host, and use that name in the guest",
                self.to
            )
        })
    }
}

/// Whether an address is one of private networks (RFC 1918, RFC 4193), and none there that tells a cloud's machines who they are.
#[must_use]
pub fn is_in_private_network(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(it) => it.is_private(),
        IpAddr::V6(it) => it.is_unique_local() && !METADATA.contains(&it),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[test]
    fn is_stored_as_it_always_was_or_with_more() {
        let of = |text: &str| serde_json::from_str::<Egress>(text).unwrap();
        let public = Egress { to: "a.example:443".into(), private: false };
        let private = Egress { to: "db.lan:5432".into(), private: true };
        assert_eq!(of(r#""a.example:443""#), public);
        for egress in [public, private] {
            assert_eq!(of(&serde_json::to_string(&egress).unwrap()), egress);
        }
    }

    #[rstest]
    #[case("127.0.0.1:11434", true)]
    #[case("127.9.9.9:1", true)]
    #[case("[::1]:80", true)]
    #[case("0.0.0.0:80", true)]
    #[case("localhost:80", true)]
    #[case("a.localhost:80", true)]
    #[case("10.0.0.1:80", false)]
    #[case("example.com:80", false)]
    #[case("host.pilothouse.internal:80", false)]
    fn who_names_the_guest_itself_is_told(#[case] to: &str, #[case] warns: bool) {
        let warning = Egress { to: to.into(), private: false }.warning();
        assert_eq!(warning.is_some(), warns, "{warning:?}");
        assert!(warning.is_none_or(|warning| warning.contains("\"host.pilothouse.internal:")));
    }

    #[rstest]
    #[case("tcp://DB.example.com:5432", Some("db.example.com:5432"), Speaks::Anything)]
    #[case("tcp://db.example.com", None, Speaks::Anything)]
    #[case("https://api.example.com", Some("https://api.example.com:443"), Speaks::Tls)]
    #[case("HTTPS://*.example.com:8443", Some("https://*.example.com:8443"), Speaks::Tls)]
    #[case("http://api.example.com", Some("http://api.example.com:80"), Speaks::Http)]
    #[case("http://api.example.com:443", Some("http://api.example.com:443"), Speaks::Http)]
    #[case("http://[::1]:8080", Some("http://[::1]:8080"), Speaks::Http)]
    #[case("https://api.example.com/", None, Speaks::Tls)]
    #[case("https://user@api.example.com", None, Speaks::Tls)]
    #[case("ftp://api.example.com", None, Speaks::Anything)]
    #[case("https://https://a.example", None, Speaks::Anything)]
    fn what_may_be_spoken_stands_before_it(#[case] text: &str, #[case] to: Option<&str>, #[case] speaks: Speaks) {
        let parsed = Egress::parse(text, false);
        assert_eq!(parsed.as_ref().ok().map(|egress| egress.to.as_str()), to, "{parsed:?}");
        let Ok(egress) = parsed else { return };
        assert_eq!((egress.speaks(), Egress::parse(&egress.to, false)), (speaks, Ok(egress.clone())));
        let (host, port) = egress.parts().unwrap();
        assert!(egress.names(&host.replace('*', "a"), port));
    }

    #[rstest]
    #[case("example.com:443", "example.com", 443, true)]
    #[case("https://*.example.com:443", "www.example.com", 443, true)]
    #[case("https://example.com:443", "example.com", 80, false)]
    #[case("example.com:443", "example.com", 80, false)]
    #[case("example.com:443", "www.example.com", 443, false)]
    #[case("*.example.com:443", "www.example.com", 443, true)]
    #[case("*.example.com:443", "a.b.example.com", 443, true)]
    #[case("*.example.com:443", "example.com", 443, false)]
    #[case("*.example.com:443", "evilexample.com", 443, false)]
    #[case("*.example.com:443", "a.example.com.evil.net", 443, false)]
    #[case("*.example.com:443", ".example.com", 443, false)]
    #[case("*.example.com:8443", "a.example.com", 443, false)]
    #[case("*.2.1:443", "192.0.2.1", 443, false)]
    #[case("*.pilothouse.internal:1", "host.pilothouse.internal", 1, false)]
    #[case("host.pilothouse.internal:1", "host.pilothouse.internal", 1, true)]
    #[case("[::1]:80", "0:0::1", 80, true)]
    fn entries_name(#[case] to: &str, #[case] host: &str, #[case] port: u16, #[case] names: bool) {
        assert_eq!(Egress { to: to.into(), private: false }.names(host, port), names);
    }

    #[rstest]
    #[case("a.lan:1", "10.0.0.1", true)]
    #[case("a.lan:1", "127.0.0.1", true)]
    #[case("*.b.lan:1", "10.0.0.1", true)]
    #[case("https://*.b.lan:1", "10.0.0.1", true)]
    #[case("https://*.b.lan:1", "127.0.0.1", false)]
    #[case("*.b.lan:1", "fd00::1", true)]
    #[case("*.b.lan:1", "192.168.1.1", true)]
    #[case("a.lan:1", "fd00:ec2::254", true)]
    #[case("*.b.lan:1", "fd00:ec2::254", false)]
    #[case("*.b.lan:1", "fd20:ce::254", false)]
    #[case("*.b.lan:1", "100.100.100.200", false)]
    #[case("*.b.lan:1", "192.0.0.192", false)]
    #[case("*.b.lan:1", "::a9fe:a9fe", false)]
    #[case("*.b.lan:1", "64:ff9b::a9fe:a9fe", false)]
    #[case("*.b.lan:1", "127.0.0.1", false)]
    #[case("*.b.lan:1", "::ffff:127.0.0.1", false)]
    #[case("*.b.lan:1", "0.0.0.0", false)]
    #[case("*.b.lan:1", "169.254.169.254", false)]
    #[case("*.b.lan:1", "fe80::1", false)]
    fn a_wildcard_leads_to_private_networks_alone(#[case] to: &str, #[case] address: &str, #[case] may: bool) {
        let address = address.parse().unwrap();
        assert_eq!(Egress { to: to.into(), private: true }.may_lead_to(address), may);
        assert!(!Egress { to: to.into(), private: false }.may_lead_to(address));
    }

    proptest! {
        /// A name that a wildcard names ends with a dot and the domain, and has more before it; an entry without one names itself
        /// alone.
        #[test]
        fn what_is_named_is_what_is_written(
            domain in "[a-z]{1,3}(\\.[a-z]{1,3}){1,2}",
            host in "[a-z.]{0,4}[a-z]{1,3}(\\.[a-z]{1,3}){0,3}",
            port in 1..4_u16,
            asked in 1..4_u16,
        ) {
            let exact = Egress { to: destination(&format!("{domain}:{port}")).unwrap(), private: false };
            prop_assert_eq!(exact.names(&host, asked), host == domain && asked == port);
            let wildcard = Egress { to: destination(&format!("*.{domain}:{port}")).unwrap(), private: false };
            let below = host.len() > domain.len() + 1 && host.ends_with(&format!(".{domain}"));
            let odd = host.len() > domain.len() + 1 && host[..host.len() - domain.len() - 1].starts_with('.');
            prop_assert_eq!(wildcard.names(&host, asked), below && !odd && asked == port);
            let child = format!("{host}.{domain}");
            prop_assert_eq!(wildcard.names(&child, port), !host.starts_with('.'));
        }
    }
}
