"""When to say that a model is about to end: sixty, thirty and seven days before, and when it is over.

A vendor's own date counts before ours: it knows best, and it may put the end off.
"""

from __future__ import annotations

from datetime import date
from typing import Final

WARN_DAYS: Final = (60, 30, 7, 0)
"""Days left at which it is said, once each."""


def end_of(stated: str | None, ours: date | None) -> date | None:
    """The last day: what the vendor states (an ISO date), or else our table; None when nobody knows."""
    if stated is not None:
        try:
            return date.fromisoformat(stated)
        except ValueError:
            return ours
    return ours


def stage(ends_on: date | None, today: date) -> int | None:
    """The nearest of WARN_DAYS that has been reached; None while the end is further away or not known."""
    if ends_on is None:
        return None
    left = (ends_on - today).days
    return min((days for days in WARN_DAYS if left <= days), default=None)
