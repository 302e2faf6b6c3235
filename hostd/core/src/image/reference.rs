//! Names of images: `[registry/]name[:tag][@digest]`, as Docker reads them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest reference, in bytes.
const REFERENCE_MAX: usize = 512;
/// Longest name of a repository in a registry, in bytes.
const REPOSITORY_MAX: usize = 255;
/// Longest tag, in bytes.
const TAG_MAX: usize = 128;
/// Registry of names that have none.
const DEFAULT_REGISTRY: &str = "docker.io";
/// Host that answers for the default registry.
const DEFAULT_HOST: &str = "registry-1.docker.io";

/// The name of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Registry of the image: a host, and a port where it is not the usual one.
    pub registry: String,
    /// Whether the registry is spoken to without TLS: it is this machine itself, or the name says `http://`.
    pub plain: bool,
    /// Name of the repository in the registry, e.g. `library/debian`.
    pub repository: String,
    /// Tag of the image; None: it is named by its digest alone.
    pub tag: Option<String>,
    /// Digest of the image; None: whatever the tag names.
    pub digest: Option<Digest>,
    /// Whether it was named by content of a repository: only public addresses are asked for it then.
    pub is_foreign: bool,
}

/// A SHA-256 of bytes, as registries name it: `sha256:` and 64 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// The digest in this text.
    ///
    /// # Errors
    /// What is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let hex = text.strip_prefix("sha256:");
        let fits = |hex: &str| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        match hex {
            Some(hex) if fits(hex) => Ok(Self(hex.into())),
            _ => Err("a digest is sha256: and 64 hex digits in lower case".into()),
        }
    }

    /// The digest of this hash.
    #[must_use]
    pub fn of(hash: [u8; 32]) -> Self {
        use fmt::Write as _;
        let mut hex = String::with_capacity(64);
        for byte in hash {
            // Writing into a String does not fail.
            let _ = write!(hex, "{byte:02x}");
        }
        Self(hex)
    }

    /// The 64 hex digits.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl Reference {
    /// The reference in this text. A name without a registry is Docker Hub's, one without tag and digest has the tag `latest`.
    /// `http://` or `https://` before it says how its registry is spoken to.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > REFERENCE_MAX {
            return Err(format!("it is longer than {REFERENCE_MAX} bytes"));
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme @ ("http" | "https"), rest)) => (Some(scheme), rest),
            Some(_) => return Err("before :// stands http or https".into()),
            None => (None, text),
        };
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(Digest::parse(digest)?)),
            None => (rest, None),
        };
        let name_at = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest[name_at..].find(':') {
            // A host with a port alone has its colon in the last part, too; it has no name then, and is refused below.
            Some(colon) => (&rest[..name_at + colon], Some(&rest[name_at + colon + 1..])),
            None => (rest, None),
        };
        let tag = tag.map(tag_of).transpose()?;
        let (registry, repository) = parts(name, scheme.is_some())?;
        if !is_repository(&repository) {
            return Err(
                "a name has parts of lower-case letters, digits, and dots, underscores and dashes between them".into(),
            );
        }
        let plain = scheme.map_or_else(|| is_loopback(&registry), |scheme| scheme == "http");
        let tag = tag.or_else(|| digest.is_none().then(|| "latest".to_owned()));
        Ok(Self { registry, plain, repository, tag, digest, is_foreign: false })
    }

    /// The same image, named by content of a repository, whose recipe trusts these registries.
    ///
    /// # Errors
    /// Its registry is spoken to without TLS, and is none of them; says what to write.
    pub fn by_repository(self, registries: &[String]) -> Result<Self, String> {
        let is_foreign = !registries.iter().any(|host| host == self.host());
        if is_foreign && self.plain {
            return Err(format!(
                "its registry is spoken to without TLS; add `registries = [\"{}\"]` to the recipe's base if it is meant",
                self.host()
            ));
        }
        Ok(Self { is_foreign, ..self })
    }

    /// Host, and a port where it is not the usual one, that answers for the registry.
    #[must_use]
    pub fn host(&self) -> &str {
        if self.registry == DEFAULT_REGISTRY { DEFAULT_HOST } else { &self.registry }
    }

    /// What is asked for of the repository's manifests: the digest, where there is one.
    #[must_use]
    pub fn wanted(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".into(),
        }
    }

    /// The same image, named by this digest too.
    #[must_use]
    pub fn pinned(&self, digest: &Digest) -> Self {
        Self { digest: Some(digest.clone()), ..self.clone() }
    }
}

/// In full: registry, name, tag and digest; with the scheme, where the name would be read as another without it.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.plain != is_loopback(&self.registry) || !looks_like_a_host(&self.registry) {
            f.write_str(if self.plain { "http://" } else { "https://" })?;
        }
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

/// Registry and repository of a name: what stands before its first slash is a registry where it looks like a host.
fn parts(name: &str, must_be_host: bool) -> Result<(String, String), String> {
    if name.is_empty() {
        return Err("it has no name".into());
    }
    match name.split_once('/') {
        Some((first, rest)) if must_be_host || looks_like_a_host(first) => {
            let registry = first.to_ascii_lowercase();
            if !is_host(&registry) {
                return Err("its registry is no host, or host:port".into());
            }
            let official = ["docker.io", "index.docker.io", DEFAULT_HOST].contains(&registry.as_str());
            match (official, rest.contains('/')) {
                (true, true) => Ok((DEFAULT_REGISTRY.into(), rest.into())),
                (true, false) => Ok((DEFAULT_REGISTRY.into(), format!("library/{rest}"))),
                (false, _) => Ok((registry, rest.into())),
            }
        }
        None if must_be_host => Err("it has no name behind the registry".into()),
        Some(_) => Ok((DEFAULT_REGISTRY.into(), name.into())),
        None => Ok((DEFAULT_REGISTRY.into(), format!("library/{name}"))),
    }
}

/// Whether what stands before a name's first slash is a registry, and no part of a name on Docker Hub.
fn looks_like_a_host(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost"
}

fn tag_of(tag: &str) -> Result<String, String> {
    let fits = tag.len() <= TAG_MAX
        && tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if fits {
        Ok(tag.into())
    } else {
        Err("a tag has letters, digits, dots, underscores and dashes, at most 128".into())
    }
}

/// Whether a text is a host or `host:port`, as it stands in a URL.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (text, "443"),
    };
    crate::checked_toml::is_destination(&format!("{host}:{port}"))
}

/// Whether a registry is on this machine.
fn is_loopback(registry: &str) -> bool {
    let host =
        registry.rsplit_once(':').map_or(registry, |(host, port)| if port.contains(']') { registry } else { host });
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn is_repository(name: &str) -> bool {
    name.len() <= REPOSITORY_MAX && name.split('/').all(is_part)
}

/// Runs of lower-case letters and digits, between them one dot, one or two underscores, or dashes.
fn is_part(part: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    let ends = bytes.first().is_some_and(|b| plain(*b)) && bytes.last().is_some_and(|b| plain(*b));
    let between = part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    ends && between
        .filter(|run| !run.is_empty())
        .all(|run| matches!(run, "." | "_" | "__") || run.bytes().all(|b| b == b'-'))
}
