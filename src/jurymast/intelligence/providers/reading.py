"""Reading one streamed answer within its limits, so that a stall is seen long before the time-out.

Three waits follow each other: for the first token (pings prove the socket, not progress), then between
lines (pings count: a model may think in silence), then, once the answer is complete, a short one for
the usage and the end of the body, which keeps the connection for the next request.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from jurymast.domain.provider import Failure, FailureKind
from jurymast.intelligence.providers.transport import TransportError
from jurymast.intelligence.providers.wire import Completion, StreamDecoder
from jurymast.policy.failures import BILLING
from jurymast.ports import HttpReply

LATE_USAGE_SECS: Final = 2.0
DRAIN_SECS: Final = 0.1


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """``first_token_at`` and ``deadline`` are on the loop's clock, ``idle_secs`` is a duration."""

    first_token_at: float
    idle_secs: float
    deadline: float


async def read_stream(
    reply: HttpReply, decoder: StreamDecoder, limits: StreamLimits
) -> tuple[Completion | Failure, float | None]:
    """What a stream amounts to, and when its first token came.

    Raises TransportError when the connection fails before the answer is complete.
    """
    loop = asyncio.get_running_loop()
    first_token_at = None
    until = limits.first_token_at
    try:
        async with asyncio.timeout_at(until) as watch:
            async for line in reply.lines():
                decoder.feed(line)
                if decoder.closed and not decoder.answered:
                    break
                if not decoder.started:
                    continue
                now = loop.time()
                first_token_at = first_token_at or now
                if decoder.answered:
                    # Only ever earlier: nothing that follows an answer may prolong it.
                    grace_secs = DRAIN_SECS if decoder.closed else LATE_USAGE_SECS
                    until = min(until, _soon(now, grace_secs, limits.deadline))
                else:
                    until = now + limits.idle_secs
                watch.reschedule(until)
    except TimeoutError:
        if not decoder.answered:
            return _silence(limits, started=decoder.started), first_token_at
    except TransportError:
        if not decoder.answered:
            raise
    return decoder.result(), first_token_at


def _soon(now: float, secs: float, deadline: float) -> float:
    """A wait that never costs a complete answer its deadline."""
    return min(now + secs, (now + deadline) / 2)


def _silence(limits: StreamLimits, *, started: bool) -> Failure:
    if started:
        detail, kind = f"the stream fell silent for {limits.idle_secs:.3g} s", FailureKind.STALLED
    else:
        detail, kind = "no token came in time", FailureKind.FIRST_TOKEN_TIMEOUT
    return Failure(kind, detail, BILLING[kind], status=200)
