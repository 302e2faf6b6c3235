//! Words and variables of a Dockerfile's own, as apart from those of its shell.

use std::collections::BTreeMap;

use crate::devcontainer::variables::TEXT_MAX;

/// The words of a text: apart by white space, quoted by either quote or a backslash. A quote that says that `$` is no variable
/// leaves `\$`.
pub(super) fn words(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote, mut any) = (vec![], String::new(), None, false);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (Some('\''), '$') => word.push_str("\\$"),
            (None, '\'' | '"') => (quote, any) = (Some(letter), true),
            (Some('"') | None, '\\') => match letters.next() {
                Some('$') => word.push_str("\\$"),
                Some(next) if quote.is_none() || matches!(next, '"' | '\\') => word.push(next),
                Some(next) => word.extend(['\\', next]),
                None => word.push('\\'),
            },
            (None, letter) if letter.is_whitespace() => {
                if any || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                    any = false;
                }
            }
            (_, letter) => word.push(letter),
        }
    }
    if quote.is_some() {
        return Err("a quote has no end".into());
    }
    if any || !word.is_empty() {
        words.push(word);
    }
    Ok(words)
}

/// `NAME=VALUE` of each word; None: the first one is none.
pub(super) fn pairs(text: &str) -> Result<Option<Vec<(String, String)>>, String> {
    let first = text.split_whitespace().next().unwrap_or_default();
    if !first.contains('=') {
        return Ok(None);
    }
    let pair = |word: String| match word.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err("ENV wants NAME=VALUE for each".to_owned()),
    };
    words(text)?.into_iter().map(pair).collect::<Result<_, _>>().map(Some)
}

/// The text with `$NAME`, `${NAME}`, `${NAME:-other}` and `${NAME:+other}` filled in; what is not known is nothing.
pub(super) fn expand(text: &str, known: &BTreeMap<String, String>) -> Result<String, String> {
    let long = || format!("its variables make a text of more than {TEXT_MAX} bytes");
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(['$', '\\']) {
        out.push_str(&rest[..at]);
        let behind = &rest[at + 1..];
        if rest[at..].starts_with('\\') {
            // Only what would be a variable is quoted by it.
            let is_dollar = behind.starts_with('$');
            out.push_str(if is_dollar { "$" } else { "\\" });
            rest = if is_dollar { &behind[1..] } else { behind };
            continue;
        }
        let name_of = |text: &str| text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
        let value = |name: &str| known.get(name).map(String::as_str).unwrap_or_default();
        if let Some(inner) = behind.strip_prefix('{') {
            let end = inner.find('}').ok_or("${ has no }")?;
            let (inner, after) = (&inner[..end], &inner[end + 1..]);
            if inner.contains("${") {
                return Err("${...} in another ${...} is not known here; write $NAME in it".into());
            }
            let name = &inner[..name_of(inner)];
            let set = !value(name).is_empty();
            match inner[name.len()..].split_at_checked(2) {
                None if inner.len() == name.len() && !name.is_empty() => out.push_str(value(name)),
                Some((":-", _)) if set => out.push_str(value(name)),
                Some((":-", other)) => out.push_str(&expand(other, known)?),
                Some((":+", other)) if set => out.push_str(&expand(other, known)?),
                Some((":+", _)) => {}
                _ => return Err("of ${...} only ${NAME}, ${NAME:-other} and ${NAME:+other} are known here".into()),
            }
            rest = after;
        } else {
            let name = &behind[..name_of(behind)];
            out.push_str(if name.is_empty() { "$" } else { value(name) });
            rest = &behind[name.len()..];
        }
        if out.len() > TEXT_MAX {
            return Err(long());
        }
    }
    out.push_str(rest);
    if out.len() > TEXT_MAX { Err(long()) } else { Ok(out) }
}
