"""What the stand-in says next: derived from the script and the conversation alone, so that a request that is sent again gets
the same answer, and nothing is lost when the server or the program starts anew."""

import dataclasses
import json
import re
import tomllib

from tools import GOES_ON, NOT_READ


# What programs say of a file that was written or changed.
CHANGED = r"(?i)success|updated|created|applied|modified|wrote|written|done"


@dataclasses.dataclass
class Reply:
    """A text, and perhaps one act after it, as `tools.call` takes it; `why` is for the log, `slow` seconds before each word. Where
    `refuse` is not None, whoever asks for it the first time is to come again after so many seconds."""

    text: str
    act: dict | None = None
    why: str = ""
    slow: float = 0.0
    refuse: int | None = None


class Script:
    """The tasks of a TOML file; README.md has the form."""

    def __init__(self, path, root=""):
        with open(path, "rb") as file:
            read = tomllib.load(file)
        self.tasks = read["task"]
        self.otherwise = read["otherwise"]
        for task in self.tasks:
            for turn in task["turn"]:
                # A pattern that is none is told now, not when it is needed.
                turn["when"] = re.compile(turn.get("when", task["when"]))
                for step in turn.get("step", []):
                    step["expect"] = re.compile(step.get("expect", CHANGED if "file" in step else ""))
                    if "file" in step:
                        step["name"] = step["file"]
                        step["file"] = root + step["file"]
                    # A part of a file ends where its last line ends, a whole file with the end of that line.
                    for part in ("old", "new") if "old" in step else ():
                        step[part] = step[part].removesuffix("\n")

    def task(self, items):
        """The task of a conversation: the one that the earliest of a person's words name."""
        for item in items:
            for task in self.tasks if item.kind == "user" else ():
                if re.search(task["when"], item.text):
                    return task
        return None

    def reply(self, conversation):
        """What comes next."""
        if conversation.schema is not None:
            return Reply(json.dumps(instance(conversation.schema)), why="the shape it asked for")
        if not conversation.tools and not conversation.blocks:
            return Reply("Work on the widgets", why="no tools: a title")
        task = self.task(conversation.items)
        number, since = newest_turn(task, conversation.items) if task else (None, [])
        if number is None:
            return Reply(self.otherwise, why="nothing in the script fits")
        turn, where = task["turn"][number], f"{task['name']}, turn {number + 1} of {len(task['turn'])}"
        if conversation.blocks:
            return Reply("\n\n".join([*map(block, turn.get("step", [])), turn["answer"]]), None, f"{where}, as text", turn.get("slow", 0.0), turn.get("refuse"))
        return in_turn(turn, since, where, self.otherwise)


def newest_turn(task, items):
    """The turn of a task that was begun last, as its number, and what was said since; None where none was."""
    for index in range(len(items) - 1, -1, -1):
        for number in range(len(task["turn"]) - 1, -1, -1) if items[index].kind == "user" else ():
            if task["turn"][number]["when"].search(items[index].text):
                return number, items[index + 1 :]
    return None, []


def in_turn(turn, since, where, otherwise):
    """What comes next in a turn, by the results that came since its begin."""
    steps = turn.get("step", [])
    results = [item.text for item in since if item.kind == "result"]
    if results and (more := GOES_ON.search(results[-1])):
        return Reply("", {"poll": more[1]}, f"{where}: the command goes on")
    done = [result for at, result in enumerate(results) if not beside(results, at)]
    if results and NOT_READ.search(results[-1]) and "file" in (step := steps[min(len(done), len(steps) - 1)]):
        return Reply("", {"read": step["file"]}, f"{where}: the file is to be read first")
    results = done
    for step, result in zip(steps, results):
        if not step["expect"].search(result):
            tail = result.strip()[-400:]
            return Reply(f"That did not go as it should, so I stop here:\n{tail}", why=f"{where}: not as expected: {tail!r}")
    if len(results) < len(steps):
        step = steps[len(results)]
        act = {key: step[key] for key in ("run", "file", "old", "new") if key in step}
        why = f"{where}, step {len(results) + 1} of {len(steps)}"
        return Reply(step.get("say", ""), act, why, step.get("slow", 0.0), step.get("refuse"))
    if any(item.kind == "assistant" and item.text.strip() == turn["answer"] for item in since):
        return Reply(otherwise, why=f"{where}: a word after its end")
    return Reply(turn["answer"], why=f"{where}: its answer", slow=turn.get("slow", 0.0), refuse=turn.get("refuse"))


def block(step):
    """A step as a program takes it from a text: a file's change as a block, anything else as what is said of it."""
    said = step.get("say", "")
    if "file" not in step:
        return said
    old, new = (step.get(part, "").rstrip("\n") for part in ("old", "new"))
    return "\n".join([said, "", step["name"], "```", "<<<<<<< SEARCH", *([old] if old else []), "=======", new, ">>>>>>> REPLACE", "```"])


def beside(results, at):
    """Whether a result is none of a step: of a command that goes on, of a change before the file was read, or of that reading."""
    before = results[at - 1] if at else ""
    return bool(GOES_ON.search(results[at]) or NOT_READ.search(results[at]) or NOT_READ.search(before))


def instance(schema, depth=0):
    """The plainest value of a JSON schema, as far as programs use them."""
    if depth > 8 or not isinstance(schema, dict):
        return "x"
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        return {name: instance(inner, depth + 1) for name, inner in list(schema.get("properties", {}).items())[:64]}
    plain = {"array": [], "boolean": False, "integer": 0, "number": 0, "null": None}
    return plain.get(kind, "Work on the widgets") if isinstance(kind, str) else "Work on the widgets"
