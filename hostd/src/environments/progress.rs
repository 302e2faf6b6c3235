//! The progress of one build: kept from its start, so that whoever joins late sees all of it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    sync::{mpsc, watch},
};

use super::{
    lines::{Line, Lines},
    types::{BuildEvent, EnvironmentError},
};

/// Most events that are kept; the oldest go first.
const KEPT: usize = 4096;
/// Most lines of a failed step that its error shows.
const TAIL: usize = 30;
/// Most events that may be on their way to one reader.
const READER: usize = 64;

/// Everything that a build has said so far.
#[derive(Debug)]
pub(super) struct Progress {
    /// Text of the recipe that is being built.
    pub(super) recipe: String,
    state: Mutex<State>,
    moved: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Number of the oldest event that is kept.
    first: u64,
    events: VecDeque<BuildEvent>,
    steps: u32,
    step: String,
    number: u32,
    tail: VecDeque<String>,
}

impl Progress {
    pub(super) fn new(recipe: String) -> Arc<Self> {
        Arc::new(Self { recipe, state: Mutex::default(), moved: watch::channel(()).0 })
    }

    /// Sets the number of steps that there will be.
    pub(super) fn plan(&self, steps: u32) {
        self.lock().steps = steps;
    }

    /// Begins a step with this name.
    pub(super) fn step(&self, name: impl Into<String>) {
        let mut state = self.lock();
        state.step = name.into();
        state.number += 1;
        state.tail.clear();
        let event = BuildEvent::Step { number: state.number, count: state.steps, name: state.step.clone() };
        self.publish(state, event);
    }

    /// Adds a line of the step's output.
    pub(super) fn output(&self, line: String) {
        let mut state = self.lock();
        if state.tail.len() == TAIL {
            state.tail.pop_front();
        }
        state.tail.push_back(line.clone());
        self.publish(state, BuildEvent::Output(line));
    }

    /// Adds a line as the step's program wrote it: one that only passes is shown to those who watch, and not kept for later.
    pub(super) fn line(&self, line: Line) {
        match line {
            Line::Whole(line) => self.output(line),
            Line::Passing(line) => self.publish(self.lock(), BuildEvent::Passing(line)),
        }
    }

    /// Adds what a program says, to its end.
    pub(super) async fn follow(&self, mut output: impl AsyncRead + Unpin) {
        let (mut lines, mut buffer) = (Lines::default(), [0; 4096]);
        while let Ok(length @ 1..) = output.read(&mut buffer).await {
            lines.push(&buffer[..length], &mut |line| self.line(line));
        }
        lines.finish(&mut |line| self.line(line));
    }

    /// Adds output of several lines.
    pub(super) fn text(&self, text: &[u8]) {
        let mut lines = Lines::default();
        lines.push(text, &mut |line| self.line(line));
        lines.finish(&mut |line| self.line(line));
    }

    /// Adds the last event.
    pub(super) fn end(&self, event: BuildEvent) {
        self.publish(self.lock(), event);
    }

    /// The error of the present step, with the end of its output and why it failed.
    pub(super) fn failure(&self, why: &str) -> EnvironmentError {
        let state = self.lock();
        let lines: Vec<&str> = state.tail.iter().map(String::as_str).chain([why]).collect();
        let step = if state.step.is_empty() { "the build".into() } else { state.step.clone() };
        EnvironmentError::BuildFailed { step, output: lines.join("\n") }
    }

    /// Events that are kept, as text.
    pub(super) fn log(&self) -> String {
        let state = self.lock();
        let lines = state.events.iter().map(|event| match event {
            BuildEvent::Step { number, count, name } => format!("[{number}/{count}] {name}\n"),
            BuildEvent::Output(line) => format!("{line}\n"),
            BuildEvent::Passing(_) => String::new(),
            BuildEvent::Failed(error) => format!("failed: {error}\n"),
            BuildEvent::Done { .. } => "done\n".into(),
        });
        lines.collect()
    }

    /// Receives all events from the first on, up to the last.
    pub(super) fn read(self: &Arc<Self>) -> mpsc::Receiver<BuildEvent> {
        let (sender, receiver) = mpsc::channel(READER);
        tokio::spawn(send_all(self.clone(), sender));
        receiver
    }

    fn publish(&self, mut state: MutexGuard<'_, State>, event: BuildEvent) {
        if state.events.len() == KEPT {
            state.events.pop_front();
            state.first += 1;
        }
        state.events.push_back(event);
        drop(state);
        self.moved.send_replace(());
    }

    /// The event of this number, or what stands for those that are no longer kept. None: there is none yet.
    fn event(&self, next: &mut u64) -> Option<BuildEvent> {
        let state = self.lock();
        if *next < state.first {
            let lost = state.first - *next;
            *next = state.first;
            return Some(BuildEvent::Output(format!("({lost} lines left out)")));
        }
        let at = usize::try_from(*next - state.first).ok()?;
        let event = state.events.get(at).cloned();
        *next += u64::from(event.is_some());
        event
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn send_all(progress: Arc<Progress>, sender: mpsc::Sender<BuildEvent>) {
    let mut moved = progress.moved.subscribe();
    let mut next = 0;
    loop {
        moved.borrow_and_update();
        while let Some(event) = progress.event(&mut next) {
            let last = matches!(event, BuildEvent::Done { .. } | BuildEvent::Failed(_));
            if sender.send(event).await.is_err() || last {
                return;
            }
        }
        if moved.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn late_readers_see_all_and_slow_ones_hear_the_end() {
        let progress = Progress::new(String::new());
        let mut slow = progress.read();
        progress.plan(1);
        progress.step("one");
        for number in 0..KEPT + 10 {
            progress.output(number.to_string());
            tokio::task::yield_now().await;
        }
        let EnvironmentError::BuildFailed { step, output } = progress.failure("why") else { panic!() };
        assert_eq!((step.as_str(), output.lines().count(), output.lines().last()), ("one", TAIL + 1, Some("why")));
        progress.text(b"10%\r20%\rdone\n");
        let EnvironmentError::BuildFailed { output, .. } = progress.failure("why") else { panic!() };
        assert!(output.ends_with("\ndone\nwhy") && !output.contains('%') && !progress.log().contains('%'), "{output}");
        progress.end(BuildEvent::Failed(progress.failure("why")));

        let mut late = progress.read();
        assert!(matches!(late.recv().await, Some(BuildEvent::Output(line)) if line == "(15 lines left out)"));
        for reader in [&mut slow, &mut late] {
            let mut last = None;
            while let Some(event) = reader.recv().await {
                last = Some(event);
            }
            assert!(matches!(last, Some(BuildEvent::Failed(_))));
        }
    }
}
