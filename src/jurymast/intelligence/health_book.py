"""Who is believed to answer: the health of every route, told to the world when it changes.

The rules are in :mod:`jurymast.policy.detector`; this holds their state, feeds them the time and the
dice, and reports each change of a route or a provider as an event.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from jurymast.domain.events import Event, ProviderChanged, RouteChanged
from jurymast.domain.provider import Failure, FailureKind, ProviderName, Route, Tier
from jurymast.domain.status import ProviderStatus, RouteReport, RouteState
from jurymast.intelligence.provider_manager import ProviderManager
from jurymast.policy.detector import (
    DetectorSettings,
    RouteHealth,
    Sign,
    hold,
    isolate,
    observe,
    restore,
    tick,
)
from jurymast.policy.failures import TREATMENTS
from jurymast.policy.ladder import Capacity
from jurymast.policy.routing import Candidate, provider_status
from jurymast.ports import Clock

JITTER: Final = 0.2
HOLD_SECS: Final = 5.0
"""How long a rate limit that names no time holds its route."""
HOLD_SECS_MAX: Final = 300.0
"""An hour-long demand is asked about again sooner: limits are often lifted early."""


class HealthBook:
    """Health of every route of the providers. ``emit`` receives each change."""

    def __init__(
        self,
        providers: ProviderManager,
        *,
        clock: Clock,
        emit: Callable[[Event], None],
        settings: DetectorSettings,
        seed: int,
    ) -> None:
        self._providers = providers
        self._clock = clock
        self._emit = emit
        self._settings = settings
        self._random = random.Random(seed)
        self._health: dict[Route, RouteHealth] = {route: RouteHealth() for route in providers.routes()}
        self.statuses = dict.fromkeys(providers.providers, ProviderStatus.UNKNOWN)

    def __getitem__(self, route: Route) -> RouteHealth:
        return self._health[route]

    def routes_of(self, name: ProviderName) -> list[Route]:
        return [route for route in self._health if route.provider is name]

    def answered(self, route: Route) -> None:
        """A validated answer to a real question."""
        self._fold(route, Sign.SUCCESS)

    def failed(self, route: Route, failure: Failure) -> None:
        """A failed real question counts as its kind says; a rate limit holds the route instead."""
        treatment = TREATMENTS[failure.kind]
        if failure.kind is FailureKind.RATE_LIMITED:
            self._hold(route, failure.retry_after_secs)
        sign = Sign.LATCH if treatment.latch else Sign.FAILURE
        self._fold(route, sign, weight=treatment.evidence_weight, reason=str(failure))

    def probed(self, route: Route, failure: FailureKind | None, detail: str) -> None:
        """What a probe came to; ``failure`` None when it was answered."""
        if failure is None:
            self._fold(route, Sign.PROBE_OK)
        elif failure is FailureKind.RATE_LIMITED:
            self._hold(route, None)
        else:
            sign = Sign.LATCH if TREATMENTS[failure].latch else Sign.PROBE_FAILED
            self._fold(route, sign, reason=detail)

    def isolate(self, name: ProviderName, reason: str) -> None:
        for route in self.routes_of(name):
            self._set(route, isolate(self._health[route], reason))

    def restore(self, name: ProviderName) -> None:
        for route in self.routes_of(name):
            self._set(route, restore(self._health[route], self._clock.monotonic()))

    def due(self, idle_secs: float) -> list[Route]:
        """Routes for which a probe would tell something, after letting time pass for all."""
        now = self._clock.monotonic()
        for route in self._health:
            self._set(route, tick(self._health[route], now))
        return [route for route, health in self._health.items() if health.probe_due(now, idle_secs)]

    def candidates(self) -> list[Candidate]:
        """Every route with what routing needs to know of it, after letting time pass."""
        now = self._clock.monotonic()
        candidates = []
        for name, provider in self._providers.providers.items():
            for model_rank, model in enumerate(provider.config.models):
                route = Route(name, model)
                self._set(route, tick(self._health[route], now))
                health = self._health[route]
                candidates.append(
                    Candidate(
                        route=route,
                        priority=provider.config.priority,
                        model_rank=model_rank,
                        tier=self._providers.tier(route),
                        health=health,
                        held_secs=max(0.0, health.held_until - now),
                    )
                )
        return candidates

    def capacity(self) -> Capacity:
        """Providers with a usable route, by what their opinion is worth."""
        usable = [route for route, health in self._health.items() if health.usable]
        small = {r.provider for r in usable if self._providers.tier(r) is Tier.SMALL}
        able = {r.provider for r in usable if self._providers.tier(r) is not Tier.SMALL}
        return Capacity(able=len(able), small=len(small))

    def reports(self) -> tuple[RouteReport, ...]:
        """What is known about each route, for people."""
        now = self._clock.monotonic()
        return tuple(self._report_of(route, health, now) for route, health in self._health.items())

    def _report_of(self, route: Route, health: RouteHealth, now: float) -> RouteReport:
        stats = self._providers.stats[route]
        waiting = health.state in {RouteState.OPEN, RouteState.LATCHED}
        return RouteReport(
            route=route,
            state=health.state,
            requests=stats.requests,
            failures=stats.failures,
            cost=stats.cost,
            mean_secs=stats.mean_secs,
            reason=health.reason,
            retry_in_secs=max(0.0, health.next_probe_at - now) if waiting else None,
        )

    def _hold(self, route: Route, asked_secs: float | None) -> None:
        secs = HOLD_SECS if asked_secs is None else min(asked_secs, HOLD_SECS_MAX)
        self._health[route] = hold(self._health[route], self._clock.monotonic() + secs)

    def _fold(self, route: Route, sign: Sign, *, weight: float = 1.0, reason: str = "") -> None:
        self._set(
            route,
            observe(
                self._health[route],
                sign,
                self._clock.monotonic(),
                self._settings,
                weight=weight,
                reason=reason,
                jitter=1 + self._random.uniform(-JITTER, JITTER),
            ),
        )

    def _set(self, route: Route, health: RouteHealth) -> None:
        old, self._health[route] = self._health[route], health
        now = self._clock.utc_now()
        if health.state is not old.state:
            self._emit(
                RouteChanged(at=now, route=route, old=old.state, new=health.state, reason=health.reason)
            )
        name = route.provider
        status = provider_status(self._health[r] for r in self.routes_of(name))
        if status is not (was := self.statuses[name]):
            self.statuses[name] = status
            self._emit(ProviderChanged(at=now, provider=name, old=was, new=status, reason=health.reason))
