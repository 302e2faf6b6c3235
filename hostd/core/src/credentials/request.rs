//! Which requests to its hosts a credential is for.

use super::{Credential, Place};

/// Whether a request gets the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It does.
    Yes,
    /// It does not: its path is another.
    OtherPath,
    /// It does not: its path could be read in more than one way.
    UnclearPath,
    /// It does not: it is none of git's.
    NotGit,
    /// It does not: it pushes, which the credential is not for.
    Push,
}

impl Fit {
    /// Why the request does not get the secret, for people; empty: it does.
    #[must_use]
    pub fn why_not(self) -> &'static str {
        match self {
            Self::Yes => "",
            Self::OtherPath => "its path is not one that the credential is for",
            Self::UnclearPath => "its path has parts that servers read in different ways, such as .. or %2f",
            Self::NotGit => "the credential is for git alone",
            Self::Push => "the credential is not for pushes; its git needs push = true",
        }
    }
}

impl Credential {
    /// Whether a request with this method, path and query (empty: none) gets the secret, where it is for the host.
    #[must_use]
    pub fn fits(&self, method: &str, path: &str, query: &str) -> Fit {
        let restricted = !self.path.is_empty() || matches!(self.place, Place::Git { .. });
        if restricted && !is_clear(path) {
            return Fit::UnclearPath;
        }
        if !below(&self.path, path) {
            return Fit::OtherPath;
        }
        match self.place {
            Place::Git { push, .. } => git(method, path, query, push),
            _ => Fit::Yes,
        }
    }

    /// How closely it names a host, greater is closer.
    fn closeness(&self, host: &str, port: u16) -> (bool, usize, usize) {
        let matching = self.hosts.iter().filter(|pattern| pattern.matches(host, port));
        let closest = matching.map(|pattern| (!pattern.wildcard, pattern.host.len())).max().unwrap_or_default();
        (closest.0, closest.1, self.path.len())
    }
}

/// Of credentials for this host the one that a request gets: what names host and path more closely goes first, then what comes
/// first. An error says why none of them fits; there is at least one.
pub fn best<'a, T: std::borrow::Borrow<Credential>>(
    credentials: &'a [T],
    (host, port): (&str, u16),
    (method, path, query): (&str, &str, &str),
) -> Result<&'a T, Fit> {
    let mut refusal = Fit::OtherPath;
    let mut found: Option<&T> = None;
    for one in credentials {
        match one.borrow().fits(method, path, query) {
            Fit::Yes => {
                let closeness = |one: &T| one.borrow().closeness(host, port);
                if found.is_none_or(|found| closeness(one) > closeness(found)) {
                    found = Some(one);
                }
            }
            fit => refusal = fit,
        }
    }
    found.ok_or(refusal)
}

/// Whether a path is below a prefix: `/v1` is not the beginning of `/v10`.
fn below(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| prefix.is_empty() || prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/'))
}

/// Whether every server reads a path in the same way, as far as its parts go.
fn is_clear(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let unclear = ["%2e", "%2f", "%5c", "%25", "%00", "\\", ";"].iter().any(|mark| lower.contains(mark));
    let mut parts = lower.split('/').skip(1).peekable();
    let mut clear = !unclear && path.starts_with('/');
    while let Some(part) = parts.next() {
        clear &= !matches!(part, "." | "..") && (!part.is_empty() || parts.peek().is_none());
    }
    clear
}

/// git's smart protocol over HTTP: `info/refs?service=...`, then `git-upload-pack` or `git-receive-pack`; and LFS beside it.
fn git(method: &str, path: &str, query: &str, push: bool) -> Fit {
    let (upload, receive) = ("git-upload-pack", "git-receive-pack");
    let pushes = match (method, path.rsplit_once('/').map_or("", |(_, last)| last)) {
        ("GET", "refs") if path.ends_with("/info/refs") => match query.strip_prefix("service=") {
            Some(service) if service == upload => false,
            Some(service) if service == receive => true,
            _ => return Fit::NotGit,
        },
        ("POST", last) if last == upload => false,
        ("POST", last) if last == receive => true,
        ("POST", "batch") if path.ends_with("/info/lfs/objects/batch") => false,
        _ => return Fit::NotGit,
    };
    if pushes && !push { Fit::Push } else { Fit::Yes }
}
