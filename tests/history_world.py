"""Events of a bot's life for tests of its history."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from jurymast.domain.decision import (
    Abstain,
    AbstainReason,
    Attempt,
    Decision,
    EvidenceQuality,
    Forecast,
    ResolutionRisk,
    Rung,
)
from jurymast.domain.events import (
    CycleFinished,
    DecisionAbstained,
    DecisionMade,
    ProviderChanged,
    RunStarted,
    RunStopped,
)
from jurymast.domain.money import CENT, USD, Micros
from jurymast.domain.provider import ProviderName, Route, Tier
from jurymast.domain.status import EmergencyMode, ProviderStatus, TradingState

START: Final = datetime(2026, 3, 2, 12, tzinfo=UTC)
ROUTE: Final = Route(ProviderName.XAI, "grok-4.3")
FORECAST: Final = Forecast(62, 50, 70, 40, EvidenceQuality.MIXED, ResolutionRisk.LOW, (), "a dry forecast")


def started(at: datetime) -> RunStarted:
    return RunStarted(at=at, version="0", pid=1, seed=0, exchange="test", simulated=("exchange",))


def stopped(at: datetime) -> RunStopped:
    return RunStopped(at=at, reason="test")


def decided(
    at: datetime, *, rung: Rung = Rung.PRIMARY, attempts: tuple[Attempt, ...] = (), ticker: str = "Q-1"
) -> DecisionMade:
    decision = Decision(
        decision_id=f"{ticker}-{at.isoformat()}",
        ticker=ticker,
        forecast=FORECAST,
        rung=rung,
        route=ROUTE,
        tier=Tier.MID,
        served_model=ROUTE.model,
        mode=EmergencyMode.NORMAL,
        cost=sum(attempt.cost for attempt in attempts),
        secs=1.0,
        market_price=50 * CENT,
        as_of=at,
        decided_at=at,
        reason="test",
        attempts=attempts,
    )
    return DecisionMade(at=at, decision_id=decision.decision_id, ticker=ticker, decision=decision)


def abstained(
    at: datetime,
    reason: AbstainReason = AbstainReason.ALL_PROVIDERS_FAILED,
    attempts: tuple[Attempt, ...] = (),
) -> DecisionAbstained:
    abstain = Abstain(
        decision_id=f"abstain-{at.isoformat()}",
        ticker="Q-1",
        reason=reason,
        detail="test",
        mode=EmergencyMode.NORMAL,
        cost=0,
        secs=1.0,
        market_price=50 * CENT,
        as_of=at,
        decided_at=at,
        attempts=attempts,
    )
    return DecisionAbstained(at=at, decision_id=abstain.decision_id, ticker="Q-1", abstain=abstain)


def provider_is(
    at: datetime, name: ProviderName, status: ProviderStatus, reason: str = "test"
) -> ProviderChanged:
    return ProviderChanged(at=at, provider=name, old=ProviderStatus.UNKNOWN, new=status, reason=reason)


def cycle(at: datetime, *, equity: Micros = 10_000 * USD) -> CycleFinished:
    return CycleFinished(
        at=at, cycle=1, exchange_time=at, secs=1.0, scanned=1, screened=0, decided=1, abstained=0, orders=0,
        fills=0, mode=EmergencyMode.NORMAL, state=TradingState.ACTIVE, cash=equity, equity=equity,
        realized_pnl=0, open_positions=0, resting_orders=0, ai_cost=0,
    )  # fmt: skip
