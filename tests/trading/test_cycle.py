"""One trading cycle: who is asked, what is sent, what is refused, and that each refusal has a reason."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from trading_world import CASH, START, Desk, books_differ, desk, exit_of, orders_at, question, restarted

from jurymast.domain.errors import ExchangeUnavailable, JournalUnwritable, SchemaDrift
from jurymast.domain.events import (
    CycleFinished,
    MarketScreened,
    OrderChanged,
    OrderIntended,
    OrderUnresolved,
    Reconciled,
    StateChanged,
    TradeDeclined,
)
from jurymast.domain.market import MarketSnapshot, Side
from jurymast.domain.money import CENT, CONTRACT, USD
from jurymast.domain.order import OrderIntent, OrderStatus, Purpose
from jurymast.domain.status import EmergencyMode, TradingState
from jurymast.policy.emergency import TABLE
from jurymast.policy.risk import RiskSettings
from jurymast.trading.gateway import RESOLVE_TRIES, client_order_id
from jurymast.trading.settings import CycleSettings

ACTIVE, REDUCING, HALTED = TradingState
TEN = tuple(question(f"Q-{place}") for place in range(10))

QUICKLY_OLD = {
    mode: replace(row, forecast_age_secs_max=min(row.forecast_age_secs_max, 90.0))
    for mode, row in TABLE.items()
}


def gates(lab: Desk) -> list[tuple[str, str]]:
    return [(event.gate, event.reason) for event in lab.tell(TradeDeclined)]


def intents(lab: Desk, purpose: Purpose) -> list[OrderIntent]:
    return [event.intent for event in lab.tell(OrderIntended) if event.intent.purpose is purpose]


async def resting_entry(lab: Desk) -> None:
    """Let the cycle make an entry of which only a part fills at once."""
    lab.prices.put("Q-1", 29, best=60)
    lab.judge.views["Q-1"] = 95
    await lab.cycle.run_once()
    assert len(lab.portfolio.orders) == 1


def loops() -> set[asyncio.Task[object]]:
    """Every task but those of the exchange's server, which keeps connections open."""
    return {task for task in asyncio.all_tasks() if "RequestHandler" not in repr(task.get_coro())}


class TestEntries:
    async def test_a_strong_view_becomes_one_order(self) -> None:
        """A forecast far above the price buys YES at the best offer, with everything on record."""
        lab = desk()
        lab.prices.put("Q-1", 29)
        lab.judge.views["Q-1"] = 95
        finished = await lab.cycle.run_once()
        [intent] = intents(lab, Purpose.ENTRY)
        assert (intent.side, intent.limit_price) == (Side.YES, 30 * CENT)
        assert intent.client_order_id == client_order_id(intent.decision_id, "Q-1", Purpose.ENTRY)
        assert intent.expires_at is not None
        assert 0 < lab.portfolio.positions["Q-1"].cost <= CASH // 50
        assert (finished.scanned, finished.decided, finished.orders, finished.fills) == (1, 1, 1, 1)
        assert books_differ(lab) == []

    async def test_a_view_below_the_price_buys_no(self) -> None:
        """A forecast far below the price buys the other side."""
        lab = desk()
        lab.prices.put("Q-1", 70)
        lab.judge.views["Q-1"] = 5
        await lab.cycle.run_once()
        assert [intent.side for intent in intents(lab, Purpose.ENTRY)] == [Side.NO]
        assert lab.portfolio.positions["Q-1"].count < 0

    async def test_a_view_like_the_markets_is_declined_with_its_numbers(self) -> None:
        """No edge, no order, and the journal says what was compared."""
        lab = desk()
        lab.judge.views["Q-1"] = 50
        finished = await lab.cycle.run_once()
        assert gates(lab) == [("edge", "edge_too_small")]
        assert (finished.decided, finished.orders) == (1, 0)

    async def test_an_abstention_is_counted_and_nothing_is_sent(self) -> None:
        """A model without an opinion costs a question and makes no order."""
        lab = desk()
        finished = await lab.cycle.run_once()
        assert (finished.decided, finished.abstained, finished.orders) == (0, 1, 0)

    async def test_each_order_is_sized_on_what_the_one_before_has_left(self) -> None:
        """Four strong views at once stay below the hourly limit of new risk together."""
        lab = desk(*TEN[:4])
        for each in TEN[:4]:
            lab.prices.put(each.ticker, 29)
            lab.judge.views[each.ticker] = 99
        await lab.cycle.run_once()
        at_stake = sum(position.cost for position in lab.portfolio.positions.values())
        assert lab.judge.most_at_once == 4
        assert CASH * 3 // 100 < at_stake <= CASH * 4 // 100
        assert books_differ(lab) == []

    async def test_what_the_risk_rules_refuse_is_recorded(self) -> None:
        """A hard limit below the sizing's wish stops the order, with gate, reason and numbers."""
        lab = desk(settings=CycleSettings(risk=RiskSettings(order_cost_max=USD)))
        lab.judge.views["Q-1"] = 99
        finished = await lab.cycle.run_once()
        [declined] = lab.tell(TradeDeclined)
        assert (declined.gate, declined.reason) == ("risk", "order_too_large")
        assert "$1.00" in declined.detail
        assert declined.decision_id is not None
        assert finished.orders == 0
        assert orders_at(lab.house) == []

    async def test_the_order_rate_is_a_hard_limit(self) -> None:
        """With one order a minute allowed the second entry of a cycle is refused and recorded."""
        settings = CycleSettings(risk=RiskSettings(orders_per_minute_max=1))
        lab = desk(*TEN[:2], settings=settings)
        lab.judge.views |= {each.ticker: 95 for each in TEN[:2]}
        await lab.cycle.run_once()
        assert gates(lab) == [("risk", "order_rate")]
        assert len(orders_at(lab.house)) == 1


class TestAsking:
    async def test_a_cycle_asks_so_many_and_so_many_at_once(self) -> None:
        """Ten markets, three questions a cycle, two under way; each market comes before any comes twice."""
        lab = desk(*TEN, settings=CycleSettings(decisions_max=3, concurrency_max=2))
        for asked in (3, 6, 9, 10):
            await lab.cycle.run_once()
            lab.clock.advance(30)
            assert len(lab.judge.asked) == asked
        assert lab.judge.most_at_once == 2
        assert sorted(lab.judge.asked) == sorted(each.ticker for each in TEN)

    async def test_it_asks_again_only_after_a_while(self) -> None:
        """The same market at the same price is not paid for twice within the interval."""
        lab = desk(settings=CycleSettings(ask_again_secs=900))
        for secs in (0, 450, 449, 1):
            lab.clock.advance(secs)
            await lab.cycle.run_once()
        assert len(lab.judge.asked) == 2

    async def test_it_asks_again_after_a_move(self) -> None:
        """Four cents are no news, five are."""
        lab = desk()
        for bid, asked in ((49, 1), (53, 1), (54, 2), (49, 3)):
            lab.prices.put("Q-1", bid)
            lab.clock.advance(30)
            await lab.cycle.run_once()
            assert len(lab.judge.asked) == asked

    async def test_why_a_market_is_not_looked_at_is_told_once_per_change(self) -> None:
        """A reason is recorded when it begins or changes, not in every cycle."""
        lab = desk()
        for bid, spread in ((40, 9), (41, 9), (2, 1), (2, 1), (40, 1), (2, 1)):
            lab.prices.put("Q-1", bid, spread=spread)
            finished = await lab.cycle.run_once()
            assert finished.screened == (spread == 9 or bid == 2)
        wide, band = "spread_too_wide", "price_out_of_band"
        assert [event.reason for event in lab.tell(MarketScreened)] == [wide, band, band]
        assert len(lab.judge.asked) == 1

    async def test_what_looks_thin_at_its_best_prices_is_looked_at_whole(self) -> None:
        """Ten contracts at the best price and thousands behind them are no thin market."""
        lab = desk()
        lab.prices.put("Q-1", 49, best=10)
        await lab.cycle.run_once()
        assert lab.judge.asked == ["Q-1"]
        assert (await lab.cycle.run_once()).screened == 0

    async def test_what_is_thin_all_the_way_is_dropped_with_its_reason_once(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A book without depth anywhere is called thin, and not called so again in each cycle."""
        monkeypatch.setattr("trading_world.DEEP", 5)
        lab = desk()
        lab.prices.put("Q-1", 49, best=10)
        for _ in range(3):
            lab.clock.advance(60)
            assert (await lab.cycle.run_once()).screened == 1
        assert [event.reason for event in lab.tell(MarketScreened)] == ["book_too_thin"]
        assert lab.judge.asked == []

    async def test_a_market_seen_long_ago_is_looked_at_again_before_it_costs_money(self) -> None:
        """A list may be older than a minute: then the price is read first, and may end the interest."""
        lab = desk(*TEN[:2])
        old = [await lab.line.get_snapshot(each.ticker) for each in TEN[:2]]
        lab.prices.put("Q-1", 98)
        lab.clock.advance(61)

        async def as_it_was() -> list[MarketSnapshot]:
            return old

        lab.line.list_snapshots = as_it_was
        await lab.cycle.run_once()
        assert lab.judge.asked == ["Q-0"]

    async def test_memory_of_markets_ends_with_them(self) -> None:
        """What resolved is forgotten: memory is bounded by the markets that trade."""
        brief = [replace(each, resolves_at=START.replace(hour=5)) for each in TEN[:9]]
        lab = desk(*brief, TEN[9], settings=CycleSettings(decisions_max=10))
        await lab.cycle.run_once()
        lab.clock.advance(86_400)
        await lab.cycle.run_once()
        assert lab.cycle._selection.remembered == {"Q-9"}


class TestTheWorldMovesOn:
    async def thought(self, happens: Callable[[Desk], None]) -> Desk:
        """One cycle with a strong view, and something that happens while the model thinks."""
        lab = desk()
        lab.judge.views["Q-1"] = 95

        def meanwhile(_: MarketSnapshot) -> None:
            happens(lab)

        lab.judge.while_thinking = meanwhile
        await lab.cycle.run_once()
        return lab

    async def test_a_price_that_ran_away_is_not_chased(self) -> None:
        """More than ten cents of movement while the model was thinking ends the trade."""
        lab = await self.thought(lambda lab: lab.prices.put("Q-1", 60))
        assert gates(lab) == [("staleness", "price_moved")]
        assert orders_at(lab.house) == []

    async def test_a_small_move_is_traded_at_the_new_price(self) -> None:
        """Within the gate the order is sized and priced on the book as it is now."""
        lab = await self.thought(lambda lab: lab.prices.put("Q-1", 57))
        assert [intent.limit_price for intent in intents(lab, Purpose.ENTRY)] == [58 * CENT]

    async def test_an_old_forecast_is_not_traded(self) -> None:
        """A forecast that took longer than its greatest age is dropped."""
        lab = await self.thought(lambda lab: setattr(lab.judge, "thinking_secs", 901.0))
        assert gates(lab) == [("staleness", "forecast_too_old")]
        assert orders_at(lab.house) == []

    async def test_a_market_without_offers_is_not_traded(self) -> None:
        """A book that lost a side has no price to trade at."""
        lab = await self.thought(lambda lab: lab.prices.put("Q-1", 99))
        assert gates(lab) == [("staleness", "book_gone")]

    async def test_a_market_that_cannot_be_looked_at_is_not_traded(self) -> None:
        """When the second look fails the decision is declined with the exchange's words."""
        lab = await self.thought(lambda lab: lab.house.go_away())
        assert gates(lab) == [("market", "unavailable")]
        assert "told to be unavailable" in lab.tell(TradeDeclined)[0].detail

    async def test_a_mode_that_falls_while_thinking_stops_the_entry(self) -> None:
        """Judgement lost between question and answer: the answer makes no order."""
        lab = await self.thought(lambda lab: setattr(lab.judge, "mode", EmergencyMode.MINIMAL))
        assert gates(lab) == [("mode", "entries_stopped")]
        assert orders_at(lab.house) == []


class TestExits:
    async def test_profit_is_left_alone_when_nothing_is_trusted(self) -> None:
        """In SUSPENDED only a breach of the hard cap is sold: at 97 cents the position stays."""
        lab = desk()
        lab.buy("Q-1", 20)
        lab.judge.mode = EmergencyMode.SUSPENDED
        lab.prices.put("Q-1", 97)
        lab.clock.advance(60)
        await lab.cycle.run_once()
        assert intents(lab, Purpose.EXIT) == []
        assert set(lab.portfolio.positions) == {"Q-1"}

    @pytest.mark.parametrize("mode", list(EmergencyMode)[:4])
    async def test_profit_is_taken_with_or_without_judgement(self, mode: EmergencyMode) -> None:
        """At 97 cents a position is sold whole, also when no model answers."""
        lab = desk()
        lab.buy("Q-1", 20)
        lab.judge.mode = mode
        lab.prices.put("Q-1", 97)
        lab.clock.advance(60)
        finished = await lab.cycle.run_once()
        [intent] = intents(lab, Purpose.EXIT)
        assert intent.reason.startswith("take_profit")
        assert (intent.limit_price, intent.count) == (97 * CENT, 20 * CONTRACT)
        assert lab.portfolio.positions == {}
        assert lab.portfolio.realized_pnl > 0
        assert finished.orders == 1
        assert books_differ(lab) == []

    @pytest.mark.parametrize("side", Side)
    async def test_a_position_beyond_the_hard_cap_is_cut_to_it(self, side: Side) -> None:
        """More than four percent of equity in one market is sold down, on either side."""
        lab = desk()
        lab.judge.mode = EmergencyMode.MINIMAL
        lab.buy("Q-1", 1_500, side=side)
        sold = []
        for _ in range(4):
            finished = await lab.cycle.run_once()
            sold.append(finished.orders)
            lab.clock.advance(60)
        first, *_ = intents(lab, Purpose.EXIT)
        assert first.reason.startswith("cap_breach")
        assert first.side is side
        assert finished.equity * 39 // 1_000 < lab.portfolio.positions["Q-1"].cost <= finished.equity // 25
        assert (sold[0], sold[-1]) == (1, 0), "what is within the cap is kept"
        assert books_differ(lab) == []

    async def test_a_fresh_forecast_may_end_a_position(self) -> None:
        """A live model that turned against a position sells it at a price better than its worth."""
        lab = desk(settings=CycleSettings(ask_again_secs=60.0))
        lab.prices.put("Q-1", 29)
        lab.judge.views["Q-1"] = 95
        await lab.cycle.run_once()
        assert lab.portfolio.positions["Q-1"].count > 0
        lab.prices.put("Q-1", 45)
        lab.judge.views["Q-1"] = 5
        for _ in range(2):
            lab.clock.advance(60)
            await lab.cycle.run_once()
        assert [intent.reason.split(":")[0] for intent in intents(lab, Purpose.EXIT)] == ["reversed"]
        assert lab.portfolio.positions["Q-1"].side is Side.NO

    async def test_an_outage_keeps_positions_that_the_model_would_have_sold(self) -> None:
        """Losing the model sells nothing in panic: the same forecast is no reason in MINIMAL."""
        lab = desk(settings=CycleSettings(ask_again_secs=60.0))
        lab.prices.put("Q-1", 29)
        lab.judge.views["Q-1"] = 95
        await lab.cycle.run_once()
        lab.prices.put("Q-1", 45)
        lab.judge.views["Q-1"] = 5
        lab.clock.advance(60)
        await lab.cycle.run_once()
        lab.judge.mode = EmergencyMode.MINIMAL
        lab.clock.advance(60)
        await lab.cycle.run_once()
        assert intents(lab, Purpose.EXIT) == []
        assert lab.portfolio.positions["Q-1"].count > 0

    async def test_exits_go_on_while_the_books_are_in_doubt(self) -> None:
        """REDUCING stops entries and lets exits through."""
        lab = desk(*TEN[:2])
        await lab.cycle.run_once()
        lab.buy("Q-0", 20)
        lab.prices.put("Q-0", 97)
        lab.clock.advance(3_600)
        lab.judge.views["Q-1"] = 95
        lab.house.set_position("Q-1", 500, 2_000_000)
        finished = await lab.cycle.run_once()
        assert finished.state is REDUCING
        assert [intent.ticker for intent in intents(lab, Purpose.EXIT)] == ["Q-0"]
        assert intents(lab, Purpose.ENTRY) == []


class TestStates:
    async def test_it_begins_reducing_and_becomes_active_when_the_books_are_clean(self) -> None:
        """Before the first clean reconciliation nobody is asked; after it the journal says ACTIVE."""
        lab = desk()
        assert lab.cycle.state is REDUCING
        lab.house.go_away()
        finished = await lab.cycle.run_once()
        assert (finished.state, finished.scanned) == (REDUCING, 0)
        assert finished.exchange_time == START, "which is known without asking"
        assert lab.judge.asked == []
        finished = await lab.cycle.run_once()
        assert finished.state is ACTIVE
        assert [(event.old, event.new, event.reason) for event in lab.tell(StateChanged)] == [
            (REDUCING, ACTIVE, "reconciled")
        ]
        assert lab.judge.asked == ["Q-1"]

    async def test_the_first_comparison_is_recorded_even_when_it_took_two_tries(self) -> None:
        """A run that began with the exchange away still says with which books it went on."""
        lab = desk()
        lab.house.go_away()
        for _ in range(3):
            await lab.cycle.run_once()
        [reconciled] = lab.tell(Reconciled)
        assert (reconciled.cash, reconciled.differences) == (CASH, ())

    @pytest.mark.parametrize("cycles_before", [0, 1])
    async def test_corrected_books_cost_a_cycle_without_entries(self, cycles_before: int) -> None:
        """Books that had to be corrected are not clean: no entries until the next comparison agrees."""
        lab = desk(*TEN[:2])
        lab.judge.mode = EmergencyMode.MINIMAL
        for _ in range(cycles_before):
            await lab.cycle.run_once()
        lab.judge.mode = EmergencyMode.NORMAL
        lab.house.set_position("Q-0", 500, 2_000_000)
        assert (await lab.cycle.run_once()).state is REDUCING
        assert lab.judge.asked == []
        assert lab.tell(Reconciled)[-1].differences == ("Q-0: ours 0, exchange 5",)
        assert (await lab.cycle.run_once()).state is ACTIVE
        assert lab.judge.asked != []

    @pytest.mark.parametrize("read", ["list_open_orders", "list_snapshots", "now", "get_balance"])
    @pytest.mark.parametrize("error", [ExchangeUnavailable("away"), SchemaDrift("a price of purple")])
    async def test_an_exchange_that_fails_stops_entries_until_it_is_back(
        self, read: str, error: Exception
    ) -> None:
        """Whatever read fails: REDUCING with the cause, no question asked, and ACTIVE again afterwards."""
        lab = desk()
        await lab.cycle.run_once()

        async def fail(*_: object) -> None:
            raise error

        lab.line.before[read] = fail
        lab.clock.advance(3_600)
        finished = await lab.cycle.run_once()
        assert finished.state is REDUCING
        assert str(error) in lab.tell(StateChanged)[-1].reason
        assert (finished.cash, finished.equity) == (CASH, CASH)
        lab.line.before.clear()
        assert (await lab.cycle.run_once()).state is ACTIVE
        assert len(lab.judge.asked) == 2

    async def test_fills_that_cannot_be_read_after_an_order_stop_the_rest_of_the_cycle(self) -> None:
        """An order whose fills are unknown leaves the next one unsent, and the next cycle squares it."""
        lab = desk(*TEN[:2])
        lab.judge.views |= {each.ticker: 95 for each in TEN[:2]}
        lab.line.after["place_order"] = self.then_unavailable(lab)
        finished = await lab.cycle.run_once()
        assert (finished.state, finished.orders, finished.fills) == (REDUCING, 1, 0)
        assert gates(lab) == [("risk", "reducing_only")]
        lab.line.after.clear()
        assert (await lab.cycle.run_once()).state is ACTIVE
        assert books_differ(lab) == []

    @staticmethod
    def then_unavailable(lab: Desk) -> Callable[..., object]:
        async def hook(_: object) -> None:
            lab.house.go_away()

        return hook

    async def test_an_order_of_unknown_fate_keeps_the_bot_reducing_until_it_is_known(self) -> None:
        """Silence after a send: its market is left alone and nothing new is entered until it is found."""
        lab = desk(*TEN[:2])
        lab.judge.views["Q-0"] = 95
        lab.house.lose_orders("accept_then_timeout")

        async def nobody_answers(_: object) -> None:
            lab.house.go_away(RESOLVE_TRIES)
            lab.line.before.clear()

        lab.line.before["place_order"] = nobody_answers
        await lab.cycle.run_once()
        assert len(lab.tell(OrderUnresolved)) == 1
        asked = len(lab.judge.asked)
        lab.clock.advance(3_600)
        lab.house.go_away(RESOLVE_TRIES)
        finished = await lab.cycle.run_once()
        assert finished.state is REDUCING
        assert "is unknown" in lab.tell(StateChanged)[-1].reason
        assert len(lab.judge.asked) == asked
        assert (await lab.cycle.run_once()).state is ACTIVE
        assert len(orders_at(lab.house)) == 1
        assert books_differ(lab) == []

    async def test_the_halt_latch_halts_within_a_cycle(self, tmp_path: Path) -> None:
        """The latch stops questions and takes resting entries back; lifting it resumes."""
        latch = tmp_path / "HALT"
        lab = desk(halt_file=latch)
        await resting_entry(lab)
        latch.touch()
        finished = await lab.cycle.run_once()
        assert (finished.state, finished.resting_orders) == (HALTED, 0)
        assert lab.house.open_orders() == []
        lab.clock.advance(3_600)
        await lab.cycle.run_once()
        assert len(lab.judge.asked) == 1
        latch.unlink()
        assert (await lab.cycle.run_once()).state is ACTIVE

    async def test_a_cancel_that_failed_at_the_halt_is_tried_again(self, tmp_path: Path) -> None:
        """A resting entry that could not be taken back at once is taken back in the next cycle."""
        latch = tmp_path / "HALT"
        lab = desk(halt_file=latch)
        await resting_entry(lab)
        latch.touch()

        async def fail(*_: object) -> None:
            raise ExchangeUnavailable("away")

        for way in ("pull_groups", "cancel_all", "cancel_order"):
            lab.line.before[way] = fail
        await lab.cycle.run_once()
        assert len(lab.house.open_orders()) == 1
        lab.line.before.clear()
        await lab.cycle.run_once()
        assert lab.house.open_orders() == []
        assert books_differ(lab) == []

    async def test_a_failed_look_does_not_lift_a_halt(self, tmp_path: Path) -> None:
        """When fills can't be read after the cancels of a halt, the bot stays halted."""
        latch = tmp_path / "HALT"
        lab = desk(halt_file=latch)
        await resting_entry(lab)
        latch.touch()
        lab.line.after["cancel_all"] = self.then_unavailable(lab)
        assert (await lab.cycle.run_once()).state is HALTED
        assert lab.house.open_orders() == []

    async def test_without_a_journal_there_is_no_trading(self) -> None:
        """A journal that can't be written ends the cycle with its error and sends nothing."""
        lab = desk()
        await lab.cycle.run_once()
        lab.judge.views["Q-1"] = 95
        lab.clock.advance(3_600)
        await lab.journal.close()
        with pytest.raises(JournalUnwritable):
            await lab.cycle.run_once()
        assert orders_at(lab.house) == []

    async def test_a_cycle_that_breaks_takes_its_other_questions_with_it(self) -> None:
        """An error in one question ends the cycle, and no straggler sends an order after that."""
        lab = desk(*TEN[:2])
        lab.judge.views["Q-1"] = 95
        await lab.line.now()
        before, released = loops(), asyncio.Event()

        def stumble(snapshot: MarketSnapshot) -> None:
            if snapshot.ticker == "Q-0":
                raise LookupError("a bug of ours")

        async def dawdle(_: str) -> None:
            await released.wait()

        lab.judge.while_thinking = stumble
        lab.line.before["get_snapshot"] = dawdle
        with pytest.raises(LookupError):
            await lab.cycle.run_once()
        assert loops() == before
        released.set()
        await asyncio.sleep(0.01)
        assert orders_at(lab.house) == []


class TestBetweenCycles:
    async def test_news_are_taken_over_at_once_and_counted_in_the_next_cycle(self) -> None:
        """A fill between two cycles is booked when it is heard of, and nothing is sent for it."""
        lab = desk()
        await resting_entry(lab)
        before = lab.portfolio.positions["Q-1"].count
        lab.clock.advance(30)
        lab.prices.put("Q-1", 28)
        await lab.cycle.square()
        assert lab.portfolio.positions["Q-1"].count > before
        assert books_differ(lab) == []
        assert lab.line.calls["place_order"] == 1
        assert (await lab.cycle.run_once()).fills == 1

    async def test_corrected_books_cost_the_next_cycle_its_entries(self) -> None:
        """A difference found between two cycles is not forgotten by the next one."""
        lab = desk(*TEN[:2])
        await lab.cycle.run_once()
        lab.house.set_position("Q-0", 500, 2_000_000)
        await lab.cycle.square()
        lab.judge.views["Q-1"] = 95
        lab.clock.advance(3_600)
        finished = await lab.cycle.run_once()
        assert (finished.state, finished.orders) == (REDUCING, 0)
        assert (await lab.cycle.run_once()).state is ACTIVE

    async def test_an_account_that_cannot_be_read_stops_entries(self) -> None:
        """News that can't be followed up leave the bot REDUCING until a cycle has squared the books."""
        lab = desk()
        await lab.cycle.run_once()
        lab.house.go_away()
        await lab.cycle.square()
        assert lab.cycle.state is REDUCING
        assert (await lab.cycle.run_once()).state is ACTIVE

    async def test_before_the_first_comparison_news_are_nothing(self) -> None:
        """A run begins with its first cycle: until then nothing is asked and nothing concluded."""
        lab = desk()
        await lab.cycle.square()
        assert sum(lab.line.calls.values()) == 0

    async def test_a_cycle_is_not_interrupted(self) -> None:
        """News that come while a cycle runs wait for its end: one reader of the books at a time."""
        lab = desk()
        await lab.cycle.run_once()
        waiting: list[asyncio.Task[None]] = []

        async def news(*_: object) -> None:
            if not waiting:
                waiting.append(asyncio.create_task(lab.cycle.square()))
                await asyncio.sleep(0)

        lab.line.before["list_positions"] = news
        comparisons = lab.line.calls["list_open_orders"]
        await lab.cycle.run_once()
        assert lab.line.calls["list_open_orders"] == comparisons + 1
        await waiting[0]
        assert lab.line.calls["list_open_orders"] == comparisons + 2


class TestModes:
    @pytest.mark.parametrize(
        "mode", [EmergencyMode.CONSERVATIVE, EmergencyMode.MINIMAL, EmergencyMode.SUSPENDED]
    )
    async def test_entering_a_safer_mode_takes_resting_entries_back(self, mode: EmergencyMode) -> None:
        """Resting entries do not outlive the judgement that placed them."""
        lab = desk()
        await resting_entry(lab)
        lab.judge.mode = mode
        finished = await lab.cycle.run_once()
        assert finished.resting_orders == 0
        [cancelled] = [e.order for e in lab.tell(OrderChanged) if e.order.status is OrderStatus.CANCELED]
        assert cancelled.ticker == "Q-1"
        assert lab.house.open_orders() == []
        assert lab.portfolio.positions["Q-1"].count > 0, "what is held stays"

    async def test_a_resting_entry_lives_on_while_all_is_well_and_ends_with_the_bot(self) -> None:
        """Its expiry is two minutes away and moved on by each cycle; without cycles it comes."""
        lab = desk()
        await resting_entry(lab)
        for _ in range(3):
            lab.clock.advance(100)
            assert (await lab.cycle.run_once()).resting_orders == 1
        [order] = lab.house.open_orders()
        assert order.expires_at == START + timedelta(seconds=300 + 120)
        assert order.created_at == START, "the same order, in its place"
        lab.clock.advance(121)
        assert lab.house.open_orders() == []
        assert (await lab.cycle.run_once()).resting_orders == 0
        assert books_differ(lab) == []

    @pytest.mark.parametrize("change", ["old", "reducing", "unheard"])
    async def test_a_resting_entry_without_a_standing_forecast_is_left_to_expire(self, change: str) -> None:
        """An old forecast, books in doubt, or an exchange that refuses: the expiry comes as it was set."""
        lab = desk(settings=CycleSettings(table=QUICKLY_OLD))
        await resting_entry(lab)
        if change == "reducing":
            lab.house.set_position("Q-1", 100, 0)
        if change == "unheard":

            async def refuse(*_: object) -> None:
                raise ExchangeUnavailable("away")

            lab.line.before["extend_order"] = refuse
        lab.clock.advance(119 if change == "old" else 80)
        await lab.cycle.run_once()
        [order] = lab.house.open_orders()
        assert order.expires_at == START + timedelta(seconds=120)

    async def test_what_a_newer_forecast_has_replaced_is_left_to_expire(self) -> None:
        """Asked again about the same market, the entry of the older forecast is not kept alive."""
        lab = desk(settings=CycleSettings(ask_again_secs=60.0))
        await resting_entry(lab)
        lab.clock.advance(61)
        await lab.cycle.run_once()
        lab.clock.advance(58)
        await lab.cycle.run_once()
        lab.clock.advance(200)
        assert lab.house.open_orders() == []

    async def test_a_bot_that_starts_in_an_emergency_takes_resting_entries_back(self) -> None:
        """Killed just after judgement was lost, the next life still cancels what the last one left."""
        lab = desk()
        await resting_entry(lab)
        judge = lab.judge
        judge.mode = EmergencyMode.MINIMAL
        after = restarted(lab, judge=judge)
        finished = await after.cycle.run_once()
        assert (finished.mode, finished.resting_orders) == (EmergencyMode.MINIMAL, 0)
        assert lab.house.open_orders() == []

    async def test_without_judgement_nobody_is_asked(self) -> None:
        """In MINIMAL no market is put to a model and no entry is made, and the cycle says the mode."""
        lab = desk()
        lab.judge.mode = EmergencyMode.MINIMAL
        lab.judge.views["Q-1"] = 95
        finished = await lab.cycle.run_once()
        assert lab.judge.asked == []
        assert (finished.mode, finished.state, finished.orders) == (EmergencyMode.MINIMAL, ACTIVE, 0)

    async def test_conservative_trades_smaller(self) -> None:
        """The same view buys less than half as much when judgement is weaker."""
        sizes = []
        for mode in (EmergencyMode.NORMAL, EmergencyMode.CONSERVATIVE):
            lab = desk()
            lab.prices.put("Q-1", 29)
            lab.judge.mode = mode
            lab.judge.views["Q-1"] = 99
            await lab.cycle.run_once()
            sizes.append(lab.portfolio.positions["Q-1"].cost)
        assert 0 < sizes[1] < sizes[0] * 0.55


class TestTotals:
    async def test_a_cycle_ends_with_a_row_that_adds_up(self) -> None:
        """CycleFinished carries what was counted and the portfolio as it stands afterwards."""
        lab = desk(*TEN[:3])
        lab.judge.views["Q-0"] = 95
        finished = await lab.cycle.run_once()
        assert lab.tell(CycleFinished) == [finished]
        assert (finished.cycle, finished.exchange_time) == (1, START)
        assert (finished.scanned, finished.decided, finished.abstained) == (3, 1, 2)
        position = lab.portfolio.positions["Q-0"]
        assert finished.contracts_held == position.size
        assert finished.open_positions == 1
        assert finished.cash == CASH - position.cost
        assert finished.equity == finished.cash + 49 * CENT * position.size // CONTRACT
        assert finished.active_route == "xai/grok-4.7"
        assert finished.providers == {"xai": "healthy"}

    async def test_an_exit_that_sells_more_than_is_held_is_refused(self) -> None:
        """The last word before the gateway: what is not held can't be sold, and that is recorded."""
        lab = desk()
        lab.buy("Q-1", 5)
        await lab.cycle.run_once()
        snapshot = await lab.line.get_snapshot("Q-1")
        tally = type("Tally", (), {"orders": 0, "fills": 0})()
        await lab.cycle._send(exit_of(), snapshot, tally)
        assert gates(lab) == [("risk", "nothing_to_reduce")]
