//! Foreign text made safe to store and to draw.

pub use pilothouse_text::harmless;
use pilothouse_text::{Joiners, Sieve};

/// At most `max` bytes of `text`, without what is not [`harmless`], except line feeds, tabs, and joiners where they belong. Cut
/// at a character boundary.
#[must_use]
pub fn clean(text: &str, max: usize) -> String {
    let (mut out, mut sieve) = (String::new(), Sieve::new(Joiners::OfEmojiToo));
    let spaces = |c| matches!(c, '\n' | '\t');
    for c in text.chars().flat_map(|c| sieve.pass(c).chain(Some(c).filter(|c| spaces(*c)))) {
        if out.len() + c.len_utf8() > max {
            break;
        }
        out.push(c);
    }
    out
}

/// `text` on one line: every run of white space becomes a blank.
#[must_use]
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Makes a name for hostnames and branches: lower-case letters, digits and single dashes, at most `max` bytes; cut between
/// words where that leaves at least half; `session` where nothing is left.
#[must_use]
pub fn slug(text: &str, max: usize) -> String {
    let mut out = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_alphanumeric() {
            out.push(c);
        } else if !out.ends_with('-') && !out.is_empty() {
            out.push('-');
        }
        if out.len() > max {
            let cut = out.rfind('-').filter(|&dash| dash > max / 2).unwrap_or(max);
            out.truncate(cut);
            break;
        }
    }
    let out = out.trim_matches('-');
    if out.is_empty() { "session".into() } else { out.into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain("Fix a BUG", "fix-a-bug")]
    #[case::cut_between_words("Fix the README", "fix-the")]
    #[case::runs("a -- b__c", "a-b-c")]
    #[case::edges("  !hello!  ", "hello")]
    #[case::nothing("\u{1f600}\u{1f600}", "session")]
    #[case::cut("abcdefghij-klm", "abcdefghij")]
    fn slugs(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(slug(text, 11), expected);
    }

    #[rstest]
    #[case::escape("a\x1b[31mb", "a[31mb")]
    #[case::lines("a\r\n\tb", "a\n\tb")]
    #[case::direction("a\u{202e}b\u{2066}c\u{061c}", "abc")]
    #[case::unseen("a\u{200b}b\u{e0041}c", "abc")]
    #[case::cut_at_a_character("aaaaaaaaaaaaaaa\u{00e9}", "aaaaaaaaaaaaaaa")]
    fn cleaned(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(clean(text, 16), expected);
    }

    proptest! {
        #[test]
        fn slugs_are_hostnames(text: String, max in 1_usize..64) {
            let slug = slug(&text, max.max(7));
            prop_assert!(!slug.is_empty() && slug.len() <= max.max(7));
            prop_assert!(slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            prop_assert!(!slug.starts_with('-') && !slug.ends_with('-') && !slug.contains("--"));
        }

        #[test]
        fn lines_are_single(text: String) {
            let single = !one_line(&text).contains(['\n', '\r', '\u{2028}', '\u{2029}']);
            prop_assert!(single);
        }
    }
}
