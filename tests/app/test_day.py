"""A day of trading on an embedded exchange whose wire fails: the books agree to the last digit."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from jurymast.app.config import BotSection, Config, LabSection, LadderSection
from jurymast.app.wiring import Bot, build
from jurymast.domain.events import (
    CycleFinished,
    Event,
    OrderChanged,
    OrderFilled,
    OrderIntended,
    OrderRefused,
    PositionSettled,
)
from jurymast.domain.market import Book, Level, Side
from jurymast.domain.money import PAYOUT
from jurymast.domain.order import Action, Fill
from jurymast.domain.status import TradingState
from jurymast.exchange.embedded import records
from jurymast.exchange.embedded.accounts import value
from jurymast.exchange.embedded.commands import StepMarket
from jurymast.exchange.embedded.exchange import EmbeddedExchange
from jurymast.exchange.embedded.invariants import broken
from jurymast.exchange.embedded.server.limits import UNLIMITED
from jurymast.exchange.embedded.server.server import ExchangeServer
from jurymast.exchange.embedded.server.site import WireSettings
from jurymast.exchange.embedded.server.wire import fill_id
from jurymast.policy.fees import charge
from jurymast.testing.clock import FakeClock

CYCLES, CYCLE_SECS = 48, 30.0
SPEED = 86_400.0 / (CYCLES * CYCLE_SECS)
DAYS = int(os.environ.get("JURYMAST_TEST_DAYS", "2"))
"""Each with a seed of its own."""
CASH_USD = 1_000_000
"""So much that no cap of the day stops the trading."""
TICKS = 4
"""Times the crowd acts in a cycle."""
LOST_WRITES = ("accept_then_timeout", "accept_then_5xx", "reject_then_timeout")
FAILING_READS = ("429", "unavailable", "stale_rest", "missing_field", "unknown_enum")
BAD_FRAMES = ("ws_missing", "ws_doubled", "ws_reordered", "ws_gap", "ws_disconnect", "ws_error")
WAIT_SECS = 10.0
E = TypeVar("E", bound=Event)


def config_in(directory: Path, seed: int) -> Config:
    base = Config()
    return replace(
        base,
        bot=BotSection(data_dir=str(directory), seed=seed, cycle_secs=CYCLE_SECS),
        exchange=replace(base.exchange, speed=SPEED, tier=UNLIMITED, cash_usd=CASH_USD),
        trading=replace(base.trading, decisions_per_cycle=8, ask_again_secs=90.0, concurrency=1),
        failover=replace(base.failover, budget_usd_per_day=1_000.0),
        ladder=LadderSection(
            dwell_secs=0.0,
            suspended_dwell_secs=0.0,
            successes_to_rise=1,
            suspended_successes=1,
            flap_changes=1_000,
        ),
        lab=LabSection(emulate=True, control_port=0, latency_scale=0.0),
    )


class Day:
    """A bot, its exchange and dice."""

    def __init__(self, bot: Bot, clock: FakeClock, seed: int, seen: list[Event]) -> None:
        assert bot.venue.house is not None
        assert bot.venue.server is not None
        self.bot, self.clock, self.seen = bot, clock, seen
        self.house: EmbeddedExchange = bot.venue.house
        self.server: ExchangeServer = bot.venue.server
        # A silence that ends at once is a silence all the same: the answer never comes.
        self.server.site.settings = WireSettings(tier=UNLIMITED, hold_secs=0.0)
        self.struck: Counter[str] = Counter()
        self._dice = random.Random(seed)

    def tell(self, kind: type[E]) -> list[E]:
        return [event for event in self.seen if isinstance(event, kind)]

    def strew_faults(self) -> None:
        """What goes wrong in the next cycle: often a write, sometimes reads, always frames."""
        dice, desk = self._dice, self.server.control
        desk.clear()
        if dice.random() < 0.6:
            self._set(dice.choice(LOST_WRITES), times=dice.randint(1, 2), probability=0.5)
        if dice.random() < 0.5:
            fault = dice.choice(FAILING_READS)
            if fault == "stale_rest":
                self._set(fault, value=dice.choice([1.0, 5.0]))
            else:
                self._set(fault, times=dice.randint(2, 5), probability=0.3)
        for fault in dice.sample(BAD_FRAMES, 2):
            self._set(fault, probability=0.1)

    def _set(self, fault: str, **more: float) -> None:
        self.struck[fault] += 1
        self.server.control.set_fault(fault, **more)  # type: ignore[arg-type] # times is whole

    async def cycle(self) -> CycleFinished:
        for _ in range(TICKS):
            self.clock.advance(CYCLE_SECS / TICKS)
            self.house.tick()
            await asyncio.sleep(0)
        await self.bot.fallback.check_recovery()
        return await self.bot.cycle.run_once()

    def settle_some(self) -> None:
        """Half of what is held resolves early."""
        held = sorted(ticker for ticker, stake in self.house.member.stakes.items() if stake.count)
        for ticker in held[::2]:
            self.house.execute(StepMarket(ticker, "settle"))

    @contextmanager
    def listening(self) -> Iterator[None]:
        """The websocket as a supervisor runs it: heard, and heeded between cycles."""

        async def heed() -> None:
            while True:
                await self.bot.exchange.news()
                await self.bot.cycle.square()

        tasks = [asyncio.create_task(each) for each in (self.bot.venue.listener.run(), heed())]
        try:
            yield
            assert not any(task.done() for task in tasks), "both go on whatever the wire does"
        finally:
            for task in tasks:
                task.cancel()

    # The exchange's own books

    @property
    def owner(self) -> int:
        return self.house.member.number

    def orders(self) -> dict[str, records.Order]:
        kept = self.house.engine.state.orders.values()
        mine = [order for order in kept if order.owner == self.owner]
        assert len({order.client_order_id for order in mine}) == len(mine)
        return {order.client_order_id: order for order in mine}

    def fills(self) -> dict[str, records.Fill]:
        fills = self.house.engine.state.fills
        return {fill_id(fill.number): fill for fill in fills if fill.owner == self.owner}


def as_told(fill: Fill) -> tuple[object, ...]:
    """An execution in the exchange's terms: whose, what, how much, for what, which fee."""
    bid = (fill.side is Side.YES) == (fill.action is Action.BUY)
    price = fill.price if fill.side is Side.YES else PAYOUT - fill.price
    return (fill.client_order_id, fill.ticker, bid, price, fill.count, fill.fee)


def as_kept(fill: records.Fill) -> tuple[object, ...]:
    return (fill.client_order_id, fill.ticker, fill.bid, fill.price, fill.count, fill.fee)


def assert_orders_agree(day: Day) -> None:
    """Every order at the exchange has exactly one intent, and every intent its order or its refusal."""
    orders = day.orders()
    intents = Counter(event.intent.client_order_id for event in day.tell(OrderIntended))
    refused = {event.client_order_id for event in day.tell(OrderRefused)}
    assert set(intents.values()) == {1}
    assert orders.keys() <= intents.keys()
    assert intents.keys() - orders.keys() <= refused
    assert not refused & orders.keys(), "what was told as refused is not there"
    last = {event.order.client_order_id: event.order for event in day.tell(OrderChanged)}
    assert {name: (each.status.value, each.filled) for name, each in last.items()} == {
        name: (each.status.value, each.filled) for name, each in orders.items()
    }


def assert_money_agrees(day: Day) -> None:
    """Fills, fees, positions, payouts and cash are the exchange's."""
    book, fills = day.bot.portfolio, day.fills()
    told = {event.fill.fill_id: event.fill for event in day.tell(OrderFilled)}
    assert len(told) == len(day.tell(OrderFilled)), "each fill once"
    assert {name: as_told(fill) for name, fill in told.items()} == {
        name: as_kept(fill) for name, fill in fills.items()
    }
    stakes = day.house.member.stakes
    assert book.fees_paid == sum(fill.fee for fill in fills.values())
    assert {p.ticker: p.count for p in book.positions.values()} == {
        ticker: stake.count for ticker, stake in stakes.items() if stake.count
    }
    assert book.cash == day.house.member.available(0)
    payouts = [each for each in day.house.engine.state.payouts if each.owner == day.owner]
    settled = [event.settlement for event in day.tell(PositionSettled)]
    assert sorted((s.ticker, s.count, s.revenue) for s in settled) == sorted(
        (p.ticker, p.count, p.revenue) for p in payouts
    )
    assert broken(day.house.engine) == []


def assert_fees_are_ours(day: Day) -> None:
    """The rules' own arithmetic gives the fee of every fill, rounding carried on within its order."""
    by_order: defaultdict[int, list[records.Fill]] = defaultdict(list)
    for fill in day.fills().values():
        by_order[fill.order].append(fill)
    for fills in by_order.values():
        carried = 0
        for fill in fills:
            paid = value(fill.price if fill.bid else PAYOUT - fill.price, fill.count)
            schedule = day.house.engine.floor.listing(fill.ticker).fees
            cut = charge(
                fill.price, fill.count, -paid, carried=carried, maker=not fill.taker, schedule=schedule
            )
            assert cut.fee == fill.fee
            carried = cut.carried


async def assert_live_books_agree(day: Day) -> None:
    """Once the wire is well, every book that is followed becomes the exchange's own."""
    followed = {ticker for ticker, stake in day.house.member.stakes.items() if stake.count}
    assert followed
    for _ in range(int(WAIT_SECS / 0.05)):
        heard = {ticker: day.bot.venue.listener.book(ticker) for ticker in followed}
        if heard == {ticker: book_at(day.house, ticker) for ticker in followed}:
            return
        day.clock.advance(1.0)
        await asyncio.sleep(0.05)
    raise AssertionError("a live book is not the exchange's")


def book_at(house: EmbeddedExchange, ticker: str) -> Book:
    yes, no = house.depth(ticker)
    return Book(
        tuple(Level(price, count) for price, count in reversed(yes)),
        tuple(Level(PAYOUT - price, count) for price, count in reversed(no)),
    )


@pytest.mark.parametrize("seed", range(1, DAYS + 1))
async def test_a_day_on_a_failing_wire_ends_with_the_exchanges_books(tmp_path: Path, seed: int) -> None:
    """Lost answers, doubled and missing frames, gaps, stale reads, refusals: all money agrees at the end."""
    clock, seen = FakeClock(), list[Event]()
    config = config_in(tmp_path, seed)
    async with build(config, clock=clock, watch=seen.append, ticking=False) as bot:
        day = Day(bot, clock, seed, seen)
        began = day.house.now()
        with day.listening():
            states: Counter[TradingState] = Counter()
            for _ in range(CYCLES):
                day.strew_faults()
                states[(await day.cycle()).state] += 1
            day.server.control.clear()
            day.settle_some()
            for _ in range(3):
                last = await day.cycle()
            assert last.state is TradingState.ACTIVE
            assert (day.house.now() - began).days >= 1
            assert_orders_agree(day)
            assert_money_agrees(day)
            assert_fees_are_ours(day)
            await assert_live_books_agree(day)
        assert len(day.orders()) > 5, "worth nothing if little was traded"
        assert day.tell(PositionSettled)
        assert states[TradingState.REDUCING] > 1, "and if nothing went wrong"
        assert states[TradingState.ACTIVE] > CYCLES // 2
        assert bot.venue.listener.lost > 0
