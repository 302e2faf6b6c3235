//! What the hooks of agents' programs say, read from the JSON that each program hands them.
//!
//! Sources of the formats: Claude Code's hooks reference; `codex-rs/hooks/schema` and the `notify` setting of Codex; events of
//! opencode's plugins; the hooks reference of Copilot CLI; Gemini CLI's hooks reference, whose events Qwen Code names as Claude Code
//! does. Whatever does not read as one of these says nothing: a hook is never in its program's way.

mod claude;
mod copilot;
mod gemini;
mod limits;
mod opencode;
#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::session_protocol::HookReport;

/// Longest text of a report, in bytes.
const TEXT_MAX: usize = 1024;
/// Longest id of a conversation, in bytes.
const ID_MAX: usize = 128;

/// Programs whose hooks are understood.
pub const PROGRAMS: [&str; 6] = ["claude", "codex", "copilot", "gemini", "opencode", "qwen"];

/// Reads what a program of this name handed its hook. `asks_nobody`: the program runs without a person who could answer. `now`
/// is in milliseconds since the Unix epoch. None: it says nothing of what the program is doing.
#[must_use]
pub fn read(program: &str, json: &[u8], asks_nobody: bool, now: i64) -> Option<HookReport> {
    let value: Value = serde_json::from_slice(json).ok()?;
    let mut report = match program {
        "claude" | "codex" | "qwen" => claude::read(&value, now),
        "copilot" => copilot::read(&value, now),
        "gemini" => gemini::read(&value),
        "opencode" => opencode::read(&value),
        _ => None,
    }?;
    if asks_nobody && report.state == "blocked" {
        return None;
    }
    report.text = one_line(&report.text, TEXT_MAX);
    report.conversation.truncate(floor(&report.conversation, ID_MAX));
    Some(report)
}

/// A report of an event.
fn report(event: &str, state: &str, text: &str) -> HookReport {
    HookReport { event: one_line(event, 32), state: state.into(), text: text.into(), ..HookReport::default() }
}

fn blocked(event: &str, kind: &str, text: &str) -> HookReport {
    HookReport { kind: kind.into(), ..report(event, "blocked", text) }
}

/// The member's text; empty: there is none.
fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// A tool with what it is called with, such as `Bash(ls -l)`.
fn call(tool: &str, input: &Value) -> String {
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
fn question(input: &Value) -> &str {
    match text(&input["questions"][0], "question") {
        "" => text(input, "question"),
        question => question,
    }
}

/// The text on one line without control characters, of at most `max` bytes.
fn one_line(text: &str, max: usize) -> String {
    let words: Vec<&str> = text[..floor(text, max * 4)].split_whitespace().collect();
    let mut line: String = words.join(" ").chars().filter(|c| !c.is_control()).collect();
    line.truncate(floor(&line, max));
    line
}

/// The end of the last whole character before `max`.
fn floor(text: &str, max: usize) -> usize {
    (0..=max.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}
