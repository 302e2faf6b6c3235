//! From what hostd knows to what is on the wire.

use hostd_core::{
    Lifecycle,
    explain::{Explanation, explain, missing_hooks},
    keys::Key,
    profile::Answers,
    recipe::Egress,
    reports::{Permission, Report, Source, State},
    text,
    triage::Choice,
    usage::Spending,
};
use pilothouse_proto::hostd::v1 as wire;
use pilothouse_terminal::status::Record;

use crate::{
    clock::now,
    environments::BuildInfo,
    gateway::Refused,
    host_status::HostStatus,
    sessions::{Accounts, Change, EnvironmentView, News, Sample, SessionView, Snapshot, Triage},
    store::{Checkpoint, Numbered},
    terminals::{Shown, Size},
};

/// Longest task, and word of a command, in lists; in bytes.
const BRIEF_MAX: usize = 256;
/// Most records of a program's parts in lists, and longest text of one, in bytes.
const RECORD_MAX: (usize, usize) = (16, 2048);

pub(super) fn session(view: &SessionView) -> wire::Session {
    let s = &view.session;
    let attention = view.attention_at(now());
    wire::Session {
        id: s.id.clone(),
        slug: s.slug.clone(),
        title: s.title.clone(),
        task: s.task.clone(),
        environment: s.environment.clone(),
        build: s.build.clone(),
        owner: s.owner.clone(),
        lifecycle: s.lifecycle.word().into(),
        activity: s.doing().into(),
        attention: attention.turn.word().into(),
        reason: attention.reason,
        generation: s.generation,
        created_at: s.created_at,
        updated_at: s.updated_at,
        choices: s.choices.clone(),
        command: s.command.clone(),
        repository: s.repository.clone().unwrap_or_default(),
        branch_prefix: s.branch_prefix(),
        cause: match &s.lifecycle {
            Lifecycle::Crashed { cause } => cause.to_string(),
            _ => String::new(),
        },
        cause_word: s.cause_word().into(),
        cause_lines: match &s.lifecycle {
            Lifecycle::Crashed { cause } => cause.lines().to_vec(),
            _ => vec![],
        },
        deleting: s.deleting,
        vcpus: s.size.vcpus,
        memory_bytes: s.size.memory,
        resident_bytes: view.memory.private.saturating_add(view.memory.shared),
        phases: view.phases.iter().map(|p| wire::Phase { name: p.name.clone(), micros: p.micros }).collect(),
        viewers: count(view.viewers),
        suspended_bytes: view.suspended,
        resumed_in_ms: view.resumed_in,
        repository_state: view.repository.clone(),
        guest_memory_bytes: view.usage.memory_total,
        guest_memory_available_bytes: view.usage.memory_available,
        guest_disk_bytes: view.usage.disk_total,
        guest_disk_free_bytes: view.usage.disk_free,
        host_disk_bytes: view.usage.on_host,
        forked_from: s.forked_from.clone().unwrap_or_default(),
        used_bytes: view.memory.private,
        word: attention.word.into(),
        notice: text::one_line(&s.notice),
        missing_hooks: missing_hooks(s, now()).into(),
        turn_since: s.turn_since(),
        refused: vec![],
        last_event: view.last_event.as_ref().map(event),
        report: s.reported().map(|(source, said)| report(source.word(), &said)),
        records: view.records.iter().map(|(id, record)| part(id, record)).collect(),
        permission: s.permission().map(|asked| permission(asked, &s.answers)),
        budget_micros: s.budget,
        allowed: s.allowed.iter().map(allowed).collect(),
        checkpoints: view.checkpoints.iter().map(checkpoint).collect(),
        usage: (s.spending.answers > 0).then(|| usage(&s.spending)),
    }
}

pub(super) fn triage(triage: &Triage) -> wire::Triage {
    let sample = |sample: &Sample| wire::Sample {
        at: sample.at,
        memory_bytes: sample.memory,
        cpu_percent: sample.cpu,
        disk_bytes: sample.disk,
        guest_memory_left_bytes: sample.guest_memory_left,
        guest_disk_left_bytes: sample.guest_disk_left,
    };
    let choice = |choice: &Choice| wire::Choice {
        word: choice.word.into(),
        does: choice.does.clone(),
        loses: choice.loses.clone(),
    };
    wire::Triage {
        session: Some(session(&triage.view)),
        console: triage.console.clone(),
        terminal: triage.terminal.clone(),
        samples: triage.samples.iter().map(sample).collect(),
        choices: triage.choices.iter().map(choice).collect(),
    }
}

fn checkpoint(known: &Checkpoint) -> wire::Checkpoint {
    let Checkpoint { number, at, bytes, automatic, stood, .. } = *known;
    wire::Checkpoint { number, at, bytes, automatic, stood_ms: stood }
}

pub(super) fn usage(spending: &Spending) -> wire::ModelUsage {
    wire::ModelUsage {
        answers: spending.answers,
        input_tokens: spending.tokens.input,
        cache_read_tokens: spending.tokens.cache_read,
        cache_write_tokens: spending.tokens.cache_write,
        output_tokens: spending.tokens.output,
        cost_micros: spending.micros,
        unpriced_tokens: spending.unpriced,
    }
}

fn allowed(egress: &Egress) -> wire::Allowed {
    wire::Allowed { destination: egress.to.clone(), private: egress.private }
}

fn permission(asked: Permission, answers: &Answers) -> wire::Permission {
    let names = |keys: &[Key]| keys.iter().map(Key::to_string).collect();
    wire::Permission { id: asked.id, text: asked.text, allow: names(&answers.allow), deny: names(&answers.deny) }
}

/// An event as it is on the wire.
pub(super) fn event(Numbered { id, event }: &Numbered) -> wire::Event {
    wire::Event {
        id: *id,
        at: event.at,
        actor: Some(wire::Actor {
            kind: event.actor.kind().into(),
            name: event.actor.name().into(),
            person: event.actor.behalf().into(),
        }),
        what: event.what.clone(),
        text: event.text.clone(),
    }
}

fn report(source: &str, report: &Report) -> wire::Report {
    wire::Report {
        source: source.into(),
        at: report.at,
        state: report.state.word().into(),
        kind: report.state.kind().into(),
        title: report.title.clone(),
        text: report.text.clone(),
        progress: report.progress.map(u32::from),
        app: report.app.clone(),
        id: report.id.clone(),
        until: report.until.unwrap_or_default(),
        decides: true,
    }
}

/// Converts a record of a program's part.
fn part(id: &str, record: &Record) -> wire::Report {
    let state = State::from(record.state);
    wire::Report {
        source: Source::Program.word().into(),
        state: state.word().into(),
        kind: state.kind().into(),
        title: text::clean(&record.title, RECORD_MAX.1),
        text: text::clean(&record.message, RECORD_MAX.1),
        progress: record.progress.map(u32::from),
        app: record.app.clone(),
        id: id.into(),
        ..wire::Report::default()
    }
}

pub(super) fn explanation(view: &SessionView) -> wire::ExplainResponse {
    let Explanation { decides, because, said } = explain(&view.session, now());
    let said = said.into_iter().map(|said| wire::Report {
        source: said.source.into(),
        at: said.at,
        state: said.state,
        kind: said.kind.into(),
        title: said.title,
        text: said.text,
        progress: said.progress.map(u32::from),
        app: said.app,
        id: said.id,
        until: said.until.unwrap_or_default(),
        decides: said.decides,
    });
    wire::ExplainResponse { decides: decides.into(), because, said: said.collect(), session: Some(session(view)) }
}

pub(super) fn refused(refused: Refused) -> wire::Refused {
    let Refused { destination, why, count, last_at } = refused;
    wire::Refused { destination, why, count, last_at }
}

/// Converts a session for lists, snapshots and changes, its texts cut: a task may be long, there may be many sessions, and a
/// message holds 4 MiB.
pub(super) fn session_in_brief(view: &SessionView) -> wire::Session {
    let mut session = session(view);
    session.task = text::clean(&session.task, BRIEF_MAX);
    for word in &mut session.command {
        *word = text::clean(word, BRIEF_MAX);
    }
    session.records.truncate(RECORD_MAX.0);
    session.allowed.clear();
    for report in session.records.iter_mut().chain(&mut session.report) {
        report.text = text::clean(&report.text, BRIEF_MAX);
    }
    session
}

pub(super) fn environment(view: &EnvironmentView) -> wire::Environment {
    let (info, warm) = (&view.info, &view.warm);
    let build = |build: &BuildInfo| wire::Build {
        id: build.id.clone(),
        commit: build.commit.clone(),
        image: build.image.clone(),
        devcontainer: build.devcontainer.as_ref().map(|it| it.path.clone()).unwrap_or_default(),
        forward_ports: build.devcontainer.iter().flat_map(|it| &it.ports).map(|port| u32::from(*port)).collect(),
        not_honoured: build.devcontainer.iter().flat_map(|it| it.ignored.clone()).collect(),
        created_at: build.created_at,
        size_bytes: build.size_bytes,
        base_bytes: build.base_bytes,
        template_bytes: build.template_bytes,
        sessions: count(view.users.get(&build.id).copied().unwrap_or(0)),
    };
    wire::Environment {
        name: info.name.clone(),
        recipe: info.recipe.clone(),
        source: info.source.clone(),
        state: info.state.word().into(),
        error: info.error.clone(),
        build: info.build.as_ref().map(build),
        sessions: count(view.sessions),
        vcpus: info.size.vcpus,
        memory_bytes: info.size.memory,
        disk_bytes: info.size.disk,
        repository: info.repository.clone(),
        agent: info.agent.clone(),
        older: info.older.iter().map(build).collect(),
        warm_ready: warm.ready,
        warm_wanted: warm.wanted,
        warm_min: info.warm.min,
        warm_max: info.warm.max,
        warm_unrehearsed: warm.unrehearsed.clone(),
    }
}

pub(super) fn host(status: &HostStatus) -> wire::HostInfo {
    wire::HostInfo {
        name: status.name.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        vmm: status.vmm.name.into(),
        accelerator: status.vmm.accelerator.into(),
        accelerator_reason: status.vmm.accelerator_reason.clone(),
        qemu_version: status.vmm.version.clone(),
        kernel_version: status.vmm.kernel.clone(),
        cpus: status.cpus,
        memory_total: status.memory_total,
        memory_available: status.memory_available,
        disk_total: status.disk_total,
        disk_available: status.disk_available,
        sessions: status.sessions,
        running: status.running,
        started_at: status.started_at,
        data_directory: status.data.to_string_lossy().into_owned(),
        problems: [status.vmm.problems.clone(), status.vmm.warnings.clone()].concat(),
        accounts: None,
        drained_by: status.drained.as_ref().map(|(by, _)| by.clone()).unwrap_or_default(),
        drained_at: status.drained.as_ref().map_or(0, |(_, at)| *at),
    }
}

pub(super) fn accounts(a: &Accounts) -> wire::HostAccounts {
    wire::HostAccounts {
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
        sessions: a
            .largest
            .iter()
            .map(|(slug, bytes)| wire::SessionDisk { slug: slug.clone(), bytes: *bytes })
            .collect(),
    }
}

pub(super) fn news(epoch: &str, revision: u64, news: &News) -> wire::WatchResponse {
    use wire::watch_response::Change as Wire;
    let change = match news {
        News::Snapshot(all) => Wire::Snapshot(snapshot(all)),
        News::Change(Change::Session(view)) => Wire::Session(session_in_brief(view)),
        News::Change(Change::Removed(id)) => Wire::SessionRemoved(id.clone()),
        News::Change(Change::Host(status)) => Wire::Host(host(status)),
        News::Change(Change::Environment(view)) => Wire::Environment(environment(view)),
    };
    wire::WatchResponse { epoch: epoch.into(), revision, change: Some(change) }
}

fn snapshot(all: &Snapshot) -> wire::Snapshot {
    wire::Snapshot {
        host: Some(host(&all.host)),
        sessions: all.sessions.iter().map(|view| session_in_brief(view)).collect(),
        environments: all.environments.iter().map(environment).collect(),
    }
}

pub(super) fn shown(shown: Shown) -> wire::AttachResponse {
    use wire::attach_response::Response;
    let response = match shown {
        Shown::Screen(screen) => Response::Screen(wire::Screen {
            size: Some(wire::Size { columns: screen.size.columns.into(), rows: screen.size.rows.into() }),
            contents: screen.contents,
            history: count(screen.history),
        }),
        Shown::Output(bytes) => Response::Output(bytes),
        Shown::Role(role) => Response::Role(wire::Role {
            writer: role.writer,
            writer_name: role.writer_name,
            viewers: count(role.viewers),
        }),
        Shown::Ended(reason) => Response::Ended(wire::Ended { reason }),
    };
    wire::AttachResponse { response: Some(response) }
}

pub(super) fn size(size: wire::Size) -> Size {
    Size::clamped(size.columns, size.rows)
}

pub(super) fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
