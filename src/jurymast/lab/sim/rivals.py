"""What simpler policies make of the same years: the rows beside ours. SIMULATED.

  single           the first choice, one attempt, the whole deadline
  sequential       each route once in order of priority, 25 s each, no memory
  simple-breaker   the same with time kept back for the next, and a breaker that opens after two failures in
                   a row, for a minute doubled each time up to five, and lets one real question try again
  oracle           knows how likely each route is to fail at this moment, and asks the best first

A decision is worked through at once when it comes up, which at a few decisions a minute changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Final

from jurymast.domain.decision import AbstainReason, Rung
from jurymast.domain.provider import Tier
from jurymast.lab.sim.places import Place
from jurymast.lab.sim.scenario import Scenario
from jurymast.lab.sim.shell import DEADLINE_SECS
from jurymast.lab.sim.tally import Part, Tally
from jurymast.lab.sim.windows import Window
from jurymast.lab.sim.world import World

ATTEMPT_SECS: Final = 25.0
RESERVE_SECS: Final = 15.0
"""Kept back for the next route by those who keep time back."""
ATTEMPT_SECS_MIN: Final = 2.0
OPENS_AFTER: Final = 2
OPEN_SECS: Final = 60.0
OPEN_SECS_MAX: Final = 300.0


@dataclass(slots=True)
class _Breaker:
    """Of one route: failures in a row, and until when it is left alone."""

    failures: int = 0
    openings: int = 0
    open_until: float = 0.0

    def came(self, now: float, *, ok: bool) -> None:
        if ok:
            self.failures = self.openings = 0
            return
        self.failures += 1
        if self.failures >= OPENS_AFTER:
            self.open_until = now + min(OPEN_SECS * 2**self.openings, OPEN_SECS_MAX)
            self.openings += 1


Order = Callable[[float], Iterable[Place]]


def drive(scenario: Scenario, world: World, found: tuple[Window, ...], tally: Tally) -> None:
    """Let a rival decide through the windows."""
    arrivals = Random(f"arrivals {scenario.seed}")
    breakers = {place.index: _Breaker() for place in world.places}
    order, timeout_secs, reserve_secs = _policy(scenario.policy, world, breakers)
    for window in found:
        part = tally.quiet if window.quiet else tally.windows
        now = window.start
        while now < window.end:
            _decide(world, part, order(now), breakers, now, timeout_secs, reserve_secs)
            now += 60.0 / scenario.per_minute * (0.5 + arrivals.random())
        part.secs += window.end - window.start


def _policy(name: str, world: World, breakers: dict[int, _Breaker]) -> tuple[Order, float, float]:
    everyone = world.places

    def closed(now: float) -> Iterable[Place]:
        return [place for place in everyone if breakers[place.index].open_until <= now] or everyone

    def best(now: float) -> Iterable[Place]:
        return sorted(everyone, key=lambda place: (world.weather(place, now).rate, place.index))

    match name:
        case "single":
            return lambda _: everyone[:1], DEADLINE_SECS, 0.0
        case "sequential":
            return lambda _: everyone, ATTEMPT_SECS, 0.0
        case "simple-breaker":
            return closed, ATTEMPT_SECS, RESERVE_SECS
        case "oracle":
            return best, ATTEMPT_SECS, RESERVE_SECS
    raise ValueError(f"unknown policy {name!r}")


def _decide(
    world: World,
    part: Part,
    order: Iterable[Place],
    breakers: dict[int, _Breaker],
    began: float,
    timeout_secs: float,
    reserve_secs: float,
) -> None:
    part.decisions += 1
    now, left = began, list(order)
    while left:
        place = left.pop(0)
        remaining_secs = began + DEADLINE_SECS - now
        if remaining_secs < ATTEMPT_SECS_MIN:
            break
        kept_secs = min(reserve_secs, remaining_secs / 2) if left else 0.0
        outcome = world.ask(place, now, min(timeout_secs, remaining_secs - kept_secs), None)
        part.sends += 1
        part.wasted += outcome.struck
        part.cost += outcome.cost
        now += outcome.secs
        breakers[place.index].came(now, ok=outcome.failure is None)
        if outcome.failure is None:
            part.answered[_rung(place)] += 1
            part.latency.add(now - began)
            return
    part.abstained[AbstainReason.ALL_PROVIDERS_FAILED] += 1


def _rung(place: Place) -> Rung:
    if place.spec.tier is Tier.SMALL:
        return Rung.LOCAL
    return Rung.PRIMARY if place.spec.priority == 1 else Rung.FAILOVER
