#!/usr/bin/env bash
# gemini-cli 0.61.0: an Enter that follows a bracketed paste at once is a new line of the prompt, and submits nothing.
#
# What one would guess: a bracketed paste says where it ends, so that an Enter behind it submits, as in codex 0.171 and
# claude-code 2.1.332, however soon it comes.
# What happens: for a moment after gemini has dealt with a paste (40 ms in its source) an Enter is taken for a part of it. The
# moment begins when the paste was dealt with, and not when it was read, so that on a busy machine a fixed pause is no help:
# Enter has to wait until gemini has drawn the paste.
#
# What is run: gemini on a pseudo-terminal that answers its queries, with a server that only counts requests in the place of its
# model. It is given a paste and an Enter in one write, and in a second run the Enter two seconds later. Expected: "at once: not
# submitted" and "later: submitted".
# Needs: npm with Node 20 or newer, python3. Exit code 0 as long as gemini behaves so, 1 where it does not any more.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm install --silent --ignore-scripts --no-audit --no-fund --prefix "$folder" @google/gemini-cli@0.61.0 >&2

cat >"$folder/drive.py" <<'PYTHON'
import fcntl, http.server, json, os, pty, re, select, signal, struct, sys, termios, threading, time

folder, asked = sys.argv[1], threading.Event()


class Model(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked.set()
        self.send_error(400)

    def log_message(self, *args):
        pass


model = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Model)
threading.Thread(target=model.serve_forever, daemon=True).start()
ANSWERS = [(rb"\x1b\[\?u", b"\x1b[?0u"), (rb"\x1b\[c", b"\x1b[?62;22c"), (rb"\x1b\]11;\?", b"\x1b]11;rgb:1212/1212/1212\x1b\\")]


def submits(pause):
    """Whether a paste with an Enter after this many seconds is sent to the model."""
    home = os.path.join(folder, f"home{pause}")
    os.makedirs(home + "/.gemini")
    settings = {"security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}},
                "general": {"enableAutoUpdate": False}}
    with open(home + "/.gemini/settings.json", "w") as file:
        json.dump(settings, file)
    environment = {"HOME": home, "PATH": os.environ["PATH"], "TERM": "xterm-256color", "LANG": "C.UTF-8", "GEMINI_API_KEY": "none",
                   "GOOGLE_GEMINI_BASE_URL": f"http://127.0.0.1:{model.server_port}"}
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(home)
        program = folder + "/node_modules/.bin/gemini"
        os.execve(program, [program], environment)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    asked.clear()
    seen, still, pasted, done = b"", time.monotonic(), None, None
    try:
        until = time.monotonic() + 180
        while time.monotonic() < until and not asked.is_set() and not (done and time.monotonic() > done + 10):
            now = time.monotonic()
            if select.select([terminal], [], [], 0.05)[0]:
                piece = os.read(terminal, 65536)
                seen, still = seen + piece, now
                for query, answer in ANSWERS:
                    if re.search(query, piece):
                        os.write(terminal, answer)
            ready = b"\x1b[?2004h" in seen and b"Type your message" in seen and now > still + 3
            if pasted is None and ready:
                os.write(terminal, b"\x1b[200~one\rtwo\x1b[201~" + (b"" if pause else b"\r"))
                pasted, done = now, None if pause else now
            if pause and pasted and not done and now > pasted + pause:
                os.write(terminal, b"\r")
                done = now
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)
    if pasted is None:
        sys.exit("gemini was not ready in time")
    return asked.is_set()


results = {"at once": submits(0), "later": submits(2)}
for name, submitted in results.items():
    print(f"{name}: {'submitted' if submitted else 'not submitted'}")
sys.exit(0 if results == {"at once": False, "later": True} else 1)
PYTHON
python3 "$folder/drive.py" "$folder"
