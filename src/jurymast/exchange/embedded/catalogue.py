"""Which markets there are: real, resolved questions as listings, with the order in which they live.

Sixty thousand questions are listed without a record each: times stand in flat arrays, and a listing is
made when somebody asks for it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from types import MappingProxyType
from typing import Final

from jurymast.exchange.embedded.lifecycle import (
    DETERMINATION_US,
    LINEAR_CENT,
    SETTLEMENT_US,
    TAPERED_DECI_CENT,
    Listing,
    Step,
)
from jurymast.exchange.questions import Question
from jurymast.policy.fees import DIRECT_MEMBER, DIRECT_MEMBER_MAKER_FEES

FEES: Final = {
    "sports": DIRECT_MEMBER_MAKER_FEES,
    "entertainment": DIRECT_MEMBER.for_series("quadratic", 500_000),
}
"""Series whose makers pay too, and series at half the fee: nobody should take one schedule for granted."""
FINE_TICKS_SHARE: Final = 8
"""One event in so many has finer ticks near certainty."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def micros_since_epoch(at: datetime) -> int:
    """Exchange time as the engine counts it."""
    return (at - _EPOCH) // _MICROSECOND


def as_datetime(at_us: int) -> datetime:
    """The engine's time as a UTC datetime."""
    return _EPOCH + at_us * _MICROSECOND


def shifted(questions: Sequence[Question], by: timedelta) -> tuple[Question, ...]:
    """The same questions with all their times moved; texts that name dates stay as they are."""
    if not by:
        return tuple(questions)
    return tuple(
        replace(
            question,
            listed_at=question.listed_at + by,
            close_time=question.close_time + by,
            resolves_at=question.resolves_at + by,
        )
        for question in questions
    )


def series_of(category: str) -> str:
    """Ticker of the series that a category's events belong to."""
    return f"JM{category.upper()}"


class Catalogue:
    """All listings, by ticker, by event and in the order of time. ``shards`` spreads events over shards;
    ``listings`` are those that are not to be made up from their question."""

    def __init__(
        self,
        questions: Sequence[Question],
        *,
        shards: int = 1,
        listings: Mapping[str, Listing] = MappingProxyType({}),
    ) -> None:
        self._questions: Final = tuple(sorted(questions, key=lambda question: question.ticker))
        self._places: Final = {question.ticker: place for place, question in enumerate(self._questions)}
        self._shards: Final = shards
        self._listings: Final = listings
        self.opens: Final = array("q", (micros_since_epoch(each.listed_at) for each in self._questions))
        self.ends: Final = array("q", (micros_since_epoch(each.resolves_at) for each in self._questions))
        self._by_end: Final = array("l", sorted(range(len(self.ends)), key=self.ends.__getitem__))
        self._by_open: Final = array("l", sorted(range(len(self.opens)), key=self.opens.__getitem__))
        by_event: dict[str, list[int]] = {}
        for place, question in enumerate(self._questions):
            by_event.setdefault(question.event_ticker, []).append(place)
        self._events: Final = {ticker: array("l", places) for ticker, places in sorted(by_event.items())}

    def __len__(self) -> int:
        return len(self._questions)

    @property
    def questions(self) -> Sequence[Question]:
        """All of them, by ticker."""
        return self._questions

    def question(self, place: int) -> Question:
        return self._questions[place]

    def find(self, ticker: str) -> Question | None:
        place = self.place(ticker)
        return None if place is None else self._questions[place]

    def place(self, ticker: str) -> int | None:
        """Where a market stands in the order of tickers."""
        return self._places.get(ticker)

    def events(self) -> list[str]:
        """Event tickers in order."""
        return list(self._events)

    def event(self, event_ticker: str) -> list[Question]:
        """The questions of an event; none when there is no such event."""
        return [self._questions[place] for place in self._events.get(event_ticker, ())]

    def places_of(self, event_ticker: str) -> Sequence[int]:
        return self._events.get(event_ticker, ())

    def categories(self) -> list[str]:
        return sorted({question.category for question in self._questions})

    def listing(self, ticker: str) -> Listing | None:
        """The engine's view of a question."""
        if ticker in self._listings:
            return self._listings[ticker]
        question = self.find(ticker)
        return None if question is None else _listing(question, self._shards)

    def next_to_end(self, now_us: int, count: int) -> list[str]:
        """Tickers of the ``count`` open markets that end first."""
        found: list[str] = []
        for rank in range(self._rank(self._by_end, self.ends, now_us), len(self._by_end)):
            if len(found) >= count:
                break
            place = self._by_end[rank]
            if self.opens[place] <= now_us:
                found.append(self._questions[place].ticker)
        return found

    def steps(self, after_us: int, until_us: int) -> Iterator[tuple[int, str, Step]]:
        """Openings, closings, results and payouts of undisturbed lives after one time until another."""
        settled_us = DETERMINATION_US + SETTLEMENT_US
        for order, times, delay_us, step in (
            (self._by_open, self.opens, 0, Step.OPEN),
            (self._by_end, self.ends, 0, Step.CLOSE),
            (self._by_end, self.ends, DETERMINATION_US, Step.DETERMINE),
            (self._by_end, self.ends, settled_us, Step.SETTLE),
        ):
            first = self._rank(order, times, after_us - delay_us)
            last = self._rank(order, times, until_us - delay_us)
            for rank in range(first, last):
                place = order[rank]
                yield times[place] + delay_us, self._questions[place].ticker, step

    @staticmethod
    def _rank(order: array[int], times: array[int], until_us: int) -> int:
        """How many of ``order`` have a time at or before ``until_us``."""
        return bisect_right(order, until_us, key=times.__getitem__)


@lru_cache(maxsize=16_384)
def _listing(question: Question, shards: int) -> Listing:
    draws = blake2b(question.event_ticker.encode(), digest_size=2).digest()
    return Listing(
        ticker=question.ticker,
        event_ticker=question.event_ticker,
        series_ticker=series_of(question.category),
        open_us=micros_since_epoch(question.listed_at),
        close_us=micros_since_epoch(question.close_time),
        resolve_us=micros_since_epoch(question.resolves_at),
        outcome=question.outcome,
        shard=draws[0] % shards,
        ticks=LINEAR_CENT if draws[1] % FINE_TICKS_SHARE else TAPERED_DECI_CENT,
        fees=FEES.get(question.category, DIRECT_MEMBER),
    )
