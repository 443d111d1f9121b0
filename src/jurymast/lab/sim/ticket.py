"""One simulated decision under way."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from jurymast.lab.sim.places import Place
from jurymast.lab.sim.tally import Part
from jurymast.lab.sim.world import Outcome
from jurymast.policy.walk import Walk


@dataclass(slots=True)
class Ticket:
    """One decision under way, with what the world has in store for its attempts."""

    walk: Walk
    part: Part
    serial: int
    sends: int = 0
    alarm_at: float = math.inf
    outcomes: dict[int, tuple[Place, Outcome, float]] = field(default_factory=dict)
    """Of each attempt under way: where, what becomes of it, and when it was sent."""
    last_failed: bool = False
