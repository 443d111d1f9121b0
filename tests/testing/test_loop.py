"""The virtual loop: hours in no time, in order, and no waiting for what never comes."""

from __future__ import annotations

import asyncio
import socket
import time
from datetime import UTC, datetime, timedelta

import pytest

from jurymast.testing.clock import START
from jurymast.testing.loop import DeadlockError, LoopClock, VirtualLoop, run_virtually


def test_a_day_of_sleep_takes_no_time() -> None:
    """Timers come at their moments on the loop's clock; the machine's hardly moves."""

    async def a_day() -> float:
        for _ in range(24):
            await asyncio.sleep(3_600)
        return asyncio.get_running_loop().time()

    began = time.monotonic()
    assert run_virtually(a_day()) == pytest.approx(86_400)
    assert time.monotonic() - began < 30, "a guard against hanging"


def test_sleepers_wake_in_the_order_of_their_ends() -> None:
    """Whoever was to wake first does, whenever it went to sleep, at its own time."""

    async def woken() -> list[tuple[str, float]]:
        order: list[tuple[str, float]] = []

        async def sleeper(name: str, secs: float) -> None:
            await asyncio.sleep(secs)
            order.append((name, asyncio.get_running_loop().time()))

        await asyncio.gather(sleeper("c", 3), sleeper("a", 0.001), sleeper("b", 2))
        return order

    assert run_virtually(woken()) == [("a", 0.001), ("b", 2.0), ("c", 3.0)]


def test_time_stands_still_while_there_is_work() -> None:
    """Work takes no virtual time, however much of it there is."""

    async def busy() -> float:
        for _ in range(1_000):
            await asyncio.sleep(0)
        return asyncio.get_running_loop().time()

    assert run_virtually(busy()) == 0.0


def test_time_outs_work_as_ever() -> None:
    """A limit ends what is too slow at its moment and leaves what is quick alone."""

    async def limited() -> float:
        async with asyncio.timeout(10):
            await asyncio.sleep(9.999)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await asyncio.sleep(10.001)
        return asyncio.get_running_loop().time()

    assert run_virtually(limited()) == pytest.approx(19.999)


def test_waiting_for_what_never_comes_is_an_error() -> None:
    """When every task waits for another the loop says so instead of hanging, and cleans up."""
    ended = []

    async def stuck() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with pytest.raises(DeadlockError):
        run_virtually(stuck())
    assert ended == [True]


def test_there_is_no_way_out_to_the_network() -> None:
    """A socket in virtual time would time out before its peer could move: it is refused at once."""

    async def listen(end: socket.socket) -> None:
        asyncio.get_running_loop().add_reader(end, lambda: None)

    here, there = socket.socketpair()
    with here, there, pytest.raises(RuntimeError, match="no real I/O"):
        run_virtually(listen(here))


def test_the_clock_is_the_loops() -> None:
    """Records get wall time and durations get seconds of one and the same clock."""

    async def times() -> tuple[float, datetime, datetime]:
        clock, other = LoopClock(), LoopClock(datetime(2030, 1, 1, tzinfo=UTC))
        await clock.sleep(90)
        return clock.monotonic(), clock.utc_now(), other.utc_now()

    assert run_virtually(times()) == (
        90.0,
        START + timedelta(seconds=90),
        datetime(2030, 1, 1, 0, 1, 30, tzinfo=UTC),
    )


def test_every_loop_begins_at_nought() -> None:
    """Two runs know nothing of each other."""
    loops = [VirtualLoop(), VirtualLoop()]
    loops[0].run_until_complete(asyncio.sleep(5))
    assert [loop.time() for loop in loops] == [5.0, 0.0]
    for loop in loops:
        loop.close()
