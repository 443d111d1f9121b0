"""What a run leaves to the next."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from jurymast.app.config import BotSection, Config
from jurymast.app.quality import QualitySection
from jurymast.app.restart import earlier_run, forecast_records
from jurymast.domain.decision import Abstain, AbstainReason, Attempt, ForecastRecord
from jurymast.domain.events import (
    DecisionAbstained,
    Event,
    ForecastNoted,
    ForecastScored,
    ModeChanged,
    OpinionStopped,
    ProbeSent,
    RouteChanged,
    ShadowAnswered,
)
from jurymast.domain.money import CENT
from jurymast.domain.provider import ProviderName, Route, Tier
from jurymast.domain.status import EmergencyMode, RouteState
from jurymast.journal.sqlite import SqliteJournal
from jurymast.policy.records import ForecastRecords
from jurymast.policy.restart import Earlier
from jurymast.testing.clock import START, FakeClock

GROK = Route(ProviderName.XAI, "grok-4.3")
GPT = Route(ProviderName.OPENAI, "gpt-6.1-terra")
NORMAL, CONSERVATIVE, MINIMAL = EmergencyMode.NORMAL, EmergencyMode.CONSERVATIVE, EmergencyMode.MINIMAL


async def left_by(tmp_path: Path, *events: Event, after_secs: float = 60.0) -> Earlier:
    """What a run that starts so long after START makes of these."""
    config = replace(Config(), bot=BotSection(data_dir=str(tmp_path)))
    clock = FakeClock()
    clock.advance(after_secs)
    journal = SqliteJournal.open(config.journal_path, clock=clock)
    try:
        await journal.append(*events)
        return earlier_run(journal, clock, config)
    finally:
        await journal.close()


def probe(cost: int, minutes: float = 0.0) -> ProbeSent:
    at = START + timedelta(minutes=minutes)
    return ProbeSent(at=at, route=GROK, healthy=True, detail="", cost=cost)


async def test_a_restart_knows_what_models_have_shown(tmp_path: Path) -> None:
    """Weights, stops and forecasts that wait are folded again from the journal, to the same values."""
    config = replace(Config(), bot=BotSection(data_dir=str(tmp_path)))
    live = ForecastRecords()
    journal = SqliteJournal.open(config.journal_path, clock=FakeClock())
    try:
        for number in range(40):
            record = forecast(f"Q-{number}", pct=60 + number % 30)
            events: list[Event] = [ForecastNoted(at=START, record=record)]
            if number % 2:
                events.append(ForecastScored(at=START, record=record, yes=number % 3 > 0))
            if number == 39:
                events.append(OpinionStopped(at=START, model="gpt", evidence=25.0, reason="harm"))
            for event in events:
                live.apply(event)
            await journal.append(*events)
    finally:
        await journal.close()
    again = forecast_records(config)
    assert again.pending == live.pending
    for model in ("grok-4.7", "gpt"):
        assert again.weight(model, Tier.STRONG, "world") == live.weight(model, Tier.STRONG, "world")
    assert again.weight("grok-4.7", Tier.STRONG).events == 20
    assert again.weight("gpt", Tier.STRONG).stopped == "harm"
    trusting = replace(config, quality=QualitySection(trusted=("gpt",)))
    assert forecast_records(trusting).weight("gpt", Tier.STRONG).stopped == ""


def forecast(ticker: str, *, pct: int) -> ForecastRecord:
    return ForecastRecord(
        ticker=ticker,
        event_ticker=ticker,
        category="world",
        provider=ProviderName.XAI,
        model="grok-4.7",
        tier=Tier.STRONG,
        probability_pct=pct,
        market_price=50 * CENT,
        weight=0.2,
        calibrated=pct / 100,
        as_of=START,
        closes_at=START + timedelta(days=30),
    )


async def test_a_first_run_starts_from_nothing(tmp_path: Path) -> None:
    """An empty journal is no earlier run."""
    assert await left_by(tmp_path) == Earlier()


async def test_a_restart_opens_no_new_budget(tmp_path: Path) -> None:
    """What was spent since midnight UTC stays spent, whatever it was spent on; yesterday's is over."""
    shadow = ShadowAnswered(
        at=START, route=GPT, beside=GROK, detail="answered", difference_pct=3, secs=1.0, cost=20
    )
    earlier = await left_by(tmp_path, probe(5, minutes=-13 * 60), probe(7), shadow)
    assert earlier.spent == 27


async def test_what_may_yet_be_billed_is_not_given_out_again(tmp_path: Path) -> None:
    """What a loser given up on its way may cost beyond its estimate stays out of reach after a restart."""
    attempts = (
        Attempt(GROK, "overdue", cost=30, uncertain=500),
        Attempt(GPT, "answered", cost=70),
    )
    abstain = Abstain(
        decision_id="d1", ticker="T", reason=AbstainReason.MODEL_ABSTAINED, detail="", mode=NORMAL, cost=100,
        secs=1.0, market_price=500_000, as_of=START, decided_at=START, attempts=attempts,
    )  # fmt: skip
    event = DecisionAbstained(at=START, decision_id="d1", ticker="T", abstain=abstain)
    assert (await left_by(tmp_path, event)).spent == 100 + 500


async def test_the_mode_and_its_flaps_go_on(tmp_path: Path) -> None:
    """The last mode stays, and its changes within the window keep their distance in time."""
    changes = [
        ModeChanged(at=START - timedelta(hours=3), old=NORMAL, new=CONSERVATIVE, reason=""),
        ModeChanged(at=START - timedelta(minutes=10), old=CONSERVATIVE, new=MINIMAL, reason=""),
        ModeChanged(at=START, old=MINIMAL, new=CONSERVATIVE, reason=""),
    ]
    earlier = await left_by(tmp_path, *changes, after_secs=60.0)
    assert earlier.mode is CONSERVATIVE
    assert earlier.mode_changes == (-600.0, 0.0)


async def test_a_sick_route_is_not_trusted_after_a_restart(tmp_path: Path) -> None:
    """Who was open is probed at once, who was latched stays so, and who was well starts afresh."""
    moved = [
        RouteChanged(at=START, route=GROK, old=RouteState.SUSPECT, new=RouteState.OPEN, reason="500"),
        RouteChanged(at=START, route=GPT, old=RouteState.OPEN, new=RouteState.HEALTHY, reason="answers"),
    ]
    earlier = await left_by(tmp_path, *moved)
    assert earlier.healths[GROK].state is RouteState.HALF_OPEN
    assert earlier.healths[GROK].next_probe_at == 60.0
    assert (earlier.healths[GPT].state, earlier.healths[GPT].next_probe_at) == (RouteState.HEALTHY, math.inf)
