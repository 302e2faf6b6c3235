//! What a session or a pull request changed, in the whole window: its files, and the lines of the selected one.

mod file;
mod notes;
mod report;
#[cfg(test)]
mod tests;
mod window;

use std::mem;

use crate::{effect::Ticket, fleet::SessionKey, pull::PullKey, text};

pub use file::{File, Row};
pub use notes::{Note, NoteKind};
pub use report::{DiffReport, FileEnd, NewFile, NewRow, Side};
pub(crate) use window::wrap_at;
pub use window::{At, GUTTER, Window};

/// Text kept, in bytes; what comes later is told of and not kept.
const KEPT_MAX: usize = 16 << 20;
/// Most files kept.
const FILES_MAX: usize = 100_000;

/// Whose changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A session's working tree.
    Session(SessionKey),
    /// A pull request's.
    Pull(PullKey),
    /// A pull request's, from one revision to another.
    Between {
        /// Which pull request.
        pull: PullKey,
        /// Head commit of the one.
        old: String,
        /// Head commit of the other.
        new: String,
    },
}

impl Subject {
    /// The pull request whose lines are on the new side.
    #[must_use]
    pub fn pull(&self) -> Option<&PullKey> {
        match self {
            Self::Session(_) => None,
            Self::Pull(key) | Self::Between { pull: key, .. } => Some(key),
        }
    }
}

/// How reading it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// It comes.
    Going,
    /// All that is kept is here.
    Done,
    /// It cannot be had; why.
    Failed(String),
}

/// A diff being looked at.
#[derive(Debug)]
pub struct DiffView {
    /// Whose.
    pub subject: Subject,
    /// Of its stream.
    pub ticket: Ticket,
    /// How reading it stands.
    pub reading: Reading,
    /// Something that people should know; may be empty.
    pub remark: String,
    /// When it looked so, where the session is suspended.
    pub suspended_at: Option<i64>,
    /// The list is whole.
    pub listed: bool,
    files: Vec<File>,
    selected: usize,
    /// What of the selected file is shown.
    pub window: Window,
    /// What was said of the selected file, in the order of its rows.
    pub notes: Vec<Note>,
    /// The commit whose lines are on the new side; empty: none, or not known yet.
    pub commit: String,
    bytes: usize,
}

impl DiffView {
    /// One that nothing was read of yet.
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

    /// All files.
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

    /// The file in the new commit and the line of a row there; None: it has none.
    #[must_use]
    pub fn place_of(&self, row: &Row) -> Option<(&str, u32)> {
        let path = self.path()?;
        match row {
            Row::Line(Side::Both | Side::New, line, _) => Some((path, *line)),
            _ => None,
        }
    }

    /// The selected file's path in the new commit; None: it is not there, or no text.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.files.get(self.selected)?.place.as_deref()
    }

    /// The selected row, or the one that the selected note is about.
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

    /// The selected file, or what stands for it.
    #[must_use]
    pub fn title(&self) -> &str {
        self.files.get(self.selected).map_or("", |file| &file.path)
    }

    /// Lines added and removed, as far as they are known.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let counts = self.files.iter().filter_map(|file| file.counts);
        counts.fold((0, 0), |sum, counts| (sum.0 + counts.0, sum.1 + counts.1))
    }

    /// Takes news of its stream. True: no more is wanted of it.
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

    /// Goes to another file.
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
