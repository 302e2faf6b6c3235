#!/usr/bin/env bash
# @openai/codex 0.171.0: `codex exec` asks again after 402 Payment Required and 403 Forbidden, as after a server's own faults, and does
# not after 400 Bad Request.
#
# What one would guess: an answer of the 4xx kind is the client's fault, and the same request comes to the same answer; a gateway that
# has no budget left says 402, the status of that name, and the program shows its text at once.
# What happens: after a 402 and after a 403 the same request comes six times in all, with growing pauses, before the text of the answer
# is shown. After a 400 it comes once, and the text is shown at once. So a gateway that refuses for good says 400 to codex.
#
# What is run: `codex exec` with an HTTP server on the loopback as its provider that refuses every request with one status and a body in
# the shape of that API's errors; the requests are counted. Expected: "402: 6 requests", "403: 6 requests", "400: 1 request", each with
# the text shown.
# Needs: npm, python3. Exit code 0 as long as codex behaves so, 1 where it does not any more.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm install --silent --no-fund --no-audit --ignore-scripts --prefix "$folder" @openai/codex@0.171.0-linux-x64 >&2

cat >"$folder/drive.py" <<'PYTHON'
import http.server, json, os, pathlib, subprocess, sys, threading

folder = pathlib.Path(sys.argv[1])
codex = next(folder.glob("node_modules/@openai/codex/vendor/*/bin/codex"))
refused = []


class Provider(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path.endswith("/responses"):
            refused.append(self.path)
        body = json.dumps({"error": {"message": "the budget is used up", "type": "budget", "code": "budget"}}).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
threading.Thread(target=server.serve_forever, daemon=True).start()
CONFIG = """model = "own-model"
model_provider = "own"
check_for_update_on_startup = false
[model_providers.own]
name = "own"
base_url = "http://127.0.0.1:{port}/v1"
wire_api = "responses"
env_key = "OWN_KEY"
"""
good = True
for status, want in ((402, 6), (403, 6), (400, 1)):
    home = folder / f"home-{status}"
    (home / ".codex").mkdir(parents=True)
    (home / "work").mkdir()
    (home / ".codex/config.toml").write_text(CONFIG.format(port=server.server_port))
    refused.clear()
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "OWN_KEY": "k"}
    command = [codex, "exec", "--skip-git-repo-check", "Say hello"]
    ran = subprocess.run(command, cwd=home / "work", env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180)
    shown = "the budget is used up" in ran.stdout + ran.stderr
    print(f"{status}: {len(refused)} request{'s' * (len(refused) != 1)}, {'the text is shown' if shown else 'nothing is shown'}", flush=True)
    good &= len(refused) == want and shown
sys.exit(0 if good else 1)
PYTHON

python3 "$folder/drive.py" "$folder"
