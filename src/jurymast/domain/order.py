"""Intents, orders, fills, positions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from jurymast.domain.market import Side
from jurymast.domain.money import PAYOUT, Centi, Micros


class Action(StrEnum):
    """Buy or sell contracts of a side."""

    BUY = "buy"
    SELL = "sell"


class Purpose(StrEnum):
    """Why an order exists: an entry may add risk, an exit only takes it off."""

    ENTRY = "entry"
    EXIT = "exit"


class TimeInForce(StrEnum):
    """How long an order may live, in Kalshi's words."""

    GOOD_TILL_CANCELED = "good_till_canceled"
    IMMEDIATE_OR_CANCEL = "immediate_or_cancel"
    FILL_OR_KILL = "fill_or_kill"


class OrderStatus(StrEnum):
    """State of an order. The exchange knows the last three; the first three are ours."""

    INTENDED = "intended"
    UNRESOLVED = "unresolved"
    REJECTED = "rejected"
    RESTING = "resting"
    EXECUTED = "executed"
    CANCELED = "canceled"

    @property
    def open(self) -> bool:
        """Whether it can still fill, as far as we know."""
        return self in {OrderStatus.INTENDED, OrderStatus.UNRESOLVED, OrderStatus.RESTING}


@dataclass(frozen=True, slots=True)
class OrderIntent:
    """An order we have decided to send, complete before it leaves.

    ``limit_price`` is in the terms of ``side``. ``client_order_id`` is derived from the decision, so
    that sending the same intent twice cannot make two orders.
    """

    client_order_id: str
    decision_id: str
    ticker: str
    event_ticker: str
    purpose: Purpose
    side: Side
    action: Action
    count: Centi
    limit_price: Micros
    time_in_force: TimeInForce
    reason: str
    expires_at: datetime | None = None
    cached: bool = False
    """Whether it rests on an opinion that was cached."""

    def __post_init__(self) -> None:
        if self.count <= 0:
            raise ValueError("an order needs a positive count")
        if not 0 < self.limit_price < PAYOUT:
            raise ValueError("a limit price lies strictly between $0 and $1")
        if (self.purpose is Purpose.EXIT) != (self.action is Action.SELL):
            raise ValueError("entries buy and exits sell: selling what is not held would open risk")

    @property
    def reduce_only(self) -> bool:
        return self.purpose is Purpose.EXIT


@dataclass(frozen=True, slots=True)
class Order:
    """An order as the exchange reports it. Prices are in the terms of ``side``."""

    order_id: str
    client_order_id: str
    ticker: str
    side: Side
    action: Action
    limit_price: Micros
    count: Centi
    filled: Centi
    status: OrderStatus
    created_at: datetime
    expires_at: datetime | None = None

    @property
    def remaining(self) -> Centi:
        return self.count - self.filled if self.status is OrderStatus.RESTING else 0


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution. ``fill_id`` is the exchange's and unique: fills are a set, not a stream."""

    fill_id: str
    order_id: str
    client_order_id: str
    ticker: str
    side: Side
    action: Action
    price: Micros
    count: Centi
    fee: Micros
    at: datetime


@dataclass(frozen=True, slots=True)
class Settlement:
    """The exchange paid out a position. ``count`` is what was held, signed (+YES, -NO)."""

    ticker: str
    result: Side
    count: Centi
    revenue: Micros
    at: datetime


@dataclass(frozen=True, slots=True)
class Position:
    """Holdings in one market. ``count`` is signed (+YES, -NO); ``cost`` includes fees of what is held."""

    ticker: str
    event_ticker: str
    count: Centi
    cost: Micros

    @property
    def side(self) -> Side:
        return Side.YES if self.count >= 0 else Side.NO

    @property
    def size(self) -> Centi:
        return abs(self.count)

    @property
    def max_loss(self) -> Micros:
        """What is lost if it settles against us: all that was paid."""
        return max(self.cost, 0)


@dataclass(frozen=True, slots=True)
class Balance:
    """Cash at the exchange, collateral of resting orders already taken off."""

    cash: Micros
