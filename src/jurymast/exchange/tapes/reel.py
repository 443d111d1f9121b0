"""A tape made ready to be played: for each market what changed when, in flat arrays.

Frames go through the same session and books as live ones, so a tape with gaps plays what the client would
have believed: after a gap nothing changes until the next snapshot, which is played as the changes that it
amounts to.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from jurymast.domain.errors import SchemaDrift
from jurymast.domain.money import PAYOUT, Centi, Micros
from jurymast.exchange.embedded.records import SECOND_US
from jurymast.exchange.kalshi.frames import Delta, Other, Snapshot, price_of, read_frame, size_of
from jurymast.exchange.kalshi.live_books import LiveBooks
from jurymast.exchange.kalshi.markets import KalshiMarket, read_market
from jurymast.exchange.kalshi.reading import Drift, Record, decoded
from jurymast.exchange.kalshi.session import BOOKS, TRADES, BookChanged, Missed, Session, SessionBroken
from jurymast.exchange.tapes.file import Row, read_head, read_rows, unusable

CHANGES_MAX: Final = 20_000_000
"""In one tape, 24 bytes each."""
MARK_US: Final = 60 * SECOND_US
"""Past quotes are known to the minute."""

Place = int
"""A level in one number: the price of a YES bid, or less the own price of a NO bid."""


@dataclass(slots=True)
class Reel:
    """One market. ``changes`` are contracts more or less at a place; executions have a place beyond $1:
    ``PAYOUT`` more than the YES price, with a positive count when the taker bought YES."""

    ticker: str
    market: KalshiMarket | None = None
    times_us: array[int] = field(default_factory=lambda: array("q"))
    places: array[int] = field(default_factory=lambda: array("q"))
    changes: array[int] = field(default_factory=lambda: array("q"))
    tops: dict[int, tuple[Micros, Micros]] = field(default_factory=dict)
    traded: Centi = 0

    def __len__(self) -> int:
        return len(self.times_us)

    def add(self, at_us: int, place: Place, change: Centi) -> None:
        """Time never runs backwards on a reel."""
        self.times_us.append(max(at_us, self.times_us[-1]) if self.times_us else at_us)
        self.places.append(place)
        self.changes.append(change)


@dataclass(frozen=True, slots=True)
class Tape:
    """Everything on a tape, by ticker. Times are microseconds since 1970. ``missed`` counts gaps."""

    path: Path
    host: str
    reels: Mapping[str, Reel]
    start_us: int
    end_us: int
    missed: int


def load_tape(path: Path) -> Tape:
    """Read a tape whole. Raises ConfigError when it is none, holds no book, or is too long."""
    head = read_head(path)
    reading = _Reading(yes_priced=head.yes_price)
    changes = 0
    for row in read_rows(path):
        changes += reading.take(row)
        if changes > CHANGES_MAX:
            raise unusable(path, f"has more than {CHANGES_MAX:,} changes")
    reels = {ticker: reel for ticker, reel in reading.reels.items() if len(reel)}
    if not reels:
        raise unusable(path, "has no order book on it")
    start_us = min(reel.times_us[0] for reel in reels.values())
    end_us = max(reel.times_us[-1] for reel in reels.values())
    return Tape(path, head.host, reels, start_us, end_us, reading.missed)


class _Reading:
    """The state of reading one tape."""

    def __init__(self, *, yes_priced: bool) -> None:
        self.reels: dict[str, Reel] = {}
        self.missed = 0
        self._yes_priced = yes_priced
        self._levels: dict[str, dict[Place, Centi]] = {}
        self._drift = Drift()
        self._session = self._opened()

    def take(self, row: Row) -> int:
        """Take in one row; how many changes it amounts to."""
        if row.mark:
            self._session = self._opened()
        elif row.rest:
            self._answer(row.rest, bytes(row.answer))
        else:
            return self._frame(row.at_us, bytes(row.frame).decode())
        return 0

    def _opened(self) -> Session:
        """A connection begins: nothing of the one before is believed."""
        session = Session(LiveBooks(yes_priced=self._yes_priced), (BOOKS, TRADES), set(self.reels))
        session.start()
        session.commands()
        return session

    def _answer(self, request: str, body: bytes) -> None:
        try:
            market = read_market(decoded(request, body).record("market"), self._drift)
        except SchemaDrift:
            return
        self._reel(market.ticker).market = market

    def _frame(self, at_us: int, text: str) -> int:
        frame = read_frame(text)
        if isinstance(frame, Snapshot) and frame.msg.market_ticker not in self._session.tickers:
            self._session.follow({*self._session.tickers, frame.msg.market_ticker})
            self._session.commands()
        try:
            events = self._session.receive(text)
        except SessionBroken:
            self._session = self._opened()
            return 0
        self.missed += sum(isinstance(event, Missed) for event in events)
        if any(isinstance(event, BookChanged) for event in events):
            if isinstance(frame, Delta):
                return self._delta(at_us, frame)
            if isinstance(frame, Snapshot):
                return self._snapshot(at_us, frame.msg.market_ticker)
        if isinstance(frame, Other) and frame.type == "trade" and events:
            return self._trade(at_us, frame)
        return 0

    def _delta(self, at_us: int, frame: Delta) -> int:
        message = frame.msg
        price = price_of(message.price_dollars)
        if message.side == "no":
            price = price - PAYOUT if self._yes_priced else -price
        self._change(message.market_ticker, at_us, price, size_of(message.delta_fp))
        return 1

    def _snapshot(self, at_us: int, ticker: str) -> int:
        """What a snapshot changes against what was known; what goes goes first."""
        book = self._session.books.book(ticker)
        if book is None:
            return 0
        told = {level.price: level.count for level in book.bids}
        told |= {level.price - PAYOUT: level.count for level in book.asks}
        known = self._levels.get(ticker, {})
        changes = {place: told.get(place, 0) - known.get(place, 0) for place in told.keys() | known.keys()}
        for place, change in sorted(changes.items(), key=lambda each: (each[1] > 0, each[0])):
            if change:
                self._change(ticker, at_us, place, change)
        return len(changes)

    def _change(self, ticker: str, at_us: int, place: Place, change: Centi) -> None:
        reel, levels = self._reel(ticker), self._levels.setdefault(ticker, {})
        self._note_top(reel, levels, at_us)
        left = levels.get(place, 0) + change
        if left:
            levels[place] = left
        else:
            levels.pop(place, None)
        reel.add(at_us, place, change)

    def _note_top(self, reel: Reel, levels: dict[Place, Centi], at_us: int) -> None:
        """Best bid and ask as they stood when a minute ended."""
        if reel.times_us and at_us // MARK_US != reel.times_us[-1] // MARK_US:
            bids = [place for place in levels if place > 0]
            asks = [PAYOUT + place for place in levels if place < 0]
            top = (max(bids, default=0), min(asks, default=PAYOUT))
            for minute in range(reel.times_us[-1] // MARK_US, at_us // MARK_US):
                reel.tops[minute] = top

    def _trade(self, at_us: int, frame: Other) -> int:
        record = Record("trade", frame.msg)
        try:
            ticker, price = record.text("market_ticker"), record.dollars("yes_price_dollars")
            count = record.size("count_fp")
            bought = record.text("taker_outcome_side") == "yes"
        except SchemaDrift:
            return 0
        if ticker in self.reels and 0 < price < PAYOUT:
            self.reels[ticker].traded += count
            self.reels[ticker].add(at_us, PAYOUT + price, count if bought else -count)
        return 1

    def _reel(self, ticker: str) -> Reel:
        if ticker not in self.reels:
            self.reels[ticker] = Reel(ticker)
        return self.reels[ticker]
