"""kalshi-sdk's websocket client and ours, side by side on one exchange."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("kalshi_python_async", reason="needs Python 3.13 with the foreign clients: .ci/oracles")
from foreign_clients import COMMUNITY, OURS, Wanted, foreign_config, our_http
from kalshi import KalshiAuth
from kalshi.ws import KalshiWebSocket
from oracle_world import Served, served

from jurymast.app.clock import SystemClock
from jurymast.domain.money import CONTRACT, USD
from jurymast.exchange.kalshi.session import BookChanged, Filled, Missed, OrderUpdated
from jurymast.exchange.kalshi.stream import KalshiStream

AT_ONCE = "immediate_or_cancel"
WAIT_SECS = 10.0
Book = dict[tuple[str, Decimal], Decimal]


class Heard:
    """What one client heard, in plain words."""

    def __init__(self) -> None:
        self.books: dict[str, Book] = {}
        self.fills: list[tuple[Any, ...]] = []
        self.orders: list[tuple[Any, ...]] = []
        self.wrong: list[str] = []


async def hear_theirs(world: Served, tickers: list[str], heard: Heard, ready: asyncio.Event) -> None:
    auth = KalshiAuth.from_key_path(world.key_id, str(world.key_file))
    async with KalshiWebSocket(auth=auth, config=foreign_config(world.tap)).connect() as session:

        async def books(ticker: str, found: AsyncIterator[Any]) -> None:
            async for book in found:
                sides = {"yes": book.yes, "no": book.no}
                heard.books[ticker] = {
                    (side, each.price): each.quantity for side, levels in sides.items() for each in levels
                }

        async def fills(found: AsyncIterator[Any]) -> None:
            async for each in found:
                msg = each.msg
                told = (msg.order_id, msg.client_order_id, msg.book_side, msg.yes_price, msg.count)
                heard.fills.append((*told, msg.fee_cost, msg.is_taker, msg.post_position))

        async def orders(found: AsyncIterator[Any]) -> None:
            async for each in found:
                msg = each.msg
                counts = (msg.initial_count, msg.fill_count, msg.remaining_count)
                heard.orders.append(
                    (msg.order_id, msg.client_order_id, msg.status, msg.book_side, msg.yes_price, *counts)
                )

        tasks = [
            asyncio.create_task(fills(await session.subscribe_fill())),
            asyncio.create_task(orders(await session.subscribe_user_orders())),
        ]
        for ticker in tickers:  # one after the other: kalshi-sdk loses what comes while it subscribes
            tasks.append(asyncio.create_task(books(ticker, await session.orderbook(ticker))))
            while ticker not in heard.books:
                await asyncio.sleep(0.01)
        ready.set()
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def hear_ours(world: Served, tickers: list[str], heard: Heard, ready: asyncio.Event) -> None:
    http = our_http(world.tap, world.key_id, world.key_file)
    stream = KalshiStream(http, clock=SystemClock(), tickers=tickers)
    try:
        async with aclosing(stream.events()) as events:
            async for event in events:
                _take(stream, event, heard)
                if heard.books.keys() >= set(tickers):
                    ready.set()
    finally:
        await http.close()


def _take(stream: KalshiStream, event: object, heard: Heard) -> None:
    match event:
        case BookChanged(ticker):
            book = stream.books.book(ticker)
            assert book is not None
            levels = {("yes", each.price): each.count for each in book.bids}
            levels |= {("no", USD - each.price): each.count for each in book.asks}
            heard.books[ticker] = {
                (side, Decimal(price) / USD): Decimal(count) / CONTRACT
                for (side, price), count in levels.items()
            }
        case Filled(fill):
            told = (fill.order_id, fill.client_order_id, fill.book_side.value, Decimal(fill.yes_price) / USD)
            counts = (Decimal(fill.count) / CONTRACT, Decimal(fill.fee) / USD, fill.taker)
            assert fill.position_after is not None
            heard.fills.append((*told, *counts, Decimal(fill.position_after) / CONTRACT))
        case OrderUpdated(order):
            assert order.status is not None
            told = (order.order_id, order.client_order_id, order.status.value, order.book_side.value)
            counts = tuple(
                Decimal(each) / CONTRACT for each in (order.initial, order.filled, order.remaining)
            )
            heard.orders.append((*told, Decimal(order.yes_price) / USD, *counts))
        case Missed():
            heard.wrong.append(str(event))


async def act(world: Served, tickers: list[str]) -> None:
    """Orders of every fate, by each client in turn."""
    for mark, trader in zip("abc", world.traders, strict=True):
        for ticker in tickers:
            name = f"{mark}-{ticker[-8:]}"
            number, *_ = await trader.place(Wanted(ticker, f"{name}-1", "bid", "0.0200", "2.37"))
            await trader.amend(number, ticker, "bid", "0.0300", "7.00")
            await trader.decrease(number, ticker, "1.00")
            await trader.place(Wanted(ticker, f"{name}-2", "bid", "0.9900", "3.00", AT_ONCE))
            await trader.place(Wanted(ticker, f"{name}-3", "ask", "0.9900", "0.50"))
            await trader.cancel(number, ticker)


async def test_two_streams_tell_the_same(tmp_path: Path) -> None:
    """Books, fills and orders as kalshi-sdk hears them are those that we hear, and those of REST."""
    async with served(tmp_path) as world:
        tickers = [each["ticker"] for each in await world.markets(2)]
        theirs, ours = Heard(), Heard()
        tasks = []
        for name, hear, heard in ((COMMUNITY, hear_theirs, theirs), (OURS, hear_ours, ours)):
            world.at_work(name)
            ready = asyncio.Event()
            tasks.append(asyncio.create_task(hear(world, tickers, heard, ready)))
            await asyncio.wait_for(ready.wait(), WAIT_SECS)
        try:
            await act(world, tickers)
            async with asyncio.timeout(WAIT_SECS):
                while not await alike(world, tickers, theirs, ours):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            assert theirs.__dict__ == ours.__dict__  # says where they differ
            raise
        finally:
            for task in tasks:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*tasks, return_exceptions=True)
        assert ours.wrong == []
        assert sum(fill[1].endswith("-2") for fill in ours.fills) >= 6


async def alike(world: Served, tickers: list[str], theirs: Heard, ours: Heard) -> bool:
    """Whether both have heard the same, and the exchange says so over REST."""
    told = await world.traders[0].books(tickers)
    return (
        theirs.books == ours.books == told
        and sorted(theirs.fills) == sorted(ours.fills)
        and sorted(theirs.orders) == sorted(ours.orders)
    )
