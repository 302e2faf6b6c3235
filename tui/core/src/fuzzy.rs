//! Searching: filters, the palette, and what a mistyped name may have meant.

use nucleo_matcher::{
    Config, Matcher, Utf32Str,
    pattern::{Atom, AtomKind, CaseMatching, Normalization},
};

/// Worth of a word that is found in a name as it is typed, beside how well it matches; [`SPREAD_IN_NAME`] is that of its
/// letters in their order.
const IN_NAME: u32 = 2 << 20;
const SPREAD_IN_NAME: u32 = 1 << 20;

/// Words to look for, with what it needs to look at many texts. All of them must be found; capitals count where a word has
/// some.
///
/// A name (a title, a slug) may have a word's letters near each other in their order; other texts must have the word as it is
/// typed, since a sentence has the letters of almost any word somewhere.
pub struct Search {
    matcher: Matcher,
    words: Vec<Word>,
    buffer: Vec<char>,
    found: Vec<u32>,
}

struct Word {
    whole: Atom,
    letters: Atom,
}

impl Search {
    /// A search for these words, separated by blanks.
    #[must_use]
    pub fn new(words: &str) -> Self {
        let atom = |word: &str, kind| Atom::new(word, CaseMatching::Smart, Normalization::Smart, kind, false);
        let word = |word: &str| Word { whole: atom(word, AtomKind::Substring), letters: atom(word, AtomKind::Fuzzy) };
        Self {
            matcher: Matcher::new(Config::DEFAULT),
            words: words.split_whitespace().map(word).collect(),
            buffer: Vec::new(),
            found: Vec::new(),
        }
    }

    /// How well a thing with these names and other texts matches; higher is better. `None`: it does not.
    pub fn score(&mut self, names: &[&str], others: &[&str]) -> Option<u32> {
        let Self { matcher, words, buffer, found } = self;
        let mut sum = 0_u32;
        for word in words.iter() {
            let in_names = names.iter().filter_map(|text| word.in_name(text, matcher, buffer, found)).max();
            let mut in_other = |text: &&str| word.whole.score(Utf32Str::new(text, buffer), matcher);
            let best = in_names.or_else(|| others.iter().filter_map(&mut in_other).max().map(u32::from))?;
            sum = sum.saturating_add(best);
        }
        Some(sum)
    }

    /// Whether a text that is no name has all of the words.
    pub fn is_in(&mut self, text: &str) -> bool {
        self.score(&[], &[text]).is_some()
    }

    /// Numbers of the graphemes of a text in which the words were found, in order, each once.
    pub fn marks(&mut self, text: &str, is_name: bool) -> Vec<usize> {
        let Self { matcher, words, buffer, found } = self;
        let mut marks = Vec::new();
        for word in words.iter() {
            found.clear();
            let haystack = Utf32Str::new(text, buffer);
            let is_whole = word.whole.indices(haystack, matcher, found).is_some();
            if is_whole || is_name && word.in_name(text, matcher, buffer, found).is_some() {
                marks.extend(found.iter().map(|at| *at as usize));
            }
        }
        marks.sort_unstable();
        marks.dedup();
        marks
    }
}

impl Word {
    fn in_name(&self, text: &str, matcher: &mut Matcher, buffer: &mut Vec<char>, found: &mut Vec<u32>) -> Option<u32> {
        let text = Utf32Str::new(text, buffer);
        if let Some(score) = self.whole.score(text, matcher) {
            return Some(IN_NAME + u32::from(score));
        }
        found.clear();
        let score = self.letters.indices(text, matcher, found)?;
        found.sort_unstable();
        // Letters all over a long title are no match that anybody means.
        let (first, last) = (*found.first()?, *found.last()?);
        let near = (last - first) as usize <= 2 * found.len();
        let begins = found.iter().zip(found.iter().skip(1));
        let begins = begins.filter(|(before, at)| **at != **before + 1).map(|(_, at)| *at);
        let initials = begins.chain([first]).all(|at| at == 0 || !text.get(at - 1).is_alphanumeric());
        (near || initials).then_some(SPREAD_IN_NAME + u32::from(score))
    }
}

/// The name among `names` that was probably meant; None: none is near enough.
#[must_use]
pub fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = word.chars().count().div_ceil(3).min(3);
    names.map(|name| (distance(word, name, limit), name)).filter(|(d, _)| *d <= limit).min().map(|(_, name)| name)
}

/// Number of edits, swaps of neighbours included, between two short words; more than `limit` where they are clearly further
/// apart.
fn distance(a: &str, b: &str, limit: usize) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > limit || a.len() > 64 {
        return limit + 1;
    }
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_the_letters_near_each_other() {
        let mut search = Search::new("fxlog");
        assert!(search.score(&["fix-login"], &[]).is_some());
        assert!(search.score(&["golf"], &[]).is_none());
        assert_eq!(search.marks("fix-login", true), [0, 2, 4, 5, 6]);
        assert_eq!(search.marks("fix-login", false), []);
        assert!(Search::new("").score(&["anything"], &[]).is_some());
        assert!(Search::new("ptd").score(&["pick the best database"], &[]).is_some(), "initials");
        assert!(Search::new("pka").score(&["pick the best database"], &[]).is_none());
        assert!(Search::new("logger").score(&["let the dog eat longer meals"], &[]).is_none());
    }

    #[test]
    fn other_texts_have_the_words_as_they_are_typed() {
        assert!(Search::new("fix demo").score(&["fix-login"], &["demo"]).is_some());
        assert!(Search::new("fdemo").score(&["fix-login"], &["demo"]).is_none());
        assert!(Search::new("logger").score(&[], &["long ago it was bigger"]).is_none());
        assert!(Search::new("Logger").score(&[], &["the logger"]).is_none(), "a capital counts");
        let mut search = Search::new("base");
        let name = search.score(&["pick a database"], &[]);
        assert!(name > search.score(&["x"], &["base"]) && search.is_in("a base"));
    }

    #[test]
    fn a_typo_finds_its_word() {
        assert_eq!(nearest("dwon", ["up", "down"].into_iter()), Some("down"));
        assert_eq!(nearest("zzzzzz", ["up", "down"].into_iter()), None);
    }
}
