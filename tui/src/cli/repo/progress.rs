//! What an import says as it goes.

use std::io::{self, IsTerminal};

use crate::cli::{failure::Failure, format::plain, output, table::truncate};

/// On a terminal one line that changes; elsewhere git's remarks, and what ends a step.
pub(super) struct Import {
    live: bool,
    /// Remarks that nothing has followed yet: should it fail, the error says them again.
    held: Vec<String>,
}

impl Import {
    pub(super) fn new() -> Self {
        Self { live: io::stderr().is_terminal() && output::is_smart(), held: vec![] }
    }

    /// It goes on.
    pub(super) fn line(&mut self, line: &str) {
        let text = plain(line);
        if self.live {
            let text = truncate(&text, output::stderr_width().saturating_sub(1));
            output::write_stderr(&format!("\r\x1b[K{text}"));
        } else if !line.contains('%') {
            self.held.push(text);
        } else {
            self.say_held();
            if line.contains("done") {
                output::note(&text);
            }
        }
    }

    /// It is over.
    pub(super) fn done(&mut self) {
        self.clear();
        self.say_held();
    }

    /// It has failed: says what the error does not.
    pub(super) fn failed(&mut self, failure: Failure) -> Failure {
        self.clear();
        self.held.retain(|remark| !failure.message.lines().any(|line| plain(line) == *remark));
        self.say_held();
        failure
    }

    fn say_held(&mut self) {
        self.held.drain(..).for_each(|remark| output::note(&remark));
    }

    fn clear(&self) {
        if self.live {
            output::write_stderr("\r\x1b[K");
        }
    }
}
