//! What two texts begin and end with alike is no matter for the comparison: a change in a large file costs little.

use std::ops::Range;

use super::CONTEXT_MAX;

/// Equal lines that are kept on both ends: for context, and so that a block can slide to where people expect it.
const SLACK: usize = CONTEXT_MAX as usize + 28;
/// Bytes that are compared at a time.
const STEP: usize = 4096;

/// The part of two texts that has all differences in it.
#[derive(Debug)]
pub(super) struct Window {
    /// Number of lines before the window, the same on both sides.
    pub(super) first: u32,
    pub(super) old: Side,
    pub(super) new: Side,
}

/// Lines of one text within the window.
#[derive(Debug)]
pub(super) struct Side {
    /// Offsets in the text of the lines' begins, and of the last line's end; never empty.
    starts: Vec<u32>,
}

impl Side {
    /// The lines of a part of the text. `None`: there are more than `max`.
    fn of(text: &[u8], part: Range<usize>, max: usize) -> Option<Self> {
        let mut starts = vec![offset(part.start)];
        let mut at = part.start;
        while at < part.end {
            if starts.len() > max {
                return None;
            }
            at += line_length(&text[at..part.end]);
            starts.push(offset(at));
        }
        Some(Self { starts })
    }

    /// Number of lines.
    pub(super) fn count(&self) -> u32 {
        offset(self.starts.len() - 1)
    }

    /// Place of a line in the text, with its line feed.
    pub(super) fn range(&self, line: u32) -> Range<usize> {
        self.starts[line as usize] as usize..self.starts[line as usize + 1] as usize
    }

    /// The lines in order, each with its line feed.
    pub(super) fn lines<'t>(&self, text: &'t [u8]) -> impl Iterator<Item = &'t [u8]> {
        self.starts.windows(2).map(|pair| &text[pair[0] as usize..pair[1] as usize])
    }
}

impl Window {
    /// The window of two texts that differ. `None`: one of them has more lines than `max` in it.
    pub(super) fn of(old: &[u8], new: &[u8], max: usize) -> Option<Self> {
        let start = back(old, common_prefix(old, new), SLACK);
        let (old_end, new_end) = ends(old, new, start);
        let first = offset(old[..start].iter().filter(|byte| **byte == b'\n').count());
        let (old, new) = (Side::of(old, start..old_end, max)?, Side::of(new, start..new_end, max)?);
        Some(Self { first, old, new })
    }
}

/// Converts an offset or a count; all fit, since contents are smaller than 4 GiB.
pub(super) fn offset(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn line_length(text: &[u8]) -> usize {
    text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |at| at + 1)
}

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let whole = a.chunks(STEP).zip(b.chunks(STEP)).take_while(|(a, b)| a == b).map(|(a, _)| a.len()).sum();
    let (a, b) = (&a[whole..], &b[whole..]);
    whole + a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn common_suffix(a: &[u8], b: &[u8]) -> usize {
    let whole: usize = a.rchunks(STEP).zip(b.rchunks(STEP)).take_while(|(a, b)| a == b).map(|(a, _)| a.len()).sum();
    let (a, b) = (&a[..a.len() - whole], &b[..b.len() - whole]);
    whole + a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count()
}

/// Offset of the begin of the line `lines` above the one that has `at`.
fn back(text: &[u8], at: usize, lines: usize) -> usize {
    let mut feeds = text[..at].iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    feeds.nth(lines).map_or(0, |(feed, _)| feed + 1)
}

/// Ends of the window in both texts: at a line's end in what both end with, or at the texts' ends.
fn ends(old: &[u8], new: &[u8], start: usize) -> (usize, usize) {
    let suffix = common_suffix(&old[start..], &new[start..]);
    let tail = &old[old.len() - suffix..];
    // A line may begin before the suffix: its rest belongs to the change.
    let mut kept = 0;
    for _ in 0..=SLACK {
        kept += line_length(&tail[kept..]);
    }
    (old.len() - suffix + kept, new.len() - suffix + kept)
}
