//! How a build goes, on stderr: steps, and under the last one a living line on a terminal, plain lines elsewhere.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::cli::{failure::Failure, format::micros, output, waiting};

/// Lines of a step's output kept for the case that it fails.
const KEPT_LINES: usize = 200;

/// How long nothing may be said where no line lives.
const SILENCE: Duration = Duration::from_secs(10);

/// What is shown of a build.
pub(super) struct Progress {
    live: bool,
    /// Of the step under way, the newest last.
    kept: VecDeque<String>,
    /// How far the line under way has come.
    passing: String,
    started: Instant,
    step_started: Instant,
    /// When something was said last, where no line lives.
    said: Instant,
}

impl Progress {
    /// Of a build that begins now.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let (kept, passing) = (VecDeque::new(), String::new());
        Self { live: waiting::is_seen(), kept, passing, started: now, step_started: now, said: now }
    }

    /// A step begins.
    pub(super) fn step(&mut self, number: u32, count: u32, name: &str) {
        self.clear();
        self.kept.clear();
        self.passing.clear();
        self.step_started = Instant::now();
        self.said = self.step_started;
        output::note(&format!("[{number}/{count}] {name}"));
    }

    /// A line of its output; harmless already.
    pub(super) fn output(&mut self, line: String) {
        if !self.live {
            output::note(&format!("      {line}"));
            self.said = Instant::now();
        }
        self.passing.clear();
        if self.kept.len() == KEPT_LINES {
            self.kept.pop_front();
        }
        self.kept.push_back(line);
        self.tick();
    }

    /// A line that the next one stands in for; harmless already.
    pub(super) fn passing(&mut self, line: String) {
        self.passing = line;
        self.tick();
    }

    /// A step that says nothing is seen to go on: the living line is drawn anew; where there is none, a line says from time to time
    /// how long it has taken.
    pub(super) fn tick(&mut self) {
        let elapsed = self.step_started.elapsed();
        if self.live {
            let newest = self.kept.back().map_or("", String::as_str);
            let newest = if self.passing.is_empty() { newest } else { &self.passing };
            waiting::draw(&format!("    {}", waiting::sign(elapsed, newest)));
        } else if self.said.elapsed() >= SILENCE {
            self.said = Instant::now();
            output::note(format!("      {} s  {}", elapsed.as_secs(), self.passing).trim_end());
        }
    }

    /// Shows what the failed step said, where it is not to be seen yet, and takes it out of the failure's message.
    pub(super) fn failed(&self, failure: Failure) -> Failure {
        self.clear();
        if self.live {
            self.kept.iter().for_each(|line| output::note(&format!("      {line}")));
        }
        let seen = |line: &&str| line.trim().is_empty() || !self.kept.iter().any(|kept| kept.trim() == line.trim());
        let message = failure.message.lines().filter(seen).collect::<Vec<_>>().join("\n");
        Failure { message, ..failure }
    }

    /// Takes the living line away.
    pub(super) fn clear(&self) {
        if self.live {
            waiting::clear();
        }
    }

    /// How long it has taken.
    pub(super) fn took(&self) -> String {
        micros(u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_does_not_repeat_what_was_shown() {
        let mut progress = Progress { live: false, ..Progress::new() };
        progress.output("line 1".into());
        progress.output("line 2".into());
        let failure = progress.failed(Failure::failed("setup failed:\nline 1\nline 2\nexit code 3"));
        assert_eq!(failure, Failure::failed("setup failed:\nexit code 3"));
    }
}
