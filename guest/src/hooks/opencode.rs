//! Events of opencode, as its plugins get them: `{"type": "...", "properties": {...}}`.

use serde_json::Value;

use super::{
    limits,
    report::{blocked, one_line, question, report, text},
};
use crate::session_protocol::HookReport;

pub(super) fn read(value: &Value) -> Option<HookReport> {
    let (event, told) = (text(value, "type"), &value["properties"]);
    let found = match event {
        // One with a parent is a part of another.
        "session.created" if text(&told["info"], "parentID").is_empty() => {
            let conversation = text(&told["info"], "id").into();
            return Some(HookReport { conversation, begins: true, ..report(event, "idle", "") });
        }
        "session.status" => status(event, &told["status"])?,
        "session.idle" => HookReport { of_main: true, ..report(event, "idle", "") },
        "session.error" => error(event, &told["error"]),
        "permission.asked" | "permission.updated" => blocked(event, "permission", &asked(told)),
        "question.asked" => blocked(event, "question", question(told)),
        "permission.replied" | "question.replied" | "question.rejected" => report(event, "working", ""),
        _ => return None,
    };
    Some(HookReport { conversation: text(told, "sessionID").into(), ..found })
}

fn status(event: &str, status: &Value) -> Option<HookReport> {
    match text(status, "type") {
        "busy" => Some(report(event, "working", "")),
        "idle" => Some(HookReport { of_main: true, ..report(event, "idle", "") }),
        "retry" => {
            let said = text(status, "message");
            let until = status["next"].as_i64().unwrap_or_default();
            let what = if limits::is_quota(said) { "out of quota" } else { "rate limited" };
            // It asks again by itself.
            Some(HookReport { until, ..report(event, "working", &format!("{what}: {said}")) })
        }
        _ => None,
    }
}

fn error(event: &str, error: &Value) -> HookReport {
    let said = match text(&error["data"], "message") {
        "" => text(error, "name"),
        said => said,
    };
    match text(error, "name") {
        // By a person's Esc.
        "MessageAbortedError" => HookReport { of_main: true, ..report(event, "idle", "") },
        "ProviderAuthError" => blocked(event, "auth", said),
        _ => HookReport { of_main: true, ..report(event, "error", said) },
    }
}

/// The tool, and what of it is to be allowed.
fn asked(told: &Value) -> String {
    let tool = match text(told, "permission") {
        "" => text(told, "title"),
        tool => tool,
    };
    let patterns: Vec<&str> =
        told["patterns"].as_array().into_iter().flatten().filter_map(Value::as_str).take(16).collect();
    let command = text(&told["metadata"], "command");
    let what = if command.is_empty() { patterns.join(", ") } else { command.to_owned() };
    if what.is_empty() { tool.to_owned() } else { format!("{tool}({})", one_line(&what, 512)) }
}
