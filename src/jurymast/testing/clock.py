"""Time that moves only when told to."""

from __future__ import annotations

import asyncio
import heapq
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Final

START: Final = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
"""Where a clock stands unless told otherwise: a Monday noon."""


class FakeClock:
    """``ports.Clock`` that stands still between ``advance`` and ``sleep``; no real time passes.

    A sleeper moves the clock to the end of its sleep. When several sleep at once they wake in the
    order of their ends, so that no sleeper overtakes an earlier one.
    """

    def __init__(self, start: datetime = START) -> None:
        if start.tzinfo is None:
            raise ValueError("a clock needs a start with a time zone")
        self._start = start.astimezone(UTC)
        self._secs = 0.0
        self._sleepers: list[tuple[float, int]] = []
        self._tickets = count()

    def utc_now(self) -> datetime:
        return self._start + timedelta(seconds=self._secs)

    def monotonic(self) -> float:
        """Seconds since the start."""
        return self._secs

    def advance(self, secs: float) -> None:
        """Let time pass. Raises ValueError for less than none."""
        if secs < 0:
            raise ValueError(f"time can't go back by {-secs} s")
        self._secs += secs

    async def sleep(self, secs: float) -> None:
        """Jump to the end of the sleep, after every sleeper who is to wake before."""
        mine = (self._secs + max(secs, 0.0), next(self._tickets))
        heapq.heappush(self._sleepers, mine)
        try:
            await asyncio.sleep(0)
            while self._sleepers[0] != mine:  # noqa: ASYNC110 (no real time passes, one tick per sleeper)
                await asyncio.sleep(0)
            self._secs = max(self._secs, mine[0])
        finally:
            self._sleepers.remove(mine)
            heapq.heapify(self._sleepers)
