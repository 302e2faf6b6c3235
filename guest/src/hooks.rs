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
mod report;
#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::session_protocol::HookReport;
use report::{TEXT_MAX, floor, one_line};

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
