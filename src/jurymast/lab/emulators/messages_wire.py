"""Anthropic's Messages: plain and as server-sent events.

Kept: a key, a version and ``max_tokens`` are required, sampling parameters and schema bounds are refused
on current models, ``output_tokens`` includes thinking, and Opus opens with a thinking block whose text is
withheld. The key may come as ``x-api-key`` or as a bearer token, which the official SDK sends since 2.x.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from jurymast.domain.provider import Message, ProviderName
from jurymast.lab.emulators.faults import Fault
from jurymast.lab.emulators.refusals import Wording, refusal
from jurymast.lab.emulators.wire import (
    Ask,
    Finish,
    Frames,
    Reply,
    bearer_key,
    decode,
    invalid,
    server_sent,
    text_of,
)

MODELS_CREATED: Final = "2026-01-01T00:00:00Z"
THINKS_ALOUD: Final = "claude-opus"
"""Beginning of the ids of models that always think, and show that they did."""

_UNSUPPORTED_BOUNDS: Final = frozenset({"minimum", "maximum", "minLength", "maxLength", "pattern"})
_PING: Final = server_sent({"type": "ping"}, "ping")
_STOP_REASONS: Final = {
    Finish.STOP: "end_turn",
    Finish.LENGTH: "max_tokens",
    Finish.REFUSED: "refusal",
}


class _Turn(msgspec.Struct):
    role: str
    content: str | list[dict[str, Any]]


class _Format(msgspec.Struct):
    type: str
    schema: dict[str, Any]


class _OutputConfig(msgspec.Struct):
    format: _Format | None = None


class _MessagesRequest(msgspec.Struct):
    model: str
    max_tokens: int
    messages: list[_Turn]
    system: str | list[dict[str, Any]] | None = None
    stream: bool | None = None
    output_config: _OutputConfig | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None


class MessagesWire:
    """``POST /v1/messages`` and ``GET /v1/models``."""

    provider = ProviderName.ANTHROPIC

    def check_key(self, headers: Mapping[str, str]) -> None:
        if not (headers.get("x-api-key", "").strip() or bearer_key(headers)):
            raise refusal(self.provider, Fault.AUTH, message="x-api-key header is required")
        if not headers.get("anthropic-version", "").strip():
            raise invalid(self.provider, "anthropic-version: header is required")

    def read(self, headers: Mapping[str, str], body: bytes) -> Ask:
        del headers
        request = decode(self.provider, body, _MessagesRequest)
        if not request.messages:
            raise invalid(self.provider, "messages: at least one message is required")
        if request.max_tokens < 1:
            raise invalid(self.provider, "max_tokens: must be greater than or equal to 1")
        for name in ("temperature", "top_p", "top_k"):
            if getattr(request, name) is not None:
                raise invalid(self.provider, f"`{name}` is deprecated for this model.")
        system = (Message("system", text_of(request.system)),) if request.system else ()
        turns = (Message(turn.role, text_of(turn.content)) for turn in request.messages)
        return Ask(
            model=request.model,
            messages=(*system, *turns),
            schema=self._schema(request.output_config),
            output_tokens_max=request.max_tokens,
            stream=bool(request.stream),
        )

    def whole(self, reply: Reply) -> dict[str, object]:
        return {**_head(reply), "content": list(_blocks(reply)), **_end(reply), "usage": _usage(reply)}

    def frames(self, ask: Ask, reply: Reply) -> Frames:
        del ask
        start = {
            **_head(reply),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {**_usage(reply), "output_tokens": 1},
        }
        opening = [server_sent({"type": "message_start", "message": start}, "message_start"), _PING]
        text_index = 0
        if reply.choices and reply.model.startswith(THINKS_ALOUD):
            opening += _thinking_events(reply)
            text_index = 1
        delta = {"type": "message_delta", "delta": _end(reply), "usage": _usage(reply)}
        closing = [
            server_sent(delta, "message_delta"),
            server_sent({"type": "message_stop"}, "message_stop"),
        ]
        if reply.choices:
            opening.append(_block_start(text_index, {"type": "text", "text": ""}))
            closing.insert(0, _block_stop(text_index))
        return Frames(
            content_type="text/event-stream",
            opening=tuple(opening),
            deltas=tuple(
                _block_delta(text_index, {"type": "text_delta", "text": piece}) for piece in reply.pieces()
            )
            if reply.choices
            else (),
            closing=tuple(closing),
            keepalive=_PING,
        )

    def error(self, wording: Wording, request_id: str) -> dict[str, object]:
        return {
            "type": "error",
            "error": {"type": wording.kind, "message": wording.message},
            "request_id": request_id,
        }

    def error_frame(self, wording: Wording, request_id: str) -> bytes:
        return server_sent(self.error(wording, request_id), "error")

    def model_list(self, models: Sequence[str], ends: Mapping[str, str]) -> dict[str, object]:
        return {
            "data": [
                {
                    "type": "model",
                    "id": model,
                    "display_name": model,
                    "created_at": MODELS_CREATED,
                    "lifecycle": "deprecated" if model in ends else "active",
                    "deprecated_at": MODELS_CREATED if model in ends else None,
                    "retires_at": f"{ends[model]}T00:00:00Z" if model in ends else None,
                }
                for model in models
            ],
            "has_more": False,
            "first_id": models[0] if models else None,
            "last_id": models[-1] if models else None,
        }

    def _schema(self, config: _OutputConfig | None) -> Mapping[str, Any] | None:
        if config is None or config.format is None:
            return None
        if config.format.type != "json_schema":
            raise invalid(self.provider, "output_config.format.type: must be 'json_schema'")
        bound = _unsupported_bound(config.format.schema)
        if bound:
            raise invalid(self.provider, f"output_config.format.schema: '{bound}' is not supported")
        return config.format.schema


def _head(reply: Reply) -> dict[str, object]:
    return {"id": f"msg_{reply.reply_id}", "type": "message", "role": "assistant", "model": reply.model}


def _blocks(reply: Reply) -> list[dict[str, object]]:
    if not reply.choices:
        return []
    text: dict[str, object] = {"type": "text", "text": reply.text}
    if not reply.model.startswith(THINKS_ALOUD):
        return [text]
    return [{"type": "thinking", "thinking": "", "signature": reply.reply_id}, text]


def _end(reply: Reply) -> dict[str, object]:
    return {"stop_reason": _STOP_REASONS[reply.finish], "stop_sequence": None}


def _usage(reply: Reply) -> dict[str, object]:
    return {
        "input_tokens": reply.input_tokens - reply.cache_read_tokens - reply.cache_written_tokens,
        "output_tokens": reply.output_tokens,
        "cache_creation_input_tokens": reply.cache_written_tokens,
        "cache_read_input_tokens": reply.cache_read_tokens,
    }


def _thinking_events(reply: Reply) -> list[bytes]:
    return [
        _block_start(0, {"type": "thinking", "thinking": "", "signature": ""}),
        _block_delta(0, {"type": "signature_delta", "signature": reply.reply_id}),
        _block_stop(0),
    ]


def _block_start(index: int, block: dict[str, str]) -> bytes:
    return server_sent(
        {"type": "content_block_start", "index": index, "content_block": block}, "content_block_start"
    )


def _block_delta(index: int, delta: dict[str, str]) -> bytes:
    return server_sent({"type": "content_block_delta", "index": index, "delta": delta}, "content_block_delta")


def _block_stop(index: int) -> bytes:
    return server_sent({"type": "content_block_stop", "index": index}, "content_block_stop")


def _unsupported_bound(schema: object) -> str | None:
    if isinstance(schema, list):
        return next(filter(None, map(_unsupported_bound, schema)), None)
    if not isinstance(schema, dict):
        return None
    named = schema.get("properties", {})
    for word, value in schema.items():
        if word in _UNSUPPORTED_BOUNDS and not isinstance(value, dict):
            return str(word)
    inner = [*named.values(), *(value for word, value in schema.items() if word != "properties")]
    return next(filter(None, map(_unsupported_bound, inner)), None)
