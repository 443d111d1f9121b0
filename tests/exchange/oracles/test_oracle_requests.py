"""Kalshi's own SDK, kalshi-sdk and our client at `jurymast exchange serve`: same deeds, same words."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("kalshi_python_async", reason="needs Python 3.13 with the foreign clients: .ci/oracles")
from foreign_clients import COMMUNITY, OFFICIAL, OURS, Refused, Trader, Wanted
from oracle_world import Served, served
from wiretap import Exchanged

AT_ONCE = "immediate_or_cancel"
WRITES = {"POST", "PUT", "DELETE"}
TRIES = 20


async def story(trader: Trader, ticker: str) -> list[str]:
    """Everything a bot does with orders and groups, each step checked; returns what was refused and how."""
    mark = {OFFICIAL: "o", COMMUNITY: "c", OURS: "j"}[trader.name]
    rest = Wanted(ticker, f"{mark}-rest", "bid", "0.0200", post_only=True, expires=int(time.time()) + 3_600)
    number, filled, remaining, average = await trader.place(rest)
    assert (filled, remaining, average) == (0, 5, None)
    assert await trader.amend(number, ticker, "bid", "0.0300", "4.00") == (number, 4, 0)
    assert await trader.decrease(number, ticker, "2.50") == (number, Decimal("2.5"))
    status, price, _, filled, remaining = (await trader.order(number))[4:9]
    assert (status, price, filled, remaining) == ("resting", Decimal("0.03"), 0, Decimal("2.5"))
    assert await trader.cancel(number, ticker) == (number, Decimal("2.5"))
    refusals = [await refused(trader.cancel(number, ticker)), await refused(trader.place(rest_at_once(rest)))]
    taken = await trader.place(Wanted(ticker, f"{mark}-take", "bid", "0.9900", "3.00", AT_ONCE))
    assert taken[1:3] == (3, 0)
    left = Wanted(ticker, f"{mark}-exit", "ask", "0.0100", "9.00", AT_ONCE, reduce_only=True)
    assert (await trader.place(left))[1:3] == (3, 0)
    assert [held for held in await trader.positions() if held[0] == ticker] == []
    killed = Wanted(ticker, f"{mark}-kill", "bid", "0.0100", lifetime="fill_or_kill")
    refusals.append(await refused(trader.place(killed)))
    crosses = Wanted(ticker, f"{mark}-cross", "bid", "0.9900", post_only=True)
    refusals.append(await refused(trader.place(crosses)))
    await batches(trader, ticker, mark)
    refusals.append(await groups(trader, ticker, mark))
    held = Wanted(ticker, f"{mark}-hold", "ask", "0.0100", "2.00", AT_ONCE)
    assert (await trader.place(held))[1:3] == (2, 0)
    return refusals


def rest_at_once(order: Wanted) -> Wanted:
    return replace(order, post_only=False)


async def batches(trader: Trader, ticker: str, mark: str) -> None:
    wanted = [Wanted(ticker, f"{mark}-b{n}", "bid", f"0.0{n}00", "1.00") for n in (1, 2, 3)]
    made = await trader.place_batch(wanted)
    assert [each[1:] for each in made] == [(0, 1)] * 3
    gone = await trader.cancel_batch([(made[0][0], ticker), (made[0][0], ticker), (made[1][0], ticker)])
    assert [each[1] for each in gone] == [1, 0, 1]


async def groups(trader: Trader, ticker: str, mark: str) -> str:
    group = await trader.create_group(10)
    await trader.limit_group(group, 20)
    assert (group, 20) in await trader.groups()
    number, *_ = await trader.place(Wanted(ticker, f"{mark}-group", "bid", "0.0200", group=group))
    assert await trader.group_orders(group) == [number]
    await trader.trigger_group(group)
    refusal = await refused(trader.place(Wanted(ticker, f"{mark}-late", "bid", "0.0200", group=group)))
    await trader.reset_group(group)
    await trader.delete_group(group)
    assert group not in {each[0] for each in await trader.groups()}
    return refusal


async def cancel_all(trader: Trader) -> None:
    """Last of all: what is placed within a minute of it is swept away as well."""
    await trader.cancel_all()
    assert "resting" not in {each[4] for each in await trader.orders()}


async def refused(call: Awaitable[Any]) -> str:
    """The code of a refusal."""
    with pytest.raises(Refused) as told:
        await call
    codes = re.findall(r"[a-z]+(?:_[a-z]+)+", str(told.value))
    return next(code for code in codes if code in CODES)


CODES = {
    "not_found",
    "order_already_exists",
    "fill_or_kill_insufficient_resting_volume",
    "post_only_cross",
    "order_group_triggered",
}
REFUSALS = [
    "not_found",
    "order_already_exists",
    "fill_or_kill_insufficient_resting_volume",
    "post_only_cross",
    "order_group_triggered",
]


@pytest.mark.parametrize("nth", range(3), ids=[OFFICIAL, COMMUNITY, OURS])
async def test_a_client_written_for_kalshi_trades_here_as_it_is(nth: int, tmp_path: Path) -> None:
    """Place, amend, decrease, cancel, batch, groups, fills, settlement: a client needs no change for any."""
    async with served(tmp_path) as world:
        trader = world.traders[nth]
        world.at_work(trader)
        (market,) = await world.markets(1)
        ticker = market["ticker"]
        assert await story(trader, ticker) == REFUSALS
        await cancel_all(trader)
        ((_, held, _, _),) = await trader.positions()
        assert held == -2
        await world.step(ticker, "settle?result=no")
        ((_, _, result, yes, no, revenue, _),) = await trader.settlements()
        assert (result, yes, no, revenue) == ("no", 0, 2, 200)


async def test_the_same_deeds_are_the_same_requests(tmp_path: Path) -> None:
    """What we send for a deed is what both foreign clients send for it, field for field."""
    async with served(tmp_path) as world:
        said: dict[str, list[tuple[Any, ...]]] = {}
        markets = await world.markets(3)
        for trader, market in zip(world.traders, markets, strict=True):
            world.at_work(trader)
            await story(trader, market["ticker"])
        for trader, market in zip(world.traders, markets, strict=True):
            world.at_work(trader)
            await cancel_all(trader)
            said[trader.name] = [
                normal(each, market["ticker"]) for each in world.tap.exchanged if each.who == trader.name
            ]
        writes = {name: [each for each in rows if each[0] in WRITES] for name, rows in said.items()}
        assert len(writes[OURS]) == 21
        assert writes[OURS] == writes[OFFICIAL]
        assert writes[OURS] == writes[COMMUNITY]
        reads = {name: {each[1] for each in rows if each[0] == "GET"} for name, rows in said.items()}
        assert reads[OURS] == reads[OFFICIAL] == reads[COMMUNITY]


def normal(said: Exchanged, ticker: str) -> tuple[Any, ...]:
    """A request without what must differ: ids of its own, the spelling of numbers, what is empty anyway."""
    path = re.sub(r"/(0a{7}-[\w-]+|og-\d+)", "/ID", said.path)
    query = tuple(sorted((name, spelled(value, ticker)) for name, value in said.query))
    return (said.method, path, query, spelled(said.body, ticker) or None, said.status)


def spelled(value: Any, ticker: str) -> Any:
    if isinstance(value, dict):
        named = {"contracts_limit_fp": "contracts_limit"}
        return {
            named.get(name, name): spelled(each, ticker)
            for name, each in sorted(value.items())
            if name != "expiration_time"  # of each client's own second
        }
    if isinstance(value, list):
        return [spelled(each, ticker) for each in value]
    if not isinstance(value, str):
        return value
    if value == ticker:
        return "TICKER"
    text = re.sub(r"^[ocj]-(?=[a-z])", "", re.sub(r"^(0a{7}-[\w-]+|og-\d+)$", "ID", value))
    return Decimal(text) if re.fullmatch(r"\d+(\.\d+)?", text) else text


READS: dict[str, Callable[[Trader, str, str], Awaitable[Any]]] = {
    "status": lambda trader, ticker, series: trader.status(),
    "limits": lambda trader, ticker, series: trader.limits(),
    "market": lambda trader, ticker, series: trader.market(ticker),
    "book": lambda trader, ticker, series: trader.book(ticker),
    "books": lambda trader, ticker, series: trader.books([ticker]),
    "trades": lambda trader, ticker, series: trader.trades(ticker),
    "candles": lambda trader, ticker, series: trader.candles(series, ticker, *last_hour()),
    "orders": lambda trader, ticker, series: trader.orders(),
    "fills": lambda trader, ticker, series: trader.fills(),
    "positions": lambda trader, ticker, series: trader.positions(),
    "settlements": lambda trader, ticker, series: trader.settlements(),
}


def last_hour() -> tuple[int, int]:
    minute = int(time.time()) // 60 * 60
    return minute - 3_600, minute


async def test_the_same_answers_are_read_alike(tmp_path: Path) -> None:
    """Markets, books, prints, candles, orders, fills, positions, payouts and cash: three readings agree."""
    async with served(tmp_path) as world:
        markets = await world.markets(3)
        for trader, market in zip(world.traders, markets, strict=True):
            await story(trader, market["ticker"])
        await world.step(markets[0]["ticker"], "settle?result=yes")
        resting = Wanted(markets[1]["ticker"], "z-1", "ask", "0.9800", "1.25")
        await world.traders[0].place(resting)
        series = {each["ticker"]: await series_of(world, each["event_ticker"]) for each in markets}
        for market in markets[:2]:  # settled, and trading
            ticker = market["ticker"]
            for name, read in READS.items():
                readings = await settled_readings(world, read, ticker, series[ticker])
                assert readings[1:] == readings[:1] * 2, f"{name} of {ticker}"
        readings = await settled_readings(world, lambda trader, *_: trader.balance(), "", "")
        assert readings[1:] == readings[:1] * 2
        assert len(await world.traders[2].fills()) >= 9
        assert len(await world.traders[2].orders()) >= 20


async def series_of(world: Served, event_ticker: str) -> str:
    found = await world.traders[0].api.get_event(event_ticker)  # type: ignore[attr-defined] # the official client
    return str(found.event.series_ticker)


async def settled_readings(
    world: Served, read: Callable[[Trader, str, str], Awaitable[Any]], ticker: str, series: str
) -> list[Any]:
    """One reading of each client. The crowd goes on trading, so they count when nothing moved meanwhile."""
    for _ in range(TRIES):
        readings = [await read(trader, ticker, series) for trader in (*world.traders, world.traders[0])]
        if readings[0] == readings[-1]:
            return readings[:-1]
        await asyncio.sleep(1.0)  # the balance may be read five times a second
    raise AssertionError(f"{ticker} never stood still")
