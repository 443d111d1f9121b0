"""Spreads the day's AI money over the day, and keeps some for the hours that matter.

What is kept for certain hours binds everyone until they begin: it is part of the day's cap (``Cap.kept``).
The pace binds optional requests only: a shadow question, a hedge, a second opinion is withheld while more is
spent and held than the plan has come to by now. The plan starts the day with ``HEAD_SHARE`` of what is not
reserved, brings the rest of it evenly over the hours outside, and the reserve evenly over its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from jurymast.domain.money import Micros
from jurymast.policy.ledger import Account

HEAD_SHARE: Final = 0.25
"""Of what is not reserved, there from midnight on: a bot that starts in the morning is no spendthrift."""
HOURS: Final = 24.0


@dataclass(frozen=True, slots=True)
class Pace:
    """``reserve_share`` of the day's money is for the hours from ``from_hour`` to ``until_hour`` (UTC).

    Raises ValueError for hours that are none, or a reserve without hours.
    """

    reserve_share: float = 0.0
    from_hour: int = 0
    until_hour: int = 24

    def __post_init__(self) -> None:
        if not 0 <= self.from_hour < self.until_hour <= HOURS:
            raise ValueError(f"the hours from {self.from_hour} to {self.until_hour} are not within one day")
        if not 0.0 <= self.reserve_share <= 1.0:
            raise ValueError("a share lies between 0 and 1")

    def kept(self, limit: Micros) -> Micros:
        """What is kept back of the day's ``limit`` until ``from_hour``."""
        return int(limit * self.reserve_share) if self.from_hour else 0


def planned_share(pace: Pace, now: datetime) -> float:
    """Share of the day's money that the plan has brought by ``now``; it only rises, to 1 at midnight."""
    hour = now.hour + now.minute / 60 + now.second / 3_600
    reserved_hours = pace.until_hour - pace.from_hour
    if not pace.reserve_share or reserved_hours == HOURS:
        return HEAD_SHARE + (1.0 - HEAD_SHARE) * hour / HOURS
    inside = min(max(hour - pace.from_hour, 0.0), reserved_hours)
    outside = HEAD_SHARE + (1.0 - HEAD_SHARE) * (hour - inside) / (HOURS - reserved_hours)
    return (1.0 - pace.reserve_share) * outside + pace.reserve_share * inside / reserved_hours


def at_ease(pace: Pace, day: Account, worst: Micros, now: datetime) -> bool:
    """Whether an optional request that may cost ``worst`` is within the plan of the day's account."""
    return worst == 0 or day.taken + day.held + worst <= day.limit * planned_share(pace, now)
