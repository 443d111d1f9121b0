"""One deadline and one work budget per decision.

An attempt may use what it usually needs with a margin, never more than its own cap, and never the time in
which the next route would usually answer. So a silent provider costs one attempt, not the decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MARGIN: Final = 1.25
"""An attempt may take so many times its 99th percentile."""
FLOOR_SHARE: Final = 0.2
"""However fast a route usually is, an attempt may take this share of the cap."""
RESERVE_SHARE_MAX: Final = 0.5
"""However slow the next route usually is, the attempt keeps at least half of what is left."""

LAST_FACTOR: Final = 2.0
"""The last attempt of a decision may take so many times the cap."""


@dataclass(frozen=True, slots=True)
class WorkSettings:
    """Bounds of one decision. Times in seconds."""

    attempt_secs_max: float = 25.0
    attempt_secs_min: float = 2.0
    sends_max: int = 3
    fast_failure_secs: float = 2.0
    hedge_secs_min: float = 0.1


def attempt_timeout(
    remaining_secs: float, usual_secs: float, reserve_secs: float, settings: WorkSettings
) -> float | None:
    """Time-out of the next attempt, or None when too little is left for one.

    ``usual_secs`` is the route's 99th percentile, ``reserve_secs`` what the route after it usually needs.
    """
    if remaining_secs < settings.attempt_secs_min:
        return None
    wanted = max(usual_secs * MARGIN, settings.attempt_secs_max * FLOOR_SHARE, settings.attempt_secs_min)
    reserve = min(reserve_secs, remaining_secs * RESERVE_SHARE_MAX)
    return max(settings.attempt_secs_min, min(wanted, settings.attempt_secs_max, remaining_secs - reserve))


def last_timeout(remaining_secs: float, settings: WorkSettings) -> float | None:
    """Time-out of an attempt after which nobody able is left: it may take what remains, within reason."""
    if remaining_secs < settings.attempt_secs_min:
        return None
    return min(remaining_secs, settings.attempt_secs_max * LAST_FACTOR)
