"""What a client asks, whichever API it speaks: one noun, and what keeps the question within bounds.

Only fields that are known are let through: a field can change what an answer costs (``n``, a service tier, a
search the vendor runs), and then no worst case could be held for it. ``stated`` and its kind raise BadAsk in
words that name the field.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from jurymast.domain.decision import AbstainReason
from jurymast.domain.provider import AIResponse, Format

BODY_BYTES_MAX: Final = 4 * 1024 * 1024
OUTPUT_TOKENS_MAX: Final = 1_000_000
TOOLS_PROMPT_BYTES: Final = 1_000
"""Tokens that a vendor's own words about tools take, at most (Anthropic states up to about 700)."""


class BadAsk(Exception):
    """The question can't be answered as it stands. ``field`` is the one that is wrong, when one is."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


@dataclass(frozen=True, slots=True)
class Asked:
    """One question as it came. ``output_tokens`` None leaves the limit to the operator.

    ``bodies`` are the question without model, limit and streaming, in each format it can be told in;
    ``untold`` says for the others what they can't carry. ``schema`` is what the answer has to conform to, an
    empty one any JSON object.
    """

    model: str
    bodies: Mapping[Format, Mapping[str, Any]]
    untold: Mapping[Format, str]
    output_tokens: int | None
    schema: Mapping[str, Any] | None
    stream: bool
    usage_wanted: bool
    size_bytes: int


def asked(
    told: Mapping[str, Any],
    size_bytes: int,
    own: tuple[Format, Mapping[str, Any]],
    other: tuple[Format, Mapping[str, Any] | str],
    *,
    output_tokens: int | None,
    schema: Mapping[str, Any] | None,
    usage_wanted: bool = True,
) -> Asked:
    """A question with its body in its ``own`` format, and in the ``other`` or what that can't carry. Raises
    BadAsk without a model."""
    format_, body = other
    return Asked(
        model=model_of(told),
        bodies=dict([own] if isinstance(body, str) else [own, (format_, body)]),
        untold={format_: body} if isinstance(body, str) else {},
        output_tokens=output_tokens,
        schema=schema,
        stream=stated(told, "stream", bool, False),
        usage_wanted=usage_wanted,
        size_bytes=size_bytes + (TOOLS_PROMPT_BYTES if told.get("tools") else 0),
    )


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why there is no answer, ready to be told. ``field`` is of the client's own question."""

    status: int
    kind: str
    code: str
    message: str
    field: str | None = None


class Api(Protocol):
    """One vendor's API as a client sees it. Bytes in, bytes out.

    Made with the formats that are spoken by anybody here: into others nothing is translated.
    """

    def read(self, body: bytes) -> Asked:
        """Raises BadAsk."""
        ...

    def whole(self, response: AIResponse, told_in: Format) -> bytes:
        """An answer, translated when it was given in another format."""
        ...

    def frames(self, response: AIResponse, told_in: Format, *, usage_wanted: bool) -> bytes:
        """A whole answer as a stream from its beginning to its end."""
        ...

    def live(self, told_in: Format, *, usage_wanted: bool) -> Live: ...

    def trouble(self, trouble: Trouble) -> bytes: ...

    def broken(self, trouble: Trouble) -> bytes:
        """What a stream that has begun ends with when its answer never will."""
        ...


class Live(Protocol):
    """Tells a streamed answer while it comes."""

    def line(self, line: bytes, fresh: str) -> bytes:
        """What a line comes to, ``fresh`` being the text that it added; may be nothing."""
        ...

    def end(self, response: AIResponse) -> bytes: ...


def read(api: Api, body: bytes) -> Asked:
    """A question as ``api`` reads it. Raises BadAsk, also for what is of another kind than it has there: a
    vendor would say more of it, but nobody is asked what can't be understood."""
    try:
        return api.read(body)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadAsk(f"a field is of another kind than this API has there: {error}") from None


def decoded(body: bytes) -> dict[str, Any]:
    """The question as an object. Raises BadAsk."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadAsk(f"the body is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadAsk("the body is no JSON object")
    return value


def known_only(body: Mapping[str, Any], known: Collection[str]) -> None:
    """Raises BadAsk for a field that nobody knows the price of."""
    for name in body:
        if name not in known:
            raise BadAsk(
                f"{name!r} is not passed on: the gateway knows not what it does to the cost of an answer",
                name,
            )


def stated(body: Mapping[str, Any], name: str, kind: type | tuple[type, ...], default: Any = None) -> Any:
    """A field of a kind, or its default when it is absent or null. Raises BadAsk."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise BadAsk(f"{name!r} is not of the right type", name)
    return value


def model_of(body: Mapping[str, Any]) -> str:
    """Raises BadAsk without one."""
    model = stated(body, "model", str)
    if not model:
        raise BadAsk("'model' is missing: name a model, or \"jurymast\" for whoever is first", "model")
    return str(model)


def limit_of(body: Mapping[str, Any], *names: str) -> int | None:
    """The first limit that is stated. Raises BadAsk when it is none."""
    for name in names:
        limit = stated(body, name, int)
        if limit is not None:
            if not 1 <= limit <= OUTPUT_TOKENS_MAX:
                raise BadAsk(f"{name!r} must be between 1 and {OUTPUT_TOKENS_MAX}", name)
            return int(limit)
    return None


def messages_of(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The messages, each an object. Raises BadAsk."""
    messages: list[dict[str, Any]] = stated(body, "messages", list, [])
    if not messages or not all(isinstance(message, dict) for message in messages):
        raise BadAsk("'messages' must be a list of at least one message", "messages")
    return messages


def parts_of(content: Any, known: Collection[str]) -> list[dict[str, Any]]:
    """The content of a message as parts, each of a known kind. Raises BadAsk."""
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise BadAsk("the content of a message must be text or a list of parts", "messages")
    for part in content:
        if not isinstance(part, dict) or part.get("type") not in known:
            kind = part.get("type") if isinstance(part, dict) else part
            raise BadAsk(
                f"a part of kind {kind!r:.40} is not passed on: what it costs can't be told beforehand",
                "messages",
            )
        if part["type"] == "text" and not isinstance(part.get("text"), str):
            raise BadAsk("a part of kind 'text' has no text", "messages")
    return content


def text_of(parts: list[dict[str, Any]]) -> str:
    """The text of parts, a blank line between them."""
    return "\n\n".join(part["text"] for part in parts if part["type"] == "text")


TROUBLES: Final[Mapping[AbstainReason, tuple[int, str]]] = {
    AbstainReason.ALL_PROVIDERS_FAILED: (503, "server_error"),
    AbstainReason.NO_ROUTE: (503, "server_error"),
    AbstainReason.EMERGENCY_MODE: (503, "server_error"),
    AbstainReason.AI_BUDGET_SPENT: (429, "insufficient_quota"),
    AbstainReason.CONTENT_FILTER: (400, "invalid_request_error"),
    AbstainReason.MODEL_ABSTAINED: (502, "server_error"),
    AbstainReason.INTERNAL_ERROR: (500, "server_error"),
}
"""Status and kind of each end without an answer."""
