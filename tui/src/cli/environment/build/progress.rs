//! How a build goes, on stderr: steps, and under the last one a living line on a terminal, plain lines elsewhere.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::cli::{failure::Failure, format::micros, output, waiting};

/// Most lines of a step's output that are kept for the case that it fails.
const KEPT_LINES: usize = 200;

/// Longest silence where no line is drawn over.
const SILENCE: Duration = Duration::from_secs(10);

/// Shows how a build goes.
pub(super) struct Progress {
    live: bool,
    /// Lines of the step under way, the newest last.
    kept: VecDeque<String>,
    /// The line under way, as far as it has come.
    passing: String,
    started: Instant,
    step_started: Instant,
    /// When something was said last, where no line is drawn over.
    said: Instant,
}

impl Progress {
    /// Shows a build that begins now.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let (kept, passing) = (VecDeque::new(), String::new());
        Self { live: waiting::is_seen(), kept, passing, started: now, step_started: now, said: now }
    }

    /// Shows that a step begins.
    pub(super) fn step(&mut self, number: u32, count: u32, name: &str) {
        self.clear();
        self.kept.clear();
        self.passing.clear();
        self.step_started = Instant::now();
        self.said = self.step_started;
        output::note(&format!("[{number}/{count}] {name}"));
    }

    /// Shows a line of the step's output, which is harmless already.
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

    /// Shows a line that the next one stands in for, and that is harmless already.
    pub(super) fn passing(&mut self, line: String) {
        self.passing = line;
        self.tick();
    }

    /// Shows that a silent step goes on: the line is drawn anew; where none is drawn over, a line says from time to time how
    /// long the step has taken.
    pub(super) fn tick(&mut self) {
        let elapsed = self.step_started.elapsed();
        if self.live {
            let newest = self.kept.back().map_or("", String::as_str);
            let newest = if self.passing.is_empty() { newest } else { &self.passing };
            output::draw_line(&format!("    {}", waiting::sign(elapsed, newest)));
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

    /// Removes the line that is drawn over.
    pub(super) fn clear(&self) {
        if self.live {
            output::clear_line();
        }
    }

    /// Time that the build has taken, in words.
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
