"""Time limits that cost next to nothing to set, put off and take back.

asyncio sorts each timer into a heap and out again, and nearly every limit here is taken back before its time:
an answer came. So many limits share one timer of the loop. It is set for the nearest; one that is taken back
or put off leaves it be, and it looks around when its time has come.
"""

from __future__ import annotations

import asyncio
import math
from contextvars import Context
from types import TracebackType
from typing import Protocol


class Alarm(Protocol):
    """Something that rings when ``until``, the loop's time, has come."""

    until: float

    def ring(self) -> None: ...


class Alarms:
    """Alarms of one event loop: that of the first which is set."""

    __slots__ = ("_handle", "_rings_at", "_waiting")

    def __init__(self) -> None:
        self._waiting: dict[Alarm, None] = {}
        self._handle: asyncio.TimerHandle | None = None
        self._rings_at = math.inf

    def __len__(self) -> int:
        """How many are set."""
        return len(self._waiting)

    def set(self, alarm: Alarm) -> None:
        """Let it ring once, at its ``until``. To be said again when that comes nearer."""
        self._waiting[alarm] = None
        if alarm.until < self._rings_at:
            self._wind(alarm.until)

    def take_back(self, alarm: Alarm) -> None:
        """Harmless for one that has rung or was never set."""
        self._waiting.pop(alarm, None)

    def close(self) -> None:
        """Take all of them back, and the timer."""
        self._waiting.clear()
        self._unwind()

    def _wind(self, at: float) -> None:
        self._unwind()
        self._rings_at = at
        # In no context: a timer would keep alive whatever its maker's holds.
        self._handle = asyncio.get_running_loop().call_at(at, self._ring, context=Context())

    def _unwind(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._rings_at = math.inf

    def _ring(self) -> None:
        now = self._rings_at
        self._unwind()
        due = [alarm for alarm in self._waiting if alarm.until <= now]
        for alarm in due:
            del self._waiting[alarm]
        nearest = min((alarm.until for alarm in self._waiting), default=math.inf)
        if nearest < math.inf:
            self._wind(nearest)
        for alarm in due:
            try:
                alarm.ring()
            except Exception as error:  # the others' time has come as well
                loop = asyncio.get_running_loop()
                loop.call_exception_handler({"message": "an alarm failed", "exception": error})


class Timer:
    """Cancels what runs in its ``with`` block when ``until`` (the loop's time) has come: TimeoutError.

    A cancellation from outside stays one, as with ``asyncio.timeout``.
    """

    __slots__ = ("_alarms", "_cancelling", "_task", "expired", "until")

    def __init__(self, until: float, alarms: Alarms) -> None:
        self.until = until
        self.expired = False
        self._alarms = alarms

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
        self._alarms.set(self)

    def stop(self, error: BaseException | None) -> bool:
        """End it; whether ``error``, which ended what it watched, is its own doing."""
        self._alarms.take_back(self)
        if not self.expired:
            return False
        return self._task.uncancel() <= self._cancelling and isinstance(error, asyncio.CancelledError)

    def move(self, until: float) -> None:
        """Let the time be another, later or earlier."""
        nearer = until < self.until
        self.until = until
        if nearer and not self.expired:
            self._alarms.set(self)

    def ring(self) -> None:
        self.expired = True
        self._task.cancel()
