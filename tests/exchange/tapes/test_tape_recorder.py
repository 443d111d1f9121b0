"""Recording over real sockets: an exchange plays a tape, our client records it, and both tapes are alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tape_world import BYTES_MAX, WALL, Script, T

from jurymast.app.clock import SystemClock
from jurymast.domain.errors import ConfigError
from jurymast.exchange.embedded.exchange import EmbeddedExchange
from jurymast.exchange.embedded.server.keys import KeyRing
from jurymast.exchange.embedded.server.limits import UNLIMITED
from jurymast.exchange.embedded.server.server import ExchangeServer
from jurymast.exchange.embedded.server.site import WireSettings
from jurymast.exchange.kalshi.hosts import Credentials, Environment, embedded
from jurymast.exchange.kalshi.http import KalshiHttp
from jurymast.exchange.kalshi.rest import KalshiRest
from jurymast.exchange.kalshi.signing import Signer, generate_pem
from jurymast.exchange.tapes.file import read_rows
from jurymast.exchange.tapes.opening import open_tape
from jurymast.exchange.tapes.recorder import Recorded, Recorder, busiest
from jurymast.exchange.tapes.reel import load_tape
from jurymast.testing.clock import FakeClock

KEY = "key-1"
WAIT_SECS = 10.0
AGES_SECS = 1e12
"""The exchange's clock moves when told to and ours by itself: signatures are taken at any age."""


def script() -> Script:
    told = Script().book(0.0, [(39, 200), (40, 100)], [(55, 50), (54, 70)])
    for step in range(40):
        told.change(1.0 + step, "yes", 30 + step % 7, 1 + step)
        if step % 5 == 0:
            told.trade(1.5 + step, 40, 1, "no").change(1.5 + step, "yes", 40, -1)
    return told.change(400.0, "no", 1, 1)


@dataclass
class Studio:
    """An exchange that plays a tape when told to, and our client at it."""

    exchange: EmbeddedExchange
    server: ExchangeServer
    clock: FakeClock
    rest: KalshiRest

    def play(self, secs: float) -> None:
        for _ in range(round(secs * 4)):
            self.clock.advance(0.25)
            self.exchange.tick()

    def levels(self) -> dict[int, int]:
        yes, no = self.exchange.depth(T)
        return dict(yes) | {-price: count for price, count in no}


@asynccontextmanager
async def studio(tmp_path: Path) -> AsyncIterator[Studio]:
    clock, keys, pem = FakeClock(WALL), KeyRing(AGES_SECS), generate_pem()
    keys.add(KEY, pem)
    exchange = open_tape(script().written(tmp_path / "played.tape"), clock=clock)
    settings = WireSettings(tier=UNLIMITED)
    try:
        async with ExchangeServer(
            exchange, clock=clock, keys=keys, settings=settings, ticking=False
        ) as server:
            key = Credentials(Environment.EMBEDDED, Signer(KEY, pem))
            rest = KalshiRest(KalshiHttp(embedded(server.port), key, clock=SystemClock()))
            try:
                yield Studio(exchange, server, clock, rest)
            finally:
                await rest.close()
    finally:
        exchange.close()


def recorder(rest: KalshiRest, path: Path, bytes_max: int = BYTES_MAX) -> Recorder:
    return Recorder(rest, [T], path, clock=SystemClock(), bytes_max=bytes_max)


async def recorded(at: Studio, path: Path, story: Callable[[], Awaitable[None]]) -> Recorded:
    """Record while a story is told. It ends when all that was said has arrived."""
    at_work = recorder(at.rest, path)
    task = asyncio.create_task(at_work.record(2 * WAIT_SECS))
    try:
        await until(lambda: at.exchange.engine.state.markets[T].watched)
        await story()
        await until(lambda: left(path) == at.levels())
    finally:
        at_work.stop()
        done = await task
    return done


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_SECS):
        while not holds():  # noqa: ASYNC110 (what is waited for happens in a file)
            await asyncio.sleep(0.02)


def left(path: Path) -> dict[int, int]:
    """What the levels of a tape come to in the end."""
    try:
        reel = load_tape(path).reels[T]
    except ConfigError:
        return {}  # nothing has been written yet
    levels: dict[int, int] = {}
    for place, change in zip(reel.places, reel.changes, strict=True):
        if place < 1_000_000:
            levels[place] = levels.get(place, 0) + change
    return {place: count for place, count in levels.items() if count}


async def test_what_is_recorded_is_what_was_played(tmp_path: Path) -> None:
    """Books, executions and the market's facts come onto the tape; played again it has the same levels."""
    path = tmp_path / "own.tape"
    async with studio(tmp_path) as at:
        at.play(0.5)
        assert await busiest(at.rest, 5) == [T]

        async def story() -> None:
            at.play(45.0)

        done = await recorded(at, path, story)
        assert left(path) == at.levels()
    assert (done.ended, done.missed, done.lost) == ("stopped", 0, 0)
    reel = load_tape(path).reels[T]
    assert reel.traded == 800
    assert reel.market is not None
    assert reel.market.ticker == T


async def test_a_broken_connection_is_no_hole(tmp_path: Path) -> None:
    """Lost connections and lost frames are on the tape as such, and the book is right again behind them."""
    path = tmp_path / "own.tape"
    async with studio(tmp_path) as at:
        at.play(0.5)

        async def story() -> None:
            at.server.control.set_fault("ws_disconnect", times=1)
            at.play(5.0)
            await until(lambda: [row.mark for row in read_rows(path)].count("opened") == 2)
            await until(lambda: left(path) == at.levels())
            at.server.control.set_fault("ws_gap", times=1)
            at.play(20.0)

        done = await recorded(at, path, story)
    assert (done.lost, done.missed) == (1, 1)
    assert [row.mark for row in read_rows(path) if row.mark] == ["opened", "lost", "opened"]


async def test_recording_ends_with_its_time_or_its_tape_and_goes_on_later(tmp_path: Path) -> None:
    """The bounds hold, of the file over all its runs; a further run continues it and says where it did."""
    path = tmp_path / "own.tape"
    async with studio(tmp_path) as at:
        at.play(0.5)
        first = await recorder(at.rest, path).record(0.3)
        second = await recorder(at.rest, path).record(0.3)
        last = recorder(at.rest, path, bytes_max=first.size_bytes)
        full = await asyncio.wait_for(last.record(60 * WAIT_SECS), WAIT_SECS)
    assert (first.ended, second.ended, full.ended) == ("time", "time", "size")
    assert full.rows < 12  # what it had in hand when it noticed
    rows = list(read_rows(path))
    assert len(rows) == first.rows + second.rows + full.rows
    assert [row.mark for row in rows].count("resumed") == 2


async def test_a_tape_has_markets(tmp_path: Path) -> None:
    """Nothing and far too much are refused before anything is asked for."""
    async with studio(tmp_path) as at:
        for tickers in ([], [str(number) for number in range(501)]):
            with pytest.raises(ConfigError, match="1 to 500"):
                Recorder(at.rest, tickers, tmp_path / "x", clock=SystemClock(), bytes_max=1)
