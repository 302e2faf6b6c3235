//! Commands of a container's life: a text for a shell, words, or a table of both.

use serde_json::Value;

use super::json::{shown, shown_value};

/// Longest command, in bytes.
const COMMAND_MAX: usize = 32 << 10;
/// Most commands of one moment.
const COMMANDS_MAX: usize = 64;

/// A command of a container's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// What it is called, for people.
    pub title: String,
    /// Program and arguments.
    pub words: Vec<String>,
}

/// The commands in a value; `key` names it. `fill` puts variables into texts.
pub(super) fn commands(
    key: &str,
    value: &Value,
    fill: &mut impl FnMut(&str) -> String,
) -> Result<Vec<Command>, String> {
    let Value::Object(table) = value else { return Ok(one(key, value, fill)?.into_iter().collect()) };
    if table.len() > COMMANDS_MAX {
        return Err(format!("{key} has more than {COMMANDS_MAX} commands"));
    }
    let named = table.iter().map(|(name, value)| one(&format!("{key} {}", shown(name)), value, fill));
    named.filter_map(Result::transpose).collect()
}

fn one(title: &str, value: &Value, fill: &mut impl FnMut(&str) -> String) -> Result<Option<Command>, String> {
    let words: Vec<String> = match value {
        Value::Null => return Ok(None),
        Value::String(text) if text.trim().is_empty() => return Ok(None),
        Value::String(text) => vec!["/bin/sh".into(), "-c".into(), fill(text)],
        Value::Array(words) if words.is_empty() => return Ok(None),
        Value::Array(words) if words.iter().all(Value::is_string) => {
            words.iter().filter_map(Value::as_str).map(&mut *fill).collect()
        }
        other => {
            return Err(format!(
                "{title} is {}; allowed: a text, a list of texts, or a table of them",
                shown_value(other)
            ));
        }
    };
    let bytes: usize = words.iter().map(String::len).sum();
    if bytes > COMMAND_MAX || words.iter().any(|word| word.contains('\0')) || words[0].is_empty() {
        return Err(format!("{title}: a command is not empty, at most {COMMAND_MAX} bytes, and without NUL"));
    }
    let said = if value.is_string() { words[2].clone() } else { words.join(" ") };
    Ok(Some(Command { title: format!("{title}: {}", shown(&said)), words }))
}
