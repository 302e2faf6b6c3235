#!/usr/bin/env bash
# @openai/codex 0.171.0: a task on the command line is not begun while codex asks whether one would rather have a newer model,
# also where a provider of one's own serves the model that config.toml names.
#
# What one would guess: `codex "task"` sends the task to the configured provider. The folder is trusted, the provider has a key, the
# approval policy is `never`, the check for updates is off: nothing is left to be asked.
# What happens with `model = "gpt-5.5"`: codex draws "Meet GPT-6 Sol ... 1. Try new model, 2. Use existing model" and waits for a key.
# No request leaves it, and Enter, whatever it was meant for, takes the first choice. With
# `[notice.model_migrations]` `"gpt-5.5" = "gpt-6-sol"`, which is what codex writes itself after the second choice, or with a model
# that its catalogue does not know, the task is sent at once. `codex exec` never asks.
#
# What is run: codex on a pseudo-terminal, with an HTTP server on the loopback as its provider that refuses every request; it is seen
# whether a request comes within 40 seconds or the question is on the screen. Expected: "gpt-5.5: asks, and sends nothing",
# "gpt-5.5 with the notice: sends the task", "a model of one's own: sends the task".
# Needs: npm, python3. Exit code 0 as long as codex behaves so, 1 where it does not any more.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm install --silent --no-fund --no-audit --ignore-scripts --prefix "$folder" @openai/codex@0.171.0-linux-x64 >&2

cat >"$folder/drive.py" <<'PYTHON'
import fcntl, http.server, os, pathlib, pty, re, select, signal, struct, sys, termios, threading, time

folder = pathlib.Path(sys.argv[1])
codex = next(folder.glob("node_modules/@openai/codex/vendor/*/bin/codex"))
asked = threading.Event()


class Provider(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path.endswith("/responses"):
            asked.set()
        self.send_error(400)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
threading.Thread(target=server.serve_forever, daemon=True).start()
CONFIG = """model = "{model}"
model_provider = "own"
approval_policy = "never"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false
[model_providers.own]
name = "own"
base_url = "http://127.0.0.1:{port}/v1"
wire_api = "responses"
env_key = "OWN_KEY"
[projects."{work}"]
trust_level = "trusted"
{notice}"""
# What a terminal answers, so that codex does not wait for it: cursor, attributes, colours.
ANSWERS = {b"\x1b[6n": b"\x1b[1;1R", b"\x1b[c": b"\x1b[?62;22c", b"\x1b]10;?": b"\x1b]10;rgb:ff/ff/ff\x1b\\", b"\x1b]11;?": b"\x1b]11;rgb:0/0/0\x1b\\"}


def run(label, model, notice):
    home, work = folder / label.replace(" ", "-"), folder / "work"
    (home / ".codex").mkdir(parents=True)
    work.mkdir(exist_ok=True)
    (home / ".codex/config.toml").write_text(CONFIG.format(model=model, port=server.server_port, work=work, notice=notice))
    asked.clear()
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(work)
        os.execve(codex, ["codex", "--no-daemon", "Say hello"], {"HOME": str(home), "PATH": os.environ["PATH"], "TERM": "xterm-256color", "OWN_KEY": "k"})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    seen, end, question = b"", time.monotonic() + 40, False
    while time.monotonic() < end and not asked.is_set():
        if question and time.monotonic() > question + 10:
            break
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                new = os.read(terminal, 65536)
            except OSError:
                break
            for query, answer in ANSWERS.items():
                if query in new:
                    os.write(terminal, answer)
            seen += new
        # Words are drawn with gaps that are moves of the cursor.
        if not question and b"Useexistingmodel" in re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]|\s", b"", seen):
            question = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(terminal)
    what = "sends the task" if asked.is_set() else "asks, and sends nothing" if question else "does neither"
    print(f"{label}: {what}", flush=True)
    return what


notice = '[notice.model_migrations]\n"gpt-5.5" = "gpt-6-sol"\n'
good = run("gpt-5.5", "gpt-5.5", "") == "asks, and sends nothing"
good &= run("gpt-5.5 with the notice", "gpt-5.5", notice) == "sends the task"
good &= run("a model of one's own", "own-model", "") == "sends the task"
sys.exit(0 if good else 1)
PYTHON

python3 "$folder/drive.py" "$folder"
