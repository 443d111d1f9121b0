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
from typing import Annotated, Final

import msgspec

from jurymast.domain.probability import clamp
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
DAY: Final = timedelta(days=1)
SECOND: Final = timedelta(seconds=1)
TICK: Final = 0.001
"""A crowd that is certain is read as one that is a tick short of it: nothing is sold at 0 or 1."""
TITLE_CHARS_MAX: Final = 500
TEXT_CHARS_MAX: Final = 1_500


class _Foreign(msgspec.Struct, frozen=True):
    """One row of ForecastBench, as far as it is needed."""

    source: str
    id: str
    question: str
    freeze_datetime: Annotated[datetime, msgspec.Meta(tz=True)]
    resolution_date: str
    market_price: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
    outcome: float
    close_datetime: str | None = None
    resolution_criteria: str | None = None
    background: str | None = None
    url: str | None = None

    def as_question(self) -> Question:
        """Raises ValueError for what no market can be."""
        if self.outcome not in {0.0, 1.0}:
            raise ValueError(f"outcome {self.outcome} is neither 0 nor 1 - at `$.outcome`")
        key = f"{self.source}:{self.id}"
        listed_at = self.freeze_datetime.astimezone(UTC)
        resolves_at = max(_moment(self.resolution_date) + DAY - SECOND, listed_at + SECOND)
        return Question(
            ticker=f"FB-{re.sub('[^A-Z]', '', self.source.upper())[:3]}-{_digest(key)}",
            source=self.source,
            source_id=self.id,
            title=self.question.strip()[:TITLE_CHARS_MAX],
            background=(self.background or "")[:TEXT_CHARS_MAX],
            rules=(self.resolution_criteria or "")[:TEXT_CHARS_MAX],
            url=self.url or "",
            category="other",
            listed_at=listed_at,
            close_time=max(_close(self.close_datetime) or resolves_at, resolves_at),
            resolves_at=resolves_at,
            crowd_probability=clamp(self.market_price, TICK, 1 - TICK),
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
        if not line.strip():
            continue
        try:
            question = _DECODER.decode(line).as_question()
        except (msgspec.MsgspecError, ValueError, OverflowError) as error:
            raise damaged(path, f"line {number}", str(error)) from error
        known = found.get(question.ticker)
        if known is None or question.listed_at < known.listed_at:
            found[question.ticker] = question if known is None else replace(question, ticker=known.ticker)
    return tuple(found.values())


def _moment(text: str) -> datetime:
    """A date, or a date with its time, in UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _close(text: str | None) -> datetime | None:
    """When trading was to end, where that is told."""
    return None if text is None or text in {"", "N/A"} else _moment(text)


def _alike(title: str) -> str:
    """What titles of one event have in common."""
    words = " ".join(_VARIES.sub(" ", title.lower()).split())
    found = _GOES_ON.match(words)
    return found["rest"] if found else words


def _digest(key: object) -> str:
    return blake2b(str(key).encode(), digest_size=4).hexdigest().upper()
