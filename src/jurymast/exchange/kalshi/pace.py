"""How exchange time follows from our own: at Kalshi one second a second, at the embedded exchange faster.

Two kinds of time must not be mixed. What happens at the exchange (expiries, fills, ages of what it tells)
is in exchange time. How long we or the wire take (a request under way, a silence, a dead process) passes
by the wall, and is so much more of exchange time as that runs faster. Signatures carry wall time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Pace:
    """Exchange time was ``exchange`` at wall time ``wall``, and runs ``speed`` times as fast since."""

    speed: float = 1.0
    wall: datetime = _EPOCH
    exchange: datetime = _EPOCH

    def __post_init__(self) -> None:
        if not self.speed > 0:
            raise ValueError(f"exchange time can't run at {self.speed} of our time")

    def at(self, wall: datetime) -> datetime:
        """Exchange time when our clock says ``wall``."""
        return self.exchange + (wall - self.wall) * self.speed

    def span(self, secs: float) -> timedelta:
        """The exchange time that passes in so many seconds of ours."""
        return timedelta(seconds=secs * self.speed)


KALSHI_PACE = Pace()
"""Kalshi's clock is ours, but for the offset that is measured."""
