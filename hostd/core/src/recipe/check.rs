//! From the raw shape to a checked recipe.

use std::{collections::BTreeSet, ops::RangeInclusive};

use toml::Spanned;

use super::{Agent, Base, CiCheck, Cpu, Egress, ROOT, Recipe, Repository, Warm, raw, words};
use crate::session::Size;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// Longest command or argument, in bytes.
const COMMAND_MAX: usize = 4096;
/// Most entries of a list in a recipe.
const LIST_MAX: usize = 256;

/// What is wrong with a recipe, and at which byte of its text.
pub(super) struct Wrong {
    pub(super) at: usize,
    pub(super) message: String,
}

type Checked<T> = Result<T, Wrong>;

pub(super) fn recipe(raw: raw::Recipe) -> Checked<Recipe> {
    Ok(Recipe {
        name: word(raw.name, words::is_environment_name, "name", "lower-case letters, digits and dashes, at most 40")?,
        base: base(raw.base)?,
        repository: raw.repository.map(repository).transpose()?,
        setup: list(raw.setup, "setup", |command| argument(command, false))?,
        user: raw.user.map_or_else(|| Ok(ROOT.into()), user)?,
        agent: Agent {
            command: command(raw.agent.command)?,
            task_argument: raw.agent.task_argument,
            typed_events: raw.agent.typed_events,
        },
        ci: raw.ci.map_or(Ok(vec![]), ci)?,
        size: size(&raw.size)?,
        cpu: Cpu { nested: raw.cpu.nested, counters: raw.cpu.counters },
        warm: warm(&raw.warm)?,
        suspend_after: suspend(&raw.suspend)?,
        egress: list(raw.egress, "egress", destination)?,
    })
}

fn base(raw: raw::Base) -> Checked<Base> {
    let suite = "a Debian suite such as bookworm: lower-case letters, digits and dashes";
    let package = "the name of one Debian package: lower-case letters, digits, plus, dot and dash";
    Ok(Base {
        debian: word(raw.debian, words::is_suite, "base.debian", suite)?,
        packages: list(raw.packages, "base.packages", |name| word(name, words::is_package, "package", package))?,
    })
}

fn user(raw: Spanned<String>) -> Checked<String> {
    word(raw, words::is_user_name, "user", "a user name of lower-case letters, digits, underscore and dash, at most 32")
}

fn repository(raw: raw::Repository) -> Checked<Repository> {
    let url = "http://pilothouse.internal/git/NAME.git, NAME of lower-case letters, digits, dot, underscore and dash";
    let branch = "a branch name of letters, digits, dot, underscore, slash and dash";
    let path = "an absolute path of letters, digits, dot, underscore and dash, not in /dev, /proc, /run, /sys or /tmp";
    let name_of_one = "the name of a repository of this host, as `pilothouse repo ls` has it";
    let is_url = |url: &str| words::repository_of(url).is_some();
    Ok(Repository {
        url: word(raw.url, is_url, "repository.url", url)?,
        branch: raw.branch.map(|name| word(name, words::is_branch_name, "repository.branch", branch)).transpose()?,
        path: word(raw.path, words::is_guest_path, "repository.path", path)?,
        read: list(raw.read, "repository.read", |name| word(name, words::is_repository_name, "read", name_of_one))?,
    })
}

/// The checks; a command alone is one that is called `ci`.
fn ci(raw: Spanned<raw::Ci>) -> Checked<Vec<CiCheck>> {
    const DEFAULT: u64 = 30 * 60;
    let at = raw.span().start;
    let raw::Ci { command: alone, checks } = raw.into_inner();
    match alone {
        Some(alone) if checks.is_empty() => {
            Ok(vec![CiCheck { name: "ci".into(), command: command(alone)?, timeout: DEFAULT, required: true }])
        }
        Some(alone) => {
            let message = "ci has both command and checks; make the command one of the checks".into();
            Err(Wrong { at: alone.span().start, message })
        }
        None if checks.is_empty() => {
            Err(Wrong { at, message: "ci has neither command nor checks; give one of them, or leave ci out".into() })
        }
        None => {
            let mut names = BTreeSet::new();
            list(checks, "ci.checks", |raw| check(raw.into_inner(), DEFAULT, &mut names))
        }
    }
}

fn check(raw: raw::CiCheck, timeout: u64, names: &mut BTreeSet<String>) -> Checked<CiCheck> {
    const DAY: u64 = 24 * 3600;
    let at = raw.name.span().start;
    let allowed = "letters, digits, dot, underscore, slash and dash, at most 64";
    let name = word(raw.name, words::is_check_name, "name", allowed)?;
    if !names.insert(name.clone()) {
        return Err(Wrong { at, message: format!("there are two checks {name:?}; their names must differ") });
    }
    Ok(CiCheck {
        name,
        command: command(raw.command)?,
        timeout: time(raw.timeout.as_ref(), "timeout", DAY, timeout)?,
        required: raw.required.unwrap_or(true),
    })
}

/// A program and its arguments.
fn command(raw: Spanned<Vec<Spanned<String>>>) -> Checked<Vec<String>> {
    let at = raw.span().start;
    let mut first = true;
    let command = list(raw.into_inner(), "command", |text| argument(text, !std::mem::take(&mut first)))?;
    if command.is_empty() {
        return Err(Wrong { at, message: "command is empty; it must name a program".into() });
    }
    Ok(command)
}

fn argument(raw: Spanned<String>, may_be_empty: bool) -> Checked<String> {
    let fits =
        |text: &str| text.len() <= COMMAND_MAX && !text.contains('\0') && (may_be_empty || !text.trim().is_empty());
    let allowed =
        if may_be_empty { "at most 4096 bytes without NUL" } else { "not empty, at most 4096 bytes without NUL" };
    word(raw, fits, "command", allowed)
}

fn destination(raw: Spanned<raw::Egress>) -> Checked<Egress> {
    let allowed = "host:port, e.g. \"packages.example.com:443\"; the host is a name or an address, without wildcards";
    let span = raw.span();
    let raw::Egress { to, private } = raw.into_inner();
    let to = word(Spanned::new(span, to), words::is_destination, "egress", allowed)?.to_ascii_lowercase();
    Ok(Egress { to, private })
}

fn size(raw: &raw::Size) -> Checked<Size> {
    let memory = amount(raw.memory.as_ref(), "size.memory", 64 * MIB..=TIB, 512 * MIB)?;
    let disk = amount(raw.disk.as_ref(), "size.disk", GIB..=16 * TIB, 8 * GIB)?;
    Ok(Size { vcpus: count(raw.vcpus.as_ref(), "size.vcpus", 1..=64, 1)?, memory, disk })
}

fn warm(raw: &raw::Warm) -> Checked<Warm> {
    let min = count(raw.min.as_ref(), "warm.min", 0..=64, 0)?;
    let max = count(raw.max.as_ref(), "warm.max", 0..=64, min)?;
    match &raw.max {
        Some(at) if max < min => Err(Wrong {
            at: at.span().start,
            message: format!("warm.max is {max}; allowed: at least warm.min, which is {min}"),
        }),
        _ => Ok(Warm { min, max }),
    }
}

fn suspend(raw: &raw::Suspend) -> Checked<u64> {
    const DEFAULT: u64 = 60;
    const WEEK: u64 = 7 * 24 * 3600;
    time(raw.after.as_ref(), "suspend.after", WEEK, DEFAULT)
}

/// A time in seconds, from one to `most`, which is whole hours.
fn time(raw: Option<&Spanned<String>>, key: &str, most: u64, default: u64) -> Checked<u64> {
    let Some(raw) = raw else { return Ok(default) };
    words::seconds(raw.as_ref()).filter(|seconds| (1..=most).contains(seconds)).ok_or_else(|| {
        let hours = most / 3600;
        wrong(raw, key, &format!("a time such as \"90s\", \"5m\" or \"1h\", from 1s to {hours}h"))
    })
}

/// An amount of bytes; whole MiB, because QEMU and disk images want whole pages and sectors.
fn amount(raw: Option<&Spanned<String>>, key: &str, range: RangeInclusive<u64>, default: u64) -> Checked<u64> {
    let Some(raw) = raw else { return Ok(default) };
    words::bytes(raw.as_ref()).filter(|bytes| range.contains(bytes) && bytes % MIB == 0).ok_or_else(|| {
        let (low, high) = (amount_words(*range.start()), amount_words(*range.end()));
        wrong(raw, key, &format!("a number of MiB, GiB or TiB such as \"512MiB\", from {low} to {high}"))
    })
}

fn amount_words(bytes: u64) -> String {
    let (unit, name) =
        [(TIB, "TiB"), (GIB, "GiB")].into_iter().find(|(unit, _)| bytes >= *unit).unwrap_or((MIB, "MiB"));
    format!("{}{name}", bytes / unit)
}

fn count(raw: Option<&Spanned<i64>>, key: &str, range: RangeInclusive<u32>, default: u32) -> Checked<u32> {
    let Some(raw) = raw else { return Ok(default) };
    let value = *raw.as_ref();
    u32::try_from(value).ok().filter(|value| range.contains(value)).ok_or_else(|| Wrong {
        at: raw.span().start,
        message: format!("{key} is {value}; allowed: from {} to {}", range.start(), range.end()),
    })
}

fn word(raw: Spanned<String>, fits: impl Fn(&str) -> bool, key: &str, allowed: &str) -> Checked<String> {
    if fits(raw.as_ref()) { Ok(raw.into_inner()) } else { Err(wrong(&raw, key, allowed)) }
}

fn list<T, U>(raw: Vec<Spanned<T>>, key: &str, mut each: impl FnMut(Spanned<T>) -> Checked<U>) -> Checked<Vec<U>> {
    if let Some(first_too_many) = raw.get(LIST_MAX) {
        let message = format!("{key} has {} entries; allowed: at most {LIST_MAX}", raw.len());
        return Err(Wrong { at: first_too_many.span().start, message });
    }
    raw.into_iter().map(&mut each).collect()
}

/// The value is quoted, cut, and made one line: it is foreign and goes to a terminal.
fn wrong(raw: &Spanned<String>, key: &str, allowed: &str) -> Wrong {
    let value: String = raw.as_ref().chars().take(60).collect();
    Wrong { at: raw.span().start, message: format!("{key} is {value:?}; allowed: {allowed}") }
}
