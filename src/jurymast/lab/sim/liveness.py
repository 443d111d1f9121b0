"""Is somebody well left unused, or given up too soon? What a core can't know of itself."""

from __future__ import annotations

from typing import Final

from jurymast.domain.money import Micros
from jurymast.domain.provider import Route
from jurymast.domain.status import RouteState
from jurymast.lab.sim.world import World
from jurymast.policy.failover import Failover
from jurymast.policy.walk import Walk

PATIENCE_PERIODS: Final = 2
"""A route may stay out for so many of the longest open times after it is well."""
LATCH_MARGIN: Final = 1.2


def unused(
    core: Failover, world: World, asked: Route, now: float, *, since: float, money: Micros
) -> str | None:
    """Which better choice than ``asked`` has been well for long without being asked first.

    ``since`` is when anything last interfered or money that had run out was renewed, ``money`` what is left
    of the day's: a route that can't be paid for can't be proven well either.
    """
    if core.health.preferred is not None:
        return None
    for place in world.places:
        if place.route == asked:
            return None
        record = core.health.records[place.route]
        state = record.health.state
        if state is RouteState.ISOLATED or record.in_flight or record.health.held_until > now:
            continue
        if place.worst > money:
            continue
        detector = core.settings.detector
        patience_secs = PATIENCE_PERIODS * detector.open_secs_max
        if state is RouteState.LATCHED:
            patience_secs += LATCH_MARGIN * detector.latch_probe_secs
        well_secs = min(world.well_secs(place, now), now - since)
        if well_secs > patience_secs and not place.spec.route.instance:
            return f"{place.route} {state}, well for {well_secs:.0f} s, not used"
    return None


def surrendered(walk: Walk, now: float, attempt_secs_min: float) -> str | None:
    """Which route that is well was left unasked by a decision that gave up with time left."""
    left_secs = walk.ends_at - now
    for record in walk.untried:
        route = record.route
        well = record.health.state is RouteState.HEALTHY and record.health.held_until <= now
        given_up = (route.provider, route.instance) in walk.given_up or walk.refusals > 1
        if well and not given_up and left_secs > attempt_secs_min:
            return f"gave up with {route} well and {left_secs:.1f} s left"
    return None
