"""The world behind the core: what becomes of each request, under virtual time. SIMULATED.

World time runs over the whole schedule; the core's clock only over what is simulated of it. ``offset``
is the difference, and grows when quiet time is skipped.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from jurymast.domain.money import Micros
from jurymast.domain.provider import Billing, Failure, FailureKind
from jurymast.lab.sim.faults import HARMS, Harm, Incident, Onset, Schedule
from jurymast.lab.sim.places import Place
from jurymast.policy.failures import BILLING

CONNECT_SECS: Final = 5.0
FIRST_TOKEN_SHARE: Final = 0.25
"""The first token comes after this share of the whole time."""
SILENCE_SHARE: Final = 0.6
"""Silence before the first token is borne for this share of a time-out, when nothing is said about it."""
STALL_SECS: Final = 20.0
MIDWAY_SHARE: Final = 0.7
PROBE_SHARE: Final = 0.2
"""A probe's few tokens take this share of a whole answer."""
COLD_AFTER_SECS: Final = 330.0
COLD_SECS: Final = 8.0
"""A local server that was not asked for a while loads its model first (assumption)."""
SLOT_SHARE: Final = 0.5
"""A request waits for a free slot for this share of its time-out."""
BASE_HARMS: Final = tuple(HARMS[name] for name in ("500", "reset", "hang"))

TIMEOUT: Final = Failure(FailureKind.TIMEOUT, "SIMULATED timeout", BILLING[FailureKind.TIMEOUT])
SILENT: Final = HARMS["hang"].failure
BUSY: Final = Failure(FailureKind.BUSY, "SIMULATED no free slot", BILLING[FailureKind.BUSY])
_BILLED: Final = frozenset({Billing.UNKNOWN, Billing.BILLED})


@dataclass(slots=True)
class Outcome:
    """What becomes of one request, after ``secs``. ``struck`` when something was wrong with its route."""

    secs: float
    failure: Failure | None
    cost: Micros
    first_token_secs: float | None = None
    struck: bool = False


@dataclass(frozen=True, slots=True)
class Weather:
    """What holds for one route until ``until``."""

    until: float
    rate: float = 0.0
    harms: tuple[Harm, ...] = ()
    slow: float = 1.0

    @property
    def fair(self) -> bool:
        """Whether nothing is wrong at all."""
        return not self.rate and self.slow == 1.0


@dataclass(slots=True)
class _Sky:
    """All weather of one route, and where we are in it."""

    spans: list[Weather]
    ends: list[float]
    since: float = -math.inf
    now: Weather = field(default_factory=lambda: Weather(-math.inf))


class World:
    """Draws the outcome of every request. ``base_rate`` is how often a healthy cloud fails all the same."""

    def __init__(
        self,
        places: Sequence[Place],
        schedule: Schedule,
        random: Random,
        *,
        sticky: bool = False,
        base_rate: float = 0.001,
    ) -> None:
        self.places = tuple(places)
        self.schedule = schedule
        self.base_rate = base_rate
        self.offset = 0.0
        self._random = random
        incidents = [_stuck(incident, random) for incident in schedule.incidents] if sticky else None
        self.incidents: tuple[Incident, ...] = tuple(incidents or schedule.incidents)
        self._skies = [_sky(place, self.incidents) for place in self.places]
        self._slots = [[-math.inf] * place.slots for place in self.places]
        self._asked_at = [-math.inf for _ in self.places]

    def weather(self, place: Place, now: float) -> Weather:
        """What holds for a route at ``now``, on the core's clock."""
        at = now + self.offset
        sky = self._skies[place.index]
        if not sky.since <= at < sky.now.until:
            i = bisect_right(sky.ends, at)
            sky.since = sky.ends[i - 1] if i else -math.inf
            sky.now = sky.spans[i]
        return sky.now

    def well_secs(self, place: Place, now: float) -> float:
        """How long nothing has been wrong with a route, as far as skipped time counts."""
        return now + self.offset - self._skies[place.index].since if self.weather(place, now).fair else 0.0

    def ask(self, place: Place, now: float, timeout_secs: float, first_token_secs: float | None) -> Outcome:
        """One real question, sent at ``now``."""
        random, weather = self._random, self.weather(place, now)
        secs = place.median_secs * math.exp(place.sigma * random.gauss(0.0, 1.0)) * weather.slow
        harm = self._strike(place, weather)
        if place.slots:
            waited_secs = self._queue(place, now, secs, timeout_secs)
            if waited_secs is None:
                return Outcome(SLOT_SHARE * timeout_secs, BUSY, 0)
            secs += waited_secs
        if first_token_secs is None and place.streams_first_token:
            first_token_secs = SILENCE_SHARE * timeout_secs
        silence_secs = min(first_token_secs or timeout_secs, timeout_secs)
        first_secs = FIRST_TOKEN_SHARE * secs
        if harm is not None:
            return self._harmed(place, harm, secs, first_secs, timeout_secs, silence_secs)
        slow = weather.slow > 1.0
        if first_secs > silence_secs or secs > timeout_secs:
            early = first_secs > silence_secs and silence_secs < timeout_secs
            failure, secs = (SILENT, silence_secs) if early else (TIMEOUT, timeout_secs)
            return Outcome(secs, failure, place.worst, None, slow)
        return Outcome(secs, None, place.typical, first_secs if place.streams_first_token else None, slow)

    def probe(self, place: Place, now: float, timeout_secs: float) -> Outcome:
        """One synthetic question of a few tokens: what harms long answers only spares it."""
        random, weather = self._random, self.weather(place, now)
        secs = PROBE_SHARE * place.median_secs * math.exp(place.sigma * random.gauss(0.0, 1.0)) * weather.slow
        harm = self._strike(place, weather)
        if place.slots:
            waited_secs = self._queue(place, now, secs, timeout_secs)
            if waited_secs is None:
                return Outcome(SLOT_SHARE * timeout_secs, BUSY, 0)
            secs += waited_secs
        if harm is not None and not harm.deep:
            first_secs = FIRST_TOKEN_SHARE * secs
            return self._harmed(place, harm, secs, first_secs, timeout_secs, SILENCE_SHARE * timeout_secs)
        if secs > timeout_secs:
            return Outcome(timeout_secs, TIMEOUT, place.probe, None, weather.slow > 1.0)
        return Outcome(secs, None, place.probe)

    def bill(self, place: Place, outcome: Outcome, secs: float) -> Micros:
        """What is billed for a request given up after ``secs``: its prompt, and what had come by then."""
        came = min(1.0, secs / outcome.secs) if outcome.failure is None else 0.0
        return place.prompt + int((place.typical - place.prompt) * came)

    def _strike(self, place: Place, weather: Weather) -> Harm | None:
        drawn = self._random.random()
        if weather.rate and drawn < weather.rate:
            return weather.harms[int(drawn / weather.rate * len(weather.harms))]
        if drawn > 1.0 - self.base_rate and not place.slots:
            return BASE_HARMS[int((1.0 - drawn) / self.base_rate * len(BASE_HARMS))]
        return None

    def _harmed(
        self,
        place: Place,
        harm: Harm,
        secs: float,
        first_secs: float,
        timeout_secs: float,
        silence_secs: float,
    ) -> Outcome:
        failure = harm.failure
        match harm.onset:
            case Onset.AT_ONCE:
                after = 0.1 + 0.4 * self._random.random()
            case Onset.NO_CONNECTION:
                after = min(CONNECT_SECS, silence_secs)
            case Onset.SILENCE:
                after = silence_secs
                failure = failure if silence_secs < timeout_secs else TIMEOUT
            case Onset.STALL:
                after = first_secs + min(SILENCE_SHARE * timeout_secs, STALL_SECS)
            case Onset.MIDWAY:
                after = MIDWAY_SHARE * secs
            case Onset.AT_END:
                after = secs
        if first_secs > silence_secs and after > silence_secs:
            after, failure = silence_secs, SILENT if silence_secs < timeout_secs else TIMEOUT
        elif after > timeout_secs:
            after, failure = timeout_secs, TIMEOUT
        cost = place.worst if failure.billing in _BILLED else 0
        return Outcome(after, failure, cost, None, struck=True)

    def _queue(self, place: Place, now: float, secs: float, timeout_secs: float) -> float | None:
        """Seconds of waiting for a slot and for a model to load; None when no slot comes free in time."""
        slots = self._slots[place.index]
        free = min(range(len(slots)), key=slots.__getitem__)
        waited_secs = max(0.0, slots[free] - now)
        if waited_secs > SLOT_SHARE * timeout_secs:
            return None
        if now - self._asked_at[place.index] > COLD_AFTER_SECS:
            waited_secs += COLD_SECS
        slots[free] = now + min(waited_secs + secs, timeout_secs)
        self._asked_at[place.index] = now
        return waited_secs


def _stuck(incident: Incident, random: Random) -> Incident:
    """Our key is hit wholly with the incident's probability, else spared."""
    rate = 1.0 if random.random() < incident.rate else 0.0
    return Incident(incident.start, incident.end, incident.hits, rate, incident.harms, incident.slow)


def _sky(place: Place, incidents: Iterable[Incident]) -> _Sky:
    """What holds for a route over time: of incidents at once the worst rate and the worst slowness."""
    route = place.route
    hitting = [
        incident
        for incident in incidents
        if any(name is route.provider and model in {None, route.model} for name, model in incident.hits)
        and (incident.rate or incident.slow > 1.0)
    ]
    edges = sorted({at for incident in hitting for at in (incident.start, incident.end)})
    changes = sorted(range(len(hitting)), key=lambda i: hitting[i].start)
    spans: list[Weather] = []
    active: list[Incident] = []
    for edge in [*edges, math.inf]:
        if active:
            worst = max(active, key=lambda incident: incident.rate)
            slow = max(incident.slow for incident in active)
            spans.append(Weather(edge, worst.rate, tuple(HARMS[name] for name in worst.harms), slow))
        else:
            spans.append(Weather(edge))
        active = [incident for incident in active if incident.end > edge]
        while changes and hitting[changes[0]].start <= edge:
            active.append(hitting[changes.pop(0)])
    return _Sky(spans, edges)
