"""Markets, books and the evidence about them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from jurymast.domain.money import PAYOUT, Centi, Micros


class Side(StrEnum):
    """Which contract: YES pays when the event happens, NO when it does not."""

    YES = "yes"
    NO = "no"

    @property
    def opposite(self) -> Side:
        return Side.NO if self is Side.YES else Side.YES


class MarketStatus(StrEnum):
    """Life of a market, in Kalshi's field words."""

    INITIALIZED = "initialized"
    ACTIVE = "active"
    INACTIVE = "inactive"
    CLOSED = "closed"
    FINALIZED = "finalized"


@dataclass(frozen=True, slots=True)
class Market:
    """What does not change while a market trades."""

    ticker: str
    event_ticker: str
    category: str
    title: str
    rules: str
    open_time: datetime
    close_time: datetime


@dataclass(frozen=True, slots=True)
class Level:
    """One price level: micro-dollars per contract, centi-contracts on offer."""

    price: Micros
    count: Centi


@dataclass(frozen=True, slots=True)
class Book:
    """Both sides of the YES contract, best level first.

    A bid for NO at q is an offer of YES at 1 - q, so one pair of ladders describes both contracts.
    """

    bids: tuple[Level, ...]
    asks: tuple[Level, ...]

    @property
    def two_sided(self) -> bool:
        return bool(self.bids and self.asks)

    @property
    def mid(self) -> Micros:
        """Mid price of YES. Raises ValueError when a side is empty: there is no default price."""
        if not self.two_sided:
            raise ValueError("a one-sided book has no mid price")
        return (self.bids[0].price + self.asks[0].price) // 2

    @property
    def spread(self) -> Micros:
        """Best ask less best bid. Raises ValueError when a side is empty."""
        if not self.two_sided:
            raise ValueError("a one-sided book has no spread")
        return self.asks[0].price - self.bids[0].price

    def offers(self, side: Side) -> tuple[Level, ...]:
        """Levels at which ``side`` can be bought, cheapest first, priced in that side's terms."""
        return self.asks if side is Side.YES else _mirrored(self.bids)

    def takers(self, side: Side) -> tuple[Level, ...]:
        """Levels at which ``side`` can be sold, dearest first, priced in that side's terms."""
        return self.bids if side is Side.YES else _mirrored(self.asks)


def _mirrored(levels: tuple[Level, ...]) -> tuple[Level, ...]:
    return tuple(Level(PAYOUT - level.price, level.count) for level in levels)


@dataclass(frozen=True, slots=True)
class MarketSnapshot:
    """A market at one instant of exchange time (``as_of``, UTC)."""

    market: Market
    status: MarketStatus
    book: Book
    volume_24h: Centi
    as_of: datetime
    result: Side | None = None

    @property
    def ticker(self) -> str:
        return self.market.ticker

    @property
    def secs_to_close(self) -> float:
        return (self.market.close_time - self.as_of).total_seconds()


@dataclass(frozen=True, slots=True)
class EvidenceItem:
    """A dated, quoted item handed to the model as data, never as instruction."""

    source_id: str
    title: str
    text: str
    published_at: datetime
    url: str = ""
