"""The embedded exchange behind ``ports.Exchange``: SIMULATED, with play money, in a file of its own.

There is no background work. Every call first brings the exchange up to now, in the same transaction.
Exchange time runs ``speed`` times as fast as the clock, never backwards, and stands still while the
exchange is down.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

from jurymast.domain.errors import ConfigError, ExchangeUnavailable, OrderRejected, OrderUnknown
from jurymast.domain.market import MarketSnapshot
from jurymast.domain.money import Micros
from jurymast.domain.order import Balance, Fill, Order, OrderIntent, Position, Settlement
from jurymast.exchange.books import step_at
from jurymast.exchange.ledger import Ledger
from jurymast.exchange.questions import Question
from jurymast.exchange.storage import ExchangeFile
from jurymast.exchange.venue import Venue
from jurymast.ports import Clock

MAX_SPEED: Final = 1_000_000.0
END_OF_TIME: Final = datetime(2200, 1, 1, tzinfo=UTC)
"""Exchange time stops here."""
_BATCH: Final = 250
"""Markets quoted before other tasks get a turn: some 10 ms."""


class Fault(StrEnum):
    """What can be made to go wrong on purpose, for tests and drills."""

    ACCEPT_THEN_TIMEOUT = "accept_then_timeout"
    """The order arrives, the answer does not: OrderUnknown, whatever became of it."""
    REJECT_THEN_TIMEOUT = "reject_then_timeout"
    """The order does not arrive and nobody says so: OrderUnknown."""
    UNAVAILABLE = "unavailable"
    """Every call but ``place_order`` and ``close`` raises ExchangeUnavailable."""


class PaperExchange:
    """``ports.Exchange`` on ``questions``; SIMULATED.

    A new file begins at exchange time ``start`` with ``cash``; an old one goes on where it stopped,
    whatever these two say. ``:memory:`` keeps nothing. Raises ConfigError when the file can't be used,
    was begun with another seed, or holds orders or positions in markets that are not among the questions.
    """

    def __init__(
        self,
        questions: Sequence[Question],
        *,
        database: Path | str,
        clock: Clock,
        seed: int = 0,
        start: datetime,
        speed: float,
        cash: Micros,
    ) -> None:
        if not 0.0 < speed <= MAX_SPEED:
            raise ConfigError(f"exchange speed {speed} must be above 0 and at most {MAX_SPEED:g}")
        if cash < 0:
            raise ConfigError(f"exchange cash {cash} must not be negative")
        if start.tzinfo is None:
            raise ConfigError(f"exchange start {start} needs a time zone")
        self._seed = seed
        self._speed = speed
        self._clock = clock
        self._faults: Counter[Fault] = Counter()
        self._closed = False
        self._file = ExchangeFile(database)
        try:
            with self._file.transaction():
                self._ledger = Ledger(self._file, seed=seed, start=start, step=step_at(start), cash=cash)
                self._venue = Venue(questions, self._ledger, seed)
                self._base, _ = self._ledger.clock()
                self._check_markets()
        except BaseException:
            self._file.close()
            raise
        self._anchor = clock.utc_now()

    def describe(self) -> str:
        """One line for logs and screens."""
        return (
            f"SIMULATED exchange: {len(self._venue.questions)} real questions with simulated prices (seed "
            f"{self._seed}) and play money, time x{self._speed:g}, file {self._file.name}"
        )

    def inject(self, fault: Fault | str, times: int = 1) -> None:
        """Let the next ``times`` calls that ``fault`` concerns go wrong. Raises ValueError if unknown."""
        self._faults[Fault(fault)] += times

    async def now(self) -> datetime:
        with self._reading() as now:
            return now

    async def list_snapshots(self) -> Sequence[MarketSnapshot]:
        with self._reading() as now:
            taken = self._ledger.taken(step_at(now))
        snapshots: list[MarketSnapshot] = []
        for place, question in enumerate(self._venue.questions.values()):
            if place % _BATCH == 0:
                await asyncio.sleep(0)
            if question.listed_at <= now < question.resolves_at:
                snapshots.append(self._venue.snapshot(question, now, taken))
        return snapshots

    async def get_snapshot(self, ticker: str) -> MarketSnapshot:
        """Raises OrderRejected with code ``market_not_found`` for a ticker that was never listed."""
        with self._reading() as now:
            question = self._venue.question(ticker)
            return self._venue.snapshot(question, now, self._ledger.taken(step_at(now)))

    async def place_order(self, intent: OrderIntent) -> Order:
        """Codes of OrderRejected are those of :meth:`Venue.place`."""
        if self._strikes(Fault.REJECT_THEN_TIMEOUT):
            raise _silence(intent)
        unheard = self._strikes(Fault.ACCEPT_THEN_TIMEOUT)
        try:
            with self._session() as now:
                order = self._venue.place(intent, now)
        except ExchangeUnavailable as error:
            raise OrderUnknown(f"{intent.client_order_id}: {error}") from error
        except OrderRejected as error:
            raise (_silence(intent) if unheard else error) from None
        if unheard:
            raise _silence(intent)
        return order

    async def cancel_order(self, order: Order) -> Order:
        """Raises OrderRejected with code ``not_found`` for an order that was never here."""
        with self._reading():
            self._ledger.cancel(order)
            return self._venue.known(order)

    async def find_order(self, client_order_id: str) -> Order | None:
        with self._reading():
            return self._ledger.find_order(client_order_id)

    async def list_open_orders(self) -> Sequence[Order]:
        with self._reading():
            return self._ledger.resting_orders()

    async def list_fills(self, after: str | None = None) -> Sequence[Fill]:
        with self._reading():
            return self._ledger.fills(after)

    async def list_positions(self) -> Sequence[Position]:
        with self._reading():
            return [
                Position(ticker, self._venue.question(ticker).event_ticker, holding.count, holding.cost)
                for ticker, holding in self._ledger.holdings().items()
            ]

    async def list_settlements(self, after: str | None = None) -> Sequence[Settlement]:
        with self._reading():
            return self._ledger.settlements(after)

    async def get_balance(self) -> Balance:
        with self._reading():
            return Balance(self._venue.available())

    async def close(self) -> None:
        """Stop the exchange's time and let go of the file; further calls raise ExchangeUnavailable."""
        if self._closed:
            return
        try:
            with self._session():
                pass
        finally:
            self._closed = True
            self._file.close()

    @contextmanager
    def _session(self) -> Iterator[datetime]:
        """One transaction, which first brings the exchange up to now."""
        if self._closed:
            raise ExchangeUnavailable("the SIMULATED exchange is closed; start it again to go on")
        with self._file.transaction():
            now = self._exchange_time()
            self._venue.advance(now)
            yield now

    @contextmanager
    def _reading(self) -> Iterator[datetime]:
        if self._strikes(Fault.UNAVAILABLE):
            raise ExchangeUnavailable("the SIMULATED exchange was told to be unavailable; ask again")
        with self._session() as now:
            yield now

    def _exchange_time(self) -> datetime:
        """Never before the last change, whatever the wall clock does."""
        elapsed_secs = (self._clock.utc_now() - self._anchor).total_seconds() * self._speed
        left_secs = max((END_OF_TIME - self._base).total_seconds(), 0.0)
        last, _ = self._ledger.clock()
        return max(last, self._base + timedelta(seconds=min(max(elapsed_secs, 0.0), left_secs)))

    def _strikes(self, fault: Fault) -> bool:
        if self._faults[fault] == 0:
            return False
        self._faults[fault] -= 1
        return True

    def _check_markets(self) -> None:
        missing = [
            ticker for ticker in self._ledger.tickers_at_stake() if ticker not in self._venue.questions
        ]
        if missing:
            raise self._file.unusable(
                f"holds orders or positions in {missing[0]} and {len(missing) - 1} more markets that are not "
                "among the questions"
            )


def _silence(intent: OrderIntent) -> OrderUnknown:
    return OrderUnknown(
        f"the SIMULATED exchange was told not to answer; ask for {intent.client_order_id} before sending more"
    )
