"""OpenAI's Chat Completions API (POST /v1/chat/completions), for programs that speak it: opencode, qwen, copilot, aider."""

import hashlib

from conversation import Conversation, Item, arguments, text_of, user
from responses import pieces
from tools import as_text, call


def parse(body):
    """A request of this API."""
    items, blocks = [], False
    for message in body.get("messages", []):
        role, said = message.get("role"), text_of(message.get("content") or "")
        blocks |= role == "system" and "SEARCH/REPLACE block" in said
        if role == "user":
            items += filter(None, [user(said)])
        elif role == "assistant":
            items += [Item("assistant", said)] if said else []
            items += [Item("call", str((each.get("function") or {}).get("name", ""))) for each in message.get("tool_calls") or []]
        elif role == "tool":
            items.append(Item("result", said))
    schema = ((body.get("response_format") or {}).get("json_schema") or {}).get("schema")
    functions = [tool.get("function") or {} for tool in body.get("tools") or []]
    tools = {str(function.get("name", "")): arguments(function.get("parameters")) for function in functions}
    return Conversation(items, tools, str(body.get("model", "")), bool(body.get("stream")), schema, blocks)


def events(reply, conversation, tokens):
    """The answer as chunks: this API's events have no names."""
    seed = hashlib.sha256(f"{reply}{len(conversation.items)}".encode()).hexdigest()[:24]
    base = {"id": f"chatcmpl-{seed}", "object": "chat.completion.chunk", "created": 0, "model": conversation.model}

    def chunk(delta, finish=None, **more):
        return None, base | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]} | more

    yield chunk({"role": "assistant", "content": ""})
    for piece in pieces(reply.text) if reply.text else ():
        yield chunk({"content": piece})
    called = reply.act and call(reply.act, conversation.tools)
    if called:
        function = {"name": called[0], "arguments": as_text(called[1])}
        yield chunk({"tool_calls": [{"index": 0, "id": f"call_{seed}", "type": "function", "function": function}]})
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
    yield chunk({}, "tool_calls" if called else "stop", usage=usage)
    yield None, "[DONE]"


def whole(reply, conversation, tokens):
    """The answer where no stream was asked for."""
    seed = hashlib.sha256(f"{reply}{len(conversation.items)}".encode()).hexdigest()[:24]
    message = {"role": "assistant", "content": reply.text}
    called = reply.act and call(reply.act, conversation.tools)
    if called:
        function = {"name": called[0], "arguments": as_text(called[1])}
        message["tool_calls"] = [{"id": f"call_{seed}", "type": "function", "function": function}]
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if called else "stop"}
    return {"id": f"chatcmpl-{seed}", "object": "chat.completion", "created": 0, "model": conversation.model, "choices": [choice], "usage": usage}
