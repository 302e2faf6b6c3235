//! Foreign text made safe to store and to draw.

/// At most `max` bytes of `text`, without control characters except line feed and tab, and without the invisible
/// direction marks that could make a line read otherwise than it is. Cut at a character boundary.
#[must_use]
pub fn clean(text: &str, max: usize) -> String {
    let mut out = String::new();
    for c in text.chars().filter(|&c| harmless(c)) {
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

/// A name for hostnames and branches: lower-case letters, digits and single dashes, at most `max` bytes; `session` where
/// nothing is left.
#[must_use]
pub fn slug(text: &str, max: usize) -> String {
    let mut out = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_alphanumeric() {
            out.push(c);
        } else if !out.ends_with('-') && !out.is_empty() {
            out.push('-');
        }
        if out.len() >= max {
            break;
        }
    }
    let out = out.trim_matches('-');
    if out.is_empty() { "session".into() } else { out.into() }
}

fn harmless(c: char) -> bool {
    let direction = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    (c == '\n' || c == '\t' || !c.is_control()) && !direction
}
