"""One market's order book: price first, then time. Pure and mutable, integers only.

An offer to sell YES at p is a bid for NO at 1 - p, so a book is two ladders of bids, each priced in its
own contract: the better of two bids is the higher one on both. Within a level orders stand in the order
of their arrival.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

from jurymast.domain.money import PAYOUT, Centi, Micros
from jurymast.exchange.embedded.records import Order


class Level:
    """Orders at one price, first come first; ``total`` is what they add up to."""

    __slots__ = ("orders", "total")

    def __init__(self) -> None:
        self.total: Centi = 0
        self.orders: dict[int, Order] = {}


class Ladder:
    """Bids for one contract. ``prices`` ascends, so the best is last, as on Kalshi's wire."""

    __slots__ = ("levels", "prices")

    def __init__(self) -> None:
        self.prices: list[Micros] = []
        self.levels: dict[Micros, Level] = {}

    @property
    def best(self) -> Micros | None:
        return self.prices[-1] if self.prices else None

    @property
    def best_count(self) -> Centi:
        return self.levels[self.prices[-1]].total if self.prices else 0

    def add(self, price: Micros, order: Order) -> None:
        level = self.levels.get(price)
        if level is None:
            level = self.levels[price] = Level()
            insort(self.prices, price)
        level.orders[order.number] = order
        level.total += order.remaining

    def reduce(self, price: Micros, order: Order, count: Centi) -> None:
        """Take ``count`` off an order that keeps its place; off the book with it when nothing remains."""
        level = self.levels[price]
        order.remaining -= count
        level.total -= count
        if not order.remaining:
            del level.orders[order.number]
            if not level.orders:
                self._drop(price)

    def _drop(self, price: Micros) -> None:
        del self.levels[price]
        if self.prices[-1] == price:
            self.prices.pop()
        else:
            del self.prices[bisect_left(self.prices, price)]

    def depth(self) -> list[tuple[Micros, Centi]]:
        """Price and size of every level, best last."""
        return [(price, self.levels[price].total) for price in self.prices]


class Book:
    """Both ladders. ``yes`` holds orders to buy YES, ``no`` those to sell it, at the price of NO."""

    __slots__ = ("no", "yes")

    def __init__(self) -> None:
        self.yes = Ladder()
        self.no = Ladder()

    def side(self, bid: bool) -> Ladder:
        return self.yes if bid else self.no

    @property
    def best_bid(self) -> Micros | None:
        return self.yes.best

    @property
    def best_ask(self) -> Micros | None:
        best = self.no.best
        return None if best is None else PAYOUT - best

    def add(self, order: Order) -> None:
        self.side(order.bid).add(own_price(order), order)

    def reduce(self, order: Order, count: Centi) -> None:
        self.side(order.bid).reduce(own_price(order), order, count)

    def crosses(self, bid: bool, price: Micros) -> bool:
        """Whether an order at ``price`` would meet one that rests."""
        best = self.side(not bid).best
        return best is not None and best >= PAYOUT - (price if bid else PAYOUT - price)

    def opposing(self, bid: bool, price: Micros) -> Iterator[Order]:
        """Resting orders that an order at ``price`` may meet, in the order in which it meets them."""
        ladder = self.side(not bid)
        floor = PAYOUT - price if bid else price
        for own in reversed(ladder.prices):
            if own < floor:
                return
            yield from ladder.levels[own].orders.values()

    def ahead_of(self, order: Order) -> Centi:
        """Contracts that are matched before a resting order is."""
        ladder, own = self.side(order.bid), own_price(order)
        ahead = sum(ladder.levels[price].total for price in ladder.prices if price > own)
        for other in ladder.levels[own].orders.values():
            if other.number == order.number:
                break
            ahead += other.remaining
        return ahead

    def orders(self) -> Iterator[Order]:
        """Every resting order, by side, price and time: the same order whatever led to the book."""
        for ladder in (self.yes, self.no):
            for price in ladder.prices:
                yield from ladder.levels[price].orders.values()


def own_price(order: Order) -> Micros:
    """The price in the terms of what the order buys: YES for a bid, NO for an ask."""
    return order.price if order.bid else PAYOUT - order.price
