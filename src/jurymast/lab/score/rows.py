"""Questions to score on: a file of one's own, in either of two formats, plain or ``.gz``.

The bundled format is that of :mod:`jurymast.exchange.questions`. ForecastBench's ``market_questions.jsonl``
is read too. Its crowd price at freeze time is the market's. A question that was asked several times counts
once, by its earliest freeze. Questions are one event when their titles differ only in numbers and months, or
go on alike after ``Will ... win``, ``be`` and the like.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from jurymast.exchange.questions import Question, damaged, load_questions, numbered_lines

_MONTHS: Final = (
    "january|february|march|april|may|june|july|august|september|october|november|december|"
    "jan|feb|mar|apr|jun|jul|aug|sep|sept|oct|nov|dec"
)
_VARIES: Final = re.compile(
    rf"\b(?:{_MONTHS})\b|[\d.,%$\u20ac\u00a3]+(?:st|nd|rd|th|k|m|b|t)?\b|[^\w\s]", re.IGNORECASE
)
_VERBS: Final = (
    "win|wins|be|have|has|make|finish|release|join|leave|resign|advance|qualify|reach|top|lead|meet|strike|"
    "recognize"
)
_GOES_ON: Final = re.compile(rf"will .+? (?:{_VERBS}) (?P<rest>\S+ \S.*)")
TITLE_CHARS_MAX: Final = 500
TEXT_CHARS_MAX: Final = 1_500


class _Foreign(msgspec.Struct, frozen=True):
    """One row of ForecastBench, as far as it is needed."""

    source: str
    id: str
    question: str
    freeze_datetime: Annotated[datetime, msgspec.Meta(tz=True)]
    close_datetime: Annotated[datetime, msgspec.Meta(tz=True)]
    resolution_date: str
    market_price: float
    outcome: Literal[0, 1]
    resolution_criteria: str = ""
    background: str = ""
    url: str = ""

    def as_question(self) -> Question:
        """Raises ValueError for what no market can be."""
        key = f"{self.source}:{self.id}"
        listed_at, ends = self.freeze_datetime.astimezone(UTC), self.close_datetime.astimezone(UTC)
        resolved = datetime.fromisoformat(self.resolution_date).replace(tzinfo=UTC)
        resolves_at = resolved if resolved > listed_at else listed_at + timedelta(seconds=1)
        resolves_at = max(resolves_at, resolved + timedelta(days=1) - timedelta(seconds=1))
        if ends.date() == resolved.date():
            resolves_at = ends
        return Question(
            ticker=f"FB-{self.source[:3].upper()}-{_digest(key)}",
            source=self.source,
            source_id=self.id,
            title=self.question.strip()[:TITLE_CHARS_MAX],
            background=self.background[:TEXT_CHARS_MAX],
            rules=self.resolution_criteria[:TEXT_CHARS_MAX],
            url=self.url,
            category="other",
            listed_at=listed_at,
            close_time=max(ends, resolves_at),
            resolves_at=resolves_at,
            crowd_probability=self.market_price,
            outcome=bool(self.outcome),
            event_ticker=f"EV-{_digest(_alike(self.question))}",
        )


_DECODER: Final = msgspec.json.Decoder(_Foreign)


def read_rows(path: Path) -> tuple[Question, ...]:
    """The questions of a file, whole or not at all. Raises BundleError with the line and what is wrong."""
    lines = numbered_lines(path)
    first = next(lines, None)
    if first is None or b'"market_price"' not in first[1]:
        return load_questions(path)
    found: dict[str, Question] = {}
    for number, line in numbered_lines(path):
        try:
            question = _DECODER.decode(line).as_question()
        except (msgspec.MsgspecError, ValueError, OverflowError) as error:
            raise damaged(path, f"line {number}", str(error)) from error
        known = found.get(question.ticker)
        if known is None or question.listed_at < known.listed_at:
            found[question.ticker] = question if known is None else replace(question, ticker=known.ticker)
    return tuple(found.values())


def _alike(title: str) -> str:
    """What titles of one event have in common."""
    words = " ".join(_VARIES.sub(" ", title.lower()).split())
    found = _GOES_ON.match(words)
    return found["rest"] if found else words


def _digest(key: object) -> str:
    return blake2b(str(key).encode(), digest_size=4).hexdigest().upper()
