"""A process that trades on a paper exchange and reports every acknowledged order, until it is killed."""

from __future__ import annotations

import asyncio
import sys

from paper_kit import buy, exchange, question

from jurymast.domain.errors import OrderRejected
from jurymast.domain.market import Side
from jurymast.domain.money import CENT, CONTRACT
from jurymast.domain.order import TimeInForce
from jurymast.testing.clock import FakeClock

ORDERS_MAX = 20_000


async def trade(database: str) -> None:
    clock = FakeClock()
    paper = exchange((question(), question("Q-2")), clock, database)
    for number in range(ORDERS_MAX):
        clock.advance(7)
        intent = buy(
            f"Q-{number % 2 + 1}",
            client_order_id=f"child-{number}",
            side=Side.NO if number % 3 else Side.YES,
            count=CONTRACT * (number % 5 + 1),
            limit_price=(30 + number % 40) * CENT,
            time_in_force=TimeInForce.GOOD_TILL_CANCELED,
        )
        try:
            order = await paper.place_order(intent)
        except OrderRejected:
            return
        sys.stdout.write(f"{order.client_order_id} {order.filled}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(trade(sys.argv[1]))
