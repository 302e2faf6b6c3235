"""OpenAI's Responses API (POST /v1/responses), as far as codex uses it. Source: the reference of the API's streaming events."""

import hashlib

from conversation import Conversation, Item, arguments, text_of, user
from tools import as_text, call


def parse(body):
    """A request of this API."""
    items = []
    said = body.get("input", [])
    for entry in [{"role": "user", "content": said}] if isinstance(said, str) else said:
        kind = entry.get("type", "message")
        if kind == "message" and entry.get("role") == "user":
            # Each part by itself: the program's own parts stand beside the person's.
            parts = entry.get("content", "")
            items += filter(None, (user(text_of(part)) for part in (parts if isinstance(parts, list) else [parts])))
        elif kind == "message" and entry.get("role") == "assistant":
            items.append(Item("assistant", text_of(entry.get("content", ""))))
        elif kind in ("function_call", "custom_tool_call", "local_shell_call"):
            items.append(Item("call", str(entry.get("name", ""))))
        elif kind.endswith("_output"):
            items.append(Item("result", text_of(entry.get("output", ""))))
    schema = ((body.get("text") or {}).get("format") or {}).get("schema")
    tools = {tool.get("name") or tool.get("type"): arguments(tool.get("parameters")) for tool in body.get("tools") or []}
    return Conversation(items, tools, str(body.get("model", "")), bool(body.get("stream")), schema)


def events(reply, conversation, tokens):
    """The answer as events, in order: pairs of name and data."""
    seed = hashlib.sha256(f"{reply}{len(conversation.items)}".encode()).hexdigest()[:24]
    response = {"id": f"resp_{seed}", "object": "response", "model": conversation.model, "status": "in_progress", "output": []}
    yield "response.created", {"response": dict(response)}
    output = []
    if reply.text:
        item = {"type": "message", "id": f"msg_{seed}", "role": "assistant", "status": "in_progress", "content": []}
        yield "response.output_item.added", {"output_index": 0, "item": dict(item)}
        at = {"output_index": 0, "item_id": item["id"], "content_index": 0}
        yield "response.content_part.added", at | {"part": {"type": "output_text", "text": "", "annotations": []}}
        for piece in pieces(reply.text):
            yield "response.output_text.delta", at | {"delta": piece}
        yield "response.output_text.done", at | {"text": reply.text}
        item |= {"status": "completed", "content": [{"type": "output_text", "text": reply.text, "annotations": []}]}
        yield "response.output_item.done", {"output_index": 0, "item": item}
        output.append(item)
    called = reply.act and call(reply.act, conversation.tools)
    if called:
        name, given = called
        free = isinstance(given, str)
        item = {"id": f"fc_{seed}", "call_id": f"call_{seed}", "name": name, "status": "completed"}
        item |= {"type": "custom_tool_call", "input": given} if free else {"type": "function_call", "arguments": as_text(given)}
        yield "response.output_item.added", {"output_index": len(output), "item": item | {"input" if free else "arguments": ""}}
        yield "response.output_item.done", {"output_index": len(output), "item": item}
        output.append(item)
    usage = {"input_tokens": tokens[0], "output_tokens": tokens[1], "total_tokens": sum(tokens)}
    usage |= {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    yield "response.completed", {"response": response | {"status": "completed", "output": output, "usage": usage}}


def numbered(stream):
    """Each event with its type and number, as this API has them in its data."""
    for number, (name, data) in enumerate(stream):
        yield name, {"type": name, "sequence_number": number} | data


def whole(stream):
    """The answer where no stream was asked for."""
    return list(stream)[-1][1]["response"]


def pieces(text):
    """A text in the pieces in which it is streamed: its words."""
    for index, word in enumerate(text.split(" ")):
        yield word if index == 0 else " " + word
