//! The loop: events, news, time and signals in; frames and effects out.

use std::{collections::BTreeMap, io, ops::ControlFlow, time::Duration};

use crossterm::event::{Event as Raw, EventStream};
use eyre::{WrapErr as _, bail};
use futures::StreamExt as _;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep_until},
};
use tonic::transport::Channel;
use tui_core::{
    Action, Effect, State, Theme,
    action::Event,
    diff::Subject,
    fleet::SessionKey,
    host_id::HostId,
    log::Source,
    report::{Report, TerminalReport},
    resolve,
    ticket::{Slot, Ticket},
    update, view,
};

use super::{
    alerts::Alerts,
    calls,
    clock::now,
    diffs,
    drafts::{Folder, Keeper},
    hosts, input, logs, pulls,
    screen::{PANICKED, Screen},
    stories::{self, Read},
    streams::{self, Ask, Open},
};
use crate::client::HostAddress;

/// Least time between two frames: at most 60 are drawn a second.
const FRAME: Duration = Duration::from_micros(16_600);
/// Most news that may wait for the console; tasks that have more wait.
const REPORTS: usize = 256;
/// Most keys that may wait for the console; a paste is one event.
const EVENTS: usize = 256;
/// Most news that are taken between two looks at the keyboard.
const BATCH: usize = 64;

/// A running console.
pub(super) struct Runtime {
    hosts: BTreeMap<HostId, (HostAddress, Channel)>,
    state: State,
    theme: Theme,
    alerts: Alerts,
    reports: mpsc::Sender<Report>,
    incoming: mpsc::Receiver<Report>,
    /// The open stream of each slot.
    open: BTreeMap<Slot, Stream>,
    /// All tasks; dropped, and so ended, with the console.
    tasks: JoinSet<()>,
    /// Keeper that writes drafts; `drafts` is the folder to which it does.
    keeper: Keeper,
    drafts: Option<Folder>,
    /// Whether what is on the screen is older than the state.
    stale: bool,
}

struct Stream {
    ticket: Ticket,
    asks: mpsc::Sender<Ask>,
    task: AbortHandle,
}

impl Runtime {
    /// Creates a console that begins to watch its hosts.
    pub(super) fn new(
        hosts: Vec<HostAddress>,
        state: State,
        (theme, alerts): (Theme, Alerts),
        drafts: Option<Folder>,
    ) -> Self {
        let (reports, incoming) = mpsc::channel(REPORTS);
        let hosts: BTreeMap<_, _> = hosts.into_iter().map(|host| (host.id(), (host.clone(), host.channel()))).collect();
        let mut tasks = JoinSet::new();
        for (host, _) in hosts.values() {
            // A connection of its own: bulk of a terminal never stands before news.
            let news = host.channel();
            let (there, is_there) = watch::channel(false);
            tasks.spawn(hosts::watch(host.clone(), news.clone(), reports.clone(), there));
            tasks.spawn(pulls::watch(host.clone(), news, reports.clone(), is_there));
        }
        let keeper = Keeper::new();
        keeper.read(&state.drafts);
        if let Some(folder) = &drafts {
            tasks.spawn(keeper.clone().run(folder.clone(), reports.clone()));
        }
        Self {
            hosts,
            state,
            theme,
            alerts,
            reports,
            incoming,
            open: BTreeMap::new(),
            tasks,
            keeper,
            drafts,
            stale: true,
        }
    }

    /// Runs until the user leaves or a signal ends it. However it ends, what was drafted is kept before it returns.
    pub(super) async fn run(mut self, mut screen: Screen) -> eyre::Result<()> {
        let ended = self.run_until_left(&mut screen).await;
        let last = update(&mut self.state, Action::Ending, now());
        let _ = self.carry_out(last, &mut screen);
        drop(screen);
        if let Some(folder) = &self.drafts {
            self.keeper.finish(folder).await.wrap_err("what you drafted could not be kept")?;
        }
        ended
    }

    async fn run_until_left(&mut self, screen: &mut Screen) -> eyre::Result<()> {
        let mut signals = Signals::new().wrap_err("cannot listen for signals")?;
        let mut events = self.read_events();
        let mut drawn = Instant::now() - FRAME;
        loop {
            if self.stale && drawn.elapsed() >= FRAME {
                screen.draw(|frame| view(&self.state, &self.theme, frame)).wrap_err("cannot draw on the terminal")?;
                (self.stale, drawn) = (false, Instant::now());
            }
            let tick = self.next_tick();
            let flow = tokio::select! {
                biased;
                signal = signals.next() => match signal {
                    Told::End => ControlFlow::Break(()),
                    Told::Stop => self.carry_out(vec![Effect::Background], screen)?,
                },
                () = PANICKED.notified() => bail!("a part of the console has failed; what it said stands above"),
                event = events.recv() => match event {
                    Some(event) => self.events(event, &mut events, screen)?,
                    // The terminal is gone.
                    None => ControlFlow::Break(()),
                },
                Some(report) = self.incoming.recv() => self.news(report, screen)?,
                () = sleep_until(drawn + FRAME), if self.stale => ControlFlow::Continue(()),
                () = sleep_until(tick) => self.act(Action::Tick, screen)?,
                Some(_) = self.tasks.join_next() => ControlFlow::Continue(()),
            };
            if flow.is_break() {
                return Ok(());
            }
        }
    }

    /// Reads the keyboard in a task of its own: crossterm's stream wakes only the task that polled it first, so it must not
    /// be polled in passing.
    fn read_events(&mut self) -> mpsc::Receiver<io::Result<Raw>> {
        let (sender, events) = mpsc::channel(EVENTS);
        self.tasks.spawn(async move {
            let mut stream = EventStream::new();
            while let Some(event) = stream.next().await {
                if sender.send(event).await.is_err() {
                    return;
                }
            }
        });
        events
    }

    fn next_tick(&self) -> Instant {
        let in_millis = self.state.next_change().map_or(60_000, |at| at.saturating_sub(now()).clamp(10, 60_000));
        Instant::now() + Duration::from_millis(in_millis.unsigned_abs())
    }

    /// Takes an event and whatever else is there already: a burst makes one frame.
    fn events(
        &mut self,
        first: io::Result<Raw>,
        events: &mut mpsc::Receiver<io::Result<Raw>>,
        screen: &mut Screen,
    ) -> eyre::Result<ControlFlow<()>> {
        let mut next = Some(first);
        let mut taken = 0;
        while let Some(raw) = next.take() {
            if let Some(event) = input::event(raw.wrap_err("cannot read the keyboard")?)
                && self.event(event, screen)?.is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
            taken += 1;
            next = if taken < BATCH { events.try_recv().ok() } else { None };
        }
        Ok(ControlFlow::Continue(()))
    }

    fn event(&mut self, event: Event, screen: &mut Screen) -> eyre::Result<ControlFlow<()>> {
        let keymap = self.state.keymap.clone();
        match resolve(&keymap, &self.state, event) {
            Some(action) => self.act(action, screen),
            None => Ok(ControlFlow::Continue(())),
        }
    }

    fn news(&mut self, first: Report, screen: &mut Screen) -> eyre::Result<ControlFlow<()>> {
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(report) = self.incoming.try_recv()
        {
            batch.push(report);
        }
        self.act(Action::Reports(batch), screen)
    }

    fn act(&mut self, action: Action, screen: &mut Screen) -> eyre::Result<ControlFlow<()>> {
        let effects = update(&mut self.state, action, now());
        self.stale |= self.state.changed();
        let flow = self.carry_out(effects, screen)?;
        screen.mouse(self.state.wants_mouse()).wrap_err("cannot ask the terminal for the mouse")?;
        Ok(flow)
    }

    fn carry_out(&mut self, effects: Vec<Effect>, screen: &mut Screen) -> eyre::Result<ControlFlow<()>> {
        for effect in effects {
            match effect {
                Effect::Quit => return Ok(ControlFlow::Break(())),
                Effect::Background => {
                    screen.background().wrap_err("cannot take the terminal again")?;
                    let (columns, rows) = screen.size();
                    self.act(Action::Resized(columns, rows), screen)?.is_break();
                }
                Effect::Alert(texts) => {
                    screen.write(&self.alerts.bytes(&texts)).wrap_err("cannot write to the terminal")?;
                }
                Effect::Redraw => {
                    screen.forget().wrap_err("cannot draw on the terminal")?;
                    self.stale = true;
                }
                Effect::OpenTerminal { ticket, session, observe, size, scrollback, delay } => {
                    self.open_terminal(ticket, &session, observe, size, scrollback, Duration::from_millis(delay));
                }
                Effect::OpenLog { ticket, source } => self.open_log(ticket, source),
                Effect::OpenStory { ticket, session, delay } => {
                    self.open_story(ticket, &session, Duration::from_millis(delay));
                }
                Effect::OpenDiff { ticket, subject } => self.open_diff(ticket, subject),
                Effect::Close(slot) => self.close(slot),
                Effect::Input(ticket, bytes) => self.ask(ticket, Ask::Input(bytes)),
                Effect::Resize(ticket, size) => self.ask(ticket, Ask::Resize(size)),
                Effect::Take(ticket) => self.ask(ticket, Ask::Take),
                Effect::KeepDraft(key, draft) => {
                    if let Some((host, _)) = self.host(&key.host) {
                        self.keeper.keep(host, key, *draft);
                    }
                }
                Effect::KeepForm(title, task) => self.keeper.keep_form(title, task),
                Effect::Bell => screen.write(b"\x07").wrap_err("cannot write to the terminal")?,
                Effect::Title(title) => screen.title(&title).wrap_err("cannot write to the terminal")?,
                Effect::Copy(copy) => screen.write(&copy.sequence()).wrap_err("cannot write to the terminal")?,
                Effect::Call(ticket, host, call) => {
                    if let Some((host, channel)) = self.host(&host) {
                        self.tasks.spawn(calls::call(ticket, host, channel, call, self.reports.clone()));
                    }
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn host(&self, id: &HostId) -> Option<(HostAddress, Channel)> {
        self.hosts.get(id).cloned()
    }

    fn open_terminal(
        &mut self,
        ticket: Ticket,
        session: &SessionKey,
        observe: bool,
        size: (u16, u16),
        scrollback: u32,
        delay: Duration,
    ) {
        let Some((host, channel)) = self.host(&session.host) else { return };
        let (asks, asked) = mpsc::channel(streams::WAITING_MAX);
        let open = Open { ticket, host, id: session.id.to_string(), observe, size, scrollback, delay };
        let task = self.tasks.spawn(streams::keep_open(open, channel, asked, self.reports.clone()));
        self.replace(ticket, asks, task);
    }

    fn open_log(&mut self, ticket: Ticket, source: Source) {
        let host = match &source {
            Source::Agent(key) | Source::Serial(key) => &key.host,
            Source::Check { pull, .. } => &pull.host,
        };
        let Some((host, channel)) = self.host(host) else { return };
        let task = self.tasks.spawn(logs::read(ticket, host, channel, source, self.reports.clone()));
        // A log is asked nothing.
        let (asks, _) = mpsc::channel(1);
        self.replace(ticket, asks, task);
    }

    fn open_story(&mut self, ticket: Ticket, session: &SessionKey, delay: Duration) {
        let Some((host, channel)) = self.host(&session.host) else { return };
        let read = Read { ticket, host, id: session.id.to_string(), delay };
        let task = self.tasks.spawn(stories::follow(read, channel, self.reports.clone()));
        // A story is asked nothing.
        let (asks, _) = mpsc::channel(1);
        self.replace(ticket, asks, task);
    }

    fn open_diff(&mut self, ticket: Ticket, subject: Subject) {
        let host = match &subject {
            Subject::Session(key) => &key.host,
            Subject::Pull(key) | Subject::Between { pull: key, .. } => &key.host,
        };
        let Some((host, channel)) = self.host(host) else { return };
        let task = self.tasks.spawn(diffs::read(ticket, host, channel, subject, self.reports.clone()));
        // It is asked nothing.
        let (asks, _) = mpsc::channel(1);
        self.replace(ticket, asks, task);
    }

    fn replace(&mut self, ticket: Ticket, asks: mpsc::Sender<Ask>, task: AbortHandle) {
        self.close(ticket.slot);
        self.open.insert(ticket.slot, Stream { ticket, asks, task });
    }

    fn close(&mut self, slot: Slot) {
        if let Some(stream) = self.open.remove(&slot) {
            stream.task.abort();
        }
    }

    /// Asks an open terminal something. What a stalled host does not take is dropped and said to be.
    fn ask(&mut self, ticket: Ticket, ask: Ask) {
        let Some(stream) = self.open.get(&ticket.slot).filter(|stream| stream.ticket == ticket) else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = stream.asks.try_send(ask) {
            let stalled = Report::Terminal(ticket, TerminalReport::Stalled);
            update(&mut self.state, Action::Reports(vec![stalled]), now());
            self.stale = true;
        }
    }
}

/// What a signal asks for.
enum Told {
    End,
    Stop,
}

struct Signals {
    terminate: Signal,
    hangup: Signal,
    interrupt: Signal,
    stop: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            stop: signal(SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw()))?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::End,
            _ = self.hangup.recv() => Told::End,
            _ = self.interrupt.recv() => Told::End,
            _ = self.stop.recv() => Told::Stop,
        }
    }
}
