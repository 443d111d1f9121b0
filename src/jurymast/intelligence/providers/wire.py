"""What every wire format answers to: encode a request, decode a reply, follow a stream. No I/O.

A reply is a :class:`Completion` only with a terminal event, a good finish reason and text; anything less
is a Failure. Unknown extra fields are ignored, wrong types where it matters are MALFORMED.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import msgspec

from jurymast.domain.money import Micros
from jurymast.domain.provider import AIRequest, Billing, Failure, FailureKind, Format, Secret, Usage
from jurymast.domain.value import value
from jurymast.policy.failures import BILLING, classify_body


@value
class Completion:
    """A complete answer. ``usage`` is None when the server kept it to itself; ``billed`` is its own bill."""

    text: str
    served_model: str
    usage: Usage | None
    finish_reason: str
    billed: Micros | None = None


class StreamDecoder(Protocol):
    """Follows one stream of server-sent events, line by line. ``texts`` are the pieces of the answer so far.

    ``started``: a token has arrived, visible or of reasoning. ``progress``: characters of them so far, at
    least one for each piece. ``answered``: the answer is complete, only usage may follow. ``closed``:
    nothing that matters can follow.
    """

    started: bool
    progress: int
    texts: list[str]
    answered: bool
    closed: bool

    def feed(self, line: bytes) -> None: ...

    def result(self) -> Completion | Failure:
        """What the lines so far amount to: a stream that is not ``answered`` was cut."""
        ...


class Wire(Protocol):
    """One vendor's dialect of one format. ``path`` follows the base URL.

    ``verbatim`` says that the answer is for another program, which knows what a tool's call, a refusal or
    an answer cut by its own limit is: these are answers then.
    """

    @property
    def path(self) -> str: ...

    @property
    def format(self) -> Format: ...

    def headers(self, api_key: Secret) -> dict[str, str]: ...

    def encode(self, request: AIRequest, model: str, *, stream: bool) -> bytes:
        """The request body. Raises ValueError when text is not valid Unicode."""
        ...

    def decode(self, body: bytes, *, verbatim: bool = False) -> Completion | Failure: ...

    def stream(self, *, verbatim: bool = False) -> StreamDecoder: ...


_encoded: tuple[Mapping[str, Any], msgspec.Raw] | None = None


def schema_text(schema: Mapping[str, Any]) -> msgspec.Raw:
    """A schema as JSON. A bot asks with the same one again and again."""
    global _encoded  # noqa: PLW0603 (a memory of one)
    if _encoded is None or _encoded[0] is not schema:
        _encoded = schema, msgspec.Raw(msgspec.json.encode(dict(schema)))
    return _encoded[1]


def decode_object(data: bytes) -> dict[str, Any] | None:
    """A JSON object, or None when it is anything else."""
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def sse_data(line: bytes) -> bytes | None:
    """The payload of one line of a stream; None for comments, event names and blank lines.

    Every vendor puts one JSON object on one ``data:`` line. llama.cpp has sent ``error:`` lines too.
    """
    if line.startswith(b"data:"):
        return line[5:].strip()
    if line.startswith(b"error:"):
        return b'{"error":' + line[6:].strip() + b"}"
    return None


def count(value: object) -> int | None:
    """A number of tokens; None when it is not one."""
    return value if type(value) is int and value >= 0 else None


def section(value: object) -> Mapping[str, Any]:
    """A nested object, empty when absent or null."""
    return value if isinstance(value, dict) else {}


def unusable(kind: FailureKind, detail: str, usage: Usage | None) -> Failure:
    """An answer that came but can't be used: billed when the server says so, unknown otherwise."""
    billing = Billing.BILLED if usage is not None else Billing.UNKNOWN
    return Failure(kind, detail, billing, status=200, usage=usage)


def stated_error(data: bytes) -> Failure:
    """An error stated in a reply that began as a success: part of an answer may have been billed."""
    failure = classify_body(200, data)
    return replace(failure, billing=Billing.UNKNOWN)


def cut(detail: str) -> Failure:
    """A stream that ended before its answer did; what it was billed at is unknown."""
    return Failure(FailureKind.CUT, detail, BILLING[FailureKind.CUT], status=200)
