//! Hooks of Gemini CLI.

use serde_json::Value;

use super::report::{blocked, call, report, text};
use crate::session_protocol::HookReport;

pub(super) fn read(value: &Value) -> Option<HookReport> {
    let event = text(value, "hook_event_name");
    let found = match event {
        "SessionStart" => HookReport { begins: true, ..report(event, "idle", "") },
        "BeforeAgent" | "AfterTool" | "BeforeModel" => report(event, "working", ""),
        "BeforeTool" => report(event, "working", &call(text(value, "tool_name"), &value["tool_input"])),
        "Notification" if text(value, "notification_type") == "ToolPermission" => permission(event, value),
        "AfterAgent" => report(event, "idle", text(value, "prompt_response")),
        // PreCompress is run before every request, and SessionEnd before the process ends.
        _ => return None,
    };
    Some(HookReport { conversation: text(value, "session_id").into(), ..found })
}

fn permission(event: &str, value: &Value) -> HookReport {
    let details = &value["details"];
    let tool = match text(details, "title") {
        "" => text(details, "tool_name"),
        title => title,
    };
    let file = &serde_json::json!({ "path": text(details, "fileName") });
    let asked = match (tool, text(details, "fileName")) {
        ("", _) => text(value, "message").to_owned(),
        (tool, "") => call(tool, &serde_json::json!({ "command": text(details, "command") })),
        (tool, _) => call(tool, file),
    };
    match text(details, "type") {
        "ask_user" => blocked(event, "question", text(value, "message")),
        _ => blocked(event, "permission", asked.strip_suffix("()").unwrap_or(&asked)),
    }
}
