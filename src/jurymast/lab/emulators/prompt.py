"""What a simulated forecaster reads in a prompt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from jurymast.domain.provider import Message

SOURCES_MAX: Final = 100

_TICKER: Final = re.compile(r"^Ticker:[ \t]*(\S+)[ \t]*$", re.MULTILINE)
_AS_OF: Final = re.compile(r"^As of:[ \t]*(\S+)[ \t]*$", re.MULTILINE)
_SOURCE: Final = re.compile(r"^\[source_id:[ \t]*([^\]\n]+?)[ \t]*\]", re.MULTILINE)

_NEGATED: Final = re.compile(r"^Asked: the negation\b", re.MULTILINE)
_ORDERED: Final = re.compile(r"ANSWER:[ \t]*(\S.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Prompt:
    """The last user message: which market, as of when (UTC), and which evidence may be cited."""

    text: str
    ticker: str | None = None
    as_of: datetime | None = None
    source_ids: tuple[str, ...] = ()
    negated: bool = False
    """Whether the probability of NO is asked."""
    ordered: str = ""
    """What a text in it tells the model to answer."""


def read_prompt(messages: Sequence[Message]) -> Prompt:
    """Find the market in the last user message. The first mention counts: evidence comes after it."""
    text = next((message.content for message in reversed(messages) if message.role == "user"), "")
    ticker, ordered = _TICKER.search(text), _ORDERED.search(text)
    return Prompt(
        text=text,
        ticker=ticker[1] if ticker else None,
        as_of=_as_of(text),
        source_ids=tuple(dict.fromkeys(_SOURCE.findall(text)))[:SOURCES_MAX],
        negated=_NEGATED.search(text) is not None,
        ordered=ordered[1].strip() if ordered else "",
    )


def _as_of(text: str) -> datetime | None:
    found = _AS_OF.search(text)
    if not found:
        return None
    try:
        moment = datetime.fromisoformat(found[1])
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
