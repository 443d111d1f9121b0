"""What the websocket is good for while the bot runs: hearing of our fills at once, and live books.

Nothing that is heard is booked. News says that the account is to be read over REST, where fills have their
ids and nothing is told twice; silence says nothing, because every cycle reads the account anyway. Books of
the markets at stake are kept as they change; one that can't be believed is not there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from jurymast.domain.market import Book
from jurymast.exchange.kalshi.inbox import Lost
from jurymast.exchange.kalshi.session import BookChanged, Filled, Missed, OrderUpdated
from jurymast.exchange.kalshi.stream import KalshiStream

FOLLOWED_MAX: Final = 500
"""Markets whose books are kept."""


class Listener:
    """Listens to one stream for as long as :meth:`run` does. ``lost`` counts broken connections."""

    def __init__(self, stream: KalshiStream) -> None:
        self.lost = 0
        self._stream = stream
        self._news = asyncio.Event()
        self._followed: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Listen for ever; reconnects by itself."""
        async for event in self._stream.events():
            match event:
                case BookChanged():
                    continue
                case Filled() | OrderUpdated() | Missed():
                    self._news.set()
                case Lost():
                    self.lost += 1
                    self._news.set()
                case _:
                    pass

    async def news(self) -> None:
        """Return when something of our account changed, or may have, since the last return."""
        await self._news.wait()
        self._news.clear()

    def follow(self, tickers: Iterable[str]) -> None:
        """Keep the books of these markets and of no others; of too many, the first by name."""
        wanted = frozenset(sorted(tickers)[:FOLLOWED_MAX])
        if wanted != self._followed:
            self._followed = wanted
            self._stream.follow(wanted)

    def book(self, ticker: str) -> Book | None:
        """The book as it is now, if it is followed and can be believed."""
        return self._stream.books.book(ticker) if ticker in self._followed else None
