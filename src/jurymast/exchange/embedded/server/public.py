"""Market data: exchange status, series, events, markets, books, prints, candles."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from aiohttp import web

from jurymast.domain.errors import OrderRejected
from jurymast.exchange.embedded.catalogue import Catalogue, series_of
from jurymast.exchange.embedded.exchange import EmbeddedExchange
from jurymast.exchange.embedded.lifecycle import DETERMINATION_US, OPEN_FILTER_LAG_US, SETTLEMENT_US, Stage
from jurymast.exchange.embedded.records import SECOND_US
from jurymast.exchange.embedded.server.candles import candles
from jurymast.exchange.embedded.server.faults import Fault
from jurymast.exchange.embedded.server.replies import Query, cursor, newest, reply
from jurymast.exchange.embedded.server.shapes import (
    Json,
    event_shape,
    ladder_shape,
    market_shape,
    series_shape,
    trade_shape,
)
from jurymast.exchange.embedded.server.site import Site
from jurymast.exchange.embedded.server.wire import rfc3339
from jurymast.exchange.questions import Question

BOOKS_MAX: Final = 100
EVENTS_MAX: Final = 200
ARCHIVE_US: Final = 90 * 86_400 * SECOND_US
"""About three months are live, older data is in the archive, which is empty here."""
_STATUSES: Final = ("unopened", "open", "paused", "closed", "settled")
_HOURS: Final = [{"open_time": "00:00", "close_time": "24:00"}]
_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_PAGE_TURN: Final = 100
"""Markets shaped before other tasks get a turn."""


class MarketData:
    """Handlers of everything that is no member's own."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def status(self, _: web.Request) -> web.Response:
        exchange = self._site.exchange
        state = exchange.engine.state
        active = not state.exchange_paused
        trading = active and not state.trading_paused
        shards = [
            {
                "exchange_index": shard,
                "description": f"SIMULATED shard {shard}",
                "exchange_active": active,
                "trading_active": trading,
                "intra_exchange_transfers_active": active,
            }
            for shard in range(state.shards)
        ]
        return reply(
            {
                "exchange_active": active,
                "trading_active": trading,
                "intra_exchange_transfers_active": active,
                "exchange_index_statuses": shards,
            }
        )

    async def schedule(self, _: web.Request) -> web.Response:
        """Around the clock: pauses come on command only."""
        week: Json = {"start_time": "2020-01-01T00:00:00Z", "end_time": "2100-01-01T00:00:00Z"}
        week |= dict.fromkeys(_DAYS, _HOURS)
        return reply({"schedule": {"standard_hours": [week], "maintenance_windows": []}})

    async def user_data_timestamp(self, _: web.Request) -> web.Response:
        return reply({"as_of_time": rfc3339(self._site.view.frame().at_us)})

    async def historical_cutoff(self, _: web.Request) -> web.Response:
        cutoff = rfc3339(min(self._site.exchange.catalogue.opens) - ARCHIVE_US)
        names = (
            "market_settled_ts",
            "trades_created_ts",
            "orders_updated_ts",
            "market_positions_last_updated_ts",
        )
        return reply(dict.fromkeys(names, cutoff))

    async def list_series(self, request: web.Request) -> web.Response:
        category = Query(request).text("category").lower()
        catalogue = self._site.exchange.catalogue
        return reply(
            {
                "series": [
                    _series(catalogue, name) for name in catalogue.categories() if category in {"", name}
                ]
            }
        )

    async def get_series(self, request: web.Request) -> web.Response:
        ticker = request.match_info["series_ticker"]
        catalogue = self._site.exchange.catalogue
        for category in catalogue.categories():
            if series_of(category) == ticker:
                return reply({"series": _series(catalogue, category)})
        raise OrderRejected("not_found", f"there is no series {ticker}")

    async def list_events(self, request: web.Request) -> web.Response:
        site, query = self._site, Query(request)
        exchange = site.exchange
        start, limit = query.page(default=EVENTS_MAX, most=EVENTS_MAX)
        wanted = query.choice("status", _STATUSES)
        series, named, nested = (
            query.text("series_ticker"),
            query.words("tickers", 1_000),
            query.flag("with_nested_markets"),
        )
        catalogue = exchange.catalogue
        tickers, place = catalogue.events(), start
        rows: list[Json] = []
        while place < len(tickers) and len(rows) < limit:
            ticker = tickers[place]
            place += 1
            questions = catalogue.event(ticker)
            if (named and ticker not in named) or (series and series_of(questions[0].category) != series):
                continue
            if wanted and not any(_has_status(exchange, question, wanted) for question in questions):
                continue
            rows.append(await _event(site, ticker, nested=nested))
        return reply(
            {"events": rows, "cursor": cursor(place if place < len(tickers) else None), "milestones": []}
        )

    async def get_event(self, request: web.Request) -> web.Response:
        site, query = self._site, Query(request)
        ticker = request.match_info["event_ticker"]
        if not site.exchange.catalogue.event(ticker):
            raise OrderRejected("not_found", f"there is no event {ticker}")
        nested = query.flag("with_nested_markets")
        event = await _event(site, ticker, nested=nested)
        apart = not nested and not query.flag("exclude_markets")
        return reply({"event": event, "markets": await _markets(site, ticker) if apart else []})

    async def list_markets(self, request: web.Request) -> web.Response:
        """Markets in the order of their tickers. ``status`` filters use other words than the field."""
        site, query = self._site, Query(request)
        exchange, catalogue = site.exchange, site.exchange.catalogue
        start, limit = query.page()
        wanted = query.choice("status", _STATUSES)
        event, series, named = (
            query.text("event_ticker"),
            query.text("series_ticker"),
            query.words("tickers", 1_000),
        )
        close_after, close_before = query.time_us("min_close_ts"), query.time_us("max_close_ts")
        places: Sequence[int] = catalogue.places_of(event) if event else range(len(catalogue))
        if named:
            places = sorted(place for ticker in named if (place := catalogue.place(ticker)) is not None)
        rows: list[Question] = []
        after: int | None = None
        for place in places[start:]:
            question = catalogue.question(place)
            start += 1
            if (event and question.event_ticker != event) or (
                series and series_of(question.category) != series
            ):
                continue
            listing = catalogue.listing(question.ticker) if close_after or close_before else None
            if listing is not None and not (close_after or 0) <= listing.close_us <= (
                close_before or listing.close_us
            ):
                continue
            if wanted and not _has_status(exchange, question, wanted, place):
                continue
            rows.append(question)
            if len(rows) == limit:
                after = start if start < len(places) else None
                break
        return reply({"markets": await _shaped(site, rows), "cursor": cursor(after)})

    async def get_market(self, request: web.Request) -> web.Response:
        site = self._site
        question = _question(site, request.match_info["ticker"])
        return reply({"market": market_shape(site.exchange, question, legacy=site.settings.legacy_fields)})

    async def orderbook(self, request: web.Request) -> web.Response:
        site, ticker = self._site, request.match_info["ticker"]
        depth = Query(request).number("depth", 0, low=-1, high=100)
        _question(site, ticker)
        await _slow(site, ticker)
        return reply({"orderbook_fp": _book(site, ticker, max(depth, 0))})

    async def orderbooks(self, request: web.Request) -> web.Response:
        site, tickers = self._site, Query(request).words("tickers", BOOKS_MAX)
        if not tickers:
            raise OrderRejected("bad_request", "tickers is required")
        for ticker in tickers:
            _question(site, ticker)
        await _slow(site, tickers[0])
        return reply(
            {"orderbooks": [{"ticker": ticker, "orderbook_fp": _book(site, ticker, 0)} for ticker in tickers]}
        )

    async def trades(self, request: web.Request) -> web.Response:
        site, query = self._site, Query(request)
        start, limit = query.page()
        ticker, after, before = query.text("ticker"), query.time_us("min_ts"), query.time_us("max_ts")
        blocks_only = query.text("is_block_trade").lower() == "true"
        rows = [
            trade
            for trade in site.exchange.engine.state.tape
            if (not ticker or trade.ticker == ticker)
            and (after is None or trade.at_us >= after)
            and (before is None or trade.at_us <= before)
            and not blocks_only
        ]
        page, then = newest(rows, start, limit, lambda trade: trade.number)
        return reply({"trades": [trade_shape(trade) for trade in page], "cursor": then})

    async def market_candles(self, request: web.Request) -> web.Response:
        site, ticker = self._site, request.match_info["ticker"]
        question = _question(site, ticker)
        if request.match_info["series_ticker"] != series_of(question.category):
            raise OrderRejected("not_found", "the market is of another series")
        return reply(
            {"ticker": ticker, "candlesticks": await candles(site.exchange, question, Query(request), 1)}
        )

    async def batch_candles(self, request: web.Request) -> web.Response:
        site, query = self._site, Query(request)
        tickers = query.words("market_tickers", BOOKS_MAX)
        if not tickers:
            raise OrderRejected("bad_request", "market_tickers is required")
        rows = [
            {
                "market_ticker": ticker,
                "candlesticks": await candles(site.exchange, _question(site, ticker), query, len(tickers)),
            }
            for ticker in tickers
        ]
        return reply({"markets": rows})


def _series(catalogue: Catalogue, category: str) -> Json:
    first = next(
        catalogue.question(place)
        for place in range(len(catalogue))
        if catalogue.question(place).category == category
    )
    listing = catalogue.listing(first.ticker)
    assert listing is not None  # noqa: S101 (the question is of this catalogue)
    return series_shape(catalogue, category, listing)


async def _event(site: Site, ticker: str, *, nested: bool) -> Json:
    event = event_shape(site.exchange.catalogue, ticker)
    if nested:
        event["markets"] = await _markets(site, ticker)
    return event


async def _markets(site: Site, event_ticker: str) -> list[Json]:
    return await _shaped(site, site.exchange.catalogue.event(event_ticker))


async def _shaped(site: Site, questions: list[Question]) -> list[Json]:
    shapes: list[Json] = []
    for place, question in enumerate(questions):
        if place % _PAGE_TURN == _PAGE_TURN - 1:
            await asyncio.sleep(0)
        shapes.append(market_shape(site.exchange, question, legacy=site.settings.legacy_fields))
    return shapes


def _has_status(
    exchange: EmbeddedExchange, question: Question, wanted: str, place: int | None = None
) -> bool:
    """Whether a market is in a list's sense; ``open`` lags half a minute behind."""
    known = exchange.engine.state.markets.get(question.ticker)
    now_us = exchange.now_us()
    if known is None:
        catalogue = exchange.catalogue
        place = catalogue.place(question.ticker) if place is None else place
        opens, ends = catalogue.opens[place or 0], catalogue.ends[place or 0]
        settled = now_us >= ends + DETERMINATION_US + SETTLEMENT_US
        stage = Stage.INITIALIZED if now_us < opens else Stage.ACTIVE if now_us < ends else Stage.CLOSED
        stage = Stage.FINALIZED if settled else stage
        end_us = ends
    else:
        stage, end_us = known.stage, known.end_us
    match wanted:
        case "unopened":
            return stage is Stage.INITIALIZED
        case "open":
            return stage is Stage.ACTIVE or (stage is Stage.CLOSED and now_us < end_us + OPEN_FILTER_LAG_US)
        case "paused":
            return stage is Stage.INACTIVE
        case "closed":
            return stage in {Stage.CLOSED, Stage.DETERMINED}
        case _:
            return stage is Stage.FINALIZED


def _question(site: Site, ticker: str) -> Question:
    question = site.exchange.catalogue.find(ticker)
    if question is None:
        raise OrderRejected("market_not_found", f"there is no market {ticker[:64]}")
    return question


def _book(site: Site, ticker: str, depth: int) -> Json:
    yes, no = site.exchange.depth(ticker)
    return {"yes_dollars": ladder_shape(yes, depth), "no_dollars": ladder_shape(no, depth)}


async def _slow(site: Site, ticker: str) -> None:
    spec = site.faults.strikes(Fault.SLOW_BOOK, ticker)
    if spec is not None:
        await asyncio.sleep(spec.number(5.0))
