"""SIMULATED order books around the simulated price, in whole cents from 1c to 99c.

A question belongs to one of four liquidity classes for life; the class sets the spread (4c to 1c), the
depth and the daily volume. Within one step of exchange time the book stands still; it is a pure function
of seed, ticker and step. Near certainty one side is empty, as on the real exchange: nobody bids below 1c.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from jurymast.domain.market import Book, Level
from jurymast.domain.money import CENT, CONTRACT, Centi
from jurymast.domain.probability import sigmoid
from jurymast.exchange.paths import PricePath
from jurymast.exchange.questions import Question

STEP_SECS: Final = 60
LEVELS: Final = 4
"""Price levels a side, one cent apart."""
LOWEST_CENTS: Final = 1
HIGHEST_CENTS: Final = 99
SPREAD_CENTS: Final = (4, 3, 2, 1)
"""By liquidity class, thinnest first."""
LOT_CONTRACTS: Final = (10, 40, 150, 500)
"""A level holds 1 to 4 lots, and one lot more for each level behind the best."""
DAILY_CONTRACTS: Final = (400, 3_000, 12_000, 60_000)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_STEP: Final = timedelta(seconds=STEP_SECS)
_DAY: Final = timedelta(days=1)


def step_at(at: datetime) -> int:
    """Number of the step that ``at`` (UTC) lies in."""
    return (at - _EPOCH) // _STEP


class BookMaker:
    """Quotes every question under one seed."""

    __slots__ = ("_path", "_seed")

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._path = PricePath(seed)

    def book(self, question: Question, step: int) -> Book:
        """The displayed book of a step: best level first, prices of YES; SIMULATED."""
        liquidity = _liquidity(self._seed, question.ticker)
        spread = SPREAD_CENTS[liquidity]
        middle = 100.0 * sigmoid(self._path.log_odds(question, _EPOCH + step * _STEP))
        best_bid = round(middle - spread / 2)
        best_bid = min(max(best_bid, LOWEST_CENTS - 1), HIGHEST_CENTS + 1 - spread)
        draws = blake2b(
            f"{self._seed}|{question.ticker}|book|{step}".encode(), digest_size=2 * LEVELS
        ).digest()
        bids = [
            _level(best_bid - depth, LOT_CONTRACTS[liquidity] * (draws[depth] % 4 + 1 + depth))
            for depth in range(min(LEVELS, best_bid + 1 - LOWEST_CENTS))
        ]
        best_ask = best_bid + spread
        asks = [
            _level(best_ask + depth, LOT_CONTRACTS[liquidity] * (draws[LEVELS + depth] % 4 + 1 + depth))
            for depth in range(min(LEVELS, HIGHEST_CENTS + 1 - best_ask))
        ]
        return Book(tuple(bids), tuple(asks))

    def volume_24h(self, question: Question, at: datetime) -> Centi:
        """Contracts of the last day: half to one and a half times the usual of the class; SIMULATED."""
        usual = DAILY_CONTRACTS[_liquidity(self._seed, question.ticker)]
        return CONTRACT * usual * _percent(self._seed, question.ticker, (at - _EPOCH) // _DAY) // 100


@lru_cache(maxsize=8_192)
def _liquidity(seed: int, ticker: str) -> int:
    return blake2b(f"{seed}|{ticker}|liquidity".encode(), digest_size=1).digest()[0] % len(SPREAD_CENTS)


@lru_cache(maxsize=8_192)
def _percent(seed: int, ticker: str, day: int) -> int:
    return 50 + blake2b(f"{seed}|{ticker}|volume|{day}".encode(), digest_size=1).digest()[0] % 101


@lru_cache(maxsize=4_096)
def _level(cents: int, contracts: int) -> Level:
    """Levels repeat across markets and are immutable: tens of thousands of books share a few of them."""
    return Level(cents * CENT, contracts * CONTRACT)
