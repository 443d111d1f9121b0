"""Health of one route, from what its requests came to.

Rules
  - Evidence adds up (CUSUM, Page 1954): a plain failure adds ln(p1/p0) = 2.08, a success takes off 0.46,
    never below zero, with p0 = 5 % and p1 = 40 % failures. No minimum volume, so it works at one decision
    a minute, where every gateway's error-rate window stays blind.
  - One failure makes a route suspect: it keeps its place, and is soon asked again. It opens when the
    evidence reaches a threshold that grows with traffic (:func:`threshold`): two failures in a row at a
    request a minute, five at hundreds. False alarms are so bounded by time, not by requests.
  - Open only reorders: routing still uses an open route when nothing better is left, and an answer
    there closes it at once.
  - An open route waits ``open_secs``, once more as long, for many outages last a minute, and then twice as
    long each time (capped); in a relapse twice as long at once. It becomes half-open: probes off the
    decision path ask it, one after the other while they are answered. As many answers in a row as prove it
    well (:mod:`jurymast.policy.illness`: the sicker it was, the fewer), ``probes_to_close`` at least, put
    it on probation, suspect with evidence so high that one bad answer opens it again: a probe is shallow
    and must not outvote real traffic.
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
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Final

from jurymast.domain.status import RouteState
from jurymast.policy.illness import NEVER_ILL, Illness

BASE_FAILURE_RATE: Final = 0.05
SICK_FAILURE_RATE: Final = 0.40
FAILURE_STEP: Final = math.log(SICK_FAILURE_RATE / BASE_FAILURE_RATE)
SUCCESS_STEP: Final = math.log((1 - BASE_FAILURE_RATE) / (1 - SICK_FAILURE_RATE))
SUSPECT_AT: Final = 1.4
"""Below one failure of any weight that counts (0.7)."""
OPEN_AT: Final = 4.0
OPEN_AT_MAX: Final = 10.0
CALM_PER_MINUTE: Final = 4.0
"""Requests a minute up to which the lowest threshold holds."""
HEALTHY_BELOW: Final = FAILURE_STEP - 3 * SUCCESS_STEP + 0.02
PROBATION: Final = 2.6
"""Evidence of a route that has just come back: even a weak failure (0.7) opens it again."""
PROBATION_SUCCESSES: Final = 3
EVIDENCE_MAX: Final = 14.0
DOUBLINGS_MAX: Final = 8
QUICK_PROBES: Final = 3
"""What a total outage takes to be over."""
PROBE_SHARE: Final = 0.25
"""A probe is shallow: its answer takes off this share of what a real one does."""


class Sign(Enum):
    """What one request or probe came to."""

    SUCCESS = auto()
    FAILURE = auto()
    LATCH = auto()
    PROBE_OK = auto()
    PROBE_FAILED = auto()


@dataclass(frozen=True, slots=True)
class DetectorSettings:
    """Times in seconds.

    Of the probes that prove a route well the first few follow each other at once (:data:`QUICK_PROBES`), the
    others after ``proof_secs``: eight in the first minute at most.
    """

    open_secs: float = 15.0
    open_secs_max: float = 240.0
    latch_probe_secs: float = 3_600.0
    confirm_secs: float = 5.0
    proof_secs: float = 10.0
    probes_to_close: int = 2


_USABLE: Final = frozenset({RouteState.HEALTHY, RouteState.SUSPECT})


@dataclass(frozen=True, slots=True)
class RouteHealth:
    """State of one route. ``next_probe_at`` is on the monotonic clock of whoever hands in ``now``."""

    state: RouteState = RouteState.HEALTHY
    evidence: float = 0.0
    openings: int = 0
    next_probe_at: float = math.inf
    illness: Illness = NEVER_ILL
    probation: int = 0
    held_until: float = -math.inf
    reason: str = "no request yet"
    usable: bool = field(init=False, compare=False, repr=False)
    """Whether it counts as capacity: believed to answer if asked. Read far more often than states change."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "usable", self.state in _USABLE)

    def probe_due(self, now: float, last_seen_at: float, idle_secs: float) -> bool:
        """Whether a probe would buy information: time to ask a sick route, a doubtful or an idle one."""
        if now < self.held_until:
            return False
        if self.usable:
            return now >= self.next_probe_at or now - last_seen_at >= idle_secs
        return now >= self.next_probe_at and self.state is not RouteState.ISOLATED


def threshold(per_minute: float) -> float:
    """Evidence that opens a route which sees so many requests a minute."""
    if per_minute <= CALM_PER_MINUTE:
        return OPEN_AT
    return min(OPEN_AT + math.log(per_minute / CALM_PER_MINUTE), OPEN_AT_MAX)


def observe(
    health: RouteHealth,
    sign: Sign,
    now: float,
    settings: DetectorSettings,
    *,
    weight: float = 1.0,
    open_at: float = OPEN_AT,
    reason: str = "",
    jitter: float = 1.0,
) -> RouteHealth:
    """Fold one sign into the health of a route. The same object when nothing changed.

    ``weight`` scales a failure's evidence (0 counts nothing: a rate limit is not sickness). ``open_at`` is
    the :func:`threshold` at the route's traffic. ``jitter`` multiplies the open time, so that routes do not
    come back in step.
    """
    if not health.usable and health.state is RouteState.ISOLATED:
        return health
    if sign is Sign.SUCCESS or sign is Sign.PROBE_OK:
        if not health.usable:
            return _came_back(health, sign, now, settings)
        return _answered(health, real=sign is Sign.SUCCESS)
    if sign is Sign.LATCH or health.state is RouteState.LATCHED:
        return replace(
            health, state=RouteState.LATCHED, reason=reason or health.reason,
            next_probe_at=now + settings.latch_probe_secs * jitter,
        )  # fmt: skip
    return _failed(health, sign, now, settings, weight, open_at, reason, jitter)


def hold(health: RouteHealth, until: float) -> RouteHealth:
    """Leave a route alone until ``until``; a longer hold stays."""
    return health if until <= health.held_until else replace(health, held_until=until)


def put_off(health: RouteHealth, until: float) -> RouteHealth:
    """A probe that could not be made says nothing: the next is due at ``until``."""
    return health if health.usable else replace(health, next_probe_at=max(health.next_probe_at, until))


def tick(health: RouteHealth, now: float) -> RouteHealth:
    """Let time pass: an open route whose time is up may be probed."""
    if health.state is RouteState.OPEN and now >= health.next_probe_at:
        return replace(health, state=RouteState.HALF_OPEN, reason="open time over, probing")
    return health


def isolate(health: RouteHealth, reason: str) -> RouteHealth:
    """Take a route out by hand."""
    return replace(health, state=RouteState.ISOLATED, reason=reason, next_probe_at=math.inf)


def restore(health: RouteHealth, now: float, reason: str = "put back by hand") -> RouteHealth:
    """Put a route back that is not used: half-open, to be probed at once. A usable one stays as it is."""
    if health.usable:
        return health
    return replace(health, state=RouteState.HALF_OPEN, next_probe_at=now, reason=reason)


def revive(state: RouteState, reason: str, now: float, settings: DetectorSettings) -> RouteHealth:
    """Health after a restart, from the state before it: a sick route is probed at once, not trusted."""
    match state:
        case RouteState.LATCHED:
            return RouteHealth(state, next_probe_at=now + settings.latch_probe_secs, reason=reason)
        case RouteState.ISOLATED:
            return RouteHealth(state, reason=reason)
        case RouteState.OPEN | RouteState.HALF_OPEN:
            return RouteHealth(
                RouteState.HALF_OPEN,
                OPEN_AT,
                openings=1,
                next_probe_at=now,
                reason=f"before the restart: {reason}",
            )
        case RouteState.SUSPECT:
            return RouteHealth(
                state,
                SUSPECT_AT,
                next_probe_at=now + settings.confirm_secs,
                reason=f"before the restart: {reason}",
            )
        case RouteState.HEALTHY:
            return RouteHealth()


def _answered(health: RouteHealth, *, real: bool) -> RouteHealth:
    illness, unmarked = health.illness, not (health.evidence or health.illness.failures)
    if health.state is RouteState.HEALTHY and unmarked and health.reason == "answers":
        return health
    if real and illness.failures:
        illness = illness.answered()
    evidence = max(0.0, health.evidence - SUCCESS_STEP * (1.0 if real else PROBE_SHARE))
    probation = max(0, health.probation - real)
    if health.state is RouteState.SUSPECT and (evidence >= HEALTHY_BELOW or probation):
        return replace(
            health, evidence=evidence, illness=illness, probation=probation, next_probe_at=math.inf
        )
    openings = health.openings
    if not evidence and (not openings or illness.forgotten):
        illness, openings = NEVER_ILL, 0
    return replace(
        health, state=RouteState.HEALTHY, evidence=evidence, illness=illness, probation=0,
        next_probe_at=math.inf, openings=openings, reason="answers",
    )  # fmt: skip


def _came_back(health: RouteHealth, sign: Sign, now: float, settings: DetectorSettings) -> RouteHealth:
    illness = health.illness.answered()
    needed = max(illness.needed, settings.probes_to_close)
    probing = sign is Sign.PROBE_OK and health.state is not RouteState.LATCHED
    if probing and illness.run < needed:
        wait_secs = 0.0 if illness.run < QUICK_PROBES else settings.proof_secs
        return replace(
            health, state=RouteState.HALF_OPEN, illness=illness, next_probe_at=now + wait_secs,
            reason=f"probe {illness.run} of {needed} in a row answered",
        )  # fmt: skip
    return replace(
        health, state=RouteState.SUSPECT, evidence=PROBATION, next_probe_at=math.inf,
        illness=illness if illness.failures else NEVER_ILL, probation=PROBATION_SUCCESSES,
        reason="answers again, on probation",
    )  # fmt: skip


def _failed(
    health: RouteHealth,
    sign: Sign,
    now: float,
    settings: DetectorSettings,
    weight: float,
    open_at: float,
    reason: str,
    jitter: float,
) -> RouteHealth:
    if weight <= 0:
        return health
    step = FAILURE_STEP * weight
    evidence = min(EVIDENCE_MAX, health.evidence + step)
    illness = health.illness.failed() if step >= SUSPECT_AT else health.illness
    worse = replace(health, evidence=evidence, illness=illness, reason=reason)
    if health.usable and evidence < (OPEN_AT if health.probation else open_at):
        if evidence < SUSPECT_AT:
            return worse
        return replace(worse, state=RouteState.SUSPECT, next_probe_at=now + settings.confirm_secs * jitter)
    lengthen = int(health.state is not RouteState.OPEN or sign is Sign.PROBE_FAILED)
    if health.usable and health.openings:
        lengthen = 2  # a relapse
    openings = min(health.openings + lengthen, DOUBLINGS_MAX)
    wait_secs = min(settings.open_secs * 2 ** max(0, openings - 2) * jitter, settings.open_secs_max)
    if health.state is RouteState.OPEN and sign is not Sign.PROBE_FAILED:
        return worse  # a late failure of a request from before says nothing new about when to probe
    return replace(
        worse,
        state=RouteState.OPEN,
        openings=openings,
        probation=0,
        next_probe_at=now + wait_secs,
    )
