"""The chat completions format of xAI, OpenAI, Ollama, llama.cpp and vLLM.

Dialects differ in three fields of the request. Two traps in the replies: xAI's ``completion_tokens``
leave out reasoning where OpenAI's include it, so output is ``total - prompt`` for both; and a complete
stream may end without ``[DONE]``, so the finish reason decides, not the marker.
Sources: OpenAI chat completions reference; xAI cost tracking (1 USD is 10**10 ticks).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec

from jurymast.domain.money import Micros
from jurymast.domain.provider import AIRequest, Failure, FailureKind, Format, Secret, Usage
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

TICKS_PER_MICRO: Final = 10_000

_FINISHES: Final[Mapping[str, FailureKind | None]] = {
    "stop": None,
    "length": FailureKind.TRUNCATED,
    "content_filter": FailureKind.CONTENT_FILTER,
}
_CALLED: Final = frozenset({"tool_calls", "function_call"})
_LIMITS: Final = ("max_tokens", "max_completion_tokens")


_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]


class _PromptDetails(msgspec.Struct):
    cached_tokens: _Count = 0
    cache_write_tokens: _Count = 0


class _AnswerDetails(msgspec.Struct):
    reasoning_tokens: _Count = 0


class _PlainUsage(msgspec.Struct):
    prompt_tokens: _Count
    completion_tokens: _Count
    total_tokens: _Count = 0
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _AnswerDetails | None = None
    cost_in_usd_ticks: _Count | None = None


class _PlainMessage(msgspec.Struct):
    content: str
    refusal: Literal["", None] = None


class _PlainChoice(msgspec.Struct):
    message: _PlainMessage
    finish_reason: Literal["stop"]


class _PlainReply(msgspec.Struct):
    """A reply as nearly all are: one finished answer with its usage, and nothing odd about it."""

    choices: tuple[_PlainChoice]
    usage: _PlainUsage
    model: str
    object: Literal["chat.completion"]
    error: None = None


_PLAIN: Final = msgspec.json.Decoder(_PlainReply)


class Dialect(StrEnum):
    """Who is spoken to."""

    XAI = "xai"
    OPENAI = "openai"
    LOCAL = "local"


class ChatWire:
    """Chat completions in one dialect."""

    path = "/chat/completions"
    format = Format.CHAT

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def headers(self, api_key: Secret) -> dict[str, str]:
        headers = {"authorization": f"Bearer {api_key.value}"} if api_key else {}
        if self._dialect is Dialect.LOCAL:
            # llama.cpp hangs up after every stream although it promises not to; a request sent into that
            # is lost. On one's own machine a connection costs nothing.
            headers["connection"] = "close"
        return headers

    def encode(self, request: AIRequest, model: str, *, stream: bool) -> bytes:
        body: dict[str, Any]
        if request.verbatim is not None:
            told = request.verbatim.bodies[Format.CHAT]
            body = {"model": model, **{name: told[name] for name in told if name not in _LIMITS}}
        else:
            messages = [{"role": turn.role, "content": turn.content} for turn in request.messages]
            body = {"model": model, "messages": messages}
        body[_LIMITS[self._dialect is not Dialect.LOCAL]] = request.max_output_tokens
        if self._dialect is Dialect.OPENAI:
            body.setdefault("store", False)
        if request.schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {
                    "name": request.schema_name,
                    "schema": schema_text(request.schema),
                    "strict": True,
                },
            }
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return msgspec.json.encode(body)

    def decode(self, body: bytes, *, verbatim: bool = False) -> Completion | Failure:
        return (None if verbatim else _plain(body)) or _read(body, verbatim=verbatim)

    def stream(self, *, verbatim: bool = False) -> ChatStream:
        return ChatStream(verbatim=verbatim)


def _plain(body: bytes) -> Completion | None:
    """The answer of a reply without anything odd about it, None for every other reply."""
    try:
        reply = _PLAIN.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    (choice,), stated, text = reply.choices, reply.usage, reply.choices[0].message.content
    if not text or text.isspace():
        return None
    prompt, answer = stated.prompt_tokens_details, stated.completion_tokens_details
    usage = Usage(
        input=stated.prompt_tokens,
        output=max(stated.completion_tokens, stated.total_tokens - stated.prompt_tokens),
        cached_input=0 if prompt is None else min(prompt.cached_tokens, stated.prompt_tokens),
        reasoning=0 if answer is None else answer.reasoning_tokens,
        cache_written=0 if prompt is None else prompt.cache_write_tokens,
    )
    ticks = stated.cost_in_usd_ticks
    billed = None if ticks is None else -(-ticks // TICKS_PER_MICRO)
    return Completion(text, reply.model, usage, choice.finish_reason, billed)


def _read(body: bytes, *, verbatim: bool) -> Completion | Failure:
    """Step by step, with the reason why it is no answer."""
    reply = decode_object(body)
    if reply is None or reply.get("error") or reply.get("object") == "error":
        return stated_error(body)
    usage, billed = _usage(reply.get("usage")), _billed(reply.get("usage"))
    choice = _first(reply.get("choices"))
    if choice is None:
        return unusable(FailureKind.EMPTY, "the reply has no choices", usage)
    message = section(choice.get("message"))
    if verbatim and (wrong := _misshapen(choice.get("message"))):
        return unusable(FailureKind.MALFORMED, wrong, usage)
    return _judge(
        text=message.get("content"),
        refusal=message.get("refusal"),
        finish=choice.get("finish_reason"),
        served_model=reply.get("model"),
        usage=usage,
        billed=billed,
        called=bool(message.get("tool_calls")),
        verbatim=verbatim,
    )


class ChatStream:
    """Follows one streamed chat completion."""

    def __init__(self, *, verbatim: bool = False) -> None:
        self.started = False
        self.progress = 0
        self.answered = False
        self.closed = False
        self.texts: list[str] = []
        self._verbatim = verbatim
        self._called = False
        self._refusals: list[str] = []
        self._finish: object = None
        self._served_model: object = None
        self._usage: object = None
        self._failure: Failure | None = None

    def feed(self, line: bytes) -> None:
        data = sse_data(line)
        if data is None or self.closed:
            return
        if data == b"[DONE]":
            self.closed = True
            return
        chunk = decode_object(data)
        if chunk is None or chunk.get("error"):
            # An answer that is complete stays one, whatever its server says afterwards.
            self._failure = None if self.answered else stated_error(data)
            self.closed = True
            return
        self._served_model = self._served_model or chunk.get("model")
        self._usage = chunk.get("usage") or self._usage
        if (choice := _first(chunk.get("choices"))) is not None:
            self._take(choice)
        self.closed = self.answered and bool(chunk.get("usage"))

    def result(self) -> Completion | Failure:
        if self._failure is not None:
            return self._failure
        if self.closed and not self.started:
            return unusable(FailureKind.EMPTY, "the stream was closed without an answer", _usage(self._usage))
        if not self.answered:
            return cut(f"the stream ended without a finish reason after {len(self.texts)} pieces")
        return _judge(
            text="".join(self.texts),
            refusal="".join(self._refusals),
            finish=self._finish,
            served_model=self._served_model,
            usage=_usage(self._usage),
            billed=_billed(self._usage),
            called=self._called,
            verbatim=self._verbatim,
        )

    def _take(self, choice: Mapping[str, Any]) -> None:
        delta = section(choice.get("delta"))
        text, refusal = delta.get("content"), delta.get("refusal")
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(text, str) and text:
            self.texts.append(text)
        if isinstance(refusal, str) and refusal:
            self._refusals.append(refusal)
        self.progress += sum(_size(piece) for piece in (text, refusal, thought))
        if calls := delta.get("tool_calls"):
            self._called = True
            self.progress += len(str(calls))
        self.started = self.started or self.progress > 0
        if choice.get("finish_reason"):
            self._finish = choice["finish_reason"]
            self.started = self.answered = True


def _judge(
    *,
    text: object,
    refusal: object,
    finish: object,
    served_model: object,
    usage: Usage | None,
    billed: Micros | None,
    called: bool,
    verbatim: bool,
) -> Completion | Failure:
    model = served_model if isinstance(served_model, str) else ""
    if verbatim and isinstance(finish, str) and (finish in _FINISHES or finish in _CALLED):
        if text or refusal or called or finish != "stop":
            return Completion(text if isinstance(text, str) else "", model, usage, finish, billed)
    elif not isinstance(finish, str) or finish not in _FINISHES:
        return unusable(FailureKind.MALFORMED, f"unknown finish reason {finish!r:.60}", usage)
    if refusal:
        return unusable(FailureKind.CONTENT_FILTER, f"the model refused: {refusal!s:.200}", usage)
    kind = _FINISHES[finish]
    if kind is not None:
        return unusable(kind, f"finished by {finish}", usage)
    if not isinstance(text, str) or not text.strip():
        return unusable(FailureKind.EMPTY, "the answer has no text", usage)
    return Completion(text, model, usage, finish, billed)


def _misshapen(message: object) -> str:
    """What of a message another program could not read; empty when it can."""
    if not isinstance(message, dict):
        return "the message is no object"
    if not all(isinstance(message.get(name), str | None) for name in ("content", "refusal")):
        return "the message's content is no text"
    calls = message.get("tool_calls")
    if calls is None:
        return ""
    if not isinstance(calls, list):
        return "the calls of tools are no list"
    for call in calls:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            return "a call of a tool names none"
        if not isinstance(function.get("arguments"), str):
            return "a call of a tool has no arguments"
    return ""


def _size(piece: object) -> int:
    """Characters of a piece; reasoning may come as anything, and then counts as one."""
    return len(piece) if isinstance(piece, str) else int(bool(piece))


def _first(choices: object) -> Mapping[str, Any] | None:
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return choices[0]
    return None


def _usage(value: object) -> Usage | None:
    stated = section(value)
    prompt, completion = count(stated.get("prompt_tokens")), count(stated.get("completion_tokens"))
    if prompt is None or completion is None:
        return None
    total = count(stated.get("total_tokens")) or 0
    details = section(stated.get("prompt_tokens_details"))
    cached, written = count(details.get("cached_tokens")) or 0, count(details.get("cache_write_tokens")) or 0
    reasoning = count(section(stated.get("completion_tokens_details")).get("reasoning_tokens")) or 0
    return Usage(
        input=prompt,
        output=max(completion, total - prompt),
        cached_input=min(cached, prompt),
        reasoning=reasoning,
        cache_written=written,
    )


def _billed(value: object) -> Micros | None:
    ticks = count(section(value).get("cost_in_usd_ticks"))
    return -(-ticks // TICKS_PER_MICRO) if ticks is not None else None
