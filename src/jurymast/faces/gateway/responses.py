"""Responses, as a client of OpenAI's newer API speaks them: the simple part of it.

Text in and out, functions, schemas, streams. Nothing is kept between questions, so one that goes on from an
earlier response is refused; so are tools that the vendor runs. Whoever is asked hears chat completions or
messages. Source: OpenAI's responses reference and its SDK's types.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from jurymast.domain.provider import AIResponse, Format, Usage
from jurymast.faces.gateway import translation
from jurymast.faces.gateway.asking import (
    Asked,
    BadAsk,
    Trouble,
    asked,
    decoded,
    known_only,
    limit_of,
    parts_of,
    stated,
    text_of,
)
from jurymast.faces.gateway.chat import ChatApi, schema_of

_HINTS: Final = frozenset({"metadata", "prompt_cache_key", "safety_identifier", "store", "user"})
_KNOWN: Final = _HINTS | {
    "input", "instructions", "max_output_tokens", "model", "parallel_tool_calls", "reasoning", "stream",
    "temperature", "text", "tool_choice", "tools", "top_p",
}  # fmt: skip
_PARTS: Final = frozenset({"input_text", "output_text", "refusal", "text"})


class ResponsesApi:
    """``POST /v1/responses``."""

    def __init__(self, spoken: Collection[Format] = tuple(Format)) -> None:
        self._translates = Format.MESSAGES in spoken
        self._chat = ChatApi(spoken)

    def read(self, body: bytes) -> Asked:
        told = decoded(body)
        known_only(told, _KNOWN)
        chat = _as_chat(told)
        other = translation.to_messages(chat) if self._translates else "chat completions"
        return asked(
            told,
            len(body),
            (Format.CHAT, chat),
            (Format.MESSAGES, other),
            output_tokens=limit_of(told, "max_output_tokens"),
            schema=schema_of(chat.get("response_format")),
        )

    def whole(self, response: AIResponse, told_in: Format) -> bytes:
        return msgspec.json.encode(_response(response, told_in))

    def frames(
        self,
        response: AIResponse,
        told_in: Format,
        *,
        usage_wanted: bool,  # noqa: ARG002 (it is never left out here)
    ) -> bytes:
        whole = _response(response, told_in)
        events = _Events()
        said = events.say("response.created", response={**whole, "status": "in_progress", "output": []})
        for place, item in enumerate(whole["output"]):
            said += _item(events, place, item)
        return said + events.say("response.completed", response=whole)

    def live(self, told_in: Format, *, usage_wanted: bool) -> Telling:  # noqa: ARG002 (never left out)
        return Telling()

    def trouble(self, trouble: Trouble) -> bytes:
        return self._chat.trouble(trouble)

    def broken(self, trouble: Trouble) -> bytes:
        error = {"code": trouble.code, "message": trouble.message, "param": trouble.field}
        return _Events().say("error", **error, error=error)  # by the inner one the SDK raises


class _Events:
    """Numbers the events of one stream."""

    def __init__(self) -> None:
        self._number = -1

    def say(self, kind: str, **fields: Any) -> bytes:
        self._number += 1
        event = {"type": kind, "sequence_number": self._number, **fields}
        return b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode(event) + b"\n\n"


class Telling:
    """A stream of either format, told as one message of text, and at its end each call of a function."""

    def __init__(self) -> None:
        self._calls = translation.CallsHeard()
        self._events = _Events()
        self._texts: list[str] = []
        self._head = _head("", Usage())
        self._item = f"msg_{time.time_ns():x}"

    def line(self, line: bytes, fresh: str) -> bytes:
        self._calls.hear(line)
        if not fresh:
            return b""
        said = b"" if self._texts else self._created() + self._begun()
        self._texts.append(fresh)
        return said + self._events.say("response.output_text.delta", **self._at(), delta=fresh, logprobs=[])

    def end(self, response: AIResponse) -> bytes:
        events, output = self._events, list[dict[str, Any]]()
        said = b"" if self._texts else self._created()
        calls = self._calls.all()
        if self._texts or not calls:
            said += b"" if self._texts else self._begun()
            item = _message(self._item, "".join(self._texts))
            part = item["content"][0]
            said += events.say("response.output_text.done", **self._at(), text=part["text"], logprobs=[])
            said += events.say("response.content_part.done", **self._at(), part=part)
            said += events.say("response.output_item.done", output_index=0, item=item)
            output.append(item)
        for call in _calls(calls):
            said += _item(events, len(output), call)
            output.append(call)
        whole = {**_ended(self._head, response), "output": output}
        return said + events.say("response.completed", response=whole)

    def _created(self) -> bytes:
        return self._events.say("response.created", response={**self._head, "status": "in_progress"})

    def _begun(self) -> bytes:
        item = {**_message(self._item, ""), "status": "in_progress", "content": []}
        events = self._events
        return b"".join(
            [
                events.say("response.output_item.added", output_index=0, item=item),
                events.say("response.content_part.added", **self._at(), part=_part("")),
            ]
        )

    def _at(self) -> dict[str, Any]:
        return {"item_id": self._item, "output_index": 0, "content_index": 0}


def _as_chat(told: Mapping[str, Any]) -> dict[str, Any]:
    """The question as chat completions. Raises BadAsk."""
    chat: dict[str, Any] = {"messages": _messages(told)}
    for name in ("temperature", "top_p", "parallel_tool_calls", *_HINTS):
        if told.get(name) is not None:
            chat[name] = told[name]
    if effort := stated(told, "reasoning", dict, {}).get("effort"):
        chat["reasoning_effort"] = effort
    if tools := stated(told, "tools", list, []):
        chat["tools"] = [_tool(tool) for tool in tools]
        choice: Any = told.get("tool_choice") or "auto"
        if isinstance(choice, dict):
            choice = {"type": "function", "function": {"name": choice.get("name")}}
        chat["tool_choice"] = choice
    wanted = stated(told, "text", dict, {}).get("format") or {"type": "text"}
    match wanted.get("type"):
        case "text":
            pass
        case "json_object":
            chat["response_format"] = {"type": "json_object"}
        case "json_schema" if isinstance(wanted.get("schema"), dict):
            schema = {name: wanted[name] for name in ("name", "schema", "strict") if name in wanted}
            chat["response_format"] = {"type": "json_schema", "json_schema": schema}
        case _:
            raise BadAsk("'text.format' must be text, json_object or a json_schema with its schema", "text")
    return chat


def _messages(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Turns of the conversation. Raises BadAsk."""
    messages: list[dict[str, Any]] = []
    if instructions := stated(told, "instructions", str):
        messages.append({"role": "system", "content": instructions})
    asked = told.get("input")
    items = [{"role": "user", "content": asked}] if isinstance(asked, str) else asked
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        raise BadAsk("'input' must be text or a list of at least one item", "input")
    for item in items:
        match item.get("type", "message"):
            case "message":
                parts = parts_of(item.get("content"), _PARTS)
                text = text_of([{**part, "type": "text"} for part in parts if "text" in part])
                messages.append({"role": str(item.get("role", "user")), "content": text})
            case "function_call":
                call = {"name": item.get("name"), "arguments": item.get("arguments") or "{}"}
                calls = [{"id": item.get("call_id"), "type": "function", "function": call}]
                if messages and messages[-1].get("tool_calls"):
                    messages[-1]["tool_calls"] += calls
                else:
                    messages.append({"role": "assistant", "content": None, "tool_calls": calls})
            case "function_call_output":
                output = item.get("output")
                text = output if isinstance(output, str) else text_of(
                    [{**part, "type": "text"} for part in parts_of(output, _PARTS)]
                )  # fmt: skip
                messages.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": text})
            case "reasoning":
                pass  # another model's thoughts are of no use to this one
            case kind:
                raise BadAsk(f"an item of kind {kind!r:.40} is not passed on", "input")
    return messages


def _tool(tool: Any) -> dict[str, Any]:
    if not isinstance(tool, dict) or tool.get("type") != "function":
        raise BadAsk("only tools of type 'function' are passed on", "tools")
    known = ("name", "description", "parameters", "strict")
    function = {name: tool[name] for name in known if tool.get(name) is not None}
    return {"type": "function", "function": function}


def _response(response: AIResponse, told_in: Format) -> dict[str, Any]:
    message, _ = translation.as_chat_message(response.raw, told_in)
    output: list[dict[str, Any]] = []
    if text := message.get("content"):
        output.append(_message(f"msg_{time.time_ns():x}", text))
    elif refusal := message.get("refusal"):
        said = _message(f"msg_{time.time_ns():x}", "")
        output.append({**said, "content": [{"type": "refusal", "refusal": refusal}]})
    output += _calls(message.get("tool_calls") or [])
    return {**_ended(_head(response.served_model, response.usage), response), "output": output}


def _calls(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Calls in the words of chat as items of an answer."""
    return [
        {
            "type": "function_call",
            "id": f"fc_{number}_{call.get('id')}",
            "call_id": call.get("id"),
            "name": call["function"].get("name"),
            "arguments": call["function"].get("arguments"),
            "status": "completed",
        }
        for number, call in enumerate(calls)
    ]


def _head(model: str, usage: Usage) -> dict[str, Any]:
    return {
        "id": f"resp_{time.time_ns():x}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "model": model,
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": _usage(usage),
    }


def _ended(head: Mapping[str, Any], response: AIResponse) -> dict[str, Any]:
    """With who answered, what it used, and whether the limit has cut it."""
    cut = response.finish_reason in {"length", "max_tokens"}
    return {
        **head,
        "model": response.served_model,
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "usage": _usage(response.usage),
    }


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cached_input},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input + usage.output,
    }


def _message(item_id: str, text: str) -> dict[str, Any]:
    head = {"type": "message", "id": item_id, "status": "completed", "role": "assistant"}
    return {**head, "content": [_part(text)]}


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _item(events: _Events, place: int, item: dict[str, Any]) -> bytes:
    """One item of a whole answer, from its beginning to its end."""
    said = events.say(
        "response.output_item.added", output_index=place, item={**item, "status": "in_progress"}
    )
    at = {"item_id": item["id"], "output_index": place}
    if item["type"] == "function_call":
        arguments = item["arguments"]
        said += events.say("response.function_call_arguments.delta", **at, delta=arguments)
        said += events.say(
            "response.function_call_arguments.done", **at, arguments=arguments, name=item["name"]
        )
    elif (part := item["content"][0])["type"] == "output_text":
        at["content_index"] = 0
        said += events.say("response.content_part.added", **at, part=_part(""))
        said += events.say("response.output_text.delta", **at, delta=part["text"], logprobs=[])
        said += events.say("response.output_text.done", **at, text=part["text"], logprobs=[])
        said += events.say("response.content_part.done", **at, part=part)
    return said + events.say("response.output_item.done", output_index=place, item=item)
