//! Which words of changed lines changed.

use std::{collections::VecDeque, ops::Range};

use imara_diff::{Algorithm, Diff, InternedInput, Interner, Token};

use super::window::offset;

/// Most bytes of a block, both sides together, whose words are compared: marks help where little changed.
const BYTES_MAX: usize = 16 << 10;
/// Most lines of a block, both sides together, whose words are compared.
pub(super) const LINES_MAX: usize = 200;
/// Least percentage of a side's bytes that must have stayed for marks: where less did, nearly all is marked, which says
/// nothing.
const KEPT_MIN: usize = 30;

/// Byte ranges that changed, for each line of a block. Empty: no marks.
#[derive(Debug, Default)]
pub(super) struct Marks {
    pub(super) old: VecDeque<Vec<Range<u32>>>,
    pub(super) new: VecDeque<Vec<Range<u32>>>,
}

/// Marks the words that changed between the old and the new lines of a block.
pub(super) fn marks(old: &[&[u8]], new: &[&[u8]]) -> Marks {
    let bytes: usize = old.iter().chain(new).map(|line| line.len()).sum();
    if old.is_empty() || new.is_empty() || bytes > BYTES_MAX || old.len() + new.len() > LINES_MAX {
        return Marks::default();
    }
    let mut input = InternedInput::default();
    let old = Words::of(old, &mut input.before, &mut input.interner);
    let new = Words::of(new, &mut input.after, &mut input.interner);
    let mut diff = Diff::compute(Algorithm::Myers, &input);
    diff.postprocess_no_heuristic(&input);
    let (removed, added) = (|token| diff.is_removed(token), |token| diff.is_added(token));
    match old.stays(removed) && new.stays(added) {
        true => Marks { old: old.marks(removed), new: new.marks(added) },
        false => Marks::default(),
    }
}

/// Words, blanks and punctuation marks of some lines, as tokens.
struct Words {
    /// Place of each token.
    places: Vec<Place>,
    lines: usize,
}

struct Place {
    line: usize,
    range: Range<u32>,
    blank: bool,
}

impl Words {
    fn of<'t>(lines: &[&'t [u8]], tokens: &mut Vec<Token>, interner: &mut Interner<&'t [u8]>) -> Self {
        let mut words = Self { places: vec![], lines: lines.len() };
        for (number, line) in lines.iter().enumerate() {
            let mut at = 0;
            while at < line.len() {
                let class = class(line[at]);
                let run = line[at..].iter().take_while(|byte| class != Class::Mark && self::class(**byte) == class);
                let end = at + run.count().max(1);
                tokens.push(interner.intern(&line[at..end]));
                let range = offset(at)..offset(end);
                words.places.push(Place { line: number, range, blank: class == Class::Blank });
                at = end;
            }
        }
        words
    }

    /// Whether enough of the lines stayed for marks; blanks do not count.
    fn stays(&self, changed: impl Fn(u32) -> bool) -> bool {
        let (mut all, mut same) = (0, 0);
        for (token, place) in (0..).zip(&self.places).filter(|(_, place)| !place.blank) {
            all += place.range.len();
            same += if changed(token) { 0 } else { place.range.len() };
        }
        same * 100 >= all * KEPT_MIN
    }

    fn marks(&self, changed: impl Fn(u32) -> bool) -> VecDeque<Vec<Range<u32>>> {
        let mut marks: Vec<Vec<Range<u32>>> = vec![vec![]; self.lines];
        for (_, Place { line, range, .. }) in (0..).zip(&self.places).filter(|(token, _)| changed(*token)) {
            match marks[*line].last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => marks[*line].push(range.clone()),
            }
        }
        marks.into()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Word,
    Blank,
    Mark,
}

/// Class of a byte. Bytes of characters beyond ASCII belong to words, so that no character is cut.
fn class(byte: u8) -> Class {
    match byte {
        b'_' | 0x80.. => Class::Word,
        byte if byte.is_ascii_alphanumeric() => Class::Word,
        b' ' | b'\t' | b'\r' | b'\n' => Class::Blank,
        _ => Class::Mark,
    }
}
