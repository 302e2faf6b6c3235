//! hostd.v1 as the core's plain data.

use pilothouse_proto::hostd::v1;
use tui_core::{
    draft::{Comment, Place},
    fleet::{Build, Checkpoint, Environment, HostInfo, Part, Permission, Refusal, Session, Turn},
    pull::{Check, Pull, Review, Revision, Thread},
    report::{BuildReport, HostReport, Snapshot, TerminalReport},
    story::Event,
};

use crate::{actor, usage};

pub(super) fn session(s: v1::Session) -> Session {
    Session {
        id: s.id,
        slug: s.slug,
        title: s.title,
        task: s.task,
        environment: s.environment,
        build: s.build,
        owner: s.owner,
        lifecycle: s.lifecycle,
        activity: s.activity,
        turn: Turn::from_word(&s.attention),
        reason: s.reason,
        word: s.word,
        notice: s.notice,
        generation: s.generation,
        created_at: s.created_at,
        updated_at: s.updated_at,
        turn_since: s.turn_since,
        choices: s.choices,
        permission: s.permission.map(permission),
        parts: s.records.into_iter().map(part).collect(),
        source: s.report.map(|report| report.source).unwrap_or_default(),
        command: s.command,
        repository: s.repository,
        branch_prefix: s.branch_prefix,
        cause: s.cause,
        cause_lines: s.cause_lines,
        deleting: s.deleting,
        vcpus: s.vcpus,
        memory_bytes: s.memory_bytes,
        used_bytes: s.used_bytes,
        suspended_bytes: s.suspended_bytes,
        phases: s.phases.into_iter().map(|phase| (phase.name, phase.micros)).collect(),
        viewers: s.viewers,
        guest_memory: (s.guest_memory_available_bytes, s.guest_memory_bytes),
        guest_disk: (s.guest_disk_free_bytes, s.guest_disk_bytes),
        host_disk_bytes: s.host_disk_bytes,
        checkpoints: s
            .checkpoints
            .iter()
            .map(|known| Checkpoint { number: known.number, at: known.at, bytes: known.bytes })
            .collect(),
        repository_state: s.repository_state,
        usage: usage::of(s.usage),
        budget_micros: s.budget_micros,
        last: s.last_event.map(event),
    }
}

fn permission(asked: v1::Permission) -> Permission {
    let v1::Permission { id, text, allow, deny } = asked;
    Permission { id, text, allow: allow.join(" "), deny: deny.join(" ") }
}

/// A part of the agent's program: what it waits for, how much is done, and what it says, in words.
fn part(r: v1::Report) -> Part {
    let asks = match &*r.kind {
        "" => String::new(),
        "permission" => "needs a permission".into(),
        kind => kind.to_owned(),
    };
    let progress = r.progress.map(|progress| format!("{progress} %")).unwrap_or_default();
    let words: Vec<_> = [asks, progress, r.title, r.text].into_iter().filter(|word| !word.is_empty()).collect();
    Part { id: r.id, state: r.state, text: words.join(": ") }
}

pub(super) fn event(e: v1::Event) -> Event {
    Event { id: e.id, at: e.at, who: actor::words(e.actor.as_ref()), what: e.what, text: e.text }
}

pub(super) fn refusal(r: v1::Refused) -> Refusal {
    Refusal { destination: r.destination, why: r.why, count: r.count, last_at: r.last_at }
}

pub(super) fn pull(p: v1::Pull) -> Pull {
    let check = |c: v1::Check| Check { name: c.name, state: c.state, required: c.required, summary: c.summary };
    let review = |r: v1::Review| Review { who: r.who, verdict: r.verdict, revision: r.revision, body: r.body };
    let thread = |t: v1::ReviewThread| Thread {
        id: t.id,
        head: t.head,
        resolved_by: t.resolved_by,
        path: t.path,
        line: t.line,
        quote: t.quote,
        revision: t.revision,
        comments: t.comments.into_iter().map(|c| (c.who, c.body)).collect(),
    };
    let revision = |r: v1::Revision| Revision { number: r.number, head: r.head, forced: r.forced, at: r.at };
    Pull {
        repository: p.repository,
        number: p.number,
        title: p.title,
        body: p.body,
        author: p.author,
        head_branch: p.head_branch,
        base_branch: p.base_branch,
        head: p.head,
        revision: p.revision,
        state: p.state,
        standing: p.standing,
        outcome: p.outcome,
        outcome_text: p.outcome_text,
        blocked: p.blocked,
        closed_why: p.closed_why,
        merge_method: p.merge_method,
        created_at: p.created_at,
        updated_at: p.updated_at,
        revisions: p.revisions.into_iter().map(revision).collect(),
        checks: p.checks.into_iter().map(check).collect(),
        reviews: p.reviews.into_iter().map(review).collect(),
        threads: p.threads.into_iter().map(thread).collect(),
    }
}

fn environment(e: v1::Environment) -> Environment {
    let build = |b: v1::Build| Build {
        id: b.id,
        commit: b.commit,
        image: b.image,
        forward_ports: b.forward_ports,
        not_honoured: b.not_honoured.len(),
        created_at: b.created_at,
        size_bytes: b.size_bytes,
        base_bytes: b.base_bytes,
        template_bytes: b.template_bytes,
        sessions: b.sessions,
    };
    Environment {
        name: e.name,
        source: e.source,
        state: e.state,
        error: e.error,
        build: e.build.map(build),
        older: e.older.into_iter().map(build).collect(),
        warm_ready: e.warm_ready,
        warm_wanted: e.warm_wanted,
        warm_max: e.warm_max,
        sessions: e.sessions,
        vcpus: e.vcpus,
        memory_bytes: e.memory_bytes,
        disk_bytes: e.disk_bytes,
        repository: e.repository,
        agent: e.agent,
    }
}

fn host(h: v1::HostInfo) -> HostInfo {
    HostInfo {
        name: h.name,
        version: h.version,
        vmm: h.vmm,
        accelerator: h.accelerator,
        accelerator_reason: h.accelerator_reason,
        qemu_version: h.qemu_version,
        kernel_version: h.kernel_version,
        cpus: h.cpus,
        memory_total: h.memory_total,
        memory_available: h.memory_available,
        disk_total: h.disk_total,
        disk_available: h.disk_available,
        sessions: h.sessions,
        running: h.running,
        started_at: h.started_at,
        data_directory: h.data_directory,
        drained_by: h.drained_by,
        problems: h.problems,
    }
}

/// `None`: a change that a newer host knows and we do not.
pub(super) fn change(change: v1::watch_response::Change) -> Option<HostReport> {
    use v1::watch_response::Change;
    Some(match change {
        Change::Snapshot(snapshot) => HostReport::Snapshot(Box::new(Snapshot {
            info: snapshot.host.map(host),
            sessions: snapshot.sessions.into_iter().map(session).collect(),
            environments: snapshot.environments.into_iter().map(environment).collect(),
        })),
        Change::Session(s) => HostReport::Session(Box::new(session(s))),
        Change::SessionRemoved(id) => HostReport::SessionRemoved(id),
        Change::Host(info) => HostReport::Info(Box::new(host(info))),
        Change::Environment(e) => HostReport::Environment(Box::new(environment(e))),
    })
}

/// News of a terminal; `None`: something that a newer host knows and we do not.
pub(super) fn terminal(response: v1::AttachResponse) -> Option<TerminalReport> {
    use v1::attach_response::Response;
    Some(match response.response? {
        Response::Screen(screen) => {
            let size = screen.size.unwrap_or(v1::Size { columns: 80, rows: 24 });
            let side = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
            TerminalReport::Screen {
                columns: side(size.columns),
                rows: side(size.rows),
                contents: screen.contents.to_vec(),
            }
        }
        Response::Output(bytes) => TerminalReport::Output(bytes.to_vec()),
        Response::Role(role) => {
            TerminalReport::Role { writer: role.writer, name: role.writer_name, viewers: role.viewers }
        }
        Response::Ended(ended) => TerminalReport::Ended(ended.reason),
    })
}

/// News of a build; `None`: something that a newer host knows and we do not.
pub(super) fn build(progress: v1::BuildProgress) -> Option<BuildReport> {
    use v1::build_progress::Progress;
    Some(match progress.progress? {
        Progress::Step(step) => BuildReport::Step(step.number, step.count, step.name),
        Progress::Output(line) => BuildReport::Output(line),
        Progress::Done(done) => BuildReport::Done(done.cached),
        Progress::Passing(_) => return None,
    })
}

pub(super) fn comment(comment: Comment) -> v1::NewReviewComment {
    let Comment { place, body, .. } = comment;
    match place {
        Place::Line { path, line, head, .. } => v1::NewReviewComment { thread: 0, path, line, body, head },
        Place::Thread(thread) => v1::NewReviewComment { thread, body, ..v1::NewReviewComment::default() },
    }
}

pub(super) fn size((columns, rows): (u16, u16)) -> v1::Size {
    v1::Size { columns: columns.into(), rows: rows.into() }
}
