//! What an import says as it goes.

use std::{pin::pin, time::Instant};

use tokio::time::interval;

use crate::cli::{format::plain, output, waiting};

/// Shows how an import goes. On a terminal one line that changes; elsewhere what ends a step. git's remarks are not kept: where
/// it fails the error has them.
pub(super) struct Import {
    live: bool,
    newest: String,
    started: Instant,
}

impl Import {
    pub(super) fn new() -> Self {
        Self { live: waiting::is_seen(), newest: String::new(), started: Instant::now() }
    }

    /// Shows a line of git's progress.
    pub(super) fn line(&mut self, line: &str) {
        self.newest = plain(line);
        if !self.live && line.contains('%') && line.contains("done") {
            output::note(&self.newest);
        }
        self.draw();
    }

    /// Waits for `work`, and shows meanwhile that it goes on.
    pub(super) async fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        let (mut work, mut ticks) = (pin!(work), interval(waiting::TICK));
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = ticks.tick() => self.draw(),
            }
        }
    }

    fn draw(&self) {
        if self.live {
            output::draw_line(&waiting::sign(self.started.elapsed(), &self.newest));
        }
    }

    /// Removes what is shown: the import is over, well or not.
    pub(super) fn over(&self) {
        output::clear_line();
    }
}
