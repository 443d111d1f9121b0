"""Our books against the exchange's: it wins, every fill counts once, and what differed is said."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from trading_world import CASH, PAYS_AFTER, START, Desk, books_differ, desk, entry, question, restarted

from jurymast.domain.errors import ExchangeUnavailable, ReconcileError, SchemaDrift
from jurymast.domain.events import OrderChanged, OrderFilled, PositionSettled, Reconciled
from jurymast.domain.money import CENT, CONTRACT
from jurymast.domain.order import Fill, OrderStatus
from jurymast.policy.risk import ALLOWED
from jurymast.testing.journal import MemoryJournal

READS = ["list_open_orders", "list_fills", "list_settlements", "list_positions", "get_balance"]
RESOLVED_SECS = (timedelta(days=30) + PAYS_AFTER).total_seconds()
HALF_YES, HALF_NO = question("Q-YES", outcome=True), question("Q-NO", outcome=False)


async def held(lab: Desk, ticker: str = "Q-1", **changes: object) -> None:
    """Buy ten contracts through the gateway and square the books."""
    await lab.gateway.submit(entry(ticker, **changes), ALLOWED)
    await lab.reconciler.run_once()


class TestFills:
    async def test_a_resting_order_that_fills_later_is_taken_over_once(self) -> None:
        """Fills that come while nobody looks are recorded at the next look, and never again."""
        lab = desk()
        await held(lab, limit_price=45 * CENT)
        lab.prices.put("Q-1", 44)
        lab.clock.advance(60)
        assert (await lab.reconciler.run_once()).fills == 1
        assert (await lab.reconciler.run_once()).fills == 0
        [filled] = lab.tell(OrderFilled)
        assert (filled.fill.price, filled.fill.count, filled.ticker) == (45 * CENT, 10 * CONTRACT, "Q-1")
        assert lab.portfolio.open_intents == {}
        assert books_differ(lab) == []

    async def test_an_order_that_fills_in_parts_counts_each_part(self) -> None:
        """Part now, part later: two fills, one order, and the rest still rests in between."""
        lab = desk()
        lab.prices.put("Q-1", 49, best=4)
        await held(lab)
        assert [order.remaining for order in lab.portfolio.orders.values()] == [6 * CONTRACT]
        lab.clock.advance(60)
        lab.house.tick()
        await lab.reconciler.run_once()
        assert [event.fill.count for event in lab.tell(OrderFilled)] == [4 * CONTRACT, 4 * CONTRACT]
        assert books_differ(lab) == []

    async def test_fills_are_not_counted_again_after_a_restart(self) -> None:
        """The next life starts behind the last fill of the one before."""
        lab = desk()
        await held(lab)
        after = restarted(lab)
        assert (await after.reconciler.run_once(first=True)).fills == 0
        assert books_differ(after) == []

    async def test_a_fill_that_is_reported_twice_counts_once(self) -> None:
        """An exchange that repeats what we know already changes neither books nor journal."""
        lab = desk()
        await held(lab)

        async def everything(_: str | None = None) -> Sequence[Fill]:
            return await (await lab.house.connect()).list_fills()

        lab.line.list_fills = everything
        assert (await lab.reconciler.run_once()).fills == 0
        assert len(lab.tell(OrderFilled)) == 1
        assert books_differ(lab) == []

    async def test_a_fill_between_two_reads_is_no_difference(self) -> None:
        """An order that fills while the books are compared is one fill, and nothing had to be corrected."""
        lab = desk()
        await held(lab, limit_price=45 * CENT)
        lab.prices.put("Q-1", 44)

        async def time_passes(*_: object) -> None:
            lab.clock.advance(60)
            lab.line.before.clear()

        lab.line.before["list_positions"] = time_passes
        progress = await lab.reconciler.run_once()
        assert (progress.fills, progress.differences) == (1, ())
        await lab.reconciler.run_once()
        assert books_differ(lab) == []
        assert lab.tell(Reconciled) == []

    async def test_an_entry_that_expires_at_the_exchange_is_let_go(self) -> None:
        """A resting entry ends with its time, and the books say so."""
        lab = desk()
        await held(lab, limit_price=45 * CENT, expires_at=START + timedelta(seconds=120))
        lab.clock.advance(121)
        await lab.reconciler.run_once()
        assert lab.tell(OrderChanged)[-1].order.status is OrderStatus.CANCELED
        assert books_differ(lab) == []
        assert lab.portfolio.cash == CASH


class TestSettlements:
    @pytest.mark.parametrize(("ticker", "won"), [("Q-YES", True), ("Q-NO", False)])
    async def test_a_payout_ends_the_position_and_is_profit_or_loss(self, ticker: str, won: bool) -> None:
        """A market that resolves pays $1 a contract or nothing, against all that the position had cost."""
        lab = desk(HALF_YES, HALF_NO)
        await held(lab, ticker)
        cost = lab.portfolio.positions[ticker].cost
        lab.clock.advance(RESOLVED_SECS)
        progress = await lab.reconciler.run_once()
        revenue = 10_000_000 if won else 0
        [settled] = lab.tell(PositionSettled)
        assert (progress.settlements, progress.differences) == (1, ())
        assert (settled.settlement.revenue, settled.pnl) == (revenue, revenue - cost)
        assert lab.portfolio.realized_pnl == revenue - cost
        assert lab.portfolio.cash == CASH + revenue - cost
        assert books_differ(lab) == []

    async def test_a_payout_is_booked_once_in_any_life(self) -> None:
        """Neither the next look nor the next start pays the same market again."""
        lab = desk()
        await held(lab)
        lab.clock.advance(RESOLVED_SECS)
        await lab.reconciler.run_once()
        booked = lab.portfolio.realized_pnl
        after = restarted(lab)
        for life in (lab, after):
            assert (await life.reconciler.run_once()).settlements == 0
            assert life.portfolio.realized_pnl == booked

    async def test_a_payout_between_two_reads_is_still_profit(self) -> None:
        """A market that resolves while the books are compared is booked like any other."""
        lab = desk()
        await held(lab)
        cost = lab.portfolio.positions["Q-1"].cost

        async def time_passes(*_: object) -> None:
            lab.clock.advance(RESOLVED_SECS)
            lab.line.before.clear()

        lab.line.before["list_positions"] = time_passes
        progress = await lab.reconciler.run_once()
        await lab.reconciler.run_once()
        assert (progress.settlements, progress.differences) == (1, ())
        assert lab.portfolio.realized_pnl == 10_000_000 - cost
        assert lab.portfolio.cash == CASH + lab.portfolio.realized_pnl


class TestBehindOurBack:
    async def test_a_position_that_appears_is_taken_over_and_told(self) -> None:
        """Contracts that nobody here bought become ours, with what they cost, and the journal says so."""
        lab = desk()
        lab.house.set_position("Q-1", 500, 2_600_000)
        progress = await lab.reconciler.run_once()
        assert progress.differences == ("Q-1: ours 0, exchange 5",)
        assert lab.tell(Reconciled)[0].differences == progress.differences
        position = lab.portfolio.positions["Q-1"]
        assert (position.count, position.cost, position.event_ticker) == (500, 2_600_000, "EV-Q-1")
        assert (await lab.reconciler.run_once()).differences == ()

    async def test_a_position_that_disappears_is_let_go_and_told(self) -> None:
        """Contracts that are gone at the exchange are gone here, without an invented profit."""
        lab = desk(HALF_YES, HALF_NO)
        await held(lab, "Q-YES")
        await held(lab, "Q-NO")
        lab.house.set_position("Q-NO", 0, 0)
        assert (await lab.reconciler.run_once()).differences == ("Q-NO: ours 10, exchange 0",)
        assert set(lab.portfolio.positions) == {"Q-YES"}
        assert lab.portfolio.realized_pnl == 0
        assert (await lab.reconciler.run_once()).differences == ()

    async def test_that_nothing_is_held_any_more_has_to_be_said_twice(self) -> None:
        """An empty list that no sale and no payout explains is an error first, and believed when repeated."""
        lab = desk()
        await held(lab)
        lab.house.set_position("Q-1", 0, 0)
        with pytest.raises(ReconcileError, match="lists no positions"):
            await lab.reconciler.run_once()
        assert set(lab.portfolio.positions) == {"Q-1"}
        assert (await lab.reconciler.run_once()).differences == ("Q-1: ours 10, exchange 0",)
        assert lab.portfolio.positions == {}
        assert lab.portfolio.realized_pnl == 0
        assert (await lab.reconciler.run_once()).differences == ()

    async def test_what_the_owner_trades_elsewhere_comes_in_as_fills(self) -> None:
        """An order placed by hand is no difference: its fills are recorded like ours."""
        lab = desk()
        lab.buy("Q-1", 25)
        progress = await lab.reconciler.run_once()
        assert (progress.fills, progress.differences) == (1, ())
        assert lab.portfolio.positions["Q-1"].count == 25 * CONTRACT
        assert books_differ(lab) == []

    async def test_a_market_taken_over_counts_for_its_event(self) -> None:
        """What the owner bought counts against the cap of the event that the market belongs to."""
        lab = desk()
        lab.buy("Q-1", 25)
        await lab.reconciler.run_once()
        exposure = lab.portfolio.exposure(CASH, START)
        assert exposure.by_event == {"EV-Q-1": lab.portfolio.positions["Q-1"].cost}

    async def test_an_order_cancelled_elsewhere_is_let_go(self) -> None:
        """An order that its owner cancels by hand is recorded as cancelled and the market is free again."""
        lab = desk()
        await held(lab, limit_price=45 * CENT)
        lab.house.cancel(*lab.house.open_orders())
        await lab.reconciler.run_once()
        assert lab.tell(OrderChanged)[-1].order.status is OrderStatus.CANCELED
        assert lab.portfolio.exposure(CASH, START).busy == frozenset()

    async def test_cash_is_the_exchanges(self) -> None:
        """A deposit is simply there at the next look: cash is not added up by us."""
        lab = desk()
        await lab.reconciler.run_once()
        lab.house.add_cash(123_456)
        assert (await lab.reconciler.run_once()).differences == ()
        assert lab.portfolio.cash == CASH + 123_456


class TestTelling:
    async def test_the_first_comparison_of_a_run_is_recorded_and_later_ones_only_if_they_correct(
        self,
    ) -> None:
        """The journal says once per run with what it began, and then only what was wrong."""
        lab = desk()
        await held(lab)
        await lab.reconciler.run_once(first=True)
        await lab.reconciler.run_once()
        [reconciled] = lab.tell(Reconciled)
        assert (reconciled.positions, reconciled.orders) == (1, 0)
        assert (reconciled.cash, reconciled.differences) == (lab.portfolio.cash, ())


class TestFailingReads:
    @pytest.mark.parametrize("read", READS)
    @pytest.mark.parametrize("error", [ExchangeUnavailable("away"), SchemaDrift("a price of purple")])
    async def test_books_that_cannot_be_compared_are_an_error(self, read: str, error: Exception) -> None:
        """Whichever read fails, reconciliation fails with the cause, and succeeds at the next try."""
        lab = desk()
        await held(lab)

        async def fail(*_: object) -> None:
            raise error

        lab.line.before[read] = fail
        with pytest.raises(ReconcileError, match=str(error)):
            await lab.reconciler.run_once()
        lab.line.before.clear()
        await lab.reconciler.run_once()
        assert books_differ(lab) == []

    async def test_a_journal_of_another_exchange_is_corrected_with_a_word(self) -> None:
        """Books with a fill this exchange never made begin in doubt; then the exchange wins, and says so."""
        journal = MemoryJournal()
        intent = entry()
        foreign = Fill(
            "F-00004711", "O-1", "x", "Q-1", intent.side, intent.action, 50 * CENT, CONTRACT, 0, START
        )
        await journal.append(OrderFilled(at=START, fill=foreign))
        lab = desk(journal=journal)
        with pytest.raises(ReconcileError, match="lists no positions"):
            await lab.reconciler.run_once(first=True)
        assert (await lab.reconciler.run_once(first=True)).differences == ("Q-1: ours 1, exchange 0",)
        assert lab.tell(Reconciled)[0].differences == ("Q-1: ours 1, exchange 0",)

    async def test_a_failed_comparison_keeps_what_it_has_learned(self) -> None:
        """Fills read before the exchange went away are not lost and not read twice."""
        lab = desk()
        await lab.gateway.submit(entry(), ALLOWED)

        async def fail(*_: object) -> None:
            raise ExchangeUnavailable("away")

        lab.line.before["list_positions"] = fail
        with pytest.raises(ReconcileError):
            await lab.reconciler.run_once()
        lab.line.before.clear()
        assert (await lab.reconciler.run_once()).fills == 0
        assert len(lab.tell(OrderFilled)) == 1
        assert books_differ(lab) == []

    async def test_one_unavailable_call_is_not_hidden_by_a_good_one(self) -> None:
        """A fault that strikes a single read in the middle still fails the whole comparison."""
        lab = desk()

        async def strike(*_: object) -> None:
            lab.house.go_away()

        lab.line.after["list_fills"] = strike
        with pytest.raises(ReconcileError, match="told to be unavailable"):
            await lab.reconciler.run_once()
