"""Reading one streamed answer within its limits, so that a stall is seen long before the time-out.

The waits follow each other:
  1. For the first token. Pings and comments prove the socket, not progress.
  2. Between lines, each at most ``idle_secs``. Pings count here: a model may think in silence.
  3. For progress, all the while: within ``progress_secs`` the answer grows by ``progress_chars`` at least.
     A stream that is only kept alive, or drips so slowly that no answer is finished that way, is stalled.
  4. Once the answer is complete, a short one for the usage and the end of the body, which keeps the
     connection for the next request.
The deadline bounds them all; the transport keeps it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from jurymast.domain.provider import Failure, FailureKind
from jurymast.intelligence.alarms import Alarms, Timer
from jurymast.intelligence.providers.transport import TransportError
from jurymast.intelligence.providers.wire import Completion, StreamDecoder
from jurymast.policy.failures import BILLING
from jurymast.ports import HttpReply, Tap

LATE_USAGE_SECS: Final = 2.0
DRAIN_SECS: Final = 0.1


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """``first_token_at`` (may be infinite) and ``deadline`` are on the loop's clock, the others durations
    and characters.
    """

    first_token_at: float
    idle_secs: float
    progress_secs: float
    progress_chars: int
    deadline: float


@dataclass(slots=True)
class _Watch:
    """When the stream is given up, and why it would be."""

    limits: StreamLimits
    until: float
    started: bool = False
    silent: bool = True
    _seen_chars: int = 0
    _progress_by: float = 0.0

    def line(self, decoder: StreamDecoder, now: float) -> float:
        """A line has come while the answer is not complete; gives the new end of waiting."""
        grown = decoder.progress - self._seen_chars >= self.limits.progress_chars
        if not self.started or grown:
            self.started = True
            self._seen_chars = decoder.progress
            self._progress_by = now + self.limits.progress_secs
        self.silent = now + self.limits.idle_secs <= self._progress_by
        self.until = min(now + self.limits.idle_secs, self._progress_by)
        return self.until

    def answered(self, now: float, *, closed: bool) -> float:
        """The answer is complete. Only ever earlier: nothing that follows it may prolong it."""
        grace_secs = DRAIN_SECS if closed else LATE_USAGE_SECS
        # A wait that never costs a complete answer its deadline.
        self.until = min(self.until, now + grace_secs, (now + self.limits.deadline) / 2)
        return self.until

    def failure(self) -> Failure:
        limits = self.limits
        if not self.started:
            kind, detail = FailureKind.FIRST_TOKEN_TIMEOUT, "no token came in time"
        elif self.silent:
            kind, detail = FailureKind.STALLED, f"the stream fell silent for {limits.idle_secs:.3g} s"
        else:
            pace = f"{limits.progress_chars} characters in {limits.progress_secs:.3g} s"
            kind, detail = FailureKind.STALLED, f"the answer grew by less than {pace}"
        return Failure(kind, detail, BILLING[kind], status=200)


def _says_something(decoder: StreamDecoder) -> bool:
    """Whether there is anything to pass on: a stream that ends without a word is one only if it may."""
    if decoder.progress or not decoder.answered:
        return decoder.progress > 0
    return isinstance(decoder.result(), Completion)


async def read_stream(
    reply: HttpReply, decoder: StreamDecoder, limits: StreamLimits, alarms: Alarms, tap: Tap | None = None
) -> tuple[Completion | Failure, float | None]:
    """What a stream amounts to, and when its first token came.

    Raises TransportError when the connection fails before the answer is complete.
    """
    loop = asyncio.get_running_loop()
    first_token_at = None
    watch = _Watch(limits, limits.first_token_at)
    try:
        with Timer(watch.until, alarms) as timer:
            async for line in reply.lines():
                decoder.feed(line)
                if tap is not None:
                    tap(line, decoder.texts, started=_says_something(decoder))
                if decoder.closed and not decoder.answered:
                    break
                if not decoder.started:
                    continue
                now = loop.time()
                first_token_at = first_token_at or now
                if decoder.answered:
                    timer.move(watch.answered(now, closed=decoder.closed))
                else:
                    timer.move(watch.line(decoder, now))
    except TimeoutError:
        if not decoder.answered:
            return watch.failure(), first_token_at
    except TransportError:
        if not decoder.answered:
            raise
    return decoder.result(), first_token_at
