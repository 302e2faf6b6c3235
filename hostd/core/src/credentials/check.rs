//! From the raw shape to checked credentials. No message has a value in it that could be a secret put in the wrong place.

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;

use super::{Credential, HostPattern, Place, Source, VARIABLES_MAX, raw};
use crate::checked_toml::{Checked, Wrong, is_environment_name};

/// Most credentials of a host.
const CREDENTIALS_MAX: usize = 256;
/// Most entries of a list.
const LIST_MAX: usize = 64;
/// Longest path, argument or other text, in bytes.
const TEXT_MAX: usize = 1024;
/// Headers that say how a request is carried, or whom it is for: no secret is put there.
const NOT_FOR_SECRETS: [&str; 14] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

pub(super) fn file(raw: raw::File) -> Checked<Vec<Credential>> {
    let mut names = BTreeSet::new();
    list(raw.credential, "credential", CREDENTIALS_MAX, |raw| {
        let at = raw.as_ref().name.span().start;
        let credential = credential(raw)?;
        if !names.insert(credential.name.clone()) {
            let message = format!("there are two credentials {:?}; their names must differ", credential.name);
            return Err(Wrong { at, message });
        }
        Ok(credential)
    })
}

fn credential(raw: Spanned<raw::Credential>) -> Checked<Credential> {
    let at = raw.span().start;
    let raw = raw.into_inner();
    let place = place(at, raw.header, raw.bearer, raw.basic, raw.git)?;
    let name = text(raw.name, is_credential_name, "name", "lower-case letters, digits and dashes, at most 40")?;
    let hosts = hosts(raw.hosts)?;
    let source = source(raw.secret)?;
    let path = raw.path.map(|path| text(path, is_prefix, "path", PREFIX)).transpose()?.unwrap_or_default();
    let environment = |name| text(name, is_credential_name, "environments", "names of environments");
    let environments = raw.environments.map(|names| list(names, "environments", LIST_MAX, environment)).transpose()?;
    let ca = raw.ca.map(|path| text(path, is_absolute, "ca", "the absolute path of a PEM file")).transpose()?;
    let (plain, private) = (raw.plain, raw.private);
    let variables = variables(at, raw.variables)?;
    Ok(Credential { name, hosts, place, source, path, environments, variables, ca, plain, private })
}

fn place(
    at: usize,
    header: Option<Spanned<String>>,
    bearer: Option<Spanned<bool>>,
    basic: Option<Spanned<String>>,
    git: Option<Spanned<raw::Git>>,
) -> Checked<Place> {
    let one = "say where the secret goes by one of header = \"NAME\", bearer = true, basic = \"USER\" and \
               git = { user = \"USER\" }";
    let user =
        |user| text(user, is_user, "user", "a user name without colon and control characters, at most 128 bytes");
    match (header, bearer, basic, git) {
        (Some(name), None, None, None) => {
            let allowed = "the name of a header such as \"x-api-key\", and none that says how a request is carried";
            Ok(Place::Header(text(name, is_header, "header", allowed)?.to_ascii_lowercase()))
        }
        (None, Some(bearer), None, None) if *bearer.as_ref() => Ok(Place::Bearer),
        (None, None, Some(name), None) => Ok(Place::Basic { user: user(name)? }),
        (None, None, None, Some(git)) => {
            let raw::Git { user: name, push } = git.into_inner();
            Ok(Place::Git { user: user(name)?, push })
        }
        _ => Err(Wrong { at, message: one.into() }),
    }
}

fn hosts(raw: Spanned<Vec<Spanned<String>>>) -> Checked<Vec<HostPattern>> {
    let at = raw.span().start;
    let allowed = "a host such as \"api.example.com\", \"*.example.com\" or \"registry.example.com:8443\"";
    let hosts = list(raw.into_inner(), "hosts", LIST_MAX, |host| {
        let at = host.span().start;
        HostPattern::parse(host.as_ref()).ok_or_else(|| wrong(at, "hosts", allowed))
    })?;
    if hosts.is_empty() {
        return Err(Wrong { at, message: "hosts is empty; name at least one host".into() });
    }
    Ok(hosts)
}

fn source(raw: Spanned<raw::Secret>) -> Checked<Source> {
    let at = raw.span().start;
    let raw::Secret { file, command, systemd } = raw.into_inner();
    match (file, command, systemd) {
        (Some(path), None, None) => {
            Ok(Source::File(text(path, is_absolute, "secret.file", "the absolute path of a file")?))
        }
        (None, Some(command), None) => {
            let at = command.span().start;
            let fits = |word: &str| word.len() <= TEXT_MAX && !word.contains('\0');
            let words = list(command.into_inner(), "secret.command", LIST_MAX, |word| {
                text(word, fits, "secret.command", "at most 1024 bytes without NUL")
            })?;
            match words.first() {
                Some(program) if !program.trim().is_empty() => Ok(Source::Command(words)),
                _ => Err(wrong(at, "secret.command", "a program and its arguments, each a string of the list")),
            }
        }
        (None, None, Some(name)) => {
            let fits = |name: &str| {
                (1..=255).contains(&name.len())
                    && !name.starts_with('.')
                    && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            };
            Ok(Source::Systemd(text(name, fits, "secret.systemd", "the name of a credential, without slashes")?))
        }
        _ => Err(Wrong {
            at,
            message: "say where the secret is kept by one of file = \"/PATH\", command = [\"PROGRAM\", ...] and \
                      systemd = \"NAME\""
                .into(),
        }),
    }
}

fn variables(at: usize, raw: BTreeMap<String, Spanned<String>>) -> Checked<BTreeMap<String, String>> {
    let fits = |value: &str| value.len() <= TEXT_MAX && !value.chars().any(char::is_control);
    let mut all = BTreeMap::new();
    for (name, value) in raw {
        let at = value.span().start;
        if !is_variable(&name) {
            return Err(wrong(
                at,
                "variables",
                "names of letters, digits and underscores that say nothing of how programs run",
            ));
        }
        all.insert(name, text(value, fits, "variables", "a stand-in of one line, at most 1024 bytes")?);
    }
    let bytes: usize = all.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > VARIABLES_MAX {
        return Err(Wrong { at, message: format!("variables take {bytes} bytes; allowed: at most {VARIABLES_MAX}") });
    }
    Ok(all)
}

/// Whether a name is fit for a credential, as for an environment.
#[must_use]
pub fn is_credential_name(name: &str) -> bool {
    is_environment_name(name)
}

fn is_header(name: &str) -> bool {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    (1..=64).contains(&name.len())
        && name.bytes().all(token)
        && !NOT_FOR_SECRETS.contains(&name.to_ascii_lowercase().as_str())
}

fn is_user(name: &str) -> bool {
    name.len() <= 128 && !name.contains(':') && !name.chars().any(char::is_control)
}

fn is_absolute(path: &str) -> bool {
    path.starts_with('/') && path.len() <= TEXT_MAX && !path.contains('\0')
}

/// What a path prefix may be. What servers decode or resolve cannot stand in one.
const PREFIX: &str =
    "a path such as \"/v1/\" of letters, digits, dot, underscore, tilde and dash, without . and .. parts";

fn is_prefix(path: &str) -> bool {
    let plain = |part: &str| {
        !matches!(part, "." | "..") && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b))
    };
    path.starts_with('/') && path.len() <= TEXT_MAX && !path.contains("//") && path.split('/').all(plain)
}

/// Whether a name is fit for a variable: one that programs are found, linked or connected by is not.
fn is_variable(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=64).contains(&name.len())
        && name.bytes().all(fits)
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !upper.starts_with("LD_")
        && !upper.ends_with("_PROXY")
        && !["PATH", "HOME", "SHELL", "USER", "LOGNAME", "IFS", "BASH_ENV", "ENV"].contains(&upper.as_str())
}

fn text(raw: Spanned<String>, fits: impl Fn(&str) -> bool, key: &str, allowed: &str) -> Checked<String> {
    if fits(raw.as_ref()) { Ok(raw.into_inner()) } else { Err(wrong(raw.span().start, key, allowed)) }
}

fn wrong(at: usize, key: &str, allowed: &str) -> Wrong {
    Wrong { at, message: format!("{key} is not what it may be; allowed: {allowed}") }
}

fn list<T, U>(
    raw: Vec<Spanned<T>>,
    key: &str,
    most: usize,
    each: impl FnMut(Spanned<T>) -> Checked<U>,
) -> Checked<Vec<U>> {
    if let Some(first_too_many) = raw.get(most) {
        let message = format!("{key} has {} entries; allowed: at most {most}", raw.len());
        return Err(Wrong { at: first_too_many.span().start, message });
    }
    raw.into_iter().map(each).collect()
}
