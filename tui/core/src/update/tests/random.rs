//! No sequence of events and news breaks the console, and what it shows can always be drawn.

use proptest::prelude::*;
use ratatui::{Terminal, backend::TestBackend};

use super::*;
use crate::{
    Command, Theme,
    key::{Code, Key},
    report::{BuildReport, LogReport},
    story::StoryReport,
    view,
};

#[derive(Clone, Debug)]
enum Step {
    Event(Event),
    Command(Command),
    Host(usize, HostNews),
    /// To one of the streams or calls that were opened, by turn.
    Terminal(usize, TerminalReport),
    Log(usize, LogReport),
    Story(usize, StoryReport),
    Answer(usize, bool),
    Build(usize, BuildReport),
    Time(i64),
}

#[derive(Clone, Debug)]
enum HostNews {
    Snapshot(usize),
    Session(usize, usize),
    Removed(usize),
    Queue(usize),
    Pull(usize),
    Lost,
    Resumed,
}

fn key() -> impl Strategy<Value = Key> {
    let codes = vec![
        Code::Enter,
        Code::Esc,
        Code::Tab,
        Code::Backspace,
        Code::Up,
        Code::Down,
        Code::Left,
        Code::Right,
        Code::Home,
        Code::End,
        Code::PageUp,
        Code::PageDown,
        Code::Delete,
    ];
    let chars = "qjkgGndyrlLmoubEHCSRaxcMps/:?123{} é";
    prop_oneof![
        3 => prop::sample::select(chars.chars().collect::<Vec<_>>()).prop_map(Key::char),
        1 => prop::sample::select("]lzscd[wu".chars().collect::<Vec<_>>()).prop_map(Key::ctrl),
        2 => (prop::sample::select(codes), any::<bool>(), any::<bool>()).prop_map(|(code, alt, shift)| Key { code, ctrl: false, alt, shift }),
    ]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        "(line [0-9]{1,3}\r\n){0,30}".prop_map(String::into_bytes),
        prop::sample::select(vec![
            "\x1b[?1049h",
            "\x1b[?1049l",
            "\x1b[?1000h\x1b[?1006h",
            "\x1b[?25l",
            "日本🚀\r",
            "\x1b[999;999H"
        ])
        .prop_map(|s| s.as_bytes().to_vec()),
    ]
}

fn terminal_news() -> impl Strategy<Value = TerminalReport> {
    prop_oneof![
        3 => (0u16..150, 0u16..50, bytes()).prop_map(|(columns, rows, contents)| TerminalReport::Screen { columns, rows, contents }),
        3 => bytes().prop_map(TerminalReport::Output),
        2 => any::<bool>().prop_map(|writer| TerminalReport::Role { writer, name: "bert".into(), viewers: 3 }),
        1 => Just(TerminalReport::Ended("it ended".into())),
        1 => Just(TerminalReport::Lost("hung up".into())),
        1 => Just(TerminalReport::Refused("no".into())),
        1 => Just(TerminalReport::Stalled),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let mouse = (0u16..200, 0u16..60).prop_map(|(column, row)| Mouse {
        kind: MouseKind::Down(0),
        column,
        row,
        ctrl: false,
        alt: false,
        shift: false,
    });
    let event = prop_oneof![
        8 => key().prop_map(Event::Key),
        1 => "\\PC{0,20}".prop_map(Event::Paste),
        1 => mouse.prop_map(Event::Mouse),
        1 => (0u16..220, 0u16..70).prop_map(|(columns, rows)| Event::Resize(columns, rows)),
    ];
    let host = prop_oneof![
        (0usize..12).prop_map(HostNews::Snapshot),
        (0usize..12, 0usize..9).prop_map(|(which, like)| HostNews::Session(which, like)),
        (0usize..12).prop_map(HostNews::Removed),
        (0usize..5).prop_map(HostNews::Queue),
        (0usize..5).prop_map(HostNews::Pull),
        Just(HostNews::Lost),
        Just(HostNews::Resumed),
    ];
    let log =
        prop_oneof![bytes().prop_map(LogReport::Data), Just(LogReport::End), Just(LogReport::Failed("no".into()))];
    let story = prop_oneof![
        (0i64..400, 0i64..400).prop_map(|(first, count)| {
            let event = |id| crate::story::Event { id, what: "sent".into(), ..crate::story::Event::default() };
            StoryReport::Events((first..first + count).map(event).collect())
        }),
        Just(StoryReport::Lost("hung up".into())),
        Just(StoryReport::Failed("no".into())),
        Just(StoryReport::Over),
    ];
    let build = prop_oneof![
        (0u32..9, 0u32..9).prop_map(|(number, count)| BuildReport::Step(number, count, "setup".into())),
        "\\PC{0,20}".prop_map(BuildReport::Output),
        any::<bool>().prop_map(BuildReport::Done),
        Just(BuildReport::Failed("it failed".into())),
    ];
    prop_oneof![
        12 => event.prop_map(Step::Event),
        2 => prop::sample::select(Command::ALL.to_vec()).prop_map(Step::Command),
        3 => (0usize..4, host).prop_map(|(host, news)| Step::Host(host, news)),
        4 => (0usize..3, terminal_news()).prop_map(|(which, news)| Step::Terminal(which, news)),
        1 => (0usize..3, story).prop_map(|(which, news)| Step::Story(which, news)),
        1 => (0usize..3, log).prop_map(|(which, news)| Step::Log(which, news)),
        1 => (0usize..3, any::<bool>()).prop_map(|(which, good)| Step::Answer(which, good)),
        1 => (0usize..3, build).prop_map(|(which, news)| Step::Build(which, news)),
        1 => (-10_000i64..100_000_000).prop_map(Step::Time),
    ]
}

fn host_news(news: HostNews) -> HostReport {
    let all = samples::sessions();
    let made = |which: usize, like: usize| {
        let base = all[like % all.len()].clone();
        crate::fleet::Session { id: format!("ID{which}"), slug: format!("session-{which}"), ..base }
    };
    match news {
        HostNews::Snapshot(count) => snapshot("made up", (0..count).map(|n| made(n, n)).collect()),
        HostNews::Session(which, like) => HostReport::Session(Box::new(made(which, like))),
        HostNews::Removed(which) => HostReport::SessionRemoved(format!("ID{which}")),
        HostNews::Queue(count) => HostReport::Queue(samples::pulls().into_iter().take(count).collect()),
        HostNews::Pull(which) => {
            let mut pull = samples::pulls().swap_remove(which % 4);
            pull.state = if which == 4 { "merged" } else { "open" }.into();
            HostReport::Pull(Box::new(pull))
        }
        HostNews::Lost => HostReport::Lost("gone".into()),
        HostNews::Resumed => HostReport::Resumed,
    }
}

/// The console with the tickets it has given out, the latest first.
struct Driven {
    state: State,
    now: i64,
    tickets: Vec<Ticket>,
}

impl Driven {
    fn ticket(&self, which: usize) -> Ticket {
        self.tickets.get(which).copied().unwrap_or(Ticket { slot: Slot::Call, generation: 0 })
    }

    fn step(&mut self, step: Step) {
        let news = |report| Action::Reports(vec![report]);
        let action = match step {
            Step::Event(event) => {
                let keymap = self.state.keymap.clone();
                crate::resolve(&keymap, &self.state, event)
            }
            Step::Command(command) => Some(Action::Run(command)),
            Step::Host(host, report) => Some(news(Report::Host(samples::host(host), host_news(report)))),
            Step::Terminal(which, report) => Some(news(Report::Terminal(self.ticket(which), report))),
            Step::Story(which, report) => Some(news(Report::Story(self.ticket(which), report))),
            Step::Log(which, report) => Some(news(Report::Log(self.ticket(which), report))),
            Step::Answer(which, good) => {
                let answer = if good { Ok(Answer::Done) } else { Err("no".into()) };
                Some(news(Report::Answer(self.ticket(which), answer)))
            }
            Step::Build(which, report) => Some(news(Report::Build(self.ticket(which), report))),
            Step::Time(millis) => {
                self.now += millis;
                Some(Action::Tick)
            }
        };
        let Some(action) = action else { return };
        for effect in update(&mut self.state, action, self.now) {
            if let Effect::Call(ticket, ..)
            | Effect::OpenTerminal { ticket, .. }
            | Effect::OpenLog { ticket, .. }
            | Effect::OpenStory { ticket, .. } = effect
            {
                self.tickets.insert(0, ticket);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn nothing_breaks_the_console(steps in prop::collection::vec(step(), 0..120)) {
        let theme = Theme::shipped("dark").unwrap().unwrap();
        let mut driven = Driven { state: console(&["a", "b", "c"], SIZE), now: NOW, tickets: Vec::new() };
        for (n, step) in steps.into_iter().enumerate() {
            driven.step(step);
            let state = &driven.state;
            // What is selected is there, and is seen.
            if let Some(key) = state.selected_key() {
                prop_assert!(state.fleet.session(key).is_some());
            }
            prop_assert!(state.preview.is_none() || state.attach.is_none());
            prop_assert!(state.next_change().is_none_or(|at| at > driven.now));
            if n % 8 == 0 {
                let (columns, rows) = (state.size.0.max(1), state.size.1.max(1));
                let mut screen = Terminal::new(TestBackend::new(columns, rows)).unwrap();
                screen.draw(|frame| view(state, &theme, frame)).unwrap();
                let hostile = |cell: &ratatui::buffer::Cell| !crate::text::is_harmless(cell.symbol());
                prop_assert!(!screen.backend().buffer().content().iter().any(hostile));
            }
        }
    }
}
