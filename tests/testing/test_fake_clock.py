"""FakeClock: time that moves only when told to."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest

from jurymast.testing.clock import START, FakeClock


async def test_time_stands_still_unless_told() -> None:
    """However much work is done, an untouched clock shows its start."""
    clock = FakeClock()
    for _ in range(100):
        await asyncio.sleep(0)
    assert clock.utc_now() == START
    assert clock.monotonic() == 0.0


def test_advancing_moves_both_times_alike() -> None:
    """Wall time and monotonic time advance by the same seconds."""
    clock = FakeClock()
    clock.advance(90.5)
    assert clock.utc_now() == START + timedelta(seconds=90.5)
    assert clock.monotonic() == 90.5


def test_time_never_goes_back() -> None:
    """A negative advance is refused and changes nothing."""
    clock = FakeClock()
    with pytest.raises(ValueError, match="can't go back"):
        clock.advance(-1)
    assert clock.monotonic() == 0.0


def test_a_start_is_kept_in_utc() -> None:
    """A start in another zone is the same instant in UTC; one without a zone is refused."""
    clock = FakeClock(datetime(2026, 1, 5, 14, 0, tzinfo=timezone(timedelta(hours=2))))
    assert clock.utc_now() == START
    assert clock.utc_now().tzinfo is UTC
    with pytest.raises(ValueError, match="time zone"):
        FakeClock(datetime(2026, 1, 5))  # noqa: DTZ001 (the refused case)


async def test_sleeping_jumps_to_the_end() -> None:
    """A sleep takes no real time and ends exactly when it should."""
    clock = FakeClock()
    await clock.sleep(3_600)
    assert clock.monotonic() == 3_600.0


async def test_sleepers_wake_in_the_order_of_their_ends() -> None:
    """Whoever sleeps longest is overtaken by everybody else, also by repeated short sleeps."""
    clock = FakeClock()
    woken: list[tuple[str, float]] = []

    async def nap(name: str, secs: float, times: int) -> None:
        for _ in range(times):
            await clock.sleep(secs)
            woken.append((name, clock.monotonic()))

    await asyncio.gather(nap("long", 10, 1), nap("short", 3, 4), nap("middle", 5, 1))
    assert woken == [("short", 3), ("middle", 5), ("short", 6), ("short", 9), ("long", 10), ("short", 12)]


async def test_a_cancelled_sleeper_holds_nobody_up() -> None:
    """Cancelling a sleep neither moves the clock nor blocks later sleepers."""
    clock = FakeClock()
    early = asyncio.create_task(clock.sleep(1))
    late = asyncio.create_task(clock.sleep(2))
    await asyncio.sleep(0)
    early.cancel()
    await late
    assert clock.monotonic() == 2.0
    assert early.cancelled()
