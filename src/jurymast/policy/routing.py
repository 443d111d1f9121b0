"""Which routes to ask, in which order, and why the others are left out.

Order: what health says first (usable, half-open, open), then the operator's priority, then the order of
models within a provider. A suspect route keeps its place: demoted for one failure it would see no more
traffic and never clear itself. Routes that asking can't mend (latched, isolated) are left out with their
reason, and so are rate-limited ones while another can answer. Of the open routes one stays, at the end
of the list: the last route is never banned, and no decision spends more than one send on routes that
are known to be sick.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from jurymast.domain.provider import FailureKind, ProviderName, Route, Tier
from jurymast.domain.status import ProviderStatus, RouteState
from jurymast.policy.detector import RouteHealth

_ORDER = {RouteState.HEALTHY: 0, RouteState.SUSPECT: 0, RouteState.HALF_OPEN: 1, RouteState.OPEN: 2}

MODEL_ONLY = frozenset(
    {
        FailureKind.MODEL_GONE,
        FailureKind.INVALID_ANSWER,
        FailureKind.EMPTY,
        FailureKind.TRUNCATED,
        FailureKind.CONTEXT_LENGTH,
        FailureKind.OVERLOADED,
    }
)
"""Failures that say something about one model; after any other the provider's siblings are passed over
within the same decision, or a dead provider would eat every send."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A route with what routing needs to know of it."""

    route: Route
    priority: int
    model_rank: int
    tier: Tier
    health: RouteHealth
    held_secs: float = 0.0
    """How much longer a rate limit asks us to leave it alone."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A route that is not asked, and why."""

    route: Route
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Routes in the order they will be asked, and those left out."""

    routes: tuple[Candidate, ...]
    skipped: tuple[Skipped, ...]


def rank(candidates: Iterable[Candidate], *, preferred: ProviderName | None = None) -> Plan:
    """Order the candidates. ``preferred`` moves one provider ahead of its equals in health."""
    usable: list[Candidate] = []
    skipped: list[Skipped] = []
    for candidate in candidates:
        if candidate.health.state in _ORDER:
            usable.append(candidate)
        else:
            skipped.append(Skipped(candidate.route, f"{candidate.health.state}: {candidate.health.reason}"))
    usable.sort(
        key=lambda c: (
            _ORDER[c.health.state],
            c.route.provider is not preferred,
            c.priority,
            c.model_rank,
            c.route,
        )
    )
    held = [candidate for candidate in usable if candidate.held_secs > 0]
    if len(held) < len(usable):
        for candidate in held:
            usable.remove(candidate)
            skipped.append(Skipped(candidate.route, f"rate limited for {candidate.held_secs:.0f} s more"))
    sick = [candidate for candidate in usable if candidate.health.state is RouteState.OPEN]
    for candidate in sick[1:]:
        usable.remove(candidate)
        skipped.append(Skipped(candidate.route, f"open: {candidate.health.reason}"))
    return Plan(tuple(usable), tuple(skipped))


def provider_status(healths: Iterable[RouteHealth]) -> ProviderStatus:
    """Health of a provider as people see it, from its routes."""
    routes = list(healths)
    if not any(health.usable for health in routes):
        return ProviderStatus.UNHEALTHY
    if not any(health.seen for health in routes):
        return ProviderStatus.UNKNOWN
    if all(health.state is RouteState.HEALTHY for health in routes):
        return ProviderStatus.HEALTHY
    return ProviderStatus.DEGRADED
