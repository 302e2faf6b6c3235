//! One object, written as it comes: a file's changes are held, not all of them.

use pilothouse_proto::hostd::v1::{DiffFile, DiffHunk, DiffLineEnding, DiffLineKind, DiffPiece, DiffStart};
use serde::Serialize;

use super::form::Form;
use crate::cli::{failure::Failure, format::time, output};

/// Shows a difference as JSON. Texts and paths that are no UTF-8 have U+FFFD in them.
#[derive(Default)]
pub(super) struct Json {
    /// Number of files that were written.
    files: usize,
    /// Hunks of the file under way.
    hunks: Vec<Hunk>,
    cut: bool,
}

#[derive(Serialize)]
struct Start<'a> {
    old: &'a str,
    new: &'a str,
    taken_at: Option<String>,
    suspended: bool,
    missing: Option<&'a str>,
}

#[derive(Serialize)]
struct File<'a> {
    status: &'a str,
    old_path: String,
    new_path: String,
    old_mode: Option<String>,
    new_mode: Option<String>,
    similarity: Option<u32>,
    old_bytes: u64,
    new_bytes: u64,
    contents: &'a str,
    added: u64,
    removed: u64,
    not_utf8: bool,
    hunks: &'a [Hunk],
}

#[derive(Serialize)]
struct Hunk {
    old_start: u32,
    old_lines: u32,
    new_start: u32,
    new_lines: u32,
    lines: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    kind: &'static str,
    text: String,
    newline: bool,
    marks: Vec<[u32; 2]>,
    #[serde(skip)]
    bytes: Vec<u8>,
    #[serde(skip)]
    open: bool,
}

impl Form for Json {
    fn start(&mut self, start: &DiffStart) -> Result<(), Failure> {
        let head = Start {
            old: &start.old,
            new: &start.new,
            taken_at: (start.taken_at > 0).then(|| time(start.taken_at)),
            suspended: start.suspended,
            missing: Some(start.missing.as_str()).filter(|missing| !missing.is_empty()),
        };
        let head = json(&head)?;
        output::print(&format!("{},\"files\":[", head.trim_end_matches('}')))
    }

    fn listed(&mut self, _: &[DiffFile], cut: bool) -> Result<(), Failure> {
        self.cut = cut;
        Ok(())
    }

    fn piece(&mut self, file: &DiffFile, piece: &DiffPiece) -> Result<(), Failure> {
        piece.hunks.iter().for_each(|hunk| self.take(hunk));
        let Some(end) = &piece.end else { return Ok(()) };
        for line in self.hunks.iter_mut().flat_map(|hunk| &mut hunk.lines) {
            line.text = String::from_utf8_lossy(&line.bytes).into_owned();
        }
        let mode = |mode: u32| (mode > 0).then(|| format!("{mode:06o}"));
        let path = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        let text = json(&File {
            status: &file.status,
            old_path: path(&file.old_path),
            new_path: path(&file.new_path),
            old_mode: mode(file.old_mode),
            new_mode: mode(file.new_mode),
            similarity: (file.similarity > 0).then_some(file.similarity),
            old_bytes: file.old_bytes,
            new_bytes: file.new_bytes,
            contents: &end.contents,
            added: end.added,
            removed: end.removed,
            not_utf8: end.not_utf8,
            hunks: &self.hunks,
        })?;
        self.hunks.clear();
        self.files += 1;
        output::print(&format!("{}\n{text}", if self.files > 1 { "," } else { "" }))
    }

    fn end(&mut self) -> Result<(), Failure> {
        output::print(&format!("\n],\"cut\":{}}}\n", self.cut))
    }
}

impl Json {
    fn take(&mut self, hunk: &DiffHunk) {
        if !hunk.goes_on || self.hunks.is_empty() {
            let DiffHunk { old_start, old_lines, new_start, new_lines, .. } = *hunk;
            self.hunks.push(Hunk { old_start, old_lines, new_start, new_lines, lines: vec![] });
        }
        let Some(Hunk { lines, .. }) = self.hunks.last_mut() else { return };
        for line in &hunk.lines {
            let (open, newline) = (line.ending() == DiffLineEnding::GoesOn, line.ending() == DiffLineEnding::Newline);
            if let Some(last) = lines.last_mut().filter(|last| last.open) {
                last.bytes.extend_from_slice(&line.text);
                (last.open, last.newline) = (open, newline);
                continue;
            }
            let kind = match line.kind() {
                DiffLineKind::Context => "context",
                DiffLineKind::Removed => "removed",
                DiffLineKind::Added => "added",
            };
            let marks = line.marks.chunks_exact(2).map(|mark| [mark[0], mark[1]]).collect();
            lines.push(Line { kind, text: String::new(), newline, marks, bytes: line.text.to_vec(), open });
        }
    }
}

fn json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::failed(format!("no JSON: {error}")))
}
