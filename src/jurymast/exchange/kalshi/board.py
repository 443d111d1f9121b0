"""Every open market, resident, looked at again in turns.

Reads are rationed: listing sixty thousand markets takes three hundred requests, fifteen seconds of the
lowest tier's budget. So a look reads on where the last one stopped, so many pages at a time, and what it
has not reached is told as it was when it was seen; ``as_of`` says when that was. The first look reads
everything. Markets at stake are read in every look. Up to ``pages`` pages a look is the whole list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from jurymast.domain.errors import ExchangeError, ExchangeUnavailable
from jurymast.domain.market import Book, Market, MarketSnapshot
from jurymast.exchange.kalshi.listing import Listed, Terms
from jurymast.exchange.kalshi.markets import KalshiMarket, Lifecycle, MarketFilter
from jurymast.exchange.kalshi.rest import MarketReads

PAGES_PER_LOOK: Final = 6
PAGES_MAX: Final = 1_000
"""Of one whole list: two hundred thousand events."""
TERMS_MAX: Final = 250_000
"""Markets of which what they are is remembered, those that are over among them."""
_TICKERS_PER_READ: Final = 50


@dataclass(slots=True)
class _Seen:
    """A market as seen last, and in which pass over the list."""

    snapshot: MarketSnapshot
    turn: int


class Board:
    """Looks at the list of events. ``now`` is exchange time; ``series`` empty means every series."""

    def __init__(
        self,
        markets: MarketReads,
        now: Callable[[], datetime],
        *,
        series: Sequence[str] = (),
        pages: int = PAGES_PER_LOOK,
    ) -> None:
        self._reads = markets
        self._now = now
        self._series: tuple[str | None, ...] = tuple(series) or (None,)
        self._pages = pages
        self._terms: dict[str, Terms] = {}
        self._seen: dict[str, _Seen] = {}
        self._turn = 0
        self._place = 0
        self._cursor = ""

    async def look(self, at_stake: Iterable[str] = ()) -> list[MarketSnapshot]:
        """Every market that trades, as far as was seen. Raises ExchangeUnavailable or SchemaDrift: then
        the next look begins the list anew."""
        try:
            fresh = await self._read_on()
        except ExchangeError:
            self._place, self._cursor = 0, ""
            raise
        await self._read_those([ticker for ticker in at_stake if ticker not in fresh])
        return [seen.snapshot for seen in self._seen.values()]

    async def read(self, ticker: str) -> KalshiMarket:
        """A market as it is now. Raises OrderRejected with a code of not found."""
        market = await self._reads.get_market(ticker)
        self._remember(market)
        return market

    async def market(self, ticker: str) -> KalshiMarket:
        """What is known of a market, read if nothing is: its ticks, shard and event."""
        known = self._terms.get(ticker)
        return await self.read(ticker) if known is None else known.market

    def noun(self, market: KalshiMarket) -> Market:
        """A market in the domain's words, with the category of its event where a list has told it."""
        known = self._terms.get(market.ticker)
        category = known.noun.category if known is not None else ""
        return market.snapshot(market.top, market.open_time, category).market

    async def learn(self, tickers: Iterable[str]) -> None:
        """Know what these are, with few requests."""
        unknown = [ticker for ticker in tickers if ticker not in self._terms]
        for start in range(0, len(unknown), _TICKERS_PER_READ):
            for market in await self._reads.list_markets(tickers=unknown[start : start + _TICKERS_PER_READ]):
                self._remember(market)

    async def _read_on(self) -> set[str]:
        """Read pages until the list or the ration is at its end; which markets were seen."""
        fresh: set[str] = set()
        pages = 0
        while pages < (self._pages if self._turn else PAGES_MAX):
            series = self._series[self._place]
            page = await self._reads.list_page(
                self._terms, status=MarketFilter.OPEN, series_ticker=series, cursor=self._cursor
            )
            pages += 1
            as_of = self._now()
            for listed in page.markets:
                fresh.add(listed.terms.noun.ticker)
                self._note(listed, as_of)
            if self._next(page.cursor):
                return fresh
        if not self._turn:
            raise ExchangeUnavailable(
                f"GetEvents: more than {PAGES_MAX} pages; name the series to trade, nothing was concluded"
            )
        return fresh

    def _next(self, cursor: str) -> bool:
        """Go on to the next page; True at the end of a whole pass."""
        self._cursor = cursor
        if cursor:
            return False
        self._place += 1
        if self._place < len(self._series):
            return False
        self._place = 0
        gone = [ticker for ticker, seen in self._seen.items() if seen.turn != self._turn]
        for ticker in gone:
            del self._seen[ticker]
        for ticker in list(self._terms)[: max(len(self._terms) - TERMS_MAX, 0)]:
            del self._terms[ticker]
        self._turn += 1
        return True

    def _note(self, listed: Listed, as_of: datetime) -> None:
        noun = listed.terms.noun
        if listed.status is not Lifecycle.ACTIVE:
            self._seen.pop(noun.ticker, None)
            return
        snapshot = MarketSnapshot(noun, listed.status.status, listed.top, listed.volume_24h, as_of)
        seen = self._seen.get(noun.ticker)
        if seen is None:
            self._seen[noun.ticker] = _Seen(snapshot, self._turn)
        else:
            seen.snapshot, seen.turn = snapshot, self._turn

    async def _read_those(self, tickers: Sequence[str]) -> None:
        for start in range(0, len(tickers), _TICKERS_PER_READ):
            found = await self._reads.list_markets(tickers=tickers[start : start + _TICKERS_PER_READ])
            as_of = self._now()
            for market in found:
                terms = self._remember(market)
                self._note(Listed(terms, market.status, market.top, market.volume_24h), as_of)

    def _remember(self, market: KalshiMarket) -> Terms:
        """Take over a market that was read alone; the list will read it whole again and find it the same."""
        known = self._terms.get(market.ticker)
        category = known.noun.category if known is not None else ""
        terms = self._terms[market.ticker] = Terms.of(market, category)
        return terms

    def show(self, market: KalshiMarket, book: Book) -> MarketSnapshot:
        """A market that was just read, with its book."""
        return market.snapshot(book, self._now(), self.noun(market).category)
