//! How a host is reached.

use std::{fmt, io, path::PathBuf, str::FromStr};

use super::ssh::Ssh;

/// Way to a host's hostd. Its text is what `--host` and config.toml take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// The Unix socket at this path: `unix:PATH`.
    Unix(PathBuf),
    /// A hostd at the other end of the user's own ssh: `ssh://[USER@]HOST[:PORT][/PATH]`.
    Ssh(Ssh),
}

/// What is wrong with the text of an endpoint, and what is right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EndpointError {
    /// The text has no path after `unix:`.
    #[error("unix: needs the path of hostd's socket, like unix:/run/hostd.sock")]
    NoPath,
    /// The text is a path alone.
    #[error("{0}: a socket is written unix:{0}")]
    NoScheme(String),
    /// What follows `ssh:` is no address.
    #[error("{text}: {why}; write ssh://[USER@]HOST[:PORT][/PATH of the socket there]")]
    Ssh {
        /// The whole text.
        text: String,
        /// What is wrong with the address.
        why: &'static str,
    },
    /// The scheme is known, but not built.
    #[error("{text}: hosts over {over} are not built yet; use unix:PATH or ssh://HOST")]
    NotBuilt {
        /// The whole text.
        text: String,
        /// What the scheme stands for.
        over: &'static str,
    },
    /// The scheme is not known.
    #[error("{text}: there is no scheme `{scheme}`; use unix:PATH or ssh://HOST")]
    UnknownScheme {
        /// The whole text.
        text: String,
        /// Part of the text before the first colon.
        scheme: String,
    },
    /// The text is no endpoint at all.
    #[error("`{0}` is no host: use a configured name, unix:PATH or ssh://HOST")]
    NotAnEndpoint(String),
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        match text.split_once(':') {
            Some(("unix", "")) => Err(EndpointError::NoPath),
            Some(("unix", path)) => Ok(Self::Unix(path.into())),
            Some(("ssh", address)) => match Ssh::parse(address) {
                Ok(ssh) => Ok(Self::Ssh(ssh)),
                Err(why) => Err(EndpointError::Ssh { text: text.into(), why }),
            },
            Some(("https" | "tcp", _)) => Err(EndpointError::NotBuilt { text: text.into(), over: "TCP" }),
            Some((scheme, _)) if is_scheme(scheme) => {
                Err(EndpointError::UnknownScheme { text: text.into(), scheme: scheme.into() })
            }
            _ if text.contains('/') => Err(EndpointError::NoScheme(text.into())),
            _ => Err(EndpointError::NotAnEndpoint(text.into())),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Ssh(ssh) => ssh.fmt(f),
        }
    }
}

impl Endpoint {
    /// The same endpoint, as it reads from any folder.
    ///
    /// # Errors
    /// Where this process has no current folder any more.
    pub(crate) fn absolute(&self) -> io::Result<Self> {
        match self {
            Self::Unix(path) => std::path::absolute(path).map(Self::Unix),
            Self::Ssh(_) => Ok(self.clone()),
        }
    }

    /// Text of the endpoint without loss; None: its path is not UTF-8.
    pub(crate) fn to_text(&self) -> Option<String> {
        match self {
            Self::Unix(path) => path.to_str().map(|path| format!("unix:{path}")),
            Self::Ssh(ssh) => Some(ssh.to_string()),
        }
    }

    /// Where the endpoint is, to tell hosts apart that call themselves the same.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Unix(path) => path.display().to_string(),
            Self::Ssh(ssh) => ssh.to_string(),
        }
    }
}

/// Whether these characters can be a scheme (RFC 3986): a path or a name with a colon in it is none.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("unix:/run/hostd.sock")]
    #[case("unix:a b/c:d")]
    #[case("ssh://far")]
    #[case("ssh://me@far.example.com:2222/run/pilothouse/hostd.sock")]
    #[case("ssh://[fe80::1%eth0]:22")]
    fn an_endpoint_reads_as_it_is_written(#[case] text: &str) {
        let endpoint: Endpoint = text.parse().unwrap();
        assert_eq!((endpoint.to_string().as_str(), endpoint.to_text().as_deref()), (text, Some(text)));
    }

    #[test]
    fn a_relative_path_is_read_from_here() {
        let here = std::env::current_dir().unwrap();
        let endpoint: Endpoint = "unix:a.sock".parse().unwrap();
        assert_eq!(endpoint.absolute().unwrap(), Endpoint::Unix(here.join("a.sock")));
    }

    #[rstest]
    #[case("unix:", "unix: needs the path of hostd's socket, like unix:/run/hostd.sock")]
    #[case("ssh:far", "ssh:far: the address begins with //; write ssh://[USER@]HOST[:PORT][/PATH of the socket there]")]
    #[case("https://far:443", "https://far:443: hosts over TCP are not built yet; use unix:PATH or ssh://HOST")]
    #[case("tcp:far:443", "tcp:far:443: hosts over TCP are not built yet; use unix:PATH or ssh://HOST")]
    #[case("ftp://far", "ftp://far: there is no scheme `ftp`; use unix:PATH or ssh://HOST")]
    #[case("/run/a", "/run/a: a socket is written unix:/run/a")]
    #[case("/run/a:b", "/run/a:b: a socket is written unix:/run/a:b")]
    #[case("far", "`far` is no host: use a configured name, unix:PATH or ssh://HOST")]
    #[case("", "`` is no host: use a configured name, unix:PATH or ssh://HOST")]
    fn what_is_no_endpoint_says_what_is(#[case] text: &str, #[case] message: &str) {
        assert_eq!(text.parse::<Endpoint>().unwrap_err().to_string(), message);
    }
}
