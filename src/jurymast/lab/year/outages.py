"""What the failover core made of a year: its mode, its share of the size and who answered, at any time.

It is the core of the simulator in the simulator's own weather, without people who interfere, with money
enough and without a local model, whose opinion could open no risk anyway.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from jurymast.domain.money import USD
from jurymast.domain.provider import Tier
from jurymast.domain.status import EmergencyMode
from jurymast.lab.sim.climate import YEAR_SECS, made_up
from jurymast.lab.sim.faults import Incident, Schedule
from jurymast.lab.sim.invariants import Rules
from jurymast.lab.sim.marks import What
from jurymast.lab.sim.places import Layout, Place, places
from jurymast.lab.sim.run import simulate
from jurymast.lab.sim.shell import Shell
from jurymast.lab.sim.tally import Tally
from jurymast.lab.sim.windows import windows
from jurymast.lab.sim.world import World
from jurymast.policy.emergency import TABLE
from jurymast.policy.failover import FailoverSettings
from jurymast.policy.judges import Thinking

CLOUDS: Final = 3
BUDGET: Final = 1_000 * USD
CACHED: Final = Thinking(cached=1)
"""Some opinion is always cached: CACHED lasts minutes, opinions last two hours, and many are asked for."""
OUTAGES_MAX: Final = 100
LONGER_MAX: Final = 100.0


@dataclass(frozen=True, slots=True)
class Status:
    """What holds from ``since`` (seconds of the year) on. ``answers`` is who answers, None for nobody."""

    since: float
    mode: EmergencyMode = EmergencyMode.NORMAL
    share: float = 1.0
    answers: Place | None = None

    @property
    def blind(self) -> bool:
        """Whether no question is answered, or none is put."""
        return self.answers is None or not TABLE[self.mode].ask_ai


class Outages:
    """A year of statuses."""

    def __init__(self, statuses: Sequence[Status], secs: float, violations: int = 0) -> None:
        self._statuses = tuple(statuses)
        self._times = [status.since for status in statuses]
        self._secs = secs
        self.violations = violations
        """Rules of the simulator that were broken: none, or the core has a defect."""

    def __iter__(self) -> Iterator[Status]:
        return iter(self._statuses)

    def at(self, secs: float) -> Status:
        return self._statuses[bisect_right(self._times, secs) - 1]

    def last_answer(self, secs: float) -> tuple[float, Place] | None:
        """When somebody last answered before ``secs``, and who; None when nobody ever has."""
        until = secs
        for index in range(bisect_right(self._times, secs) - 1, -1, -1):
            status = self._statuses[index]
            if not status.blind and status.answers is not None:
                return until, status.answers
            until = status.since
        return None

    def secs_in(self) -> Counter[EmergencyMode]:
        """How long each mode held."""
        held: Counter[EmergencyMode] = Counter()
        for status, until in zip(self._statuses, [*self._times[1:], self._secs], strict=True):
            held[status.mode] += max(0.0, min(until, self._secs) - min(status.since, self._secs))  # type: ignore[assignment]  # seconds are no whole numbers
        return held


def routes() -> tuple[Place, ...]:
    """Who can be asked, the first choice first."""
    return tuple(place for place in places(Layout(CLOUDS)) if place.spec.tier is not Tier.SMALL)


def scheduled(seed: int, years: float, *, outages: int, longer: float, edge_hours: float = 4.0) -> Schedule:
    """The simulator's weather, so many times as often and each incident so many times as long.

    Several schedules laid over one another are as often the one: their incidents are Poisson processes.
    """
    secs = years * YEAR_SECS
    found = [
        incident
        for turn in range(outages)
        for incident in made_up(seed + turn * 1_000_003, years, CLOUDS, edge_hours=edge_hours).incidents
    ]
    stretched = [_longer(each, longer) for each in found]
    return Schedule(secs, tuple(sorted(stretched, key=lambda i: (i.start, i.end, i.hits, i.harms))))


def _longer(incident: Incident, times: float) -> Incident:
    return replace(incident, end=incident.start + times * (incident.end - incident.start))


def lived_through(seed: int, schedule: Schedule, *, per_minute: float = 1.0) -> Outages:
    """Let the core live through a schedule."""
    world = World(routes(), schedule, Random(f"requests {seed}"))
    tally = Tally()
    settings = FailoverSettings()
    rules = Rules(seed, "jurymast year", settings.work.sends_max, per_minute)
    shell = _Watched(
        world, Random(f"dice {seed}"), rules, tally, settings=settings, budget_per_day=BUDGET
    )  # fmt: skip
    shell.core.told(CACHED, 0.0)
    arrivals = Random(f"arrivals {seed}")
    found = windows(world.incidents, schedule.secs, 0, Random(0))
    for index, window in enumerate(found):
        next_start = found[index + 1].start if index + 1 < len(found) else math.inf
        simulate(shell, window, next_start, arrivals, 60.0 / per_minute, None)
    return Outages(shell.statuses, schedule.secs, len(rules.violations))


class _Watched(Shell):
    """Keeps what changes. Time that is skipped is like the end of the window before it: all is well."""

    def __init__(
        self, world: World, random: Random, rules: Rules, tally: Tally, *, settings: FailoverSettings,
        budget_per_day: int,
    ) -> None:  # fmt: skip
        self.statuses = [Status(0.0, answers=world.places[0])]
        super().__init__(world, random, rules, tally, settings=settings, budget_per_day=budget_per_day)

    @property
    def settled(self) -> bool:
        """A window ends when all of the size is earned back too."""
        return super().settled and self.core.size_share == 1.0

    def mark(self, now: float, what: What, where: int) -> None:
        super().mark(now, what, where)
        last = self.statuses[-1]
        answers = last.answers
        if what is What.ANSWERED:
            answers = self.world.places[where]
        elif what is What.ABSTAINED:
            answers = None
        elif what is not What.MODE_MOVED:
            return
        status = Status(now + self.world.offset, self.core.ladder.mode, self.core.size_share, answers)
        if replace(status, since=last.since) != last:
            self.statuses.append(status)
