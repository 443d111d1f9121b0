"""A time limit that can be put off for the price of an assignment.

``asyncio.timeout`` tells the loop of every new time, and a stream has one for each line. Here the loop is
told only when the old time has come, and then comes back at the new one.
"""

from __future__ import annotations

import asyncio
import math
from types import TracebackType


class Timer:
    """Cancels what runs in its ``with`` block when ``until`` (the loop's time) has come: TimeoutError.

    A cancellation from outside stays one, as with ``asyncio.timeout``.
    """

    __slots__ = ("_cancelling", "_handle", "_loop", "_set_for", "_task", "_until", "expired")

    def __init__(self, until: float) -> None:
        self.expired = False
        self._until = until
        self._set_for = -math.inf

    def __enter__(self) -> Timer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.stop(error):
            raise TimeoutError from error

    def start(self) -> None:
        """Begin without a block; then :meth:`stop` is the caller's to call."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a timer cancels a task, and none is running")
        self._task = task
        self._cancelling = task.cancelling()
        self._loop = task.get_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._set()

    def stop(self, error: BaseException | None) -> bool:
        """End it; whether ``error``, which ended what it watched, is its own doing."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if not self.expired:
            return False
        return self._task.uncancel() <= self._cancelling and isinstance(error, asyncio.CancelledError)

    def move(self, until: float) -> None:
        """Let the time be another, later or earlier."""
        self._until = until
        if until < self._set_for and not self.expired:
            if self._handle is not None:
                self._handle.cancel()
            self._set()

    def _set(self) -> None:
        self._set_for = self._until
        self._handle = self._loop.call_at(self._until, self._ring) if self._until < math.inf else None

    def _ring(self) -> None:
        if self._set_for < self._until:
            self._set()
            return
        self._handle = None
        self.expired = True
        self._task.cancel()
