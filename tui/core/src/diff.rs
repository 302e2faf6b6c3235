//! What a session or a pull request changed, in the whole window: its files, and the lines of the selected one.

mod file;
mod report;
#[cfg(test)]
mod tests;

use std::mem;

use crate::{effect::Ticket, fleet::SessionKey, pull::PullKey, text};

pub use file::{File, Row};
pub use report::{DiffReport, FileEnd, NewFile, NewRow, Side};

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
    /// First row shown of the selected file.
    top: usize,
    /// The selected row of it.
    cursor: usize,
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
            top: 0,
            cursor: 0,
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

    /// Number of the first row shown, from 0, in so many rows.
    #[must_use]
    pub fn first(&self, height: usize) -> usize {
        self.top.min(self.rows().len().saturating_sub(height))
    }

    /// The rows of the selected file.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        self.files.get(self.selected).map_or(&[], |file| &file.rows)
    }

    /// Number of the selected row, from 0.
    #[must_use]
    pub fn cursor(&self) -> usize {
        self.cursor.min(self.rows().len().saturating_sub(1))
    }

    /// The file in the new commit and the line of a row there; None: it has none.
    #[must_use]
    pub fn place_of(&self, row: &Row) -> Option<(&str, u32)> {
        let path = self.files.get(self.selected)?.place.as_deref()?;
        match row {
            Row::Line(Side::Both | Side::New, line, _) => Some((path, *line)),
            _ => None,
        }
    }

    /// The same of the selected row.
    #[must_use]
    pub fn place(&self) -> Option<(&str, u32)> {
        self.place_of(self.rows().get(self.cursor())?)
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

    /// Selects a row so many further down; where `height` rows are shown, it is among them.
    pub fn step(&mut self, down: isize, height: usize) {
        let to = self.cursor().saturating_add_signed(down).min(self.rows().len().saturating_sub(1));
        let first = self.first(height);
        (self.cursor, self.top) = (to, first.clamp((to + 1).saturating_sub(height.max(1)), to));
    }

    /// Goes to the first row, or the last one.
    pub fn to_end(&mut self, top: bool) {
        self.go_to(if top { 0 } else { usize::MAX });
    }

    fn go_to(&mut self, row: usize) {
        (self.cursor, self.top) = (row, row);
    }

    /// Goes to another file.
    pub fn step_file(&mut self, by: isize) {
        let to = self.selected.saturating_add_signed(by).min(self.files.len().saturating_sub(1));
        if mem::replace(&mut self.selected, to) != to {
            self.go_to(0);
        }
    }

    /// Goes to the next hunk, or the one before, also of another file.
    pub fn step_hunk(&mut self, forward: bool) {
        let at = self.cursor();
        let hunks = self.rows().iter().enumerate().filter(|(_, row)| matches!(row, Row::Hunk(_))).map(|(n, _)| n);
        let found = if forward { hunks.clone().find(|n| *n > at) } else { hunks.clone().rfind(|n| *n < at) };
        match found {
            Some(row) => self.go_to(row),
            None if forward && self.selected + 1 < self.files.len() => self.step_file(1),
            None if !forward && self.selected > 0 => {
                self.step_file(-1);
                let rows = self.rows();
                self.go_to(rows.iter().rposition(|row| matches!(row, Row::Hunk(_))).unwrap_or(0));
            }
            None => {}
        }
    }
}
