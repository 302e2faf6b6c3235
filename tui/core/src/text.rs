//! Foreign text made safe to draw, and numbers made short.

use pilothouse_text::Sieve;
pub use pilothouse_text::{dollars, harmless, is_harmless};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// At most `max` bytes of `text` on one line: nothing that is not [`harmless`], white space as single blanks.
#[must_use]
pub fn one_line(text: &str, max: usize) -> String {
    let (mut out, mut sieve) = (String::new(), Sieve::default());
    for c in text.chars().flat_map(|c| sieve.pass(if c.is_whitespace() { ' ' } else { c })) {
        if c == ' ' && (out.is_empty() || out.ends_with(' ')) {
            continue;
        }
        if out.len() + c.len_utf8() > max {
            break;
        }
        out.push(c);
    }
    out.truncate(out.trim_end().len());
    out
}

/// At most `max` bytes of `text`, with its line ends; tabs become blanks.
#[must_use]
pub fn many_lines(text: &str, max: usize) -> String {
    let (mut out, mut sieve) = (String::new(), Sieve::default());
    let passes = |c| sieve.pass(if c == '\t' { ' ' } else { c }).chain(Some(c).filter(|c| *c == '\n'));
    for c in text.chars().flat_map(passes) {
        if out.len() + c.len_utf8() > max {
            break;
        }
        out.push(c);
    }
    out
}

/// Number of columns that `text` takes.
#[must_use]
pub fn width(text: &str) -> usize {
    text.width()
}

/// `text` in at most `columns`, its end replaced by `…` where it is longer.
#[must_use]
pub fn fit(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for grapheme in text.graphemes(true) {
        if used + grapheme.width() + 1 > columns {
            break;
        }
        used += grapheme.width();
        out.push_str(grapheme);
    }
    if columns > 0 {
        out.push('…');
    }
    out
}

/// `text` in exactly `columns`: cut or filled with blanks.
#[must_use]
pub fn pad(text: &str, columns: usize) -> String {
    let mut out = fit(text, columns);
    let used = out.width();
    out.extend(std::iter::repeat_n(' ', columns.saturating_sub(used)));
    out
}

/// `text` broken into lines of at most `columns`, at blanks where there are some. At least one line.
#[must_use]
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for word in paragraph.split_inclusive(' ') {
            if line.width() + word.trim_end().width() > columns && !line.is_empty() {
                lines.push(line.trim_end().to_owned());
                line = String::new();
            }
            for grapheme in word.graphemes(true) {
                if line.width() + grapheme.width() > columns && !line.is_empty() && grapheme != " " {
                    lines.push(std::mem::take(&mut line));
                }
                line.push_str(grapheme);
            }
        }
        lines.push(line.trim_end().to_owned());
    }
    lines
}

/// A span of time of this many milliseconds in one short word: `now`, `42s`, `7m`, `3h`, `12d`.
#[must_use]
pub fn age(millis: i64) -> String {
    let seconds = millis.max(0) / 1000;
    match seconds {
        0 => "now".into(),
        1..=59 => format!("{seconds}s"),
        60..=3599 => format!("{}m", seconds / 60),
        3600..=86_399 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// How long ago something was, `millis` being milliseconds: `just now`, `42s ago`.
#[must_use]
pub fn ago(millis: i64) -> String {
    match age(millis).as_str() {
        "now" => "just now".into(),
        age => format!("{age} ago"),
    }
}

/// Milliseconds after which [`age`] of this span reads differently.
#[must_use]
pub fn age_changes_in(millis: i64) -> i64 {
    let millis = millis.max(0);
    let unit = match millis / 1000 {
        0..=59 => 1000,
        60..=3599 => 60_000,
        3600..=86_399 => 3_600_000,
        _ => 86_400_000,
    };
    unit - millis % unit
}

/// Duration of a step in words: `850µs`, `12ms`, `3.4s`, `2m05s`.
#[must_use]
pub fn duration(micros: u64) -> String {
    match micros {
        0..=999 => format!("{micros}µs"),
        1_000..=999_999 => format!("{}ms", micros / 1000),
        1_000_000..=59_999_999 => format!("{}.{}s", micros / 1_000_000, micros / 100_000 % 10),
        _ => format!("{}m{:02}s", micros / 60_000_000, micros / 1_000_000 % 60),
    }
}

/// A number of bytes in binary units, short: `0 B`, `512 MiB`, `7.8 GiB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut unit = 0;
    let mut rest = 0;
    let mut value = count;
    while value >= 1024 && unit + 1 < UNITS.len() {
        rest = value % 1024;
        value /= 1024;
        unit += 1;
    }
    let tenth = rest * 10 / 1024;
    if value < 10 && tenth > 0 {
        format!("{value}.{tenth} {}", UNITS[unit])
    } else {
        format!("{value} {}", UNITS[unit])
    }
}

/// A number of tokens, short: `950`, `12.3k`, `4.5M`.
#[must_use]
pub fn tokens(count: u64) -> String {
    let short = |unit: u64, name| match (count / unit, count % unit * 10 / unit) {
        (whole, tenth @ 1..) if whole < 100 => format!("{whole}.{tenth}{name}"),
        (whole, _) => format!("{whole}{name}"),
    };
    match count {
        0..1_000 => count.to_string(),
        1_000..1_000_000 => short(1_000, "k"),
        _ => short(1_000_000, "M"),
    }
}

/// A number of things: `1 session`, `3 sessions`.
#[must_use]
pub fn count(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

#[cfg(test)]
mod tests {
    #[test]
    fn tokens_and_amounts_are_short() {
        let shown = [0, 950, 1000, 12_345, 950_000, 4_560_000, 250_000_000].map(super::tokens);
        assert_eq!(shown, ["0", "950", "1k", "12.3k", "950k", "4.5M", "250M"]);
        let shown = [0, 1, 4_200, 1_234_567, 7_500_000, 5_000_000].map(super::dollars);
        assert_eq!(shown, ["$0", "$0.0001", "$0.0042", "$1.24", "$7.50", "$5"]);
    }

    use super::*;

    #[test]
    fn foreign_text_loses_what_could_hurt() {
        assert_eq!(one_line("a\x1b[31m\tb\u{202e}c\r\nd  ", 100), "a[31m bc d");
        assert_eq!(one_line("ééé", 5), "éé");
        assert_eq!(many_lines("a\x07\n\tb", 100), "a\n b");
    }

    #[test]
    fn text_is_cut_by_columns() {
        assert_eq!(fit("hello", 5), "hello");
        assert_eq!(fit("hello!", 5), "hell…");
        assert_eq!(fit("日本語", 5), "日本…");
        assert_eq!(fit("日本語", 4), "日…");
        assert_eq!(fit("x", 0), "");
        assert_eq!(pad("日本語", 4), "日… ");
    }

    #[test]
    fn text_is_wrapped_at_blanks() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("", 3), [""]);
        assert_eq!(wrap("a\n\nb", 3), ["a", "", "b"]);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(["now", "59s", "1m", "1h", "2d"], [999, 59_999, 60_000, 3_600_000, 2 * 86_400_000].map(age)[..]);
        assert_eq!([ago(999), ago(-5), ago(61_000)], ["just now", "just now", "1m ago"]);
        assert_eq!(age_changes_in(59_200), 800);
        assert_eq!(age_changes_in(61_000), 59_000);
        assert_eq!([bytes(0), bytes(512 << 20), bytes(8_375_186_227)], ["0 B", "512 MiB", "7.7 GiB"]);
        assert_eq!([duration(12_000), duration(3_450_000), duration(125_000_000)], ["12ms", "3.4s", "2m05s"]);
    }
}
