"""Keeps answers coming: walks a route list within one deadline, watches health, owns the modes.

The walk of one question
  1. Rank the routes by health and priority; say why each other is left out.
  2. Ask them in turn, each within its share of the one deadline, at most ``sends_max`` sends.
  3. An answer that does not parse is a failure of the route that gave it.
  4. Every outcome is evidence: routes open, providers degrade, the mode ladder steps.
  5. Nobody answered: say so, with every cause. The caller gets a reason, never an exception.

All rules are in :mod:`jurymast.policy`; this class drives them and reports each change as an event.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, TypeVar, cast

from jurymast.domain.decision import AbstainReason, Attempt, Rung
from jurymast.domain.errors import ProviderError
from jurymast.domain.events import (
    Event,
    FailedOver,
    ModeChanged,
    ProbeSent,
)
from jurymast.domain.money import Micros
from jurymast.domain.provider import (
    AIRequest,
    AIResponse,
    Failure,
    FailureKind,
    ProviderName,
    Route,
    Tier,
)
from jurymast.domain.status import (
    EmergencyMode,
    FailoverEvent,
    HealthCheckResult,
    RouteState,
    SystemStatus,
)
from jurymast.intelligence.health_book import HealthBook
from jurymast.intelligence.provider_manager import BudgetSpentError, ProviderManager
from jurymast.policy import ladder as ladders
from jurymast.policy.deadline import WorkSettings, attempt_timeout
from jurymast.policy.detector import DetectorSettings
from jurymast.policy.failures import TREATMENTS
from jurymast.policy.ladder import Ladder, LadderSettings
from jurymast.policy.parsing import Rejected
from jurymast.policy.routing import MODEL_ONLY, Candidate, rank
from jurymast.ports import Clock

FAILOVERS_KEPT = 100
WORRIED_HASTE = 10
"""While questions go unanswered idle routes are probed so many times more often: who is left?"""

Value = TypeVar("Value")
Emit = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class FallbackSettings:
    """All bounds of the AI layer's failover. Times in seconds."""

    work: WorkSettings = field(default_factory=WorkSettings)
    detector: DetectorSettings = field(default_factory=DetectorSettings)
    ladder: LadderSettings = field(default_factory=LadderSettings)
    probe_timeout_secs: float = 15.0
    probe_idle_secs: float = 300.0


@dataclass(frozen=True, slots=True)
class Answered(Generic[Value]):
    """A validated answer and where it came from. ``cost`` includes the attempts before it."""

    value: Value
    response: AIResponse
    route: Route
    tier: Tier
    rung: Rung
    cost: Micros
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class Unanswered:
    """No usable answer, and every cause."""

    reason: AbstainReason
    detail: str
    cost: Micros
    attempts: tuple[Attempt, ...]


@dataclass(slots=True)
class _Walk:
    """What one question has used so far."""

    ends_at: float
    attempts: list[Attempt] = field(default_factory=list)
    sends: int = 0
    over_budget: bool = False
    given_up: set[ProviderName] = field(default_factory=set)

    @property
    def cost(self) -> Micros:
        return sum(attempt.cost for attempt in self.attempts)

    @property
    def reason(self) -> AbstainReason:
        """Why nobody answered. A spent budget is no outage."""
        if self.over_budget and not self.sends:
            return AbstainReason.AI_BUDGET_SPENT
        return AbstainReason.ALL_PROVIDERS_FAILED if self.sends else AbstainReason.NO_ROUTE

    @property
    def causes(self) -> str:
        return "; ".join(f"{a.route}: {a.detail}" for a in self.attempts) or "no route was left to ask"


class FallbackManager:
    """Continuous health of every provider, failover within a deadline, emergency modes.

    ``emit`` receives every change as an event. ``mode`` restores the mode of an earlier run.
    """

    def __init__(
        self,
        providers: ProviderManager,
        *,
        clock: Clock,
        emit: Emit,
        settings: FallbackSettings | None = None,
        seed: int = 0,
        mode: EmergencyMode = EmergencyMode.NORMAL,
    ) -> None:
        self.settings = settings or FallbackSettings()
        self.failover_history: deque[FailoverEvent] = deque(maxlen=FAILOVERS_KEPT)
        self._providers = providers
        self._clock = clock
        self._emit = emit
        self._health = HealthBook(
            providers, clock=clock, emit=emit, settings=self.settings.detector, seed=seed
        )
        self._ladder = Ladder(mode=mode, reason="as before the restart", entered_at=clock.monotonic())
        self._preferred: ProviderName | None = None
        self._active: Route | None = None

    # Asking

    async def get_fallback_decision(
        self,
        request: AIRequest,
        validate: Callable[[AIResponse], Value | Rejected],
        *,
        deadline_secs: float,
    ) -> Answered[Value] | Unanswered:
        """Ask until a route gives an answer that ``validate`` accepts, or time and sends run out."""
        walk = _Walk(ends_at=self._clock.monotonic() + deadline_secs)
        plan = rank(self._health.candidates(), preferred=self._preferred)
        for skipped in plan.skipped:
            walk.attempts.append(Attempt(skipped.route, "skipped", skipped.reason, sent=False))
        for place, candidate in enumerate(plan.routes):
            answer = await self._ask(walk, candidate, request, validate, plan.routes[place + 1 :])
            if answer is not None:
                return answer
        return self._nobody(walk, walk.reason, walk.causes)

    async def _ask(
        self,
        walk: _Walk,
        candidate: Candidate,
        request: AIRequest,
        validate: Callable[[AIResponse], Value | Rejected],
        later: tuple[Candidate, ...],
    ) -> Answered[Value] | Unanswered | None:
        """One route, retried once if it failed fast and is the last. None: go on to the next."""
        route = candidate.route
        if route.provider in walk.given_up:
            walk.attempts.append(Attempt(route, "skipped", "its provider has just failed", sent=False))
            return None
        others = [c for c in later if c.route.provider not in walk.given_up | {route.provider}]
        failure: Failure
        for retry in (False, True):
            timeout_secs = self._timeout(walk, len(others))
            if timeout_secs is None:
                walk.attempts.append(Attempt(route, "skipped", "no time or send left", sent=False))
                return None
            try:
                outcome = await self._attempt(walk, route, request, validate, timeout_secs)
            except BudgetSpentError as spent:
                walk.over_budget = True
                walk.attempts.append(Attempt(route, "skipped", str(spent), sent=False))
                return None
            if not isinstance(outcome, Failure):
                return self._answer(walk, candidate, *outcome)
            failure = outcome
            treatment = TREATMENTS[failure.kind]
            if not treatment.fail_over:
                return self._nobody(walk, AbstainReason.CONTENT_FILTER, str(failure))
            fast = walk.attempts[-1].secs < self.settings.work.fast_failure_secs
            worth = treatment.retry_here and fast and candidate.health.usable
            if retry or others or not worth:
                break
        if failure.kind not in MODEL_ONLY:
            walk.given_up.add(route.provider)
        return None

    async def _attempt(
        self,
        walk: _Walk,
        route: Route,
        request: AIRequest,
        validate: Callable[[AIResponse], Value | Rejected],
        timeout_secs: float,
    ) -> tuple[Value, AIResponse] | Failure:
        walk.sends += 1
        started = self._clock.monotonic()
        cost = 0
        try:
            response = await self._providers.make_request(request, route, timeout_secs=timeout_secs)
            cost = response.cost
            value = validate(response)
            failure = (
                Failure(FailureKind.INVALID_ANSWER, value.reason) if isinstance(value, Rejected) else None
            )
        except BudgetSpentError:
            walk.sends -= 1  # nothing has left
            raise
        except ProviderError as error:
            failure, cost = error.failure, error.cost
        except asyncio.CancelledError:
            # The caller gave up on us: silence that long is evidence against the route.
            self._failed(route, Failure(FailureKind.TIMEOUT, "cancelled by the caller's deadline"))
            raise
        secs = self._clock.monotonic() - started
        if failure is None:
            walk.attempts.append(Attempt(route, "answered", "", secs, cost))
            return cast("Value", value), response
        walk.attempts.append(Attempt(route, "failed", str(failure), secs, cost, failure.kind))
        self._failed(route, failure)
        return failure

    def _timeout(self, walk: _Walk, others: int) -> float | None:
        sends_left = self.settings.work.sends_max - walk.sends
        if sends_left <= 0:
            return None
        remaining_secs = walk.ends_at - self._clock.monotonic()
        return attempt_timeout(remaining_secs, min(others, sends_left - 1), self.settings.work)

    def _answer(
        self, walk: _Walk, candidate: Candidate, value: Value, response: AIResponse
    ) -> Answered[Value]:
        route = candidate.route
        self._health.answered(route)
        self._ladder = ladders.answered(self._ladder)
        self._answered_by(route, next((a.detail for a in walk.attempts if a.sent), ""))
        self._step()
        tier = self._providers.tier(route)
        first = self._providers.routes()[0].provider
        rung = (
            Rung.LOCAL if tier is Tier.SMALL else Rung.PRIMARY if route.provider is first else Rung.FAILOVER
        )
        return Answered(value, response, route, tier, rung, walk.cost, tuple(walk.attempts))

    def _nobody(self, walk: _Walk, reason: AbstainReason, detail: str) -> Unanswered:
        if reason in {AbstainReason.ALL_PROVIDERS_FAILED, AbstainReason.NO_ROUTE}:
            self._ladder = ladders.unanswered(self._ladder)
            self._answered_by(None, detail)
        self._step()
        return Unanswered(reason, detail, walk.cost, tuple(walk.attempts))

    # Health

    async def check_provider_health(self, name: ProviderName) -> HealthCheckResult:
        """Probe a provider's routes now; the first healthy result, else the last."""
        result = HealthCheckResult(name, is_healthy=False, secs=0.0, detail="no such provider configured")
        for route in self._health.routes_of(name):
            result = await self._probe(route)
            if result.is_healthy:
                break
        return result

    async def check_recovery(self) -> bool:
        """Probe every route for which a probe would tell something; whether any came back.

        Call it every second or so, off the decision path: it also lets time pass for the mode ladder.
        """
        before = self._health.capacity().total
        worried = self._ladder.failures_in_row > 0 or self.mode is not EmergencyMode.NORMAL
        due = self._health.due(self.settings.probe_idle_secs / (WORRIED_HASTE if worried else 1))
        await asyncio.gather(*(self._probe(route) for route in due if self._providers.can_probe(route)))
        self._step()
        return self._health.capacity().total > before

    async def _probe(self, route: Route) -> HealthCheckResult:
        result = await self._providers.probe(route, timeout_secs=self.settings.probe_timeout_secs)
        self._emit(
            ProbeSent(
                at=self._clock.utc_now(), route=route, healthy=result.is_healthy,
                detail=result.detail, cost=result.cost,
            )
        )  # fmt: skip
        if result.is_healthy:
            self._ladder = ladders.answered(self._ladder)
        failure = None if result.is_healthy else result.failure or FailureKind.MALFORMED
        self._health.probed(route, failure, result.detail)
        self._step()
        return result

    def _failed(self, route: Route, failure: Failure) -> None:
        self._health.failed(route, failure)
        self._step()

    # Modes

    @property
    def mode(self) -> EmergencyMode:
        """How good our judgement is now."""
        return self._ladder.mode

    def enable_emergency_mode(
        self,
        reason: str,
        duration: timedelta | None = None,
        mode: EmergencyMode = EmergencyMode.CONSERVATIVE,
    ) -> None:
        """Demand at least ``mode`` by hand, for ``duration`` or until taken back. Never makes it riskier."""
        now = self._clock.monotonic()
        until = now + duration.total_seconds() if duration is not None else float("inf")
        self._ladder = ladders.force(self._ladder, mode, reason, until)
        self._step()

    def disable_emergency_mode(self) -> None:
        """Take the demand back. The way up is climbed rung by rung on evidence, as ever."""
        self._ladder = ladders.release(self._ladder)
        self._step()

    async def initiate_failover(
        self, from_provider: ProviderName, to_provider: ProviderName, reason: str
    ) -> bool:
        """Ask ``to_provider`` first from now on, if it can be used; says whether it can."""
        usable = [r for r in self._health.routes_of(to_provider) if self._health[r].usable]
        if not usable or from_provider is to_provider:
            return False
        self._preferred = to_provider
        self._answered_by(usable[0], reason)
        return True

    def isolate_provider(self, name: ProviderName, reason: str) -> None:
        """Take a provider out by hand until :meth:`restore_provider`."""
        self._health.isolate(name, reason)
        self._step()

    def restore_provider(self, name: ProviderName) -> None:
        """Put a provider back that was isolated or latched: it is probed at once."""
        self._health.restore(name)

    def _step(self) -> None:
        old = self._ladder.mode
        self._ladder = ladders.step(
            self._ladder, self._health.capacity(), self._clock.monotonic(), self.settings.ladder
        )
        if self._ladder.mode is not old:
            self._emit(
                ModeChanged(
                    at=self._clock.utc_now(), old=old, new=self._ladder.mode, reason=self._ladder.reason
                )
            )

    # Reports

    def get_available_providers(self) -> list[ProviderName]:
        """Providers that are believed to answer, in the order in which they would be asked."""
        plan = rank(self._health.candidates(), preferred=self._preferred)
        return list(dict.fromkeys(c.route.provider for c in plan.routes if c.health.usable))

    def get_best_provider(self) -> ProviderName | None:
        """Who would be asked first, if anyone is believed to answer."""
        return next(iter(self.get_available_providers()), None)

    def get_system_status(self) -> SystemStatus:
        """The whole AI layer, as it stands."""
        now = self._clock.monotonic()
        waits = ladders.why_not_higher(self._ladder, now, self.settings.ladder)
        suffix = "" if self.mode is EmergencyMode.NORMAL else f" (waits for: {waits})"
        return SystemStatus(
            mode=self.mode,
            mode_reason=self._ladder.reason + suffix,
            providers=dict(self._health.statuses),
            routes=self._health.reports(),
            active_route=self._active,
            cost=self._providers.get_total_cost(),
            last_failover=self.failover_history[-1] if self.failover_history else None,
            manual_until=self._manual_until(now),
        )

    def _manual_until(self, now: float) -> datetime | None:
        left_secs = self._ladder.manual_until - now
        if self._ladder.manual is EmergencyMode.NORMAL or left_secs == float("inf"):
            return None
        return self._clock.utc_now() + timedelta(seconds=left_secs)

    def _not_back_yet(self, route: Route | None) -> bool:
        """A suspect route that answers now and then has not taken over from one that is well."""
        if route is None or self._active is None:
            return False
        return self._health[route].state is RouteState.SUSPECT and self._health[self._active].usable

    def _answered_by(self, route: Route | None, reason: str) -> None:
        if route == self._active or self._not_back_yet(route):
            return
        old, self._active = self._active, route
        if old is None and not self.failover_history and route is not None:
            return  # the first answer of a run is no failover
        if not reason:
            sick = old is not None and not self._health[old].usable
            reason = f"{old} is {self._health[old].state}" if old and sick else "it answers again"
        at = self._clock.utc_now()
        self.failover_history.append(FailoverEvent(at, old, route, reason))
        self._emit(FailedOver(at=at, from_route=old, to_route=route, reason=reason))
