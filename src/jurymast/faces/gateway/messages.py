"""Messages, as a client of Anthropic's API speaks them.

Source: Anthropic's messages and streaming references and its SDK's types.
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
    messages_of,
    parts_of,
    stated,
)

_PASSED: Final = frozenset(
    {
        "cache_control", "messages", "metadata", "output_config", "stop_sequences", "system", "temperature",
        "thinking", "tool_choice", "tools", "top_k", "top_p",
    }
)  # fmt: skip
"""Fields that can't make an answer dearer than its tokens."""
_KNOWN: Final = _PASSED | {"model", "max_tokens", "stream"}
_PARTS: Final = frozenset({"text", "thinking", "redacted_thinking", "tool_use", "tool_result"})
_KINDS: Final[Mapping[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


class MessagesApi:
    """``POST /v1/messages``."""

    def __init__(self, spoken: Collection[Format] = tuple(Format)) -> None:
        self._translates = Format.CHAT in spoken

    def read(self, body: bytes) -> Asked:
        told = decoded(body)
        known_only(told, _KNOWN)
        if b'"ttl"' in body and b'"1h"' in body:
            raise BadAsk("a cache kept for an hour is not passed on: its price is not held", "cache_control")
        limit = limit_of(told, "max_tokens")
        if limit is None:
            raise BadAsk("'max_tokens' is missing", "max_tokens")
        parts_of(told.get("system"), {"text"})
        for message in messages_of(told):
            if message.get("role") not in {"user", "assistant"}:
                raise BadAsk("the role of a message must be user or assistant", "messages")
            for part in parts_of(message.get("content"), _PARTS):
                if part["type"] == "tool_result":
                    parts_of(part.get("content"), {"text"})
        for tool in stated(told, "tools", list, []):
            if not isinstance(tool, dict) or tool.get("type", "custom") != "custom":
                raise BadAsk("only tools that the client runs itself are passed on", "tools")
        passed = {name: told[name] for name in told if name in _PASSED}
        other = translation.to_chat(passed) if self._translates else "messages"
        wanted = stated(told, "output_config", dict, {}).get("format")
        if wanted is not None and not isinstance(wanted.get("schema"), dict):
            raise BadAsk("'output_config.format' has no schema", "output_config")
        return asked(
            told,
            len(body),
            (Format.MESSAGES, passed),
            (Format.CHAT, other),
            output_tokens=limit,
            schema=wanted["schema"] if wanted else None,
        )

    def whole(self, response: AIResponse, told_in: Format) -> bytes:
        if told_in is Format.MESSAGES:
            return response.raw
        return msgspec.json.encode(_message(response))

    def frames(
        self,
        response: AIResponse,
        told_in: Format,
        *,
        usage_wanted: bool,  # noqa: ARG002 (it is never left out here)
    ) -> bytes:
        reply = decoded(response.raw) if told_in is Format.MESSAGES else _message(response)
        pieces = [_frame("message_start", message={**reply, "content": [], "stop_reason": None})]
        for place, block in enumerate(reply["content"]):
            pieces += _block(place, block)
        pieces.append(_ended(reply["stop_reason"], reply["usage"]))
        return b"".join(pieces)

    def live(self, told_in: Format, *, usage_wanted: bool) -> Passing | Telling:  # noqa: ARG002 (never left out)
        return Passing() if told_in is Format.MESSAGES else Telling()

    def trouble(self, trouble: Trouble) -> bytes:
        kind = _KINDS.get(trouble.status, "api_error")
        return msgspec.json.encode({"type": "error", "error": {"type": kind, "message": trouble.message}})

    def broken(self, trouble: Trouble) -> bytes:
        return b"event: error\ndata: " + self.trouble(trouble) + b"\n\n"


class Passing:
    """A stream of the same format, line by line as it came."""

    def line(self, line: bytes, fresh: str) -> bytes:  # noqa: ARG002 (the line says it all)
        return line + b"\n"

    def end(self, response: AIResponse) -> bytes:  # noqa: ARG002 (message_stop was the proof of it)
        return b"\n"


class Telling:
    """A stream of another format, told as one block of text and, at its end, one for each call of a tool."""

    def __init__(self) -> None:
        self._begun = False
        self._calls = translation.CallsHeard()

    def line(self, line: bytes, fresh: str) -> bytes:
        self._calls.hear(line)
        if not fresh:
            return b""
        said = b""
        if not self._begun:
            self._begun = True
            model = decoded(line[5:]).get("model", "") if line.startswith(b"data:") else ""
            said = _frame("message_start", message=_head(model, Usage(output=1)))
            said += _frame("content_block_start", index=0, content_block={"type": "text", "text": ""})
        return said + _delta(0, {"type": "text_delta", "text": fresh})

    def end(self, response: AIResponse) -> bytes:
        said = b"" if self._begun else _frame("message_start", message=_head(response.served_model, Usage()))
        if self._begun:
            said = _frame("content_block_stop", index=0)
        calls = self._calls.all()
        for place, call in enumerate(calls, start=int(self._begun)):
            said += b"".join(_block(place, translation.use_of(call)))
        stop = "tool_use" if calls else translation.STOPS.get(response.finish_reason, "end_turn")
        return said + _ended(stop, _usage(response.usage))


def _block(place: int, block: Mapping[str, Any]) -> list[bytes]:
    """A whole block as its beginning, one delta and its end."""
    begun, delta = dict(block), dict[str, Any]()
    match block.get("type"):
        case "text":
            begun["text"], delta = "", {"type": "text_delta", "text": block["text"]}
        case "tool_use":
            text = msgspec.json.encode(block.get("input")).decode()
            begun["input"], delta = {}, {"type": "input_json_delta", "partial_json": text}
        case "thinking":
            begun["thinking"], delta = "", {"type": "thinking_delta", "thinking": block.get("thinking")}
    pieces = [_frame("content_block_start", index=place, content_block=begun)]
    if delta:
        pieces.append(_delta(place, delta))
    pieces.append(_frame("content_block_stop", index=place))
    return pieces


def _message(response: AIResponse) -> dict[str, Any]:
    """A chat completion as a message."""
    blocks, stop = translation.as_blocks(response.raw)
    head = _head(response.served_model, response.usage)
    return {**head, "content": blocks, "stop_reason": stop}


def _head(model: str, usage: Usage) -> dict[str, Any]:
    return {
        "id": f"msg_{time.time_ns():x}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": _usage(usage),
    }


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input - usage.cached_input - usage.cache_written,
        "output_tokens": usage.output,
        "cache_read_input_tokens": usage.cached_input,
        "cache_creation_input_tokens": usage.cache_written,
    }


def _delta(place: int, delta: Mapping[str, Any]) -> bytes:
    return _frame("content_block_delta", index=place, delta=delta)


def _ended(stop: str, usage: Mapping[str, Any]) -> bytes:
    delta = {"stop_reason": stop, "stop_sequence": None}
    return _frame("message_delta", delta=delta, usage=usage) + _frame("message_stop")


def _frame(kind: str, **fields: Any) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode({"type": kind, **fields}) + b"\n\n"
