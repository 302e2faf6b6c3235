//! Checks of single values, with where they stand.

use std::{collections::BTreeMap, ops::RangeInclusive};

use toml::Spanned;

use super::words;

pub(crate) const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// Longest command or argument, in bytes.
const COMMAND_MAX: usize = 4096;
/// Most entries of a list.
const LIST_MAX: usize = 256;
/// Longest text of a file, in bytes: it travels as one argument of a program, of which Linux allows 128 KiB.
const FILE_MAX: usize = 64 << 10;

/// What is wrong with a value, and at which byte of its text.
pub(crate) struct Wrong {
    pub(crate) at: usize,
    pub(crate) message: String,
}

pub(crate) type Checked<T> = Result<T, Wrong>;

/// A program and its arguments.
pub(crate) fn command(raw: Spanned<Vec<Spanned<String>>>) -> Checked<Vec<String>> {
    let at = raw.span().start;
    let mut first = true;
    let command = list(raw.into_inner(), "command", |text| argument(text, !std::mem::take(&mut first)))?;
    if command.is_empty() {
        return Err(Wrong { at, message: "command is empty; it must name a program".into() });
    }
    Ok(command)
}

pub(crate) fn argument(raw: Spanned<String>, may_be_empty: bool) -> Checked<String> {
    let fits =
        |text: &str| text.len() <= COMMAND_MAX && !text.contains('\0') && (may_be_empty || !text.trim().is_empty());
    let allowed =
        if may_be_empty { "at most 4096 bytes without NUL" } else { "not empty, at most 4096 bytes without NUL" };
    word(raw, fits, "command", allowed)
}

/// The text of a file.
pub(crate) fn text_of_file(raw: Spanned<String>) -> Checked<String> {
    let fits = |text: &str| text.len() <= FILE_MAX && !text.contains('\0');
    word(raw, fits, "text", "at most 65536 bytes without NUL")
}

/// Variables of programs, by name.
pub(crate) fn variables(raw: BTreeMap<Spanned<String>, Spanned<String>>) -> Checked<BTreeMap<String, String>> {
    let name = "a name of letters, digits and underscore, at most 128, that does not begin with PILOTHOUSE_";
    if let Some((first_too_many, _)) = raw.iter().nth(LIST_MAX) {
        let message = format!("environment has {} entries; allowed: at most {LIST_MAX}", raw.len());
        return Err(Wrong { at: first_too_many.span().start, message });
    }
    let variable = |(key, value): (Spanned<String>, Spanned<String>)| {
        let key = word(key, words::is_variable, "environment", name)?;
        let fits = |text: &str| text.len() <= COMMAND_MAX && !text.contains('\0');
        Ok((key, word(value, fits, "environment", "a value of at most 4096 bytes without NUL")?))
    };
    raw.into_iter().map(variable).collect()
}

/// A time in seconds, from one to `most`, which is whole hours.
pub(crate) fn time(raw: Option<&Spanned<String>>, key: &str, most: u64, default: u64) -> Checked<u64> {
    let Some(raw) = raw else { return Ok(default) };
    words::seconds(raw.as_ref()).filter(|seconds| (1..=most).contains(seconds)).ok_or_else(|| {
        let hours = most / 3600;
        wrong(raw, key, &format!("a time such as \"90s\", \"5m\" or \"1h\", from 1s to {hours}h"))
    })
}

/// An amount of bytes; whole MiB, because QEMU and disk images want whole pages and sectors.
pub(crate) fn amount(
    raw: Option<&Spanned<String>>,
    key: &str,
    range: RangeInclusive<u64>,
    default: u64,
) -> Checked<u64> {
    let Some(raw) = raw else { return Ok(default) };
    words::bytes(raw.as_ref()).filter(|bytes| range.contains(bytes) && bytes % MIB == 0).ok_or_else(|| {
        let (low, high) = (amount_words(*range.start()), amount_words(*range.end()));
        wrong(raw, key, &format!("a number of MiB, GiB or TiB such as \"512MiB\", from {low} to {high}"))
    })
}

fn amount_words(bytes: u64) -> String {
    let (unit, name) =
        [(TIB, "TiB"), (GIB, "GiB")].into_iter().find(|(unit, _)| bytes >= *unit).unwrap_or((MIB, "MiB"));
    format!("{}{name}", bytes / unit)
}

pub(crate) fn count(raw: Option<&Spanned<i64>>, key: &str, range: RangeInclusive<u32>, default: u32) -> Checked<u32> {
    let Some(raw) = raw else { return Ok(default) };
    let value = *raw.as_ref();
    u32::try_from(value).ok().filter(|value| range.contains(value)).ok_or_else(|| Wrong {
        at: raw.span().start,
        message: format!("{key} is {value}; allowed: from {} to {}", range.start(), range.end()),
    })
}

pub(crate) fn word(raw: Spanned<String>, fits: impl Fn(&str) -> bool, key: &str, allowed: &str) -> Checked<String> {
    if fits(raw.as_ref()) { Ok(raw.into_inner()) } else { Err(wrong(&raw, key, allowed)) }
}

/// A value that parses from its text; None of `parse`: it does not.
pub(crate) fn parsed<T>(
    raw: &Spanned<String>,
    parse: impl FnOnce(&str) -> Option<T>,
    key: &str,
    allowed: &str,
) -> Checked<T> {
    parse(raw.as_ref()).ok_or_else(|| wrong(raw, key, allowed))
}

pub(crate) fn list<T, U>(
    raw: Vec<Spanned<T>>,
    key: &str,
    mut each: impl FnMut(Spanned<T>) -> Checked<U>,
) -> Checked<Vec<U>> {
    if let Some(first_too_many) = raw.get(LIST_MAX) {
        let message = format!("{key} has {} entries; allowed: at most {LIST_MAX}", raw.len());
        return Err(Wrong { at: first_too_many.span().start, message });
    }
    raw.into_iter().map(&mut each).collect()
}

/// The value is quoted, cut, and made one line: it is foreign and goes to a terminal.
pub(crate) fn wrong(raw: &Spanned<String>, key: &str, allowed: &str) -> Wrong {
    let value: String = raw.as_ref().chars().take(60).collect();
    Wrong { at: raw.span().start, message: format!("{key} is {value:?}; allowed: {allowed}") }
}
