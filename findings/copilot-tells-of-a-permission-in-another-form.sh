#!/usr/bin/env bash
# Copilot CLI 1.0.102: the hook of a permission is told in another form than the other hooks, and names the tool otherwise.
#
# What one would guess: hooks under the names of Claude Code (SessionStart, PreToolUse, PermissionRequest) are handed what that hands
# over, `hook_event_name`, `session_id`, `tool_name`, as Copilot CLI does for SessionStart, PreToolUse, PostToolUse and Stop.
# What happens: PermissionRequest alone is handed `hookName`, `sessionId` and `toolName` instead, so that a program that looks for
# `hook_event_name` never hears of a permission; and the tool is `edit` there that PreToolUse has told of as `Write` a moment before.
#
# What is run: Copilot CLI on a pseudo-terminal, with a server of one answer in the place of its model: it is to write a file, which it
# asks a permission for. Nobody answers. Expected: "PreToolUse: hook_event_name, Write" and "PermissionRequest: hookName, edit".
# Needs: npm and its registry, python3, util-linux's script. Exit code 0 as long as Copilot CLI behaves so, 1 where it does not.
set -euo pipefail
folder=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
npm install --silent --ignore-scripts --no-audit --no-fund --prefix "$folder" @github/copilot-linux-x64@1.0.102 >&2
cat >"$folder/model.py" <<'PYTHON'
import http.server, json, sys

FILE = sys.argv[1]
CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "create", "arguments": '{"path": "PATH", "file_text": "x\\n"}'}}


class Model(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        deltas = [({"role": "assistant", "tool_calls": [CALL]}, None), ({}, "tool_calls")]
        for delta, finish in deltas:
            chunk = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode().replace(b"PATH", FILE.encode()))
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Model)
print(server.server_port, flush=True)
server.serve_forever()
PYTHON
mkdir -p "$folder/home/.copilot" "$folder/work"
git init --quiet "$folder/work"
python3 "$folder/model.py" "$folder/work/a.txt" >"$folder/port" &
server=$!
while [ ! -s "$folder/port" ]; do sleep 0.1; done
cat >"$folder/hook" <<'HOOK'
#!/bin/sh
cat >"${0%/*}/$1.json"
HOOK
chmod +x "$folder/hook"
printf '{ "trusted_folders": ["%s"], "banner": "never" }\n' "$folder/work" >"$folder/home/.copilot/config.json"
cat >"$folder/home/.copilot/settings.json" <<JSON
{ "hooks": {
  "PreToolUse": [{ "type": "command", "command": "$folder/hook PreToolUse" }],
  "PermissionRequest": [{ "type": "command", "command": "$folder/hook PermissionRequest" }]
} }
JSON
cd "$folder/work"
env -i HOME="$folder/home" PATH="$PATH" TERM=xterm-256color LANG=C.UTF-8 COPILOT_AUTO_UPDATE=false COPILOT_OFFLINE=true \
    COPILOT_PROVIDER_BASE_URL="http://127.0.0.1:$(cat "$folder/port")/v1" COPILOT_PROVIDER_API_KEY=none COPILOT_MODEL=m \
    script -qfc "timeout --foreground -k 5 60 $folder/node_modules/@github/copilot-linux-x64/copilot --interactive 'Write a file'" /dev/null </dev/null >/dev/null 2>&1 || true
python3 - "$folder" <<'PYTHON'
import json, sys

folder, found = sys.argv[1], []
for event in ("PreToolUse", "PermissionRequest"):
    with open(f"{folder}/{event}.json") as file:
        said = json.load(file)
    form = next(key for key in ("hook_event_name", "hookName") if key in said)
    found.append((event, form, said.get("tool_name") or said.get("toolName")))
for row in found:
    print("{}: {}, {}".format(*row))
sys.exit(0 if found == [("PreToolUse", "hook_event_name", "Write"), ("PermissionRequest", "hookName", "edit")] else 1)
PYTHON
