//! What an import says as it goes.

use std::io::{self, IsTerminal};

use crate::cli::{format::plain, output, table::truncate};

/// On a terminal one line that changes; elsewhere what ends a step. git's remarks are not kept: where it fails the error has
/// them.
pub(super) struct Import {
    live: bool,
}

impl Import {
    pub(super) fn new() -> Self {
        Self { live: io::stderr().is_terminal() && output::is_smart() }
    }

    /// It goes on.
    pub(super) fn line(&self, line: &str) {
        let text = plain(line);
        if self.live {
            let text = truncate(&text, output::stderr_width().saturating_sub(1));
            output::write_stderr(&format!("\r\x1b[K{text}"));
        } else if line.contains('%') && line.contains("done") {
            output::note(&text);
        }
    }

    /// It is over, well or not.
    pub(super) fn over(&self) {
        if self.live {
            output::write_stderr("\r\x1b[K");
        }
    }
}
