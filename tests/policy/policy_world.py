"""Markets, decisions, portfolios and routes as the rules see them, every fact as a test may want it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from jurymast.domain.decision import Decision, EvidenceQuality, Forecast, ResolutionRisk, Rung
from jurymast.domain.market import Book, Level, Market, MarketSnapshot, MarketStatus
from jurymast.domain.money import CENT, CONTRACT, PAYOUT, USD, Centi, Micros
from jurymast.domain.order import Position
from jurymast.domain.portfolio import Exposure
from jurymast.domain.provider import Failure, FailureKind, ProviderName, Route, Tier
from jurymast.domain.status import EmergencyMode, RouteState
from jurymast.policy.detector import RouteHealth
from jurymast.policy.failover import Failover, FailoverSettings
from jurymast.policy.record import Record
from jurymast.policy.restart import Earlier
from jurymast.policy.routing import Candidate, RouteSpec
from jurymast.policy.walk import Send, Walk

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
TICKER = "RAIN-NYC-26MAR09"
EVENT = "RAIN-NYC"
EQUITY = 10_000 * USD
PLACES = {RouteState.HEALTHY: 0, RouteState.SUSPECT: 0, RouteState.HALF_OPEN: 2, RouteState.OPEN: 3}
"""Where a state puts a route among those that are asked."""


def snapshot_of(
    bid: Micros | None = 48 * CENT,
    ask: Micros | None = 50 * CENT,
    *,
    count: Centi = 1_000 * CONTRACT,
    volume: Centi = 50_000 * CONTRACT,
    status: MarketStatus = MarketStatus.ACTIVE,
    secs_to_close: float = 7 * 86_400.0,
) -> MarketSnapshot:
    """A market with one level a side; None empties a side."""
    market = Market(
        ticker=TICKER,
        event_ticker=EVENT,
        category="Climate",
        title="Will it rain in New York on Mar 9?",
        rules="Resolves YES if Central Park measures rain.",
        open_time=NOW - timedelta(days=30),
        close_time=NOW + timedelta(seconds=secs_to_close),
    )
    book = Book(
        bids=() if bid is None else (Level(bid, count),),
        asks=() if ask is None else (Level(ask, count),),
    )
    return MarketSnapshot(market, status, book, volume, NOW)


def mirrored(snapshot: MarketSnapshot) -> MarketSnapshot:
    """The same market asked the other way round: its YES is the old NO."""
    book = Book(
        bids=tuple(Level(PAYOUT - level.price, level.count) for level in snapshot.book.asks),
        asks=tuple(Level(PAYOUT - level.price, level.count) for level in snapshot.book.bids),
    )
    return MarketSnapshot(snapshot.market, snapshot.status, book, snapshot.volume_24h, snapshot.as_of)


def decision_of(
    probability_pct: int = 75,
    low_pct: int | None = None,
    high_pct: int | None = None,
    *,
    tier: Tier = Tier.STRONG,
    mode: EmergencyMode = EmergencyMode.NORMAL,
) -> Decision:
    forecast = Forecast(
        probability_pct=probability_pct,
        low_pct=max(1, probability_pct - 5) if low_pct is None else low_pct,
        high_pct=min(99, probability_pct + 5) if high_pct is None else high_pct,
        base_rate_pct=50,
        evidence_quality=EvidenceQuality.MIXED,
        resolution_risk=ResolutionRisk.LOW,
        key_evidence=(),
        would_change_mind="a dry forecast",
    )
    return Decision(
        decision_id="d1",
        ticker=TICKER,
        forecast=forecast,
        rung=Rung.PRIMARY,
        route=Route(ProviderName.XAI, "grok-4"),
        tier=tier,
        served_model="grok-4",
        mode=mode,
        cost=1_000,
        secs=3.0,
        market_price=49 * CENT,
        as_of=NOW,
        decided_at=NOW,
        reason="",
    )


def position_of(contracts: int = 100, cost: Micros = 50 * USD) -> Position:
    """A position; a negative number of contracts is NO."""
    return Position(TICKER, EVENT, contracts * CONTRACT, cost)


def exposure_of(
    *,
    equity: Micros = EQUITY,
    cash: Micros = EQUITY,
    positions: Mapping[str, Position] | None = None,
    by_market: Mapping[str, Micros] | None = None,
    by_event: Mapping[str, Micros] | None = None,
    new_risk_hour: Micros = 0,
    new_risk_day: Micros = 0,
    busy: frozenset[str] = frozenset(),
) -> Exposure:
    return Exposure(
        equity, cash, positions or {}, by_market or {}, by_event or {}, new_risk_hour, new_risk_day, busy
    )


def spec_of(
    provider: ProviderName = ProviderName.XAI,
    model: str = "m0",
    *,
    priority: int | None = None,
    instance: str = "",
    tier: Tier | None = None,
    edge: str | None = None,
    max_concurrent: int = 8,
    weight: float = 1.0,
    context_tokens: int | None = None,
) -> RouteSpec:
    """A route with its provider's usual place; the number in the name of its model is its rank."""
    local = provider is ProviderName.LOCAL
    return RouteSpec(
        Route(provider, model, instance),
        priority=list(ProviderName).index(provider) if priority is None else priority,
        model_rank=int(model[1:]),
        tier=tier or (Tier.SMALL if local else Tier.MID),
        edge=edge or ("loopback" if local else "internet"),
        max_concurrent=max_concurrent,
        weight=weight,
        context_tokens=context_tokens,
    )


def candidate_of(
    provider: ProviderName,
    state: RouteState = RouteState.HEALTHY,
    *,
    model: str = "m0",
    priority: int | None = None,
    instance: str = "",
    reason: str = "said so",
    held_secs: float = 0.0,
    edge_suspect: bool = False,
) -> Candidate:
    spec = spec_of(provider, model, priority=priority, instance=instance)
    return Candidate(spec, RouteHealth(state, reason=reason), held_secs, edge_suspect)


class Bench:
    """The failover core with a clock in hand: asks, and reports what becomes of its sends."""

    def __init__(
        self,
        *specs: RouteSpec,
        settings: FailoverSettings | None = None,
        mode: EmergencyMode = EmergencyMode.NORMAL,
        healths: dict[Route, RouteHealth] | None = None,
    ) -> None:
        self.now = 1_000.0
        self.specs = specs or tuple(spec_of(name) for name in ProviderName)
        self.core = Failover(
            self.specs,
            settings=settings or FailoverSettings(),
            now=self.now,
            dice=lambda: 0.5,
            earlier=Earlier(mode, healths=healths or {}),
        )
        self.sends: list[Send] = []
        """Every send so far."""
        self.cancelled: list[int] = []

    def ask(
        self,
        deadline_secs: float = 60.0,
        prompt_class: int = 0,
        tokens: int = 0,
        first: ProviderName | None = None,
    ) -> Walk:
        walk = self.core.begin(
            self.now,
            deadline_secs,
            prompt_class=prompt_class,
            tokens=tokens,
            quote=lambda _route, _secs: (4_000, 3_000),
            first=first,
        )
        return self._taken(walk)

    def answer(
        self, walk: Walk, provider: ProviderName | None = None, *, secs: float = 0.5, cost: Micros = 100
    ) -> Walk:
        """The attempt (the only one, or that of a provider) is answered after so many more seconds."""
        attempt = self._attempt(walk, provider)
        self.now += secs
        self.core.answered(walk, attempt, self.now, cost=cost)
        return self._taken(walk)

    def fail(
        self,
        walk: Walk,
        kind: FailureKind = FailureKind.SERVER_ERROR,
        provider: ProviderName | None = None,
        *,
        secs: float = 0.1,
        retry_after_secs: float | None = None,
    ) -> Walk:
        attempt = self._attempt(walk, provider)
        self.now += secs
        failure = Failure(kind, kind.value, retry_after_secs=retry_after_secs)
        self.core.failed(walk, attempt, self.now, failure)
        return self._taken(walk)

    def wake(self, walk: Walk) -> Walk:
        """Let time come to the walk's alarm."""
        self.now = max(self.now, walk.wake_at)
        self.core.wake(walk, self.now)
        return self._taken(walk)

    def abandon(self, walk: Walk) -> Walk:
        self.core.abandoned(walk, self.now)
        return self._taken(walk)

    def refuse_to_pay(self, walk: Walk) -> Walk:
        self.core.unaffordable(walk, self._attempt(walk, None), self.now, "too dear")
        return self._taken(walk)

    def answers(self, count: int, *, secs: float = 1.0, every_secs: float = 60.0) -> None:
        """So many questions in a row, each answered by whoever is asked first."""
        for _ in range(count):
            self.answer(self.ask(), secs=secs)
            self.now += every_secs

    def outage(self, provider: ProviderName, kind: FailureKind = FailureKind.SERVER_ERROR) -> None:
        """Open every route of a provider by failures of its own."""
        for record in self.core.health.of(provider):
            for _ in range(2):
                self.core.health.failed(record, -1, self.now, Failure(kind, kind.value), 0.1, 0)

    def probe(self, *, ok: Collection[ProviderName] = (), secs: float = 0.0) -> list[ProviderName]:
        """Let time pass and probe what is due; providers in ``ok`` answer, the others fail."""
        self.now += secs
        due = self.core.due_probes(self.now)
        for route in due:
            well = route.provider in ok
            failure = None if well else Failure(FailureKind.SERVER_ERROR, "probe failed")
            self.core.probed(route, self.now, failure)
        return [route.provider for route in due]

    def record(self, provider: ProviderName, model: str = "m0", instance: str = "") -> Record:
        return self.core.health.records[Route(provider, model, instance)]

    def state(self, provider: ProviderName, model: str = "m0", instance: str = "") -> RouteState:
        return self.record(provider, model, instance).health.state

    def asked(self, walk: Walk) -> list[ProviderName]:
        """Providers that a walk has sent to, in order."""
        return [record.route.provider for record in walk.asked]

    def facts(self, kind: type[Any] = object) -> list[Any]:
        """What was told since the last look."""
        told, self.core.facts[:] = list(self.core.facts), []
        return [fact for fact in told if isinstance(fact, kind)]

    def _attempt(self, walk: Walk, provider: ProviderName | None) -> int:
        found = [
            attempt
            for attempt, sent in walk.in_flight.items()
            if provider is None or sent.record.route.provider is provider
        ]
        assert len(found) == 1, f"{len(found)} attempts under way fit"
        return found[0]

    def _taken(self, walk: Walk) -> Walk:
        for command in walk.take():
            if isinstance(command, Send):
                self.sends.append(command)
            else:
                self.cancelled.append(command.attempt)
        return walk
