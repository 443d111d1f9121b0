"""One deadline and one work budget per decision.

An attempt may use what remains, less a reserve for the routes that may still be needed, and never more
than its own cap. So a silent provider costs one cap, not the decision.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WorkSettings:
    """Bounds of one decision. Times in seconds."""

    attempt_secs_max: float = 25.0
    attempt_secs_min: float = 2.0
    sends_max: int = 3
    fast_failure_secs: float = 2.0


def attempt_timeout(remaining_secs: float, routes_after: int, settings: WorkSettings) -> float | None:
    """Time-out of the next attempt, or None when too little is left for one.

    ``routes_after`` is how many further sends are possible; each keeps at least half of an equal share.
    """
    if remaining_secs < settings.attempt_secs_min:
        return None
    equal_share = remaining_secs / (routes_after + 1)
    reserve = min(settings.attempt_secs_max, max(settings.attempt_secs_min, equal_share / 2)) * routes_after
    return min(settings.attempt_secs_max, max(settings.attempt_secs_min, remaining_secs - reserve))
