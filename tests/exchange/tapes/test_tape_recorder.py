"""Recording over real sockets: an exchange plays a tape, our client records it, and both tapes are alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tape_world import BYTES_MAX, Script, T

from jurymast.app.clock import SystemClock
from jurymast.domain.errors import ConfigError
from jurymast.exchange.embedded.exchange import EmbeddedExchange
from jurymast.exchange.embedded.server.keys import KeyRing
from jurymast.exchange.embedded.server.server import ExchangeServer
from jurymast.exchange.embedded.server.site import WireSettings
from jurymast.exchange.kalshi.hosts import Credentials, Environment, embedded
from jurymast.exchange.kalshi.http import KalshiHttp
from jurymast.exchange.kalshi.rest import KalshiRest
from jurymast.exchange.kalshi.signing import Signer, generate_pem
from jurymast.exchange.tapes.file import read_rows
from jurymast.exchange.tapes.opening import open_tape
from jurymast.exchange.tapes.recorder import Recorded, Recorder, busiest
from jurymast.exchange.tapes.reel import Reel, load_tape

SPEED = 40.0
TICK_SECS = 0.02
KEY = "key-1"


def script() -> Script:
    told = Script().book(0.0, [(39, 200), (40, 100)], [(55, 50), (54, 70)])
    for step in range(40):
        told.change(1.0 + step, "yes", 30 + step % 7, 1 + step)
        if step % 5 == 0:
            told.trade(1.5 + step, 40, 1, "no").change(1.5 + step, "yes", 40, -1)
    return told.change(400.0, "no", 1, 1)


@asynccontextmanager
async def playing(tmp_path: Path) -> AsyncIterator[tuple[EmbeddedExchange, ExchangeServer, KalshiRest]]:
    """An exchange that plays a tape fast, with our client at it."""
    clock, keys, pem = SystemClock(), KeyRing(), generate_pem()
    keys.add(KEY, pem)
    exchange = open_tape(script().written(tmp_path / "played.tape"), clock=clock, speed=SPEED)
    settings = WireSettings(tier="prestige")
    try:
        async with ExchangeServer(
            exchange, clock=clock, keys=keys, settings=settings, tick_secs=TICK_SECS
        ) as server:
            key = Credentials(Environment.EMBEDDED, Signer(KEY, pem))
            rest = KalshiRest(KalshiHttp(embedded(server.port), key, clock=clock))
            yield exchange, server, rest
            await rest.close()
    finally:
        exchange.close()


def recorder(rest: KalshiRest, path: Path, bytes_max: int = BYTES_MAX) -> Recorder:
    return Recorder(rest, [T], path, clock=SystemClock(), bytes_max=bytes_max)


def left(reel: Reel) -> dict[int, int]:
    """What the levels come to in the end."""
    levels: dict[int, int] = {}
    for place, change in zip(reel.places, reel.changes, strict=True):
        if place < 1_000_000:
            levels[place] = levels.get(place, 0) + change
    return {place: count for place, count in levels.items() if count}


async def test_what_is_recorded_is_what_was_played(tmp_path: Path) -> None:
    """Books, executions and the market's facts come onto the tape; played again it has the same levels."""
    async with playing(tmp_path) as (exchange, _, rest):
        assert await busiest(rest, 5) == [T]
        done = await recorder(rest, tmp_path / "own.tape").record(1.3)
        yes, no = exchange.depth(T)
    assert (done.ended, done.missed, done.lost) == ("time", 0, 0)
    tape = load_tape(tmp_path / "own.tape")
    assert left(tape.reels[T]) == dict(yes) | {-price: count for price, count in no}
    assert tape.reels[T].traded == 800
    facts = tape.reels[T].market
    assert facts is not None
    assert facts.ticker == T


async def test_a_broken_connection_is_no_hole(tmp_path: Path) -> None:
    """Lost connections and lost frames are on the tape as such, and the book is right again behind them."""
    async with playing(tmp_path) as (exchange, server, rest):
        task = asyncio.create_task(recorder(rest, tmp_path / "own.tape").record(2.0))
        await asyncio.sleep(0.2)
        server.control.set_fault("ws_disconnect", times=1)
        await asyncio.sleep(0.9)
        server.control.set_fault("ws_gap", times=1)
        done = await task
        yes, no = exchange.depth(T)
    assert done.lost == 1
    marks = [row.mark for row in read_rows(tmp_path / "own.tape") if row.mark]
    assert marks[:3] == ["opened", "lost", "opened"]
    levels = left(load_tape(tmp_path / "own.tape").reels[T])
    assert levels == dict(yes) | {-price: count for price, count in no}


async def test_recording_stops_when_the_tape_is_full_and_goes_on_later(tmp_path: Path) -> None:
    """The bound holds for the file; a second run continues it and says where it did."""
    path = tmp_path / "own.tape"
    async with playing(tmp_path) as (_, _, rest):
        first: Recorded = await recorder(rest, path).record(0.3)
        second: Recorded = await recorder(rest, path).record(0.3)
        full: Recorded = await recorder(rest, path, bytes_max=first.size_bytes).record(5.0)
    assert full.ended == "size"
    rows = list(read_rows(path))
    assert len(rows) == first.rows + second.rows + full.rows
    assert [row.mark for row in rows].count("resumed") == 2
    assert load_tape(path).missed == 0


async def test_a_tape_has_markets(tmp_path: Path) -> None:
    """Nothing and far too much are refused before anything is asked for."""
    async with playing(tmp_path) as (_, _, rest):
        for tickers in ([], [str(number) for number in range(501)]):
            with pytest.raises(ConfigError, match="1 to 500"):
                Recorder(rest, tickers, tmp_path / "x", clock=SystemClock(), bytes_max=1)
