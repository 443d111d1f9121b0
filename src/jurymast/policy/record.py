"""One route with everything learned about it, and what is under way there.

Work is counted when it is sent. A route that has said nothing for longer than chance explains is *silent*:
nothing more is sent to it while another can answer, long before any time-out. Silence is judged by one
request, which is overdue, or by the oldest few together: the chance that all of them are still out is the
product of theirs, and as that of a well route is a supermartingale (Ville 1939), a limit of one in a hundred
mistakes at most one spell without a word in a hundred, however often it is looked at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import islice
from operator import attrgetter
from typing import Final

from jurymast.domain.provider import FailureKind, Route, Tier
from jurymast.domain.status import RouteState
from jurymast.policy.detector import RouteHealth
from jurymast.policy.edges import Edge
from jurymast.policy.latency import SAMPLES_MIN, Latency
from jurymast.policy.limits import Concurrency
from jurymast.policy.routing import RouteSpec

FIRST_TOKEN_FACTOR: Final = 2.0
SILENCE_CHANCE: Final = 0.01
SILENT_TOGETHER: Final = 8
"""Requests that are judged together: more would condemn a route for being slower than it was."""

UNTRIED: Final = RouteHealth()
_SAMPLES: Final = attrgetter("samples")


@dataclass(slots=True)
class Sent:
    """An attempt under way. Times are monotonic seconds."""

    record: Record
    at: float
    overdue_at: float
    latency: Latency
    """How long such prompts usually take there."""
    hedge: bool = False
    hedged: bool = False
    overdue_secs: float | None = None
    """Set while it waits for money: how long its route may be silent once it has left."""

    @property
    def waits_for(self) -> str:
        return "no answer in time" if self.overdue_secs is None else "waited for AI money"


@dataclass(slots=True, eq=False)
class Record:
    """One route with everything learned about it."""

    spec: RouteSpec
    concurrency: Concurrency
    edge: Edge
    latencies: list[Latency]
    first_token: Latency
    health: RouteHealth = UNTRIED
    siblings: tuple[Record, ...] = ()
    in_flight: dict[int, Sent] = field(default_factory=dict)
    """Attempts that have left, the earliest first."""
    last_seen_at: float = -math.inf
    heard_at: float = -math.inf
    """When anything last came back from it, be it a refusal."""
    mute_at: float = -math.inf
    """When a request was last given up for its silence."""
    last_success_at: float = -math.inf
    opened_at: float = -math.inf
    last_real_at: float = -math.inf
    """When it last answered a real question, or was last sent one in shadow."""
    alike: int = 0
    pace: float = 0.0
    paced_at: float = -math.inf
    served: float = 0.0
    route: Route = field(init=False)

    def __post_init__(self) -> None:
        self.route = self.spec.route

    @property
    def sick(self) -> bool:
        """Known to be: asked only when nothing better is left."""
        return not self.health.usable

    @property
    def out(self) -> bool:
        """Not asked at all until a person or a slow probe puts it back."""
        health = self.health
        return not health.usable and (
            health.state is RouteState.LATCHED or health.state is RouteState.ISOLATED
        )

    @property
    def full(self) -> bool:
        return len(self.in_flight) >= int(self.concurrency.allowed)

    def silent(self, now: float) -> bool:
        """Whether nothing has come back for longer than chance explains.

        After one was given up for its silence the next one goes alone, until something comes back.
        """
        if not self.in_flight:
            return False
        if self.mute_at > self.heard_at:
            return True
        oldest = next(iter(self.in_flight.values()))
        if oldest.overdue_at > self.heard_at and now >= oldest.overdue_at:
            return True
        return len(self.in_flight) > 1 and self._chance_of_silence(now) <= SILENCE_CHANCE

    def _chance_of_silence(self, now: float) -> float:
        """How likely the oldest few requests that are out would all have been so since the last word."""
        chance = 1.0
        for sent in islice(self.in_flight.values(), SILENT_TOGETHER):
            chance *= sent.latency.share_beyond(now - sent.at)
            if sent.at < self.heard_at:
                chance /= sent.latency.share_beyond(self.heard_at - sent.at)
        return chance

    def latency(self, prompt_class: int) -> Latency:
        """Its latency for such prompts; that of the best-known class when this one is new."""
        latency = self.latencies[prompt_class]
        return latency if latency.samples else max(self.latencies, key=_SAMPLES)

    def usual_secs(self, kind: FailureKind, prompt_class: int) -> float:
        """What it is known to need before silence of this kind says something of it."""
        if kind is FailureKind.FIRST_TOKEN_TIMEOUT and self.first_token.effective >= SAMPLES_MIN:
            return self.first_token.q99_secs
        return self.latency(prompt_class).q99_secs

    def first_token_limit(self, longest_secs: float, least_secs: float) -> float | None:
        """How long it may be silent; None while it is not known when its first tokens come."""
        if self.first_token.effective < SAMPLES_MIN or self.spec.tier is Tier.SMALL:
            return None
        return min(longest_secs, max(self.first_token.q99_secs * FIRST_TOKEN_FACTOR, least_secs))
