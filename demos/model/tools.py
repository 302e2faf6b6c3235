"""How programs call what all of them can do: run a command, write a file, change a part of one."""

import json
import re
import shlex

# Tools that run a command, write a whole file, change a part of one, or read it, in the order in which they are looked for.
SHELLS = ("exec_command", "Bash", "bash", "run_shell_command")
WRITERS = ("Write", "write", "write_file", "create")
EDITORS = ("Edit", "edit", "replace")
READERS = ("Read", "read", "read_file")
# How programs name the arguments of these; which of them a tool has stands in its description.
NAMES = {
    "run": ("command", "cmd"),
    "file": ("file_path", "filePath", "path"),
    "text": ("content", "file_text"),
    "old": ("old_string", "oldString", "old_str"),
    "new": ("new_string", "newString", "new_str"),
}
# What shells are given beside the command, where they take it: time enough for a slow machine, in milliseconds.
PATIENCE = {"yield_time_ms": 30000, "timeout": 600000}
# What codex says of a command that goes on: its next output is asked for by this id.
GOES_ON = re.compile(r"Process running with session ID (\d+)")
# What qwen, and others at times, say of a change of a file that they were not asked to read before.
NOT_READ = re.compile(r"has not been read|must be read|[Rr]ead the file first")


def call(act, tools):
    """The call of a tool for an act: its name, and its arguments as a dictionary or, of a free-form tool, a string.

    An act has `run` (a command), `file` and `new` (a whole file), these and `old` (a part of it), `poll` (an id of `GOES_ON`), or
    `read` (a file).
    `tools` has the names of each tool's arguments. None where the program offers no tool for the act.
    """
    if "poll" in act:
        return "write_stdin", {"session_id": int(act["poll"]), "chars": "", "yield_time_ms": 30000}
    if "read" in act:
        reader = next((name for name in READERS if name in tools), READERS[0])
        return reader, named({"file": act["read"]}, tools.get(reader, ()))
    if "file" in act:
        if "apply_patch" in tools:
            return patched(act)
        if by_tool := written(act, tools):
            return by_tool
        act = {"run": in_shell(act)}
    for name in SHELLS:
        if name in tools:
            command = act["run"].strip()
            more = PATIENCE | {"description": command.split("\n")[0][:60]}
            return name, named({"run": command}, tools[name]) | {key: value for key, value in more.items() if key in tools[name]}
    return None


def written(act, tools):
    """A file's change by the tools of most programs; None where it has none."""
    values = {"file": act["file"]}
    values |= {"old": act["old"], "new": act["new"]} if "old" in act else {"text": act["new"]}
    for name in EDITORS if "old" in act else WRITERS:
        if name in tools:
            return name, named(values, tools[name])
    return None


def named(values, arguments):
    """Values under the names that a tool has for them."""
    return {next((name for name in NAMES[key] if name in arguments), NAMES[key][0]): value for key, value in values.items()}


def patched(act):
    """A file's change by codex's apply_patch."""
    new = ["+" + line for line in act["new"].rstrip("\n").split("\n")]
    if "old" in act:
        old = ["-" + line for line in act["old"].split("\n")]
        change = [f"*** Update File: {act['file']}", "@@", *old, *new]
    else:
        change = [f"*** Add File: {act['file']}", *new]
    return "apply_patch", "\n".join(["*** Begin Patch", *change, "*** End Patch"])


def in_shell(act):
    """A file's change by a command, where there is no tool for it."""
    words = [shlex.quote(act[key]) for key in ("file", "old", "new") if key in act]
    if "old" not in act:
        return f"printf %s {words[1]} >{words[0]} && echo done"
    code = "import sys; f, a, b = sys.argv[1:]; t = open(f).read(); assert a in t; open(f, 'w').write(t.replace(a, b, 1))"
    return f"python3 -c {shlex.quote(code)} {' '.join(words)} && echo done"


def as_text(arguments):
    """A call's arguments as wires carry them."""
    return arguments if isinstance(arguments, str) else json.dumps(arguments)
