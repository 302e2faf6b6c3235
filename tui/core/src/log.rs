//! A log in the whole window, a session's or a check's: plain lines, the newest last.

use pilothouse_text::Sieve;

use crate::{fleet::SessionKey, fuzzy::Search, pull::PullKey, report::LogReport, text, ticket::Ticket};

/// Most lines of a log that are kept; the oldest go.
const LINES_MAX: usize = 50_000;
/// Bytes after which a line is cut.
const LINE_MAX: usize = 4096;

/// A log that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// What is kept of the terminal of a session's agent.
    Agent(SessionKey),
    /// The serial console of a session's VM.
    Serial(SessionKey),
    /// What a check of a pull request prints, while it runs and afterwards.
    Check {
        /// The pull request of the check.
        pull: PullKey,
        /// Id of the commit that is checked.
        commit: String,
        /// Name of the check.
        name: String,
    },
}

/// State of reading a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The log is being read.
    Going,
    /// The whole log is here.
    Done,
    /// The log cannot be had; why.
    Failed(String),
}

/// A log that is looked at.
pub struct LogView {
    /// The log that is read.
    pub source: Source,
    /// Ticket of the log's stream.
    pub ticket: Ticket,
    /// State of reading the log.
    pub reading: Reading,
    /// Bytes of a line that has not ended.
    rest: Vec<u8>,
    lines: Vec<String>,
    /// Words that the lines must have; empty: all are shown.
    pub filter: crate::edit::Field,
    /// Whether the filter is being typed.
    pub filtering: bool,
    /// Numbers of the lines that match the filter; `None`: all do.
    matching: Option<Vec<usize>>,
    /// Number of the first line that is shown; `None`: the log follows its end.
    top: Option<usize>,
}

impl LogView {
    /// A log of which nothing was read yet.
    #[must_use]
    pub fn new(source: Source, ticket: Ticket) -> Self {
        Self {
            source,
            ticket,
            reading: Reading::Going,
            rest: Vec::new(),
            lines: Vec::new(),
            filter: crate::edit::Field::line(),
            filtering: false,
            matching: None,
            top: None,
        }
    }

    /// Takes news of the log's stream.
    pub fn report(&mut self, report: LogReport) {
        match report {
            LogReport::Data(bytes) => self.take(&bytes),
            LogReport::End => {
                self.end_line();
                self.reading = Reading::Done;
            }
            LogReport::Failed(why) => self.reading = Reading::Failed(text::one_line(&why, 1024)),
        }
        self.refilter();
    }

    fn take(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|b| *b == b'\n') {
            let room = (4 * LINE_MAX).saturating_sub(self.rest.len());
            self.rest.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        if self.rest.is_empty() {
            return;
        }
        let line = plain(&std::mem::take(&mut self.rest));
        if self.lines.len() == LINES_MAX {
            // Forget a good part at once: forgetting one by one moves all of them each time.
            self.lines.drain(..LINES_MAX / 8);
        }
        self.lines.push(line);
    }

    /// Finds the matching lines anew.
    pub fn refilter(&mut self) {
        if self.filter.is_empty() {
            self.matching = None;
            return;
        }
        let mut search = Search::new(self.filter.text());
        self.matching = Some((0..self.lines.len()).filter(|&n| search.is_in(&self.lines[n])).collect());
    }

    /// Number of lines that can be shown.
    #[must_use]
    pub fn len(&self) -> usize {
        self.matching.as_ref().map_or(self.lines.len(), Vec::len)
    }

    /// Whether no lines can be shown.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number from 0 of the first line that is shown in `height` rows.
    #[must_use]
    pub fn first(&self, height: usize) -> usize {
        let last = self.len().saturating_sub(height);
        self.top.map_or(last, |top| top.min(last))
    }

    /// Lines that are shown in `height` rows.
    pub fn shown(&self, height: usize) -> impl Iterator<Item = &str> {
        let first = self.first(height);
        (first..(first + height).min(self.len())).filter_map(|n| {
            let n = self.matching.as_ref().map_or(Some(n), |m| m.get(n).copied())?;
            self.lines.get(n).map(String::as_str)
        })
    }

    /// Whether the log follows its end.
    #[must_use]
    pub fn follows(&self) -> bool {
        self.top.is_none()
    }

    /// Scrolls down by this many lines; at its end the log follows what comes.
    pub fn scroll(&mut self, down: isize, height: usize) {
        self.go(self.first(height).saturating_add_signed(down), height);
    }

    /// Scrolls to the beginning.
    pub fn to_top(&mut self) {
        self.top = Some(0);
    }

    /// Scrolls to the end and follows what comes.
    pub fn to_end(&mut self) {
        self.top = None;
    }

    fn go(&mut self, first: usize, height: usize) {
        let last = self.len().saturating_sub(height);
        self.top = (first < last).then_some(first);
    }
}

/// A line of terminal output without what moves cursors and sets colours; what a carriage return went over is dropped.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches(['\r', '\n']);
    let text = text.rsplit('\r').next().unwrap_or_default();
    let (mut out, mut sieve) = (String::new(), Sieve::default());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' => skip_escape(&mut chars),
            '\t' => out.push_str("    "),
            c => out.extend(sieve.pass(c)),
        }
        if out.len() > LINE_MAX {
            break;
        }
    }
    out
}

fn skip_escape(chars: &mut std::iter::Peekable<std::str::Chars>) {
    match chars.next() {
        Some('[') => while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {},
        Some(']' | 'P' | '_' | '^' | 'X') => {
            while let Some(c) = chars.next() {
                if c == '\x07' || (c == '\x1b' && chars.next_if_eq(&'\\').is_some()) {
                    break;
                }
            }
        }
        Some('(' | ')' | '#' | '%') => {
            chars.next();
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ticket::Slot;

    fn log(data: &[&[u8]]) -> LogView {
        let ticket = Ticket { slot: Slot::Log, generation: 1 };
        let mut log = LogView::new(Source::Agent(SessionKey { host: crate::samples::host(0), id: "a".into() }), ticket);
        for bytes in data {
            log.report(LogReport::Data(bytes.to_vec()));
        }
        log.report(LogReport::End);
        log
    }

    #[test]
    fn lines_are_plain_and_may_come_in_parts() {
        let log = log(&[b"\x1b[1;31mred\x1b[m one\r\nt", b"wo\x1b]0;title\x07\n10%\r20%\rdone\nrest"]);
        assert_eq!(log.shown(10).collect::<Vec<_>>(), ["red one", "two", "done", "rest"]);
    }

    #[test]
    fn it_follows_the_end_until_moved() {
        let mut log = log(&[b"1\n2\n3\n4\n5\n"]);
        assert_eq!(log.shown(2).collect::<Vec<_>>(), ["4", "5"]);
        log.scroll(-1, 2);
        assert_eq!(log.shown(2).collect::<Vec<_>>(), ["3", "4"]);
        log.to_top();
        assert_eq!(log.first(2), 0);
        log.scroll(100, 2);
        assert_eq!(log.shown(2).collect::<Vec<_>>(), ["4", "5"]);
    }

    #[test]
    fn a_filter_keeps_what_matches() {
        let mut log = log(&[b"boot ok\npanic: oops\nboot again\n"]);
        log.filter.insert("boot");
        log.refilter();
        assert_eq!(log.shown(9).collect::<Vec<_>>(), ["boot ok", "boot again"]);
    }
}
