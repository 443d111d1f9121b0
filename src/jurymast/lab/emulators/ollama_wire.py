"""Ollama's own wire: ``/api/chat`` (one JSON object a line, streamed unless told not to) and its lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from jurymast.domain.provider import Message, ProviderName
from jurymast.lab.emulators.refusals import Wording
from jurymast.lab.emulators.wire import Ask, Finish, Frames, Reply, compact, decode, invalid

VERSION: Final = "0.13.0"
MODELS_MODIFIED: Final = "2026-01-01T00:00:00Z"
_NANOS: Final = 1_000_000_000


class _Message(msgspec.Struct):
    role: str
    content: str = ""


class _Options(msgspec.Struct):
    num_predict: int | None = None


class _ChatRequest(msgspec.Struct):
    model: str
    messages: list[_Message] = []
    stream: bool = True
    format: str | dict[str, Any] | None = None
    options: _Options | None = None


class OllamaWire:
    """The native side of the local server."""

    provider = ProviderName.LOCAL

    def check_key(self, headers: Mapping[str, str]) -> None:
        """Ollama on loopback asks for none."""

    def read(self, headers: Mapping[str, str], body: bytes) -> Ask:
        del headers
        request = decode(self.provider, body, _ChatRequest)
        if not request.messages:
            raise invalid(self.provider, "messages must not be empty")
        limit = request.options.num_predict if request.options else None
        return Ask(
            model=request.model,
            messages=tuple(Message(message.role, message.content) for message in request.messages),
            schema=_schema(request.format),
            output_tokens_max=limit if limit is not None and limit > 0 else None,
            stream=request.stream,
        )

    def whole(self, reply: Reply) -> dict[str, object]:
        message = {"message": {"role": "assistant", "content": reply.text}} if reply.choices else {}
        return {**_head(reply), **message, **_end(reply)}

    def frames(self, ask: Ask, reply: Reply) -> Frames:
        del ask
        pieces = tuple(reply.pieces()) if reply.choices else ()
        last = {"message": {"role": "assistant", "content": ""}} if reply.choices else {}
        return Frames(
            content_type="application/x-ndjson",
            opening=(),
            deltas=tuple(
                _line({**_head(reply), "message": {"role": "assistant", "content": piece}, "done": False})
                for piece in pieces
            ),
            closing=(_line({**_head(reply), **last, **_end(reply)}),),
            keepalive=b"\n",
        )

    def error(self, wording: Wording, request_id: str) -> dict[str, object]:
        del request_id
        return {"error": wording.message}

    def error_frame(self, wording: Wording, request_id: str) -> bytes:
        return _line(self.error(wording, request_id))

    def model_list(self, models: Sequence[str], ends: Mapping[str, str]) -> dict[str, object]:
        del ends
        return {
            "models": [
                {
                    "name": model,
                    "model": model,
                    "modified_at": MODELS_MODIFIED,
                    "size": 0,
                    "digest": "simulated",
                    "details": {"format": "gguf", "family": model.partition(":")[0]},
                }
                for model in models
            ]
        }


def same_model(listed: str, asked: str) -> bool:
    """Whether Ollama takes ``asked`` for ``listed``: a name without a tag means ``latest``."""
    return _tagged(listed) == _tagged(asked)


def _tagged(name: str) -> str:
    return name if ":" in name else f"{name}:latest"


def _schema(wanted: str | dict[str, Any] | None) -> Mapping[str, Any] | None:
    if isinstance(wanted, dict):
        return wanted
    return {"type": "object"} if wanted == "json" else None


def _head(reply: Reply) -> dict[str, object]:
    created = datetime.fromtimestamp(reply.created, UTC).isoformat().replace("+00:00", "Z")
    return {"model": reply.model, "created_at": created}


def _end(reply: Reply) -> dict[str, object]:
    return {
        "done": True,
        "done_reason": "length" if reply.finish is Finish.LENGTH else "stop",
        "total_duration": round(reply.secs * _NANOS),
        "prompt_eval_count": reply.input_tokens,
        "eval_count": reply.output_tokens,
    }


def _line(value: object) -> bytes:
    return compact(value) + b"\n"
