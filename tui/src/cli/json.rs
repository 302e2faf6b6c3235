//! The stable shapes of `--json`. A field may be added; none is renamed, removed or given another meaning. Times are RFC
//! 3339 in UTC, sizes are bytes, and what does not exist is null. The tests pin the names.

mod agents;
mod credentials;
mod events;
mod pulls;
mod reports;
mod triage;
mod usage;

use pilothouse_proto::hostd::v1 as api;
use serde::Serialize;

use super::format::time;

pub(crate) use agents::{AgentProfile, Held, Reached, Tried};
pub(crate) use credentials::{CheckedCredential, Credential};
pub(crate) use events::Event;
pub(crate) use pulls::{Check, FetchedBranch, Pull, PushedBranch, Repository, WholePull};
pub(crate) use reports::{Explanation, Permission, Report};
pub(crate) use triage::Triage;
pub(crate) use usage::{Account, ModelUsage};

/// A session: an element of `ls`, and what `show`, `new`, `send`, `restart` and `wait` print.
#[derive(Debug, Serialize)]
pub(crate) struct Session<'a> {
    id: &'a str,
    slug: &'a str,
    title: &'a str,
    host: &'a str,
    environment: &'a str,
    build: &'a str,
    owner: &'a str,
    lifecycle: &'a str,
    activity: &'a str,
    attention: &'a str,
    reason: &'a str,
    /// What the session's turn is about, in a few words, however it is kept.
    word: &'a str,
    /// Since when it has been the turn of whoever has it.
    turn_since: String,
    /// What went wrong with the session's cloning, or its last suspend or resume.
    notice: Option<&'a str>,
    missing_hooks: Option<&'a str>,
    choices: &'a [String],
    /// What the agent's program needs a permission for and nobody has answered by keys; null: nothing.
    permission: Option<Permission<'a>>,
    cause: Option<&'a str>,
    /// Which end that was, in one word, and which one of an agent that ended badly; null: neither.
    cause_word: Option<&'a str>,
    /// What the kernel of its guest wrote to its console about its panic, oldest line first.
    cause_lines: &'a [String],
    deleting: bool,
    generation: u64,
    created_at: String,
    updated_at: String,
    task: &'a str,
    command: &'a [String],
    repository: Option<&'a str>,
    branch_prefix: Option<&'a str>,
    /// What was found of the session's clone after its last restart from its disk.
    repository_state: Option<&'a str>,
    vcpus: u32,
    /// Memory of the host that is the session's VM's alone now; 0 while it is suspended.
    memory_bytes: u64,
    memory_size_bytes: u64,
    resident_bytes: u64,
    suspended_bytes: u64,
    resumed_in_ms: Option<u64>,
    /// What the session's guest was last seen to have; null where that is not known.
    guest_memory_size_bytes: Option<u64>,
    guest_memory_available_bytes: Option<u64>,
    guest_disk_size_bytes: Option<u64>,
    guest_disk_free_bytes: Option<u64>,
    /// Bytes of the session's files on the host's disk, those that it shares with forks included.
    host_disk_bytes: u64,
    viewers: u32,
    forked_from: Option<&'a str>,
    phases: Vec<Phase<'a>>,
    /// What the agent is doing by the report that decides; null where nobody has reported.
    report: Option<Report<'a>>,
    /// What the agent's program reports of its parts.
    records: Vec<Report<'a>>,
    /// Amount that models may cost the session, in US dollars; null where there is no bound.
    /// The newest first.
    checkpoints: Vec<Checkpoint>,
    budget_usd: Option<f64>,
    /// What answers of models took; null where there were none.
    usage: Option<ModelUsage>,
    /// Destinations that people have allowed the session beside its recipe; of `show` and `allow` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed: Option<Vec<Allowed<'a>>>,
    /// Of `show`, `allow` and `ls` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<Vec<Refused<'a>>>,
    /// What was done last, and by whom; null where the host does not say.
    last_event: Option<Event<'a>>,
}

/// A destination that a session asked for and may not reach.
#[derive(Debug, Serialize)]
struct Refused<'a> {
    destination: &'a str,
    why: &'a str,
    count: u64,
    last_at: String,
}

/// A checkpoint of a session.
#[derive(Debug, Serialize)]
pub(crate) struct Checkpoint {
    number: u64,
    taken_at: String,
    /// Bytes of the host's disk that came with the checkpoint.
    bytes: u64,
    /// Whether the schedule of the session's recipe took the checkpoint, and no person.
    automatic: bool,
    /// Milliseconds that the VM stood still; null: not known.
    stood_ms: Option<u64>,
}

impl Checkpoint {
    pub(crate) fn new(known: &api::Checkpoint) -> Self {
        Self {
            number: known.number,
            taken_at: time(known.at),
            bytes: known.bytes,
            automatic: known.automatic,
            stood_ms: Some(known.stood_ms).filter(|ms| *ms > 0),
        }
    }
}

/// A destination that people have allowed a session.
#[derive(Debug, Serialize)]
struct Allowed<'a> {
    destination: &'a str,
    /// Whether it may lie at an address that is not a public one.
    private: bool,
}

impl<'a> Allowed<'a> {
    fn new(allowed: &'a api::Allowed) -> Self {
        Self { destination: &allowed.destination, private: allowed.private }
    }
}

/// What became of a session that was to be deleted: an element of `rm`.
#[derive(Debug, Serialize)]
pub(crate) struct Deleted {
    pub(crate) id: String,
    pub(crate) slug: String,
    pub(crate) host: String,
    /// Whether the session is gone.
    pub(crate) deleted: bool,
    /// Why the session was not deleted.
    pub(crate) error: Option<String>,
}

/// A phase of a session's last start.
#[derive(Debug, Serialize)]
struct Phase<'a> {
    name: &'a str,
    micros: u64,
}

impl<'a> Session<'a> {
    /// The shape of a session on the host of this name.
    pub(crate) fn new(host: &'a str, session: &'a api::Session) -> Self {
        let known = |bytes: u64| (bytes > 0).then_some(bytes);
        let (memory, disk) = (known(session.guest_memory_bytes), known(session.guest_disk_bytes));
        Self {
            id: &session.id,
            slug: &session.slug,
            title: &session.title,
            host,
            environment: &session.environment,
            build: &session.build,
            owner: &session.owner,
            lifecycle: &session.lifecycle,
            activity: &session.activity,
            attention: &session.attention,
            reason: &session.reason,
            word: if session.word.is_empty() { &session.lifecycle } else { &session.word },
            turn_since: time(if session.turn_since == 0 { session.updated_at } else { session.turn_since }),
            notice: some(&session.notice),
            missing_hooks: some(&session.missing_hooks),
            choices: &session.choices,
            permission: session.permission.as_ref().map(Permission::new),
            cause: some(&session.cause),
            cause_word: some(&session.cause_word),
            cause_lines: &session.cause_lines,
            deleting: session.deleting,
            generation: session.generation,
            created_at: time(session.created_at),
            updated_at: time(session.updated_at),
            task: &session.task,
            command: &session.command,
            repository: some(&session.repository),
            branch_prefix: some(&session.branch_prefix),
            repository_state: some(&session.repository_state),
            vcpus: session.vcpus,
            memory_bytes: session.used_bytes,
            memory_size_bytes: session.memory_bytes,
            resident_bytes: session.resident_bytes,
            suspended_bytes: session.suspended_bytes,
            resumed_in_ms: Some(session.resumed_in_ms).filter(|ms| *ms > 0),
            guest_memory_size_bytes: memory,
            guest_memory_available_bytes: memory.map(|_| session.guest_memory_available_bytes),
            guest_disk_size_bytes: disk,
            guest_disk_free_bytes: disk.map(|_| session.guest_disk_free_bytes),
            host_disk_bytes: session.host_disk_bytes,
            viewers: session.viewers,
            forked_from: some(&session.forked_from),
            phases: session.phases.iter().map(|p| Phase { name: &p.name, micros: p.micros }).collect(),
            report: session.report.as_ref().map(Report::new),
            records: session.records.iter().map(Report::new).collect(),
            checkpoints: session.checkpoints.iter().rev().map(Checkpoint::new).collect(),
            budget_usd: session.budget_micros.map(usage::usd),
            usage: session.usage.as_ref().map(ModelUsage::new),
            allowed: None,
            refused: None,
            last_event: session.last_event.as_ref().map(Event::new),
        }
    }

    /// Adds the destinations that people have allowed the session, which lists of sessions do not tell.
    pub(crate) fn with_allowed(self, session: &'a api::Session) -> Self {
        Self { allowed: Some(session.allowed.iter().map(Allowed::new).collect()), ..self }
    }

    /// Adds the destinations that the session was refused.
    pub(crate) fn with_refused(self, session: &'a api::Session) -> Self {
        let refused = session.refused.iter().map(|it| Refused {
            destination: &it.destination,
            why: &it.why,
            count: it.count,
            last_at: time(it.last_at),
        });
        Self { refused: Some(refused.collect()), ..self }
    }
}

/// An environment: an element of `env ls`, and what `env show` and `env build` print.
#[derive(Debug, Serialize)]
pub(crate) struct Environment<'a> {
    name: &'a str,
    host: &'a str,
    state: &'a str,
    source: &'a str,
    error: Option<&'a str>,
    sessions: u32,
    vcpus: u32,
    memory_bytes: u64,
    disk_bytes: u64,
    repository: Option<&'a str>,
    agent: &'a [String],
    build: Option<Build<'a>>,
    older_builds: Vec<Build<'a>>,
    warm: Warm<'a>,
    recipe: &'a str,
}

/// Numbers of VMs that stand ready.
#[derive(Debug, Serialize)]
struct Warm<'a> {
    ready: u32,
    wanted: u32,
    min: u32,
    max: u32,
    unrehearsed: Option<&'a str>,
}

/// A build of an environment.
#[derive(Debug, Serialize)]
struct Build<'a> {
    id: &'a str,
    commit: Option<&'a str>,
    image: Option<&'a str>,
    devcontainer: Option<&'a str>,
    forward_ports: &'a [u32],
    not_honoured: &'a [String],
    created_at: String,
    size_bytes: u64,
    base_bytes: u64,
    template_bytes: u64,
    sessions: u32,
}

impl<'a> Build<'a> {
    fn new(build: &'a api::Build) -> Self {
        Self {
            id: &build.id,
            commit: some(&build.commit),
            image: some(&build.image),
            devcontainer: some(&build.devcontainer),
            forward_ports: &build.forward_ports,
            not_honoured: &build.not_honoured,
            created_at: time(build.created_at),
            size_bytes: build.size_bytes,
            base_bytes: build.base_bytes,
            template_bytes: build.template_bytes,
            sessions: build.sessions,
        }
    }
}

impl<'a> Environment<'a> {
    /// The shape of an environment on the host of this name.
    pub(crate) fn new(host: &'a str, environment: &'a api::Environment) -> Self {
        Self {
            name: &environment.name,
            host,
            state: &environment.state,
            source: &environment.source,
            error: some(&environment.error),
            sessions: environment.sessions,
            vcpus: environment.vcpus,
            memory_bytes: environment.memory_bytes,
            disk_bytes: environment.disk_bytes,
            repository: some(&environment.repository),
            agent: &environment.agent,
            build: environment.build.as_ref().map(Build::new),
            older_builds: environment.older.iter().map(Build::new).collect(),
            warm: Warm {
                ready: environment.warm_ready,
                wanted: environment.warm_wanted,
                min: environment.warm_min,
                max: environment.warm_max,
                unrehearsed: some(&environment.warm_unrehearsed),
            },
            recipe: &environment.recipe,
        }
    }
}

/// A host: an element of `host ls`, and what `host show` prints. Of one out of reach there is only name, address,
/// reachable and error.
#[derive(Debug, Serialize)]
pub(crate) struct Host<'a> {
    name: &'a str,
    address: String,
    reachable: bool,
    error: Option<&'a str>,
    #[serde(flatten)]
    info: Option<HostInfo<'a>>,
}

#[derive(Debug, Serialize)]
struct HostInfo<'a> {
    version: &'a str,
    vmm: &'a str,
    accelerator: &'a str,
    accelerator_reason: &'a str,
    qemu_version: &'a str,
    kernel_version: Option<&'a str>,
    cpus: u32,
    memory_total: u64,
    memory_available: u64,
    disk_total: u64,
    disk_available: u64,
    sessions: u32,
    running: u32,
    started_at: String,
    data_directory: &'a str,
    /// User name of whoever has drained the host; null: it takes VMs.
    drained_by: Option<&'a str>,
    problems: &'a [String],
    accounts: Option<Accounts>,
}

/// What memory and disk are used for, in bytes.
#[derive(Debug, Serialize)]
struct Accounts {
    memory_private: u64,
    memory_shared: u64,
    memory_cache: u64,
    memory_free: u64,
    memory_reserve: u64,
    memory_most: u64,
    disk_bases: u64,
    disk_builds: u64,
    disk_layers: u64,
    disk_snapshots: u64,
    disk_logs: u64,
    disk_other: u64,
    disk_reserve: u64,
    memory_warm: u64,
    memory_ci: u64,
    memory_builds: u64,
    disk_warm: u64,
    disk_ci: u64,
    /// Sessions that take the most of the disk, the largest first.
    sessions: Vec<SessionDisk>,
}

/// What a session takes of its host's disk.
#[derive(Debug, Serialize)]
struct SessionDisk {
    slug: String,
    bytes: u64,
}

impl Accounts {
    fn new(a: &api::HostAccounts) -> Self {
        Self {
            memory_private: a.memory_private,
            memory_shared: a.memory_shared,
            memory_cache: a.memory_cache,
            memory_free: a.memory_free,
            memory_reserve: a.memory_reserve,
            memory_most: a.memory_most,
            disk_bases: a.disk_bases,
            disk_builds: a.disk_builds,
            disk_layers: a.disk_layers,
            disk_snapshots: a.disk_snapshots,
            disk_logs: a.disk_logs,
            disk_other: a.disk_other,
            disk_reserve: a.disk_reserve,
            memory_warm: a.memory_warm,
            memory_ci: a.memory_ci,
            memory_builds: a.memory_builds,
            disk_warm: a.disk_warm,
            disk_ci: a.disk_ci,
            sessions: a.sessions.iter().map(|s| SessionDisk { slug: s.slug.clone(), bytes: s.bytes }).collect(),
        }
    }
}

impl<'a> Host<'a> {
    /// The shape of a host that answered, or of one that did not and why.
    pub(crate) fn new(name: &'a str, address: String, answer: Result<&'a api::HostInfo, &'a str>) -> Self {
        Self {
            name,
            address,
            reachable: answer.is_ok(),
            error: answer.err(),
            info: answer.ok().map(|info| HostInfo {
                version: &info.version,
                vmm: &info.vmm,
                accelerator: &info.accelerator,
                accelerator_reason: &info.accelerator_reason,
                qemu_version: &info.qemu_version,
                kernel_version: some(&info.kernel_version),
                cpus: info.cpus,
                memory_total: info.memory_total,
                memory_available: info.memory_available,
                disk_total: info.disk_total,
                disk_available: info.disk_available,
                sessions: info.sessions,
                running: info.running,
                started_at: time(info.started_at),
                data_directory: &info.data_directory,
                drained_by: some(&info.drained_by),
                problems: &info.problems,
                accounts: info.accounts.as_ref().map(Accounts::new),
            }),
        }
    }
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(value: &impl Serialize) -> Vec<String> {
        let text = serde_json::to_string(value).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        value.as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn session_fields_are_pinned() {
        let session = api::Session { created_at: 1_700_000_000_000, ..Default::default() };
        let session = Session::new("near", &session);
        let want = "activity attention branch_prefix budget_usd build cause cause_lines cause_word checkpoints choices command created_at deleting environment \
            forked_from generation guest_disk_free_bytes guest_disk_size_bytes guest_memory_available_bytes \
            guest_memory_size_bytes host host_disk_bytes id last_event lifecycle memory_bytes memory_size_bytes missing_hooks notice owner permission phases \
            reason records report repository repository_state resident_bytes resumed_in_ms slug suspended_bytes task title turn_since \
            updated_at usage vcpus viewers word";
        assert_eq!(keys(&session).join(" "), want);
        let value = serde_json::to_value(&session).unwrap();
        assert_eq!(value["created_at"], "2023-11-14T22:13:20.000Z");
        assert!(value["cause"].is_null());
    }

    #[test]
    fn environment_fields_are_pinned() {
        let environment = api::Environment { build: Some(api::Build::default()), ..Default::default() };
        let environment = Environment::new("near", &environment);
        let want = "agent build disk_bytes error host memory_bytes name older_builds recipe repository sessions source \
            state vcpus warm";
        assert_eq!(keys(&environment).join(" "), want);
        assert_eq!(
            keys(&environment.build).join(" "),
            "base_bytes commit created_at devcontainer forward_ports id image not_honoured sessions size_bytes \
             template_bytes"
        );
    }

    #[test]
    fn host_fields_are_pinned() {
        let info = api::HostInfo::default();
        let want = "accelerator accelerator_reason accounts address cpus data_directory disk_available disk_total drained_by \
            error kernel_version memory_available memory_total name problems qemu_version reachable running sessions \
            started_at version vmm";
        assert_eq!(keys(&Host::new("near", "unix:/a".into(), Ok(&info))).join(" "), want);
        let gone = Host::new("near", "unix:/a".into(), Err("no"));
        assert_eq!(keys(&gone).join(" "), "address error name reachable");
    }
}
