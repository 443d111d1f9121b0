"""Replies as the vendors send them, and the providers under test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from jurymast.domain.errors import ProviderError
from jurymast.domain.provider import AIRequest, AIResponse, Message, ProviderConfig, ProviderName, Secret
from jurymast.intelligence.providers import AnthropicProvider, LocalProvider, OpenAIProvider, XAIProvider
from jurymast.intelligence.providers.base import BaseProvider
from jurymast.ports import Transport

from .server import sse

TEXT: Final = '{"probability_pct": 62}'
SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {"probability_pct": {"type": "integer"}},
    "required": ["probability_pct"],
    "additionalProperties": False,
}
ASK: Final = AIRequest(
    messages=(Message("system", "You forecast."), Message("user", "Will it rain? \N{EURO SIGN}5 says so")),
    schema=SCHEMA,
    schema_name="forecast",
    max_output_tokens=500,
)
MODELS: Final = {
    ProviderName.XAI: "grok-4.3",
    ProviderName.OPENAI: "gpt-6.1-terra",
    ProviderName.ANTHROPIC: "claude-sonnet-5-5",
    ProviderName.LOCAL: "tiny",
}
PROVIDERS: Final[Mapping[ProviderName, type[BaseProvider]]] = {
    ProviderName.XAI: XAIProvider,
    ProviderName.OPENAI: OpenAIProvider,
    ProviderName.ANTHROPIC: AnthropicProvider,
    ProviderName.LOCAL: LocalProvider,
}


def provider(name: ProviderName, url: str, transport: Transport, **settings: Any) -> BaseProvider:
    """A provider with one model, pointed at a test server."""
    settings = {"models": (MODELS[name],), "priority": 1, "api_key": Secret("sekrit"), **settings}
    return PROVIDERS[name](ProviderConfig(name=name, base_url=url, **settings), transport)


async def ask(asked: BaseProvider, timeout_secs: float = 5.0, request: AIRequest = ASK) -> AIResponse:
    return await asked.make_request(request, model=asked.config.models[0], timeout_secs=timeout_secs)


async def failing(asked: BaseProvider, timeout_secs: float = 5.0, request: AIRequest = ASK) -> ProviderError:
    """The error of a request that must not succeed."""
    try:
        response = await ask(asked, timeout_secs, request)
    except ProviderError as error:
        return error
    raise AssertionError(f"answered: {response}")


CHAT_USAGE: Final = {
    "prompt_tokens": 100,
    "completion_tokens": 40,
    "total_tokens": 140,
    "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
    "completion_tokens_details": {"reasoning_tokens": 25},
}
MESSAGES_USAGE: Final = {
    "input_tokens": 30,
    "cache_read_input_tokens": 60,
    "cache_creation_input_tokens": 10,
    "output_tokens": 40,
    "output_tokens_details": {"thinking_tokens": 25},
}


def chat_reply(content: object = TEXT, finish: object = "stop", **extra: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, "refusal": None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "served-model",
        "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}],
        "usage": CHAT_USAGE,
        **extra,
    }


def chat_chunk(delta: Mapping[str, Any], finish: str | None = None, **extra: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_790_000_000,
        "model": "served-model",
        "choices": [{"index": 0, "delta": dict(delta), "finish_reason": finish}],
        **extra,
    }


CHAT_OPENING: Final = chat_chunk({"role": "assistant", "content": ""})
CHAT_TEXT: Final = (chat_chunk({"content": TEXT[:9]}), chat_chunk({"content": TEXT[9:]}))
CHAT_FINISH: Final = chat_chunk({}, "stop")
CHAT_LATE_USAGE: Final = {**chat_chunk({}), "choices": [], "usage": CHAT_USAGE}
DONE: Final = "[DONE]"


def messages_reply(content: object = None, stop: object = "end_turn", **extra: Any) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "served-model",
        "content": [{"type": "text", "text": TEXT}] if content is None else content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": MESSAGES_USAGE,
        **extra,
    }


def _delta(kind: str, **fields: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": kind, **fields}}


MESSAGES_START: Final = {
    "type": "message_start",
    "message": messages_reply([], None, usage={**MESSAGES_USAGE, "output_tokens": 1}),
}
MESSAGES_BLOCK: Final = {
    "type": "content_block_start",
    "index": 0,
    "content_block": {"type": "text", "text": ""},
}
PING: Final = {"type": "ping"}
MESSAGES_TEXT: Final = (_delta("text_delta", text=TEXT[:9]), _delta("text_delta", text=TEXT[9:]))
MESSAGES_THINKING: Final = _delta("thinking_delta", thinking="Clouds gather.")
MESSAGES_BLOCK_END: Final = {"type": "content_block_stop", "index": 0}
MESSAGES_DELTA: Final = {
    "type": "message_delta",
    "delta": {"stop_reason": "end_turn", "stop_sequence": None},
    "usage": {"output_tokens": 40, "input_tokens": None, "output_tokens_details": {"thinking_tokens": 25}},
}
MESSAGES_STOP: Final = {"type": "message_stop"}


@dataclass(frozen=True)
class Sample:
    """One wire's good answer: whole, as a stream, and the stream's parts before its end."""

    name: ProviderName
    whole: dict[str, Any]
    streamed: bytes
    opening: bytes
    half: bytes
    error_event: bytes


CHAT: Final = Sample(
    ProviderName.OPENAI,
    chat_reply(),
    sse([CHAT_OPENING, *CHAT_TEXT, CHAT_FINISH, CHAT_LATE_USAGE, DONE]),
    sse([CHAT_OPENING]),
    sse([CHAT_OPENING, CHAT_TEXT[0]]),
    sse([{"error": {"message": "The server is overloaded.", "code": "server_is_overloaded"}}]),
)
MESSAGES: Final = Sample(
    ProviderName.ANTHROPIC,
    messages_reply(),
    sse(
        [
            MESSAGES_START,
            MESSAGES_BLOCK,
            PING,
            *MESSAGES_TEXT,
            MESSAGES_BLOCK_END,
            MESSAGES_DELTA,
            MESSAGES_STOP,
        ],
        named=True,
    ),
    sse([MESSAGES_START, MESSAGES_BLOCK], named=True),
    sse([MESSAGES_START, MESSAGES_BLOCK, MESSAGES_TEXT[0]], named=True),
    sse([{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}], named=True),
)
SAMPLES: Final = (CHAT, MESSAGES)
