//! Hooks of Claude Code, and of Codex and Qwen Code, which name them alike; and Codex's `notify`.

use serde_json::Value;

use super::{
    limits,
    report::{blocked, call, question, report, text},
};
use crate::session_protocol::HookReport;

/// Modes in which no permission is asked for.
const ASKS_NOBODY: [&str; 3] = ["bypassPermissions", "dontAsk", "yolo"];

pub(super) fn read(value: &Value, now: i64) -> Option<HookReport> {
    if text(value, "type") == "agent-turn-complete" {
        // Codex tells so of each turn, also of those in which it finds a title: those have a thread of their own.
        let said = text(value, "last-assistant-message");
        let conversation = text(value, "thread-id").into();
        return Some(HookReport { conversation, of_known: true, ..report("notify", "idle", said) });
    }
    let event = text(value, "hook_event_name");
    let found = match event {
        // In the middle of a turn.
        "SessionStart" if text(value, "source") == "compact" => None,
        "SessionStart" => Some(HookReport { begins: true, ..report(event, "idle", "") }),
        "UserPromptSubmit" | "PostToolUse" | "PostToolUseFailure" | "PermissionDenied" | "ElicitationResult" => {
            Some(report(event, "working", ""))
        }
        "PreToolUse" => Some(tool_begins(event, value)),
        "PermissionRequest" => permission(event, value),
        "Notification" => notification(event, value),
        "Stop" => Some(report(event, "idle", text(value, "last_assistant_message"))),
        "StopFailure" => Some(failure(event, value, now)),
        _ => None,
    };
    Some(HookReport { conversation: text(value, "session_id").into(), ..found? })
}

fn tool_begins(event: &str, value: &Value) -> HookReport {
    let (tool, input) = (text(value, "tool_name"), &value["tool_input"]);
    match tool {
        "AskUserQuestion" | "ask_user_question" => blocked(event, "question", question(input)),
        _ => report(event, "working", &call(tool, input)),
    }
}

fn permission(event: &str, value: &Value) -> Option<HookReport> {
    let (tool, input) = (text(value, "tool_name"), &value["tool_input"]);
    match tool {
        "AskUserQuestion" | "ask_user_question" => Some(blocked(event, "question", question(input))),
        // It is run although nobody is asked.
        _ if ASKS_NOBODY.contains(&text(value, "permission_mode")) => None,
        _ => Some(blocked(event, "permission", &call(tool, input))),
    }
}

fn notification(event: &str, value: &Value) -> Option<HookReport> {
    let said = text(value, "message");
    match text(value, "notification_type") {
        // PermissionRequest says more.
        "permission_prompt" => None,
        "elicitation_dialog" => Some(blocked(event, "question", said)),
        // Also after Esc, of which nothing else tells.
        "idle_prompt" => Some(HookReport { repeats: true, ..report(event, "idle", "") }),
        _ => None,
    }
}

fn failure(event: &str, value: &Value, now: i64) -> HookReport {
    let (error, details) = (text(value, "error"), text(value, "error_details"));
    let said = match text(value, "last_assistant_message") {
        "" => details,
        said => said,
    };
    let said = if said.is_empty() { error } else { said };
    match error {
        "rate_limit" | "billing_error" => {
            let until = limits::ends(&format!("{said} {details}"), now);
            let out = error == "billing_error" || limits::is_quota(said) || limits::is_quota(details);
            let what = if out { "out of quota" } else { "rate limited" };
            HookReport { until, ..report(event, "limited", &format!("{what}: {said}")) }
        }
        "authentication_failed" => blocked(event, "auth", said),
        _ => report(event, "error", said),
    }
}
