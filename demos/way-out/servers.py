"""What the programs of demos/way-out.sh reach: on this machine's loopback alone.

Prints one line: the port of HTTPS, that of HTTP, that of a server that greets like ssh, and that of another HTTP that no recipe lists. HTTP serves a small registry each for npm,
PyPI and apt. Arguments: a certificate, and its key.
"""

import base64
import gzip
import hashlib
import http.server
import io
import json
import socketserver
import ssl
import sys
import tarfile
import threading
import zipfile

HOST = "host.pilothouse.internal"


def tarball() -> bytes:
    """A package of npm that has nothing but its name."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        text = json.dumps({"name": "tiny", "version": "1.0.0"}).encode()
        info = tarfile.TarInfo("package/package.json")
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text))
    return out.getvalue()


def wheel() -> bytes:
    """A package of PyPI that has nothing but its name."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("tiny.py", "")
        archive.writestr("tiny-1.0.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0.0\n")
        archive.writestr("tiny-1.0.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("tiny-1.0.0.dist-info/RECORD", "")
    return out.getvalue()


class Files(http.server.BaseHTTPRequestHandler):
    """Serves what it knows by path."""

    protocol_version = "HTTP/1.1"
    files: dict[str, tuple[str, bytes]] = {}

    def do_GET(self) -> None:
        kind, body = self.files.get(self.path.split("?")[0], ("", b""))
        self.send_response(200 if kind else 404)
        self.send_header("Content-Type", kind or "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Says nothing."""


class Greeter(socketserver.BaseRequestHandler):
    """Greets as a server of ssh does, hears the client's greeting, and leaves."""

    def handle(self) -> None:
        self.request.sendall(b"SSH-2.0-way-out\r\n")
        self.request.recv(256)


class Server(http.server.ThreadingHTTPServer):
    """Several connections at a time."""

    daemon_threads = True


def files(port: int) -> dict[str, tuple[str, bytes]]:
    package, one_wheel = tarball(), wheel()
    npm = {
        "name": "tiny",
        "dist-tags": {"latest": "1.0.0"},
        "versions": {
            "1.0.0": {
                "name": "tiny",
                "version": "1.0.0",
                "dist": {
                    "tarball": f"http://{HOST}:{port}/npm/tiny/-/tiny-1.0.0.tgz",
                    "integrity": "sha512-" + base64.b64encode(hashlib.sha512(package).digest()).decode(),
                },
            }
        },
    }
    name = "tiny-1.0.0-py3-none-any.whl"
    packages = gzip.compress(b"")
    release = f"Suite: x\nSHA256:\n {hashlib.sha256(packages).hexdigest()} {len(packages)} Packages.gz\n"
    return {
        "/": ("text/html", b'<a href="arrived.txt">arrived.txt</a>'),
        "/arrived.txt": ("text/plain", b"arrived\n"),
        "/npm/tiny": ("application/json", json.dumps(npm).encode()),
        "/npm/tiny/-/tiny-1.0.0.tgz": ("application/octet-stream", package),
        "/simple/tiny/": ("text/html", f'<a href="{name}">{name}</a>'.encode()),
        f"/simple/tiny/{name}": ("application/zip", one_wheel),
        "/apt/Release": ("text/plain", release.encode()),
        "/apt/Packages.gz": ("application/gzip", packages),
    }


def main() -> None:
    certificate, key = sys.argv[1:3]
    plain = Server(("127.0.0.1", 0), Files)
    Files.files = files(plain.server_port)
    secure = Server(("127.0.0.1", 0), Files)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    secure.socket = context.wrap_socket(secure.socket, server_side=True, do_handshake_on_connect=False)
    greeter = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Greeter)
    greeter.daemon_threads = True
    unlisted = Server(("127.0.0.1", 0), Files)
    for server in (plain, secure, greeter, unlisted):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print(secure.server_port, plain.server_port, greeter.server_address[1], unlisted.server_port, flush=True)
    threading.Event().wait()


main()
