"""Kalshi over REST: market data, our account, our orders, on one connection pool and one budget."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from jurymast.domain.errors import SchemaDrift
from jurymast.domain.market import Book
from jurymast.exchange.kalshi import account, markets, operations
from jurymast.exchange.kalshi.budget import BALANCES, BALANCES_ELSE, BucketSize, Limits
from jurymast.exchange.kalshi.http import KalshiHttp, Query
from jurymast.exchange.kalshi.listing import EventPage, Terms, read_page
from jurymast.exchange.kalshi.operations import route_key
from jurymast.exchange.kalshi.order_entry import OrderEntry
from jurymast.exchange.kalshi.orders import unix_secs
from jurymast.exchange.kalshi.paging import PAGE_ITEMS, Pages
from jurymast.exchange.kalshi.reading import Drift, Record, each_readable

EVENT_PAGE_ITEMS: Final = 200
BOOKS_MAX: Final = 100


class KalshiRest:
    """One account at one host. ``subaccount`` None leaves the choice to Kalshi and the key."""

    def __init__(
        self,
        http: KalshiHttp,
        *,
        subaccount: int | None = None,
        pages: Pages | None = None,
        drift: Drift | None = None,
    ) -> None:
        self.http: Final = http
        self._pages = pages or Pages(http, drift or Drift())
        self.drift: Final = self._pages.drift
        self.markets: Final = MarketReads(self._pages)
        self.account: Final = AccountReads(self._pages, subaccount)
        self.orders: Final = OrderEntry(http, self.drift, subaccount)

    async def learn_limits(self) -> Limits:
        """Read this account's rate limits and the price of each operation, and keep to them from now on."""
        answer = await self.http.call(operations.LIMITS)
        costs = await self.http.call(operations.COSTS)
        limits = _limits(answer, costs)
        self.http.budgets.learn(limits)
        return limits

    async def close(self) -> None:
        """Close every connection."""
        await self.http.close()


class MarketReads:
    """What everybody may know."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._call = pages.http.call

    async def get_status(self) -> markets.ExchangeStatus:
        return markets.read_status(await self._call(operations.STATUS))

    async def list_maintenance(self) -> tuple[tuple[datetime, datetime], ...]:
        """Announced maintenance windows, start and end in UTC."""
        return markets.read_maintenance(await self._call(operations.SCHEDULE))

    async def list_events(
        self, *, status: markets.MarketFilter | None = None, series_ticker: str | None = None
    ) -> list[markets.KalshiEvent]:
        """Events with their markets, without combinations. What can't be read is left out and counted."""
        query: Query = {
            "status": status,
            "series_ticker": series_ticker,
            "with_nested_markets": True,
            "limit": EVENT_PAGE_ITEMS,
        }
        return await self._pages.readable(operations.EVENTS, "events", markets.read_event, query)

    async def list_page(
        self,
        known: dict[str, Terms],
        *,
        status: markets.MarketFilter | None = None,
        series_ticker: str | None = None,
        cursor: str = "",
    ) -> EventPage:
        """One page of the same list, read fast; ``known`` is what is known of markets by ticker."""
        query: Query = {
            "status": status,
            "series_ticker": series_ticker,
            "with_nested_markets": True,
            "limit": EVENT_PAGE_ITEMS,
            "cursor": cursor or None,
        }
        body = await self._pages.http.fetch(operations.EVENTS, query=query)
        return read_page(body, known, self._pages.drift)

    async def list_markets(
        self,
        *,
        status: markets.MarketFilter | None = None,
        event_ticker: str | None = None,
        tickers: Sequence[str] = (),
    ) -> list[markets.KalshiMarket]:
        """Markets by filter. What can't be read is left out and counted."""
        query: Query = {
            "status": status,
            "event_ticker": event_ticker,
            "tickers": ",".join(tickers) or None,
            "limit": PAGE_ITEMS,
        }
        return await self._pages.readable(operations.MARKETS, "markets", markets.read_market, query)

    async def get_market(self, ticker: str) -> markets.KalshiMarket:
        """Raises OrderRejected with a code of not found."""
        answer = await self._call(operations.MARKET, ticker)
        return markets.read_market(answer.record("market"), self._pages.drift)

    async def get_series_fee(self, series_ticker: str) -> markets.FeeTerms:
        answer = await self._call(operations.SERIES, series_ticker)
        return markets.read_series_fee(answer.record("series"))

    async def get_book(self, ticker: str) -> Book:
        return markets.read_book(await self._call(operations.BOOK, ticker))

    async def list_books(self, tickers: Sequence[str]) -> dict[str, Book]:
        """Books of at most ``BOOKS_MAX`` markets. A book that can't be read is left out and counted."""
        if len(tickers) > BOOKS_MAX:
            raise ValueError(f"at most {BOOKS_MAX} books at once, not {len(tickers)}")
        answer = await self._call(operations.BOOKS, query={"tickers": tuple(tickers)})
        books = answer.items("orderbooks")
        return dict(each_readable(answer.operation, books, markets.read_named_book, self._pages.drift))

    async def list_trades(self, ticker: str, since: datetime) -> list[markets.PublicTrade]:
        """Executions of everybody in one market."""
        query: Query = {"ticker": ticker, "min_ts": unix_secs(since), "limit": PAGE_ITEMS}
        return await self._pages.all(operations.TRADES, "trades", markets.read_trade, query)

    async def list_candles(
        self, series_ticker: str, ticker: str, start: datetime, end: datetime, *, minutes: int = 60
    ) -> list[markets.Candle]:
        """Candles of 1, 60 or 1440 minutes."""
        query: Query = {"start_ts": unix_secs(start), "end_ts": unix_secs(end), "period_interval": minutes}
        answer = await self._call(operations.CANDLES, series_ticker, ticker, query=query)
        values = (Record(answer.operation, each) for each in answer.items("candlesticks"))
        return [markets.read_candle(each, self._pages.drift) for each in values]

    async def get_history_cutoff(self) -> datetime:
        """Orders that ended before this are in the archive and listed no more."""
        return (await self._call(operations.CUTOFF)).time("orders_updated_ts")


class AccountReads:
    """What is ours. Left-out subaccounts mean all of them for orders, fills and settlements, but the
    primary one for balance and positions, so it is named wherever one is set."""

    def __init__(self, pages: Pages, subaccount: int | None) -> None:
        self._pages = pages
        self._call = pages.http.call
        self._subaccount = subaccount

    async def get_data_time(self) -> datetime:
        """As of when balance, orders, fills and positions are told; about a second ago."""
        return (await self._call(operations.USER_DATA_TIMESTAMP)).time("as_of_time")

    async def list_orders(
        self, *, status: str | None = None, ticker: str | None = None, since: datetime | None = None
    ) -> list[account.KalshiOrder]:
        """Orders by filter. One that can't be read raises SchemaDrift."""
        query = {"status": status, "ticker": ticker, **self._since(since)}
        return await self._pages.all(operations.ORDERS, "orders", account.read_order, query)

    async def get_order(self, order_id: str) -> account.KalshiOrder:
        """Raises OrderRejected with a code of not found."""
        answer = await self._call(operations.ORDER, order_id)
        return account.read_order(answer.record("order"), self._pages.drift)

    async def list_fills(self, since: datetime | None = None) -> list[account.KalshiFill]:
        """Our executions in the order of Kalshi's answer. One that can't be read raises SchemaDrift."""
        return await self._pages.all(operations.FILLS, "fills", account.read_fill, self._since(since))

    async def list_positions(self) -> list[account.KalshiPosition]:
        """Markets where something is held. One that can't be read raises SchemaDrift."""
        query: Query = {"count_filter": "position", "limit": PAGE_ITEMS, "subaccount": self._subaccount}
        return await self._pages.all(operations.POSITIONS, "market_positions", account.read_position, query)

    async def list_settlements(self, since: datetime | None = None) -> list[account.KalshiSettlement]:
        """Payouts in the order of Kalshi's answer. One that can't be read raises SchemaDrift."""
        return await self._pages.all(
            operations.SETTLEMENTS, "settlements", account.read_settlement, self._since(since)
        )

    async def get_balance(self) -> account.KalshiBalance:
        answer = await self._call(operations.BALANCE, query={"subaccount": self._subaccount})
        return account.read_balance(answer)

    def _since(self, since: datetime | None) -> dict[str, str | int | None]:
        return {
            "min_ts": None if since is None else unix_secs(since),
            "limit": PAGE_ITEMS,
            "subaccount": self._subaccount,
        }


def _limits(answer: Record, costs: Record) -> Limits:
    known = {
        route_key(each.text("method"), each.text("path")): each.whole("cost")
        for each in (Record(costs.operation, value) for value in costs.items("endpoint_costs"))
    }
    tier = answer.text("usage_tier")
    balances = BALANCES.get(tier, BALANCES_ELSE)
    return Limits(
        tier=tier,
        read=_size(answer.record("read")),
        write=_size(answer.record("write")),
        balance=BucketSize(balances, balances),
        default_cost=costs.whole("default_cost"),
        costs=known,
    )


def _size(record: Record) -> BucketSize:
    try:
        return BucketSize(record.whole("bucket_capacity"), record.whole("refill_rate"))
    except ValueError as error:
        raise SchemaDrift(f"{record.operation}: {error}") from None
