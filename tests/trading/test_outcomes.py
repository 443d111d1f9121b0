"""What became of forecasts: asked of the exchange, traded or not, and what follows from it."""

from __future__ import annotations

from datetime import timedelta

from trading_world import START, House, Line, Prices, question

from jurymast.domain.decision import ForecastRecord
from jurymast.domain.events import ForecastNoted, ForecastScored, OpinionStopped
from jurymast.domain.money import CENT
from jurymast.domain.provider import ProviderName, Tier
from jurymast.policy.records import ForecastRecords
from jurymast.testing.clock import FakeClock
from jurymast.testing.journal import MemoryJournal
from jurymast.trading.outcomes import LOOKS_MAX, Outcomes
from jurymast.trading.portfolio import Portfolio
from jurymast.trading.recorder import Recorder


def said(ticker: str, *, pct: int = 80, weight: float = 0.2, closes_days: float = 60.0) -> ForecastRecord:
    return ForecastRecord(
        ticker=ticker,
        event_ticker=f"EV-{ticker}",
        category="world",
        provider=ProviderName.XAI,
        model="grok-4.7",
        tier=Tier.STRONG,
        probability_pct=pct,
        market_price=50 * CENT,
        weight=weight,
        calibrated=pct / 100,
        as_of=START,
        closes_at=START + timedelta(days=closes_days),
    )


class World:
    """Markets on the embedded exchange, and forecasts of them that wait."""

    def __init__(self, *tickers: str, records: list[ForecastRecord] | None = None, yes: bool = True) -> None:
        self.clock = FakeClock()
        self.house = House([question(ticker, outcome=yes) for ticker in tickers], self.clock, Prices())
        self.line, self.journal = Line(self.house), MemoryJournal()
        self.records = ForecastRecords()
        for record in records or [said(ticker) for ticker in tickers]:
            self.records.apply(ForecastNoted(at=START, record=record))
        recorder = Recorder(self.journal, Portfolio())
        self.outcomes = Outcomes(self.line, self.records, recorder, clock=self.clock)  # type: ignore[arg-type]  # a tap, duck-typed

    def told(self, kind: type) -> list:  # type: ignore[type-arg]  # of that kind
        return [row.event for row in self.journal.read((kind,))]


async def test_a_market_that_nobody_traded_is_scored() -> None:
    """Open, it waits; resolved, its forecast is scored by the exchange's word, once."""
    world = World("Q-1")
    assert await world.outcomes.look() == 0
    assert list(world.records.pending) == ["Q-1"]
    world.clock.advance(31 * 86_400.0)
    assert await world.outcomes.look() == 1
    (scored,) = world.told(ForecastScored)
    assert (scored.yes, scored.record.probability_pct) == (True, 80)
    assert world.records.weight("grok-4.7", Tier.STRONG).events == 1
    assert await world.outcomes.look() == 0
    assert len(world.told(ForecastScored)) == 1


async def test_an_exchange_that_does_not_answer_is_asked_again() -> None:
    """Nothing is lost and nothing is guessed."""
    world = World("Q-1")
    world.clock.advance(31 * 86_400.0)
    world.house.go_away(2)
    assert await world.outcomes.look() == 0
    assert await world.outcomes.look() == 0
    assert list(world.records.pending) == ["Q-1"]
    assert await world.outcomes.look() == 1


async def test_a_market_that_is_gone_proves_nothing() -> None:
    """One that the exchange does not know is done with, and no weight has changed."""
    world = World("Q-1", records=[said("GONE")])
    assert await world.outcomes.look() == 0
    assert world.records.pending == {}
    (scored,) = world.told(ForecastScored)
    assert scored.yes is None


async def test_a_look_is_bounded_and_takes_turns() -> None:
    """At most so many requests a look; those past their close first, then those not looked at longest."""
    tickers = [f"Q-{number:02}" for number in range(LOOKS_MAX + 5)]
    world = World(*tickers)
    await world.outcomes.look()
    assert world.line.calls["get_snapshot"] == LOOKS_MAX
    await world.outcomes.look()
    assert world.line.calls["get_snapshot"] == 2 * LOOKS_MAX
    assert set(world.outcomes._looked) == set(tickers)


async def test_a_model_that_only_harms_is_stopped_and_said() -> None:
    """Sure, heavy and wrong forty times: an event that people see, and no weight from then on."""
    tickers = [f"Q-{number:02}" for number in range(40)]
    records = [said(ticker, pct=95, weight=0.6) for ticker in tickers]
    world = World(*tickers, records=records, yes=False)
    world.clock.advance(31 * 86_400.0)
    while world.records.pending:
        await world.outcomes.look()
    (stopped,) = world.told(OpinionStopped)
    assert stopped.model == "grok-4.7"
    assert stopped.evidence >= 20
    assert "did worse than the market alone" in stopped.reason
    assert world.records.weight("grok-4.7", Tier.STRONG).used == 0.0
