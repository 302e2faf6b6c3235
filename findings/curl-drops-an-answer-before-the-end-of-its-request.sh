#!/usr/bin/env bash
# curl 7.88.1 (Debian 12): over HTTP/2 a whole answer that comes before curl has sent the last of its request is thrown away where the
# server then ends the stream by RST_STREAM with NO_ERROR.
#
# What one would guess: RFC 9113, section 8.1, has servers do just that to say that the rest of the request is not wanted, and clients
# must not discard the answer for it. A gateway that refuses a request by its head, as hyper's server does where the handler does not
# read the body, is seen with its status and its text.
# What happens: curl ends with 52, "Empty reply from server", and prints neither status nor text; where head and body are further apart
# in time it may be 92, "Stream error in the HTTP/2 framing layer". The same answer without the reset is read. So who refuses requests of
# curl reads them to their end first.
#
# What is run: a server on the loopback, by the Python package h2 4.3.0, that answers 402 with a text as soon as the head of a request is
# there, with and without the reset; and curl that uploads what is said a second later. Expected: "without the reset: exit code 0,
# 'refused 402'", "with the reset: exit code 52, '000'".
# Needs: Debian 12 (its packages of curl are unpacked, not installed), python3, pip. Exit code 0 as long as curl behaves so, 1 where it
# does not any more.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
version=7.88.1-10+deb12u15
chmod 755 "$folder"
(cd "$folder" && apt-get download -qq "curl=$version" "libcurl4=$version" >&2 && for deb in ./*.deb; do dpkg -x "$deb" root; done)
python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target "$folder/python" h2==4.3.0 >&2

cat >"$folder/drive.py" <<'PYTHON'
import os, pathlib, socket, subprocess, sys, threading

folder = pathlib.Path(sys.argv[1])
sys.path.insert(0, str(folder / "python"))
import h2.config, h2.connection, h2.errors, h2.events


def serve(stream, reset):
    http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    http.initiate_connection()
    stream.sendall(http.data_to_send())
    while data := stream.recv(65536):
        for event in http.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                http.send_headers(event.stream_id, [(":status", "402"), ("content-length", "8")])
                http.send_data(event.stream_id, b"refused ", end_stream=True)
                if reset:
                    http.reset_stream(event.stream_id, h2.errors.ErrorCodes.NO_ERROR)
        stream.sendall(http.data_to_send())


def accept(listener, reset):
    while True:
        serve(listener.accept()[0], reset)


def run(label, reset):
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=accept, args=(listener, reset), daemon=True).start()
    address = "http://127.0.0.1:%d/" % listener.getsockname()[1]
    curl = [str(folder / "root/usr/bin/curl"), "--http2-prior-knowledge", "-sS", "-m", "20", "-X", "POST", "-T", "-", "-w", "%{http_code}", address]
    environment = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": str(folder / "root/usr/lib/x86_64-linux-gnu")}
    said = subprocess.Popen(["sh", "-c", "sleep 1; printf body"], stdout=subprocess.PIPE)
    ran = subprocess.run(curl, stdin=said.stdout, env=environment, capture_output=True, text=True)
    said.stdout.close()
    said.wait()
    print(f"{label}: exit code {ran.returncode}, {ran.stdout!r} {ran.stderr.strip()}", flush=True)
    return ran.returncode, ran.stdout


good = run("without the reset", False) == (0, "refused 402")
good &= run("with the reset", True) == (52, "000")
sys.exit(0 if good else 1)
PYTHON

python3 "$folder/drive.py" "$folder"
