//! Which words of changed lines changed.

use std::{collections::VecDeque, ops::Range};

use imara_diff::{Algorithm, Diff, InternedInput, Interner, Token};

use super::window::offset;

/// Blocks of more bytes, both sides together, are not looked at: marks help where little changed.
const BYTES_MAX: usize = 16 << 10;
/// The same for lines.
pub(super) const LINES_MAX: usize = 200;
/// Marks are left out where less than so many percent of a side stayed: then all of it is marked, which says nothing.
const KEPT_MIN: usize = 30;

/// For each line of a block, the byte ranges that changed. Empty: no marks.
#[derive(Debug, Default)]
pub(super) struct Marks {
    pub(super) old: VecDeque<Vec<Range<u32>>>,
    pub(super) new: VecDeque<Vec<Range<u32>>>,
}

/// Of these lines.
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

/// The words of some lines.
struct Words {
    /// Where each token is.
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

    /// Whether enough of it stayed; blanks do not count.
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

/// Bytes of characters beyond ASCII belong to words, so that no character is cut.
fn class(byte: u8) -> Class {
    match byte {
        b'_' | 0x80.. => Class::Word,
        byte if byte.is_ascii_alphanumeric() => Class::Word,
        b' ' | b'\t' | b'\r' | b'\n' => Class::Blank,
        _ => Class::Mark,
    }
}
