"""How soon a fault of the route in use is found, and how soon a mended one is used again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from jurymast.domain.provider import Route
from jurymast.lab.sim.faults import Incident
from jurymast.lab.sim.places import Place
from jurymast.lab.sim.tally import Tally
from jurymast.lab.sim.world import World

TOTAL_RATE: Final = 0.99
PARTIAL_RATE: Final = 0.4


@dataclass(slots=True)
class _Watch:
    """A fault of 40 % or more that is not found yet. ``since`` on the core's clock."""

    incident: Incident
    since: float
    decisions: int = 0


class Watches:
    """Compares the route that is asked first with what is wrong at that moment."""

    def __init__(self, world: World, tally: Tally) -> None:
        self._world = world
        self._tally = tally
        self._coming = self._in_order()
        self._next = next(self._coming, None)
        self._open: _Watch | None = None
        self._left: tuple[Route, float] | None = None
        """The route that was given up, and since when on the core's clock it has been well."""
        self._first: Route | None = None

    def began(self, first: Route, now: float) -> None:
        """A decision asks ``first`` first."""
        at = now + self._world.offset
        while self._next is not None and self._next.start <= at:
            self._starts(self._next, now)
            self._next = next(self._coming, None)
        if self._open is not None:
            self._look(self._open, first, now, at)
        elif first != self._first and self._left is not None and first == self._left[0]:
            since = now - self._world.well_secs(self._place(first), now)
            if since > self._left[1]:
                self._tally.failed_back.add(now - since)
            self._left = None
        self._first = first

    def _look(self, watch: _Watch, first: Route, now: float, at: float) -> None:
        tally, total = self._tally, watch.incident.rate >= TOTAL_RATE
        if not _hits(watch.incident, first):
            (tally.found_total if total else tally.found_partial).add(now - watch.since)
            counted = tally.found_total_decisions if total else tally.found_partial_decisions
            counted[watch.decisions] += 1
            if self._first is not None:
                self._left = (self._first, now)
            self._open = None
        elif at >= watch.incident.end:
            tally.not_found += 1
            self._open = None
        else:
            watch.decisions += 1

    def _starts(self, incident: Incident, now: float) -> None:
        self._tally.incidents += 1
        late = now + self._world.offset >= incident.end
        if self._open is None and self._first is not None and not late and _hits(incident, self._first):
            self._open = _Watch(incident, incident.start - self._world.offset)

    def _in_order(self) -> Iterator[Incident]:
        """Faults by error rate; slowness is not looked for."""
        yield from (incident for incident in self._world.incidents if incident.rate >= PARTIAL_RATE)

    def _place(self, route: Route) -> Place:
        return next(place for place in self._world.places if place.route == route)


def _hits(incident: Incident, route: Route) -> bool:
    return any(name is route.provider and model in {None, route.model} for name, model in incident.hits)
