"""States a person asks about: providers, judgement, orders."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from jurymast.domain.money import Micros
from jurymast.domain.provider import Failure, FailureKind, ProviderName, Route
from jurymast.domain.word import Word


class ProviderStatus(Word):
    """Health of a provider as people see it."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"


class RouteState(Word):
    """Health of a route as the router sees it. LATCHED and ISOLATED wait for more than time."""

    HEALTHY = "healthy"
    SUSPECT = "suspect"
    OPEN = "open"
    HALF_OPEN = "half_open"
    LATCHED = "latched"
    ISOLATED = "isolated"


class EmergencyMode(Word):
    """How far our judgement can be trusted, most first. Says nothing about orders: see TradingState.

    CACHED: no model answers, but fresh opinions of theirs are left. MINIMAL: no usable forecast. SUSPENDED:
    our picture of books, prices or time is not trusted. KILLED: something did what it must not; a human's.
    """

    NORMAL = "normal"
    CONSERVATIVE = "conservative"
    CACHED = "cached"
    MINIMAL = "minimal"
    SUSPENDED = "suspended"
    KILLED = "killed"

    @property
    def severity(self) -> int:
        return _SEVERITIES[self]

    def safest(self, other: EmergencyMode) -> EmergencyMode:
        """The safer of two modes."""
        return self if self.severity >= other.severity else other


class TradingState(Word):
    """What orders may do, most permissive first."""

    ACTIVE = "active"
    REDUCING = "reducing"
    HALTED = "halted"

    @property
    def severity(self) -> int:
        return _STATES.index(self)

    def safest(self, other: TradingState) -> TradingState:
        """The safer of two states."""
        return self if self.severity >= other.severity else other


_SEVERITIES = {mode: severity for severity, mode in enumerate(EmergencyMode)}
_STATES = tuple(TradingState)


@dataclass(frozen=True, slots=True)
class HealthCheckResult:
    """Outcome of one probe. ``secs`` is how long it took, ``retry_after_secs`` the wait it was asked for."""

    provider: ProviderName
    is_healthy: bool
    secs: float
    model: str = ""
    detail: str = ""
    failure: FailureKind | None = None
    cost: Micros = 0
    retry_after_secs: float | None = None
    estimated: bool = False
    """Whether ``cost`` is the worst case: the vendor has not told it."""
    cause: Failure | None = None
    """The whole of ``failure``, where ``detail`` is only its words."""


@dataclass(frozen=True, slots=True)
class FailoverEvent:
    """The provider that answers first has changed. Routes are absent at the ends of a total outage."""

    at: datetime
    from_route: Route | None
    to_route: Route | None
    reason: str


@dataclass(frozen=True, slots=True)
class RouteReport:
    """What is known about one route.

    ``retry_in_secs`` counts down to the next probe of a sick one, ``held_secs`` to the end of a rate limit.
    ``median_secs`` and ``overdue_secs`` (99th percentile) are learned from its answers.
    """

    route: Route
    state: RouteState
    requests: int
    failures: int
    cost: Micros
    mean_secs: float
    reason: str = ""
    retry_in_secs: float | None = None
    in_flight: int = 0
    held_secs: float = 0.0
    median_secs: float = 0.0
    overdue_secs: float = 0.0
    edge_suspect: bool = False


@dataclass(frozen=True, slots=True)
class BudgetReport:
    """How one cap on AI money stands in its present window, in micro-dollars."""

    name: str
    limit: Micros
    spent: Micros
    uncertain: Micros = 0
    held: Micros = 0
    hard: bool = True


@dataclass(frozen=True, slots=True)
class SystemStatus:
    """The AI layer in one answer."""

    mode: EmergencyMode
    mode_reason: str
    providers: dict[ProviderName, ProviderStatus]
    routes: tuple[RouteReport, ...]
    active_route: Route | None
    cost: Micros
    last_failover: FailoverEvent | None = None
    manual_until: datetime | None = None
    budgets: tuple[BudgetReport, ...] = ()
    """The whole day's first."""

    @property
    def healthy_providers(self) -> int:
        return sum(status is ProviderStatus.HEALTHY for status in self.providers.values())
