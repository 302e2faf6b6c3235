//! Hooks of Copilot CLI. By names as Claude Code has them it hands over what that would, but for a permission, which it tells in a form
//! of its own.

use serde_json::Value;

use super::{
    claude,
    report::{blocked, call, question, report, text},
};
use crate::session_protocol::HookReport;

pub(super) fn read(value: &Value, now: i64) -> Option<HookReport> {
    if text(value, "hookName") == "permissionRequest" {
        let said = call(text(value, "toolName"), &value["toolInput"]);
        let conversation = text(value, "sessionId").into();
        return Some(HookReport { conversation, ..blocked("PermissionRequest", "permission", &said) });
    }
    let event = text(value, "hook_event_name");
    let conversation = || text(value, "session_id").into();
    match event {
        // It asks its model again by itself.
        "ErrorOccurred" if value["recoverable"] == true => None,
        "ErrorOccurred" => {
            let said = text(&value["error"], "message");
            Some(HookReport { conversation: conversation(), ..report(event, "error", said) })
        }
        "PreToolUse" if text(value, "tool_name") == "ask_user" => Some(HookReport {
            conversation: conversation(),
            ..blocked(event, "question", question(&value["tool_input"]))
        }),
        _ => claude::read(value, now),
    }
}
