"""Google's Gemini API (POST /v1beta/models/MODEL:streamGenerateContent), as far as gemini uses it."""

from conversation import Conversation, Item, arguments, user
from responses import pieces
from tools import call


def parse(body, model, stream):
    """A request of this API; the model stands in its path."""
    items = []
    for content in body.get("contents", []):
        for part in content.get("parts", []):
            if "functionCall" in part:
                items.append(Item("call", str(part["functionCall"].get("name", ""))))
            elif "functionResponse" in part:
                items.append(Item("result", str(part["functionResponse"].get("response", ""))))
            elif content.get("role") == "model":
                items.append(Item("assistant", str(part.get("text", ""))))
            else:
                items += filter(None, [user(str(part.get("text", "")))])
    config = body.get("generationConfig") or {}
    schema = config.get("responseJsonSchema") or config.get("responseSchema")
    declared = [each for tool in body.get("tools") or [] for each in tool.get("functionDeclarations") or []]
    tools = {str(each.get("name", "")): arguments(each.get("parametersJsonSchema") or each.get("parameters")) for each in declared}
    return Conversation(items, tools, model, stream, schema)


def events(reply, conversation, tokens):
    """The answer as events, which have no names here."""

    def part(parts, **more):
        return None, {"candidates": [{"index": 0, "content": {"role": "model", "parts": parts}} | more]}

    for piece in pieces(reply.text) if reply.text else ():
        yield part([{"text": piece}])
    called = reply.act and call(reply.act, conversation.tools)
    if called:
        yield part([{"functionCall": {"name": called[0], "args": called[1]}}])
    usage = {"promptTokenCount": tokens[0], "candidatesTokenCount": tokens[1], "totalTokenCount": sum(tokens)}
    name, last = part([{"text": ""}], finishReason="STOP")
    yield name, last | {"usageMetadata": usage}


def whole(stream):
    """The answer where no stream was asked for."""
    chunks = [data for _, data in stream]
    parts = [part for chunk in chunks for part in chunk["candidates"][0]["content"]["parts"]]
    last = chunks[-1]
    last["candidates"][0]["content"]["parts"] = parts
    return last
