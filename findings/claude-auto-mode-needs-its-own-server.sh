#!/usr/bin/env bash
# @anthropic-ai/claude-code 2.1.332: with ANTHROPIC_BASE_URL set to a server of one's own, it starts in a mode that this server cannot
# serve, and stops at the first command that is not plainly harmless, whatever the settings allow.
#
# What one would guess: settings that allow the tool `Bash` allow it: the command of a tool call runs, and its result is sent.
# What happens: where no `permissions.defaultMode` is set it starts in auto mode, which judges commands by a check on Anthropic's
# server and sets aside a rule as wide as `Bash`. A command like `git log` runs. At one like `python3 -c CODE`, or `git commit`, it finds that
# the check does not come through the base URL and asks "Auto mode can't check actions in this session ..." until a person answers. With
# `"defaultMode": "acceptEdits"` beside the same rule the command runs at once.
#
# What is run: claude on a pseudo-terminal, with an HTTP server on the loopback that speaks as much of the Messages API as it needs to
# call the tool `Bash` once; it is seen whether the tool's result comes within 60 seconds or the question is on the screen. Expected:
# "git log, no mode: runs", "python3, no mode: asks", "python3, acceptEdits: runs".
# Needs: npm, python3. Exit code 0 as long as claude behaves so, 1 where it does not any more.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm install --silent --no-fund --no-audit --ignore-scripts --prefix "$folder" @anthropic-ai/claude-code-linux-x64@2.1.332 >&2

cat >"$folder/drive.py" <<'PYTHON'
import fcntl, http.server, json, os, pathlib, pty, re, select, signal, struct, subprocess, sys, termios, threading, time

folder = pathlib.Path(sys.argv[1])
claude = folder / "node_modules/@anthropic-ai/claude-code-linux-x64/claude"
came = threading.Event()
command = ""


class Model(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))))
        if not asked.get("tools") or not asked.get("stream"):
            return self.send_error(400)
        if "tool_result" in json.dumps(asked["messages"]):
            came.set()
            return self.send_error(400)
        tool = {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}}
        given = json.dumps({"command": command, "description": "look"})
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None, "usage": {"input_tokens": 1, "output_tokens": 1}}
        events = [
            {"type": "message_start", "message": message},
            {"type": "content_block_start", "index": 0, "content_block": tool},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": given}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 2}},
            {"type": "message_stop"},
        ]
        body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Model)
threading.Thread(target=server.serve_forever, daemon=True).start()
work = folder / "work"
work.mkdir()
(work / "file").write_text("one\n")
for git in (["init", "-q"], ["add", "-A"], ["-c", "user.name=x", "-c", "user.email=x@x.invalid", "commit", "-qm", "one"]):
    subprocess.run(["git", *git], cwd=work, check=True)


def run(label, tried, permissions):
    global command
    command = tried
    home = folder / label.replace(" ", "-").replace(",", "")
    (home / ".claude").mkdir(parents=True)
    key = "a-key-of-twenty-char"
    state = {"hasCompletedOnboarding": True, "customApiKeyResponses": {"approved": [key], "rejected": []}}
    state["projects"] = {str(work): {"hasTrustDialogAccepted": True}}
    (home / ".claude.json").write_text(json.dumps(state))
    (home / ".claude/settings.json").write_text(json.dumps({"permissions": {"allow": ["Bash"]} | permissions}))
    came.clear()
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(work)
        named = {"HOME": str(home), "PATH": os.environ["PATH"], "TERM": "xterm-256color", "ANTHROPIC_API_KEY": key}
        named |= {"ANTHROPIC_BASE_URL": f"http://127.0.0.1:{server.server_port}", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
        os.execve(claude, ["claude", "Look at the file"], named)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    seen, end, question = b"", time.monotonic() + 60, False
    while time.monotonic() < end and not came.is_set() and not (question and time.monotonic() > question + 10):
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                seen += os.read(terminal, 65536)
            except OSError:
                break
        # Words are drawn with gaps that are moves of the cursor.
        if not question and b"modecan'tcheckactions" in re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]|\s", b"", seen):
            question = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(terminal)
    what = "runs" if came.is_set() else "asks" if question else "does neither"
    print(f"{label}: {what}", flush=True)
    return what


good = run("git log, no mode", "git log --oneline", {}) == "runs"
good &= run("python3, no mode", "python3 -c 'print(1)'", {}) == "asks"
good &= run("python3, acceptEdits", "python3 -c 'print(1)'", {"defaultMode": "acceptEdits"}) == "runs"
sys.exit(0 if good else 1)
PYTHON

python3 "$folder/drive.py" "$folder"
