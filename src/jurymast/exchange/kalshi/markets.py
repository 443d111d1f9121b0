"""Markets, books, events and the exchange's own state, as Kalshi sends them.

Kalshi has two vocabularies: the *field* ``status`` of a market (initialized, active, ...) and the *filter*
``status`` of a list (unopened, open, ...). They are two types here. A filter word of the wrong kind is
answered with HTTP 400, and ``open`` lags about 30 s behind a close.

Books hold bids only, on both sides, in ascending order with the best level last; the specification says
best first. Nothing here depends on the order: levels are sorted. A bid for NO at q is an offer of YES at
1 - q.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

from jurymast.domain.errors import SchemaDrift
from jurymast.domain.market import Book, Level, Market, MarketSnapshot, MarketStatus, Side
from jurymast.domain.money import PAYOUT, Centi, Micros
from jurymast.exchange.kalshi import fields
from jurymast.exchange.kalshi.reading import Drift, Record, each_readable
from jurymast.exchange.kalshi.units import PriceGrid, PriceRange, centi, micros

LEVELS_MAX: Final = 10_000
_MILLION: Final = 1_000_000


class MarketFilter(StrEnum):
    """Words of the list filter; not those of the field."""

    UNOPENED = "unopened"
    OPEN = "open"
    PAUSED = "paused"
    CLOSED = "closed"
    SETTLED = "settled"


class Lifecycle(StrEnum):
    """Words of a market's ``status`` field."""

    INITIALIZED = "initialized"
    INACTIVE = "inactive"
    ACTIVE = "active"
    CLOSED = "closed"
    DETERMINED = "determined"
    DISPUTED = "disputed"
    AMENDED = "amended"
    FINALIZED = "finalized"

    @property
    def status(self) -> MarketStatus:
        """In the domain's words: what is determined, disputed or amended has closed and is not final."""
        return _STATUS[self]


_STATUS: Final = {
    Lifecycle.INITIALIZED: MarketStatus.INITIALIZED,
    Lifecycle.INACTIVE: MarketStatus.INACTIVE,
    Lifecycle.ACTIVE: MarketStatus.ACTIVE,
    Lifecycle.CLOSED: MarketStatus.CLOSED,
    Lifecycle.DETERMINED: MarketStatus.CLOSED,
    Lifecycle.DISPUTED: MarketStatus.CLOSED,
    Lifecycle.AMENDED: MarketStatus.CLOSED,
    Lifecycle.FINALIZED: MarketStatus.FINALIZED,
}


@dataclass(frozen=True, slots=True)
class KalshiMarket:
    """What the bot needs of a market. ``shard`` is where its orders and their collateral live.

    ``top`` is the book's best level on each side, from the market's own fields.
    """

    ticker: str
    event_ticker: str
    shard: int | None
    status: Lifecycle
    title: str
    rules: str
    open_time: datetime
    close_time: datetime
    grid: PriceGrid
    top: Book
    volume_24h: Centi
    result: Side | None
    fee_waiver_until: datetime | None

    def snapshot(self, book: Book, as_of: datetime, category: str = "") -> MarketSnapshot:
        """The market in the domain's words. ``result`` is told once it is final."""
        final = self.status is Lifecycle.FINALIZED
        return MarketSnapshot(
            market=Market(
                ticker=self.ticker,
                event_ticker=self.event_ticker,
                category=category,
                title=self.title,
                rules=self.rules,
                open_time=self.open_time,
                close_time=self.close_time,
            ),
            status=self.status.status,
            book=book,
            volume_24h=self.volume_24h,
            as_of=as_of,
            result=self.result if final else None,
        )


@dataclass(frozen=True, slots=True)
class FeeTerms:
    """How a series or an event is charged. ``multiplier`` in millionths."""

    fee_type: str
    multiplier_millionths: int


@dataclass(frozen=True, slots=True)
class KalshiEvent:
    """An event with the markets below it that could be read."""

    event_ticker: str
    series_ticker: str
    category: str
    markets: tuple[KalshiMarket, ...]
    fee_override: FeeTerms | None


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """One shard: whether it takes anything at all, and whether it trades."""

    shard: int
    active: bool
    trading: bool


@dataclass(frozen=True, slots=True)
class ExchangeStatus:
    """Not ``active`` takes nothing, not even cancels; not ``trading`` takes cancels only."""

    active: bool
    trading: bool
    resumes_at: datetime | None
    shards: tuple[ShardStatus, ...]


@dataclass(frozen=True, slots=True)
class PublicTrade:
    """One execution between strangers. ``price`` is that of YES."""

    trade_id: str
    ticker: str
    price: Micros
    count: Centi
    taker_bought: Side
    at: datetime


@dataclass(frozen=True, slots=True)
class Candle:
    """One period. Bids and offers at its end; ``trade_close`` is None when nothing traded."""

    ends_at: datetime
    bid_close: Micros
    ask_close: Micros
    trade_close: Micros | None
    volume: Centi


def read_market(record: Record, drift: Drift) -> KalshiMarket:
    """Raises SchemaDrift when prices, times, status or the grid can't be read."""
    drift.extras(record.operation, record.fields, fields.MARKET)
    return KalshiMarket(
        ticker=record.text("ticker"),
        event_ticker=record.text("event_ticker"),
        shard=record.whole("exchange_index") if record.has("exchange_index") else None,
        status=record.word("status", Lifecycle),
        title=_title(record),
        rules="\n\n".join(
            filter(None, (record.text("rules_primary"), record.text_or("rules_secondary", "")))
        ),
        open_time=record.time("open_time"),
        close_time=record.time("close_time"),
        grid=read_grid(record),
        top=_top(record),
        volume_24h=record.size("volume_24h_fp"),
        result=_result(record),
        fee_waiver_until=_time_or_none(record, "fee_waiver_expiration_time"),
    )


def read_grid(record: Record) -> PriceGrid:
    """The tick sizes of a market. Raises SchemaDrift."""
    ranges = (Record(record.operation, each) for each in record.items("price_ranges"))
    try:
        return _grid(tuple((each.text("start"), each.text("end"), each.text("step")) for each in ranges))
    except ValueError as error:
        raise SchemaDrift(f"{record.operation}: price_ranges: {error}") from None


@lru_cache(maxsize=256)
def _grid(ranges: tuple[tuple[str, str, str], ...]) -> PriceGrid:
    """Markets share a dozen grids."""
    return PriceGrid.of(PriceRange(micros(start), micros(end), micros(step)) for start, end, step in ranges)


def read_event(record: Record, drift: Drift) -> KalshiEvent:
    """An event with its nested markets. A market that can't be read is left out and counted."""
    drift.extras(record.operation, record.fields, fields.EVENT)
    nested = record.items("markets") if record.has("markets") else []
    return KalshiEvent(
        event_ticker=record.text("event_ticker"),
        series_ticker=record.text("series_ticker"),
        category=record.text_or("category", ""),
        markets=tuple(each_readable(f"{record.operation}.markets", nested, read_market, drift)),
        fee_override=_override(record),
    )


def read_series_fee(record: Record) -> FeeTerms:
    """What trading in a series costs. Raises SchemaDrift: a fee is not guessed."""
    return FeeTerms(record.text("fee_type"), _millionths(record, "fee_multiplier"))


def read_book(record: Record) -> Book:
    """A book from its envelope ``orderbook_fp``; another key would give an empty book, not an error."""
    inner = record.record("orderbook_fp")
    return book_of(
        levels(inner.operation, inner.items("yes_dollars")),
        levels(inner.operation, inner.items("no_dollars")),
    )


def levels(operation: str, pairs: list[Any]) -> dict[Micros, Centi]:
    """Bids of one side by price. Raises SchemaDrift for a level that is no positive size at a price."""
    if len(pairs) > LEVELS_MAX:
        raise SchemaDrift(f"{operation}: a book side of {len(pairs)} levels")
    found: dict[Micros, Centi] = {}
    for pair in pairs:
        try:
            price_text, count_text = pair
            price, count = micros(price_text), centi(count_text)
        except (TypeError, ValueError):
            raise SchemaDrift(f"{operation}: {repr(pair)[:60]} is no price level") from None
        if not 0 < price < PAYOUT or count <= 0 or price in found:
            raise SchemaDrift(f"{operation}: {repr(pair)[:60]} is no price level")
        found[price] = count
    return found


def book_of(yes_bids: dict[Micros, Centi], no_bids: dict[Micros, Centi]) -> Book:
    """Both ladders of the YES contract, best first, from the bids of both sides."""
    return Book(
        bids=tuple(Level(price, yes_bids[price]) for price in sorted(yes_bids, reverse=True)),
        asks=tuple(Level(PAYOUT - price, no_bids[price]) for price in sorted(no_bids, reverse=True)),
    )


def read_status(record: Record) -> ExchangeStatus:
    """Raises SchemaDrift."""
    shards = record.items("exchange_index_statuses") if record.has("exchange_index_statuses") else []
    return ExchangeStatus(
        active=record.flag("exchange_active"),
        trading=record.flag("trading_active"),
        resumes_at=_time_or_none(record, "exchange_estimated_resume_time"),
        shards=tuple(_shard(Record(record.operation, each)) for each in shards),
    )


def read_maintenance(record: Record) -> tuple[tuple[datetime, datetime], ...]:
    """Announced windows as start and end, in UTC."""
    windows = (
        Record(record.operation, each) for each in record.record("schedule").items("maintenance_windows")
    )
    return tuple((each.time("start_datetime"), each.time("end_datetime")) for each in windows)


def read_named_book(record: Record, _: Drift) -> tuple[str, Book]:
    """One of several books, with its ticker. Raises SchemaDrift."""
    return record.text("ticker"), read_book(record)


def read_trade(record: Record, drift: Drift) -> PublicTrade:
    """Raises SchemaDrift."""
    drift.extras(record.operation, record.fields, fields.TRADE)
    return PublicTrade(
        trade_id=record.text("trade_id"),
        ticker=record.text("ticker"),
        price=record.dollars("yes_price_dollars"),
        count=record.size("count_fp"),
        taker_bought=record.word("taker_outcome_side", Side),
        at=record.time("created_time"),
    )


def read_candle(record: Record, _: Drift) -> Candle:
    """Raises SchemaDrift."""
    price = record.record("price")
    return Candle(
        ends_at=Record(record.operation, {"ms": record.whole("end_period_ts") * 1000}).time_ms("ms"),
        bid_close=record.record("yes_bid").dollars("close_dollars"),
        ask_close=record.record("yes_ask").dollars("close_dollars"),
        trade_close=price.dollars("close_dollars") if price.has("close_dollars") else None,
        volume=record.size("volume_fp"),
    )


def _shard(record: Record) -> ShardStatus:
    return ShardStatus(
        record.whole("exchange_index"), record.flag("exchange_active"), record.flag("trading_active")
    )


def _title(record: Record) -> str:
    """Markets of one event share their title; the sub-title tells them apart."""
    title, sub_title = record.text_or("title", ""), record.text_or("yes_sub_title", "")
    if sub_title and sub_title not in title:
        return f"{title} ({sub_title})" if title else sub_title
    return title or record.text("ticker")


def _top(record: Record) -> Book:
    """The best level of each side. $0 bid and $1 asked stand for an empty side."""
    return Book(
        bids=_best(record, "yes_bid_dollars", "yes_bid_size_fp"),
        asks=_best(record, "yes_ask_dollars", "yes_ask_size_fp"),
    )


def _best(record: Record, price_name: str, size_name: str) -> tuple[Level, ...]:
    price, size = record.dollars(price_name), record.size(size_name)
    return (Level(price, size),) if 0 < price < PAYOUT and size else ()


def _result(record: Record) -> Side | None:
    """YES, NO, or None: not resolved, or resolved to a value in between (``scalar``)."""
    word = record.text_or("result", "")
    return Side(word) if word in {Side.YES, Side.NO} else None


def _override(record: Record) -> FeeTerms | None:
    if not record.has("fee_type_override"):
        return None
    return FeeTerms(record.text("fee_type_override"), _millionths(record, "fee_multiplier_override"))


def _millionths(record: Record, name: str) -> int:
    value = record.decimal(name) * _MILLION
    if not value.is_finite() or value != value.to_integral_value() or not 0 <= value <= 1000 * _MILLION:
        raise SchemaDrift(f"{record.operation}: the field {name} holds no usable multiplier")
    return int(value)


def _time_or_none(record: Record, name: str) -> datetime | None:
    return record.time(name) if record.has(name) else None
