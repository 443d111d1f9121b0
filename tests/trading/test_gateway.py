"""The one door to the exchange: durable first, sent once, never lost, never twice."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trading_world import CASH, Desk, books_differ, desk, entry, exit_of, orders_at, restarted

from jurymast.app.control import ControlFile
from jurymast.domain.errors import JournalUnwritable
from jurymast.domain.events import OrderChanged, OrderFilled, OrderIntended, OrderRefused, OrderUnresolved
from jurymast.domain.money import CONTRACT
from jurymast.domain.order import OrderIntent, OrderStatus, Purpose
from jurymast.domain.status import EmergencyMode, TradingState
from jurymast.journal.queries import JournalReader
from jurymast.journal.sqlite import SqliteJournal
from jurymast.policy.demands import ModeDemand
from jurymast.policy.emergency import TABLE
from jurymast.policy.risk import ALLOWED, RiskReason, Verdict
from jurymast.testing.clock import FakeClock
from jurymast.trading.gateway import RESOLVE_TRIES, client_order_id

ORDER_EVENTS = (OrderIntended, OrderChanged, OrderRefused, OrderUnresolved, OrderFilled)
EXCHANGE_CHARACTERS = re.compile(r"[A-Za-z0-9_\-:+=/]{1,64}")


def story(lab: Desk) -> list[type]:
    return [type(event) for event in lab.told if isinstance(event, ORDER_EVENTS)]


def raises(error: Exception) -> Callable[..., Awaitable[None]]:
    async def hook(*_: Any) -> None:
        raise error

    return hook


class TestSending:
    async def test_the_intent_is_on_disk_before_the_order_leaves(self, tmp_path: Path) -> None:
        """When the exchange hears of an order, another reader of the journal already sees its intent."""
        path = tmp_path / "journal.db"
        journal = SqliteJournal.open(path, clock=FakeClock())
        lab, intent, seen = desk(journal=journal), entry(), []

        async def look(sent: OrderIntent) -> None:
            with JournalReader(path, strict=True) as reader:
                seen.append((sent, [row.event for row in reader.events((OrderIntended, OrderChanged))]))

        lab.line.before["place_order"] = look
        order = await lab.gateway.submit(intent, ALLOWED)
        await journal.close()
        [(sent, rows)] = seen
        assert sent == intent
        assert [row.intent for row in rows] == [intent]
        assert (rows[0].decision_id, rows[0].ticker) == (intent.decision_id, intent.ticker)
        assert order is not None
        assert order.client_order_id == intent.client_order_id

    async def test_one_intent_is_one_send_and_its_answer_is_recorded(self) -> None:
        """An order that is taken is sent once, acknowledged in the journal, and kept while it rests."""
        lab = desk()
        order = await lab.gateway.submit(entry(limit_price=400_000), ALLOWED)
        assert lab.line.calls["place_order"] == 1
        assert story(lab) == [OrderIntended, OrderChanged]
        assert order is not None
        assert order.status is OrderStatus.RESTING
        assert list(lab.portfolio.orders.values()) == [order]

    async def test_a_demanded_mode_counts_with_the_users_own_table(self, tmp_path: Path) -> None:
        """Who lets CONSERVATIVE take no entries gets none through the door when that mode is demanded."""
        mode = EmergencyMode.CONSERVATIVE
        strict = {**TABLE, mode: replace(TABLE[mode], entries=False)}
        for table, passes in ((TABLE, True), (strict, False)):
            lab = desk(halt_file=tmp_path / "HALT", table=table)
            demand = ModeDemand("", lab.clock.utc_now(), mode=mode)
            ControlFile(tmp_path, lab.clock).change(lambda old, demand=demand: replace(old, mode=demand))
            assert (await lab.gateway.submit(entry(), ALLOWED) is not None) is passes

    async def test_an_intent_that_is_under_way_is_not_sent_again(self) -> None:
        """Submitting the same intent while its order rests sends nothing."""
        lab, intent = desk(), entry(limit_price=400_000)
        await lab.gateway.submit(intent, ALLOWED)
        assert await lab.gateway.submit(intent, ALLOWED) is None
        assert lab.line.calls["place_order"] == 1

    async def test_a_refusal_of_the_exchange_is_recorded_with_its_code(self) -> None:
        """An order that can't be paid for leaves the exchange's own word and nothing open."""
        lab = desk()
        assert await lab.gateway.submit(entry(count=100_000 * CONTRACT), ALLOWED) is None
        [refused] = lab.tell(OrderRefused)
        assert refused.code == "insufficient_balance"
        assert lab.portfolio.open_intents == {}
        assert orders_at(lab.house) == []

    async def test_an_intent_without_leave_is_a_bug_and_leaves_no_trace(self) -> None:
        """Submitting what the risk rules refused raises before anything is written or sent."""
        lab = desk()
        with pytest.raises(ValueError, match="gross_cap"):
            await lab.gateway.submit(entry(), Verdict(False, RiskReason.GROSS_CAP))
        assert lab.told == []
        assert lab.line.calls["place_order"] == 0

    async def test_the_order_rate_counts_the_last_minute(self) -> None:
        """Orders count against the rate for a minute after they were sent."""
        lab = desk()
        await lab.gateway.submit(entry(), ALLOWED)
        lab.clock.advance(59)
        await lab.gateway.submit(entry(), ALLOWED)
        assert lab.gateway.orders_last_minute == 2
        lab.clock.advance(2)
        assert lab.gateway.orders_last_minute == 1


class TestSilence:
    async def test_an_order_that_arrived_unheard_is_found_not_repeated(self) -> None:
        """Taken and then silence: the exchange is asked, the order is taken over, none is sent again."""
        lab, intent = desk(), entry()
        lab.house.lose_orders("accept_then_timeout")
        order = await lab.gateway.submit(intent, ALLOWED)
        assert order is not None
        assert lab.line.calls["place_order"] == 1
        assert orders_at(lab.house) == [(intent.client_order_id, "executed")]
        assert story(lab) == [OrderIntended, OrderChanged]

    async def test_an_order_that_never_arrived_is_let_go(self) -> None:
        """Not taken and silence: asked for and not found, it is recorded as never arrived."""
        lab = desk()
        lab.house.lose_orders("reject_then_timeout")
        assert await lab.gateway.submit(entry(), ALLOWED) is None
        [refused] = lab.tell(OrderRefused)
        assert refused.code == "never_arrived"
        assert lab.line.calls["place_order"] == 1
        assert lab.portfolio.open_intents == {}
        assert orders_at(lab.house) == []

    async def test_a_fate_that_cannot_be_asked_for_stays_open(self) -> None:
        """Silence, and then no exchange to ask: the market is left alone and nothing is sent for it."""
        lab, intent = desk(), entry()
        lab.house.lose_orders("accept_then_timeout")
        lab.house.go_away(RESOLVE_TRIES)
        assert await lab.gateway.submit(intent, ALLOWED) is None
        assert story(lab) == [OrderIntended, OrderUnresolved]
        assert lab.portfolio.unresolved == {intent.client_order_id}
        assert intent.ticker in lab.portfolio.exposure(CASH, lab.clock.utc_now()).busy
        assert await lab.gateway.submit(intent, ALLOWED) is None
        assert lab.line.calls["place_order"] == 1
        await lab.reconciler.run_once()
        assert lab.portfolio.unresolved == set()
        assert books_differ(lab) == []
        assert len(orders_at(lab.house)) == 1

    async def test_an_exchange_that_comes_back_in_time_is_asked_again(self) -> None:
        """Two failed questions and one that is answered are enough to know an order's fate."""
        lab = desk()
        lab.house.lose_orders("accept_then_timeout")
        lab.house.go_away(RESOLVE_TRIES - 1)
        assert await lab.gateway.submit(entry(), ALLOWED) is not None
        assert lab.line.calls["find_order"] == RESOLVE_TRIES
        assert lab.clock.monotonic() > 0, "it waits between questions"

    async def test_an_id_the_exchange_knows_is_found_not_duplicated(self) -> None:
        """An order that exists already, say of a life before, becomes ours; there is still one."""
        lab, intent = desk(), entry()
        placed = lab.house.place(intent)
        assert await lab.gateway.submit(intent, ALLOWED) == placed
        assert story(lab) == [OrderIntended, OrderChanged]
        assert len(orders_at(lab.house)) == 1


class TestHaltLatch:
    async def test_the_latch_stops_entries(self, tmp_path: Path) -> None:
        """While the halt file exists an entry is refused, whatever its verdict, and says why."""
        latch = tmp_path / "HALT"
        lab = desk(halt_file=latch)
        latch.touch()
        assert lab.gateway.demands.floor is TradingState.HALTED
        assert not lab.gateway.takes_entries
        assert await lab.gateway.submit(entry(), ALLOWED) is None
        assert [event.code for event in lab.tell(OrderRefused)] == ["trading_halted"]
        assert lab.line.calls["place_order"] == 0
        latch.unlink()
        assert await lab.gateway.submit(entry(), ALLOWED) is not None

    async def test_the_latch_holds_what_is_held(self, tmp_path: Path) -> None:
        """While the halt file exists exits are refused too: what is held is the operator's."""
        latch = tmp_path / "HALT"
        lab = desk(halt_file=latch)
        await lab.gateway.submit(entry(), ALLOWED)
        latch.touch()
        assert await lab.gateway.submit(exit_of(), ALLOWED) is None
        assert [event.code for event in lab.tell(OrderRefused)] == ["trading_halted"]
        latch.unlink()
        assert await lab.gateway.submit(exit_of(), ALLOWED) is not None


class TestJournalFailure:
    async def test_without_a_journal_nothing_is_sent(self) -> None:
        """A journal that refuses the intent stops the order, and the books do not believe in it."""
        lab = desk()
        await lab.journal.close()
        with pytest.raises(JournalUnwritable):
            await lab.gateway.submit(entry(), ALLOWED)
        assert lab.line.calls["place_order"] == 0
        assert lab.portfolio.open_intents == {}

    async def test_a_full_disk_stops_every_order_after_it(self, tmp_path: Path) -> None:
        """Once the journal's disk is full no order leaves any more, not even a smaller one."""
        journal = SqliteJournal.open(tmp_path / "journal.db", clock=FakeClock())
        lab = desk(journal=journal)
        fill_the_disk(journal)
        for _ in range(2):
            with pytest.raises(JournalUnwritable):
                await lab.gateway.submit(entry(reason="x" * 100_000), ALLOWED)
        with pytest.raises(JournalUnwritable):
            await lab.gateway.submit(entry(), ALLOWED)
        assert lab.line.calls["place_order"] == 0
        with pytest.raises(JournalUnwritable):
            await journal.close()

    async def test_an_answer_that_could_not_be_recorded_is_found_after_a_restart(
        self, tmp_path: Path
    ) -> None:
        """The disk fills between sending and answer: the next start takes the order over, once."""
        path = tmp_path / "journal.db"
        journal = SqliteJournal.open(path, clock=FakeClock())
        lab = desk(journal=journal)

        async def disk_fills(_: object) -> None:
            fill_the_disk(journal)

        lab.line.after["place_order"] = disk_fills
        with pytest.raises(JournalUnwritable):
            await submit_often(lab, 100)
        with pytest.raises(JournalUnwritable):
            await journal.close()
        again = SqliteJournal.open(path, clock=FakeClock())
        after = restarted(lab, journal=again)
        await after.reconciler.run_once(first=True)
        assert books_differ(after) == []
        assert len(orders_at(lab.house)) == lab.line.calls["place_order"]
        await again.close()


async def submit_often(lab: Desk, times: int) -> None:
    for _ in range(times):
        await lab.gateway.submit(entry(count=CONTRACT), ALLOWED)


def fill_the_disk(journal: SqliteJournal) -> None:
    """Let the file grow no further than it is now."""
    (pages,) = journal._connection.execute("PRAGMA page_count").fetchone()
    journal._connection.execute(f"PRAGMA max_page_count = {pages}")


class TestCrash:
    """A process that dies at any point of an order's life, and the normal start after it."""

    @pytest.fixture
    async def journals(self, tmp_path: Path) -> AsyncIterator[Callable[[], SqliteJournal]]:
        opened: list[SqliteJournal] = []

        def open_next() -> SqliteJournal:
            opened.append(SqliteJournal.open(tmp_path / "journal.db", clock=FakeClock()))
            return opened[-1]

        yield open_next
        for journal in opened:
            await journal.close()

    @staticmethod
    async def die_at(lab: Desk, when: str, call: str, intent: OrderIntent) -> None:
        """Submit, and be cut off just before or after one call to the exchange."""
        reached = asyncio.Event()

        async def hold(*_: object) -> None:
            reached.set()
            await asyncio.Event().wait()

        {"before": lab.line.before, "after": lab.line.after}[when][call] = hold
        life = asyncio.create_task(whole_life(lab, intent))
        await reached.wait()
        life.cancel()
        with suppress(asyncio.CancelledError):
            await life

    @pytest.mark.parametrize(
        ("when", "call", "arrived", "faults"),
        [
            ("before", "place_order", False, []),
            ("after", "place_order", True, []),
            ("before", "find_order", True, ["accept_then_timeout"]),
            ("after", "find_order", True, ["accept_then_timeout"]),
            ("before", "find_order", False, ["reject_then_timeout"]),
            ("before", "list_fills", True, []),
            ("after", "list_fills", True, []),
            ("before", "get_balance", True, []),
        ],
    )
    @pytest.mark.parametrize("price", [400_000, 500_000], ids=["resting", "filled"])
    async def test_books_and_orders_are_right_after_the_restart(
        self,
        journals: Callable[[], SqliteJournal],
        when: str,
        call: str,
        arrived: bool,
        faults: list[str],
        price: int,
    ) -> None:
        """Wherever the process died, the next one has the exchange's books, and sends nothing twice."""
        first = journals()
        lab, intent = desk(journal=first), entry(limit_price=price)
        for fault in faults:
            lab.house.lose_orders(fault)
        await self.die_at(lab, when, call, intent)
        await first.close()

        after = restarted(lab, journal=journals())
        await after.reconciler.run_once(first=True)
        assert books_differ(after) == []
        assert len(orders_at(after.house)) == arrived
        assert after.line.calls["place_order"] == 0, "a restart asks, it does not send"

        await after.gateway.submit(intent, ALLOWED)
        await after.reconciler.after_order()
        assert [client_id for client_id, _ in orders_at(after.house)] == [intent.client_order_id]
        assert books_differ(after) == []

    async def test_two_crashes_in_a_row_change_nothing(self, journals: Callable[[], SqliteJournal]) -> None:
        """Dying again while the first crash is being cleared up leaves one order and equal books."""
        first = journals()
        lab, intent = desk(journal=first), entry()
        await self.die_at(lab, "after", "place_order", intent)
        await first.close()
        second = journals()
        between = restarted(lab, journal=second)
        between.line.after["list_fills"] = raises(RuntimeError("killed"))
        with pytest.raises(RuntimeError):
            await between.reconciler.run_once(first=True)
        await second.close()
        after = restarted(lab, journal=journals())
        await after.reconciler.run_once(first=True)
        assert books_differ(after) == []
        assert len(orders_at(after.house)) == 1


async def whole_life(lab: Desk, intent: OrderIntent) -> None:
    await lab.gateway.submit(intent, ALLOWED)
    await lab.reconciler.after_order()


class TestClientOrderId:
    @given(st.text(), st.text(), st.sampled_from(Purpose))
    def test_it_is_legal_at_the_exchange(self, decision_id: str, ticker: str, purpose: Purpose) -> None:
        """Any decision and ticker make an id of at most 64 characters that the exchange takes."""
        assert EXCHANGE_CHARACTERS.fullmatch(client_order_id(decision_id, ticker, purpose))

    def test_it_is_the_same_in_every_run(self) -> None:
        """The id depends on decision, ticker and purpose alone, so a second send can't be a second order."""
        assert client_order_id("d", "T", Purpose.ENTRY) == "jm-8f3261d0ed6dddb098821808"

    def test_what_differs_gets_another_id(self) -> None:
        """Another decision, market or purpose is another order."""
        cases = [("d", "T", Purpose.ENTRY), ("d", "T", Purpose.EXIT), ("d", "U", Purpose.ENTRY)]
        cases.append(("e", "T", Purpose.ENTRY))
        assert len({client_order_id(*case) for case in cases}) == len(cases)
