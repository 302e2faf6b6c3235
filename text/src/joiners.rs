//! Joiners between the characters that need them: without one, a word of Persian or Hindi is misspelled, and an emoji that is
//! joined of several falls into its parts.

use crate::harmless;

const ZWNJ: char = '\u{200c}';
const ZWJ: char = '\u{200d}';
/// Says that the character before it is drawn as an emoji.
const AS_EMOJI: char = '\u{fe0f}';

/// Which joiners may stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Joiners {
    /// Those between letters: they take no column, wherever they are shown.
    #[default]
    OfLetters,
    /// Those between emoji, too, for running text: terminals do not agree on how many columns joined ones take.
    OfEmojiToo,
}

/// Lets through what is harmless of a text, character by character, and joiners where they belong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sieve {
    which: Joiners,
    before: Option<char>,
    joiner: Option<char>,
}

impl Sieve {
    /// At the beginning of a text.
    #[must_use]
    pub const fn new(which: Joiners) -> Self {
        Self { which, before: None, joiner: None }
    }

    /// What may be shown now that `c` comes: itself, after a joiner that has waited for it; or nothing.
    pub fn pass(&mut self, c: char) -> impl Iterator<Item = char> + use<> {
        [self.waited_for(c), harmless(c).then_some(c)].into_iter().flatten()
    }

    fn waited_for(&mut self, c: char) -> Option<char> {
        let (before, joiner) = (self.before, self.joiner.take());
        match c {
            ZWNJ | ZWJ => {
                // Two of them join nothing.
                self.joiner = Some(c).filter(|_| joiner.is_none());
                self.before = before.filter(|_| joiner.is_none());
                None
            }
            AS_EMOJI if joiner.is_none() => None,
            _ => {
                self.before = harmless(c).then_some(c);
                joiner.filter(|joiner| before.is_some_and(|before| joins(before, *joiner, c, self.which)))
            }
        }
    }
}

/// `text` without what is not harmless.
pub fn sieved(text: &str, which: Joiners) -> impl Iterator<Item = char> + '_ {
    let mut sieve = Sieve::new(which);
    text.chars().flat_map(move |c| sieve.pass(c))
}

/// Whether all of a piece of text is harmless; the letter that a joiner at its end joins may be in the next one.
#[must_use]
pub fn is_harmless(text: &str) -> bool {
    let mut before = None;
    text.chars().all(|c| {
        let before = before.replace(c);
        harmless(c) || (matches!(c, ZWNJ | ZWJ) && before.is_some_and(is_joining))
    })
}

fn joins(before: char, joiner: char, after: char, which: Joiners) -> bool {
    let emoji = which == Joiners::OfEmojiToo && joiner == ZWJ && is_emoji(after);
    (is_joining(before) && is_joining(after)) || (emoji && (is_emoji(before) || is_skin(before)))
}

/// Letters, and marks on them, of scripts whose spelling needs joiners: Arabic, Syriac, and those of India and Sri Lanka.
fn is_joining(c: char) -> bool {
    let block =
        matches!(c, '\u{620}'..='\u{6ff}' | '\u{710}'..='\u{77f}' | '\u{860}'..='\u{dff}' | '\u{fb50}'..='\u{fdff}');
    block && harmless(c) && !c.is_numeric()
}

/// What joined emoji are made of. Not the letters of flags.
fn is_emoji(c: char) -> bool {
    matches!(c,
        '\u{2194}'..='\u{2195}' | '\u{2600}'..='\u{27bf}' | '\u{2b00}'..='\u{2bff}' | '\u{1f000}'..='\u{1f1e5}'
            | '\u{1f200}'..='\u{1f3fa}' | '\u{1f400}'..='\u{1faff}')
}

fn is_skin(c: char) -> bool {
    matches!(c, '\u{1f3fb}'..='\u{1f3ff}')
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::String;

    use rstest::rstest;

    use super::*;

    const WOMAN_AT_WORK: &str = "\u{1f469}\u{200d}\u{1f4bb}";
    const WITH_SKIN: &str = "\u{1f469}\u{1f3fd}\u{200d}\u{1f52c}";

    #[rstest]
    #[case::persian("\u{645}\u{6cc}\u{200c}\u{62e}\u{648}\u{627}\u{647}\u{645}")]
    #[case::hindi("\u{915}\u{94d}\u{200d}\u{937} \u{915}\u{94d}\u{200c}\u{937}")]
    fn words_keep_what_spells_them(#[case] word: &str) {
        for which in [Joiners::OfLetters, Joiners::OfEmojiToo] {
            assert_eq!(sieved(word, which).collect::<String>(), word);
        }
        assert!(is_harmless(word));
    }

    #[rstest]
    #[case::of_two(WOMAN_AT_WORK)]
    #[case::of_two_with_a_skin(WITH_SKIN)]
    fn emoji_stay_joined_in_running_text_alone(#[case] emoji: &str) {
        assert_eq!(sieved(emoji, Joiners::OfEmojiToo).collect::<String>(), emoji);
        assert_eq!(sieved(emoji, Joiners::OfLetters).collect::<String>(), emoji.replace(ZWJ, ""));
        assert!(!is_harmless(emoji));
    }

    #[rstest]
    #[case::latin("pay\u{200c}pal\u{200d}.com", "paypal.com")]
    #[case::doubled("\u{645}\u{200c}\u{200c}\u{62e}", "\u{645}\u{62e}")]
    #[case::at_the_ends("\u{200d}\u{645}\u{200c}", "\u{645}")]
    #[case::before_a_blank("\u{645}\u{200c} \u{62e}", "\u{645} \u{62e}")]
    #[case::digits("\u{661}\u{200d}\u{662}", "\u{661}\u{662}")]
    #[case::across_a_control("\u{645}\u{200c}\x1b\u{62e}", "\u{645}\u{62e}")]
    #[case::flags("\u{1f1e9}\u{200d}\u{1f1ea}", "\u{1f1e9}\u{1f1ea}")]
    #[case::other_unseen("\u{1f469}\u{200b}\u{1f4bb}\u{e0041}", "\u{1f469}\u{1f4bb}")]
    fn joiners_that_join_nothing_go(#[case] text: &str, #[case] shown: &str) {
        assert_eq!(sieved(text, Joiners::OfEmojiToo).collect::<String>(), shown);
    }

    #[test]
    fn a_heart_keeps_its_fire() {
        let heart = "\u{2764}\u{fe0f}\u{200d}\u{1f525}";
        assert_eq!(sieved(heart, Joiners::OfEmojiToo).collect::<String>(), "\u{2764}\u{200d}\u{1f525}");
    }
}
