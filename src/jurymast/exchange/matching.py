"""Which displayed levels an order takes, and what a fill does to a position. Pure arithmetic.

Prices of an order are in the terms of its side; ``yes_price`` names the displayed level. A pair of one
YES and one NO contract is worth $1 for certain and is redeemed at once, as on Kalshi, so a position is
one signed number (+YES, -NO).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from jurymast.domain.market import Book, Side
from jurymast.domain.money import CONTRACT, PAYOUT, Centi, Micros
from jurymast.domain.order import Action


@dataclass(frozen=True, slots=True)
class Take:
    """Liquidity of one level: its price for the taker's side, its YES price, the count taken."""

    price: Micros
    yes_price: Micros
    count: Centi


def takes(book: Book, side: Side, action: Action, limit_price: Micros, count: Centi) -> tuple[Take, ...]:
    """What an order of ``count`` takes from the book within its limit, best price first."""
    buying = action is Action.BUY
    chosen = []
    for level in book.offers(side) if buying else book.takers(side):
        within = level.price <= limit_price if buying else level.price >= limit_price
        if not within or count == 0:
            break
        part = min(level.count, count)
        yes_price = level.price if side is Side.YES else PAYOUT - level.price
        chosen.append(Take(level.price, yes_price, part))
        count -= part
    return tuple(chosen)


def cash_for(price: Micros, count: Centi) -> Micros:
    """Price times count. Exact: whole cents times centi-contracts are whole micro-dollars."""
    return price * count // CONTRACT


@dataclass(frozen=True, slots=True)
class Holding:
    """Signed count in one market and what the contracts still held have cost, fees included."""

    count: Centi = 0
    cost: Micros = 0

    def of(self, side: Side) -> Centi:
        """Contracts held of ``side``."""
        return max(self.count if side is Side.YES else -self.count, 0)


FLAT: Final = Holding()


def after_fill(
    held: Holding, side: Side, action: Action, price: Micros, count: Centi, fee: Micros
) -> tuple[Holding, Micros]:
    """The holding after a fill, and the change in cash.

    Cost leaves in proportion to the contracts that leave, rounded down. When one fill closes and opens,
    its fee is shared by count and the opening part is rounded down.
    """
    long = (side is Side.YES) == (action is Action.BUY)
    closing = min(held.of(Side.NO if long else Side.YES), count)
    opening = count - closing
    cost = held.cost
    if closing:
        cost -= held.cost * closing // abs(held.count)
    if opening:
        cost += cash_for(price, opening) + fee * opening // count
    if action is Action.BUY:
        cash = cash_for(PAYOUT, closing) - cash_for(price, count) - fee
    else:
        cash = cash_for(price, count) - fee
    return Holding(held.count + (count if long else -count), cost), cash
