//! What single words of a recipe or a profile may look like.

/// Host name by which guests reach the local forge.
pub(crate) const INTERNAL: &str = "pilothouse.internal";
/// Host name by which guests reach their host\'s loopback.
pub(crate) const HOST_LOOPBACK: &str = "host.pilothouse.internal";

const KIB: u64 = 1 << 10;

/// Whether a name is fit for a repository of the local forge: at most 64 of `a-z 0-9 . _ -`, beginning with a letter or
/// digit, without `..`, and not ending in `.git` or `.lock`. It is then a safe folder name, too.
#[must_use]
pub fn is_repository_name(name: &str) -> bool {
    begins_alphanumeric(name)
        && name.len() <= 64
        && name.bytes().all(|b| lower_or_digit(b) || b"._-".contains(&b))
        && !name.contains("..")
        && !name.ends_with(".git")
        && !name.ends_with(".lock")
}

/// Whether a name is fit for a branch: what git allows, and of that only `A-Z a-z 0-9 . _ / -`, at most 200 bytes.
#[must_use]
pub fn is_branch_name(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '-'])
            && !part.ends_with('.')
            && !part.ends_with(".lock")
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    name.len() <= 200 && name.split('/').all(part) && !name.contains("..") && name != "HEAD"
}

/// Name of the repository in this URL of the local forge; None: it is no such URL.
pub(crate) fn repository_of(url: &str) -> Option<&str> {
    let path = url.strip_prefix("http://")?.strip_prefix(INTERNAL)?;
    path.strip_prefix("/git/")?.strip_suffix(".git").filter(|name| is_repository_name(name))
}

pub(crate) fn is_environment_name(name: &str) -> bool {
    begins_alphanumeric(name)
        && name.len() <= 40
        && !name.ends_with('-')
        && name.bytes().all(|b| lower_or_digit(b) || b == b'-')
}

/// Whether a name is fit for a user of the guest, as useradd takes it.
pub(crate) fn is_user_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.len() <= 32
        && name.bytes().all(|b| lower_or_digit(b) || b"_-".contains(&b))
}

/// Whether a name is fit for a check; it stands in command lines and in tables.
pub(crate) fn is_check_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"._/-".contains(&b);
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.len() <= 64 && name.bytes().all(fits)
}

pub(crate) fn is_suite(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= 40
        && name.bytes().all(|b| lower_or_digit(b) || b == b'-')
}

/// Whether a name is fit for a Debian package. A dash at the end is apt's word for "remove it".
pub(crate) fn is_package(name: &str) -> bool {
    begins_alphanumeric(name)
        && (2..=128).contains(&name.len())
        && !name.ends_with('-')
        && name.bytes().all(|b| lower_or_digit(b) || b"+.-".contains(&b))
}

/// Whether a name is fit for a package of whichever system.
pub(crate) fn is_any_package(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.len() <= 128
        && !name.ends_with('-')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+._-".contains(&b))
}

/// Whether a text is an absolute path in the guest that outlives a boot.
pub(crate) fn is_guest_path(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else { return false };
    let part = |part: &str| {
        !matches!(part, "" | "." | "..")
            && !part.starts_with('-')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    let top = rest.split('/').next().unwrap_or_default();
    path.len() <= 200 && rest.split('/').all(part) && !["dev", "proc", "run", "sys", "tmp"].contains(&top)
}

/// Whether a text is `host:port`; the host is a DNS name, an IPv4 address, or an IPv6 address in brackets.
pub(crate) fn is_destination(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let port_fits = port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let name = || host.len() <= 253 && host.split('.').all(label);
    let address = || {
        let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        inner.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
    };
    port_fits && (name() || address())
}

/// Whether a text names a variable that a recipe or a profile may set.
pub(crate) fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.len() <= 128
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !name.starts_with("PILOTHOUSE_")
}

/// Whether a name is fit for a package of npm: `name` or `@scope/name`, in lower case.
pub(crate) fn is_npm_package(name: &str) -> bool {
    let part = |part: &str| begins_alphanumeric(part) && part.bytes().all(|b| lower_or_digit(b) || b"._-".contains(&b));
    let parts = match name.strip_prefix('@') {
        Some(scoped) => scoped.split_once('/').is_some_and(|(scope, name)| part(scope) && part(name)),
        None => part(name),
    };
    name.len() <= 128 && parts
}

/// Whether a name is fit for a package of PyPI, in lower case.
pub(crate) fn is_python_package(name: &str) -> bool {
    begins_alphanumeric(name) && name.len() <= 128 && name.bytes().all(|b| lower_or_digit(b) || b"._-".contains(&b))
}

/// Whether a text is one exact version, and neither a range nor a tag: `1.2.3`, `1.2.3-linux-x64`.
pub(crate) fn is_package_version(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.len() <= 64
        && text.contains('.')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b))
}

/// Whether a name is fit for a program: at most 64 letters, digits, dots, underscores and dashes.
pub(crate) fn is_program_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.len() <= 64
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// Whether a text is a path below some folder, which it does not leave.
pub(crate) fn is_relative_path(path: &str) -> bool {
    let part = |part: &str| {
        !matches!(part, "" | "." | "..") && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"@._+-".contains(&b))
    };
    path.len() <= 300 && path.split('/').all(part)
}

/// Bytes of a size such as `512MiB` or `8GiB`; None: it is no size.
#[must_use]
pub fn bytes(text: &str) -> Option<u64> {
    let units = [("KiB", KIB), ("MiB", KIB * KIB), ("GiB", KIB * KIB * KIB), ("TiB", KIB * KIB * KIB * KIB)];
    let (number, unit) = units.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))?;
    number_of(number)?.checked_mul(unit)
}

/// Seconds of a time such as `90s`, `5m` or `1h`; None: it is no time.
pub(crate) fn seconds(text: &str) -> Option<u64> {
    let (number, unit) =
        [("s", 1), ("m", 60), ("h", 3600)].iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))?;
    number_of(number)?.checked_mul(unit)
}

/// Number of a text of digits alone: `u64::from_str` would take a sign, too.
fn number_of(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

fn lower_or_digit(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

fn begins_alphanumeric(text: &str) -> bool {
    text.bytes().next().is_some_and(lower_or_digit)
}
