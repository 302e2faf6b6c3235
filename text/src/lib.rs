//! Which characters of foreign text may be shown, and how amounts of money are written. Host, console and command line share these
//! rules.

#![no_std]

extern crate alloc;

mod amount;
mod joiners;

pub use amount::dollars;
pub use joiners::{Joiners, Sieve, is_harmless, sieved};

/// Whether a character may reach a terminal or a stored text: it is seen, or is a blank.
///
/// Not harmless are control characters (C0, DEL and C1; callers that keep line feeds or tabs say so themselves), line and
/// paragraph separators, marks that make a line read otherwise than it is, and whatever nobody sees: Unicode's default
/// ignorable code points (zero-width characters, variation selectors, tags) and the anchors of interlinear annotations.
/// Joiners are by themselves among these; a [`Sieve`] lets through those that letters or emoji need.
#[must_use]
pub fn harmless(c: char) -> bool {
    !c.is_control() && !separates(c) && !is_ignorable(c)
}

fn separates(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{fff9}'..='\u{fffb}')
}

/// Whether a character is in `Default_Ignorable_Code_Point` of Unicode's DerivedCoreProperties.
fn is_ignorable(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::harmless;

    #[rstest]
    #[case::controls("\x00\x07\x08\n\r\t\x1b\x7f")]
    #[case::c1("\u{80}\u{84}\u{85}\u{90}\u{9b}\u{9c}\u{9d}\u{9f}")]
    #[case::direction("\u{61c}\u{200e}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}")]
    #[case::separators("\u{2028}\u{2029}\u{fff9}\u{fffb}")]
    #[case::zero_width("\u{ad}\u{34f}\u{180e}\u{200b}\u{200c}\u{200d}\u{2060}\u{2063}\u{feff}\u{3164}\u{ffa0}\u{fe0f}")]
    #[case::tags("\u{e0001}\u{e0020}\u{e0041}\u{e007f}\u{e0100}\u{e01ef}")]
    fn what_is_not_seen_is_not_shown(#[case] text: &str) {
        for c in text.chars() {
            assert!(!harmless(c), "U+{:04X}", u32::from(c));
        }
    }

    #[test]
    fn what_is_seen_is_shown() {
        for c in " aß日é\u{301}\u{a0}\u{2003}שא\u{1f600}\u{fffd}\u{10ffff}─█".chars() {
            assert!(harmless(c), "U+{:04X}", u32::from(c));
        }
    }
}
