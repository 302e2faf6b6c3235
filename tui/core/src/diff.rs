//! What a session or a pull request changed, in the whole window: its files, and the lines of the selected one.

use std::mem;

use crate::{effect::Ticket, fleet::SessionKey, pull::PullKey, text};

/// Text kept, in bytes; what comes later is told of and not kept.
const KEPT_MAX: usize = 16 << 20;
/// A line is cut after so many bytes.
const LINE_MAX: usize = 4096;
/// Longest path kept, in bytes.
const PATH_MAX: usize = 1024;
/// Most files kept.
const FILES_MAX: usize = 100_000;
/// Columns to the next tab stop.
const TAB: usize = 4;

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

/// News of an open diff.
#[derive(Clone, Debug)]
pub enum DiffReport {
    /// The commit whose lines are on the new side; of a working tree there is none.
    Commit(String),
    /// It begins: something that people should know, and when it looked so, where it is kept from a suspend.
    Start(String, Option<i64>),
    /// More of the list of files.
    Files(Vec<NewFile>),
    /// That was all of the list; whether there are more files than it has.
    Listed(bool),
    /// More lines of a file, by its number.
    Lines(usize, Vec<NewRow>),
    /// That was all of a file.
    FileEnd(usize, FileEnd),
    /// That was all.
    End,
    /// It cannot be had, or broke; why.
    Failed(String),
}

/// A file as its host lists it.
#[derive(Clone, Debug, Default)]
pub struct NewFile {
    /// added, deleted, modified, renamed, copied.
    pub status: String,
    /// Any bytes.
    pub old_path: Vec<u8>,
    /// The same unless it was renamed or copied.
    pub new_path: Vec<u8>,
    /// What became of its rights and kind; empty: nothing.
    pub mode: String,
}

/// What comes of a file's contents.
#[derive(Clone, Debug)]
pub enum NewRow {
    /// A hunk begins: first lines on both sides, and the text of its heading.
    Hunk(u32, u32, String),
    /// A line.
    Line {
        /// What became of it.
        side: Side,
        /// Any bytes, without the line feed.
        text: Vec<u8>,
        /// Begin and end, in bytes, of what changed.
        marks: Vec<(u32, u32)>,
        /// It is more of the line before.
        more: bool,
        /// It does not end with a line feed.
        open: bool,
    },
}

/// Which side a line is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Both.
    Both,
    /// The old one alone.
    Old,
    /// The new one alone.
    New,
}

/// How a file ended.
#[derive(Clone, Debug, Default)]
pub struct FileEnd {
    /// text, same, binary, too-large, missing.
    pub contents: String,
    /// Lines.
    pub added: u64,
    /// Lines.
    pub removed: u64,
    /// There is more of it than was sent.
    pub cut: bool,
}

/// A row of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// The heading of a hunk.
    Hunk(String),
    /// A line: its side, its number there (of both: the new one), its parts and whether they changed.
    Line(Side, u32, Vec<(bool, String)>),
    /// A remark of ours.
    Remark(String),
}

/// A changed file.
#[derive(Clone, Debug, Default)]
pub struct File {
    /// Where it is, and was.
    pub path: String,
    /// What became of it, in a letter.
    pub letter: char,
    /// Lines; None: not known yet.
    pub counts: Option<(u64, u64)>,
    rows: Vec<Row>,
    /// In the new commit; None: it is not there, or its name is no text.
    place: Option<String>,
    /// Numbers of the next line on both sides.
    next: (u32, u32),
    mode: String,
    ended: bool,
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
    /// When it looked so, where it is kept from a suspend.
    pub kept_at: Option<i64>,
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
            kept_at: None,
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
            DiffReport::Start(remark, kept_at) => (self.remark, self.kept_at) = (text::one_line(&remark, 400), kept_at),
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

impl File {
    fn new(file: NewFile) -> Self {
        let path = |bytes: &[u8]| text::one_line(&String::from_utf8_lossy(bytes), PATH_MAX);
        let (old, new) = (path(&file.old_path), path(&file.new_path));
        let letter = file.status.chars().next().map_or('?', |letter| letter.to_ascii_uppercase());
        let path = if old == new { new } else { format!("{old} → {new}") };
        let place = String::from_utf8(file.new_path).ok().filter(|_| file.status != "deleted");
        Self { path, place, letter, mode: text::one_line(&file.mode, 60), ..Self::default() }
    }

    /// The bytes that it takes.
    fn take(&mut self, row: NewRow) -> usize {
        match row {
            NewRow::Hunk(old, new, heading) => {
                self.next = (old, new);
                self.rows.push(Row::Hunk(text::one_line(&heading, 120)));
                64
            }
            // What is longer than a message is longer than a line is shown.
            NewRow::Line { more: true, .. } => 0,
            NewRow::Line { side, text, marks, open, .. } => {
                let number = if side == Side::Old { self.next.0 } else { self.next.1 };
                self.next.0 = self.next.0.saturating_add(u32::from(side != Side::New));
                self.next.1 = self.next.1.saturating_add(u32::from(side != Side::Old));
                let parts = parts(&text, &marks);
                let bytes = 64 + parts.iter().map(|(_, text)| text.len() + 32).sum::<usize>();
                self.rows.push(Row::Line(side, number, parts));
                if open {
                    self.rows.push(Row::Remark("no line feed at the end".into()));
                }
                bytes
            }
        }
    }

    fn end(&mut self, end: &FileEnd) {
        self.ended = true;
        let remark = match end.contents.as_str() {
            "binary" => "binary: no lines to show",
            "too-large" => "too large to compare",
            "missing" => "its contents were not kept: resume the session to see them",
            "text" if end.cut => "more than the console shows of a file; `pilothouse diff` shows all of it",
            "text" if self.rows.is_empty() => "empty",
            "same" if self.mode.is_empty() => "moved; nothing in it changed",
            _ => "",
        };
        if !self.mode.is_empty() {
            self.rows.insert(0, Row::Remark(mem::take(&mut self.mode)));
        }
        if !remark.is_empty() {
            self.rows.push(Row::Remark(remark.into()));
        }
        if matches!(end.contents.as_str(), "text" | "same") {
            self.counts = Some((end.added, end.removed));
        }
    }
}

/// A line made safe to draw, in parts that changed or did not.
fn parts(bytes: &[u8], marks: &[(u32, u32)]) -> Vec<(bool, String)> {
    let mut parts: Vec<(bool, String)> = vec![];
    let (mut at, mut column) = (0, 0);
    let bytes = &bytes[..bytes.len().min(LINE_MAX)];
    let mut put = |at: usize, c: char| {
        let changed = marks.iter().any(|(begin, end)| (*begin as usize..*end as usize).contains(&at));
        if parts.last().is_none_or(|(last, _)| *last != changed) {
            parts.push((changed, String::new()));
        }
        let Some((_, text)) = parts.last_mut() else { return };
        match c {
            '\t' => {
                let blanks = TAB - column % TAB;
                text.push_str(&" ".repeat(blanks));
                column += blanks;
            }
            c if text::harmless(c) => {
                text.push(c);
                column += 1;
            }
            _ => text.push('\u{fffd}'),
        }
    };
    for chunk in bytes.utf8_chunks() {
        for (offset, c) in chunk.valid().char_indices() {
            put(at + offset, c);
        }
        at += chunk.valid().len();
        if !chunk.invalid().is_empty() {
            put(at, '\u{fffd}');
            at += chunk.invalid().len();
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::Slot;

    fn view(files: usize, hunks: u32) -> DiffView {
        let subject = Subject::Session(SessionKey { host: 0, id: "a".into() });
        let mut diff = DiffView::new(subject, Ticket { slot: Slot::Diff, generation: 1 });
        let file =
            |n: usize| NewFile { status: "modified".into(), new_path: format!("{n}").into(), ..NewFile::default() };
        diff.report(DiffReport::Files((0..files).map(file).collect()));
        diff.report(DiffReport::Listed(false));
        for n in 0..files {
            for hunk in 0..hunks {
                let line = |text: &str| NewRow::Line {
                    side: Side::New,
                    text: text.into(),
                    marks: vec![],
                    more: false,
                    open: false,
                };
                let rows = vec![NewRow::Hunk(hunk, hunk, format!("@@ {hunk}")), line("a"), line("b"), line("c")];
                diff.report(DiffReport::Lines(n, rows));
            }
            let end = FileEnd { contents: "text".into(), added: u64::from(3 * hunks), ..FileEnd::default() };
            diff.report(DiffReport::FileEnd(n, end));
        }
        diff.report(DiffReport::End);
        diff
    }

    #[test]
    fn hunks_are_stepped_through_across_files() {
        let mut diff = view(2, 3);
        let mut places = vec![];
        for _ in 0..5 {
            places.push((diff.selected(), diff.first(5)));
            diff.step_hunk(true);
        }
        assert_eq!(places, [(0, 0), (0, 4), (0, 7), (1, 0), (1, 4)]);
        let mut back = vec![];
        for _ in 0..6 {
            back.push((diff.selected(), diff.first(5)));
            diff.step_hunk(false);
        }
        assert_eq!(back, [(1, 7), (1, 4), (1, 0), (0, 7), (0, 4), (0, 0)]);
    }

    #[test]
    fn files_are_stepped_through_and_scrolled() {
        let mut diff = view(3, 2);
        diff.step(100, 5);
        assert_eq!(diff.first(5), 3);
        diff.step_file(1);
        assert_eq!((diff.selected(), diff.first(5)), (1, 0));
        diff.step_file(9);
        diff.step_file(9);
        assert_eq!(diff.selected(), 2);
        diff.to_end(false);
        assert_eq!(diff.first(5), 3);
        assert_eq!(diff.counts(), (18, 0));
    }

    #[test]
    fn lines_are_harmless_and_keep_their_marks() {
        let shown = parts("a\tb\x1b[2J\u{fc} x".as_bytes(), &[(2, 3), (8, 9)]);
        let expected = [(false, "a   "), (true, "b"), (false, "\u{fffd}[2J\u{fc} x")];
        assert_eq!(shown.iter().map(|(m, t)| (*m, t.as_str())).collect::<Vec<_>>()[..2], expected[..2]);
        assert!(shown.iter().all(|(_, text)| text.chars().all(text::harmless)));
        assert_eq!(
            parts(b"caf\xe9!", &[(3, 4)]),
            [(false, "caf".into()), (true, "\u{fffd}".into()), (false, "!".into())]
        );
        assert_eq!(parts(b"x", &[(9, 3), (0, 99)]), [(true, "x".to_owned())]);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut diff = view(1, 0);
        diff.reading = Reading::Going;
        let line = NewRow::Line { side: Side::New, text: vec![b'x'; 4096], marks: vec![], more: false, open: false };
        let full = (0..10_000).position(|_| diff.report(DiffReport::Lines(0, vec![line.clone()])));
        assert!(full.is_some_and(|lines| lines < 5000), "{full:?}");
        assert_eq!(diff.reading, Reading::Done);
    }
}
