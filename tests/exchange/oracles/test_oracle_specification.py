"""Everything that is said at `jurymast exchange serve`, held against Kalshi's own specifications."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

pytest.importorskip("kalshi_python_async", reason="needs Python 3.13 with the foreign clients: .ci/oracles")
from foreign_clients import our_http
from oracle_world import Served, served
from specification import FRAMES, Specification
from test_oracle_requests import cancel_all, last_hour, story
from test_oracle_streams import Heard, act, hear_ours, hear_theirs
from wiretap import Exchanged

DIRECTORY = os.environ.get("JURYMAST_SPECIFICATIONS", "")
VERSION = "3.34.0"
OPERATIONS = 43
RAW = "raw"
ORDERS = "/portfolio/events/orders"
SOCKET = "/trade-api/ws/v2"
pytestmark = pytest.mark.skipif(
    not DIRECTORY, reason="JURYMAST_SPECIFICATIONS names no directory with the specifications"
)


class Caller:
    """Signed requests of any kind, through the tap."""

    def __init__(self, world: Served, session: aiohttp.ClientSession) -> None:
        self._world, self._session = world, session
        self._http = our_http(world.tap, world.key_id, world.key_file)

    async def __call__(self, method: str, path: str, body: object = None, **query: object) -> Any:
        headers = self._http.signed_headers(method, f"/trade-api/v2{path}")
        params = {name: str(value) for name, value in query.items()}
        async with self._session.request(
            method, self._world.tap.url + path, json=body, params=params, headers=headers
        ) as answer:
            return await answer.json() if answer.status != 204 else None

    @asynccontextmanager
    async def socket(self) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        headers = self._http.signed_headers("GET", SOCKET)
        url = f"http://127.0.0.1:{self._world.tap.port}{SOCKET}"
        async with self._session.ws_connect(url, headers=headers) as socket:
            yield socket


async def remaining_operations(call: Caller, ticker: str, event: str) -> None:
    """What is served and none of the clients asked for."""
    for path in ("/exchange/schedule", "/historical/cutoff", "/series", "/portfolio/orders/queue_positions"):
        await call("GET", path)
    for path in ("summary/total_resting_order_value", "balance"):
        await call("GET", f"/portfolio/{path}")
    await call("GET", "/events", limit=200, with_nested_markets="true")
    for status in ("unopened", "open", "paused", "closed", "settled"):
        await call("GET", "/markets", limit=1000, status=status)
    series = (await call("GET", f"/events/{event}"))["event"]["series_ticker"]
    await call("GET", f"/series/{series}")
    await call("GET", f"/markets/{ticker}/orderbook", depth=2)
    start, end = last_hour()
    await call(
        "GET", "/markets/candlesticks", market_tickers=ticker, start_ts=start, end_ts=end, period_interval=1
    )
    made = await call("POST", ORDERS, new_order(ticker, "s-1", expiration_time=int(time.time()) + 600))
    await call("GET", f"/portfolio/orders/{made['order_id']}/queue_position")
    await call("POST", f"{ORDERS}/batched", {"orders": [new_order(ticker, f"s-{n}") for n in (1, 2)]})
    await call("POST", "/portfolio/subaccounts", {})
    await call("GET", "/portfolio/subaccounts/balances")
    sides = {"source": "event_contract", "destination": "event_contract", "destination_subaccount": 1}
    await call("POST", "/portfolio/intra_exchange_instance_transfer", {**sides, "amount": 10_000})


def new_order(ticker: str, name: str, **more: object) -> dict[str, object]:
    order = {"ticker": ticker, "client_order_id": name, "side": "bid", "count": "5", "price": "0.0200"}
    rules = {"time_in_force": "good_till_canceled", "self_trade_prevention_type": "taker_at_cross"}
    return order | rules | more


async def remaining_frames(socket: aiohttp.ClientWebSocketResponse, ticker: str) -> None:
    """Commands that neither client sends, and channels that neither listens to."""
    channels = ["ticker", "trade", "market_positions", "market_lifecycle_v2", "order_group_updates"]
    commands: list[tuple[str, dict[str, Any]]] = [
        ("subscribe", {"channels": ["orderbook_delta"], "market_ticker": ticker}),
        ("subscribe", {"channels": channels[:2], "market_ticker": ticker, "send_initial_snapshot": True}),
        ("subscribe", {"channels": channels[2:]}),
        *[
            ("update_subscription", {"sids": [1], "market_tickers": [ticker], "action": action})
            for action in ("get_snapshot", "delete_markets", "add_markets")
        ],
        ("unsubscribe", {"sids": [99]}),
    ]
    for number, (command, params) in enumerate(commands):
        await socket.send_json({"id": number + 1, "cmd": command, "params": params})
    await socket.send_json({"id": 8, "cmd": "list_subscriptions"})


async def test_everything_said_fits_the_specifications(tmp_path: Path) -> None:
    """Requests, answers, commands and frames of three clients and a raw one are as Kalshi describes them."""
    judge = Specification(Path(DIRECTORY))
    assert judge.version == VERSION
    async with served(tmp_path) as world, aiohttp.ClientSession() as session:
        markets = await world.markets(5)
        world.at_work(RAW)
        call = Caller(world, session)
        listeners = []
        async with call.socket() as socket:
            await remaining_frames(socket, markets[3]["ticker"])
            for hear in (hear_theirs, hear_ours):
                ready = asyncio.Event()
                tickers = [markets[4]["ticker"]]
                listeners.append(asyncio.create_task(hear(world, tickers, Heard(), ready)))
                await asyncio.wait_for(ready.wait(), 10.0)
            await act(world, [markets[4]["ticker"], markets[3]["ticker"]])
            for trader, market in zip(world.traders, markets[:3], strict=True):
                world.at_work(trader)
                await story(trader, market["ticker"])
                for read in (trader.status, trader.data_time, trader.limits, trader.fills, trader.positions):
                    await read()
                await trader.trades(market["ticker"])
                series = (await call("GET", f"/events/{market['event_ticker']}"))["event"]["series_ticker"]
                await trader.candles(series, market["ticker"], *last_hour())
                await trader.market(market["ticker"])
                await trader.books([market["ticker"]])
            world.at_work(RAW)
            await remaining_operations(call, markets[3]["ticker"], markets[3]["event_ticker"])
            for trader, market in zip(world.traders, markets[:3], strict=True):
                world.at_work(trader)
                await cancel_all(trader)
                await world.step(market["ticker"], "settle?result=yes")
                await trader.settlements()
            await world.step(markets[3]["ticker"], "halt")
            await socket.send_json({"id": 9, "cmd": "unsubscribe", "params": {"sids": [2]}})
            await _until(world, FRAMES.keys() | {"ok"})
        for listener in listeners:
            listener.cancel()
        await asyncio.gather(*listeners, return_exceptions=True)
        tap = world.tap
    wrong = [fault for said in tap.exchanged for fault in judge.wrong(said)]
    wrong += [fault for who, frame in tap.frames for fault in judge.wrong_frame(who, frame)]
    wrong += [fault for who, command in tap.commands for fault in judge.wrong_command(who, command)]
    assert list(dict.fromkeys(wrong)) == []
    operations = {(said.method, judge.template(said.method, said.path)) for said in tap.exchanged}
    assert len(operations) == OPERATIONS, sorted(operations)


def test_the_judge_would_notice() -> None:
    """A wrong word, a missing field, an unknown parameter, path, status or frame is each found."""
    judge = Specification(Path(DIRECTORY))
    status: dict[str, Any] = {"exchange_active": True, "trading_active": True}
    good = Exchanged(RAW, "GET", "/exchange/status", (), None, 200, status)
    assert judge.wrong(good) == []
    bad = [
        replace(good, answer={"exchange_active": True}),
        replace(good, answer=status | {"trading_active": "yes"}),
        replace(good, query=(("colour", "red"),)),
        replace(good, path="/exchange/weather"),
        replace(good, status=299),
        replace(good, method="POST", path=ORDERS, status=201, body={"ticker": 1}, answer={}),
    ]
    assert all(judge.wrong(each) for each in bad)
    assert judge.wrong_frame(RAW, {"type": "trade", "sid": 1, "seq": 1, "msg": {"market_ticker": "T"}})
    assert judge.wrong_command(RAW, {"id": 1, "cmd": "subscribe", "params": {"channels": ["weather"]}})


async def _until(world: Served, kinds: set[str]) -> None:
    """Until frames of all these kinds have come."""
    async with asyncio.timeout(10.0):
        while not {frame["type"] for _, frame in world.tap.frames} >= kinds:
            await asyncio.sleep(0.02)
