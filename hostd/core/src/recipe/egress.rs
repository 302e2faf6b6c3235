//! Where guests may go.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::HOST_LOOPBACK;

/// A destination that guests may reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Egress {
    /// `host:port`, in lower case; the host is a DNS name, an IPv4 address, or an IPv6 address in brackets.
    pub to: String,
    /// Whether the destination may also lie at addresses that are not public ones.
    pub private: bool,
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

impl Egress {
    /// Host, an IPv6 address without its brackets, and port; None: `to` is no destination.
    #[must_use]
    pub fn parts(&self) -> Option<(&str, u16)> {
        let (host, port) = self.to.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Some((host, port.parse().ok()?))
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

#[cfg(test)]
mod tests {
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
}
