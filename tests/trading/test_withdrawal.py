"""Resting orders in an outage: blocked, cancelled, proven gone, then told. Over a real wire."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from trading_world import CASH, Desk, books_differ, desk, entry, exit_of, orders_at, question, restarted

from jurymast.domain.errors import ExchangeUnavailable, JournalUnwritable
from jurymast.domain.events import EntriesWithdrawn, OrderRefused, WithdrawalDelayed
from jurymast.domain.money import CENT, CONTRACT
from jurymast.domain.order import OrderIntent
from jurymast.domain.status import EmergencyMode
from jurymast.policy.demands import BarReason
from jurymast.policy.risk import ALLOWED
from jurymast.policy.withdrawal import SWEPT_SECS
from jurymast.trading.gateway import ID_PREFIX, WITHDRAW_SECS_MAX

MANY = 200


def lasting(number: int) -> OrderIntent:
    """An order of ours that a pause does not cancel, placed by a life whose journal is gone."""
    return entry(limit_price=30 * CENT, client_order_id=f"{ID_PREFIX}{number:024x}")


async def with_resting(count: int, **parts: Any) -> Desk:
    """A desk with so many entries of its own on the book."""
    lab = desk(**parts)
    for _ in range(count):
        await lab.gateway.submit(entry(limit_price=40 * CENT, count=CONTRACT), ALLOWED)
    await lab.reconciler.after_order()
    assert len(lab.house.open_orders()) == count
    return lab


def refusals(lab: Desk) -> list[str]:
    return [event.code for event in lab.tell(OrderRefused)]


class TestHalt:
    async def test_two_hundred_orders_are_gone_although_every_request_is_one_too_many(
        self, tmp_path: Path
    ) -> None:
        """With 200 orders resting and 429 for all it asks at first, a halt leaves none in seconds, proven."""
        lab = await with_resting(MANY, halt_file=tmp_path / "HALT")
        lab.house.server.control.set_fault("429", times=6)
        (tmp_path / "HALT").touch()
        assert await lab.cycle.guard.look()
        assert lab.house.open_orders() == []
        [told] = lab.tell(EntriesWithdrawn)
        assert (told.count, told.everything) == (MANY, True)
        assert 1.0 < told.secs < 10.0, "by the desk's own clock, which only waiting moves"
        await lab.reconciler.after_order()
        assert books_differ(lab) == []
        assert lab.portfolio.cash == CASH
        assert not await lab.cycle.guard.look(), "what is proven is not done again"

    @pytest.mark.parametrize("odds", [0.3, 0.6, 0.9])
    async def test_nor_does_a_storm_that_spares_some_requests_keep_them(
        self, tmp_path: Path, odds: float
    ) -> None:
        """With most requests refused by seeded chance the halt gets through all the same."""
        lab = await with_resting(MANY, halt_file=tmp_path / "HALT")
        lab.house.server.control.set_fault("429", probability=odds)
        (tmp_path / "HALT").touch()
        while lab.house.open_orders() or not lab.tell(EntriesWithdrawn):
            await lab.cycle.guard.look()
        lab.house.server.control.clear()
        assert lab.tell(EntriesWithdrawn)[0].count == MANY

    async def test_a_halt_takes_orders_of_other_hands_too(self, tmp_path: Path) -> None:
        """Cancel everything means everything that rests in the account."""
        lab = await with_resting(2, halt_file=tmp_path / "HALT")
        lab.house.place(entry(limit_price=30 * CENT, client_order_id="by-hand"))
        (tmp_path / "HALT").touch()
        await lab.cycle.guard.look()
        assert lab.house.open_orders() == []

    async def test_in_an_exchange_pause_it_goes_on_trying_and_says_so(self, tmp_path: Path) -> None:
        """While the exchange refuses even cancels, that is told; when it opens again the orders go."""
        lab = desk(halt_file=tmp_path / "HALT")
        for number in range(3):
            lab.house.place(lasting(number))
        lab.house.server.control.set_fault("exchange_pause")
        (tmp_path / "HALT").touch()
        for _ in range(2):
            await lab.cycle.guard.look()
        told = lab.tell(WithdrawalDelayed)
        assert len(told) >= 2
        assert told[0].secs < WITHDRAW_SECS_MAX, "the first word comes while it is still trying"
        assert "exchange_is_paused" in told[-1].detail
        assert told[-1].left == 3
        assert lab.tell(EntriesWithdrawn) == []
        assert not lab.gateway.takes_entries
        lab.house.server.control.clear()
        await lab.cycle.guard.look()
        assert lab.house.open_orders() == []
        assert lab.tell(EntriesWithdrawn)[0].count == 3

    async def test_a_minute_after_a_cancel_all_entries_stay_out(self, tmp_path: Path) -> None:
        """The exchange kills what is placed within a minute of a cancel-all, so nothing is placed."""
        latch = tmp_path / "HALT"
        lab = await with_resting(1, halt_file=latch)
        lab.house.place(entry(limit_price=30 * CENT, client_order_id="by-hand"))
        latch.touch()
        await lab.cycle.guard.look()
        assert lab.line.calls["cancel_all"] == 1
        latch.unlink()
        swept = lab.clock.monotonic()
        assert await lab.gateway.submit(entry(), ALLOWED) is None
        assert refusals(lab)[-1] == BarReason.COOLING_OFF
        lab.clock.advance(SWEPT_SECS - 5)
        assert await lab.gateway.submit(entry(), ALLOWED) is None
        lab.clock.advance(swept + SWEPT_SECS - lab.clock.monotonic())
        order = await lab.gateway.submit(entry(limit_price=40 * CENT), ALLOWED)
        assert order is not None
        lab.clock.advance(1)
        assert [each.client_order_id for each in lab.house.open_orders()] == [order.client_order_id]

    async def test_an_exit_needs_no_cool_off(self, tmp_path: Path) -> None:
        """After a cancel-all exits still go out: immediate or cancel, nothing of them rests."""
        latch = tmp_path / "HALT"
        lab = desk(halt_file=latch)
        await lab.gateway.submit(entry(), ALLOWED)
        lab.house.place(entry(limit_price=30 * CENT, client_order_id="by-hand"))
        latch.touch()
        await lab.cycle.guard.look()
        latch.unlink()
        assert not lab.gateway.takes_entries
        order = await lab.gateway.submit(exit_of(), ALLOWED)
        assert order is not None
        assert order.filled == order.count

    async def test_orders_go_even_when_the_journal_can_not_be_written(self, tmp_path: Path) -> None:
        """Cancelling comes before writing about it: without a journal the orders still go."""
        lab = await with_resting(3, halt_file=tmp_path / "HALT")
        (tmp_path / "HALT").touch()
        await lab.journal.close()
        with pytest.raises(JournalUnwritable):
            await lab.cycle.guard.look()
        assert lab.house.open_orders() == []


class TestModes:
    async def test_a_fall_takes_ours_back_and_spares_other_hands(self) -> None:
        """In a safer mode our entries go; an order placed by hand in the same account stays."""
        lab = await with_resting(3)
        lab.house.place(entry(limit_price=30 * CENT, client_order_id="by-hand"))
        lab.judge.mode = EmergencyMode.MINIMAL
        await lab.cycle.run_once()
        assert [each.client_order_id for each in lab.house.open_orders()] == ["by-hand"]
        [told] = lab.tell(EntriesWithdrawn)
        assert (told.count, told.everything) == (3, False)
        assert "minimal" in told.reason

    async def test_groups_spare_the_cool_off(self) -> None:
        """What an order group can pull needs no cancel-all: CONSERVATIVE trades on at once."""
        lab = await with_resting(30)
        lab.judge.mode = EmergencyMode.CONSERVATIVE
        await lab.cycle.guard.look()
        assert lab.house.open_orders() == []
        assert lab.line.calls["cancel_all"] == 0
        assert await lab.gateway.submit(entry(limit_price=40 * CENT), ALLOWED) is not None
        assert len(lab.house.open_orders()) == 1

    async def test_a_fall_that_was_not_carried_out_stays_owed(self) -> None:
        """What could not be taken back on the fall goes later, though the mode takes new entries."""
        lab = await with_resting(2)
        lab.house.place(lasting(1))
        lab.house.place(lasting(2))
        lab.house.server.control.set_fault("exchange_pause")
        lab.judge.mode = EmergencyMode.CONSERVATIVE
        await lab.cycle.guard.look()
        assert len(lab.house.open_orders()) == 2
        lab.house.server.control.clear()
        await lab.cycle.guard.look()
        assert lab.house.open_orders() == []

    @pytest.mark.parametrize("mode", [EmergencyMode.CONSERVATIVE, EmergencyMode.MINIMAL])
    async def test_a_crash_between_the_mode_and_its_cancels_changes_nothing(
        self, mode: EmergencyMode
    ) -> None:
        """Killed after the mode was persisted, before a cancel was sent: the next start cancels."""
        lab = await with_resting(4)
        reached = asyncio.Event()

        async def die(*_: object) -> None:
            reached.set()
            await asyncio.Event().wait()

        for way in ("pull_groups", "cancel_all", "cancel_order"):
            lab.line.before[way] = die
        lab.judge.mode = mode
        life = asyncio.create_task(lab.cycle.run_once())
        await reached.wait()
        life.cancel()
        with suppress(asyncio.CancelledError):
            await life
        assert len(lab.house.open_orders()) == 4
        after = restarted(lab, judge=lab.judge)
        await after.cycle.run_once()
        assert after.house.open_orders() == []
        assert after.tell(EntriesWithdrawn)[0].count == 4
        assert books_differ(after) == []

    async def test_orders_of_a_life_whose_journal_is_lost_are_taken_back(self) -> None:
        """With a new, empty journal our resting orders are still known as ours, by their ids."""
        lab = desk()
        for number in range(3):
            lab.house.place(lasting(number))
        lab.judge.mode = EmergencyMode.SUSPENDED
        after = desk(house=lab.house, prices=lab.prices, clock=lab.clock, judge=lab.judge)
        await after.cycle.run_once()
        assert after.house.open_orders() == []

    async def test_an_order_that_turns_up_late_is_taken_back(self) -> None:
        """An order of unknown fate that proves to rest, after all was proven gone, goes as well."""
        lab = desk()
        lab.house.lose_orders("accept_then_timeout")

        async def nobody_answers(*_: object) -> None:
            raise ExchangeUnavailable("away")

        lab.line.before["find_order"] = nobody_answers
        await lab.gateway.submit(entry(limit_price=40 * CENT), ALLOWED)
        assert len(lab.portfolio.unresolved) == 1
        lab.judge.mode = EmergencyMode.MINIMAL
        await lab.cycle.guard.look()
        lab.line.before.clear()
        await lab.cycle.run_once()
        assert lab.house.open_orders() == []
        assert lab.portfolio.unresolved == set()
        assert books_differ(lab) == []


class TestTheDoor:
    async def test_no_entry_slips_through_while_orders_are_taken_back(self) -> None:
        """An entry submitted during a withdrawal is refused, one that was on its way is taken back."""
        lab = await with_resting(1)
        held, gone = asyncio.Event(), asyncio.Event()

        async def hold(*_: object) -> None:
            held.set()
            await gone.wait()

        lab.line.before["place_order"] = hold
        under_way = asyncio.create_task(lab.gateway.submit(entry(limit_price=41 * CENT), ALLOWED))
        await held.wait()

        async def meanwhile(*_: object) -> None:
            lab.line.before.pop("list_open_orders")
            assert await lab.gateway.submit(entry(limit_price=42 * CENT), ALLOWED) is None
            gone.set()

        lab.line.before["list_open_orders"] = meanwhile
        await lab.gateway.withdraw("test")
        await under_way
        assert refusals(lab) == [BarReason.WITHDRAWING] or refusals(lab)[0] == BarReason.WITHDRAWING
        assert lab.house.open_orders() == []
        assert len([status for _, status in orders_at(lab.house) if status == "resting"]) == 0

    async def test_an_order_is_looked_at_again_after_it_was_written_down(self, tmp_path: Path) -> None:
        """A halt that comes while the intent is being made durable still stops the order."""
        latch = tmp_path / "HALT"
        lab = desk(question(), halt_file=latch)
        record = lab.gateway._record

        async def slow(*events: Any) -> None:
            await record(*events)
            latch.touch()

        lab.gateway._record = slow
        assert await lab.gateway.submit(entry(), ALLOWED) is None
        assert lab.line.calls["place_order"] == 0
        assert lab.portfolio.open_intents == {}
