"""What is ours at Kalshi: orders, fills, positions, settlements, balance, limits.

Direction is read from ``book_side``: ``bid`` is buying YES, ``ask`` is selling YES, which is buying NO at
1 - price. The legacy ``side`` and ``action`` report sells on the opposite side and are never looked at.
The wire therefore can't tell selling YES from buying NO; in the domain's words both are a BUY here, and
who knows the intent re-expresses it with :func:`expressed`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from jurymast.domain.errors import SchemaDrift
from jurymast.domain.market import Side
from jurymast.domain.money import CENT, PAYOUT, Centi, Micros
from jurymast.domain.order import Action, Fill, Order, OrderStatus, Position, Settlement
from jurymast.exchange.kalshi import fields
from jurymast.exchange.kalshi.reading import Drift, Record


class BookSide(StrEnum):
    """Side of the one book a market has, seen from YES."""

    BID = "bid"
    ASK = "ask"

    @property
    def outcome(self) -> Side:
        """The contract whose holder this makes us."""
        return Side.YES if self is BookSide.BID else Side.NO


class MarketResult(StrEnum):
    """How a market paid. A ``scalar`` one paid both sides a part."""

    YES = "yes"
    NO = "no"
    SCALAR = "scalar"


class UpdateReason(StrEnum):
    """Why an order changed last, as the ``user_orders`` channel says."""

    DECREASE = "Decrease"
    AMEND = "Amend"
    MARGIN_CANCEL = "MarginCancel"
    SELF_TRADE_CANCEL = "SelfTradeCancel"
    EXPIRY_CANCEL = "ExpiryCancel"
    CLOSE_CANCEL = "CloseCancel"
    HALT_CANCEL = "HaltCancel"
    TRADE = "Trade"
    POST_ONLY_CROSS_CANCEL = "PostOnlyCrossCancel"
    REDUCE_ONLY_CANCEL = "ReduceOnlyCancel"
    SETTLEMENT_BOUNDS_CANCEL = "SettlementBoundsCancel"


_STATUS: Final = {
    "resting": OrderStatus.RESTING,
    "canceled": OrderStatus.CANCELED,
    "executed": OrderStatus.EXECUTED,
}


@dataclass(frozen=True, slots=True)
class KalshiOrder:
    """An order as the wire has it. ``yes_price`` is that of YES whatever was bought.

    ``status`` is None for a word nobody here knows: such an order may be open. ``reason`` comes with
    the ``user_orders`` channel only.
    """

    order_id: str
    client_order_id: str
    ticker: str
    book_side: BookSide
    yes_price: Micros
    initial: Centi
    filled: Centi
    remaining: Centi
    status: OrderStatus | None
    created_at: datetime
    expires_at: datetime | None
    order_group_id: str
    reason: UpdateReason | None = None

    @property
    def order(self) -> Order:
        """In the domain's words, as a BUY. Raises SchemaDrift when the status is not known."""
        if self.status is None:
            raise SchemaDrift(
                f"order {self.order_id} has a status nobody here knows; it may be open. Look at it on Kalshi."
            )
        side = self.book_side.outcome
        resting = self.status is OrderStatus.RESTING
        return Order(
            order_id=self.order_id,
            client_order_id=self.client_order_id,
            ticker=self.ticker,
            side=side,
            action=Action.BUY,
            limit_price=_price_of(side, self.yes_price),
            # Decreases and amendments change what can still fill, not the initial count.
            count=self.filled + self.remaining if resting else self.initial,
            filled=self.filled,
            status=self.status,
            created_at=self.created_at,
            expires_at=self.expires_at,
        )


@dataclass(frozen=True, slots=True)
class KalshiFill:
    """One execution of ours. ``position_after`` comes with the ``fill`` channel only and is authoritative."""

    fill_id: str
    order_id: str
    client_order_id: str
    ticker: str
    book_side: BookSide
    yes_price: Micros
    count: Centi
    fee: Micros
    taker: bool
    at: datetime
    position_after: Centi | None = None

    def price_of(self, side: Side) -> Micros:
        """The price in the terms of a side."""
        return _price_of(side, self.yes_price)

    def fill(self, client_order_id: str = "") -> Fill:
        """In the domain's words, as a BUY. Lists of fills don't tell the client order id; the caller may."""
        side = self.book_side.outcome
        return Fill(
            fill_id=self.fill_id,
            order_id=self.order_id,
            client_order_id=self.client_order_id or client_order_id,
            ticker=self.ticker,
            side=side,
            action=Action.BUY,
            price=self.price_of(side),
            count=self.count,
            fee=self.fee,
            at=self.at,
        )


@dataclass(frozen=True, slots=True)
class KalshiPosition:
    """Holdings in one market. ``count`` is signed: +YES, -NO."""

    ticker: str
    count: Centi
    exposure: Micros
    fees_paid: Micros

    def position(self, event_ticker: str) -> Position:
        """In the domain's words. The cost counts all fees ever paid here: at most what the holding cost."""
        return Position(self.ticker, event_ticker, self.count, self.exposure + self.fees_paid)


@dataclass(frozen=True, slots=True)
class KalshiSettlement:
    """A payout. ``value`` is what one YES contract paid, None when not told."""

    ticker: str
    event_ticker: str
    result: MarketResult
    count: Centi
    revenue: Micros
    value: Micros | None
    at: datetime

    @property
    def settlement(self) -> Settlement:
        """In the domain's words. A scalar market has no winner there: the side that was paid more is named,
        and what counts is the revenue. Raises SchemaDrift for a scalar one that doesn't say what it paid."""
        return Settlement(self.ticker, self._winner(), self.count, self.revenue, self.at)

    def _winner(self) -> Side:
        if self.result is not MarketResult.SCALAR:
            return Side(self.result)
        if self.value is None:
            raise SchemaDrift(f"settlement of {self.ticker}: scalar without the field value")
        return Side.YES if 2 * self.value >= PAYOUT else Side.NO


@dataclass(frozen=True, slots=True)
class KalshiBalance:
    """Cash and the value of what is held, in micro-dollars. ``by_shard`` is empty for restricted keys."""

    cash: Micros
    portfolio_value: Micros
    by_shard: tuple[tuple[int, Micros], ...]


@dataclass(frozen=True, slots=True)
class OrderGroup:
    """A breaker at the exchange: more than ``limit`` in 15 s cancels its orders until reset."""

    group_id: str
    limit: Centi | None


def read_order(record: Record, drift: Drift) -> KalshiOrder:
    """From a list, a single read or the ``user_orders`` channel. Raises SchemaDrift."""
    drift.extras(record.operation, record.fields, fields.ORDER)
    status = _STATUS.get(record.text("status"))
    if status is None:
        word = record.text("status")
        drift.saw(record.operation, "status", f"nobody here knows {word[:40]!r}; such an order may be open")
    return KalshiOrder(
        order_id=record.text("order_id"),
        client_order_id=record.text_or("client_order_id", ""),
        ticker=record.text("ticker"),
        book_side=_book_side(record),
        yes_price=_yes_price(record),
        initial=record.size("initial_count_fp"),
        filled=record.size("fill_count_fp"),
        remaining=record.size("remaining_count_fp"),
        status=status,
        created_at=_first_time(record, "created_time", "created_ts_ms", "last_update_time"),
        expires_at=_time_or_none(record, "expiration_time", "expiration_ts_ms"),
        order_group_id=record.text_or("order_group_id", ""),
        reason=_reason(record, drift),
    )


def read_fill(record: Record, drift: Drift) -> KalshiFill:
    """From a list or the ``fill`` channel, whose ``trade_id`` is the fill's id. Raises SchemaDrift."""
    drift.extras(record.operation, record.fields, fields.FILL)
    count = record.size("count_fp")
    if count == 0:
        raise SchemaDrift(f"{record.operation}: the field count_fp holds nothing")
    return KalshiFill(
        fill_id=record.text("fill_id" if record.has("fill_id") else "trade_id"),
        order_id=record.text("order_id"),
        client_order_id=record.text_or("client_order_id", ""),
        ticker=record.text("ticker" if record.has("ticker") else "market_ticker"),
        book_side=_book_side(record),
        yes_price=_yes_price(record),
        count=count,
        fee=record.dollars("fee_cost"),
        taker=record.flag("is_taker"),
        at=_first_time(record, "ts_ms", "created_time"),
        position_after=record.count("post_position_fp") if record.has("post_position_fp") else None,
    )


def read_position(record: Record, drift: Drift) -> KalshiPosition:
    """Raises SchemaDrift."""
    drift.extras(record.operation, record.fields, fields.POSITION)
    return KalshiPosition(
        ticker=record.text("ticker"),
        count=record.count("position_fp"),
        exposure=record.dollars("market_exposure_dollars"),
        fees_paid=record.dollars("fees_paid_dollars"),
    )


def read_settlement(record: Record, drift: Drift) -> KalshiSettlement:
    """Raises SchemaDrift."""
    drift.extras(record.operation, record.fields, fields.SETTLEMENT)
    return KalshiSettlement(
        ticker=record.text("ticker"),
        event_ticker=record.text("event_ticker"),
        result=record.word("market_result", MarketResult),
        count=record.size("yes_count_fp") - record.size("no_count_fp"),
        revenue=record.cents("revenue"),
        value=record.cents("value") if record.has("value") else None,
        at=record.time("settled_time"),
    )


def read_balance(record: Record) -> KalshiBalance:
    """The balance is in cents; the exact one in dollars, where it is sent, must agree with it."""
    cash = record.cents("balance")
    if record.has("balance_dollars"):
        exact = record.dollars("balance_dollars")
        if abs(exact - cash) > CENT:
            raise SchemaDrift(f"{record.operation}: balance and balance_dollars contradict each other")
        cash = exact
    shards = record.items("balance_breakdown") if record.has("balance_breakdown") else []
    by_shard = (Record(record.operation, each) for each in shards)
    return KalshiBalance(
        cash=cash,
        portfolio_value=record.cents("portfolio_value"),
        by_shard=tuple((each.whole("exchange_index"), each.dollars("balance")) for each in by_shard),
    )


def read_group(record: Record, _: Drift) -> OrderGroup:
    """Raises SchemaDrift."""
    limit = record.size("contracts_limit_fp") if record.has("contracts_limit_fp") else None
    return OrderGroup(record.text("id"), limit)


def expressed(order: Order, side: Side, action: Action) -> Order:
    """The same order in the terms of its intent: selling YES at p is buying NO at 1 - p."""
    if (order.side is side) == (order.action is action):
        price = order.limit_price if order.side is side else PAYOUT - order.limit_price
        return replace(order, side=side, action=action, limit_price=price)
    raise SchemaDrift(
        f"order {order.client_order_id} was to {action} {side} and stands at Kalshi as its opposite; "
        "do not trade this market before somebody has looked"
    )


def book_side(side: Side, action: Action) -> BookSide:
    """Buying YES and selling NO are bids; buying NO and selling YES are asks."""
    return BookSide.BID if (side is Side.YES) == (action is Action.BUY) else BookSide.ASK


def yes_price(side: Side, price: Micros) -> Micros:
    """A price in the terms of ``side`` as the price of YES."""
    return _price_of(side, price)


def _price_of(side: Side, yes: Micros) -> Micros:
    return yes if side is Side.YES else PAYOUT - yes


def _book_side(record: Record) -> BookSide:
    side = record.word("book_side", BookSide)
    if record.has("outcome_side") and record.word("outcome_side", Side) is not side.outcome:
        raise SchemaDrift(f"{record.operation}: book_side and outcome_side contradict each other")
    return side


def _yes_price(record: Record) -> Micros:
    price = record.dollars("yes_price_dollars")
    if not 0 <= price <= PAYOUT:
        raise SchemaDrift(f"{record.operation}: the field yes_price_dollars holds no price: {price}")
    if record.has("no_price_dollars") and record.dollars("no_price_dollars") != PAYOUT - price:
        raise SchemaDrift(f"{record.operation}: yes_price_dollars and no_price_dollars are not $1 together")
    return price


def _reason(record: Record, drift: Drift) -> UpdateReason | None:
    word = record.text_or("last_update_reason", "")
    if not word:
        return None
    try:
        return UpdateReason(word)
    except ValueError:
        unknown = f"nobody here knows {word[:40]!r}; nothing depends on it"
        drift.saw(record.operation, "last_update_reason", unknown, harmless=True)
        return None


def _first_time(record: Record, *names: str) -> datetime:
    """The first of several fields that is there; SchemaDrift names the last when none is."""
    name = next((each for each in names if record.has(each)), names[-1])
    return record.time_ms(name) if name.endswith("_ms") else record.time(name)


def _time_or_none(record: Record, *names: str) -> datetime | None:
    return _first_time(record, *names) if any(map(record.has, names)) else None
