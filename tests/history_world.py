"""Events of a bot's life for tests of its history."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

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
    Event,
    ProviderChanged,
    RunStarted,
    RunStopped,
)
from jurymast.domain.money import CENT, USD, Micros
from jurymast.domain.provider import ProviderName, Route, Tier
from jurymast.domain.status import EmergencyMode, ProviderStatus, TradingState
from jurymast.journal.history import Past
from jurymast.journal.sqlite import SqliteJournal
from jurymast.policy.history import total
from jurymast.testing.clock import FakeClock

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


def life(days: float, seed: int = 0) -> list[Event]:
    """What a bot says in so many days: cycles, questions, outages, a crash now and then."""
    dice, now, events = random.Random(seed), START, list[Event]()
    events.append(started(now))
    end = START + timedelta(days=days)
    while now < end:
        now += timedelta(seconds=dice.uniform(60, 600))
        name = dice.choice(list(ProviderName))
        attempt = Attempt(Route(name, "m"), "answered", "", dice.lognormvariate(0, 1), dice.randrange(5_000))
        events += dice.choice(
            [
                [cycle(now, equity=dice.randrange(10**10))],
                [decided(now, attempts=(attempt,))],
                [abstained(now)],
                [provider_is(now, name, dice.choice(list(ProviderStatus)))],
                [started(now)],
                [stopped(now), started(now)],
            ]
        )
    return events


async def write(path: Path, events: list[Event]) -> None:
    journal = SqliteJournal.open(path, clock=FakeClock())
    for place in range(0, len(events), 1_000):
        await journal.append(*events[place : place + 1_000])
    await journal.close()


def told(past: Past) -> tuple[bytes, list[tuple[str, str]]]:
    """What a history says in all, to compare."""
    whole = total(span.tally for span in past.spans)
    whole.secs = round(whole.secs, 3)
    rounded = msgspec.json.encode(whole, order="deterministic", enc_hook=str)
    numbers = msgspec.json.decode(rounded)
    for name in ("modes", "states"):
        numbers[name] = {key: round(value, 3) for key, value in numbers[name].items()}
    for provider in numbers["providers"].values():
        provider["secs"] = {key: round(value, 3) for key, value in provider["secs"].items()}
        provider["answer_secs"] = round(provider["answer_secs"], 3)
    incidents = [(each.provider, each.started.isoformat()) for each in past.incidents]
    return msgspec.json.encode(numbers, order="deterministic"), incidents
