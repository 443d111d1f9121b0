"""A served exchange for tests: real sockets on loopback, a clock that stands still, signed calls."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import aiohttp

from jurymast.exchange.embedded.exchange import EmbeddedExchange, Rules
from jurymast.exchange.embedded.server.gate import SOCKET_PATH
from jurymast.exchange.embedded.server.keys import KeyRing
from jurymast.exchange.embedded.server.limits import API
from jurymast.exchange.embedded.server.server import ExchangeServer
from jurymast.exchange.embedded.server.site import WireSettings
from jurymast.exchange.kalshi.signing import Signer, generate_pem
from jurymast.exchange.questions import Question, load_bundle
from jurymast.testing.clock import FakeClock

START = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
KEY_ID = "key-1"
WAIT_SECS = 10.0
ORDERS = "/portfolio/events/orders"


@lru_cache(maxsize=1)
def pem() -> str:
    return generate_pem()


@dataclass
class Served:
    """One server, one clock, one member who signs."""

    exchange: EmbeddedExchange
    server: ExchangeServer
    clock: FakeClock
    session: aiohttp.ClientSession
    signer: Signer
    tickers: dict[tuple[int, int], str] = field(default_factory=dict)

    def headers(self, method: str, path: str, skew_secs: float = 0.0) -> dict[str, str]:
        at_ms = int((self.clock.utc_now().timestamp() + skew_secs) * 1_000)
        return self.signer.headers(at_ms, method, path)

    async def call(
        self, method: str, path: str, body: object = None, *, skew_secs: float = 0.0, **query: object
    ) -> tuple[int, Any]:
        """Status and decoded body of one signed request. The clock moves on so that no bucket runs dry."""
        self.clock.advance(2.0)
        return await self.send(method, path, body, self.headers(method, API + path, skew_secs), **query)

    async def send(
        self, method: str, path: str, body: object, headers: dict[str, str], **query: object
    ) -> tuple[int, Any]:
        url = self.server.rest_url + path
        params = {name: str(value) for name, value in query.items()}
        async with self.session.request(method, url, json=body, params=params, headers=headers) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text else None

    async def control(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        async with self.session.request(method, self.server.control_url + path, json=body) as answer:
            return answer.status, await answer.json()

    async def order(self, price: str, name: str, **more: object) -> tuple[int, Any]:
        """An order to buy five YES of the market of :meth:`ticker`."""
        facts = {
            "ticker": self.ticker(),
            "client_order_id": name,
            "side": "bid",
            "count": "5.00",
            "price": price,
            "time_in_force": "good_till_canceled",
            "self_trade_prevention_type": "taker_at_cross",
        }
        return await self.call("POST", ORDERS, facts | more)

    def ticker(self, shard: int = 0, nth: int = 0) -> str:
        """A market of a shard, open at first with both sides on offer around the middle."""
        if (shard, nth) not in self.tickers:
            self.tickers[shard, nth] = self._balanced(shard)[nth]
        return self.tickers[shard, nth]

    def _balanced(self, shard: int) -> list[str]:
        catalogue, found = self.exchange.catalogue, []
        for place in range(len(catalogue)):
            ticker = catalogue.question(place).ticker
            yes, no = self.exchange.depth(ticker)
            listing = catalogue.listing(ticker)
            balanced = yes and no and yes[-1][0] > 100_000 and no[-1][0] > 100_000
            if balanced and listing is not None and listing.shard == shard:
                found.append(ticker)
        return found

    def socket(self) -> Any:
        return self.session.ws_connect(self.server.socket_url, headers=self.headers("GET", SOCKET_PATH))


class Socket:
    """A websocket with the frames it brings."""

    def __init__(self, stream: aiohttp.ClientWebSocketResponse) -> None:
        self.stream = stream
        self._commands = 0

    async def tell(self, cmd: str, **params: object) -> int:
        self._commands += 1
        await self.stream.send_json({"id": self._commands, "cmd": cmd, "params": params})
        return self._commands

    async def frame(self) -> dict[str, Any]:
        return dict(await self.stream.receive_json(timeout=WAIT_SECS))

    async def frames(self, count: int) -> list[dict[str, Any]]:
        return [await self.frame() for _ in range(count)]

    async def until(self, kind: str) -> dict[str, Any]:
        """The next frame of a type; others are passed over."""
        while (frame := await self.frame())["type"] != kind:
            pass
        return frame


@asynccontextmanager
async def serving(
    *,
    questions: tuple[Question, ...] = (),
    settings: WireSettings | None = None,
    shards: int = 1,
    near: int = 0,
    speed: float = 1.0,
) -> AsyncIterator[Served]:
    """An exchange that acts when told to, with a member who may trade."""
    clock = FakeClock(START)
    exchange = EmbeddedExchange(
        questions or load_bundle()[:80],
        clock=clock,
        start=START,
        speed=speed,
        rules=Rules(shards=shards, near=near),
    )
    keys = KeyRing()
    keys.add(KEY_ID, pem())
    settings = settings or WireSettings()
    try:
        async with (
            ExchangeServer(exchange, clock=clock, keys=keys, settings=settings, ticking=False) as server,
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(WAIT_SECS)) as session,
        ):
            yield Served(exchange, server, clock, session, Signer(KEY_ID, pem()))
    finally:
        exchange.close()
