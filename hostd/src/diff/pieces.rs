//! Hunks cut into pieces that fit a message, whatever a file does.

use bytes::Bytes;
use hostd_core::diff::{Event, Hunks, Line};

use super::types::{Ending, FileEnd, PieceHunk, PieceLine};

/// Bytes of text after which a piece is ended.
pub(super) const BYTES: usize = 64 << 10;
/// Most lines of a piece.
const LINES: usize = 1000;

/// Hunks of one file, cut into pieces.
#[derive(Debug)]
pub(super) struct Pieces {
    hunks: Hunks<Bytes>,
    /// Rest of a line that is too long for one piece.
    rest: Option<Line>,
    end: FileEnd,
    /// Bytes of text that may still be sent.
    room: u64,
}

impl Pieces {
    pub(super) fn new(hunks: Hunks<Bytes>, end: FileEnd, room: Option<u64>) -> Self {
        Self { hunks, rest: None, end, room: room.unwrap_or(u64::MAX) }
    }

    /// The next piece of hunks; the last one comes with the file's end.
    pub(super) fn next(&mut self) -> (Vec<PieceHunk>, Option<FileEnd>) {
        let (mut hunks, mut bytes, mut lines): (Vec<PieceHunk>, _, _) = (vec![], 0, 0);
        while bytes < BYTES && lines < LINES {
            let event = self.rest.take().map(Event::Line).or_else(|| self.hunks.next());
            let line = match event {
                None => return (hunks, Some(self.end)),
                Some(Event::Hunk(place)) => {
                    hunks.push(PieceHunk { place: Some(place), lines: vec![] });
                    continue;
                }
                Some(Event::Line(line)) => self.line(line),
            };
            let length = line.text.len();
            if length as u64 > self.room {
                self.end.cut = true;
                return (hunks, Some(self.end));
            }
            self.room -= length as u64;
            (bytes, lines) = (bytes + length, lines + 1);
            match hunks.last_mut() {
                Some(hunk) => hunk.lines.push(line),
                None => hunks.push(PieceHunk { place: None, lines: vec![line] }),
            }
        }
        (hunks, None)
    }

    /// The next line, or as much of it as one piece takes.
    fn line(&mut self, mut line: Line) -> PieceLine {
        let whole = line.range.clone();
        let mut ending = if line.ended { Ending::Newline } else { Ending::None };
        let marks = line.marks.drain(..).flat_map(|mark| [mark.start, mark.end]).collect();
        let mut part = whole.clone();
        if whole.len() > BYTES {
            part.end = part.start + BYTES;
            ending = Ending::GoesOn;
        }
        // The contents are shared with what was read: nothing is copied.
        let text = self.hunks.side(line.kind).slice(part.clone());
        if part.end < whole.end {
            self.rest = Some(Line { range: part.end..whole.end, ..line });
        }
        PieceLine { kind: line.kind, text, ending, marks }
    }
}
