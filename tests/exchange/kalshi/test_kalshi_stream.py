"""On real sockets: the stream connects, repairs itself, and under storms loses nothing that is ours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import kalshi_server as sent
import pytest
from aiohttp import web
from kalshi_server import KEY_ID, PEM

from jurymast.app.clock import SystemClock
from jurymast.domain.money import CENT
from jurymast.exchange.kalshi.hosts import Credentials, Environment, embedded
from jurymast.exchange.kalshi.http import KalshiHttp
from jurymast.exchange.kalshi.inbox import Inbox, Lost, Opened
from jurymast.exchange.kalshi.session import BOOKS, FILLS, ORDERS, BookChanged, Filled, Missed
from jurymast.exchange.kalshi.signing import SIGNATURE_HEADER, TIMESTAMP_HEADER, Signer, Verifier
from jurymast.exchange.kalshi.stream import KalshiStream, StreamEvent

A = "KXRAIN-26NOV-T1"
PATH = "/trade-api/ws/v2"
GUARD_SECS = 10.0


@dataclass
class Line:
    """The server's end of one connection."""

    socket: web.WebSocketResponse
    seq: int = 0
    sid: int = 0
    commands: list[dict[str, Any]] = field(default_factory=list)

    async def command(self) -> dict[str, Any]:
        """The next command of the client."""
        told: dict[str, Any] = await self.socket.receive_json(timeout=GUARD_SECS)
        self.commands.append(told)
        return told

    async def subscribe_all(self, channels: int = 3) -> None:
        """Acknowledge so many subscriptions, sids 1, 2, 3 in their order; books get an empty snapshot."""
        for sid in range(1, channels + 1):
            command = await self.command()
            channel = command["params"]["channels"][0]
            await self.send("subscribed", id=command["id"], msg={"channel": channel, "sid": sid})
            if channel == BOOKS:
                self.sid = sid
                await self.snapshot()

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket.send_str(json.dumps({"type": kind, **fields}))

    async def numbered(self, kind: str, skip: int = 0, **message: Any) -> None:
        self.seq += 1 + skip
        await self.send(kind, sid=self.sid, seq=self.seq, msg={"market_ticker": A, **message})

    async def snapshot(self, *levels: list[str]) -> None:
        await self.numbered("orderbook_snapshot", yes_dollars_fp=list(levels))

    async def delta(self, size: str, price: str = "0.4200", *, skip: int = 0) -> None:
        await self.numbered("orderbook_delta", skip, side="yes", price_dollars=price, delta_fp=size)

    async def fill(self, number: int) -> None:
        told = {**sent.fill(f"f{number}"), "ts_ms": 1_793_631_600_000}
        await self.send("fill", sid=2, msg=told)

    async def until_closed(self) -> None:
        while not self.socket.closed:
            message = await self.socket.receive(timeout=GUARD_SECS)
            if message.type in {web.WSMsgType.CLOSE, web.WSMsgType.CLOSING, web.WSMsgType.CLOSED}:
                return


Script = Callable[[Line], Awaitable[None]]


@asynccontextmanager
async def kalshi(*scripts: Script, **settings: Any) -> AsyncIterator[KalshiStream]:
    """A stream to a server that plays one script per connection and refuses any further one."""
    waiting = list(scripts)

    async def handle(request: web.Request) -> web.StreamResponse:
        headers = request.headers
        signature, at = headers.get(SIGNATURE_HEADER, ""), headers.get(TIMESTAMP_HEADER, "")
        if not waiting or not Verifier(PEM).verifies(signature, at, "GET", PATH):
            return web.Response(status=401)
        script = waiting.pop(0)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await script(Line(socket))
        await socket.close()
        return socket

    application = web.Application()
    application.router.add_get(PATH, handle)
    async with serving(application) as port:
        http = http_at(port)
        clock = SystemClock()
        stream = KalshiStream(http, clock=clock, tickers=[A], **{"backoff_secs": 0.01, **settings})
        try:
            yield stream
        finally:
            await http.close()


@asynccontextmanager
async def serving(application: web.Application) -> AsyncIterator[int]:
    runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def http_at(port: int) -> KalshiHttp:
    credentials = Credentials(Environment.EMBEDDED, Signer(KEY_ID, PEM))
    return KalshiHttp(embedded(port), credentials, clock=SystemClock())


async def events_until(stream: KalshiStream, done: Callable[[StreamEvent], bool]) -> list[StreamEvent]:
    """Everything that is told up to and including the first event that ``done`` accepts."""
    told: list[StreamEvent] = []
    async with asyncio.timeout(GUARD_SECS), aclosing(stream.events()) as events:
        async for event in events:
            told.append(event)
            if done(event):
                return told
    raise AssertionError("a stream does not end")


async def until(happened: Callable[[], bool]) -> None:
    """Let everybody else work until something has happened; the caller bounds the time."""
    while not happened():  # noqa: ASYNC110 (a counter of the product is watched, it has no event)
        await asyncio.sleep(0.001)


def best_bid(stream: KalshiStream) -> int | None:
    best = stream.books.best(A)
    return best[0] if best else None


async def test_a_book_and_a_fill_arrive() -> None:
    """After a signed handshake everything is subscribed; books are kept and fills told."""
    lines: list[Line] = []

    async def script(line: Line) -> None:
        lines.append(line)
        await line.subscribe_all()
        await line.delta("10.00")
        await line.fill(1)
        await line.until_closed()

    seen: list[int | None] = []
    async with kalshi(script) as stream:

        def filled(event: StreamEvent) -> bool:
            seen.append(best_bid(stream))
            return isinstance(event, Filled)

        told = await events_until(stream, filled)
        assert stream.books.book(A) is None, "nobody reads any more"
    assert [type(event) for event in told] == [Opened, BookChanged, BookChanged, Filled]
    assert seen[-1] == 42 * CENT
    assert [each["params"]["channels"] for each in lines[0].commands] == [[BOOKS], [FILLS], [ORDERS]]


async def test_a_gap_heals_itself() -> None:
    """A missing frame makes the book stale and a snapshot is fetched, on the same connection."""

    async def script(line: Line) -> None:
        await line.subscribe_all()
        await line.delta("10.00", skip=1)
        command = await line.command()
        assert command["params"] == {"sids": [1], "market_tickers": [A], "action": "get_snapshot"}
        await line.snapshot(["0.4300", "1.00"])
        await line.until_closed()

    states: list[tuple[type, int | None]] = []
    async with kalshi(script) as stream:

        def healed(event: StreamEvent) -> bool:
            states.append((type(event), best_bid(stream)))
            return best_bid(stream) == 43 * CENT

        await events_until(stream, healed)
    assert (Missed, None) in states


async def test_a_cut_line_is_made_anew_with_all_its_subscriptions() -> None:
    """After a cut the books are gone, everything is subscribed again, and both are told."""

    async def cut(line: Line) -> None:
        await line.subscribe_all()
        await line.delta("10.00")
        assert line.socket._req is not None
        assert line.socket._req.transport is not None
        await asyncio.sleep(0.05)
        line.socket._req.transport.abort()

    async def again(line: Line) -> None:
        await line.subscribe_all()
        await line.snapshot(["0.4400", "1.00"])
        await line.until_closed()

    between: list[int | None] = []
    async with kalshi(cut, again) as stream:

        def back(event: StreamEvent) -> bool:
            if isinstance(event, Lost):
                between.append(best_bid(stream))
            return best_bid(stream) == 44 * CENT

        told = await events_until(stream, back)
    assert [type(event) for event in told if isinstance(event, Opened | Lost)] == [Opened, Lost, Opened]
    assert between == [None]


async def test_a_book_ends_with_its_line_even_while_nobody_reads() -> None:
    """When the line is cut its books are gone at once, not only when the reader comes round to it."""

    async def script(line: Line) -> None:
        await line.subscribe_all()
        await line.delta("10.00")
        await asyncio.sleep(0.05)

    guard = asyncio.timeout(GUARD_SECS)
    async with kalshi(script) as stream, guard, aclosing(stream.events()) as events:
        async for _ in events:
            if best_bid(stream) == 42 * CENT:
                await until(lambda: stream.books.book(A) is None)
                return


async def test_a_silent_line_is_a_dead_one() -> None:
    """When not even pings come, the connection is given up; with pings it stays however little is told."""

    async def silent(line: Line) -> None:
        await line.subscribe_all()
        await line.until_closed()

    async def pinging(line: Line) -> None:
        await line.subscribe_all()
        for _ in range(10):
            await line.socket.ping(b"heartbeat")
            await asyncio.sleep(0.05)
        await line.delta("10.00")
        await line.until_closed()

    async with kalshi(silent, pinging, silence_secs_max=0.4) as stream:
        told = await events_until(stream, lambda _: best_bid(stream) == 42 * CENT)
    (lost,) = (event for event in told if isinstance(event, Lost))
    assert "nothing was heard for 0.4 s" in lost.reason


async def test_in_a_storm_our_fills_are_kept_and_books_come_back() -> None:
    """A reader that stalls under a flood sheds market data, marks the book stale, and misses no fill."""
    flood, fills = 3_000, 60
    stalled = asyncio.Event()

    async def script(line: Line) -> None:
        await line.subscribe_all()
        await stalled.wait()
        for number in range(flood):
            await line.delta("1.00")
            if number % (flood // fills) == 0:
                await line.fill(number)
        while True:
            await line.command()
            await line.snapshot(["0.4500", "1.00"])

    inbox = Inbox(frames_max=500)
    told: list[StreamEvent] = []
    guard = asyncio.timeout(GUARD_SECS)
    async with kalshi(script, inbox=inbox) as stream, guard, aclosing(stream.events()) as events:
        async for event in events:
            told.append(event)
            if isinstance(event, BookChanged) and not stalled.is_set():
                stalled.set()
                await until(lambda: inbox.shed > 0)
                assert stream.books.book(A) is None
            if best_bid(stream) == 45 * CENT:
                break
    got = [event.fill.fill_id for event in told if isinstance(event, Filled)]
    assert got == [f"f{number}" for number in range(0, flood, flood // fills)]
    assert inbox.shed > 0


async def test_a_broken_session_makes_a_new_connection() -> None:
    """When a connection can't be repaired from within, another one is made."""

    async def confused(line: Line) -> None:
        await line.subscribe_all()
        await line.send("error", msg={"code": 1, "msg": "about nothing"})
        await line.until_closed()

    async def again(line: Line) -> None:
        await line.subscribe_all()
        await line.delta("10.00")
        await line.until_closed()

    async with kalshi(confused, again) as stream:
        told = await events_until(stream, lambda _: best_bid(stream) == 42 * CENT)
    (lost,) = (event for event in told if isinstance(event, Lost))
    assert "about nothing we know" in lost.reason


async def test_followed_markets_change_on_the_way() -> None:
    """Markets are added and removed without a new connection."""
    asked: list[dict[str, Any]] = []

    async def script(line: Line) -> None:
        await line.subscribe_all()
        asked.extend([await line.command(), await line.command()])
        line.seq += 1
        await line.send(
            "orderbook_snapshot", sid=1, seq=line.seq, msg={"market_ticker": "KXSNOW-1", "yes_dollars_fp": []}
        )
        await line.until_closed()

    async with kalshi(script) as stream:

        def known(event: StreamEvent) -> bool:
            if event == BookChanged(A):
                stream.follow(["KXSNOW-1"])
            return event == BookChanged("KXSNOW-1")

        await events_until(stream, known)
    assert [each["params"]["action"] for each in asked] == ["add_markets", "delete_markets"]


async def test_a_refused_handshake_corrects_the_clock() -> None:
    """A 401 may be our clock: it is measured, and the next handshake carries Kalshi's time."""
    theirs = SystemClock().utc_now() + timedelta(seconds=300)
    stamps: list[int] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        at_ms = int(request.headers[TIMESTAMP_HEADER])
        stamps.append(at_ms)
        if abs(at_ms - theirs.timestamp() * 1000) > 10_000:
            return web.Response(status=401, headers={"date": format_datetime(theirs, usegmt=True)})
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await Line(socket).until_closed()
        return socket

    application = web.Application()
    application.router.add_get(PATH, handle)
    async with serving(application) as port:
        http = http_at(port)
        stream = KalshiStream(http, clock=SystemClock(), backoff_secs=0.01)
        told = await events_until(stream, lambda event: isinstance(event, Opened))
        await http.close()
    assert isinstance(told[0], Lost)
    assert len(stamps) == 2


@pytest.mark.parametrize("attempts", [3])
async def test_reconnecting_slows_down(attempts: int) -> None:
    """Where nobody listens the pauses between attempts grow, and each failure is told."""
    pauses: list[float] = []

    class Watched(SystemClock):
        async def sleep(self, secs: float) -> None:
            pauses.append(secs)
            await asyncio.sleep(0)

    async with serving(web.Application()) as port:
        pass
    http = http_at(port)
    stream = KalshiStream(http, clock=Watched(), backoff_secs=0.5)
    await events_until(stream, lambda event: isinstance(event, Lost) and len(pauses) >= attempts)
    await http.close()
    assert pauses[:attempts] == [1.0, 2.0, 4.0]
