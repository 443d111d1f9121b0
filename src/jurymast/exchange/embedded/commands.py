"""What the engine can be told. Each command is one row of the log: replayed, it does the same again.

Owners are account numbers, markets are named by ticker, orders by number. Prices are micro-dollars of
YES, counts centi-contracts, times microseconds of exchange time.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from jurymast.domain.money import Centi, Micros
from jurymast.exchange.embedded.records import Lifetime, SelfTrade


class Command(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Base of all."""


class OpenAccount(Command, frozen=True):
    """A member's subaccount; ``cash`` is its deposit on every shard. The crowd's accounts are ``house``."""

    user: str
    subaccount: int = 0
    cash: tuple[Micros, ...] = ()
    house: bool = False


class Deposit(Command, frozen=True):
    """Cash from outside, or to the outside when negative."""

    owner: int
    shard: int
    amount: Micros


class Transfer(Command, frozen=True):
    """Cash of one member between shards or subaccounts."""

    owner: int
    shard: int
    to_owner: int
    to_shard: int
    amount: Micros


class Place(Command, frozen=True):
    """A new order."""

    owner: int
    ticker: str
    bid: bool
    price: Micros
    count: Centi
    lifetime: Lifetime = Lifetime.GOOD_TILL_CANCELED
    client_order_id: str = ""
    expires_us: int | None = None
    post_only: bool = False
    reduce_only: bool = False
    self_trade: SelfTrade = SelfTrade.TAKER_AT_CROSS
    pause_cancel: bool = False
    group: str = ""


class Amend(Command, frozen=True):
    """New price, total count or expiry; ``expires_us`` None keeps the expiry, 0 takes it away."""

    owner: int
    order: int
    ticker: str
    bid: bool
    price: Micros
    count: Centi
    client_order_id: str = ""
    expires_us: int | None = None


class Decrease(Command, frozen=True):
    """Take ``by`` off what remains, or leave ``to`` of it; exactly one is given."""

    owner: int
    order: int
    by: Centi | None = None
    to: Centi | None = None


class Cancel(Command, frozen=True):
    """Take an order off the book."""

    owner: int
    order: int


class CancelAll(Command, frozen=True):
    """Every order of a member, and those placed within the next minute; of one subaccount if given."""

    user: str
    subaccount: int | None = None


class CreateGroup(Command, frozen=True):
    """An order group with its limit of contracts in any 15 seconds."""

    owner: int
    limit: Centi


class ChangeGroup(Command, frozen=True):
    """``reset``, ``trigger``, ``delete`` a group, or set its ``limit``."""

    owner: int
    group: str
    what: str
    limit: Centi = 0


class Pause(Command, frozen=True):
    """Trading pause, or a pause of the whole exchange, on or off."""

    trading: bool | None = None
    exchange: bool | None = None


class StepMarket(Command, frozen=True):
    """Halt, resume, close, determine or settle one market now. ``yes`` overrides the outcome."""

    ticker: str
    step: str
    yes: bool | None = None


class Watch(Command, frozen=True):
    """Simulate these markets in depth from now on, or (``off``) no longer on this account."""

    tickers: tuple[str, ...]
    off: bool = False


class Tick(Command, frozen=True):
    """Time passes, and the crowd acts once in every market simulated in depth."""


AnyCommand: TypeAlias = (
    OpenAccount
    | Deposit
    | Transfer
    | Place
    | Amend
    | Decrease
    | Cancel
    | CancelAll
    | CreateGroup
    | ChangeGroup
    | Pause
    | StepMarket
    | Watch
    | Tick
)
