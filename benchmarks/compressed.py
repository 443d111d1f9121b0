"""Time that runs faster than the wall's, alike in every process of one benchmark.

Outages last minutes and a benchmark should not. Shortening every time-out by hand would miss those that are
written into the libraries: the openai SDK's back-off of half a second, LiteLLM's minute, our own hour. So the
clock itself is hurried. In a process that calls :func:`run`, ``time.time``, ``time.monotonic``,
``time.perf_counter`` and the event loop go ``scale`` times as fast, and every library keeps the time-outs it
states. What does not go faster is the processor: a millisecond of work counts as ``scale`` milliseconds.

All processes share the machine's monotonic clock, so their hurried seconds are the same seconds.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine
from typing import Any

_wall, _monotonic, _counter = time.time, time.monotonic, time.perf_counter


class _Hurried(selectors.SelectSelector):
    """Waits to the microsecond: epoll's whole milliseconds are a blink of the wall and long in the story."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self._scale = scale

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(None if timeout is None else timeout / self._scale)


def run(main: Callable[[], Coroutine[Any, Any, None]], scale: float) -> None:
    """Run ``main`` on a loop and a clock that are ``scale`` times as fast as the wall's.

    Call it before the libraries under test are imported: some keep a clock they found at import.
    """
    started = _wall()
    time.time = lambda: started + (_wall() - started) * scale
    time.monotonic = lambda: _monotonic() * scale
    time.perf_counter = lambda: _counter() * scale
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(_Hurried(scale))) as runner:
        runner.run(main())


def story_secs(scale: float) -> float:
    """Now on the hurried monotonic clock, for a process whose own clock is left alone."""
    return _monotonic() * scale
