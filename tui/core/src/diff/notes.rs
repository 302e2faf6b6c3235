//! What was said of a file, below the rows that it is about: threads and drafts.

use super::{DiffView, Row, Side};
use crate::{
    draft::{Draft, Place},
    pull::Thread,
    text,
};

/// Number of columns before a note's text.
const INDENT: usize = 9;

/// A thread or a draft that stands below its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Number of the row that the note stands below; None: its line is not here, so that it stands at the end.
    pub row: Option<usize>,
    /// What the note shows.
    pub kind: NoteKind,
    /// Heading of the note: whose it is, and of what.
    pub heading: String,
    /// Paragraphs of the note, each with who says it.
    pub body: Vec<String>,
}

/// What a note shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoteKind {
    /// The thread of this id; whether it is resolved.
    Thread(u64, bool),
    /// A comment on this place that was not sent yet.
    Draft(Place),
}

impl Note {
    /// Lines of the note in `columns` columns: heading first.
    #[must_use]
    pub fn lines(&self, columns: usize) -> Vec<String> {
        let room = columns.saturating_sub(INDENT + 1).max(8);
        let body = self.body.iter().flat_map(|body| text::wrap(body, room));
        std::iter::once(text::fit(&self.heading, room)).chain(body).collect()
    }
}

impl DiffView {
    /// Makes the notes of the selected file anew. What is selected stays selected where only other notes come and go.
    pub fn set_notes(&mut self, threads: &[Thread], draft: Option<&Draft>) {
        let Some(path) = self.path().map(str::to_owned) else { return self.notes.clear() };
        let of_file = threads.iter().filter(|thread| thread.path == path);
        let mut notes: Vec<Note> = vec![];
        for thread in of_file {
            notes.push(self.thread(thread));
            let answers = draft.into_iter().flat_map(|draft| &draft.comments);
            let row = notes.last().and_then(|note| note.row);
            let answers = answers.filter(|comment| comment.place == Place::Thread(thread.id));
            notes.extend(answers.map(|comment| drafted(row, comment, "your answer")));
        }
        for comment in draft.into_iter().flat_map(|draft| &draft.comments) {
            let Place::Line { path: of, line, head, quote } = &comment.place else { continue };
            if *of == path {
                let here = *head == self.commit;
                let row = if here { self.row_of_line(*line) } else { None };
                let what = if here {
                    "your comment".to_owned()
                } else {
                    format!("your comment on a line that has changed: {quote}")
                };
                notes.push(drafted(row, comment, &what));
            }
        }
        // Stable: what was said of one line stays in its order.
        notes.sort_by_key(|note| note.row.unwrap_or(usize::MAX));
        self.notes = notes;
    }

    fn thread(&self, thread: &Thread) -> Note {
        let here = thread.head == self.commit;
        let row = if here { self.row_of_line(thread.line) } else { self.row_of_text(thread) };
        let line = if thread.line == 0 || row.is_some() {
            String::new()
        } else {
            format!(" on line {}: {}", thread.line, thread.quote)
        };
        let of = if here { String::new() } else { format!(" of revision {}", thread.revision) };
        let settled = !thread.resolved_by.is_empty();
        let by = if settled { format!(", resolved by {}", thread.resolved_by) } else { String::new() };
        // What is settled takes no more room than to be found.
        let comments = thread.comments.iter().filter(|_| !settled);
        Note {
            row,
            kind: NoteKind::Thread(thread.id, settled),
            heading: format!("thread {}{of}{by}{line}", thread.id),
            body: comments.map(|(who, body)| format!("{who}: {body}")).collect(),
        }
    }

    /// Number of the row of a line of the new side; None: there is none.
    fn row_of_line(&self, line: u32) -> Option<usize> {
        self.rows().iter().position(|row| matches!(row, Row::Line(Side::Both | Side::New, at, _) if *at == line))
    }

    /// Number of the row with a thread's line where its file has been changed since: the same text, as near as there is one.
    fn row_of_text(&self, thread: &Thread) -> Option<usize> {
        if thread.line == 0 || thread.quote.trim().is_empty() {
            return None;
        }
        let same = |parts: &[(bool, String)]| {
            let text: String = parts.iter().map(|(_, text)| text.as_str()).collect();
            let (text, quote) = (text.trim(), thread.quote.trim());
            // Long quotes were cut.
            text == quote || (quote.len() >= 400 && text.starts_with(quote))
        };
        let found = self.rows().iter().enumerate().filter_map(|(n, row)| match row {
            Row::Line(Side::Both | Side::New, at, parts) if same(parts) => Some((at.abs_diff(thread.line), n)),
            _ => None,
        });
        found.min().map(|(_, n)| n)
    }
}

fn drafted(row: Option<usize>, comment: &crate::draft::Comment, what: &str) -> Note {
    let how = if comment.unfinished { "unfinished, stays here" } else { "not sent yet" };
    let body = vec![comment.body.clone()];
    Note { row, kind: NoteKind::Draft(comment.place.clone()), heading: format!("{what}, {how}"), body }
}
