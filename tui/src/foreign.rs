//! Text of others, as a terminal may show it.

use pilothouse_text::{Joiners, Sieve};

/// `text` on one line, without what is not harmless.
pub(crate) fn plain(text: &str) -> String {
    let (mut out, mut sieve) = (String::with_capacity(text.len()), Sieve::default());
    for c in text.chars().flat_map(|c| sieve.pass(if c.is_whitespace() { ' ' } else { c })) {
        if c != ' ' || !out.ends_with(' ') {
            out.push(c);
        }
    }
    out.truncate(out.trim_end().len());
    out
}

/// Text without what is not harmless, but with its line feeds and tabs.
pub(crate) fn plain_lines(text: &str) -> String {
    let mut sieve = Sieve::new(Joiners::OfEmojiToo);
    text.chars().flat_map(|c| sieve.pass(c).chain(Some(c).filter(|c| matches!(c, '\n' | '\t')))).collect()
}
