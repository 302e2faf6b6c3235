//! A made-up fleet, for tests.

mod changes;
mod pulls;
mod stories;

use std::sync::Arc;

use crate::{
    Action, Effect, Keymap, Millis, Report, State,
    action::Event,
    fleet::{Build, Environment, HostInfo, Session, Turn},
    host_id::HostId,
    key::Key,
    report::{HostReport, Snapshot, TerminalReport},
    resolve,
    ticket::Ticket,
    update,
};

pub(crate) use changes::{changes, line, pull_changes};
pub(crate) use pulls::{pulls, review};
pub(crate) use stories::{story, tell};

/// A fixed time: 2026-03-01 12:00 UTC.
pub(crate) const NOW: Millis = 1_772_366_400_000;

const MINUTE: Millis = 60_000;

/// A console with these hosts, not heard from yet.
pub(crate) fn console(hosts: &[&str], size: (u16, u16)) -> State {
    let keymap = Arc::new(Keymap::shipped().unwrap());
    let hosts = hosts.iter().enumerate().map(|(n, name)| (host(n), (*name).to_owned()));
    State::new(hosts, keymap, size, NOW)
}

/// Identity of the host of this number, from 0, of a made-up console.
pub(crate) fn host(number: usize) -> HostId {
    HostId::new(&number.to_string())
}

/// A console with one host and the sample sessions; the preview shows a screen.
pub(crate) fn fleet(size: (u16, u16)) -> State {
    let mut state = console(&["local"], size);
    report(&mut state, Report::Host(host(0), snapshot("local", sessions())));
    show_screen(&mut state);
    state
}

/// Gives the open terminal a screen.
pub(crate) fn show_screen(state: &mut State) {
    let ticket = match (&state.attach, &state.preview) {
        (Some(attach), _) => attach.viewer.ticket,
        (None, Some(preview)) => preview.ticket,
        (None, None) => return,
    };
    terminal(state, ticket, screen());
}

pub(crate) fn terminal(state: &mut State, ticket: Ticket, news: TerminalReport) -> Vec<Effect> {
    report(state, Report::Terminal(ticket, news))
}

pub(crate) fn report(state: &mut State, news: Report) -> Vec<Effect> {
    update(state, Action::Reports(vec![news]), NOW)
}

/// Presses keys one after the other; returns all effects.
pub(crate) fn press(state: &mut State, keys: &str) -> Vec<Effect> {
    let keys = Key::parse_chord(keys).unwrap();
    keys.into_iter().flat_map(|key| event(state, Event::Key(key))).collect()
}

/// Types text, a key for each character.
pub(crate) fn type_text(state: &mut State, text: &str) {
    for c in text.chars() {
        event(state, Event::Key(Key::char(c)));
    }
}

pub(crate) fn event(state: &mut State, event: Event) -> Vec<Effect> {
    let keymap = state.keymap.clone();
    match resolve(&keymap, state, event) {
        Some(action) => update(state, action, NOW),
        None => Vec::new(),
    }
}

pub(crate) fn snapshot(host: &str, sessions: Vec<Session>) -> HostReport {
    HostReport::Snapshot(Box::new(Snapshot { info: Some(info(host)), sessions, environments: environments() }))
}

pub(crate) fn info(name: &str) -> HostInfo {
    HostInfo {
        name: name.into(),
        version: "0.1.0".into(),
        vmm: "qemu".into(),
        accelerator: "tcg".into(),
        accelerator_reason: "the processor offers neither vmx nor svm".into(),
        qemu_version: "7.2.22".into(),
        kernel_version: "6.1.0-56-cloud-amd64".into(),
        cpus: 8,
        memory_total: 32 << 30,
        memory_available: 21 << 30,
        disk_total: 200 << 30,
        disk_available: 14 << 30,
        sessions: 9,
        running: 5,
        started_at: NOW - 400 * MINUTE,
        data_directory: "/home/anna/.local/share/pilothouse".into(),
        drained_by: String::new(),
        problems: vec![],
    }
}

pub(crate) fn environments() -> Vec<Environment> {
    let base = Environment {
        name: "demo".into(),
        source: "built-in".into(),
        state: "ready".into(),
        build: Some(Build {
            id: "3f2a91c07be4d518".into(),
            commit: "9b1c2d3e4f5a69788796a5b4c3d2e1f001122334".into(),
            image: String::new(),
            forward_ports: vec![],
            not_honoured: 0,
            created_at: NOW - 95 * MINUTE,
            size_bytes: 42 << 20,
            base_bytes: 410 << 20,
            template_bytes: 96 << 20,
            sessions: 5,
        }),
        older: vec![Build {
            id: "0c44be1d9f3a7e62".into(),
            created_at: NOW - 3000 * MINUTE,
            size_bytes: 40 << 20,
            base_bytes: 410 << 20,
            template_bytes: 90 << 20,
            sessions: 2,
            ..Build::default()
        }],
        warm_ready: 1,
        warm_wanted: 2,
        warm_max: 4,
        sessions: 7,
        vcpus: 1,
        memory_bytes: 512 << 20,
        disk_bytes: 8 << 30,
        repository: "widgets".into(),
        agent: vec!["demo-agent".into()],
        ..Environment::default()
    };
    vec![
        Environment {
            name: "rust".into(),
            state: "failed".into(),
            build: None,
            older: vec![],
            warm_max: 0,
            sessions: 0,
            error: "setup step 2 failed with exit code 100:\nE: Unable to locate package libfoo-dev".into(),
            ..base.clone()
        },
        Environment {
            name: "python".into(),
            state: "unbuilt".into(),
            build: None,
            older: vec![],
            warm_max: 0,
            sessions: 0,
            ..base.clone()
        },
        base,
    ]
}

pub(crate) fn session(slug: &str, turn: Turn, lifecycle: &str, activity: &str, reason: &str) -> Session {
    let seed: i64 = slug.bytes().map(i64::from).sum::<i64>() % 90 + 1;
    Session {
        id: format!("01JQ{:0>22}", slug.to_uppercase().replace('-', "")),
        slug: slug.into(),
        title: slug.replace('-', " "),
        task: format!("Please {} and open a pull request.", slug.replace('-', " ")),
        environment: "demo".into(),
        build: "3f2a91c07be4d518".into(),
        owner: "anna".into(),
        lifecycle: lifecycle.into(),
        activity: activity.into(),
        turn,
        reason: reason.into(),
        generation: 1,
        created_at: NOW - (seed + 30) * MINUTE,
        updated_at: NOW - seed * MINUTE,
        command: vec!["demo-agent".into()],
        repository: "widgets".into(),
        branch_prefix: format!("agent/{slug}/"),
        vcpus: 1,
        memory_bytes: 512 << 20,
        used_bytes: 187 << 20,
        phases: vec![
            ("vm".into(), 180_000),
            ("kernel".into(), 2_310_000),
            ("guest".into(), 640_000),
            ("agent".into(), 95_000),
        ],
        viewers: 1,
        ..Session::default()
    }
}

pub(crate) fn sessions() -> Vec<Session> {
    vec![
        Session {
            choices: vec!["Postgres".into(), "SQLite".into(), "Let me think about it".into()],
            last: story().into_iter().find(|event| event.what == "asks"),
            ..session(
                "pick-a-database",
                Turn::You,
                "running",
                "needs-input",
                "asks: Which database should the widget store use?",
            )
        },
        Session {
            cause: "its VM died: killed by signal 9".into(),
            ..session(
                "speed-up-the-parser",
                Turn::You,
                "crashed",
                "working",
                "crashed: its VM died: killed by signal 9",
            )
        },
        Session {
            word: "checks".into(),
            ..session(
                "fix-flaky-clock-test",
                Turn::Checks,
                "suspended",
                "waiting-checks",
                "waits on checks: 2 of 5 are done",
            )
        },
        Session {
            word: "review".into(),
            ..session("translate-the-docs", Turn::Other, "suspended", "waiting-review", "waits for review: by bert")
        },
        session("add-dark-mode", Turn::Agent, "running", "working", "working: writing tests"),
        session("upgrade-dependencies", Turn::Agent, "running", "working", "working"),
        Session {
            phases: vec![],
            used_bytes: 0,
            ..session("profile-start-up", Turn::Agent, "starting", "working", "starting")
        },
        session("rename-the-widget-module", Turn::Nobody, "stopped", "done", "done: merged as 4f1c"),
        Session {
            generation: 0,
            ..session("wait-for-a-place", Turn::Nobody, "queued", "working", "waits for a place to start")
        },
    ]
}

/// A screen of 80 columns and 24 rows with colours, wide characters and a prompt.
pub(crate) fn screen() -> TerminalReport {
    let contents = "\x1b[H\x1b[J\x1b[1;36mdemo-agent\x1b[m 0.1 — task: pick a database\r\n\r\n\
        \x1b[32m✓\x1b[m cloned widgets (3 commits)\r\n\
        \x1b[32m✓\x1b[m read src/store.rs, src/store/mem.rs\r\n\
        \x1b[33m●\x1b[m comparing 日本語 and emoji 🚀 output\r\n\r\n\
        \x1b[7m Which database should the widget store use? \x1b[m\r\n\
        \x1b[1m 1 \x1b[mPostgres\r\n\x1b[1m 2 \x1b[mSQLite\r\n\x1b[1m 3 \x1b[mLet me think about it\r\n\r\n> ";
    TerminalReport::Screen { columns: 80, rows: 24, contents: contents.as_bytes().to_vec() }
}
