//! How a build goes, on stderr: steps, and under the last one a living line on a terminal, plain lines elsewhere.

use std::{
    collections::VecDeque,
    io::{self, IsTerminal},
    time::Instant,
};

use crate::cli::{
    failure::Failure,
    format::micros,
    output,
    table::{Tone, truncate},
};

/// Lines of a step's output kept for the case that it fails.
const KEPT_LINES: usize = 200;

/// What is shown of a build.
pub(super) struct Progress {
    live: bool,
    /// Of the step under way, the newest last.
    kept: VecDeque<String>,
    started: Instant,
    step_started: Instant,
}

impl Progress {
    /// Of a build that begins now.
    pub(super) fn new() -> Self {
        let live = io::stderr().is_terminal() && output::is_smart();
        let now = Instant::now();
        Self { live, kept: VecDeque::new(), started: now, step_started: now }
    }

    /// A step begins.
    pub(super) fn step(&mut self, number: u32, count: u32, name: &str) {
        self.clear();
        self.kept.clear();
        self.step_started = Instant::now();
        output::note(&format!("[{number}/{count}] {name}"));
    }

    /// A line of its output; harmless already.
    pub(super) fn output(&mut self, line: String) {
        if !self.live {
            output::note(&format!("      {line}"));
        }
        if self.kept.len() == KEPT_LINES {
            self.kept.pop_front();
        }
        self.kept.push_back(line);
        self.tick();
    }

    /// Draws the living line anew: a step that says nothing is seen to go on.
    pub(super) fn tick(&self) {
        if self.live {
            let newest = self.kept.back().map_or("", String::as_str);
            let line = format!("      {} s  {newest}", self.step_started.elapsed().as_secs());
            let line = truncate(&line, output::stderr_width().saturating_sub(1));
            output::write_stderr(&format!("\r\x1b[K{}", Tone::Dim.paint(&line, output::wants_colour())));
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
            output::write_stderr("\r\x1b[K");
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
