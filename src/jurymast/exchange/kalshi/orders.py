"""What is sent about orders (V2), and what comes back.

Every price is that of YES. There are no market orders: an immediate-or-cancel order with a limit takes
their place. ``reduce_only`` is refused unless immediate-or-cancel, an expiry unless good-till-canceled;
both are refused here already, before the id of the order is used up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from jurymast.domain.errors import SchemaDrift
from jurymast.domain.money import PAYOUT, Centi, Micros
from jurymast.domain.order import TimeInForce
from jurymast.exchange.kalshi.account import BookSide
from jurymast.exchange.kalshi.reading import Record
from jurymast.exchange.kalshi.refusals import Refusal
from jurymast.exchange.kalshi.units import count_text, dollars_text

CLIENT_ORDER_ID: Final = re.compile(r"[A-Za-z0-9_\-:+=/]{1,64}")
"""A dot is answered with HTTP 400."""


class SelfTrade(StrEnum):
    """What happens when our order would meet another of ours: the new one or the resting one goes."""

    TAKER_AT_CROSS = "taker_at_cross"
    MAKER = "maker"


@dataclass(frozen=True, slots=True)
class NewOrder:
    """An order to create, with every field of the API but the subaccount, which is the client's.

    ``shard`` None lets Kalshi route by ticker.

    Raises ValueError for combinations that Kalshi refuses.
    """

    ticker: str
    side: BookSide
    yes_price: Micros
    count: Centi
    time_in_force: TimeInForce
    client_order_id: str
    self_trade: SelfTrade = SelfTrade.TAKER_AT_CROSS
    expires_at: datetime | None = None
    post_only: bool = False
    reduce_only: bool = False
    cancel_on_pause: bool = True
    group_id: str | None = None
    shard: int | None = None

    def __post_init__(self) -> None:
        rests = self.time_in_force is TimeInForce.GOOD_TILL_CANCELED
        if not CLIENT_ORDER_ID.fullmatch(self.client_order_id):
            raise ValueError(f"client_order_id {self.client_order_id!r}: 1 to 64 of letters, digits, _-:+=/")
        if not 0 < self.yes_price < PAYOUT or self.count <= 0:
            raise ValueError("a price lies strictly between $0 and $1 and a count above nothing")
        if self.reduce_only and self.time_in_force is not TimeInForce.IMMEDIATE_OR_CANCEL:
            raise ValueError("Kalshi takes reduce_only with immediate_or_cancel only")
        if not rests and (self.expires_at is not None or self.post_only):
            raise ValueError("only an order that may rest expires or is post-only")

    def body(self) -> dict[str, Any]:
        """The request. Raises ValueError for a price that needs more than four decimals."""
        optional = {
            "expiration_time": None if self.expires_at is None else unix_secs(self.expires_at),
            "order_group_id": self.group_id,
            "exchange_index": self.shard,
        }
        return {
            "ticker": self.ticker,
            "client_order_id": self.client_order_id,
            "side": self.side.value,
            "count": count_text(self.count),
            "price": dollars_text(self.yes_price),
            "time_in_force": self.time_in_force.value,
            "self_trade_prevention_type": self.self_trade.value,
            "post_only": self.post_only,
            "reduce_only": self.reduce_only,
            "cancel_order_on_pause": self.cancel_on_pause,
            **{name: value for name, value in optional.items() if value is not None},
        }


@dataclass(frozen=True, slots=True)
class Amendment:
    """A change of a resting order. ``count`` is what has filled plus what shall rest.

    A later expiry alone, or less size, keeps the place in the queue; price and count are sent all the same.
    """

    order_id: str
    ticker: str
    side: BookSide
    yes_price: Micros
    count: Centi
    expires_at: datetime | None = None

    def body(self) -> dict[str, Any]:
        changed: dict[str, Any] = {
            "ticker": self.ticker,
            "side": self.side.value,
            "price": dollars_text(self.yes_price),
            "count": count_text(self.count),
        }
        if self.expires_at is not None:
            changed["expiration_time"] = unix_secs(self.expires_at)
        return changed


@dataclass(frozen=True, slots=True)
class Placed:
    """What became of a new order at once. ``average_fee`` is per contract, for these fills."""

    order_id: str
    filled: Centi
    remaining: Centi
    average_price: Micros | None
    average_fee: Micros | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Changed:
    """What became of an amendment or a decrease; counts are None where nothing changed."""

    order_id: str
    filled: Centi | None
    remaining: Centi | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Cancelled:
    """How much of an order was taken back."""

    order_id: str
    reduced_by: Centi
    at: datetime


def read_placed(record: Record) -> Placed:
    """From a create, alone or in a batch. Raises SchemaDrift."""
    return Placed(
        order_id=record.text("order_id"),
        filled=record.size("fill_count"),
        remaining=record.size("remaining_count"),
        average_price=_dollars_or_none(record, "average_fill_price"),
        average_fee=_dollars_or_none(record, "average_fee_paid"),
        at=record.time_ms("ts_ms"),
    )


def read_changed(record: Record) -> Changed:
    """From an amend or a decrease. Raises SchemaDrift."""
    return Changed(
        order_id=record.text("order_id"),
        filled=record.size("fill_count") if record.has("fill_count") else None,
        remaining=record.size("remaining_count") if record.has("remaining_count") else None,
        at=record.time_ms("ts_ms"),
    )


def read_cancelled(record: Record) -> Cancelled:
    """From a cancel, alone or in a batch. Raises SchemaDrift."""
    return Cancelled(record.text("order_id"), record.size("reduced_by"), record.time_ms("ts_ms"))


def read_item_refusal(record: Record) -> Refusal | None:
    """The error of one item of a batch. Raises SchemaDrift for one without a code."""
    if not record.has("error"):
        return None
    error = record.record("error")
    return Refusal(error.text("code"), error.text_or("message", ""))


def check_whole(intended: Centi, placed: Placed) -> None:
    """Raises SchemaDrift when more is reported than was ordered."""
    if placed.filled + placed.remaining > intended:
        raise SchemaDrift(
            f"order {placed.order_id}: {placed.filled} filled and {placed.remaining} left of {intended}"
        )


def unix_secs(moment: datetime) -> int:
    """Whole seconds since 1970, rounded down: an order never lives longer than was meant."""
    return int(moment.astimezone(UTC).timestamp() // 1)


def _dollars_or_none(record: Record, name: str) -> Micros | None:
    return record.dollars(name) if record.has(name) else None
