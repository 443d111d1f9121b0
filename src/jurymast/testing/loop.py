"""An event loop whose time jumps instead of passing: hours take no time and go the same way in each run.

Real code runs on it unchanged, timers, tasks and cancellation included; only sockets don't, since the world
outside does not wait. Tests of the product run whole outages on it.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any, TypeVar

from jurymast.testing.clock import START

T = TypeVar("T")


class DeadlockError(RuntimeError):
    """Everybody waits and no timer will ever wake anyone."""


class _Jumper(selectors.DefaultSelector):
    """Waits for nothing: moves the clock by the time it was asked to wait."""

    now = 0.0

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        if self.get_map():  # the one entry is the loop's own way to be woken by signals
            raise RuntimeError("virtual time has no real I/O: the other side would not jump along")
        return super().register(fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if timeout is None and not events:
            raise DeadlockError("nothing is ready and no timer is set: every task waits for another")
        if timeout is not None and not events:
            self.now += max(timeout, 0.0)
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop. ``time()`` starts at 0 and jumps to the next timer whenever nothing else is to be done.

    Raises DeadlockError from ``run_until_complete`` when nothing ever can be, and RuntimeError at the
    attempt to open a socket.
    """

    def __init__(self) -> None:
        self._jumper = _Jumper()
        super().__init__(self._jumper)

    def time(self) -> float:
        return self._jumper.now


class LoopClock:
    """``ports.Clock`` that shows the time of the running loop; on a VirtualLoop it jumps along."""

    def __init__(self, start: datetime = START) -> None:
        self._start = start

    def utc_now(self) -> datetime:
        """``start`` is when the loop's time was 0."""
        return self._start + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, secs: float) -> None:
        await asyncio.sleep(secs)


def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run`` in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
