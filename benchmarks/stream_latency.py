"""How old a change of a book is when it stands in a queue for whoever decides, at the busiest second known.

A server in a process of its own sends 600 changes a second of one market; Kalshi's busiest recorded second
had 588. Our client takes them in over a signed websocket: decoded, numbered, applied to an exact book, the
whole book made into a snapshot, put into a queue and taken out of it. The floor reads the same frames with
aiohttp and decodes them. Times are of one monotonic clock for both processes. SIMULATED prices.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import aiohttp
import msgspec
from aiohttp import web
from measure import Spread, between, dump, parser, percentile, ratio, show
from orderbook import TICKER, generated

from jurymast.app.clock import SystemClock
from jurymast.domain.market import Book
from jurymast.exchange.kalshi.hosts import STREAM_PATH, Credentials, Environment, embedded
from jurymast.exchange.kalshi.http import KalshiHttp
from jurymast.exchange.kalshi.session import BOOKS, BookChanged
from jurymast.exchange.kalshi.signing import Signer, generate_pem
from jurymast.exchange.kalshi.stream import KalshiStream

PER_SEC = 600
TARGET_MS = 5.0
CHANGES_MAX = 100_000
WAIT_SECS = 120.0
SUBSCRIBED = '{"type":"subscribed","id":1,"msg":{"channel":"orderbook_delta","sid":1}}'
Way = Callable[[int, int], Awaitable[list[int]]]


def main() -> None:
    options = parser(__doc__, rounds=3, rounds_max=10)
    options.add_argument("--changes", type=between(100, CHANGES_MAX), default=3_000, help="a round")
    options.add_argument("--per-sec", type=between(1, 100_000), default=PER_SEC, help="default 600")
    options.add_argument("--serve", action="store_true", help="be the server")
    chosen = options.parse_args()
    if chosen.serve:
        asyncio.run(_serve(chosen.changes, chosen.per_sec, chosen.seed))
        return
    ways: dict[str, Way] = {"aiohttp and msgspec (floor)": _floor, "Jurymast": _ours}
    late: dict[str, list[list[float]]] = {name: [] for name in ways}
    dice = random.Random(chosen.seed)
    for round_ in range(chosen.rounds):
        for name, way in dice.sample(list(ways.items()), len(ways)):
            late[name].append(
                asyncio.run(_measure(way, chosen.changes, chosen.per_sec, chosen.seed + round_))
            )
    facts = {
        name: {
            f"p{share:g}": Spread.of(percentile(each, share / 100) for each in rounds)
            for share in (50, 99, 100)
        }
        for name, rounds in late.items()
    }
    if chosen.json:
        dump("stream_latency", {"changes": chosen.changes, "per_sec": chosen.per_sec, "ms": facts})
        return
    floor = facts["aiohttp and msgspec (floor)"]["p50"].median
    rows = [
        [name, *(of[share].text(2) for share in of), ratio(of["p50"].median, floor)]
        for name, of in facts.items()
    ]
    title = f"Age of a change in the queue, ms, {chosen.changes:,} at {chosen.per_sec}/s: median (low..high)"
    show(title, ["way", "p50", "p99", "worst", "p50 of floor"], rows)
    worst = facts["Jurymast"]["p99"].high
    print(f"\ntarget: p99 under {TARGET_MS:g} ms: {'met' if worst < TARGET_MS else 'MISSED'}")


async def _measure(way: Way, changes: int, per_sec: int, seed: int) -> list[float]:
    """Ages in milliseconds, by change."""
    command = [sys.executable, __file__, "--serve", "--changes", str(changes)]
    child = await asyncio.create_subprocess_exec(
        *command, "--per-sec", str(per_sec), "--seed", str(seed), stdout=subprocess.PIPE, limit=1 << 26
    )
    assert child.stdout is not None
    async with asyncio.timeout(WAIT_SECS):
        port = int(await child.stdout.readline())
        taken = await way(port, changes)
        sent = json.loads(await child.stdout.readline())
        await child.wait()
    return [(later - earlier) / 1e6 for earlier, later in zip(sent, taken, strict=True)]


async def _ours(port: int, changes: int) -> list[int]:
    queue: asyncio.Queue[Book] = asyncio.Queue()
    taken: list[int] = []

    async def decide() -> None:
        while len(taken) < changes:
            book = await queue.get()
            assert book.bids
            taken.append(time.monotonic_ns())

    key = Credentials(Environment.EMBEDDED, Signer("bench", generate_pem()))
    http = KalshiHttp(embedded(port), key, clock=SystemClock())
    stream = KalshiStream(http, clock=SystemClock(), channels=(BOOKS,), tickers=[TICKER])
    decider = asyncio.create_task(decide())
    async with aclosing(stream.events()) as events:
        seen = -1  # the snapshot itself is no change
        async for event in events:
            if isinstance(event, BookChanged):
                seen += 1
                book = stream.books.book(event.ticker)
                if seen and book is not None:
                    queue.put_nowait(book)
            if seen == changes:
                break
    await decider
    await http.close()
    return taken


async def _floor(port: int, changes: int) -> list[int]:
    taken: list[int] = []
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://127.0.0.1:{port}{STREAM_PATH}") as socket,
    ):
        await socket.send_str("{}")
        async for message in socket:
            if msgspec.json.decode(message.data)["type"] == "orderbook_delta":
                taken.append(time.monotonic_ns())
            if len(taken) == changes:
                break
    return taken


async def _serve(changes: int, per_sec: int, seed: int) -> None:
    """Answer the first command with a snapshot, then send changes at an even pace."""
    frames, _ = generated(changes + 1, random.Random(seed))
    done = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        await socket.send_str(SUBSCRIBED)
        await socket.send_str(frames[0])
        await asyncio.sleep(0.2)
        sent: list[int] = []
        begun = time.monotonic()
        for number, frame in enumerate(frames[1:]):
            wait = begun + number / per_sec - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            sent.append(time.monotonic_ns())
            await socket.send_str(frame)
        print(json.dumps(sent), flush=True)
        await socket.receive()
        done.set()
        return socket

    application = web.Application()
    application.router.add_get(STREAM_PATH, handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.wait_for(done.wait(), WAIT_SECS)
    await runner.cleanup()


if __name__ == "__main__":
    main()
