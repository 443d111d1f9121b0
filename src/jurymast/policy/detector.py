"""Health of one route, from what its requests came to.

Rules
  - Evidence adds up (CUSUM, Page 1954): a plain failure adds ln(p1/p0) = 2.7, a success takes off
    0.34, never below zero, with p0 = 2 % and p1 = 30 % failures. No minimum volume, so it works at one
    decision a minute, where every gateway's error-rate window stays blind.
  - One failure makes a route suspect: it keeps its place. Two in a row open it. Open only reorders:
    routing still uses an open route when nothing better is left, and an answer there closes it at once.
  - An open route waits ``open_secs`` doubled per opening (capped), then becomes half-open: probes off
    the decision path ask it. ``probes_to_close`` answers put it on probation, suspect with evidence so
    high that one bad answer opens it again: a probe is shallow and must not outvote real traffic.
  - Failures that time does not mend (key, credit, retired model) latch it: not used, probed slowly.
  - A rate limit is no sickness: it counts nothing and holds the route for as long as it was asked to
    wait. Of two such demands the longer holds. Nothing is sent to a held route while another can answer.
  - ISOLATED is put on and taken off by hand only.

Transitions
    state      success     failure             latching   time       probe ok             probe failed
    healthy    healthy     suspect | open      latched    healthy    healthy              suspect | open
    suspect    healthy*    suspect | open      latched    suspect    healthy*             suspect | open
    open       suspect     open                latched    half_open  half_open            open, longer
    half_open  suspect     open, longer        latched    half_open  suspect after n      open, longer
    latched    suspect     latched             latched    latched    suspect              latched
    isolated   isolated    isolated            isolated   isolated   isolated             isolated
    (* once the evidence has fallen far enough: about three successes for one failure)

This module knows nothing of requests, clocks or providers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum, auto

from jurymast.domain.status import RouteState

BASE_FAILURE_RATE = 0.02
SICK_FAILURE_RATE = 0.30
FAILURE_STEP = math.log(SICK_FAILURE_RATE / BASE_FAILURE_RATE)
SUCCESS_STEP = math.log((1 - BASE_FAILURE_RATE) / (1 - SICK_FAILURE_RATE))
SUSPECT_AT = 2.7
OPEN_AT = 5.0
HEALTHY_BELOW = SUSPECT_AT - 3 * SUCCESS_STEP + 0.01
PROBATION = 3.2
"""Evidence of a route that has just come back: even a weak failure (0.7) opens it again."""
EVIDENCE_MAX = 10.0
DOUBLINGS_MAX = 8
PROBE_SHARE = 0.25
"""A probe is shallow: its answer takes off this share of what a real one does."""
SUSPECT_HASTE = 4
"""A suspect route without traffic is probed this many times more often than a healthy one."""


class Sign(Enum):
    """What one request or probe came to."""

    SUCCESS = auto()
    FAILURE = auto()
    LATCH = auto()
    PROBE_OK = auto()
    PROBE_FAILED = auto()


@dataclass(frozen=True, slots=True)
class DetectorSettings:
    """Times in seconds."""

    open_secs: float = 15.0
    open_secs_max: float = 300.0
    latch_probe_secs: float = 3_600.0
    probes_to_close: int = 2


@dataclass(frozen=True, slots=True)
class RouteHealth:
    """State of one route. ``next_probe_at`` is on the monotonic clock of whoever hands in ``now``."""

    state: RouteState = RouteState.HEALTHY
    evidence: float = 0.0
    openings: int = 0
    next_probe_at: float = math.inf
    probes_ok: int = 0
    last_seen_at: float = -math.inf
    held_until: float = -math.inf
    reason: str = "no request yet"

    @property
    def seen(self) -> bool:
        """Whether any request or probe has come back yet."""
        return self.last_seen_at > -math.inf

    @property
    def usable(self) -> bool:
        """Whether it counts as capacity: believed to answer if asked."""
        return self.state in {RouteState.HEALTHY, RouteState.SUSPECT}

    def probe_due(self, now: float, idle_secs: float) -> bool:
        """Whether a probe would buy information: time to ask a sick route, or an idle one."""
        if self.state is RouteState.ISOLATED or now < self.held_until:
            return False
        if self.usable:
            patience = idle_secs if self.state is RouteState.HEALTHY else idle_secs / SUSPECT_HASTE
            return now - self.last_seen_at >= patience
        return now >= self.next_probe_at


def observe(
    health: RouteHealth,
    sign: Sign,
    now: float,
    settings: DetectorSettings,
    *,
    weight: float = 1.0,
    reason: str = "",
    jitter: float = 1.0,
) -> RouteHealth:
    """Fold one sign into the health of a route.

    ``weight`` scales a failure's evidence (0 counts nothing: a rate limit is not sickness). ``jitter``
    multiplies the open time, so that routes do not come back in step.
    """
    seen = replace(health, last_seen_at=now)
    if health.state is RouteState.ISOLATED:
        return seen
    if sign is Sign.LATCH or (health.state is RouteState.LATCHED and sign in _BAD):
        return replace(
            seen, state=RouteState.LATCHED, reason=reason or health.reason, probes_ok=0,
            next_probe_at=now + settings.latch_probe_secs * jitter,
        )  # fmt: skip
    if sign in _BAD:
        return _failed(seen, sign, now, settings, weight, reason, jitter)
    if health.usable:
        return _answered(seen, SUCCESS_STEP * (PROBE_SHARE if sign is Sign.PROBE_OK else 1.0))
    return _came_back(seen, sign, now, settings)


def hold(health: RouteHealth, until: float) -> RouteHealth:
    """Leave a route alone until ``until``; a longer hold stays."""
    return replace(health, held_until=max(health.held_until, until))


def tick(health: RouteHealth, now: float) -> RouteHealth:
    """Let time pass: an open route whose time is up may be probed."""
    if health.state is RouteState.OPEN and now >= health.next_probe_at:
        return replace(health, state=RouteState.HALF_OPEN, probes_ok=0, reason="open time over, probing")
    return health


def isolate(health: RouteHealth, reason: str) -> RouteHealth:
    """Take a route out by hand."""
    return replace(health, state=RouteState.ISOLATED, reason=reason, next_probe_at=math.inf)


def restore(health: RouteHealth, now: float) -> RouteHealth:
    """Put a route back that is not used: half-open, to be probed at once. A usable one stays as it is."""
    if health.usable:
        return health
    return replace(
        health, state=RouteState.HALF_OPEN, probes_ok=0, next_probe_at=now, reason="put back by hand"
    )


_BAD = frozenset({Sign.FAILURE, Sign.PROBE_FAILED})


def _answered(health: RouteHealth, step: float) -> RouteHealth:
    evidence = max(0.0, health.evidence - step)
    if health.state is RouteState.SUSPECT and evidence >= HEALTHY_BELOW:
        return replace(health, evidence=evidence)
    openings = health.openings if evidence > 0 else 0
    return replace(health, state=RouteState.HEALTHY, evidence=evidence, openings=openings, reason="answers")


def _came_back(health: RouteHealth, sign: Sign, now: float, settings: DetectorSettings) -> RouteHealth:
    probes_ok = health.probes_ok + 1
    probing = sign is Sign.PROBE_OK and health.state is not RouteState.LATCHED
    if probing and probes_ok < settings.probes_to_close:
        return replace(
            health, state=RouteState.HALF_OPEN, probes_ok=probes_ok, next_probe_at=now,
            reason=f"probe {probes_ok} of {settings.probes_to_close} answered",
        )  # fmt: skip
    return replace(
        health, state=RouteState.SUSPECT, evidence=PROBATION, probes_ok=0, next_probe_at=math.inf,
        reason="answers again, on probation",
    )  # fmt: skip


def _failed(
    health: RouteHealth,
    sign: Sign,
    now: float,
    settings: DetectorSettings,
    weight: float,
    reason: str,
    jitter: float,
) -> RouteHealth:
    evidence = min(EVIDENCE_MAX, health.evidence + FAILURE_STEP * weight)
    worse = replace(health, evidence=evidence, reason=reason)
    if weight <= 0 or (health.usable and evidence < OPEN_AT):
        suspect = health.usable and evidence >= SUSPECT_AT
        return replace(worse, state=RouteState.SUSPECT) if suspect else worse
    lengthen = health.state is not RouteState.OPEN or sign is Sign.PROBE_FAILED
    openings = min(health.openings + lengthen, DOUBLINGS_MAX)
    wait_secs = min(settings.open_secs * 2 ** max(0, openings - 1), settings.open_secs_max) * jitter
    return replace(
        worse, state=RouteState.OPEN, openings=openings, probes_ok=0, next_probe_at=now + wait_secs
    )
