"""Anthropic's messages format.

The system prompt is a field of its own, the schema sits in ``output_config.format``, and
``input_tokens`` leave out what came from or went to the cache. A stream is complete only with
``message_stop``; ``error`` may come after an HTTP 200, ``ping`` at any time. A refusal before the first
token is free.
Sources: Anthropic messages, streaming and structured-output references; its SDK's types; its release notes
of June 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from jurymast.domain.provider import AIRequest, Billing, Failure, FailureKind, Format, Secret, Usage
from jurymast.intelligence.providers.wire import (
    Completion,
    count,
    cut,
    decode_object,
    schema_text,
    section,
    sse_data,
    stated_error,
    unusable,
)

API_VERSION: Final = "2026-10-21"

_STOPS: Final[Mapping[str, FailureKind | None]] = {
    "end_turn": None,
    "max_tokens": FailureKind.TRUNCATED,
    "pause_turn": FailureKind.TRUNCATED,
    "model_context_window_exceeded": FailureKind.CONTEXT_LENGTH,
    "refusal": FailureKind.CONTENT_FILTER,
}
_WORDLESS: Final = frozenset({"tool_use", "max_tokens", "refusal", "pause_turn"})
"""Ends of an answer that may have no text and is one all the same, to another program."""


class MessagesWire:
    """Anthropic messages."""

    path = "/messages"
    format = Format.MESSAGES

    def headers(self, api_key: Secret) -> dict[str, str]:
        # A bearer token, as the vendor's SDK sends it since this version; x-api-key is the older way.
        return {"authorization": f"Bearer {api_key.value}", "anthropic-version": API_VERSION}

    def encode(self, request: AIRequest, model: str, *, stream: bool) -> bytes:
        if request.verbatim is not None:
            told = request.verbatim.bodies[Format.MESSAGES]
            own = {"model": model, "max_tokens": request.max_output_tokens}
            return msgspec.json.encode({**told, **own, **({"stream": True} if stream else {})})
        body: dict[str, Any] = {
            "model": model,
            "max_tokens": request.max_output_tokens,
            "messages": [
                {"role": turn.role, "content": turn.content}
                for turn in request.messages
                if turn.role != "system"
            ],
        }
        if system := "\n\n".join(turn.content for turn in request.messages if turn.role == "system"):
            body["system"] = system
        if request.schema is not None:
            body["output_config"] = {"format": {"type": "json_schema", "schema": schema_text(request.schema)}}
        if stream:
            body["stream"] = True
        return msgspec.json.encode(body)

    def decode(self, body: bytes, *, verbatim: bool = False) -> Completion | Failure:
        reply = decode_object(body)
        if reply is None or reply.get("error"):
            return stated_error(body)
        content = reply.get("content")
        blocks = [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []
        if verbatim and blocks != content:
            usage = _usage(section(reply.get("usage")))
            return unusable(FailureKind.MALFORMED, "the content is no list of blocks", usage)
        return _judge(
            [block.get("text", "") for block in blocks if block.get("type") == "text"],
            reply.get("stop_reason"),
            reply.get("model"),
            section(reply.get("usage")),
            verbatim=verbatim,
        )

    def stream(self, *, verbatim: bool = False) -> MessagesStream:
        return MessagesStream(verbatim=verbatim)


class MessagesStream:
    """Follows one streamed message."""

    def __init__(self, *, verbatim: bool = False) -> None:
        self.started = False
        self.progress = 0
        self.answered = False
        self.closed = False
        self.texts: list[str] = []
        self._verbatim = verbatim
        self._stop: object = None
        self._served_model: object = None
        self._usage: dict[str, Any] = {}
        self._failure: Failure | None = None

    def feed(self, line: bytes) -> None:
        data = sse_data(line)
        if data is None or self.closed:
            return
        event = decode_object(data)
        if event is None or event.get("error"):
            self._failure = stated_error(data)
            self.closed = True
            return
        self._take(event)

    def result(self) -> Completion | Failure:
        if self._failure is not None:
            return self._failure
        if not self.answered:
            return cut(f"the stream ended without message_stop after {len(self.texts)} pieces")
        return _judge(self.texts, self._stop, self._served_model, self._usage, verbatim=self._verbatim)

    def _take(self, event: Mapping[str, Any]) -> None:
        kind = event.get("type")
        if kind == "content_block_delta":
            delta = section(event.get("delta"))
            # Text, thinking, or the signature that ends thinking in secret: whatever grows.
            self.progress += sum(
                len(piece) for field, piece in delta.items() if field != "type" and isinstance(piece, str)
            )
            self.started = self.started or self.progress > 0
            if delta.get("type") == "text_delta" and isinstance(text := delta.get("text"), str):
                self.texts.append(text)
        elif kind == "message_start":
            message = section(event.get("message"))
            self._served_model = message.get("model")
            self._usage.update(section(message.get("usage")))
        elif kind == "message_delta":
            self._stop = section(event.get("delta")).get("stop_reason") or self._stop
            # Cumulative; a null leaves what message_start said.
            self._usage.update({k: v for k, v in section(event.get("usage")).items() if v is not None})
        elif kind == "message_stop":
            self.started = self.answered = self.closed = True


def _judge(
    texts: list[Any], stop: object, served_model: object, stated_usage: Mapping[str, Any], *, verbatim: bool
) -> Completion | Failure:
    usage = _usage(stated_usage)
    model, text = served_model if isinstance(served_model, str) else "", _joined(texts)
    if verbatim and isinstance(stop, str) and (text.strip() or stop in _WORDLESS):
        return Completion(text, model, usage, stop)
    if stop == "refusal" and usage is not None and usage.output == 0:
        return Failure(FailureKind.CONTENT_FILTER, "refused unread", Billing.NOT_BILLED, status=200)
    if not isinstance(stop, str) or stop not in _STOPS:
        return unusable(FailureKind.MALFORMED, f"unknown stop reason {stop!r:.60}", usage)
    kind = _STOPS[stop]
    if kind is not None:
        return unusable(kind, f"stopped by {stop}", usage)
    if not text.strip():
        return unusable(FailureKind.EMPTY, "the answer has no text", usage)
    return Completion(text, model, usage, stop)


def _joined(texts: list[Any]) -> str:
    return "".join(piece for piece in texts if isinstance(piece, str))


def _usage(stated: Mapping[str, Any]) -> Usage | None:
    fresh, output = count(stated.get("input_tokens")), count(stated.get("output_tokens"))
    if fresh is None or output is None:
        return None
    read = count(stated.get("cache_read_input_tokens")) or 0
    written = count(stated.get("cache_creation_input_tokens")) or 0
    thinking = count(section(stated.get("output_tokens_details")).get("thinking_tokens")) or 0
    return Usage(
        input=fresh + read + written,
        output=output,
        cached_input=read,
        reasoning=thinking,
        cache_written=written,
    )
