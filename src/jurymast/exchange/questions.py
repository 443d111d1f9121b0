"""Real questions with their crowd price and their real outcome: what the embedded exchange trades.

The bundled set is ForecastBench's (Karger et al., ICLR 2025, arXiv 2409.19839; CC BY-SA 4.0, see
``bundle/ATTRIBUTION.md``). A file of one's own has the same format: JSON Lines, plain or ``.gz``, UTF-8,
one object a line with these fields (others are ignored):

    ticker             letters, digits, - and ., at most 64; unique in the file
    event_ticker       optional, the same characters; questions that share it are correlated
    source, source_id  where the question comes from, and its id there
    title              the question
    category           sports, politics, economics, technology, entertainment, world or other
    rules, background  texts, may be empty
    url                may be empty
    listed_at          when the crowd price was taken; RFC 3339 with a zone, as the two below
    close_time         scheduled end of trading
    resolves_at        when the outcome was known: after listed_at, not after close_time
    crowd_probability  strictly between 0 and 1
    outcome            0 or 1
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from jurymast.domain.errors import BundleError
from jurymast.domain.market import EvidenceItem, Market

BUNDLE: Final = Path(__file__).with_name("bundle") / "questions.jsonl.gz"
MAX_QUESTIONS: Final = 100_000
MAX_LINE_BYTES: Final = 65_536
MAX_EVIDENCE_CHARS: Final = 1_500
_TICKER: Final = re.compile(r"[A-Za-z0-9.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Question:
    """A resolved yes-or-no question. Times are UTC; without an ``event_ticker`` it is its own event."""

    ticker: str
    source: str
    source_id: str
    title: str
    background: str
    rules: str
    url: str
    category: str
    listed_at: datetime
    close_time: datetime
    resolves_at: datetime
    crowd_probability: float
    outcome: bool
    event_ticker: str = ""

    def __post_init__(self) -> None:
        if not self.event_ticker:
            object.__setattr__(self, "event_ticker", f"EV-{self.ticker}"[:64])
        for ticker in (self.ticker, self.event_ticker):
            if not _TICKER.fullmatch(ticker):
                raise ValueError(f"ticker {ticker!r} has other characters than letters, digits, - and .")
        if not self.title:
            raise ValueError("the title is empty")
        if not 0.0 < self.crowd_probability < 1.0:
            raise ValueError(f"crowd_probability {self.crowd_probability} is not between 0 and 1")
        if not self.listed_at < self.resolves_at <= self.close_time:
            raise ValueError("times out of order: listed_at < resolves_at <= close_time must hold")


def as_market(question: Question) -> Market:
    """The question as the exchange lists it; nothing of its outcome shows."""
    return Market(
        ticker=question.ticker,
        event_ticker=question.event_ticker,
        category=question.category,
        title=question.title,
        rules=rules_of(question),
        open_time=question.listed_at,
        close_time=question.close_time,
    )


def rules_of(question: Question) -> str:
    """How it resolves, in the words of its source."""
    return question.rules or "No rules were published beyond the title."


_Zoned = Annotated[datetime, msgspec.Meta(tz=True)]


class _Row(msgspec.Struct, frozen=True):
    ticker: str
    source: str
    source_id: str
    title: str
    background: str
    rules: str
    url: str
    category: Literal["sports", "politics", "economics", "technology", "entertainment", "world", "other"]
    listed_at: _Zoned
    close_time: _Zoned
    resolves_at: _Zoned
    crowd_probability: float
    outcome: Literal[0, 1]
    event_ticker: str = ""

    def question(self) -> Question:
        return Question(
            ticker=self.ticker,
            source=self.source,
            source_id=self.source_id,
            title=self.title,
            background=self.background,
            rules=self.rules,
            url=self.url,
            category=self.category,
            listed_at=self.listed_at.astimezone(UTC),
            close_time=self.close_time.astimezone(UTC),
            resolves_at=self.resolves_at.astimezone(UTC),
            crowd_probability=self.crowd_probability,
            outcome=bool(self.outcome),
            event_ticker=self.event_ticker,
        )


_DECODER: Final = msgspec.json.Decoder(_Row)


@lru_cache(maxsize=1)
def load_bundle() -> tuple[Question, ...]:
    """The questions that ship with the package, by listing time. Raises BundleError when damaged."""
    return load_questions(BUNDLE)


def load_questions(path: Path | str) -> tuple[Question, ...]:
    """Read a file of questions (format above), whole or not at all.

    Raises BundleError with the file, the line and what is wrong with it.
    """
    questions: dict[str, Question] = {}
    for number, line in numbered_lines(Path(path)):
        try:
            question = _DECODER.decode(line).question()
        except (msgspec.MsgspecError, ValueError, OverflowError) as error:
            raise damaged(path, f"line {number}", str(error)) from error
        if question.ticker in questions:
            raise damaged(path, f"line {number}", f"ticker {question.ticker} appears twice")
        if number > MAX_QUESTIONS:
            raise damaged(path, f"line {number}", f"more than {MAX_QUESTIONS} questions")
        questions[question.ticker] = question
    if not questions:
        raise damaged(path, "line 1", "there is no question in it")
    return tuple(questions.values())


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Lines of bounded length, counted from 1: a damaged archive must not fill the memory."""
    number = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            while line := file.readline(MAX_LINE_BYTES):
                number += 1
                yield number, line
    except (EOFError, OSError, zlib.error) as error:
        raise damaged(path, f"after line {number}", str(error)) from error


def damaged(path: Path | str, place: str, what: str) -> BundleError:
    """What to raise for a file of questions that can't be read."""
    return BundleError(f"{path}, {place}: {what}. Nothing was loaded: mend or restore the file.")


class BundledEvidence:
    """What was known when a question was listed: its background, where its source gave one.

    An ``EvidenceSource`` that needs no network. At most one item a question, dated ``listed_at``; nothing
    is shown before that date. The crowd's price is no evidence: models are asked blind to it.
    """

    def __init__(self, questions: tuple[Question, ...]) -> None:
        self._questions = {question.ticker: question for question in questions}

    async def evidence_for(self, market: Market, as_of: datetime) -> tuple[EvidenceItem, ...]:
        question = self._questions.get(market.ticker)
        if question is None or as_of < question.listed_at:
            return ()
        return background_of(question)


def background_of(question: Question) -> tuple[EvidenceItem, ...]:
    """The background that a question came with, as evidence; nothing where its source gave none."""
    if not question.background:
        return ()
    return (
        EvidenceItem(
            source_id=f"{question.source}:{question.source_id}",
            title=f"Background of the question at {question.source}",
            text=question.background[:MAX_EVIDENCE_CHARS],
            published_at=question.listed_at,
            url=question.url,
        ),
    )
