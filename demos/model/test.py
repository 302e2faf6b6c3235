#!/usr/bin/env python3
"""Tests of the stand-in: its wires, its bounds, its end, and that its script does on demos/widgets what demos/agent.sh needs.

Usage: demos/model/test.py
"""

import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
TASK = "Fix the discount that loses a cent"
FAILED = "The checks of pull request #1: `ci` failed. The end of the log: FAILED"
ASKED = "Review of pull request #1: kim says request-changes: One thing | lib/csv.awk:3: Quote the names."


class Model:
    """A server of its own for a test; ends with it."""

    def __init__(self, test, *options):
        command = [sys.executable, HERE / "server.py", *options]
        self.test = test
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        test.addCleanup(self.end)
        self.port = int(self.process.stdout.readline())

    def end(self):
        """Its exit code and its log."""
        if self.process.stdout.closed:
            return None
        self.process.send_signal(signal.SIGTERM)
        _, log = self.process.communicate(timeout=30)
        return self.process.returncode, log

    def open(self, path, body, headers=()):
        """A response that is not read yet."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        self.test.addCleanup(connection.close)
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request("POST", path, raw, {"content-type": "application/json", **dict(headers)})
        return connection.getresponse()

    def ask(self, path, body):
        """Status and body of a response."""
        with self.open(path, body) as response:
            return response.status, response.read().decode()

    def again(self, path, body):
        """The same, of a program that comes again where it was refused for now."""
        status, text = self.ask(path, body)
        return self.ask(path, body) if status == 429 else (status, text)

    def events(self, path, body):
        """The data of a stream's events."""
        status, text = self.again(path, body)
        assert status == 200, text
        lines = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
        return [json.loads(line) for line in lines if line != "[DONE]"]


class Wires(unittest.TestCase):
    """The same task on each wire: a call, its result, the next call."""

    def setUp(self):
        self.model = Model(self)

    def test_responses(self):
        tools = [{"type": "function", "name": "exec_command", "parameters": {"properties": {"cmd": {}}}}, {"type": "custom", "name": "apply_patch"}]
        said = [
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "--csv option"}]},
            {"role": "user", "content": [{"type": "input_text", "text": "<environment_context>--csv option</environment_context>"}]},
            {"role": "user", "content": [{"type": "input_text", "text": TASK}]},
        ]
        ask = {"model": "m", "stream": True, "tools": tools, "input": said}
        events = self.model.events("/v1/responses", ask)
        self.assertEqual(events, self.model.events("/v1/responses", ask), "a request that is sent again gets the same answer")
        self.assertEqual([event["sequence_number"] for event in events], list(range(len(events))))
        call = events[-1]["response"]["output"][-1]
        self.assertIn("cat lib/price.awk", json.loads(call["arguments"])["cmd"])
        running = {"type": "function_call_output", "call_id": call["call_id"], "output": "Process running with session ID 77\n"}
        polled = self.model.events("/v1/responses", ask | {"input": [*said, call, running]})[-1]["response"]["output"][-1]
        self.assertEqual((polled["name"], json.loads(polled["arguments"])["session_id"]), ("write_stdin", 77))
        done = {"type": "function_call_output", "call_id": polled["call_id"], "output": "exited with code 0\ncents = int(cents *"}
        patch = self.model.events("/v1/responses", ask | {"input": [*said, call, running, polled, done]})[-1]["response"]["output"][-1]
        self.assertEqual((patch["type"], patch["name"]), ("custom_tool_call", "apply_patch"))
        self.assertTrue(patch["input"].startswith("*** Begin Patch\n*** Add File: tests/discount.sh\n+#!/bin/sh\n"))

    def test_messages(self):
        tools = [{"name": "Bash"}, {"name": "Edit"}, {"name": "Write"}]
        said = [{"role": "user", "content": [{"type": "text", "text": "<system-reminder>--csv option</system-reminder>"}, {"type": "text", "text": TASK}]}]
        ask = {"model": "m", "stream": True, "tools": tools, "messages": said}
        events = self.model.events("/v1/messages?beta=true", ask)
        self.assertEqual((events[0]["type"], events[-1]["type"]), ("message_start", "message_stop"))
        whole = json.loads(self.model.ask("/v1/messages", ask | {"stream": False})[1])
        self.assertEqual(whole["stop_reason"], "tool_use")
        call = whole["content"][-1]
        result = {"type": "tool_result", "tool_use_id": call["id"], "content": [{"type": "text", "text": "fatal: no such file"}]}
        said = [*said, {"role": "assistant", "content": whole["content"]}, {"role": "user", "content": [result]}]
        stopped = json.loads(self.model.ask("/v1/messages", ask | {"stream": False, "messages": said})[1])
        self.assertEqual(stopped["stop_reason"], "end_turn")
        self.assertIn("no such file", stopped["content"][0]["text"], "it does not go on from what went wrong")
        counted = json.loads(self.model.ask("/v1/messages/count_tokens", ask)[1])
        self.assertGreater(counted["input_tokens"], 0)

    def test_chat_completions(self):
        takes = {"bash": ("command",), "edit": ("filePath", "oldString", "newString"), "write": ("filePath", "content")}
        tools = [{"function": {"name": name, "parameters": {"properties": dict.fromkeys(takes[name])}}} for name in takes]
        said = [{"role": "system", "content": "--csv option"}, {"role": "user", "content": TASK}]
        ask = {"model": "m", "stream": True, "tools": tools, "messages": said}
        call = self.model.events("/v1/chat/completions", ask)[-2]["choices"][0]["delta"]["tool_calls"][0]
        said = [*said, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "content": "cents = int(cents *"}]
        call = self.model.events("/v1/chat/completions", ask | {"messages": said})[-2]["choices"][0]["delta"]["tool_calls"][0]
        self.assertEqual((call["function"]["name"], json.loads(call["function"]["arguments"])["filePath"]), ("write", "tests/discount.sh"))
        # A program that wants a file to be read before it is changed gets both.
        tools += [{"function": {"name": "read_file", "parameters": {"properties": {"filePath": {}}}}}]
        said += [{"role": "tool", "content": "written"}, {"role": "tool", "content": "lib/price.awk has not been read in this session"}]
        wanted = [("read_file", "lib/price.awk"), ("edit", "lib/price.awk")]
        for name, file in wanted:
            call = self.model.events("/v1/chat/completions", ask | {"messages": said})[-2]["choices"][0]["delta"]["tool_calls"][0]
            self.assertEqual((call["function"]["name"], json.loads(call["function"]["arguments"])["filePath"]), (name, file))
            said = [*said, {"role": "tool", "content": "1 # The price of"}]

    def test_changes_in_the_text(self):
        said = [{"role": "system", "content": "Every *SEARCH/REPLACE block* must"}, {"role": "user", "content": "Write a note about the shop"}]
        chunks = self.model.events("/v1/chat/completions", {"model": "m", "stream": True, "messages": said})
        text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
        self.assertIn("NOTES.md\n```\n<<<<<<< SEARCH\n=======\n# The shop\n", text)
        self.assertTrue(text.endswith("that was my task."), text)

    def test_gemini(self):
        tools = [{"functionDeclarations": [{"name": name} for name in ("run_shell_command", "replace", "write_file")]}]
        said = [{"role": "user", "parts": [{"text": TASK}]}]
        events = self.model.events("/v1beta/models/m:streamGenerateContent?alt=sse", {"tools": tools, "contents": said})
        call = events[-2]["candidates"][0]["content"]["parts"][0]
        self.assertEqual(call["functionCall"]["name"], "run_shell_command")
        result = {"functionResponse": {"name": "run_shell_command", "response": {"output": "cents = int(cents *"}}}
        said = [*said, {"role": "model", "parts": [call]}, {"role": "user", "parts": [result]}]
        whole = json.loads(self.model.ask("/v1beta/models/m:generateContent", {"tools": tools, "contents": said})[1])
        self.assertEqual(whole["candidates"][0]["content"]["parts"][-2]["functionCall"]["name"], "write_file")


class Bounds(unittest.TestCase):
    """What is none of its business, and its end."""

    def test_what_it_does_not_take(self):
        model = Model(self)
        with model.open("/v1/messages", b"", {"content-length": "99999999999"}.items()) as response:
            self.assertEqual(response.status, 413)
        self.assertEqual(model.ask("/v1/messages", b"[]")[0], 400)
        self.assertEqual(model.ask("/v1/messages", b"\xff")[0], 400)
        self.assertEqual(model.ask("/v1/messages", {"messages": [7]})[0], 400)
        self.assertEqual(model.ask("/v1/elsewhere", {})[0], 404)
        code, log = model.end()
        self.assertEqual((code, len(log.splitlines())), (0, 5), log)

    def test_one_request_is_refused_where_it_is_said(self):
        model = Model(self, "--too-many", "2")
        ask = {"tools": [{"name": "Bash"}], "messages": [{"role": "user", "content": TASK}]}
        self.assertEqual([model.ask("/v1/messages", ask)[0] for _ in range(3)], [200, 429, 200])

    def test_who_does_not_bring_its_key_is_refused(self):
        key = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "key"
        key.write_text("k1\n")
        model, seen = Model(self, "--key", key), []
        for headers in ({}, {"x-api-key": "k2"}, {"x-api-key": "k1"}, {"authorization": "Bearer k1"}, {"x-goog-api-key": "k1"}):
            with model.open("/v1/messages/count_tokens", {}, headers.items()) as response:
                seen.append(response.status)
        self.assertEqual(seen, [401, 401, 200, 200, 200])
        self.assertNotIn("k1", model.end()[1], "no log has the key")

    def test_a_script_refuses_each_program_once(self):
        script = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "script.toml"
        script.write_text('otherwise = ""\n[[task]]\nname = "t"\nwhen = "t"\n[[task.turn]]\nanswer = "one"\nrefuse = 7\n')
        model = Model(self, "--script", script)
        ask = {"tools": [{"name": "Bash"}], "messages": [{"role": "user", "content": "t"}]}
        seen = []
        for program in ("claude/2", "claude/2", "codex/1", "claude/2"):
            with model.open("/v1/messages", ask, {"user-agent": program}.items()) as response:
                seen.append((response.status, response.headers["retry-after"]))
        self.assertEqual(seen, [(429, "7"), (200, None), (429, "7"), (200, None)])

    def test_words_come_one_by_one_and_it_ends_in_the_middle_of_an_answer(self):
        model = Model(self, "--delay", "0.01")
        # The first words are there while the last are a day away.
        script = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "script.toml"
        script.write_text('otherwise = ""\n[[task]]\nname = "t"\nwhen = "t"\n[[task.turn]]\nanswer = "one two"\nslow = 86400.0\n')
        for given, first in ((model, True), (Model(self, "--script", script), False)):
            ask = {"stream": True, "tools": [{"name": "Bash"}], "messages": [{"role": "user", "content": TASK if first else "t"}]}
            with given.open("/v1/messages", ask) as response:
                self.assertEqual(response.readline(), b"event: message_start\n")
                self.assertEqual(given.end()[0], 0)


class Work(unittest.TestCase):
    """The script's acts, carried out on the repository: red, then green, as the demo tells it."""

    def play(self, said):
        """Carries out a turn, and returns its answer."""
        ask = {"tools": [{"name": name} for name in ("Bash", "Edit", "Write")], "stream": False}
        self.talk.append({"role": "user", "content": said})
        while True:
            content = json.loads(self.model.again("/v1/messages", ask | {"messages": self.talk})[1])["content"]
            self.talk.append({"role": "assistant", "content": content})
            if content[-1]["type"] != "tool_use":
                return content[-1]["text"]
            result = self.act(content[-1]["name"], content[-1]["input"])
            self.talk.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": content[-1]["id"], "content": result}]})

    def act(self, name, arguments):
        """One act in the working tree."""
        if name == "Bash":
            done = subprocess.run(arguments["command"], shell=True, cwd=self.tree, env=self.environment, text=True, capture_output=True, check=False)
            return done.stdout + done.stderr
        file = self.tree / arguments["file_path"]
        if name == "Write":
            file.write_text(arguments["content"])
        else:
            before = file.read_text()
            self.assertEqual(before.count(arguments["old_string"]), 1, arguments)
            file.write_text(before.replace(arguments["old_string"], arguments["new_string"]))
        return "done"

    def begin(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.model, self.talk, self.tree = Model(self), [], folder / "widgets"
        shutil.copytree(HERE.parent / "widgets", self.tree)
        (folder / "session").write_text('#!/bin/sh\necho "$@" >>"$0.said"\n[ "$1" != pr ] || echo 1\n')
        (folder / "session").chmod(0o755)
        who = {f"GIT_{role}_{what}": "w@widgets.invalid" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        path = f"{folder}:{os.environ['PATH']}"
        self.environment = os.environ | who | {"PATH": path, "PILOTHOUSE_BRANCH": "agent/x/work", "GIT_CONFIG_GLOBAL": "/dev/null"}
        for command in ("git init -q -b main", "git add -A", "git commit -qm Widgets", "git init -q --bare ../o.git", "git remote add origin ../o.git"):
            subprocess.run(command.split(), cwd=self.tree, env=self.environment, check=True)

    def green(self):
        """Whether the checks of what was pushed pass."""
        clone = self.tree.parent / "clone"
        shutil.rmtree(clone, ignore_errors=True)
        subprocess.run(["git", "clone", "-q", "-b", "agent/x/work", "o.git", "clone"], cwd=self.tree.parent, check=True)
        return subprocess.run(["./ci"], cwd=clone, capture_output=True, check=False).returncode == 0

    def test_each_task_is_red_once_then_green(self):
        for task in (TASK, "Give list a --csv option"):
            with self.subTest(task):
                self.begin()
                self.assertIn("pull request is open", self.play(task))
                self.assertFalse(self.green())
                self.assertIn("Fixed", self.play(FAILED))
                self.assertTrue(self.green())
                self.assertIn("have passed", self.play("The checks of pull request #1 have passed."))
                self.assertIn("Answered", self.play(ASKED))
                self.assertTrue(self.green())
                self.assertIn("that was my task", self.play("Pull request #1 is merged. kim says approve: Good."))
                self.assertIn("status done", (self.tree.parent / "session.said").read_text())


if __name__ == "__main__":
    unittest.main()
