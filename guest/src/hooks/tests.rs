//! What the real programs hand their hooks, and what is read of it.

use serde_json::json;

use super::*;

const NOW: i64 = 1_764_500_000_000;

fn said(program: &str, value: &Value) -> Option<(String, String, String)> {
    let report = read(program, value.to_string().as_bytes(), false, NOW)?;
    Some((report.state, report.kind, report.text))
}

fn is(state: &str, kind: &str, text: &str) -> Option<(String, String, String)> {
    Some((state.into(), kind.into(), text.into()))
}

/// An event of Claude Code with what all of them have.
fn claude(event: &str, more: &Value) -> Value {
    let mut value = json!({
        "session_id": "00893aaf-19fa-41d2-8238-13269b9b3ca0",
        "transcript_path": "/home/agent/.claude/projects/-work/00893aaf.jsonl",
        "cwd": "/work",
        "permission_mode": "default",
        "hook_event_name": event,
    });
    value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    value
}

#[test]
fn claude_code() {
    let bash = json!({ "tool_name": "Bash", "tool_input": { "command": "npm test\n", "description": "Run tests" } });
    for (event, more, expected) in [
        ("SessionStart", json!({ "source": "startup", "model": "claude" }), is("idle", "", "")),
        ("SessionStart", json!({ "source": "compact" }), None),
        ("UserPromptSubmit", json!({ "prompt": "do it" }), is("working", "", "")),
        ("PreToolUse", bash.clone(), is("working", "", "Bash(npm test)")),
        ("PostToolUse", bash.clone(), is("working", "", "")),
        ("PermissionRequest", bash.clone(), is("blocked", "permission", "Bash(npm test)")),
        (
            "PermissionRequest",
            json!({ "tool_name": "Write", "tool_input": { "file_path": "/work/a", "content": "x" } }),
            is("blocked", "permission", "Write(/work/a)"),
        ),
        (
            "PermissionRequest",
            json!({ "tool_name": "mcp__db__query", "tool_input": { "sql": "select 1" } }),
            is("blocked", "permission", "mcp__db__query({\"sql\":\"select 1\"})"),
        ),
        (
            "PermissionRequest",
            json!({ "tool_name": "Bash", "tool_input": {}, "permission_mode": "bypassPermissions" }),
            None,
        ),
        (
            "PreToolUse",
            json!({ "tool_name": "AskUserQuestion", "tool_input": { "questions": [{ "question": "Which database?" }] } }),
            is("blocked", "question", "Which database?"),
        ),
        (
            "Notification",
            json!({ "notification_type": "permission_prompt", "message": "Claude needs your permission" }),
            None,
        ),
        (
            "Notification",
            json!({ "notification_type": "idle_prompt", "message": "Claude is waiting for your input" }),
            is("idle", "", ""),
        ),
        (
            "Notification",
            json!({ "notification_type": "elicitation_dialog", "message": "Which?" }),
            is("blocked", "question", "Which?"),
        ),
        (
            "Stop",
            json!({ "stop_hook_active": false, "last_assistant_message": "All\n tests pass." }),
            is("idle", "", "All tests pass."),
        ),
        ("SubagentStop", json!({}), None),
        ("PreCompact", json!({ "trigger": "auto" }), None),
        ("SessionEnd", json!({ "reason": "prompt_input_exit" }), None),
        ("StopFailure", json!({ "error": "server_error", "error_details": "500" }), is("error", "", "500")),
        (
            "StopFailure",
            json!({ "error": "authentication_failed", "last_assistant_message": "Please run /login" }),
            is("blocked", "auth", "Please run /login"),
        ),
    ] {
        assert_eq!(said("claude", &claude(event, &more)), expected, "{event} {more}");
    }
}

#[test]
fn limits_say_when_they_end() {
    let failure = |error: &str, said: &str| {
        let more = json!({ "error": error, "error_details": "429 Too Many Requests", "last_assistant_message": said });
        read("claude", claude("StopFailure", &more).to_string().as_bytes(), false, NOW).unwrap()
    };
    let rate = failure("rate_limit", "API Error: Rate limit reached, try again in 20s");
    assert_eq!((&*rate.state, rate.until), ("limited", NOW + 20_000));
    assert!(rate.text.starts_with("rate limited: API Error"), "{rate:?}");
    let quota = failure("rate_limit", "Claude usage limit reached|1764518400");
    assert!(quota.text.starts_with("out of quota: ") && quota.until == 1_764_518_400_000, "{quota:?}");
    assert!(failure("billing_error", "Your credit balance is too low").text.starts_with("out of quota: "));
}

#[test]
fn nobody_is_asked_where_nobody_could_answer() {
    let asked = claude("PermissionRequest", &json!({ "tool_name": "Bash", "tool_input": { "command": "ls" } }));
    assert!(read("claude", asked.to_string().as_bytes(), false, NOW).is_some());
    assert_eq!(read("claude", asked.to_string().as_bytes(), true, NOW), None);
}

#[test]
fn codex() {
    let hook = json!({
        "cwd": "/work", "hook_event_name": "PermissionRequest", "model": "gpt", "permission_mode": "default",
        "session_id": "019f", "tool_input": { "command": "cargo publish", "description": "needs the network" },
        "tool_name": "Bash", "transcript_path": null, "turn_id": "1"
    });
    assert_eq!(said("codex", &hook), is("blocked", "permission", "Bash(cargo publish)"));
    let failure = json!({
        "hook_event_name": "StopFailure", "error": "rate_limit", "error_details": null, "last_assistant_message": null,
        "session_id": "019f", "cwd": "/work", "model": "gpt", "permission_mode": "default", "transcript_path": null, "turn_id": "1"
    });
    assert_eq!(said("codex", &failure), is("limited", "", "rate limited: rate_limit"));
    let notify = json!({
        "type": "agent-turn-complete", "thread-id": "019f", "turn-id": "2", "cwd": "/work", "client": "codex-tui",
        "input-messages": ["go on"], "last-assistant-message": "Done."
    });
    let report = read("codex", notify.to_string().as_bytes(), false, NOW).unwrap();
    assert_eq!((&*report.state, &*report.text, &*report.conversation), ("idle", "Done.", "019f"));
    assert!(report.of_known);
}

#[test]
fn gemini() {
    let event = |name: &str, more: Value| {
        let mut value = json!({
            "session_id": "g-1", "transcript_path": "/root/.gemini/chat.json", "cwd": "/work",
            "hook_event_name": name, "timestamp": "2026-11-03T10:00:00.000Z"
        });
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        said("gemini", &value)
    };
    assert_eq!(event("BeforeAgent", json!({ "prompt": "x" })), is("working", "", ""));
    let tool = json!({ "tool_name": "run_shell_command", "tool_input": { "command": "npm test" } });
    assert_eq!(event("BeforeTool", tool), is("working", "", "run_shell_command(npm test)"));
    let asks = json!({
        "notification_type": "ToolPermission", "message": "Tool Shell requires execution",
        "details": { "type": "exec", "title": "Shell", "command": "npm test", "rootCommand": "npm" }
    });
    assert_eq!(event("Notification", asks), is("blocked", "permission", "Shell(npm test)"));
    let edits = json!({
        "notification_type": "ToolPermission", "message": "Tool Edit requires editing",
        "details": { "type": "edit", "title": "Edit", "fileName": "a.ts", "filePath": "/work/a.ts" }
    });
    assert_eq!(event("Notification", edits), is("blocked", "permission", "Edit(a.ts)"));
    let other = json!({ "notification_type": "ToolPermission", "message": "Allow it?" });
    assert_eq!(event("Notification", other), is("blocked", "permission", "Allow it?"));
    assert_eq!(event("PreCompress", json!({ "trigger": "auto" })), None);
    assert_eq!(event("AfterAgent", json!({ "prompt": "x", "prompt_response": "Done." })), is("idle", "", "Done."));
}

#[test]
fn opencode() {
    let event = |name: &str, properties: Value| said("opencode", &json!({ "type": name, "properties": properties }));
    assert_eq!(
        event("session.status", json!({ "sessionID": "s", "status": { "type": "busy" } })),
        is("working", "", "")
    );
    assert_eq!(event("session.idle", json!({ "sessionID": "s" })), is("idle", "", ""));
    let asks = json!({
        "id": "per_1", "sessionID": "s", "permission": "bash", "patterns": ["git push"], "always": [],
        "metadata": { "command": "git push origin HEAD" }, "tool": { "messageID": "m", "callID": "c" }
    });
    assert_eq!(event("permission.asked", asks), is("blocked", "permission", "bash(git push origin HEAD)"));
    let asks = json!({ "id": "que_1", "sessionID": "s", "questions": [{ "question": "Where?", "header": "Directory", "options": [] }] });
    assert_eq!(event("question.asked", asks), is("blocked", "question", "Where?"));
    assert_eq!(
        event("permission.replied", json!({ "sessionID": "s", "requestID": "per_1", "reply": "once" })),
        is("working", "", "")
    );
    let aborted =
        json!({ "sessionID": "s", "error": { "name": "MessageAbortedError", "data": { "message": "aborted" } } });
    assert_eq!(event("session.error", aborted), is("idle", "", ""));
    let failed = json!({ "sessionID": "s", "error": { "name": "APIError", "data": { "message": "no such model", "statusCode": 404 } } });
    assert_eq!(event("session.error", failed), is("error", "", "no such model"));
    let retry = json!({ "sessionID": "s", "status": { "type": "retry", "attempt": 2, "message": "Rate limited", "next": NOW + 5000 } });
    let report =
        read("opencode", json!({ "type": "session.status", "properties": retry }).to_string().as_bytes(), false, NOW)
            .unwrap();
    assert_eq!((&*report.state, report.until), ("working", NOW + 5000));
    let created = |info: Value| {
        read(
            "opencode",
            json!({ "type": "session.created", "properties": { "info": info } }).to_string().as_bytes(),
            false,
            NOW,
        )
    };
    assert!(created(json!({ "id": "s" })).is_some_and(|report| report.begins && report.conversation == "s"));
    assert_eq!(created(json!({ "id": "t", "parentID": "s" })), None);
}

#[test]
fn what_is_none_says_nothing_and_all_is_bounded() {
    for bytes in [&b""[..], b"{", b"null", b"[]", b"\xff", b"{\"hook_event_name\":7}", b"{\"type\":\"session.status\"}"]
    {
        for program in PROGRAMS {
            assert_eq!(read(program, bytes, false, NOW), None);
        }
    }
    let long = "\u{1f600}x\u{1b}[2J\n".repeat(100_000);
    let more = json!({ "session_id": long, "tool_name": long, "tool_input": { "command": long } });
    let report = read("claude", claude("PermissionRequest", &more).to_string().as_bytes(), false, NOW).unwrap();
    assert!(
        report.text.len() <= TEXT_MAX && report.conversation.len() <= ID_MAX && !report.text.contains(char::is_control)
    );
    assert_eq!(report.check(), Ok(()));
}

/// What each program of these versions handed its hooks for one command that a person had to allow, as it was installed by its
/// profile: Claude Code 2.1.332, Codex 0.171.0, Copilot CLI 1.0.102, Gemini CLI 0.61.0, Qwen Code 0.24.4, opencode 1.18.33. Ids, paths
/// and what is not read are left out.
#[test]
fn a_command_that_was_allowed() {
    let idle = || is("idle", "", "");
    let (works, done) = (|| is("working", "", ""), || is("idle", "", "It is removed."));
    for (program, all) in [
        (
            "claude",
            vec![
                (json!({ "hook_event_name": "SessionStart", "source": "startup", "model": "m" }), idle()),
                (
                    json!({ "hook_event_name": "UserPromptSubmit", "permission_mode": "default", "prompt": "Remove it" }),
                    works(),
                ),
                (shell("PreToolUse", "Bash"), is("working", "", "Bash(rm a)")),
                (shell("PermissionRequest", "Bash"), is("blocked", "permission", "Bash(rm a)")),
                (shell("PostToolUse", "Bash"), works()),
                (stops(), done()),
            ],
        ),
        (
            "codex",
            vec![
                (
                    json!({ "hook_event_name": "SessionStart", "permission_mode": "default", "source": "startup" }),
                    idle(),
                ),
                (json!({ "hook_event_name": "UserPromptSubmit", "turn_id": "t", "prompt": "Remove it" }), works()),
                (shell("PreToolUse", "Bash"), is("working", "", "Bash(rm a)")),
                (shell("PermissionRequest", "Bash"), is("blocked", "permission", "Bash(rm a)")),
                (shell("PostToolUse", "Bash"), works()),
                (stops(), done()),
            ],
        ),
        (
            "copilot",
            vec![
                (json!({ "hook_event_name": "SessionStart", "source": "new", "initial_prompt": "Remove it" }), idle()),
                (json!({ "hook_event_name": "UserPromptSubmit", "prompt": "Remove it" }), works()),
                (shell("PreToolUse", "Bash"), is("working", "", "Bash(rm a)")),
                (
                    json!({
                        "hookName": "permissionRequest", "sessionId": "c", "toolName": "bash",
                        "toolInput": { "command": "rm a" }, "permissionSuggestions": []
                    }),
                    is("blocked", "permission", "bash(rm a)"),
                ),
                (
                    json!({
                        "hook_event_name": "Notification", "notification_type": "permission_prompt",
                        "title": "Permission needed", "message": "Run command: rm a"
                    }),
                    None,
                ),
                (shell("PostToolUse", "Bash"), works()),
                // It asks again by itself.
                (
                    json!({
                        "hook_event_name": "ErrorOccurred", "error_context": "model_call", "recoverable": true,
                        "error": { "name": "Error", "message": "Too many." }
                    }),
                    None,
                ),
                (
                    json!({
                        "hook_event_name": "ErrorOccurred", "error_context": "model_call", "recoverable": false,
                        "error": { "name": "Error", "message": "No such model." }
                    }),
                    is("error", "", "No such model."),
                ),
                (json!({ "hook_event_name": "Stop", "stop_reason": "end_turn", "stop_hook_active": false }), idle()),
            ],
        ),
        (
            "qwen",
            vec![
                (
                    json!({ "hook_event_name": "SessionStart", "permission_mode": "default", "source": "startup" }),
                    idle(),
                ),
                (
                    json!({ "hook_event_name": "UserPromptSubmit", "prompt": "Remove it", "submitted_prompt": "Remove it" }),
                    works(),
                ),
                (
                    shell("PermissionRequest", "run_shell_command"),
                    is("blocked", "permission", "run_shell_command(rm a)"),
                ),
                (
                    json!({ "hook_event_name": "Notification", "notification_type": "permission_prompt", "title": "Permission needed" }),
                    None,
                ),
                (shell("PreToolUse", "run_shell_command"), is("working", "", "run_shell_command(rm a)")),
                (shell("PostToolUse", "run_shell_command"), works()),
                (json!({ "hook_event_name": "UserPromptSubmit", "prompt": "" }), works()),
                (stops(), done()),
                (json!({ "hook_event_name": "Notification", "notification_type": "idle_prompt" }), idle()),
            ],
        ),
        (
            "gemini",
            vec![
                (json!({ "hook_event_name": "SessionStart", "source": "startup" }), idle()),
                (json!({ "hook_event_name": "BeforeAgent", "prompt": "Remove it" }), works()),
                (shell("BeforeTool", "run_shell_command"), is("working", "", "run_shell_command(rm a)")),
                (
                    json!({
                        "hook_event_name": "Notification", "notification_type": "ToolPermission",
                        "message": "Tool Confirm Shell Command requires execution",
                        "details": { "type": "exec", "title": "Confirm Shell Command", "command": "rm a", "rootCommand": "rm" }
                    }),
                    is("blocked", "permission", "Confirm Shell Command(rm a)"),
                ),
                (shell("AfterTool", "run_shell_command"), works()),
                (json!({ "hook_event_name": "AfterAgent", "prompt_response": "It is removed." }), done()),
            ],
        ),
        (
            "opencode",
            vec![
                (
                    json!({ "type": "session.created", "properties": { "sessionID": "c", "info": { "id": "c" } } }),
                    idle(),
                ),
                (
                    json!({ "type": "session.status", "properties": { "sessionID": "c", "status": { "type": "busy" } } }),
                    works(),
                ),
                (
                    json!({
                        "type": "permission.asked",
                        "properties": {
                            "id": "p", "sessionID": "c", "permission": "bash", "patterns": ["rm a"],
                            "metadata": { "command": "rm a" }, "always": ["rm *"]
                        }
                    }),
                    is("blocked", "permission", "bash(rm a)"),
                ),
                (
                    json!({ "type": "permission.replied", "properties": { "sessionID": "c", "requestID": "p", "reply": "once" } }),
                    works(),
                ),
                (
                    json!({ "type": "session.status", "properties": { "sessionID": "c", "status": { "type": "idle" } } }),
                    idle(),
                ),
                (json!({ "type": "session.idle", "properties": { "sessionID": "c" } }), idle()),
            ],
        ),
    ] {
        for (mut value, expected) in all {
            if program != "opencode" {
                value["session_id"] = "c".into();
            }
            assert_eq!(said(program, &value), expected, "{program} {value}");
            let told = read(program, value.to_string().as_bytes(), false, NOW).map(|report| report.conversation);
            assert!(told.is_none_or(|conversation| conversation == "c"), "{program} {value}");
        }
    }
}

/// An event of a shell's command.
fn shell(event: &str, tool: &str) -> Value {
    let input = json!({ "command": "rm a", "description": "rm a", "timeout": 600_000 });
    json!({ "hook_event_name": event, "permission_mode": "default", "tool_name": tool, "tool_input": input })
}

fn stops() -> Value {
    json!({ "hook_event_name": "Stop", "stop_hook_active": false, "last_assistant_message": "It is removed." })
}
