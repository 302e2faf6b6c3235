//! What a session or a pull request changed, in the whole window: its files, and the lines of the selected one.

mod file;
mod notes;
mod report;
#[cfg(test)]
mod tests;
mod window;

use std::mem;

use crate::{fleet::SessionKey, pull::PullKey, text, ticket::Ticket};

pub use file::{File, Row};
pub use notes::{Note, NoteKind};
pub use report::{DiffReport, FileEnd, NewFile, NewRow, Side};
pub(crate) use window::wrap_at;
pub use window::{At, GUTTER, Window};

/// Most bytes of text that are kept; what comes later is told of and not kept.
const KEPT_MAX: usize = 16 << 20;
/// Most files that are kept.
const FILES_MAX: usize = 100_000;

/// Subject of a diff: whose changes it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Changes in a session's working tree.
    Session(SessionKey),
    /// Changes of a pull request.
    Pull(PullKey),
    /// Changes of a pull request from one revision to another.
    Between {
        /// The pull request.
        pull: PullKey,
        /// Id of the head commit of the older revision.
        old: String,
        /// Id of the head commit of the newer revision.
        new: String,
    },
}

impl Subject {
    /// The pull request whose lines are on the new side; None: a session's are.
    #[must_use]
    pub fn pull(&self) -> Option<&PullKey> {
        match self {
            Self::Session(_) => None,
            Self::Pull(key) | Self::Between { pull: key, .. } => Some(key),
        }
    }
}

/// State of reading a diff.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The diff is being read.
    Going,
    /// All that is kept of the diff is here.
    Done,
    /// The diff cannot be had; why.
    Failed(String),
}

/// A diff that is looked at.
#[derive(Debug)]
pub struct DiffView {
    /// Subject of the diff.
    pub subject: Subject,
    /// Ticket of the diff's stream.
    pub ticket: Ticket,
    /// State of reading the diff.
    pub reading: Reading,
    /// Remark that people should know; may be empty.
    pub remark: String,
    /// When the session was suspended, where its changes are as of then.
    pub suspended_at: Option<i64>,
    /// Whether the list of files is whole.
    pub listed: bool,
    files: Vec<File>,
    selected: usize,
    /// Part of the selected file that is shown.
    pub window: Window,
    /// Threads and drafts on the selected file, in the order of its rows.
    pub notes: Vec<Note>,
    /// Id of the commit whose lines are on the new side; empty: none, or not known yet.
    pub commit: String,
    bytes: usize,
}

impl DiffView {
    /// A diff of which nothing was read yet.
    #[must_use]
    pub fn new(subject: Subject, ticket: Ticket) -> Self {
        Self {
            subject,
            ticket,
            reading: Reading::Going,
            remark: String::new(),
            suspended_at: None,
            listed: false,
            files: vec![],
            selected: 0,
            window: Window::default(),
            notes: vec![],
            commit: String::new(),
            bytes: 0,
        }
    }

    /// The changed files, as far as they are listed.
    #[must_use]
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// Number of the selected file, from 0.
    #[must_use]
    pub fn selected(&self) -> usize {
        self.selected
    }

    /// The rows of the selected file.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        self.files.get(self.selected).map_or(&[], |file| &file.rows)
    }

    /// Path of the selected file in the new commit, and number of the row's line there; None: it has none.
    #[must_use]
    pub fn place_of(&self, row: &Row) -> Option<(&str, u32)> {
        let path = self.path()?;
        match row {
            Row::Line(Side::Both | Side::New, line, _) => Some((path, *line)),
            _ => None,
        }
    }

    /// Path of the selected file in the new commit; None: it is not there, or no text.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.files.get(self.selected)?.place.as_deref()
    }

    /// The selected row, or the row that the selected note is about.
    #[must_use]
    pub fn row(&self) -> Option<&Row> {
        let number = match self.at() {
            At::Row(number) => number,
            At::Note(number) => self.notes.get(number)?.row?,
        };
        self.rows().get(number)
    }

    /// Whether more of the selected file may come.
    #[must_use]
    pub fn is_coming(&self) -> bool {
        self.reading == Reading::Going && !self.files.get(self.selected).is_some_and(|file| file.ended)
    }

    /// Title of the selected file, or what stands for it.
    #[must_use]
    pub fn title(&self) -> &str {
        self.files.get(self.selected).map_or("", |file| &file.path)
    }

    /// Numbers of lines added and removed, as far as they are known.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let counts = self.files.iter().filter_map(|file| file.counts);
        counts.fold((0, 0), |sum, counts| (sum.0 + counts.0, sum.1 + counts.1))
    }

    /// Takes news of the diff's stream. True: no more is wanted of it.
    pub fn report(&mut self, report: DiffReport) -> bool {
        match report {
            DiffReport::Commit(id) => self.commit = text::one_line(&id, 64),
            DiffReport::Start(remark, suspended_at) => {
                (self.remark, self.suspended_at) = (text::one_line(&remark, 400), suspended_at)
            }
            DiffReport::Files(files) => {
                let room = FILES_MAX.saturating_sub(self.files.len());
                self.files.extend(files.into_iter().take(room).map(File::new));
            }
            DiffReport::Listed(cut) => {
                self.listed = true;
                if cut {
                    self.remark = "there are more changed files than are listed".into();
                }
            }
            DiffReport::Lines(number, rows) => {
                if let Some(file) = self.files.get_mut(number) {
                    self.bytes += rows.into_iter().map(|row| file.take(row)).sum::<usize>();
                }
            }
            DiffReport::FileEnd(number, end) => {
                if let Some(file) = self.files.get_mut(number) {
                    file.end(&end);
                }
            }
            DiffReport::End => self.reading = Reading::Done,
            DiffReport::Failed(why) => self.reading = Reading::Failed(text::one_line(&why, 1024)),
        }
        let full = self.bytes > KEPT_MAX && self.reading == Reading::Going;
        if full {
            self.reading = Reading::Done;
            for file in self.files.iter_mut().filter(|file| !file.ended) {
                file.rows.push(Row::Remark("more than the console keeps; `pilothouse diff` shows all of it".into()));
            }
        }
        full
    }

    /// Selects the file this many places on.
    pub fn step_file(&mut self, by: isize) {
        let to = self.selected.saturating_add_signed(by).min(self.files.len().saturating_sub(1));
        if mem::replace(&mut self.selected, to) != to {
            self.notes.clear();
            self.window.reset();
        }
    }

    /// Goes to the next hunk, or the one before, also of another file.
    pub fn step_hunk(&mut self, forward: bool) {
        let at = match self.at() {
            At::Row(row) => row,
            At::Note(note) => self.notes.get(note).and_then(|note| note.row).unwrap_or(usize::MAX),
        };
        let is_hunk = |(n, row): (usize, &Row)| matches!(row, Row::Hunk(_)).then_some(n);
        let mut hunks = self.rows().iter().enumerate().filter_map(is_hunk);
        let found = if forward { hunks.find(|n| *n > at) } else { hunks.rfind(|n| *n < at) };
        match found {
            Some(row) => self.go_to_row(row),
            None if forward && self.selected + 1 < self.files.len() => self.step_file(1),
            None if !forward && self.selected > 0 => {
                self.step_file(-1);
                let rows = self.rows();
                self.go_to_row(rows.iter().rposition(|row| matches!(row, Row::Hunk(_))).unwrap_or(0));
            }
            None => {}
        }
    }
}
