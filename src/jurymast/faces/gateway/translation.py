"""The same question and the same answer in the words of the other API.

What has no word there is either a hint, which is dropped (a seed, a temperature, an effort, a user's name),
or changes what the answer is, and then the question is not told in that format at all: a string says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec

from jurymast.domain.provider import Format
from jurymast.faces.gateway.asking import decoded, parts_of, text_of

FINISHES: Final[Mapping[str, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "pause_turn": "length",
}
STOPS: Final[Mapping[str, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
"""Why an answer ended, each in the other's words."""

_OF_CALLS: Final = (b'"tool_calls"', b'"tool_use"', b'"input_json_delta"')
_ONLY_CHAT: Final = ("frequency_penalty", "logit_bias", "logprobs", "presence_penalty", "top_logprobs")
_CHAT_PARTS: Final = frozenset({"text", "refusal"})
_MESSAGES_PARTS: Final = frozenset({"text", "thinking", "redacted_thinking", "tool_use", "tool_result"})


def to_messages(chat: Mapping[str, Any]) -> dict[str, Any] | str:
    """A chat question as messages, or what they can't carry. Its parts are known to be text."""
    for name in _ONLY_CHAT:
        if chat.get(name):
            return name
    told: dict[str, Any] = {}
    wanted = chat.get("response_format") or {}
    if wanted.get("type") == "json_object":
        return "response_format json_object, which names no schema"
    if wanted.get("type") == "json_schema":
        told["output_config"] = {"format": {"type": "json_schema", "schema": wanted["json_schema"]["schema"]}}
    system, told["messages"] = _turns(chat["messages"])
    if system:
        told["system"] = system
    if stop := chat.get("stop"):
        told["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    if tools := chat.get("tools"):
        told["tools"] = list(map(_tool, tools))
        told["tool_choice"] = _choice_of(chat.get("tool_choice"))
        if chat.get("parallel_tool_calls") is False:
            told["tool_choice"]["disable_parallel_tool_use"] = True
    return told


def _turns(chat: list[dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    """The system prompt and the turns, which alternate there."""
    system, turns = list[str](), list[dict[str, Any]]()
    for message in chat:
        role, text = message["role"], text_of(parts_of(message.get("content"), _CHAT_PARTS))
        if role in {"system", "developer"}:
            system.append(text)
        elif role == "tool":
            block = {"type": "tool_result", "tool_use_id": message.get("tool_call_id"), "content": text}
            _append(turns, "user", [block])
        elif role == "assistant":
            calls = message.get("tool_calls") or []
            _append(turns, role, [*_text(text), *map(use_of, calls)])
        else:
            _append(turns, "user", _text(text))
    return "\n\n".join(system), turns


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = tool.get("function") or {}
    return {
        "name": function.get("name"),
        "description": function.get("description", ""),
        "input_schema": function.get("parameters") or {"type": "object", "properties": {}},
    }


def to_chat(messages: Mapping[str, Any]) -> dict[str, Any]:
    """A question as messages in the words of chat."""
    turns: list[dict[str, Any]] = []
    if system := text_of(parts_of(messages.get("system"), _MESSAGES_PARTS)):
        turns.append({"role": "system", "content": system})
    for message in messages["messages"]:
        turns += _turns_of(message["role"], parts_of(message.get("content"), _MESSAGES_PARTS))
    told: dict[str, Any] = {"messages": turns}
    for name in ("temperature", "top_p"):
        if messages.get(name) is not None:
            told[name] = messages[name]
    if stops := messages.get("stop_sequences"):
        told["stop"] = stops
    wanted = (messages.get("output_config") or {}).get("format") or {}
    if wanted.get("type") == "json_schema":
        told["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": wanted["schema"], "strict": True},
        }
    if tools := messages.get("tools"):
        told["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.get("name"),
                    "description": tool.get("description", ""),
                    "parameters": tool.get("input_schema"),
                },
            }
            for tool in tools
        ]
        choice = messages.get("tool_choice") or {"type": "auto"}
        named = {"type": "function", "function": {"name": choice.get("name")}}
        told["tool_choice"] = {"any": "required", "tool": named}.get(choice["type"], choice["type"])
        if choice.get("disable_parallel_tool_use"):
            told["parallel_tool_calls"] = False
    return told


def as_chat_message(raw: bytes, told_in: Format) -> tuple[dict[str, Any], str]:
    """The message and the finish reason of a reply of either format."""
    reply = decoded(raw)
    if told_in is Format.CHAT:
        choice = reply["choices"][0]
        return choice["message"], choice["finish_reason"]
    blocks = [block for block in reply.get("content") or [] if isinstance(block, dict)]
    text = "".join(block.get("text", "") for block in blocks if block.get("type") == "text")
    message: dict[str, Any] = {"role": "assistant", "content": text or None, "refusal": None}
    calls = [
        {
            "id": block.get("id"),
            "type": "function",
            "function": {"name": block.get("name"), "arguments": _json(block.get("input") or {})},
        }
        for block in blocks
        if block.get("type") == "tool_use"
    ]
    if calls:
        message["tool_calls"] = calls
    return message, FINISHES.get(str(reply.get("stop_reason")), "stop")


class CallsHeard:
    """Calls of tools in a stream of either format, put together line by line. What makes no sense is passed
    over: whether the answer counts is the wire's to judge."""

    def __init__(self) -> None:
        self._calls: dict[int, dict[str, Any]] = {}

    def hear(self, line: bytes) -> None:
        """One line as it came."""
        if not line.startswith(b"data:") or not any(word in line for word in _OF_CALLS):
            return
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError, AttributeError, TypeError):
            self._take(msgspec.json.decode(line[5:]))

    def _take(self, event: Any) -> None:
        if "choices" in event:
            for choice in event["choices"][:1]:
                for call in (choice.get("delta") or {}).get("tool_calls") or []:
                    function = call.get("function") or {}
                    place = call.get("index", 0)
                    self._add(place, call.get("id"), function.get("name"), function.get("arguments"))
        elif (block := event.get("content_block") or {}).get("type") == "tool_use":
            given = _json(block["input"]) if block.get("input") else ""
            self._add(event.get("index", 0), block.get("id"), block.get("name"), given)
        elif (delta := event.get("delta") or {}).get("type") == "input_json_delta":
            self._add(event.get("index", 0), None, None, delta.get("partial_json"))

    def _add(self, place: int, call_id: str | None, name: str | None, arguments: str | None) -> None:
        if type(place) is not int:
            raise TypeError("a place is a number")
        call = self._calls.setdefault(place, {"id": None, "name": None, "arguments": ""})
        call["id"], call["name"] = call["id"] or call_id, call["name"] or name
        call["arguments"] += arguments or ""

    def all(self) -> list[dict[str, Any]]:
        """Every call, in the words of chat."""
        return [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": call["arguments"] or "{}"},
            }
            for _, call in sorted(self._calls.items())
        ]


def as_blocks(raw: bytes) -> tuple[list[dict[str, Any]], str]:
    """The blocks and the stop reason that a chat completion comes to."""
    message, finish = as_chat_message(raw, Format.CHAT)
    blocks = _text(message.get("content") or message.get("refusal") or "")
    calls = message.get("tool_calls") or []
    stop = "tool_use" if calls else STOPS.get(finish, "end_turn")
    return [*blocks, *map(use_of, calls)], stop


def _append(turns: list[dict[str, Any]], role: str, blocks: list[dict[str, Any]]) -> None:
    """Add blocks, to the last turn where that is of the same role: turns take turns there."""
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"] += blocks
    elif blocks:
        turns.append({"role": role, "content": blocks})


def _text(text: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text}] if text else []


def use_of(call: Mapping[str, Any]) -> dict[str, Any]:
    """A call in the words of messages."""
    function = call.get("function") or {}
    try:
        arguments = msgspec.json.decode(function.get("arguments") or "{}")
    except msgspec.DecodeError:
        arguments = {"arguments": function.get("arguments")}
    return {"type": "tool_use", "id": call.get("id"), "name": function.get("name"), "input": arguments}


def _choice_of(choice: Any) -> dict[str, Any]:
    if isinstance(choice, dict):
        return {"type": "tool", "name": (choice.get("function") or {}).get("name")}
    return {"type": {"required": "any", "none": "none"}.get(choice, "auto")}


def _turns_of(role: str, parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One turn of messages as turns of chat: results of tools are turns of their own there."""
    results = [
        {
            "role": "tool",
            "tool_call_id": part.get("tool_use_id"),
            "content": text_of(parts_of(part.get("content"), {"text"})),
        }
        for part in parts
        if part["type"] == "tool_result"
    ]
    calls = [
        {
            "id": part.get("id"),
            "type": "function",
            "function": {"name": part.get("name"), "arguments": _json(part.get("input") or {})},
        }
        for part in parts
        if part["type"] == "tool_use"
    ]
    turn: dict[str, Any] = {"role": role, "content": text_of(parts) or None}
    if calls:
        turn["tool_calls"] = calls
    return [*results, turn] if calls or turn["content"] else results


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
