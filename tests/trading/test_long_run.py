"""Weeks of trading on the bundled questions with faults strewn in: the books never leave the exchange's."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import blake2b

import pytest
from trading_world import (
    CASH,
    Desk,
    House,
    ScriptedJudge,
    books_differ,
    desk,
    equity_at,
    orders_at,
    restarted,
)

from jurymast.domain.events import CycleFinished, OrderFilled, OrderIntended, OrderRefused, PositionSettled
from jurymast.domain.market import MarketSnapshot
from jurymast.domain.money import CENT, CONTRACT
from jurymast.domain.order import Purpose
from jurymast.domain.status import TradingState
from jurymast.exchange.questions import load_bundle
from jurymast.policy.emergency import TABLE
from jurymast.policy.exits import ExitSettings
from jurymast.ports import Clock
from jurymast.testing.clock import FakeClock
from jurymast.trading.settings import CycleSettings

CYCLES = 40
STEP_SECS = (1_800.0, 8 * 3_600.0)
SILENCE_SHARE = 0.25
OUTAGE_SHARE = 0.02
CALLS_STRUCK = ("list_fills", "list_snapshots", "get_snapshot", "find_order", "list_positions", "get_balance")
BEGIN = datetime(2025, 12, 28, tzinfo=UTC)
"""The days played lead over the turn of the year, when a third of the bundle resolves."""
QUESTIONS = tuple(each for each in load_bundle() if each.listed_at < BEGIN < each.resolves_at)[::2]
SETTINGS = CycleSettings(
    decisions_max=12,
    ask_again_secs=3_600.0,
    table={mode: replace(row, forecast_age_secs_max=12 * 3_600.0) for mode, row in TABLE.items()},
    exits=ExitSettings(take_profit_at=94 * CENT, hard_market_cap_bp=185),
)
"""Eager to leave, so that every kind of exit happens within the days played."""


class Opinionated(ScriptedJudge):
    """Has a strong view of everything, and changes its mind once a day."""

    def __init__(self, clock: Clock, seed: int) -> None:
        super().__init__(clock)
        self._seed = seed

    def view_of(self, snapshot: MarketSnapshot) -> int | None:
        text = f"{self._seed}|{snapshot.ticker}|{snapshot.as_of:%Y-%m-%d}"
        return (3, 8, 50, 92, 97)[blake2b(text.encode()).digest()[0] % 5]


def begin(seed: int) -> Desk:
    clock = FakeClock(BEGIN)
    house = House(QUESTIONS, clock, start=BEGIN, seed=seed)
    return desk(*QUESTIONS, house=house, clock=clock, judge=Opinionated(clock, seed), settings=SETTINGS)


def strew_faults(lab: Desk, dice: random.Random) -> None:
    """Let seeded calls to the exchange go wrong, in the middle of a cycle as well as at its start."""

    async def silence(*_: object) -> None:
        if dice.random() < SILENCE_SHARE:
            lab.house.lose_orders(dice.choice(["accept_then_timeout", "reject_then_timeout"]))
            lab.house.go_away(dice.choice([0, 0, 1, 2, 3, 4]))

    async def outage(*_: object) -> None:
        if dice.random() < OUTAGE_SHARE:
            lab.house.go_away(dice.randint(1, 3))

    lab.line.before = {"place_order": silence} | dict.fromkeys(CALLS_STRUCK, outage)


def mend(lab: Desk) -> None:
    lab.line.before = {}
    lab.house.mend()


async def tapped_cycle(lab: Desk) -> CycleFinished:
    """One cycle, checked against the exchange to the micro-dollar when its reads have succeeded."""
    seen: dict[str, MarketSnapshot] = {}

    async def keep(snapshots: list[MarketSnapshot]) -> None:
        seen.update((snapshot.ticker, snapshot) for snapshot in snapshots)

    lab.line.after["list_snapshots"] = keep
    lab.house.tick()
    finished = await lab.cycle.run_once()
    if finished.state is TradingState.ACTIVE and not lab.portfolio.unresolved:
        assert books_differ(lab) == []
        assert finished.cash == lab.portfolio.cash
        assert finished.equity == equity_at(lab, seen)
    return finished


async def assert_it_adds_up(lab: Desk) -> None:
    """Cash began as CASH; what left it is in positions and resting orders, what came is profit."""
    books = lab.portfolio
    held = sum(position.cost for position in books.positions.values())
    behind_orders = sum(order.limit_price * order.remaining // CONTRACT for order in books.orders.values())
    assert books.cash + held + behind_orders == CASH + books.realized_pnl


def assert_each_once(lab: Desk) -> None:
    """Every order was intended once and taken once, every fill and payout recorded once."""
    journal = [recorded.event for recorded in lab.journal.read()]
    intended = Counter(e.intent.client_order_id for e in journal if isinstance(e, OrderIntended))
    fills = Counter(e.fill.fill_id for e in journal if isinstance(e, OrderFilled))
    paid = Counter(e.settlement.ticker for e in journal if isinstance(e, PositionSettled))
    placed = Counter(client_order_id for client_order_id, _ in orders_at(lab.house))
    assert {*intended.values(), *fills.values(), *placed.values()} == {1}
    assert set(paid.values()) <= {1}
    assert placed.keys() <= intended.keys()


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_the_books_are_the_exchanges_after_every_cycle(seed: int) -> None:
    """Forty cycles with silences and outages of the exchange: all money agrees to the micro-dollar."""
    lab, dice = begin(seed), random.Random(seed)
    states: Counter[TradingState] = Counter()
    strew_faults(lab, dice)
    for _ in range(CYCLES):
        states[(await tapped_cycle(lab)).state] += 1
        lab.clock.advance(dice.uniform(*STEP_SECS))
    mend(lab)
    lab.clock.advance(30 * 86_400.0)
    for _ in range(2):
        await tapped_cycle(lab)
        lab.clock.advance(60.0)
        assert books_differ(lab) == []
    await assert_it_adds_up(lab)
    assert_each_once(lab)
    purposes = Counter(event.intent.purpose for event in lab.tell(OrderIntended))
    assert purposes[Purpose.ENTRY] > 30, "worth nothing if little was traded"
    assert purposes[Purpose.EXIT] > 5
    assert len(lab.tell(PositionSettled)) > 0
    assert len(lab.tell(OrderRefused)) > 3, "and if nothing went wrong"
    assert states[TradingState.REDUCING] > 3
    assert states[TradingState.ACTIVE] > 15


@pytest.mark.parametrize("seed", [4, 5])
async def test_a_bot_that_keeps_dying_adds_up_all_the_same(seed: int) -> None:
    """A new life every few cycles, some begun in a silence: nothing is lost and nothing twice."""
    lab, dice = begin(seed), random.Random(seed)
    for _ in range(CYCLES):
        if dice.random() < 0.3:
            lab = restarted(lab, judge=lab.judge, settings=SETTINGS)
            strew_faults(lab, dice)
        await tapped_cycle(lab)
        lab.clock.advance(dice.uniform(*STEP_SECS))
    mend(lab)
    lab = restarted(lab, judge=lab.judge, settings=SETTINGS)
    await tapped_cycle(lab)
    assert books_differ(lab) == []
    await assert_it_adds_up(lab)
    assert_each_once(lab)
    assert len(orders_at(lab.house)) > 30
