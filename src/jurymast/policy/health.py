"""Health of all routes together: evidence, what it says about neighbours, latency, work under way.

Who shares evidence (:class:`jurymast.policy.failures.FailureScope`)
  - REQUEST: nobody, not even the route.
  - MODEL: the route alone; its siblings stay.
  - ACCESS (key, credit): every model behind the same key; a latch latches all of them.
  - PROVIDER: the other models of the same instance, at half weight.
  - EDGE: as PROVIDER, and the edge is watched (:mod:`jurymast.policy.edges`).

A refused key, model or request that was welcome within the hour is their fault until it lasts: it
counts as a plain failure and latches nothing (for a bad request, from the third alike in a row).

State only; no clock, no dice: ``now`` is monotonic seconds, ``dice`` gives numbers in [0, 1).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from jurymast.domain.provider import Failure, FailureKind, ProviderName, Route, Tier
from jurymast.domain.status import ProviderStatus, RouteState
from jurymast.policy.detector import (
    FAILURE_STEP,
    OPEN_AT,
    DetectorSettings,
    RouteHealth,
    Sign,
    hold,
    isolate,
    observe,
    put_off,
    restore,
    threshold,
    tick,
)
from jurymast.policy.edges import Edge
from jurymast.policy.facts import EdgeMoved, ProviderMoved, RouteMoved
from jurymast.policy.failures import TREATMENTS, FailureScope
from jurymast.policy.ladder import Capacity
from jurymast.policy.latency import Latency
from jurymast.policy.limits import Concurrency
from jurymast.policy.record import Record, Sent
from jurymast.policy.routing import (
    BY_PRIORITY,
    Candidate,
    Plan,
    RouteOrder,
    RouteSpec,
    provider_status,
    rank,
    reranked,
)

JITTER: Final = 0.2
HOLD_SECS: Final = 5.0
"""How long a rate limit that names no time holds its route."""
HOLD_SECS_MAX: Final = 300.0
"""An hour-long demand is asked about again sooner: limits are often lifted early."""
HOLD_BRIEF_SECS: Final = 30.0
"""A rate limit of at most so long leaves a route counted as capacity."""
SIBLING_WEIGHT: Final = 0.5
SLOW_FACTOR: Final = 1.5
SLOW_WEIGHT: Final = 0.3
OVERDUE_WEIGHT: Final = 0.7
IMPATIENT_SHARE: Final = 0.3
"""A time-out before the time that a route is known to need says little about it: we had no more to give."""
WELCOME_SECS: Final = 3_600.0
"""A refusal on a route that answered within this time may be spurious."""
ALIKE_MIN: Final = 3
PACE_SECS: Final = 60.0
PROMPT_CLASSES: Final = 4
_PROMPT_CLASS_BYTES: Final = (4_000, 16_000, 64_000)

Dice = Callable[[], float]


class FleetHealth:
    """Every route's health. ``tell`` receives what changed."""

    def __init__(
        self,
        specs: Iterable[RouteSpec],
        *,
        settings: DetectorSettings,
        prior_secs: float,
        dice: Dice,
        tell: Callable[[RouteMoved | ProviderMoved | EdgeMoved], None],
        healths: Mapping[Route, RouteHealth],
    ) -> None:
        self.settings = settings
        self.edges: dict[str, Edge] = {}
        self.records: dict[Route, Record] = {}
        self.preferred: ProviderName | None = None
        self.order = BY_PRIORITY
        self._dice = dice
        self._tell = tell
        self._plan = Plan()
        self._ranked: tuple[Record, ...] = ()
        self._planned_until = -math.inf
        self._capacity: Capacity | None = None
        self._capacity_until = math.inf
        for spec in specs:
            self.records[spec.route] = Record(
                spec,
                Concurrency(spec.max_concurrent),
                self.edges.setdefault(spec.edge, Edge()),
                [Latency(prior_secs) for _ in range(PROMPT_CLASSES)],
                Latency(prior_secs),
                healths.get(spec.route, RouteHealth()),
            )
        for record in self.records.values():
            record.siblings = tuple(
                other
                for other in self.records.values()
                if other is not record and _same_access(other.route, record.route)
            )
        self.statuses = {route.provider: ProviderStatus.UNKNOWN for route in self.records}
        for name in self.statuses:
            self.statuses[name] = self._status_of(name)

    # What happens to routes

    def sent(self, attempt: int, sent: Sent, now: float) -> None:
        """A request leaves."""
        record = sent.record
        record.in_flight[attempt] = sent
        record.pace = self._pace(record, now) + 1.0
        record.paced_at = now
        record.served += 1.0 / record.spec.weight

    def answered(
        self,
        record: Record,
        attempt: int,
        now: float,
        secs: float,
        prompt_class: int,
        first_token_secs: float | None,
    ) -> None:
        """A validated answer to a real question, after ``secs``."""
        record.in_flight.pop(attempt, None)
        latency = record.latencies[prompt_class]
        slow = latency.known and secs > SLOW_FACTOR * latency.q99_secs
        latency.add(secs, now)
        if first_token_secs is not None:
            record.first_token.add(first_token_secs, now)
        record.last_seen_at = record.heard_at = record.last_success_at = record.last_real_at = now
        record.alike = 0
        record.concurrency.answered()
        if not record.health.usable and now - secs < record.opened_at:
            return  # asked before it fell: old answers are no news of its health
        if slow and record.health.usable:
            # An answer may bring a route under suspicion, never down.
            if record.health.evidence + FAILURE_STEP * SLOW_WEIGHT < OPEN_AT:
                self._fold(record, Sign.FAILURE, now, weight=SLOW_WEIGHT, reason=f"slow: {secs:.1f} s")
        else:
            self._fold(record, Sign.SUCCESS, now)
        if record.edge.answered(record.route.provider, now - secs):
            self._cleared(record, now)

    def failed(
        self, record: Record, attempt: int, now: float, failure: Failure, secs: float, prompt_class: int
    ) -> None:
        """A real question failed: it counts as its kind says."""
        in_flight = len(record.in_flight)
        record.in_flight.pop(attempt, None)
        record.last_seen_at = now
        treatment = TREATMENTS[failure.kind]
        if failure.kind in _PUSHBACK:
            if failure.kind is FailureKind.RATE_LIMITED or failure.retry_after_secs is not None:
                self._hold(record, now, failure.retry_after_secs)
            record.concurrency.pushed_back(in_flight)
        if failure.kind in _SILENCE:
            record.mute_at = now
        elif failure.kind is not FailureKind.BUSY:
            record.heard_at = now
        sign, weight = Sign.FAILURE, treatment.evidence_weight
        if failure.kind in _REFUSALS and now - record.last_success_at < WELCOME_SECS:
            record.alike += 1
            weight = 1.0 if weight or record.alike >= ALIKE_MIN else 0.0
        elif treatment.latch:
            sign = Sign.LATCH
        if failure.kind in _TOO_SLOW and secs < record.usual_secs(failure.kind, prompt_class):
            weight *= IMPATIENT_SHARE
        reason = str(failure)
        self._fold(record, sign, now, weight=weight, reason=reason)
        self._share(record, treatment.scope, sign, now, weight, reason)
        if failure.kind in _TOO_SLOW and record.health.usable:
            # It may have become slower: learn that it takes longer, unless it takes for ever.
            record.latencies[prompt_class].add(secs * SLOW_FACTOR, now)

    def overdue(self, record: Record, attempt: int, now: float, secs: float) -> None:
        """An attempt was given up on after it had been overdue: another answered, or the caller left."""
        record.in_flight.pop(attempt, None)
        record.last_seen_at = record.mute_at = now
        self._fold(record, Sign.FAILURE, now, weight=OVERDUE_WEIGHT, reason=f"no answer in {secs:.1f} s")

    def withdrawn(self, record: Record, attempt: int) -> None:
        """An attempt was cancelled in good time, or never left: it says nothing."""
        record.in_flight.pop(attempt, None)

    def probed(self, record: Record, now: float, failure: Failure | None) -> None:
        """What a probe came to; ``failure`` None when it was answered."""
        record.last_seen_at = now
        if failure is None:
            record.last_success_at = record.heard_at = now
            self._fold(record, Sign.PROBE_OK, now)
            if record.edge.answered(record.route.provider, now):
                self._cleared(record, now)
        elif failure.kind is FailureKind.RATE_LIMITED:
            self._hold(record, now, failure.retry_after_secs)
        elif failure.kind is FailureKind.BUSY:
            record.health = put_off(record.health, now + self.settings.confirm_secs)
        else:
            treatment = TREATMENTS[failure.kind]
            spurious = failure.kind in _REFUSALS and now - record.last_success_at < WELCOME_SECS
            sign = Sign.LATCH if treatment.latch and not spurious else Sign.PROBE_FAILED
            self._fold(record, sign, now, reason=str(failure))
            self._share(record, treatment.scope, sign, now, 0.0, str(failure))

    def isolate(self, name: ProviderName, reason: str) -> None:
        for record in self.of(name):
            self._set(record, isolate(record.health, reason))

    def restore(self, name: ProviderName, now: float) -> None:
        for record in self.of(name):
            self._set(record, restore(record.health, now))

    # What is known

    def of(self, name: ProviderName) -> list[Record]:
        return [record for record in self.records.values() if record.route.provider is name]

    def pass_time(self, now: float) -> None:
        for record in self.records.values():
            if not record.health.usable:
                self._set(record, tick(record.health, now))

    def due(self, now: float, idle_secs: float) -> list[Record]:
        """Routes for which a probe would tell something, after letting time pass for all."""
        self.pass_time(now)
        return [
            record
            for record in self.records.values()
            if record.health.probe_due(now, record.last_seen_at, idle_secs) and not record.in_flight
        ]

    def plan(self, now: float) -> Plan:
        """Every route ranked; the same object until health or time changes it."""
        if now < self._planned_until:
            return self._plan
        self.pass_time(now)
        self._plan = rank(
            (
                Candidate(
                    record.spec,
                    record.health,
                    held_secs=max(0.0, record.health.held_until - now),
                    edge_suspect=record.edge.suspect,
                )
                for record in self.records.values()
            ),
            preferred=self.preferred,
            order=self.order,
        )
        self._ranked = tuple(self.records[candidate.spec.route] for candidate in self._plan.routes)
        self._planned_until = min(
            (at for record in self.records.values() for at in _turns(record.health) if at > now),
            default=math.inf,
        )
        return self._plan

    def ranked(self, now: float, order: RouteOrder | None = None) -> tuple[Record, ...]:
        """The routes of :meth:`plan`, in its order, or in that of one question among equals in health."""
        plan = self.plan(now)
        if order is None or order is self.order:
            return self._ranked
        ranked = reranked(plan.routes, order, self.preferred)
        return tuple(self.records[c.spec.route] for c in ranked if c.spec.route not in order.refused)

    def first(self, now: float) -> Record | None:
        """Who would be asked first; None when nobody would."""
        ranked = self.ranked(now)
        return ranked[0] if ranked else None

    def prefer(self, name: ProviderName | None) -> None:
        """Ask this provider first among its equals in health."""
        self.preferred = name
        self._planned_until = -math.inf

    def reorder(self, order: RouteOrder) -> None:
        """Ask in this order from now on, among equals in health."""
        self.order = order
        self._planned_until = -math.inf

    def capacity(self, now: float) -> Capacity:
        """Providers with a usable route, by what their opinion is worth. The same object until it changes.

        A route that is rate limited for long is none.
        """
        if self._capacity is None or now >= self._capacity_until:
            long_held = [r for r in self.records.values() if r.health.held_until > now + HOLD_BRIEF_SECS]
            self._capacity_until = min(
                (record.health.held_until - HOLD_BRIEF_SECS for record in long_held), default=math.inf
            )
            usable = [
                record.spec
                for record in self.records.values()
                if record.health.usable and not record.edge.suspect and record not in long_held
            ]
            small = {spec.route.provider for spec in usable if spec.tier is Tier.SMALL}
            able = {spec.route.provider for spec in usable if spec.tier is not Tier.SMALL}
            self._capacity = Capacity(able=len(able), small=len(small))
        return self._capacity

    # How evidence is folded

    def _share(
        self, record: Record, scope: FailureScope, sign: Sign, now: float, weight: float, reason: str
    ) -> None:
        if scope is FailureScope.ACCESS and sign is Sign.LATCH:
            for sibling in record.siblings:
                self._fold(sibling, sign, now, reason=reason)
        elif scope is FailureScope.PROVIDER or scope is FailureScope.EDGE:
            for sibling in record.siblings:
                if sibling.health.usable:
                    self._fold(sibling, Sign.FAILURE, now, weight=weight * SIBLING_WEIGHT, reason=reason)
        if scope is FailureScope.EDGE and record.edge.failed(record.route.provider, now):
            self._tell(EdgeMoved(record.spec.edge, suspect=True))
            self._changed()

    def _cleared(self, record: Record, now: float) -> None:
        """Somebody behind a suspected edge answered: ask the others at once."""
        self._tell(EdgeMoved(record.spec.edge, suspect=False))
        for other in self.records.values():
            if other.edge is record.edge and other.health.state in _ASK_AGAIN:
                self._set(other, restore(other.health, now, "its edge answers again"))
        self._changed()

    def _hold(self, record: Record, now: float, asked_secs: float | None) -> None:
        secs = HOLD_SECS if asked_secs is None else min(asked_secs, HOLD_SECS_MAX)
        record.health = hold(record.health, now + secs)
        self._changed()

    def _pace(self, record: Record, now: float) -> float:
        """Requests in the last minute, fading."""
        return record.pace * math.exp(min(0.0, record.paced_at - now) / PACE_SECS) if record.pace else 0.0

    def _fold(self, record: Record, sign: Sign, now: float, *, weight: float = 1.0, reason: str = "") -> None:
        bad = sign is not Sign.SUCCESS and sign is not Sign.PROBE_OK
        health = observe(
            record.health,
            sign,
            now,
            self.settings,
            weight=weight,
            open_at=threshold(self._pace(record, now)) if bad else 0.0,
            reason=reason,
            jitter=1 + JITTER * (2 * self._dice() - 1) if bad else 1.0,
        )
        if health is not record.health:
            if health.state is RouteState.OPEN and record.health.usable:
                record.opened_at = now
            self._set(record, health)

    def _set(self, record: Record, health: RouteHealth) -> None:
        old, record.health = record.health, health
        if health is old:
            return
        self._changed()
        if health.state is not old.state:
            if health.state is RouteState.OPEN:
                record.concurrency.start_over()
            self._tell(RouteMoved(record.route, old.state, health.state, health.reason))
        name = record.route.provider
        status = self._status_of(name)
        if status is not (was := self.statuses[name]):
            self.statuses[name] = status
            self._tell(ProviderMoved(name, was, status, health.reason))

    def _status_of(self, name: ProviderName) -> ProviderStatus:
        records = self.of(name)
        seen = any(r.last_seen_at > -math.inf or r.health.state is not RouteState.HEALTHY for r in records)
        return provider_status((record.health for record in records), seen=seen)

    def _changed(self) -> None:
        self._planned_until = -math.inf
        self._capacity = None


def prompt_class(size_bytes: int) -> int:
    """Class of a prompt by size: prompts of one class are expected to take alike."""
    return bisect_right(_PROMPT_CLASS_BYTES, size_bytes)


_PUSHBACK: Final = frozenset({FailureKind.RATE_LIMITED, FailureKind.OVERLOADED})
_TOO_SLOW: Final = frozenset({FailureKind.TIMEOUT, FailureKind.FIRST_TOKEN_TIMEOUT})
_SILENCE: Final = _TOO_SLOW | {FailureKind.STALLED}
_REFUSALS: Final = frozenset({FailureKind.AUTH, FailureKind.MODEL_GONE, FailureKind.BAD_REQUEST})
_ASK_AGAIN: Final = frozenset({RouteState.OPEN, RouteState.HALF_OPEN})


def _same_access(one: Route, other: Route) -> bool:
    return one.provider is other.provider and one.instance == other.instance


def _turns(health: RouteHealth) -> tuple[float, ...]:
    """When time alone changes a route's place."""
    if health.usable or health.state is not RouteState.OPEN:
        return (health.held_until,)
    return (health.next_probe_at, health.held_until)
