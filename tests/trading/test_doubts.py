"""What the trading rooms hold against their own picture: doubts that last, and some that never may be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from trading_world import entry

from jurymast.domain.errors import ExchangeUnavailable, ReconcileError, SchemaDrift
from jurymast.domain.events import OrderChanged, OrderIntended, OrderRefused
from jurymast.domain.money import USD
from jurymast.domain.order import Order, OrderStatus
from jurymast.policy.judges import Trading
from jurymast.testing.clock import FakeClock
from jurymast.trading.doubts import Doubts
from jurymast.trading.portfolio import Portfolio

CLOCK_START = FakeClock().utc_now()


class Room:
    """Doubts over books of their own."""

    def __init__(self) -> None:
        self.clock, self.book = FakeClock(), Portfolio()
        self.doubts = Doubts(self.book, clock=self.clock, orders_plan=60, hard_cap_bp=400)

    def read(self, equity: int = 1_000 * USD, differences: tuple[str, ...] = (), **more: Any) -> Trading:
        facts: dict[str, Any] = {"orders_last_minute": 0, "clock_skew_secs": 0.0, "first": False}
        return self.doubts.read(self.clock.utc_now(), equity, differences, **(facts | more))


def test_a_clean_cycle_has_nothing_to_doubt() -> None:
    """All it says is that the books were squared."""
    assert Room().read() == Trading(reconciled=True)


def test_silence_counts_from_the_first_cycle_that_could_not_read() -> None:
    """One failed read is no stale data; those in a row add up, and a good one ends them."""
    room, gone = Room(), ExchangeUnavailable("gone")
    room.clock.advance(1)
    assert room.doubts.unread(gone).data_stale_secs == 0.0
    room.clock.advance(31)
    assert room.doubts.unread(gone).data_stale_secs == 31.0
    room.read()
    assert room.doubts.unread(gone).data_stale_secs == 0.0


def test_a_drift_is_seen_through_what_it_caused() -> None:
    """Reconciliation fails because the exchange speaks otherwise: that is what is told."""
    error = ReconcileError("could not compare")
    error.__cause__ = SchemaDrift("no field yes_bid")
    assert Room().doubts.unread(error).schema_drift == "no field yes_bid"
    assert Room().doubts.unread(ReconcileError("other")).schema_drift == ""


def test_a_loss_counts_from_the_days_beginning() -> None:
    """In basis points of the equity with which the exchange's day began, anew the next day."""
    room = Room()
    assert room.read(1_000 * USD).loss_bp == 0
    assert room.read(950 * USD).loss_bp == 500
    room.clock.advance(86_400)
    assert room.read(950 * USD).loss_bp == 0


def test_what_the_first_comparison_finds_is_no_mismatch() -> None:
    """Later the same difference is one, and books that differed were not squared."""
    differ = ("T: ours 0, exchange 5",)
    assert Room().read(differences=differ, first=True).mismatch == ""
    later = Room().read(differences=differ)
    assert (later.mismatch, later.reconciled) == ("T: ours 0, exchange 5", False)


def test_a_pause_is_what_the_last_order_was_told() -> None:
    """Any other refusal is none."""
    for code, paused in (("exchange_is_paused", True), ("trading_is_paused", True), ("no_money", False)):
        room = Room()
        refused = OrderRefused(at=CLOCK_START, client_order_id="c", code=code, detail="")
        room.book.apply(refused)
        assert room.read().paused == paused


def test_more_of_an_order_than_was_meant_is_a_double() -> None:
    """A larger order, or a second one of the same id, is told for good; the order that was meant is not."""
    intent = entry("T-1")
    order = Order(
        "o-1", intent.client_order_id, "T-1", intent.side, intent.action, intent.limit_price, intent.count, 0,
        OrderStatus.RESTING, CLOCK_START,
    )  # fmt: skip
    for wrong in (replace(order, count=intent.count + 1), replace(order, order_id="o-2")):
        room = Room()
        room.book.apply(OrderIntended(at=CLOCK_START, intent=intent))
        room.book.apply(OrderChanged(at=CLOCK_START, order=order))
        assert room.read().doubled == ""
        room.book.apply(OrderChanged(at=CLOCK_START, order=wrong))
        assert room.read().doubled == intent.client_order_id
