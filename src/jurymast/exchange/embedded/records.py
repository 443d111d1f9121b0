"""What the engine keeps and what it reports: orders, fills, prints, settlements, events.

Times are whole microseconds of exchange time since 1970 (``_us``), prices micro-dollars of the YES
contract, counts centi-contracts. Records are msgspec structures: cheap to make, and a snapshot of the
engine is their plain encoding.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, TypeAlias

import msgspec

from jurymast.domain.money import Centi, Micros

SECOND_US: Final = 1_000_000


class Status(StrEnum):
    """State of an order, in Kalshi's words."""

    RESTING = "resting"
    CANCELED = "canceled"
    EXECUTED = "executed"


class Lifetime(StrEnum):
    """How long an order may live, in Kalshi's words."""

    GOOD_TILL_CANCELED = "good_till_canceled"
    IMMEDIATE_OR_CANCEL = "immediate_or_cancel"
    FILL_OR_KILL = "fill_or_kill"


class SelfTrade(StrEnum):
    """What gives way when an order would meet one of the same member."""

    TAKER_AT_CROSS = "taker_at_cross"
    MAKER = "maker"


class Reason(StrEnum):
    """Why an order changed last, in the words of the ``user_orders`` channel; PLACED is silent there."""

    PLACED = ""
    CANCELED = "Canceled"
    DECREASE = "Decrease"
    AMEND = "Amend"
    SELF_TRADE = "SelfTradeCancel"
    EXPIRY = "ExpiryCancel"
    CLOSE = "CloseCancel"
    HALT = "HaltCancel"
    TRADE = "Trade"
    POST_ONLY_CROSS = "PostOnlyCrossCancel"
    REDUCE_ONLY = "ReduceOnlyCancel"


class Order(msgspec.Struct):
    """An order from birth to end. ``priority`` is its place in time and changes when the place is lost."""

    number: int
    owner: int
    ticker: str
    bid: bool
    price: Micros
    initial: Centi
    lifetime: Lifetime
    created_us: int
    client_order_id: str = ""
    group: str = ""
    expires_us: int | None = None
    self_trade: SelfTrade = SelfTrade.TAKER_AT_CROSS
    pause_cancel: bool = False
    post_only: bool = False
    remaining: Centi = 0
    filled: Centi = 0
    status: Status = Status.RESTING
    reason: Reason = Reason.PLACED
    updated_us: int = 0
    priority: int = 0
    taker_cost: Micros = 0
    maker_cost: Micros = 0
    taker_fees: Micros = 0
    maker_fees: Micros = 0
    rounding: Micros = 0


class Fill(msgspec.Struct, frozen=True):
    """One member's side of an execution. ``position`` is what the member holds after it (+YES, -NO)."""

    number: int
    order: int
    client_order_id: str
    owner: int
    ticker: str
    bid: bool
    taker: bool
    price: Micros
    count: Centi
    fee: Micros
    position: Centi
    at_us: int


class Print(msgspec.Struct, frozen=True, gc=False):
    """One execution on the public tape."""

    number: int
    ticker: str
    price: Micros
    count: Centi
    taker_bid: bool
    at_us: int


class Payout(msgspec.Struct, frozen=True):
    """A position that was paid out. ``count`` is signed (+YES, -NO), ``cost`` what it had cost."""

    number: int
    owner: int
    ticker: str
    yes: bool
    count: Centi
    cost: Micros
    revenue: Micros
    fees: Micros
    at_us: int


class BookDelta(msgspec.Struct, frozen=True, gc=False):
    """The size of one level changed. ``owner`` and ``client_order_id`` name whose order did it."""

    ticker: str
    bid: bool
    price: Micros
    delta: Centi
    clock: int
    owner: int
    client_order_id: str


class OrderChanged(msgspec.Struct, frozen=True):
    """An order of a member changed; ``order`` is a copy as of then."""

    order: Order


class PositionChanged(msgspec.Struct, frozen=True, gc=False):
    """A member's position changed."""

    owner: int
    ticker: str


class GroupChanged(msgspec.Struct, frozen=True, gc=False):
    """An order group: ``created``, ``triggered``, ``reset``, ``deleted`` or ``limit_updated``."""

    owner: int
    group: str
    what: str
    limit: Centi | None = None


class MarketChanged(msgspec.Struct, frozen=True, gc=False):
    """A market took a step of its life, in the words of the ``market_lifecycle_v2`` channel."""

    ticker: str
    what: str


Event: TypeAlias = (
    BookDelta | OrderChanged | Fill | Print | PositionChanged | GroupChanged | MarketChanged | Payout
)
