//! Fuzzy matching: filters, the palette, and what a mistyped name may have meant.

use nucleo_matcher::{
    Config, Matcher, Utf32Str,
    pattern::{CaseMatching, Normalization, Pattern},
};

/// A pattern with what it needs to match many texts.
pub struct Fuzzy {
    matcher: Matcher,
    pattern: Pattern,
    buffer: Vec<char>,
}

impl Fuzzy {
    /// Words separated by blanks must all match; capitals count once there are some.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        Self {
            matcher: Matcher::new(Config::DEFAULT),
            pattern: Pattern::parse(pattern, CaseMatching::Smart, Normalization::Smart),
            buffer: Vec::new(),
        }
    }

    /// Whether each of the words matches one of these texts. Narrower than matching all texts as one: letters spread over
    /// several of them mean nothing.
    pub fn matches(&mut self, texts: &[&str]) -> bool {
        let Self { matcher, pattern, buffer } = self;
        pattern
            .atoms
            .iter()
            .all(|word| texts.iter().any(|text| word.score(Utf32Str::new(text, buffer), matcher).is_some()))
    }

    /// How well it matches; higher is better. `None`: it does not.
    pub fn score(&mut self, text: &str) -> Option<u32> {
        self.pattern.score(Utf32Str::new(text, &mut self.buffer), &mut self.matcher)
    }
}

/// The name that was probably meant, if one is near enough.
#[must_use]
pub fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = word.chars().count().div_ceil(3).min(3);
    names.map(|name| (distance(word, name, limit), name)).filter(|(d, _)| *d <= limit).min().map(|(_, name)| name)
}

/// Edits, swaps of neighbours included, between two short words; more than `limit` where they are clearly further apart.
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
    fn words_match_in_order_of_their_letters() {
        let mut fuzzy = Fuzzy::new("fxlog");
        assert!(fuzzy.score("fix-login").is_some());
        assert!(fuzzy.score("golf").is_none());
        assert!(Fuzzy::new("").score("anything").is_some());
        assert!(Fuzzy::new("fix demo").matches(&["fix-login", "demo"]));
        assert!(!Fuzzy::new("fdemo").matches(&["fix-login", "demo"]));
    }

    #[test]
    fn a_typo_finds_its_word() {
        assert_eq!(nearest("dwon", ["up", "down"].into_iter()), Some("down"));
        assert_eq!(nearest("zzzzzz", ["up", "down"].into_iter()), None);
    }
}
