"""Order books kept from snapshots and deltas: whole numbers, no phantom level, never silently wrong.

A book is either told by Kalshi without a break since its last snapshot, or it is stale and there is no
book: :meth:`LiveBooks.book` gives None. A change that would take a level below nothing proves that
something was missed, so it makes the book stale too.

Kalshi can price the NO side in its own terms or in those of YES, and has announced that only the latter
will stay; so that is asked for. A snapshot whose sides would have traded with each other is the sign that
the two were confused, and is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from jurymast.domain.errors import SchemaDrift
from jurymast.domain.market import Book
from jurymast.domain.money import PAYOUT, Centi, Micros
from jurymast.exchange.kalshi.frames import DeltaMessage, SnapshotMessage, price_of, size_of
from jurymast.exchange.kalshi.markets import book_of, levels

_OPERATION: Final = "orderbook_snapshot"
_SIDES: Final = {"yes": 0, "no": 1}
Ladder = dict[Micros, Centi]
"""Bids of one side by price."""


class LiveBooks:
    """The books of the markets that are followed, by ticker.

    ``yes_priced`` says that NO levels arrive at the price of YES.
    """

    def __init__(self, *, yes_priced: bool = True) -> None:
        self.yes_priced: Final = yes_priced
        self._ladders: dict[str, tuple[Ladder, Ladder]] = {}
        self._stale: set[str] = set()

    @property
    def stale(self) -> frozenset[str]:
        """Followed markets without a book to believe."""
        return frozenset(self._stale)

    def follow(self, tickers: Iterable[str]) -> None:
        """Keep books of these markets from now on; stale until their snapshots arrive."""
        self._stale.update(ticker for ticker in tickers if ticker not in self._ladders)

    def forget(self, tickers: Iterable[str]) -> None:
        for ticker in tickers:
            self._ladders.pop(ticker, None)
            self._stale.discard(ticker)

    def spoil(self, tickers: Iterable[str]) -> None:
        """Something of these books may have been missed: they are stale until their next snapshot."""
        for ticker in tickers:
            if self._ladders.pop(ticker, None) is not None:
                self._stale.add(ticker)

    def reset(self, message: SnapshotMessage) -> bool:
        """Take over a snapshot; False for a market that is not followed. Raises SchemaDrift."""
        ticker = message.market_ticker
        if ticker not in self._stale and ticker not in self._ladders:
            return False
        yes = levels(_OPERATION, message.yes_dollars_fp)
        no = levels(_OPERATION, message.no_dollars_fp)
        if self.yes_priced:
            no = {PAYOUT - price: size for price, size in no.items()}
        if yes and no and max(yes) + max(no) >= PAYOUT:
            raise SchemaDrift(f"{_OPERATION}: {ticker}: the sides would have traded with each other")
        self._ladders[ticker] = (yes, no)
        self._stale.discard(ticker)
        return True

    def change(self, message: DeltaMessage) -> bool:
        """Apply a delta; False when there is no book to apply it to.

        Raises SchemaDrift when it can't be read or can't be true; the book is stale then.
        """
        ladders = self._ladders.get(message.market_ticker)
        if ladders is None:
            return False
        try:
            is_no = _SIDES[message.side]
            price, left = price_of(message.price_dollars), size_of(message.delta_fp)
        except (KeyError, ValueError):
            raise self._spoilt(message, "can't be read") from None
        ladder = ladders[is_no]
        if is_no and self.yes_priced:
            price = PAYOUT - price
        left += ladder.get(price, 0)
        if left > 0:
            if not 0 < price < PAYOUT:
                raise self._spoilt(message, "is no price")
            ladder[price] = left
        elif left < 0 or ladder.pop(price, None) is None:
            raise self._spoilt(message, "takes away what is not there")
        return True

    def book(self, ticker: str) -> Book | None:
        """Both ladders of YES, best first; None while stale."""
        ladders = self._ladders.get(ticker)
        return None if ladders is None else book_of(*ladders)

    def best(self, ticker: str) -> tuple[Micros | None, Micros | None] | None:
        """Best bid and best offer of YES, None for an empty side; None while stale."""
        ladders = self._ladders.get(ticker)
        if ladders is None:
            return None
        yes, no = ladders
        return max(yes, default=None), PAYOUT - max(no) if no else None

    def _spoilt(self, message: DeltaMessage, why: str) -> SchemaDrift:
        self.spoil([message.market_ticker])
        told: Any = (message.side, message.price_dollars, message.delta_fp)
        return SchemaDrift(f"orderbook_delta: {message.market_ticker} {told} {why}; the book is stale")
