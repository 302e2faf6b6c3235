//! A simulated agent: its terminal's transcript, and the script that it plays.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use pilothouse_proto::guest::v1::{AgentState, Event, Exit, Status, event};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

use super::{options::Script, random::Random};

/// Most bytes of output that are kept; more than any script prints, unless much is typed.
const KEPT: usize = 1 << 20;
/// Most events that are kept.
const EVENTS: usize = 1024;
/// Most pieces of input that may be under way.
const INPUT: usize = 16;

/// State of an agent as its host sees it.
#[derive(Default)]
struct Transcript {
    start: u64,
    output: Vec<u8>,
    started: bool,
    exit: Option<Exit>,
    sequence: u64,
    events: Vec<Event>,
    input: Option<mpsc::Sender<Bytes>>,
}

/// A simulated agent. Clones share it.
#[derive(Clone)]
pub(super) struct Agent(Arc<(Mutex<Transcript>, watch::Sender<()>)>);

impl Agent {
    pub(super) fn new() -> Self {
        Self(Arc::new((Mutex::default(), watch::Sender::new(()))))
    }

    pub(super) fn news(&self) -> watch::Receiver<()> {
        self.0.1.subscribe()
    }

    /// Begins to play until `over` ends, unless the agent played before.
    pub(super) fn start(
        &self,
        command: &[String],
        script: Script,
        random: Random,
        over: impl Future<Output = ()> + Send + 'static,
    ) {
        let (input, typed) = mpsc::channel(INPUT);
        {
            let mut transcript = self.lock();
            if transcript.started {
                return;
            }
            (transcript.started, transcript.input) = (true, Some(input));
        }
        let title = command.join(" ");
        let agent = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = over => {}
                () = agent.play(&title, script, random, typed) => {}
            }
        });
    }

    async fn play(&self, title: &str, script: Script, mut random: Random, mut typed: mpsc::Receiver<Bytes>) {
        self.print(&format!("simulated agent: {title}"));
        self.say("working", "reading the task", &[]);
        let lines = random.number(&script.lines);
        let asks_at = random.chance(script.asks).then_some(lines / 2);
        for line in 1..=lines {
            sleep(random.duration(&script.pause)).await;
            let (verb, thing) = (random.choose(VERBS), random.choose(THINGS));
            self.print(&format!("[{line}/{lines}] {verb} {thing}"));
            if asks_at == Some(line) {
                self.say("needs-input", &format!("Shall I go on with {thing}?"), &["yes", "no"]);
                let answer = self.read_line(&mut typed).await;
                self.print(&format!("you said: {answer}"));
                self.say("working", &format!("goes on with {thing}"), &[]);
            } else if random.chance(0.1) {
                self.say("working", &format!("{verb} {thing}"), &[]);
            }
        }
        let fails = random.chance(script.fails);
        let (activity, text) = if fails { ("failed", "the tests do not pass") } else { ("done", "it works") };
        self.say(activity, text, &[]);
        self.exit(i32::from(fails));
    }

    /// Reads a line that is typed, and echoes it as a terminal does.
    async fn read_line(&self, typed: &mut mpsc::Receiver<Bytes>) -> String {
        let mut line = Vec::new();
        while let Some(bytes) = typed.recv().await {
            let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            line.extend(&bytes[..end.unwrap_or(bytes.len())]);
            self.write(&bytes[..end.unwrap_or(bytes.len())]);
            if end.is_some() {
                break;
            }
        }
        self.print("");
        String::from_utf8_lossy(&line).into_owned()
    }

    pub(super) async fn type_in(&self, bytes: Bytes) {
        let input = self.lock().input.clone();
        if let Some(input) = input {
            // An agent that does not read loses what is typed, once enough waits.
            let _ = input.try_send(bytes);
        }
    }

    fn print(&self, line: &str) {
        self.write(format!("{line}\r\n").as_bytes());
    }

    fn write(&self, bytes: &[u8]) {
        {
            let mut transcript = self.lock();
            transcript.output.extend(bytes);
            let excess = transcript.output.len().saturating_sub(KEPT);
            transcript.output.drain(..excess);
            transcript.start += excess as u64;
        }
        self.0.1.send_replace(());
    }

    fn say(&self, activity: &str, text: &str, choices: &[&str]) {
        let choices = choices.iter().map(ToString::to_string).collect();
        self.tell(event::Event::Status(Status {
            activity: activity.into(),
            text: text.into(),
            choices,
            ..Status::default()
        }));
    }

    fn exit(&self, code: i32) {
        let exit = Exit { code, signal: 0 };
        {
            let mut transcript = self.lock();
            (transcript.exit, transcript.input) = (Some(exit), None);
        }
        self.tell(event::Event::AgentExited(exit));
    }

    fn tell(&self, event: event::Event) {
        {
            let mut transcript = self.lock();
            transcript.sequence += 1;
            let sequence = transcript.sequence;
            // A simulated guest has no clock.
            transcript.events.push(Event { sequence, unix_nanos: 0, event: Some(event) });
            let excess = transcript.events.len().saturating_sub(EVENTS);
            transcript.events.drain(..excess);
        }
        self.0.1.send_replace(());
    }

    /// Forgets events up to the id `after`.
    pub(super) fn acknowledge(&self, after: u64) {
        self.lock().events.retain(|event| event.sequence > after);
    }

    pub(super) fn next_event(&self, after: u64) -> Option<Event> {
        self.lock().events.iter().find(|event| event.sequence > after).cloned()
    }

    /// Output from `offset` on: where it begins, the bytes, and whether there never will be more after them.
    pub(super) fn output(&self, offset: u64, max: usize) -> (u64, Bytes, bool) {
        let transcript = self.lock();
        let offset = offset.clamp(transcript.start, transcript.start + transcript.output.len() as u64);
        let from = usize::try_from(offset - transcript.start).unwrap_or(0);
        let rest = &transcript.output[from..];
        let piece = &rest[..rest.len().min(max)];
        (offset, Bytes::copy_from_slice(piece), piece.len() == rest.len() && transcript.exit.is_some())
    }

    pub(super) fn state(&self) -> (AgentState, u64, u64) {
        let t = self.lock();
        let pid = if t.started && t.exit.is_none() { 100 } else { 0 };
        (AgentState { started: t.started, pid, exit: t.exit }, t.start, t.start + t.output.len() as u64)
    }

    fn lock(&self) -> MutexGuard<'_, Transcript> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const VERBS: &[&str] = &["reads", "rewrites", "tests", "measures", "documents", "simplifies"];
const THINGS: &[&str] =
    &["the parser", "the build", "the retry logic", "a flaky test", "the schema", "the error messages"];
