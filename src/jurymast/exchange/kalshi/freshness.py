"""How current the account's data is, and waiting until it is current enough to be believed.

Balance, orders, fills and positions are told as of a moment about a second ago. A read that does not yet
know of our last write would show an order as missing or cash as unspent, so reads wait for it, within
bounds, and say so when it doesn't come.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

from jurymast.domain.errors import ExchangeUnavailable
from jurymast.ports import Clock

CATCH_UP_SECS: Final = 3.0
STALE_SECS_MAX: Final = 60.0
_PAUSE_SECS: Final = 0.25


class Freshness:
    """Knows our last write and the age of what Kalshi tells. ``now`` and ``stale_max`` are exchange time."""

    def __init__(
        self,
        read: Callable[[], Awaitable[datetime]],
        now: Callable[[], datetime],
        clock: Clock,
        *,
        catch_up_secs: float = CATCH_UP_SECS,
        stale_max: timedelta = timedelta(seconds=STALE_SECS_MAX),
    ) -> None:
        self._read = read
        self._now = now
        self._clock = clock
        self._catch_up_secs = catch_up_secs
        self._stale = stale_max
        self._changed_at: datetime | None = None

    def changed(self, at: datetime) -> None:
        """Kalshi acknowledged a write of ours at ``at`` of its time."""
        self._changed_at = at if self._changed_at is None else max(at, self._changed_at)

    async def ensure(self) -> datetime:
        """As of when a read that starts now is told. Raises ExchangeUnavailable when it is behind."""
        until = self._clock.monotonic() + self._catch_up_secs
        while True:
            as_of = await self._read()
            if self._changed_at is None or as_of >= self._changed_at:
                break
            if self._clock.monotonic() >= until:
                raise ExchangeUnavailable(
                    f"Kalshi tells our account as of {as_of:%H:%M:%S}, before our last order at "
                    f"{self._changed_at:%H:%M:%S}; nothing is concluded from it"
                )
            await self._clock.sleep(_PAUSE_SECS)
        if self._now() - as_of > self._stale:
            raise ExchangeUnavailable(
                f"Kalshi tells our account as of {as_of:%Y-%m-%d %H:%M:%S}, more than "
                f"{self._stale.total_seconds():g} s ago; nothing is concluded from it"
            )
        return as_of
