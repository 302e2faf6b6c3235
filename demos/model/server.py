#!/usr/bin/env python3
"""A scripted stand-in for a model, for demos and tests: it speaks the wires of model APIs, and says what a script says.

Usage: demos/model/server.py [--script FILE] [--port N] [--root DIR] [--delay SECONDS] [--too-many N] [--keep DIR]
                             [--key FILE]

  --script FILE    what it says; see README.md (default: widgets.toml beside this file)
  --port N         of 127.0.0.1 (default: any that is free); printed as the only line of standard output
  --root DIR       the working tree on the program's machine, for programs that take no relative paths
  --delay SECONDS  pause before each word of an answer (default 0)
  --too-many N     the Nth request for an answer is refused once, with status 429
  --keep DIR       each request's body is written there, as it came
  --key FILE       a POST that does not bring the text of this file as its key is refused, with status 401

One line of standard error for each request. TERM and Ctrl-C end it.
"""

import argparse
import json
import pathlib
import re
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# The tree stays as it is.
sys.dont_write_bytecode = True

import chat
import gemini
import messages
import responses
from script import Script

# Largest body of a request; programs send the whole conversation and the descriptions of their tools each time.
LARGEST = 32 * 1024 * 1024
# Requests that are answered at the same time; one more is told to come again.
MOST = 64
# Refusals that are remembered, of how many programs soever.
MOST_REFUSED = 4096
GEMINI = re.compile(r"/v1(?:beta|alpha)?/models/([\w.-]{1,80}):(streamGenerateContent|generateContent|countTokens)$")


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    timeout = 600
    # Each word is sent when it is said.
    disable_nagle_algorithm = True

    def log_message(self, format, *args):
        """Requests are told by `note`."""

    def agent(self):
        """The program that asks, as it names itself."""
        return (self.headers.get("user-agent") or "?").split(" ")[0][:40]

    def note(self, text):
        """One line on standard error."""
        agent = self.agent()
        with self.server.printing:
            print(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {self.command} {self.path[:80]} {agent}: {text}", file=sys.stderr, flush=True)

    def answer(self, status, value, why, headers=()):
        """A whole answer, as JSON."""
        self.note(f"{status}, {why}")
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        for name, text in headers:
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self):
        """Programs look whether anybody is there."""
        self.answer(200, {}, "is there")

    def do_GET(self):
        """Lists of models, and 404."""
        if self.path.split("?")[0].endswith("/models"):
            model = {"id": "scripted", "object": "model", "type": "model", "display_name": "scripted", "created": 0}
            return self.answer(200, {"object": "list", "data": [model], "has_more": False}, "models")
        self.answer(404, {"error": {"type": "not_found_error", "message": "not here"}}, "not here")

    def do_POST(self):
        """A request for an answer."""
        if not self.brings_key():
            self.close_connection = True
            return self.answer(401, {"error": {"type": "authentication_error", "message": "that is not the key"}}, "not with its key")
        if not self.server.room.acquire(blocking=False):
            return self.answer(503, {"error": {"type": "overloaded_error", "message": "too many requests at once"}}, "no room")
        try:
            body = self.body()
            if body is not None:
                self.route(self.path.split("?")[0], body)
        except (BrokenPipeError, ConnectionResetError):
            self.note("left before the end of its answer")
            self.close_connection = True
        finally:
            self.server.room.release()

    def brings_key(self):
        """Whether the request has the key that is asked for, in one of the headers that programs use."""
        said = [self.headers.get(name, "") for name in ("authorization", "x-api-key", "x-goog-api-key")]
        return self.server.key is None or any(text.removeprefix("Bearer ") == self.server.key for text in said)

    def body(self):
        """The request's body as a dictionary; None where it was answered that it is none."""
        size = self.headers.get("content-length", "")
        if not size.isdecimal() or int(size) > LARGEST:
            self.close_connection = True
            self.answer(413, {"error": {"message": f"a body of at most {LARGEST} bytes, please"}}, f"length {size[:20]!r}")
            return None
        raw = self.rfile.read(int(size))
        if self.server.keep:
            (self.server.keep / f"{time.time_ns()}.json").write_bytes(raw)
        try:
            read = json.loads(raw)
        except ValueError:
            read = None
        if not isinstance(read, dict):
            self.answer(400, {"error": {"message": "the body is no JSON object"}}, "no JSON object")
            return None
        return read

    def route(self, path, body):
        """What is asked for, by its path."""
        tokens = len(json.dumps(body)) // 4
        google = GEMINI.search(path)
        try:
            if path.endswith("/messages/count_tokens"):
                return self.answer(200, {"input_tokens": tokens}, "tokens counted")
            if google and google[2] == "countTokens":
                return self.answer(200, {"totalTokens": tokens}, "tokens counted")
            if path.endswith("/responses"):
                wire, talk = responses, responses.parse(body)
            elif path.endswith("/messages"):
                wire, talk = messages, messages.parse(body)
            elif path.endswith("/chat/completions"):
                wire, talk = chat, chat.parse(body)
            elif google:
                wire, talk = gemini, gemini.parse(body, google[1], google[2] == "streamGenerateContent")
            else:
                return self.answer(404, {"error": {"type": "not_found_error", "message": "not here"}}, "not here")
        except (AttributeError, TypeError, KeyError) as error:
            return self.answer(400, {"error": {"type": "invalid_request_error", "message": f"not of this API: {error}"}}, f"{error}")
        if self.server.refuse_this():
            return self.refuse(1, "")
        reply = self.server.script.reply(talk)
        if self.server.refuse_once(self.agent(), reply):
            return self.refuse(reply.refuse, f", for {reply.refuse} s; {reply.why}")
        said = f"{talk.model[:40]}, {len(talk.items)} items, {len(talk.tools)} tools; {reply.why}"
        self.say(wire, talk, reply, (tokens, len(reply.text) // 4 + 1), said)

    def refuse(self, seconds, why):
        """That there were too many requests, and when to come again."""
        error = {"type": "rate_limit_error", "code": "rate_limit_exceeded", "message": "Too many requests; once."}
        self.answer(429, {"type": "error", "error": error}, f"refused once{why}", [("retry-after", str(seconds))])

    def say(self, wire, talk, reply, tokens, said):
        """The answer, as a stream where one was asked for."""
        if not talk.stream:
            given = (reply, talk, tokens)
            whole = wire.whole(*given) if wire in (messages, chat) else wire.whole(wire.events(*given))
            return self.answer(200, whole, said)
        self.note(f"200, {said}")
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("cache-control", "no-cache")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        pause = max(reply.slow, self.server.delay)
        events = wire.events(reply, talk, tokens)
        for name, data in wire.numbered(events) if hasattr(wire, "numbered") else events:
            if pause and ("delta" in (name or "") or name is None):
                self.server.over.wait(pause)
            text = data if isinstance(data, str) else json.dumps(data)
            self.chunk((f"event: {name}\n" if name else "") + f"data: {text}\n\n")
        self.chunk("")

    def chunk(self, text):
        """A chunk of the stream, at once; the empty one ends it."""
        raw = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(raw), raw))
        self.wfile.flush()


class Server(ThreadingHTTPServer):
    """All connections."""

    daemon_threads = True

    def __init__(self, options):
        super().__init__(("127.0.0.1", options.port), Handler)
        self.script = Script(options.script, f"{options.root}/" if options.root else "")
        self.delay, self.too_many, self.keep = options.delay, options.too_many, options.keep
        self.key = options.key.read_text().strip() if options.key else None
        # Who was refused what.
        self.refused = set()
        self.room, self.printing, self.over = threading.BoundedSemaphore(MOST), threading.Lock(), threading.Event()

    def refuse_this(self):
        """Whether this request for an answer is the one to be refused."""
        with self.printing:
            self.too_many -= 1
            return self.too_many == 0

    def refuse_once(self, agent, reply):
        """Whether this reply is refused to this program, as its script says: to each program once."""
        with self.printing:
            if reply.refuse is None or (agent, reply.why) in self.refused or len(self.refused) >= MOST_REFUSED:
                return False
            self.refused.add((agent, reply.why))
            return True

    def handle_error(self, request, client_address):
        """A connection that broke is no trouble of the server's; anything else is told."""
        error = sys.exc_info()[1]
        if not isinstance(error, (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


def main():
    """Serves until it is told to end."""
    here = pathlib.Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--script", type=pathlib.Path, default=here / "widgets.toml")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--root", default="")
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--too-many", type=int, default=0)
    parser.add_argument("--keep", type=pathlib.Path)
    parser.add_argument("--key", type=pathlib.Path)
    options = parser.parse_args()
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    with Server(options) as server:
        def end(*_):
            server.over.set()
            threading.Thread(target=server.shutdown).start()

        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGINT, end)
        print(server.server_address[1], flush=True)
        server.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    main()
