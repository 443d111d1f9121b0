"""A total outage of the AI providers, played on real sockets: entries stop, everything else goes on."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from trading_world import START, Desk, books_differ, desk, question

from jurymast.domain.events import CycleFinished, Event, OrderIntended, PositionSettled
from jurymast.domain.order import OrderIntent, Purpose
from jurymast.domain.status import EmergencyMode, TradingState
from jurymast.exchange.paths import PricePath
from jurymast.exchange.questions import Question, load_bundle
from jurymast.lab.rig import Rig, rig
from jurymast.trading.settings import CycleSettings

CYCLE_SECS = 60.0
SETTINGS = CycleSettings(decision_deadline_secs=5.0, decisions_max=6, ask_again_secs=300.0)


def likely_questions(how_many: int) -> tuple[Question, ...]:
    """Bundled questions that the emulated models think likely, listed and resolved to suit these tests."""
    path, lasting = PricePath(0), START + timedelta(days=60)
    found = [
        replace(each, listed_at=START - timedelta(days=30), resolves_at=lasting, close_time=lasting)
        for each in load_bundle()
        if path.fundamental(each, START + timedelta(hours=1)) > 2.0
    ]
    assert len(found) >= how_many
    return tuple(found[:how_many])


class Outage:
    """A desk judged by emulated providers. Its markets stand at 30 cents, which the models find cheap."""

    def __init__(self, lab: Rig) -> None:
        self.lab = lab
        self.likely = likely_questions(8)
        cheap = question("CHEAP")
        soon = question("SOON", resolves_at=START + timedelta(hours=2))
        self.desk: Desk = desk(
            *self.likely, cheap, soon, clock=lab.clock, judge=lab.client, settings=SETTINGS
        )
        for each in self.likely:
            self.desk.prices.put(each.ticker, 29)
        # Outside every mode's price band, so that no model is asked and only hands have bought them.
        for each in (cheap, soon):
            self.desk.prices.put(each.ticker, 3)

    async def cycles(self, how_many: int) -> list[CycleFinished]:
        rows = []
        for _ in range(how_many):
            await self.lab.pass_time(CYCLE_SECS, step_secs=15.0)
            rows.append(await self.desk.cycle.run_once())
        return rows

    def intents(self, purpose: Purpose, since: int = 0) -> list[OrderIntent]:
        told: list[Event] = self.desk.told[since:]
        made = [event.intent for event in told if isinstance(event, OrderIntended)]
        return [intent for intent in made if intent.purpose is purpose]


async def test_when_every_provider_is_gone_only_entries_stop() -> None:
    """No new risk without judgement; profits are taken, caps kept, payouts booked; recovery trades again."""
    async with rig() as lab:
        outage = Outage(lab)
        trading = outage.desk
        trading.buy("CHEAP", 100)
        trading.buy("SOON", 200)
        healthy = await outage.cycles(2)
        assert {row.mode for row in healthy} == {EmergencyMode.NORMAL}
        assert outage.intents(Purpose.ENTRY) != []

        await lab.fleet.set_fault("all", "refuse")
        lost = await outage.cycles(6)
        assert lost[-1].mode is EmergencyMode.CACHED, "for a quarter of an hour what was said still counts"
        lab.clock.advance(900)
        lost += await outage.cycles(1)
        assert lost[-1].mode is EmergencyMode.MINIMAL
        assert lost[-1].state is TradingState.ACTIVE
        assert lost[-1].resting_orders == 0
        assert lost[-1].active_route == ""
        assert set((lost[-1].providers or {}).values()) == {"unhealthy"}
        dark = len(trading.told)

        trading.prices.put("CHEAP", 97)
        held = next(ticker for ticker in trading.portfolio.positions if ticker not in {"CHEAP", "SOON"})
        trading.buy(held, 2_000)
        emergency = await outage.cycles(2)
        lab.clock.advance(2 * 3_600)
        emergency += await outage.cycles(1)
        assert {row.mode for row in emergency} == {EmergencyMode.MINIMAL}
        assert outage.intents(Purpose.ENTRY, dark) == []
        assert sum(row.decided for row in emergency) == 0
        reasons = {i.ticker: i.reason.split(":")[0] for i in outage.intents(Purpose.EXIT, dark)}
        assert reasons == {"CHEAP": "take_profit", held: "cap_breach"}
        [settled] = trading.tell(PositionSettled)
        assert (settled.ticker, settled.settlement.revenue) == ("SOON", 200_000_000)
        assert books_differ(trading) == []

        await lab.fleet.clear_faults("all")
        dawn = len(trading.told)
        better = await outage.cycles(30)
        modes = list(dict.fromkeys(row.mode for row in better))
        assert modes == [EmergencyMode.MINIMAL, EmergencyMode.CONSERVATIVE, EmergencyMode.NORMAL]
        assert outage.intents(Purpose.ENTRY, dawn) != [], "recovery resumes entries"
        assert better[-1].active_route == "xai/grok-4.3"
        assert books_differ(trading) == []


async def test_losing_all_providers_sells_nothing_in_panic() -> None:
    """Positions at ordinary prices are still held after an hour without any model."""
    async with rig() as lab:
        outage = Outage(lab)
        await outage.cycles(2)
        held = dict(outage.desk.portfolio.positions)
        assert held
        await lab.fleet.set_fault("all", "503")
        await outage.cycles(4)
        during = len(outage.desk.told)
        lab.clock.advance(3_600)
        [row] = await outage.cycles(1)
        assert row.mode is EmergencyMode.MINIMAL
        assert outage.intents(Purpose.EXIT, during) == []
        assert outage.desk.portfolio.positions.keys() >= held.keys()
