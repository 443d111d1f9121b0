"""What the three wires have in common: a request understood, an answer to be put into bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol, TypeVar

import msgspec

from jurymast.domain.provider import Message, ProviderName
from jurymast.lab.emulators.faults import Fault
from jurymast.lab.emulators.refusals import Refusal, Wording, refusal

PIECES_MAX: Final = 32
"""Most text deltas in one stream."""

_PIECE_CHARS_MIN: Final = 12

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ask:
    """A valid request, whichever wire it came over."""

    model: str
    messages: tuple[Message, ...]
    schema: Mapping[str, Any] | None
    output_tokens_max: int | None
    stream: bool
    include_usage: bool = True


class Finish(StrEnum):
    """Why an answer ended."""

    STOP = "stop"
    LENGTH = "length"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer. ``choices`` False leaves out the part that would hold the text.

    ``input_tokens`` is the whole prompt, what was read from the cache and written to it included. ``ticks``
    is the bill, 10^10 to the US dollar.
    """

    reply_id: str
    created: int
    model: str
    text: str
    finish: Finish
    input_tokens: int
    visible_tokens: int
    reasoning_tokens: int
    secs: float
    choices: bool = True
    cache_read_tokens: int = 0
    cache_written_tokens: int = 0
    ticks: int = 0

    @property
    def output_tokens(self) -> int:
        return self.visible_tokens + self.reasoning_tokens

    def pieces(self) -> Iterator[str]:
        """The text in the portions in which it streams."""
        size = max(_PIECE_CHARS_MIN, -(-len(self.text) // PIECES_MAX))
        for start in range(0, len(self.text), size):
            yield self.text[start : start + size]


@dataclass(frozen=True, slots=True)
class Frames:
    """A streamed answer: what comes before the text, the text, the proper end, and filler for silence."""

    content_type: str
    opening: tuple[bytes, ...]
    deltas: tuple[bytes, ...]
    closing: tuple[bytes, ...]
    keepalive: bytes


class Wire(Protocol):
    """One protocol of one vendor."""

    provider: ProviderName

    def check_key(self, headers: Mapping[str, str]) -> None:
        """Raises Refusal when the request shows no key."""
        ...

    def read(self, headers: Mapping[str, str], body: bytes) -> Ask:
        """Raises Refusal when the vendor would."""
        ...

    def whole(self, reply: Reply) -> dict[str, object]: ...

    def frames(self, ask: Ask, reply: Reply) -> Frames: ...

    def error(self, wording: Wording, request_id: str) -> dict[str, object]: ...

    def error_frame(self, wording: Wording, request_id: str) -> bytes: ...

    def model_list(self, models: Sequence[str], ends: Mapping[str, str]) -> dict[str, object]:
        """The page that lists these models; ``ends`` has the dates (ISO) of those that are to retire."""
        ...


def invalid(provider: ProviderName, message: str) -> Refusal:
    """The vendor's 400 with this message."""
    return refusal(provider, Fault.BAD_REQUEST, message=message)


def decode(provider: ProviderName, body: bytes, kind: type[T]) -> T:
    """Decode a request body. Raises Refusal with what is wrong with it."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise invalid(provider, f"could not read the request body: {error}") from None


def text_of(content: str | list[dict[str, Any]] | None) -> str:
    """The text of a message: a string, or parts of which the text ones count."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content)
    return content or ""


def compact(value: object) -> bytes:
    """JSON without blanks, as the vendors send it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def server_sent(value: object, event: str | None = None) -> bytes:
    """One server-sent event."""
    name = f"event: {event}\n".encode() if event else b""
    return name + b"data: " + compact(value) + b"\n\n"


def bearer_key(headers: Mapping[str, str]) -> str:
    """The key of an Authorization header, empty when there is none."""
    scheme, _, key = headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""
