//! Carries drafted comments from one revision to another: to where their lines are now, if these are unchanged.

use crate::{
    diff::{DiffReport, NewFile, NewRow, Side},
    draft::{Draft, Place},
    pull::PullKey,
    ticket::Ticket,
};

/// Differences between two revisions, read for the lines that were commented on.
pub struct Carry {
    /// Ticket of the stream that reads them.
    pub ticket: Ticket,
    /// The pull request whose comments are carried.
    pub key: PullKey,
    /// Id of the commit whose lines the comments are on.
    pub old: String,
    /// Id of the commit that the comments are carried to.
    pub new: String,
    lines: Vec<Line>,
    /// For each changed file, the places in `lines` of its lines.
    files: Vec<Vec<usize>>,
    /// Numbers of the next line on both sides, of the file that is being read.
    next: (u32, u32),
    /// Whether the list of files was cut, so that nothing can be said of those that are not in it.
    cut: bool,
}

/// Most changed files that are looked at.
const FILES_MAX: usize = 100_000;

/// A line that was commented on.
struct Line {
    /// Path and number of the line before.
    was: (String, u32),
    /// Path of the line's file now.
    path: String,
    line: u32,
    /// Number of lines by which the line was moved by what was read so far.
    offset: i64,
    now: Now,
}

/// Where a line is now.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Now {
    /// It is not known yet: where it was, unless something is heard of it.
    Open,
    /// The line has this path and number.
    At(String, u32),
    /// The line was changed, or is gone.
    Gone,
}

impl Carry {
    /// Carries those comments of a draft that are on lines of `old`.
    #[must_use]
    pub fn new(ticket: Ticket, key: PullKey, old: &str, new: &str, draft: &Draft) -> Self {
        let lines = draft.comments.iter().filter_map(|comment| match &comment.place {
            Place::Line { path, line, head, .. } if head == old => {
                Some(Line { was: (path.clone(), *line), path: path.clone(), line: *line, offset: 0, now: Now::Open })
            }
            _ => None,
        });
        let (lines, files) = (lines.collect(), vec![]);
        Self { ticket, key, old: old.into(), new: new.into(), lines, files, next: (0, 0), cut: false }
    }

    /// Takes news of the stream. `Some`: the stream is over; whether it was read to its end.
    pub fn report(&mut self, report: DiffReport) -> Option<bool> {
        match report {
            DiffReport::Files(files) => files.iter().for_each(|file| self.file(file)),
            DiffReport::Listed(cut) => self.cut |= cut,
            DiffReport::Lines(number, rows) => rows.into_iter().for_each(|row| self.row(number, row)),
            DiffReport::FileEnd(number, end) => {
                let known = !end.cut && matches!(&*end.contents, "text" | "same");
                self.file_end(number, known);
            }
            DiffReport::End => return Some(true),
            DiffReport::Failed(_) => return Some(false),
            DiffReport::Commit(_) | DiffReport::Start(..) => {}
        }
        None
    }

    fn file(&mut self, file: &NewFile) {
        if self.files.len() == FILES_MAX {
            self.cut = true;
            return;
        }
        let of_file = self.lines.iter().enumerate().filter(|(_, line)| line.path.as_bytes() == file.old_path);
        // A copy leaves its original where it is.
        let of_file: Vec<usize> = match &*file.status {
            "copied" | "added" => vec![],
            _ => of_file.map(|(n, _)| n).collect(),
        };
        for &n in &of_file {
            match (&*file.status, std::str::from_utf8(&file.new_path)) {
                ("deleted", _) | (_, Err(_)) => self.lines[n].now = Now::Gone,
                // Its lines are told of below.
                (_, Ok(path)) => self.lines[n].path = path.into(),
            }
        }
        self.files.push(of_file);
    }

    fn row(&mut self, number: usize, row: NewRow) {
        let Some(of_file) = self.files.get(number) else { return };
        let (old, new) = self.next;
        let lines = &mut self.lines;
        let mut open = |each: &mut dyn FnMut(&mut Line)| {
            of_file.iter().for_each(|&n| {
                if let Some(line) = lines.get_mut(n).filter(|line| line.now == Now::Open) {
                    each(line);
                }
            });
        };
        match row {
            NewRow::Hunk(old, new, _) => {
                open(&mut |line| {
                    if line.line < old {
                        line.settle();
                    }
                });
                self.next = (old, new);
            }
            // More of the line before.
            NewRow::Line { more: true, .. } => {}
            NewRow::Line { side, .. } => {
                if side != Side::New {
                    open(&mut |line| {
                        if line.line == old {
                            line.now = if side == Side::Both { Now::At(line.path.clone(), new) } else { Now::Gone };
                        }
                    });
                }
                let next = (old + u32::from(side != Side::New), new + u32::from(side != Side::Old));
                open(&mut |line| {
                    if line.line >= next.0 {
                        line.offset = i64::from(next.1) - i64::from(next.0);
                    }
                });
                self.next = next;
            }
        }
    }

    fn file_end(&mut self, number: usize, known: bool) {
        for &n in self.files.get(number).into_iter().flatten() {
            if let Some(line) = self.lines.get_mut(n).filter(|line| line.now == Now::Open) {
                if known { line.settle() } else { line.now = Now::Gone }
            }
        }
        self.next = (0, 0);
    }

    /// Moves the comments of a draft whose lines are unchanged. Returns how many were moved, and how many stay with the old
    /// revision because theirs are not.
    pub fn apply(self, draft: &mut Draft) -> (usize, usize) {
        let mut counts = (0, 0);
        let listed: Vec<usize> = self.files.iter().flatten().copied().collect();
        let mut lines: Vec<Line> = self.lines;
        for (n, line) in lines.iter_mut().enumerate().filter(|(_, line)| line.now == Now::Open) {
            // What is not among the changed files is as it was.
            if listed.contains(&n) || self.cut { line.now = Now::Gone } else { line.settle() }
        }
        for comment in &mut draft.comments {
            if let Place::Line { path, line, head, .. } = &mut comment.place
                && *head == self.old
            {
                // What was drafted since is carried the next time.
                let known = lines.iter().find(|known| known.was.0 == *path && known.was.1 == *line);
                match known.map(|line| &line.now) {
                    Some(Now::At(to, at)) => {
                        (*path, *line, *head) = (to.clone(), *at, self.new.clone());
                        counts.0 += 1;
                    }
                    Some(_) => counts.1 += 1,
                    None => {}
                }
            }
        }
        draft.comments.sort_by(|a, b| a.place.cmp(&b.place));
        counts
    }
}

impl Line {
    /// Settles where the line is: nothing more is changed before it.
    fn settle(&mut self) {
        let at = u32::try_from(i64::from(self.line) + self.offset).ok().filter(|at| *at > 0);
        self.now = at.map_or(Now::Gone, |at| Now::At(self.path.clone(), at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{diff::FileEnd, ticket::Slot};

    /// Comments on these lines of `a.rs` after what is told of it: path, line and commit.
    fn carried(lines: &[u32], reports: Vec<DiffReport>) -> Vec<(String, u32, String)> {
        let mut draft = Draft::default();
        for line in lines {
            let place = Place::Line { path: "a.rs".into(), line: *line, head: "old".into(), quote: "x".into() };
            assert!(draft.finish(place, "why?"));
        }
        let key = PullKey { host: crate::samples::host(0), repository: "widgets".into(), number: 12 };
        let mut carry = Carry::new(Ticket { slot: Slot::Carry, generation: 1 }, key, "old", "new", &draft);
        let ends: Vec<_> = reports.into_iter().filter_map(|report| carry.report(report)).collect();
        assert_eq!(ends, [true]);
        carry.apply(&mut draft);
        let place = |place: Place| match place {
            Place::Line { path, line, head, .. } => (path, line, head),
            Place::Thread(_) => unreachable!(),
        };
        let mut places: Vec<_> = draft.comments.into_iter().map(|comment| place(comment.place)).collect();
        places.sort_by_key(|place| place.1);
        places
    }

    fn file(status: &str, old: &str, new: &str) -> DiffReport {
        let (old_path, new_path) = (old.into(), new.into());
        DiffReport::Files(vec![NewFile { status: status.into(), old_path, new_path, mode: String::new() }])
    }

    fn rows(text: &str) -> Vec<NewRow> {
        let row = |row: &str| match row.split_once(' ') {
            Some((old, new)) => NewRow::Hunk(old.parse().unwrap(), new.parse().unwrap(), String::new()),
            None => {
                let side = match row {
                    "+" => Side::New,
                    "-" => Side::Old,
                    _ => Side::Both,
                };
                NewRow::Line { side, text: vec![], marks: vec![], more: row == "=>", open: false }
            }
        };
        text.split(',').map(row).collect()
    }

    fn end(contents: &str, cut: bool) -> DiffReport {
        DiffReport::FileEnd(0, FileEnd { contents: contents.into(), added: 0, removed: 0, cut })
    }

    #[test]
    fn unchanged_lines_are_found_where_they_are_now() {
        // 10 to 12 stay, 13 goes, three lines come; at 30 two lines go.
        let changed = rows("10 10,=,=,=>,=,-,+,+,+,=,30 32,=,-,-,=");
        let reports = vec![
            file("modified", "a.rs", "a.rs"),
            DiffReport::Listed(false),
            DiffReport::Lines(0, changed),
            end("text", false),
            DiffReport::End,
        ];
        let told: Vec<_> =
            carried(&[3, 11, 13, 14, 20, 31, 33, 90], reports).into_iter().map(|(_, at, head)| (at, head)).collect();
        let new = |line: u32| (line, "new".to_owned());
        let old = |line: u32| (line, "old".to_owned());
        assert_eq!(told, [new(3), new(11), old(13), new(16), new(22), old(31), new(33), new(90)]);
    }

    #[test]
    fn files_that_are_not_listed_are_unchanged_and_renamed_ones_are_followed() {
        let path = |reports| carried(&[5], reports).remove(0);
        let whole = |path: &str, head: &str| (path.to_owned(), 5, head.to_owned());
        let listed = |file: DiffReport| vec![file, DiffReport::Listed(false), end("same", false), DiffReport::End];
        assert_eq!(path(listed(file("modified", "b.rs", "b.rs"))), whole("a.rs", "new"));
        assert_eq!(path(listed(file("renamed", "a.rs", "c.rs"))), whole("c.rs", "new"));
        assert_eq!(path(listed(file("copied", "a.rs", "c.rs"))), whole("a.rs", "new"));
        assert_eq!(path(listed(file("deleted", "a.rs", "a.rs"))), whole("a.rs", "old"));
        assert_eq!(path(vec![DiffReport::Listed(true), DiffReport::End]), whole("a.rs", "old"));
        for end in [end("text", true), end("too-large", false)] {
            assert_eq!(path(vec![file("modified", "a.rs", "a.rs"), end, DiffReport::End]), whole("a.rs", "old"));
        }
    }
}
