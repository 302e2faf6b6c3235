//! Parts of reports, and what they are made of.

use serde_json::Value;

use crate::session_protocol::HookReport;

/// Longest text of a report, in bytes.
pub(super) const TEXT_MAX: usize = 1024;

/// A report of an event.
pub(super) fn report(event: &str, state: &str, text: &str) -> HookReport {
    HookReport { event: one_line(event, 32), state: state.into(), text: text.into(), ..HookReport::default() }
}

/// A report of an event at which the program waits for its person, for a reason of this kind.
pub(super) fn blocked(event: &str, kind: &str, text: &str) -> HookReport {
    HookReport { kind: kind.into(), ..report(event, "blocked", text) }
}

/// The member's text; empty: there is none.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// A tool with what it is called with, such as `Bash(ls -l)`.
pub(super) fn call(tool: &str, input: &Value) -> String {
    const TOLD: [&str; 9] =
        ["command", "file_path", "filePath", "path", "url", "pattern", "query", "prompt", "description"];
    let told = TOLD.iter().map(|name| text(input, name)).find(|text| !text.is_empty());
    let told = match (told, input) {
        (Some(told), _) => told.to_owned(),
        (None, Value::Object(members)) if !members.is_empty() => input.to_string(),
        (None, Value::String(input)) => input.clone(),
        _ => return tool.to_owned(),
    };
    format!("{tool}({})", one_line(&told, TEXT_MAX / 2))
}

/// The first question of a tool that asks several.
pub(super) fn question(input: &Value) -> &str {
    match text(&input["questions"][0], "question") {
        "" => text(input, "question"),
        question => question,
    }
}

/// The text on one line without control characters, of at most `max` bytes.
pub(super) fn one_line(text: &str, max: usize) -> String {
    let words: Vec<&str> = text[..floor(text, max * 4)].split_whitespace().collect();
    let mut line: String = words.join(" ").chars().filter(|c| !c.is_control()).collect();
    line.truncate(floor(&line, max));
    line
}

/// The end of the last whole character before `max`.
pub(super) fn floor(text: &str, max: usize) -> usize {
    (0..=max.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}
