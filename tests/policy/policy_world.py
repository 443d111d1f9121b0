"""Markets, decisions and portfolios as the rules see them, with every fact a test may want to bend."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from jurymast.domain.decision import Decision, EvidenceQuality, Forecast, ResolutionRisk, Rung
from jurymast.domain.market import Book, Level, Market, MarketSnapshot, MarketStatus
from jurymast.domain.money import CENT, CONTRACT, PAYOUT, USD, Centi, Micros
from jurymast.domain.order import Position
from jurymast.domain.portfolio import Exposure
from jurymast.domain.provider import ProviderName, Route, Tier
from jurymast.domain.status import EmergencyMode

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
TICKER = "RAIN-NYC-26MAR09"
EVENT = "RAIN-NYC"
EQUITY = 10_000 * USD


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
