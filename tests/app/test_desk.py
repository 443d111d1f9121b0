"""Demands in a whole bot: taken over, journalled, carried out, and outliving it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec

from jurymast.app.config import BotSection, Config, LabSection
from jurymast.app.desk import ControlDesk, Preview
from jurymast.app.wiring import Bot, build
from jurymast.domain.events import DemandsChanged, Event, OrderIntended
from jurymast.domain.money import CENT, CONTRACT
from jurymast.domain.order import Purpose, TimeInForce
from jurymast.domain.provider import ProviderName
from jurymast.domain.status import EmergencyMode, ProviderStatus, TradingState
from jurymast.exchange.embedded.server.limits import UNLIMITED
from jurymast.policy.demands import Demand, FlattenDemand, ModeDemand, Preference, StateDemand
from jurymast.policy.judges import Trading
from jurymast.policy.risk import ALLOWED
from jurymast.testing.clock import FakeClock
from order_world import order_intent


@asynccontextmanager
async def bot_at(directory: Path, clock: FakeClock) -> AsyncIterator[tuple[Bot, ControlDesk, list[Event]]]:
    base, seen = Config(), list[Event]()
    config = replace(
        base,
        bot=BotSection(data_dir=str(directory), seed=3),
        exchange=replace(base.exchange, speed=240.0, tier=UNLIMITED),
        lab=LabSection(emulate=True, control_port=0, latency_scale=0.0),
    )
    async with build(config, clock=clock, watch=seen.append, ticking=False) as bot:
        yield bot, ControlDesk(bot), seen


def told(seen: list[Event]) -> list[tuple[str, ...]]:
    return [event.demands for event in seen if isinstance(event, DemandsChanged)]


async def test_a_mode_by_hand_is_taken_over_journalled_and_taken_back(tmp_path: Path) -> None:
    """A demanded mode is in force after one look; taken back, the rungs are climbed on evidence."""
    async with bot_at(tmp_path, FakeClock()) as (bot, desk, seen):
        wanted = ModeDemand("report", bot.clock.utc_now(), mode=EmergencyMode.MINIMAL)
        bot.control.change(lambda old: replace(old, mode=wanted))
        await desk.look()
        assert bot.client.mode is EmergencyMode.MINIMAL
        await desk.look()
        bot.control.resume("why")
        await desk.look()
        assert bot.client.mode is EmergencyMode.MINIMAL
        assert bot.fallback.core.ladder.manual is EmergencyMode.NORMAL
    assert told(seen) == [("mode MINIMAL or safer (report)",), ()]


async def test_an_override_holds_for_its_time_and_not_over_a_demand(tmp_path: Path) -> None:
    """In spite of the evidence the mode is milder, until the end that was set; a floor stays above it."""
    clock = FakeClock()
    async with bot_at(tmp_path, clock) as (bot, desk, _):
        bot.fallback.core.health.isolate(ProviderName.LOCAL, "test")
        for name in ProviderName:
            bot.fallback.isolate_provider(name, "test")
        assert bot.client.mode is EmergencyMode.MINIMAL
        at = clock.utc_now()
        until = at + timedelta(minutes=30)
        override = ModeDemand("seen to", at, until, EmergencyMode.CONSERVATIVE, override=True)
        bot.control.change(lambda old: replace(old, override=override))
        await desk.look()
        assert bot.client.mode is EmergencyMode.CONSERVATIVE
        bot.fallback.enable_emergency_mode("no", None, EmergencyMode.SUSPENDED)
        assert bot.client.mode is EmergencyMode.SUSPENDED
        bot.fallback.disable_emergency_mode()
        clock.advance(1_800)
        await desk.look()
        assert bot.client.mode.severity >= EmergencyMode.MINIMAL.severity


async def test_an_isolated_provider_outlives_the_bot_until_it_is_restored(tmp_path: Path) -> None:
    """Isolation by hand holds over a restart; restored while no bot ran, the next one asks it again."""
    clock = FakeClock()
    async with bot_at(tmp_path, clock) as (bot, desk, _):
        demand = Demand("bills", clock.utc_now())
        bot.control.change(lambda old: replace(old, isolated={ProviderName.XAI: demand}))
        await desk.look()
        assert bot.fallback.provider_statuses[ProviderName.XAI] is ProviderStatus.UNHEALTHY
        assert bot.fallback.get_best_provider() is not ProviderName.XAI
    async with bot_at(tmp_path, clock) as (bot, desk, _):
        await desk.look()
        assert bot.fallback.provider_statuses[ProviderName.XAI] is ProviderStatus.UNHEALTHY
        control = bot.control
    control.change(lambda old: replace(old, isolated={}))
    async with bot_at(tmp_path, clock) as (bot, desk, _):
        await desk.look()
        for _ in range(6):
            await bot.fallback.check_recovery()
            clock.advance(5.0)
        assert ProviderName.XAI in bot.fallback.get_available_providers()


async def test_a_preferred_provider_is_asked_first(tmp_path: Path) -> None:
    """A failover by hand is the one a program can do as well."""
    async with bot_at(tmp_path, FakeClock()) as (bot, desk, _):
        demand = Preference("", bot.clock.utc_now(), None, ProviderName.XAI, ProviderName.ANTHROPIC)
        bot.control.change(lambda old: replace(old, preferred=demand))
        await desk.look()
        assert bot.fallback.get_best_provider() is ProviderName.ANTHROPIC


async def hold(bot: Bot, contracts: int) -> str:
    """Buy in a market with a wide enough book; its ticker."""
    await bot.cycle.square_books()
    for snapshot in await bot.exchange.list_snapshots():
        book = (await bot.exchange.get_snapshot(snapshot.ticker)).book
        if book.two_sided and book.asks[0].count >= contracts * CONTRACT and book.spread <= 3 * CENT:
            order = order_intent(
                snapshot.ticker,
                count=contracts * CONTRACT,
                limit_price=book.asks[0].price,
                time_in_force=TimeInForce.IMMEDIATE_OR_CANCEL,
            )
            await bot.gateway.submit(order, ALLOWED)
            await bot.cycle.square()
            return snapshot.ticker
    raise AssertionError("no market to buy in")


def flat(bot: Bot, *, confirmed: bool) -> None:
    demand = FlattenDemand("", bot.clock.utc_now(), None, "f-1", confirmed)
    bot.control.change(lambda old: replace(old, flatten=demand))


async def test_flattening_shows_first_and_sells_only_when_confirmed(tmp_path: Path) -> None:
    """The preview names slices, price and cost and sends nothing; confirmed, everything is sold, IOC only."""
    async with bot_at(tmp_path, FakeClock()) as (bot, desk, seen):
        ticker = await hold(bot, 40)
        flat(bot, confirmed=False)
        await desk.look()
        preview = msgspec.json.decode(bot.config.preview_path.read_bytes(), type=Preview)
        assert (preview.flatten_id, [sale.ticker for sale in preview.sales]) == ("f-1", [ticker])
        assert preview.sales[0].cost > 0
        assert bot.portfolio.positions
        flat(bot, confirmed=True)
        for _ in range(5):
            await desk.look()
            bot.clock.advance(2.0)  # type: ignore[attr-defined] # the clock of this test
        assert bot.portfolio.positions == {}
        assert await bot.exchange.list_positions() == []
        assert bot.control.demands().flatten is None
    exits = [e.intent for e in seen if isinstance(e, OrderIntended) and e.intent.purpose is Purpose.EXIT]
    assert exits
    assert {each.time_in_force for each in exits} == {TimeInForce.IMMEDIATE_OR_CANCEL}


async def test_a_reduction_works_positions_down_without_entering(tmp_path: Path) -> None:
    """Reducing by hand sells a part at each cycle, asks no model, and holds what it can't sell well."""
    clock = FakeClock()
    async with bot_at(tmp_path, clock) as (bot, desk, seen):
        ticker = await hold(bot, 80)
        demand = StateDemand("wind down", clock.utc_now(), work_down=True)
        bot.control.change(lambda old: replace(old, state=demand))
        await desk.look()
        left = [bot.portfolio.positions[ticker].size]
        for _ in range(12):
            assert (await bot.cycle.run_once()).state is TradingState.REDUCING
            clock.advance(30)
            left.append(bot.portfolio.positions[ticker].size if ticker in bot.portfolio.positions else 0)
        assert left == sorted(left, reverse=True)
        assert left[1] > 0, "not all at once"
        assert left[-1] < left[0]
    entered = [e for e in seen if isinstance(e, OrderIntended) and e.intent.purpose is Purpose.ENTRY]
    assert len(entered) == 1, "the one of this test"


async def test_killed_ends_by_a_resume_alone_and_not_by_an_old_one(tmp_path: Path) -> None:
    """KILLED outlives restarts and resumes of before; one said later, even with no bot running, ends it."""
    clock = FakeClock()
    async with bot_at(tmp_path, clock) as (bot, desk, _):
        await desk.look()
        bot.control.resume("of another day")
        await desk.look()
        clock.advance(60)
        wanted = ModeDemand("runaway", clock.utc_now(), mode=EmergencyMode.KILLED)
        bot.control.change(lambda old: replace(old, mode=wanted))
        await desk.look()
        assert bot.client.mode is EmergencyMode.KILLED
        bot.control.change(lambda old: replace(old, mode=None))
        until = clock.utc_now() + timedelta(minutes=5)
        override = ModeDemand("please", clock.utc_now(), until, EmergencyMode.CONSERVATIVE, override=True)
        bot.control.change(lambda old: replace(old, override=override))
        await desk.look()
        assert bot.client.mode is EmergencyMode.KILLED
    clock.advance(60)
    async with bot_at(tmp_path, clock) as (bot, desk, _):
        await desk.look()
        assert bot.client.mode is EmergencyMode.KILLED
        control = bot.control
    clock.advance(60)
    control.resume("read the journal, it was the clock")
    async with bot_at(tmp_path, clock) as (bot, desk, _):
        await desk.look()
        assert bot.client.mode is EmergencyMode.SUSPENDED


async def test_an_override_never_passes_a_loss(tmp_path: Path) -> None:
    """What the money calls for stays above a person's override of the providers."""
    async with bot_at(tmp_path, FakeClock()) as (bot, desk, _):
        at = bot.clock.utc_now()
        override = ModeDemand("x", at, at + timedelta(minutes=5), EmergencyMode.NORMAL, override=True)
        bot.control.change(lambda old: replace(old, override=override))
        await desk.look()
        assert bot.client.mode is EmergencyMode.NORMAL
        bot.fallback.note_trading(Trading(reconciled=True, loss_bp=9_000))
        assert bot.client.mode.severity >= EmergencyMode.SUSPENDED.severity
