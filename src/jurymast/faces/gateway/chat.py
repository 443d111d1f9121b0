"""Chat completions, as a client of OpenAI's API speaks them.

Source: OpenAI's chat completions reference and its SDK's types.
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

DONE: Final = b"data: [DONE]\n\n"
_OURS: Final = frozenset({"model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n"})
_PASSED: Final = frozenset(
    {
        "frequency_penalty", "logit_bias", "logprobs", "messages", "metadata", "parallel_tool_calls",
        "presence_penalty", "prompt_cache_key", "reasoning_effort", "response_format", "safety_identifier",
        "seed", "stop", "store", "temperature", "tool_choice", "tools", "top_logprobs", "top_p", "user",
        "verbosity",
    }
)  # fmt: skip
"""Fields that can't make an answer dearer than its tokens."""
_KNOWN: Final = _OURS | _PASSED
_PARTS: Final = frozenset({"text", "refusal"})
_OBJECT: Final[Mapping[str, Any]] = {"type": "object"}
_DATA: Final = b"data: "


class ChatApi:
    """``POST /v1/chat/completions``."""

    def __init__(self, spoken: Collection[Format] = tuple(Format)) -> None:
        self._translates = Format.MESSAGES in spoken

    def read(self, body: bytes) -> Asked:
        told = decoded(body)
        known_only(told, _KNOWN)
        if stated(told, "n", int, 1) != 1:
            raise BadAsk("'n' must be 1: ask several times for several answers", "n")
        for message in messages_of(told):
            if not isinstance(message.get("role"), str):
                raise BadAsk("a message has no role", "messages")
            parts_of(message.get("content"), _PARTS)
        for tool in stated(told, "tools", list, []):
            if not isinstance(tool, dict) or tool.get("type") != "function":
                raise BadAsk("only tools of type 'function' are passed on", "tools")
        passed = {name: told[name] for name in told if name in _PASSED}
        other = translation.to_messages(passed) if self._translates else "chat completions"
        return asked(
            told,
            len(body),
            (Format.CHAT, passed),
            (Format.MESSAGES, other),
            output_tokens=limit_of(told, "max_completion_tokens", "max_tokens"),
            schema=schema_of(stated(told, "response_format", dict)),
            usage_wanted=bool(stated(told, "stream_options", dict, {}).get("include_usage")),
        )

    def whole(self, response: AIResponse, told_in: Format) -> bytes:
        if told_in is Format.CHAT:
            return response.raw
        return msgspec.json.encode(_completion(response, told_in))

    def frames(self, response: AIResponse, told_in: Format, *, usage_wanted: bool) -> bytes:
        reply = decoded(response.raw) if told_in is Format.CHAT else _completion(response, told_in)
        head = {name: reply.get(name) for name in ("id", "created", "model", "system_fingerprint")}
        head = {name: value for name, value in head.items() if value is not None}
        head["object"] = "chat.completion.chunk"
        pieces = []
        for choice in reply["choices"]:
            delta = dict(choice["message"])
            if calls := delta.get("tool_calls"):
                delta["tool_calls"] = [{"index": place, **call} for place, call in enumerate(calls)]
            for content, finish in ((delta, None), ({}, choice["finish_reason"])):
                part = {"index": choice.get("index", 0), "delta": content, "finish_reason": finish}
                pieces.append(_frame({**head, "choices": [part]}))
        if usage_wanted:
            pieces.append(_frame({**head, "choices": [], "usage": reply.get("usage")}))
        return b"".join([*pieces, DONE])

    def live(self, told_in: Format, *, usage_wanted: bool) -> Passing | Telling:
        return Passing(usage_wanted=usage_wanted) if told_in is Format.CHAT else Telling(usage_wanted)

    def trouble(self, trouble: Trouble) -> bytes:
        error = {
            "message": trouble.message, "type": trouble.kind, "param": trouble.field, "code": trouble.code,
        }  # fmt: skip
        return msgspec.json.encode({"error": error})

    def broken(self, trouble: Trouble) -> bytes:
        return _DATA + self.trouble(trouble) + b"\n\n"


class Passing:
    """A stream of the same format, line by line as it came. Its end is told when the answer counts."""

    def __init__(self, *, usage_wanted: bool) -> None:
        self._usage_wanted = usage_wanted

    def line(self, line: bytes, fresh: str) -> bytes:  # noqa: ARG002 (the line says it all)
        if not line.startswith(b"data:") or line[5:].strip() == b"[DONE]":
            return b""
        if not self._usage_wanted and b'"usage"' in line:
            # It was asked for by us: a client that did not is not to see a chunk without choices.
            chunk = decoded(line[5:])
            if not chunk.get("choices"):
                return b""
            chunk.pop("usage", None)
            return _frame(chunk)
        return line + b"\n\n"

    def end(self, response: AIResponse) -> bytes:  # noqa: ARG002 (all of it was told)
        return DONE


class Telling:
    """A stream of another format, told in chunks of text. Calls of tools are told at its end, when they are
    whole: nobody can carry out a part of one."""

    def __init__(self, usage_wanted: bool) -> None:
        self._usage_wanted = usage_wanted
        self._head: dict[str, Any] = {
            "id": f"chatcmpl-{time.time_ns():x}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": "",
        }
        self._begun = False
        self._calls = translation.CallsHeard()

    def line(self, line: bytes, fresh: str) -> bytes:
        self._calls.hear(line)
        if not self._begun and b'"message_start"' in line and line.startswith(b"data:"):
            self._head["model"] = decoded(line[5:]).get("message", {}).get("model", "")
        if not fresh:
            return b""
        return self._delta({"content": fresh})

    def end(self, response: AIResponse) -> bytes:
        finish = translation.FINISHES.get(response.finish_reason, "stop")
        calls = [{"index": place, **call} for place, call in enumerate(self._calls.all())]
        last = self._delta({"tool_calls": calls}) if calls else b""
        last += self._chunk({}, finish)
        if self._usage_wanted:
            last += _frame({**self._head, "choices": [], "usage": _usage(response.usage)})
        return last + DONE

    def _delta(self, delta: dict[str, Any]) -> bytes:
        begun, self._begun = self._begun, True
        return self._chunk(delta if begun else {"role": "assistant", **delta}, None)

    def _chunk(self, delta: dict[str, Any], finish: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return _frame({**self._head, "choices": [choice]})


def schema_of(wanted: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """What the answer has to conform to. Raises BadAsk."""
    kind = (wanted or {}).get("type", "text")
    if kind == "text":
        return None
    if kind == "json_object":
        return _OBJECT
    named = (wanted or {}).get("json_schema")
    if kind != "json_schema" or not isinstance(named, dict) or not isinstance(named.get("schema"), dict):
        raise BadAsk("'response_format' must be text, json_object or a json_schema with its schema",
                     "response_format")  # fmt: skip
    schema: Mapping[str, Any] = named["schema"]
    return schema


def _completion(response: AIResponse, told_in: Format) -> dict[str, Any]:
    """An answer of another format as a completion."""
    message, finish = translation.as_chat_message(response.raw, told_in)
    return {
        "id": f"chatcmpl-{time.time_ns():x}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": response.served_model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}],
        "usage": _usage(response.usage),
    }


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def _frame(chunk: Mapping[str, Any]) -> bytes:
    return _DATA + msgspec.json.encode(chunk) + b"\n\n"
