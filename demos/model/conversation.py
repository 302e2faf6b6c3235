"""What a program has sent so far, in one form for all wires."""

import dataclasses
import re

# What programs put around or beside a person's words: reminders, the environment, instructions of the repository.
WRAPPED = re.compile(
    r"<(system-reminder|environment_context|user_instructions|INSTRUCTIONS|permissions instructions"
    r"|skills_instructions|collaboration_mode|session_context|recommended_plugins)>.*?</\1>",
    re.DOTALL,
)
INSTRUCTIONS = re.compile(r"^# AGENTS\.md instructions[^\n]*", re.MULTILINE)
# Longest text of one item that a script's patterns are tried on.
LONGEST = 64 * 1024


@dataclasses.dataclass
class Item:
    """One thing that was said: kind is `user`, `assistant`, `call` or `result`."""

    kind: str
    text: str


@dataclasses.dataclass
class Conversation:
    """A request: what was said, which tools the program offers (with the names of each one's arguments), and the shape it wants the
    answer in, if any. `blocks`: it takes changes of files from the text of the answer, as blocks of what to search and what to put there."""

    items: list
    tools: dict
    model: str
    stream: bool = True
    schema: dict | None = None
    blocks: bool = False


def user(text):
    """An item of what a person said, without what the program added; None where nothing is left of it."""
    said = INSTRUCTIONS.sub("", WRAPPED.sub("", text[-LONGEST:])).strip()
    return Item("user", said) if said else None


def text_of(content):
    """The text of a content that is a string, a part, or a list of these."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(part for part in map(text_of, content) if part)
    if isinstance(content, dict):
        return text_of(content.get("text") or content.get("content") or content.get("output") or "")
    return ""


def arguments(schema):
    """The names of a tool's arguments, by the schema of these."""
    return set((schema or {}).get("properties") or {})
