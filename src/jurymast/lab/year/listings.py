"""A year of questions out of the bundle, which covers four months.

The bundle has ten rounds of listing, most of them two weeks apart, each of them with questions that were open
on the same day. A year lists a round every two weeks, drawn with replacement: questions of one round stay
together, and so does what made them come out alike. Dates are moved by whole days. A question that comes
twice has the same crowd price and outcome, and a price path of its own. So a year has some 26 rounds and no
more than 643 outcomes: more seeds make the luck of paths smaller, not that of outcomes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from random import Random
from typing import Final

from jurymast.exchange.questions import Question

START: Final = datetime(2026, 1, 5, tzinfo=UTC)
"""A Monday at 00:00 UTC, as the schedules of outages begin."""
ROUND_DAYS: Final = 14
YEAR: Final = timedelta(days=365.25)


@dataclass(frozen=True, slots=True)
class Listing:
    """A question as a year lists it; ``event`` is what it belongs to in the bundle."""

    question: Question
    event: str


def listed(questions: Sequence[Question], seed: int, years: float) -> tuple[Listing, ...]:
    """The questions of a year, by the time of their listing."""
    rounds: dict[date, list[Question]] = {}
    for question in questions:
        rounds.setdefault(question.listed_at.date(), []).append(question)
    days = sorted(rounds)
    random = Random(f"rounds {seed}")
    found: list[Listing] = []
    for number in count():
        at = START + timedelta(days=ROUND_DAYS * number)
        if at >= START + years * YEAR:
            return tuple(found)
        drawn = random.choice(days)
        by = at.date() - drawn
        found += [Listing(_moved(each, by, number), each.event_ticker) for each in rounds[drawn]]
    raise AssertionError("unreachable")  # pragma: no cover


def _moved(question: Question, by: timedelta, number: int) -> Question:
    return replace(
        question,
        ticker=f"{question.ticker}-{number}",
        event_ticker=f"{question.event_ticker}-{number}",
        listed_at=question.listed_at + by,
        close_time=question.close_time + by,
        resolves_at=question.resolves_at + by,
    )
