"""Chat completions as xAI, OpenAI and Ollama's ``/v1`` speak them.

Differences kept: xAI's ``completion_tokens`` leaves reasoning out while ``total_tokens`` holds it, and
its usage has the price in ticks (10^10 ticks are one dollar: docs.x.ai, Cost Tracking); OpenAI counts
reasoning in, refuses ``max_tokens`` on current models and checks strict schemas; Ollama asks for no key
and has no error codes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from jurymast.domain.provider import Message, ProviderName
from jurymast.lab.emulators.answers import REFUSAL_TEXT
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

DONE: Final = b"data: [DONE]\n\n"
COMMENT: Final = b": keep-alive\n\n"
MODELS_CREATED: Final = 1_767_225_600
"""Unix seconds that every listed model claims to be from (2026-01-01)."""

_OWNERS: Final = {
    ProviderName.XAI: "xai",
    ProviderName.OPENAI: "openai",
    ProviderName.LOCAL: "library",
}


class _Message(msgspec.Struct):
    role: str
    content: str | list[dict[str, Any]] | None = None


class _NamedSchema(msgspec.Struct):
    name: str
    schema: dict[str, Any]
    strict: bool | None = None


class _ResponseFormat(msgspec.Struct):
    type: str
    json_schema: _NamedSchema | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool = False


class _ChatRequest(msgspec.Struct):
    model: str
    messages: list[_Message]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    response_format: _ResponseFormat | None = None
    max_completion_tokens: int | None = None
    max_tokens: int | None = None


class ChatWire:
    """``POST /v1/chat/completions`` and ``GET /v1/models`` of one of the three."""

    def __init__(self, provider: ProviderName) -> None:
        self.provider = provider

    def check_key(self, headers: Mapping[str, str]) -> None:
        if self.provider is not ProviderName.LOCAL and not bearer_key(headers):
            words = "You didn't provide an API key." if self.provider is ProviderName.OPENAI else None
            raise refusal(self.provider, Fault.AUTH, message=words)

    def read(self, headers: Mapping[str, str], body: bytes) -> Ask:
        del headers
        request = decode(self.provider, body, _ChatRequest)
        if not request.messages:
            raise invalid(self.provider, "messages must not be empty")
        if self.provider is ProviderName.OPENAI and request.max_tokens is not None:
            raise invalid(
                self.provider,
                "Unsupported parameter: 'max_tokens' is not supported with this model. "
                "Use 'max_completion_tokens' instead.",
            )
        limit = request.max_completion_tokens or request.max_tokens
        if limit is not None and limit < 1:
            raise invalid(self.provider, "max_completion_tokens must be at least 1")
        return Ask(
            model=request.model,
            messages=tuple(Message(message.role, text_of(message.content)) for message in request.messages),
            schema=self._schema(request.response_format),
            output_tokens_max=limit,
            stream=bool(request.stream),
            include_usage=bool(request.stream_options and request.stream_options.include_usage),
        )

    def whole(self, reply: Reply) -> dict[str, object]:
        refused = reply.finish is Finish.REFUSED and self.provider is ProviderName.OPENAI
        message = {
            "role": "assistant",
            "content": None if refused else reply.text,
            "refusal": REFUSAL_TEXT if refused else None,
        }
        choice = {"index": 0, "message": message, "finish_reason": _finish_reason(reply)}
        return {
            **self._head(reply, "chat.completion"),
            "choices": [choice] if reply.choices else [],
            "usage": self._usage(reply),
        }

    def frames(self, ask: Ask, reply: Reply) -> Frames:
        closing = [self._chunk(reply, {}, _finish_reason(reply))] if reply.choices else []
        if ask.include_usage:
            head = self._head(reply, "chat.completion.chunk")
            closing.append(server_sent({**head, "choices": [], "usage": self._usage(reply)}))
        opening = (self._chunk(reply, {"role": "assistant", "content": ""}),) if reply.choices else ()
        return Frames(
            content_type="text/event-stream",
            opening=opening,
            deltas=tuple(self._deltas(reply)),
            closing=(*closing, DONE),
            keepalive=COMMENT,
        )

    def error(self, wording: Wording, request_id: str) -> dict[str, object]:
        del request_id
        if self.provider is ProviderName.XAI:
            return {"code": wording.kind, "error": wording.message}
        return {
            "error": {
                "message": wording.message,
                "type": wording.kind,
                "param": wording.param,
                "code": wording.code,
            }
        }

    def error_frame(self, wording: Wording, request_id: str) -> bytes:
        return server_sent(self.error(wording, request_id))

    def model_list(self, models: Sequence[str], ends: Mapping[str, str]) -> dict[str, object]:
        owner = _OWNERS[self.provider]
        dated = self.provider is ProviderName.OPENAI
        return {
            "object": "list",
            "data": [
                {"id": model, "object": "model", "created": MODELS_CREATED, "owned_by": owner}
                | ({"shutdown_date": ends.get(model)} if dated else {})
                for model in models
            ],
        }

    def _schema(self, wanted: _ResponseFormat | None) -> Mapping[str, Any] | None:
        if wanted is None or wanted.type == "text":
            return None
        if wanted.type == "json_object":
            return {"type": "object"}
        if wanted.type != "json_schema" or wanted.json_schema is None:
            raise invalid(self.provider, "response_format must be text, json_object or json_schema")
        named = wanted.json_schema
        if self.provider is ProviderName.OPENAI and named.strict:
            problem = _strictness_problem(named.schema)
            if problem:
                raise invalid(self.provider, f"Invalid schema for response_format '{named.name}': {problem}")
        return named.schema

    def _head(self, reply: Reply, kind: str) -> dict[str, object]:
        return {
            "id": reply.reply_id if self.provider is ProviderName.XAI else f"chatcmpl-{reply.reply_id}",
            "object": kind,
            "created": reply.created,
            "model": reply.model,
            "system_fingerprint": "fp_ollama" if self.provider is ProviderName.LOCAL else "fp_simulated",
        }

    def _chunk(self, reply: Reply, delta: dict[str, object], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return server_sent({**self._head(reply, "chat.completion.chunk"), "choices": [choice]})

    def _deltas(self, reply: Reply) -> Iterator[bytes]:
        if not reply.choices:
            return
        refused = reply.finish is Finish.REFUSED and self.provider is ProviderName.OPENAI
        if refused:
            yield self._chunk(reply, {"refusal": REFUSAL_TEXT})
            return
        for piece in reply.pieces():
            yield self._chunk(reply, {"content": piece})

    def _usage(self, reply: Reply) -> dict[str, object]:
        total = reply.input_tokens + reply.output_tokens
        if self.provider is ProviderName.LOCAL:
            return {
                "prompt_tokens": reply.input_tokens,
                "completion_tokens": reply.output_tokens,
                "total_tokens": total,
            }
        xai = self.provider is ProviderName.XAI
        usage: dict[str, object] = {
            "prompt_tokens": reply.input_tokens,
            "completion_tokens": reply.visible_tokens if xai else reply.output_tokens,
            "total_tokens": total,
            "prompt_tokens_details": {
                "cached_tokens": reply.cache_read_tokens,
                **({} if xai else {"cache_write_tokens": reply.cache_written_tokens}),
                "audio_tokens": 0,
            },
            "completion_tokens_details": {
                "reasoning_tokens": reply.reasoning_tokens,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }
        if xai:
            usage |= {"num_sources_used": 0, "cost_in_usd_ticks": reply.ticks}
        return usage


def _finish_reason(reply: Reply) -> str:
    return "length" if reply.finish is Finish.LENGTH else "stop"


def _strictness_problem(schema: object) -> str | None:
    """OpenAI's two rules for strict schemas: nothing additional allowed, everything required."""
    if isinstance(schema, list):
        return next(filter(None, map(_strictness_problem, schema)), None)
    if not isinstance(schema, dict):
        return None
    properties = schema.get("properties")
    if schema.get("type") == "object":
        if schema.get("additionalProperties") is not False:
            return "'additionalProperties' is required to be supplied and to be false."
        if set(schema.get("required", ())) != set(properties or {}):
            return "'required' is required to be supplied and to include every key in properties."
    return next(filter(None, map(_strictness_problem, schema.values())), None)
