"""Anthropic's Messages API (POST /v1/messages), as far as claude uses it. Source: its reference of streaming messages."""

import hashlib

from conversation import Conversation, Item, arguments, text_of, user
from responses import pieces
from tools import as_text, call


def parse(body):
    """A request of this API."""
    items = []
    for message in body.get("messages", []):
        content = message.get("content", "")
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            kind = part.get("type")
            if kind == "tool_result":
                items.append(Item("result", text_of(part.get("content", ""))))
            elif kind == "tool_use":
                items.append(Item("call", str(part.get("name", ""))))
            elif kind == "text" and message.get("role") == "user":
                items += filter(None, [user(str(part.get("text", "")))])
            elif kind == "text" and message.get("role") == "assistant":
                items.append(Item("assistant", str(part.get("text", ""))))
    wanted = (body.get("output_config") or {}).get("format") or body.get("output_format") or {}
    tools = {str(tool.get("name", "")): arguments(tool.get("input_schema")) for tool in body.get("tools") or []}
    return Conversation(items, tools, str(body.get("model", "")), bool(body.get("stream")), wanted.get("schema"))


def events(reply, conversation, tokens):
    """The answer as events, in order: pairs of name and data."""
    seed = hashlib.sha256(f"{reply}{len(conversation.items)}".encode()).hexdigest()[:24]
    message = {"id": f"msg_{seed}", "type": "message", "role": "assistant", "model": conversation.model, "content": []}
    message |= {"stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": tokens[0], "output_tokens": 1}}
    yield "message_start", {"message": message}
    index = 0
    if reply.text:
        yield "content_block_start", {"index": index, "content_block": {"type": "text", "text": ""}}
        for piece in pieces(reply.text):
            yield "content_block_delta", {"index": index, "delta": {"type": "text_delta", "text": piece}}
        yield "content_block_stop", {"index": index}
        index += 1
    called = reply.act and call(reply.act, conversation.tools)
    if called:
        name, given = called
        block = {"type": "tool_use", "id": f"toolu_{seed}", "name": name, "input": {}}
        yield "content_block_start", {"index": index, "content_block": block}
        delta = {"type": "input_json_delta", "partial_json": as_text(given)}
        yield "content_block_delta", {"index": index, "delta": delta}
        yield "content_block_stop", {"index": index}
    stop = {"stop_reason": "tool_use" if called else "end_turn", "stop_sequence": None}
    yield "message_delta", {"delta": stop, "usage": {"output_tokens": tokens[1]}}
    yield "message_stop", {}


def numbered(stream):
    """Each event with its type, as this API has it in its data."""
    for name, data in stream:
        yield name, {"type": name} | data


def whole(reply, conversation, tokens):
    """The answer where no stream was asked for."""
    message = next(events(reply, conversation, tokens))[1]["message"]
    called = reply.act and call(reply.act, conversation.tools)
    content = [{"type": "text", "text": reply.text}] if reply.text else []
    if called:
        content.append({"type": "tool_use", "id": "toolu_" + message["id"][4:], "name": called[0], "input": called[1]})
    usage = {"input_tokens": tokens[0], "output_tokens": tokens[1]}
    return message | {"content": content, "stop_reason": "tool_use" if called else "end_turn", "usage": usage}
