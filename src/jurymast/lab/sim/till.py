"""The day's AI money of a simulated bot, renewed at midnight of a wall clock that may jump."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Final

from jurymast.domain.money import Micros
from jurymast.lab.sim.invariants import Rules
from jurymast.lab.sim.world import World
from jurymast.policy.ledger import Account, Cap, held, judged, opened, rolled, settled

DAY_SECS: Final = 86_400
FIRST_DAY: Final = datetime(2024, 1, 1, tzinfo=UTC)
"""A Monday: world time 0."""
EASE_SHARE: Final = 0.5
"""Shadow questions are asked while this share of the day's money is left."""


class Till:
    """Keeps ``limit`` micro-dollars a day, free requests left out."""

    def __init__(self, limit: Micros, world: World, rules: Rules) -> None:
        self.wall_jump_secs = 0.0
        self._limit = limit
        self._world = world
        self._rules = rules
        self._budget = opened(Cap(limit), "", FIRST_DAY)
        self._day_until = 0.0
        self._dearest = max(place.worst for place in world.places)
        self.renewed_at = -math.inf
        """When a day began before which not every route could be paid for any more."""

    def today(self, now: float) -> Account:
        if now >= self._day_until:
            wall = now + self._world.offset + self.wall_jump_secs
            day = int(wall // DAY_SECS)
            self._day_until = now + (day + 1) * DAY_SECS - wall
            before = self._budget
            self._budget = rolled(before, FIRST_DAY + timedelta(days=max(day, 0)))
            if self._budget is not before and before.left < self._dearest:
                self.renewed_at = now
        return self._budget

    def look_again(self) -> None:
        """World time has jumped: look again which day it is."""
        self._day_until = -math.inf

    def reserve(self, worst: Micros, now: float) -> bool:
        """Hold the worst case of a request; whether it fits."""
        if worst:
            budget = self.today(now)
            if judged((budget,), worst, budget.start) is not None:
                return False
            self._budget = held(budget, worst)
        return True

    def reserve_at_ease(self, worst: Micros, now: float) -> bool:
        """The same for an optional request: only while much is left."""
        budget = self.today(now)
        if worst and budget.left - worst < EASE_SHARE * budget.limit:
            return False
        return self.reserve(worst, now)

    def settle(self, worst: Micros, cost: Micros, now: float, uncertain: Micros = 0) -> None:
        if worst:
            self._budget = settled(self._budget, worst, cost, uncertain)
            self._rules.paid(self._budget, self._limit, now)

    def book(self, cost: Micros, now: float) -> None:
        """What was not reserved: a probe."""
        self._budget = settled(self.today(now), 0, cost)
