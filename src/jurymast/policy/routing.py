"""Which routes to ask, in which order, and why the others are left out.

Order: what health says first (usable, usable behind a suspected edge, half-open, open), then the place that
:mod:`jurymast.policy.value` gives where routes are ordered by value, then the operator's priority, then the
order of models and of instances within a provider. A suspect route keeps its
place: demoted for one failure it would see no more traffic and never clear itself. Routes that asking can't
mend (latched, isolated) are left out with their reason, and so are rate-limited ones while another that is
well can answer. Of the open routes one stays, at the end of the list: the last route is never banned, and no
decision spends more than one send on routes that are known to be sick.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from jurymast.domain.provider import ProviderName, Route, Tier
from jurymast.domain.status import ProviderStatus, RouteState
from jurymast.policy.detector import RouteHealth

_ORDER = {RouteState.HEALTHY: 0, RouteState.SUSPECT: 0, RouteState.HALF_OPEN: 2, RouteState.OPEN: 3}
_BEHIND_SUSPECT_EDGE = 1


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """What is fixed about a route.

    ``edge`` names the infrastructure between us and it; routes behind one edge fail together. ``weight`` is
    an instance's share among its provider's, ``max_concurrent`` the most requests at once, ``context_tokens``
    what the model holds, prompt and answer together (None: not known).
    """

    route: Route
    priority: int
    model_rank: int = 0
    tier: Tier = Tier.MID
    edge: str = "internet"
    max_concurrent: int = 8
    weight: float = 1.0
    context_tokens: int | None = None

    def holds(self, tokens: int) -> bool:
        """Whether a prompt with its answer fits, as far as is known."""
        return self.context_tokens is None or tokens <= self.context_tokens


@dataclass(frozen=True, slots=True)
class Candidate:
    """A route with what ranking needs to know of it."""

    spec: RouteSpec
    health: RouteHealth
    held_secs: float = 0.0
    """How much longer a rate limit asks us to leave it alone."""
    edge_suspect: bool = False

    @property
    def rank(self) -> int:
        """Place by health alone, best first."""
        place = _ORDER[self.health.state]
        return _BEHIND_SUSPECT_EDGE if self.edge_suspect and place == 0 else place


@dataclass(frozen=True, slots=True)
class Skipped:
    """A route that is not asked, and why."""

    route: Route
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Routes in the order they will be asked, and those left out."""

    routes: tuple[Candidate, ...] = ()
    skipped: tuple[Skipped, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class RouteOrder:
    """An order among equals in health. A route without a place has the first, so that priority decides.

    ``refused`` are not asked at all, each for its reason. ``curiosity`` is the share of its patience, 0 to 1,
    that a route is ahead of others in when one is due a question in shadow; it makes none due.
    """

    places: Mapping[Route, int] = field(default_factory=dict)
    refused: Mapping[Route, str] = field(default_factory=dict)
    curiosity: Mapping[Route, float] = field(default_factory=dict)

    @property
    def first(self) -> Route | None:
        """Who is asked first when all are well; None leaves it to priority."""
        return min(self.places, key=self.places.__getitem__) if self.places else None


BY_PRIORITY: Final = RouteOrder()


def rank(
    candidates: Iterable[Candidate],
    *,
    preferred: ProviderName | None = None,
    order: RouteOrder = BY_PRIORITY,
) -> Plan:
    """Order the candidates. ``preferred`` moves one provider ahead of its equals in health."""
    usable: list[Candidate] = []
    skipped: list[Skipped] = []
    for candidate in candidates:
        if (refused := order.refused.get(candidate.spec.route)) is not None:
            skipped.append(Skipped(candidate.spec.route, refused))
        elif candidate.health.state in _ORDER:
            usable.append(candidate)
        else:
            reason = f"{candidate.health.state}: {candidate.health.reason}"
            skipped.append(Skipped(candidate.spec.route, reason))
    usable = reranked(usable, order, preferred)
    held = [candidate for candidate in usable if candidate.held_secs > 0]
    if any(candidate.health.usable and not candidate.held_secs for candidate in usable):
        for candidate in held:
            usable.remove(candidate)
            reason = f"rate limited for {candidate.held_secs:.0f} s more"
            skipped.append(Skipped(candidate.spec.route, reason))
    sick = [candidate for candidate in usable if candidate.health.state is RouteState.OPEN]
    sick.sort(key=lambda candidate: candidate.held_secs > 0)
    for candidate in sick[1:]:
        usable.remove(candidate)
        skipped.append(Skipped(candidate.spec.route, f"open: {candidate.health.reason}"))
    return Plan(tuple(usable), tuple(skipped))


def reranked(
    candidates: Iterable[Candidate], order: RouteOrder, preferred: ProviderName | None
) -> list[Candidate]:
    """The same candidates: health first, then whom a person prefers, then the order, then priority."""
    places = order.places
    return sorted(
        candidates,
        key=lambda c: (
            c.rank,
            c.spec.route.provider is not preferred,
            places.get(c.spec.route, 0),
            c.spec.priority,
            c.spec.model_rank,
            c.spec.route,
        ),
    )


def provider_status(healths: Iterable[RouteHealth], *, seen: bool) -> ProviderStatus:
    """Health of a provider as people see it, from its routes; ``seen`` when any ever answered or failed."""
    routes = list(healths)
    if not any(health.usable for health in routes):
        return ProviderStatus.UNHEALTHY
    if not seen:
        return ProviderStatus.UNKNOWN
    if all(health.state is RouteState.HEALTHY for health in routes):
        return ProviderStatus.HEALTHY
    return ProviderStatus.DEGRADED
