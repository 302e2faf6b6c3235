use ratatui::{Terminal, backend::TestBackend};
use rstest::rstest;

use super::{sessions::BUILT, story::EVENTS_BUILT, view};
use crate::{
    Action, Effect, Report, State, Theme,
    attach::Link,
    diff::{DiffReport, Side},
    effect::Call,
    fleet::{ModelUsage, Refusal, Session, Turn},
    notice::Kind,
    report::{Answer, BuildReport, HostReport, LogReport, TerminalReport},
    samples::{self, NOW, console, fleet, press, report, show_screen, terminal, type_text},
    story::{Event, StoryReport},
    theme::Depth,
    ticket::{Slot, Ticket},
    update,
};

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

fn draw(state: &State, theme: &Theme) -> TestBackend {
    let mut screen = Terminal::new(TestBackend::new(state.size.0, state.size.1)).unwrap();
    screen.draw(|frame| view(state, theme, frame)).unwrap();
    screen.backend().clone()
}

fn dark() -> Theme {
    Theme::shipped("dark").unwrap().unwrap()
}

/// Text at all sizes.
fn snapshots(name: &str, prepare: impl Fn((u16, u16)) -> State) {
    for size in SIZES {
        let state = prepare(size);
        insta::assert_snapshot!(format!("{name}_{}x{}", size.0, size.1), draw(&state, &dark()));
    }
}

#[test]
fn sessions() {
    snapshots("sessions", fleet);
}

#[test]
fn sessions_of_several_hosts() {
    snapshots("several_hosts", |size| {
        let mut state = console(&["near", "far", "gone"], size);
        report(&mut state, Report::Host(samples::host(0), samples::snapshot("near", samples::sessions())));
        report(
            &mut state,
            Report::Host(
                samples::host(1),
                samples::snapshot(
                    "far",
                    vec![samples::session("port-to-arm", Turn::Agent, "running", "working", "working")],
                ),
            ),
        );
        report(&mut state, Report::Host(samples::host(1), HostReport::Lost("it closed the connection".into())));
        report(
            &mut state,
            Report::Host(samples::host(2), HostReport::Lost("host gone is out of reach: no such file".into())),
        );
        press(&mut state, "j j");
        state
    });
}

#[test]
fn nothing_yet() {
    snapshots("empty", |size| {
        let mut state = console(&["local"], size);
        report(&mut state, Report::Host(samples::host(0), samples::snapshot("local", vec![])));
        state
    });
    snapshots("connecting", |size| console(&["local"], size));
    snapshots("out_of_reach", |size| {
        let mut state = console(&["local"], size);
        let why = "the host is out of reach: /run/hostd.sock: No such file or directory (os error 2)";
        report(&mut state, Report::Host(samples::host(0), HostReport::Lost(why.into())));
        state
    });
}

#[test]
fn crashes() {
    snapshots("crashes", |size| {
        let mut state = fleet(size);
        press(&mut state, "C");
        show_screen(&mut state);
        state
    });
}

#[test]
fn hosts() {
    snapshots("hosts", |size| {
        let mut state = console(&["near", "far"], size);
        report(&mut state, Report::Host(samples::host(0), samples::snapshot("near", samples::sessions())));
        let mut troubled = samples::info("far");
        troubled.problems = vec!["qemu-system-x86_64 was not found; install it (qemu-system-x86) and try again".into()];
        report(&mut state, Report::Host(samples::host(1), HostReport::Info(Box::new(troubled))));
        report(
            &mut state,
            Report::Host(
                samples::host(1),
                HostReport::Lost("host far hung up (/run/far.sock); hostd may have ended".into()),
            ),
        );
        press(&mut state, "H j");
        state
    });
}

#[test]
fn review() {
    snapshots("review", |size| {
        let mut state = samples::review(size);
        press(&mut state, "j");
        state
    });
    snapshots("review_none", |size| {
        let mut state = fleet(size);
        press(&mut state, "R");
        state
    });
    snapshots("merge", |size| {
        let mut state = samples::review(size);
        press(&mut state, "j j M");
        state
    });
    snapshots("review_closed", |size| {
        let mut state = samples::review(size);
        press(&mut state, "A");
        let mut closed = samples::pulls().remove(1);
        (closed.state, closed.closed_why) = ("closed".into(), "by anna".into());
        report(&mut state, Report::Host(samples::host(0), HostReport::Pull(Box::new(closed))));
        press(&mut state, "G X");
        state
    });
    snapshots("request_changes", |size| {
        let mut state = samples::review(size);
        press(&mut state, "x");
        type_text(&mut state, "Handle the empty file");
        state
    });
}

#[test]
fn checks() {
    snapshots("check_log", |size| {
        let mut state = samples::review(size);
        press(&mut state, "j l");
        let ticket = state.log.as_ref().unwrap().ticket;
        let lines = "test parser::empty ... ok\r\ntest parser::\x1b[31mlong\x1b[m ... FAILED\n\nfailures:\n";
        report(&mut state, Report::Log(ticket, LogReport::Data(lines.into())));
        state
    });
    snapshots("check_chosen", |size| {
        let mut state = samples::review(size);
        press(&mut state, "j ] ]");
        state
    });
}

#[test]
fn changes() {
    snapshots("diff", |size| {
        let mut state = samples::changes(size);
        press(&mut state, "]");
        state
    });
    snapshots("diff_renamed", |size| {
        let mut state = samples::changes(size);
        press(&mut state, "] ] ]");
        state
    });
    snapshots("diff_commented", |size| {
        let mut state = samples::pull_changes(size);
        press(&mut state, "] j j j c");
        type_text(&mut state, "Why not create it always?");
        press(&mut state, "enter");
        state
    });
    snapshots("drafted", |size| {
        let mut state = samples::pull_changes(size);
        press(&mut state, "] j j j c");
        type_text(&mut state, "Why not create it always?");
        press(&mut state, "enter q D");
        state
    });
    snapshots("diff_empty", |size| {
        let mut state = fleet(size);
        press(&mut state, "c");
        let ticket = state.diff.as_ref().unwrap().ticket;
        report(&mut state, Report::Diff(ticket, DiffReport::Listed(false)));
        report(&mut state, Report::Diff(ticket, DiffReport::End));
        state
    });
}

#[test]
fn only_visible_lines_of_a_large_change_are_drawn() {
    let mut state = samples::changes((80, 24));
    let ticket = state.diff.as_ref().unwrap().ticket;
    let line = |n: u32| samples::line(Side::New, &format!("line {n}"), &[]);
    report(&mut state, Report::Diff(ticket, DiffReport::Lines(0, (0..20_000).map(line).collect())));
    press(&mut state, "G");
    let drawn = draw(&state, &dark()).to_string();
    assert!(drawn.contains("line 19999") && !drawn.contains("line 19900"), "{drawn}");
}

#[test]
fn environments() {
    snapshots("environments", |size| {
        let mut state = fleet(size);
        press(&mut state, "E G");
        state
    });
    snapshots("building", |size| {
        let mut state = fleet(size);
        press(&mut state, "E b");
        let ticket = build_ticket(&state);
        for news in [
            BuildReport::Step(3, 6, "setup: python3 -m compileall .".into()),
            BuildReport::Output("Listing '.'...".into()),
            BuildReport::Output("Compiling './widgets/store.py'...".into()),
        ] {
            report(&mut state, Report::Build(ticket, news));
        }
        state
    });
}

fn build_ticket(state: &State) -> Ticket {
    Ticket { slot: Slot::Call, generation: *state.building.keys().next().unwrap() }
}

fn attached(size: (u16, u16)) -> State {
    let mut state = fleet(size);
    press(&mut state, "enter");
    show_screen(&mut state);
    role(&mut state, true);
    state
}

fn role(state: &mut State, writer: bool) {
    let ticket = state.attach.as_ref().unwrap().viewer.ticket;
    let name = if writer { "anna" } else { "bert" };
    terminal(state, ticket, TerminalReport::Role { writer, name: name.into(), viewers: 2 });
}

#[test]
fn attached_terminals() {
    snapshots("attached", attached);
    snapshots("watching", |size| {
        let mut state = attached(size);
        role(&mut state, false);
        state
    });
    snapshots("reconnecting", |size| {
        let mut state = attached(size);
        let ticket = state.attach.as_ref().unwrap().viewer.ticket;
        terminal(&mut state, ticket, TerminalReport::Lost("the host hung up".into()));
        state
    });
    snapshots("history", |size| {
        let mut state = attached(size);
        let ticket = state.attach.as_ref().unwrap().viewer.ticket;
        let lines = (0..100).map(|n| format!("line {n}\r\n")).collect::<String>();
        terminal(&mut state, ticket, TerminalReport::Output(lines.into_bytes()));
        press(&mut state, "ctrl-] [ pageup k");
        state
    });
}

#[test]
fn dialogs() {
    for (name, keys) in [("help", "?"), ("palette", ":"), ("delete", "d"), ("message", "m"), ("form", "n")] {
        snapshots(name, |size| {
            let mut state = fleet(size);
            press(&mut state, keys);
            state
        });
    }
    snapshots("form_filled", |size| {
        let mut state = fleet(size);
        press(&mut state, "n tab");
        type_text(&mut state, "Fix the login page");
        press(&mut state, "tab");
        type_text(&mut state, "The login page forgets the name after a wrong password. Find out why, and fix it.");
        press(&mut state, "enter enter");
        type_text(&mut state, "Add a test.");
        press(&mut state, "ctrl-s");
        let generation = *state.calls.keys().next().unwrap();
        let why = "the environment demo was never built; `pilothouse env build demo` builds it";
        report(&mut state, Report::Answer(Ticket { slot: Slot::Call, generation }, Err(why.into())));
        state
    });
    snapshots("palette_typed", |size| {
        let mut state = fleet(size);
        press(&mut state, ":");
        type_text(&mut state, "del");
        state
    });
}

#[test]
fn many_answers() {
    snapshots("answers", |size| {
        let mut state = fleet(size);
        let (key, session) = state.selected().map(|(key, session)| (key.clone(), session.clone())).unwrap();
        let choices = (1..=16).map(|n| format!("the answer that is number {n}")).collect();
        let session = crate::fleet::Session { choices, ..session };
        report(&mut state, Report::Host(key.host.clone(), HostReport::Session(Box::new(session))));
        if size.0 > 100 {
            press(&mut state, "a");
            type_text(&mut state, "1");
        }
        state
    });
}

#[test]
fn parts_of_a_program_below_their_session() {
    use crate::fleet::Part;
    let part = |id: &str, state: &str, text: &str| Part { id: id.into(), state: state.into(), text: text.into() };
    snapshots("parts", |size| {
        let mut sessions = samples::sessions();
        sessions[4].parts = vec![part("lint", "done", ""), part("tests/unit", "working", "40 %: Unit tests")];
        sessions[5].parts = vec![
            part("a", "idle", ""),
            part("b", "done", "3 files"),
            part("c", "working", "reads"),
            part("d", "blocked", "needs a permission: Bash(ls)"),
        ];
        let mut state = console(&["local"], size);
        report(&mut state, Report::Host(samples::host(0), samples::snapshot("local", sessions)));
        samples::show_screen(&mut state);
        state
    });
}

#[test]
fn a_permission_and_the_keys_that_answer_it() {
    snapshots("permission", |size| {
        let mut state = fleet(size);
        let (key, session) = state.selected().map(|(key, session)| (key.clone(), session.clone())).unwrap();
        let asked = crate::fleet::Permission {
            id: "1".into(),
            text: "Bash(cargo test)".into(),
            allow: "y".into(),
            deny: "Esc".into(),
        };
        let reason = "needs a permission: Bash(cargo test)".into();
        let session = crate::fleet::Session {
            word: "permission".into(),
            choices: vec![],
            permission: Some(asked),
            reason,
            ..session
        };
        report(&mut state, Report::Host(key.host, crate::report::HostReport::Session(Box::new(session))));
        state
    });
}

#[test]
fn notices_and_filters() {
    snapshots("notices", |size| {
        let mut state = fleet(size);
        for (kind, text) in [
            (Kind::Good, "Created fix the login page"),
            (Kind::Warning, "local is out of reach: it closed the connection; trying again"),
            (
                Kind::Error,
                "Could not delete speed up the parser: the host did not answer within 60 seconds; it may still be done",
            ),
        ] {
            report(&mut state, Report::Notice(kind, text.into()));
        }
        state
    });
    snapshots("filtering", |size| {
        let mut state = fleet(size);
        press(&mut state, "/");
        type_text(&mut state, "dark");
        state
    });
}

#[test]
fn told_and_helped() {
    snapshots("told", |size| {
        let mut state = fleet(size);
        for (n, kind) in (0..).zip([Kind::Good, Kind::Warning, Kind::Error, Kind::Error]) {
            let text = ["Created it", "local is out of reach: it closed the connection; trying again", "No", "No"][n];
            report(&mut state, Report::Notice(kind, text.into()));
        }
        update(&mut state, Action::Tick, NOW + 90_000);
        press(&mut state, "N");
        state
    });
    // The chapter about what is shown comes first.
    for (keys, first) in [
        ("", "The selected session"),
        ("R", "The selected pull request"),
        ("E", "Environments"),
        ("c", "Among changes"),
        ("L", "Lists"),
        ("enter ctrl-]", "In an attached terminal"),
    ] {
        let mut state = fleet((80, 24));
        press(&mut state, &format!("{keys} ?"));
        let drawn = draw(&state, &dark()).to_string();
        let heading = drawn.lines().nth(1).unwrap_or_default();
        assert!(heading.contains(first), "{keys}: {heading}");
    }
}

#[test]
fn titles_are_whole_where_there_is_room() {
    for size in SIZES {
        let mut state = console(&["local"], size);
        let slug = "rename-the-widget-module-and-its-tests";
        let session = samples::session(slug, Turn::You, "running", "needs-input", "asks: keep the old name, too?");
        report(&mut state, Report::Host(samples::host(0), samples::snapshot("local", vec![session])));
        let drawn = draw(&state, &dark()).to_string();
        let row = drawn.lines().nth(3).unwrap_or_default();
        let whole = row.contains("rename the widget module and its tests");
        assert!(size.0 == 80 && row.contains("rename the widget module") || whole, "{size:?}: {row}");
        assert!(row.contains("keep the"), "{size:?}: {row}");
    }
}

#[test]
fn long_lines_of_changes_are_read_to_their_end() {
    snapshots("diff_long", |size| {
        let mut state = samples::pull_changes(size);
        let ticket = state.diff.as_ref().unwrap().ticket;
        let long = (0..60).map(|n| format!("word{n} ")).collect::<String>();
        let rows = vec![samples::line(Side::New, &long, &[(0, 5)]), samples::line(Side::New, "after it", &[])];
        report(&mut state, Report::Diff(ticket, DiffReport::Lines(1, rows)));
        press(&mut state, "]");
        let drawn = draw(&state, &dark()).to_string();
        assert!(drawn.contains("word0 ") && drawn.contains("word59"), "{drawn}");
        press(&mut state, "w");
        assert!(!draw(&state, &dark()).to_string().contains("word59 "));
        for _ in 0..60 {
            press(&mut state, "right");
        }
        assert!(draw(&state, &dark()).to_string().contains("word59"));
        press(&mut state, "w");
        state
    });
}

#[test]
fn details_of_a_pull_request_are_scrolled_through() {
    let mut state = samples::review((80, 24));
    press(&mut state, "j");
    assert!(!draw(&state, &dark()).to_string().contains("2 revisions"));
    press(&mut state, "J J J J J J J J J J J J");
    assert!(draw(&state, &dark()).to_string().contains("0a1b2c3d4e"), "its last row");
    press(&mut state, "ctrl-u ctrl-u");
    assert!(draw(&state, &dark()).to_string().contains("blocked"));
    press(&mut state, "J j");
    assert_eq!(state.details, 0, "of another one they begin at their beginning");
}

#[test]
fn details_of_a_crash_have_what_the_guests_kernel_said_of_it() {
    let mut state = console(&["local"], (120, 40));
    let crashed = Session {
        cause: "the guest's kernel panicked: x".into(),
        cause_lines: vec!["Kernel panic - not syncing: \u{1b}[2Jx".into(), "CPU: 0 Comm: sh".into()],
        ..samples::session("fix", Turn::You, "crashed", "working", "crashed: the guest's kernel panicked: x")
    };
    report(&mut state, Report::Host(samples::host(0), samples::snapshot("local", vec![crashed])));
    press(&mut state, "J");
    let drawn = draw(&state, &dark()).to_string();
    for part in ["Its console", "Kernel panic - not syncing: [2Jx", "CPU: 0 Comm: sh"] {
        assert!(drawn.contains(part), "{part}\n{drawn}");
    }
}

#[test]
fn details_of_a_session_are_scrolled_through_in_the_place_of_its_terminal() {
    for size in SIZES {
        let mut state = console(&["local"], size);
        let task = (0..80).map(|n| format!("word{n} of the task, ")).collect::<String>();
        let session = samples::session("read-it-all", Turn::You, "running", "needs-input", "asks: which?");
        let (choices, last) = (vec!["this one".into(), "another".into()], samples::story().pop());
        let session = crate::fleet::Session { task, choices, last, ..session };
        report(&mut state, Report::Host(samples::host(0), samples::snapshot("local", vec![session])));
        show_screen(&mut state);
        let drawn = |state: &State| draw(state, &dark()).to_string();
        assert!(drawn(&state).contains("read src/store.rs") && !drawn(&state).contains("word79"), "{size:?}");
        let effects = press(&mut state, "J");
        let [Effect::Call(ticket, _, Call::ReadRefused(_))] = effects[..] else { panic!("{effects:?}") };
        assert!(drawn(&state).contains("hostd, just now: oom-killed cc1plus"), "{}", drawn(&state));
        let refusal =
            Refusal { destination: "pypi.org:443".into(), why: "not in egress".into(), count: 7, last_at: NOW };
        report(&mut state, Report::Answer(ticket, Ok(Answer::Refused(vec![refusal]))));
        let top = drawn(&state);
        assert!(!top.contains("read src/store.rs") && top.contains("2    another") && top.contains("which?"), "{top}");
        for _ in 0..60 {
            press(&mut state, "J");
        }
        let last = drawn(&state);
        assert!(last.contains("01JQ") && last.contains("pypi.org:443 7 times, last just now: not in egress"), "{last}");
        for _ in 0..10 {
            press(&mut state, "ctrl-u");
        }
        assert!(drawn(&state).contains("read src/store.rs"), "{size:?}");
        press(&mut state, "p ctrl-d");
        assert!(drawn(&state).contains("Details are not shown: p"), "{}", drawn(&state));
    }
}

#[test]
fn story() {
    let told = |size: (u16, u16)| {
        let mut state = fleet(size);
        press(&mut state, "s");
        samples::tell(&mut state, samples::story());
        state
    };
    snapshots("story", told);
    snapshots("story_scrolled", |size| {
        let mut state = told(size);
        let long =
            (600..900).map(|id| Event { id, at: NOW, who: "ann".into(), what: "sent".into(), text: "more".into() });
        samples::tell(&mut state, long.collect());
        for _ in 0..290 {
            press(&mut state, "J");
        }
        state
    });
    snapshots("story_failed", |size| {
        let mut state = fleet(size);
        press(&mut state, "s");
        let ticket = state.story.as_ref().unwrap().ticket;
        let why = "this host does not know of stories; update hostd";
        report(&mut state, Report::Story(ticket, StoryReport::Failed(why.into())));
        state
    });
}

#[test]
fn of_a_long_story_only_what_is_seen_is_drawn() {
    let mut state = fleet((80, 24));
    press(&mut state, "s");
    let event = |id| Event { id, at: NOW, who: "ann".into(), what: "sent".into(), text: "word ".repeat(100) };
    samples::tell(&mut state, (0..5_000).map(event).collect());
    for keys in ["K", "ctrl-d", "ctrl-u"] {
        EVENTS_BUILT.set(0);
        press(&mut state, keys);
        draw(&state, &dark());
        assert!(EVENTS_BUILT.get() < 50, "{} after {keys}", EVENTS_BUILT.get());
    }
}

#[test]
fn details_of_an_environment_are_scrolled_through() {
    let mut state = fleet((80, 24));
    press(&mut state, "E b");
    let ticket = build_ticket(&state);
    for n in 0..60 {
        report(&mut state, Report::Build(ticket, BuildReport::Output(format!("line {n} of its output"))));
    }
    let drawn = |state: &State| draw(state, &dark()).to_string();
    assert!(drawn(&state).contains("line 59 of") && drawn(&state).contains("J all of it"), "{}", drawn(&state));
    press(&mut state, "ctrl-d");
    assert!(drawn(&state).contains("older build") && !drawn(&state).contains("line 59 of"), "{}", drawn(&state));
    press(&mut state, "ctrl-d J");
    assert!(drawn(&state).contains("line 10 of") && !drawn(&state).contains("older build"), "{}", drawn(&state));
    for _ in 0..60 {
        press(&mut state, "ctrl-d");
    }
    assert!(drawn(&state).contains("line 59 of"));
    press(&mut state, "j");
    assert_eq!(state.details, 0, "of another one they begin at their beginning");
}

#[test]
fn logs() {
    snapshots("log", |size| {
        let mut state = fleet(size);
        press(&mut state, "j L");
        let ticket = state.log.as_ref().unwrap().ticket;
        let lines =
            (0..90).map(|n| format!("[    {n}.000000] virtio_blk virtio1: something happened\r\n")).collect::<String>();
        report(&mut state, Report::Log(ticket, LogReport::Data(lines.into_bytes())));
        report(&mut state, Report::Log(ticket, LogReport::End));
        state
    });
}

/// Colours of both themes, and of terminals with fewer or none: cells with their styles.
#[rstest]
#[case("dark", Depth::True)]
#[case("light", Depth::True)]
#[case("dark", Depth::Ansi)]
#[case("dark", Depth::None)]
fn themes(#[case] name: &str, #[case] depth: Depth) {
    let theme = Theme::shipped(name).unwrap().unwrap().at(depth);
    let mut state = fleet((80, 24));
    report(&mut state, Report::Notice(Kind::Good, "Created it".into()));
    let backend = draw(&state, &theme);
    insta::assert_snapshot!(format!("theme_{name}_{depth:?}"), styled(&backend));
}

/// Each row as runs of text with their colours and modifiers.
fn styled(backend: &TestBackend) -> String {
    let buffer = backend.buffer();
    let mut out = String::new();
    for y in 0..buffer.area.height {
        let mut last = None;
        for x in 0..buffer.area.width {
            let cell = &buffer[(x, y)];
            let style = (cell.fg, cell.bg, cell.modifier);
            if last != Some(style) {
                out += &format!("\n  {y:>2},{x:<3} {:?} on {:?} {:?} ", cell.fg, cell.bg, cell.modifier);
                last = Some(style);
            }
            out += cell.symbol();
        }
    }
    out
}

#[test]
fn of_thousands_of_sessions_only_those_seen_are_built() {
    let mut state = console(&["local"], (120, 40));
    let many = (0..5000)
        .map(|n| samples::session(&format!("session-{n}"), Turn::Agent, "running", "working", "working"))
        .collect();
    report(&mut state, Report::Host(samples::host(0), samples::snapshot("local", many)));
    press(&mut state, "G");
    BUILT.with(|built| built.set(0));
    let backend = draw(&state, &dark());
    let built = BUILT.with(std::cell::Cell::get);
    assert!((10..40).contains(&built), "{built}");
    assert!(backend.to_string().contains("5000"));
}

#[test]
fn foreign_text_brings_no_control_characters_to_the_screen() {
    let mut state = console(&["lo\x1b]0;x\x07cal"], (120, 40));
    let hostile = "a\x1b[31m\u{9b}31m\r\n\u{202e}b\0";
    let mut session = samples::session("x", Turn::You, "running", "needs-input", hostile);
    session.title = hostile.into();
    session.choices = vec![hostile.into()];
    session.task = hostile.into();
    report(&mut state, Report::Host(samples::host(0), samples::snapshot(hostile, vec![session])));
    let ticket = state.preview.as_ref().unwrap().ticket;
    let contents = "\x1b]0;t\x07\u{85}\u{202e}x\x1b[6n\x1bPq\x1b\\".as_bytes().to_vec();
    terminal(&mut state, ticket, TerminalReport::Screen { columns: 20, rows: 5, contents });
    report(&mut state, Report::Notice(Kind::Error, hostile.into()));
    for keys in ["", "?", "esc d", "esc n", "esc m", "esc L", "q enter"] {
        if !keys.is_empty() {
            press(&mut state, keys);
        }
        let backend = draw(&state, &dark());
        let cells = backend.buffer().content();
        assert!(cells.iter().all(|cell| crate::text::is_harmless(cell.symbol())), "{keys}");
    }
}

#[test]
fn drawing_with_a_stale_size_is_survived() {
    let state = attached((200, 60));
    let mut small = Terminal::new(TestBackend::new(10, 4)).unwrap();
    small.draw(|frame| view(&state, &dark(), frame)).unwrap();
    assert_eq!(state.attach.as_ref().unwrap().viewer.link, Link::Live);
    for size in [(1, 1), (3, 2), (12, 5), (0, 0)] {
        for keys in ["", "H", "E", "C", "?", "esc n", "esc :", "esc m", "esc d", "n L", "q enter"] {
            let mut state = fleet((80, 24));
            update(&mut state, Action::Resized(size.0, size.1), NOW);
            if !keys.is_empty() {
                press(&mut state, keys);
            }
            let mut screen = Terminal::new(TestBackend::new(size.0.max(1), size.1.max(1))).unwrap();
            screen.draw(|frame| view(&state, &dark(), frame)).unwrap();
        }
    }
}

#[test]
fn costs_are_shown_where_there_are_any_and_room() {
    let drawn = |size: (u16, u16), cost_micros: u64| {
        let mut state = console(&["local"], size);
        let usage =
            ModelUsage { answers: 3, input_tokens: 12_345, output_tokens: 800, cost_micros, ..Default::default() };
        let mut sessions = samples::sessions();
        // Not the one whose details are shown.
        sessions.last_mut().unwrap().usage = usage;
        report(&mut state, Report::Host(samples::host(0), samples::snapshot("local", sessions)));
        draw(&state, &dark()).to_string()
    };
    assert!(drawn((200, 60), 1_234_567).contains("$1.24   "), "{}", drawn((200, 60), 1_234_567));
    assert!(!drawn((200, 60), 0).contains('$') && !drawn((80, 24), 1_234_567).contains("$1.24   "));
    let mut state = console(&["local"], (200, 60));
    let usage = ModelUsage { answers: 3, input_tokens: 12_345, output_tokens: 800, ..Default::default() };
    let chosen = samples::session("only", Turn::Agent, "running", "working", "working");
    let sessions = vec![Session { usage, ..chosen }];
    report(&mut state, Report::Host(samples::host(0), samples::snapshot("local", sessions)));
    let backend = draw(&state, &dark()).to_string();
    assert!(backend.contains("$0 · 3 answers · 12.3k tokens in, 0 cached, 800 out"), "{backend}");
}
