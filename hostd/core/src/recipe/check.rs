//! From the raw shape to a checked recipe.

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;

use super::{
    Agent, Base, Checkpoints, CiCheck, Cpu, Egress, PullRequests, ROOT, Recipe, Repository, System, Warm,
    egress::{DESTINATION, destination},
    raw,
};
use crate::{
    checked_toml::{
        self as checked, Checked, MIB, Wrong, amount, argument, command, count, list, parsed, time, variables, word,
    },
    credentials::is_credential_name,
    devcontainer::join,
    image::Reference,
    profile::{Profile, Profiles, TASK, Task},
    session::{RestartPolicy, Size, TypedEvents},
};

const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
/// Bytes of memory of a VM where neither the recipe nor its profile says more.
const MEMORY: u64 = 512 * MIB;

pub(super) fn recipe(raw: raw::Recipe, profiles: &Profiles) -> Checked<Recipe> {
    let agent_at = raw.agent.span().start;
    let mut raw_agent = raw.agent.into_inner();
    let profile = raw_agent.profile.take().map(|name| profile(&name, agent_at, profiles)).transpose()?;
    let is_devcontainer = raw.base.as_ref().devcontainer.is_some();
    if is_devcontainer && raw.repository.is_none() {
        let message = "base.devcontainer is a file of the repository, and there is none; add `repository`".into();
        return Err(Wrong { at: raw.base.span().start, message });
    }
    // Tools of a devcontainer are its own user's.
    let names_user = raw.user.is_some() || profile.is_some() && !is_devcontainer;
    let (user, sudo) = user(raw.user, profile.as_ref())?;
    Ok(Recipe {
        name: word(
            raw.name,
            checked::is_environment_name,
            "name",
            "lower-case letters, digits and dashes, at most 40",
        )?,
        base: base(raw.base)?,
        repository: raw.repository.map(repository).transpose()?,
        setup: list(raw.setup, "setup", |command| argument(command, false))?,
        user,
        names_user,
        sudo,
        environment: environment(raw.environment, profile.as_ref())?,
        agent: agent(raw_agent, agent_at, profile.as_ref())?,
        ci: raw.ci.map_or(Ok(vec![]), ci)?,
        size: size(&raw.size, profile.as_ref())?,
        cpu: Cpu { nested: raw.cpu.nested, counters: raw.cpu.counters },
        warm: warm(&raw.warm)?,
        suspend_after: suspend(&raw.suspend)?,
        restart: raw.restart.map(restart).transpose()?,
        checkpoint: raw.checkpoint.map(checkpoint).transpose()?,
        budget: raw.budget.map(|raw| budget(&raw)).transpose()?,
        egress: egress(raw.egress, profile.as_ref())?,
        credentials: credentials(raw.credentials, profile.as_ref())?,
        profile: profile.map(Box::new),
        image: None,
    })
}

/// The profile of this name. A name that is the agent's whole value stands where that does.
fn profile(name: &Spanned<String>, agent_at: usize, profiles: &Profiles) -> Checked<Profile> {
    let at = if name.span().is_empty() { agent_at } else { name.span().start };
    profiles
        .get(name.as_ref())
        .cloned()
        .map_err(|error| Wrong { at, message: crate::text::one_line(&error.to_string()) })
}

fn agent(raw: raw::Agent, at: usize, profile: Option<&Profile>) -> Checked<Agent> {
    let raw::Agent { profile: _, command: own, task_argument, typed_events } = raw;
    let command = match (own, profile) {
        (Some(own), _) => command(own)?,
        (None, Some(profile)) => profile.command.clone(),
        (None, None) => {
            return Err(Wrong { at, message: "missing key `command`, or `profile`".into() });
        }
    };
    let task = match (task_argument, profile) {
        (Some(true), _) => Task::Arguments(vec![TASK.into()]),
        (Some(false), _) | (None, None) => Task::Untold,
        (None, Some(profile)) => profile.task.clone(),
    };
    let typed_events = match typed_events.or_else(|| profile?.typed_events) {
        None => TypedEvents::AtTurnsEnd,
        Some(true) => TypedEvents::All,
        Some(false) => TypedEvents::Never,
    };
    Ok(Agent { command, task, typed_events })
}

/// The agent's user, and whether it may become root.
fn user(raw: Option<Spanned<raw::User>>, profile: Option<&Profile>) -> Checked<(String, bool)> {
    let allowed = "a user name of lower-case letters, digits, underscore and dash, at most 32";
    let default = profile.map_or(ROOT, |profile| profile.user.as_str());
    let sudo = profile.is_some_and(|profile| profile.sudo);
    let Some(raw) = raw else { return Ok((default.into(), sudo)) };
    let span = raw.span();
    let raw::User { name, sudo: own } = raw.into_inner();
    let name = name.map(|name| word(Spanned::new(span.clone(), name), checked::is_user_name, "user", allowed));
    let name = name.transpose()?.unwrap_or_else(|| default.into());
    if name == ROOT && own == Some(true) {
        let message = "user is root, to whom sudo is of no use; name another user, or leave sudo out".into();
        return Err(Wrong { at: span.start, message });
    }
    let sudo = own.unwrap_or(sudo && name != ROOT);
    Ok((name, sudo))
}

/// A budget in US dollars, in millionths of one.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn budget(raw: &Spanned<f64>) -> Checked<u64> {
    let dollars = *raw.as_ref();
    if (0.01..=1_000_000.0).contains(&dollars) {
        return Ok((dollars * 1_000_000.0).round() as u64);
    }
    let message = "budget is in US dollars, what models may cost each session; allowed: 0.01 to 1000000".into();
    Err(Wrong { at: raw.span().start, message })
}

/// The recipe's variables over the profile's.
fn environment(
    raw: BTreeMap<Spanned<String>, Spanned<String>>,
    profile: Option<&Profile>,
) -> Checked<BTreeMap<String, String>> {
    let mut all = profile.map(|profile| profile.environment.clone()).unwrap_or_default();
    all.extend(variables(raw)?);
    Ok(all)
}

/// The recipe's destinations, and those of the profile that it does not name itself.
fn egress(raw: Vec<Spanned<raw::Egress>>, profile: Option<&Profile>) -> Checked<Vec<Egress>> {
    let mut all = list(raw, "egress", entry)?;
    let named = all.len();
    for to in profile.iter().flat_map(|profile| &profile.egress) {
        let of_profile = Egress { to: to.clone(), private: false };
        // Also one of which the recipe lets less through.
        if !all[..named].iter().any(|egress| egress.place() == of_profile.place()) {
            all.push(of_profile);
        }
    }
    Ok(all)
}

fn base(raw: Spanned<raw::Base>) -> Checked<Base> {
    let at = raw.span().start;
    let raw::Base { debian, oci, devcontainer, credential, registries, packages } = raw.into_inner();
    let suite = "a Debian suite such as bookworm: lower-case letters, digits and dashes";
    let debian_package = "the name of one Debian package: lower-case letters, digits, plus, dot and dash";
    let package = "the name of one package: letters, digits, plus, dot, underscore and dash";
    if let (Some(first), None) = (registries.first(), &devcontainer) {
        let message = "base.registries is for a base that is a devcontainer.json; leave it out".into();
        return Err(Wrong { at: first.span().start, message });
    }
    let (system, fits, package): (_, fn(&str) -> bool, _) = match (debian, oci, devcontainer) {
        (Some(name), None, None) => {
            if let Some(credential) = credential {
                let message = "base.credential is for a base that is an image; leave it out".into();
                return Err(Wrong { at: credential.span().start, message });
            }
            (System::Debian(word(name, checked::is_suite, "base.debian", suite)?), checked::is_package, debian_package)
        }
        (None, Some(name), None) => (image(&name, credential)?, checked::is_any_package, package),
        (None, None, Some(path)) => (devcontainer_in(path, credential, registries)?, checked::is_any_package, package),
        (None, None, None) => {
            return Err(Wrong { at, message: "missing key `debian`, `oci` or `devcontainer`".into() });
        }
        _ => {
            let message = "base has more than one of debian, oci and devcontainer; leave one of them in".into();
            return Err(Wrong { at, message });
        }
    };
    Ok(Base { system, packages: list(packages, "base.packages", |name| word(name, fits, "package", package))? })
}

fn devcontainer_in(
    path: Spanned<raw::Devcontainer>,
    credential: Option<Spanned<String>>,
    registries: Vec<Spanned<String>>,
) -> Checked<System> {
    let span = path.span();
    let fits = |path: &str| {
        let plain = path.len() <= 200 && !path.contains([':', '\\']) && !path.contains(char::is_control);
        plain && path.ends_with(".json") && join("", path).is_some_and(|joined| joined == path)
    };
    let allowed = "true, or the path of a devcontainer.json in the repository, such as .devcontainer/devcontainer.json";
    let path = path.into_inner().0;
    let path = path.map(|path| word(Spanned::new(span, path), fits, "base.devcontainer", allowed)).transpose()?;
    let credential = credential.map(credential_of).transpose()?;
    let of_registry = "the host of a registry in lower case, with its port where that is not the usual one";
    let is_host = |host: &str| Reference::parse(&format!("https://{host}/a")).is_ok_and(|one| one.host() == host);
    let registries = list(registries, "base.registries", |name| word(name, is_host, "base.registries", of_registry))?;
    Ok(System::Devcontainer { path, credential, registries })
}

fn credential_of(name: Spanned<String>) -> Checked<String> {
    let allowed = "the name of a credential, as `pilothouse credential ls` has it";
    word(name, is_credential_name, "base.credential", allowed)
}

fn image(name: &Spanned<String>, credential: Option<Spanned<String>>) -> Checked<System> {
    let reference = Reference::parse(name.as_ref()).map_err(|why| {
        let shown: String = name.as_ref().chars().take(120).collect();
        let message = format!(
            "base.oci is {shown:?}, and {why}; allowed: [registry/]name[:tag][@sha256:digest], e.g. \"debian:bookworm\""
        );
        Wrong { at: name.span().start, message }
    })?;
    let credential = credential.map(credential_of).transpose()?;
    Ok(System::Image { reference, credential })
}

fn repository(raw: raw::Repository) -> Checked<Repository> {
    let url = "http://pilothouse.internal/git/NAME.git, NAME of lower-case letters, digits, dot, underscore and dash";
    let branch = "a branch name of letters, digits, dot, underscore, slash and dash";
    let path = "an absolute path of letters, digits, dot, underscore and dash, not in /dev, /proc, /run, /sys or /tmp";
    let name_of_one = "the name of a repository of this host, as `pilothouse repo ls` has it";
    let is_url = |url: &str| checked::repository_of(url).is_some();
    Ok(Repository {
        url: word(raw.url, is_url, "repository.url", url)?,
        branch: raw.branch.map(|name| word(name, checked::is_branch_name, "repository.branch", branch)).transpose()?,
        path: word(raw.path, checked::is_guest_path, "repository.path", path)?,
        read: list(raw.read, "repository.read", |name| word(name, checked::is_repository_name, "read", name_of_one))?,
        pull_requests: raw.pull_requests.map_or(Ok(PullRequests::default()), pull_requests)?,
    })
}

fn pull_requests(raw: Spanned<String>) -> Checked<PullRequests> {
    let known = |word: &str| match word {
        "on-request" => Some(PullRequests::OnRequest),
        "on-push" => Some(PullRequests::OnPush),
        _ => None,
    };
    parsed(&raw, known, "repository.pull_requests", "on-request or on-push")
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
    let name = word(raw.name, checked::is_check_name, "name", allowed)?;
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

fn entry(raw: Spanned<raw::Egress>) -> Checked<Egress> {
    let span = raw.span();
    let raw::Egress { to, private } = raw.into_inner();
    let to = parsed(&Spanned::new(span, to), destination, "egress", DESTINATION)?;
    Ok(Egress { to, private })
}

/// The recipe's credentials, and those that the profile's program uses.
fn credentials(raw: Vec<Spanned<String>>, profile: Option<&Profile>) -> Checked<Vec<String>> {
    let allowed = "the name of a credential, as `pilothouse credential ls` has it";
    let mut names = list(raw, "credentials", |name| word(name, is_credential_name, "credentials", allowed))?;
    names.extend(profile.iter().flat_map(|profile| profile.credentials.clone()));
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    Ok(names)
}

fn size(raw: &raw::Size, profile: Option<&Profile>) -> Checked<Size> {
    let default = profile.and_then(|profile| profile.memory).unwrap_or(MEMORY);
    let memory = amount(raw.memory.as_ref(), "size.memory", 64 * MIB..=TIB, default)?;
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

/// When a session starts again by itself.
fn restart(raw: Spanned<raw::Restart>) -> Checked<RestartPolicy> {
    const BACKOFF: u64 = 10;
    const MOST: u32 = 3;
    const HOUR: u64 = 3600;
    let at = raw.span().start;
    let raw = raw.into_inner();
    let Some(on) = raw.on else {
        return Err(Wrong { at, message: "missing key `on`; restart.on = \"crash\" is what there is".into() });
    };
    parsed(&on, |on| (on == "crash").then_some(()), "restart.on", "crash")?;
    Ok(RestartPolicy {
        backoff: time(raw.backoff.as_ref(), "restart.backoff", HOUR, BACKOFF)?,
        most: count(raw.most.as_ref(), "restart.most", 1..=RestartPolicy::MOST, MOST)?,
    })
}

fn checkpoint(raw: Spanned<raw::Checkpoint>) -> Checked<Checkpoints> {
    const DAY: u64 = 24 * 3600;
    const LEAST: u64 = 30;
    let span = raw.span();
    let raw::Checkpoint { every, keep } = raw.into_inner();
    let every = time(Some(&Spanned::new(span.clone(), every)), "checkpoint", DAY, DAY)?;
    if every < LEAST {
        let message =
            format!("checkpoint is every {every} s, and each makes the VM stand still; allowed: from {LEAST}s");
        return Err(Wrong { at: span.start, message });
    }
    let keep = keep.map(|keep| Spanned::new(span, keep));
    Ok(Checkpoints { every, keep: count(keep.as_ref(), "checkpoint.keep", 1..=32, Checkpoints::KEEP)? })
}
