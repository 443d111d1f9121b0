"""The loops of a running bot: started together, stopped together, and on record why."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jurymast import __version__
from jurymast.app import live
from jurymast.app.config import BotSection, Config, LabSection
from jurymast.app.supervisor import Supervisor
from jurymast.app.wiring import Bot, build
from jurymast.domain.events import CycleFinished, Event, FaultInjected, ProbeSent, RunStarted, RunStopped
from jurymast.domain.status import EmergencyMode
from jurymast.journal.history import HistoryFile

WAIT_SECS = 10.0
"""The most that any of these runs is waited for."""


class HastyClock:
    """Time that runs ``pace`` times as fast as it should; sleeping really waits, but briefly."""

    def __init__(self, pace: float) -> None:
        self._pace = pace
        self._began = time.monotonic()
        self._start = datetime(2026, 1, 5, 12, tzinfo=UTC)

    def utc_now(self) -> datetime:
        return self._start + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return (time.monotonic() - self._began) * self._pace

    async def sleep(self, secs: float) -> None:
        await asyncio.sleep(secs / self._pace)


@asynccontextmanager
async def bot_in(
    directory: Path, *, pace: float = 50.0, cycle_secs: float = 1.0, **lab: Any
) -> AsyncIterator[tuple[Bot, list[Event]]]:
    """A bot on emulators and what it records, in time that flies."""
    base, seen = Config(), list[Event]()
    config = replace(
        base,
        bot=BotSection(data_dir=str(directory), seed=3, cycle_secs=cycle_secs),
        exchange=replace(base.exchange, speed=10.0),
        ladder=replace(base.ladder, dwell_secs=30.0),
        lab=LabSection(emulate=True, control_port=0, latency_scale=0.0, **lab),
    )
    async with build(config, clock=HastyClock(pace), watch=seen.append) as bot:
        yield bot, seen


async def until(seen: list[Event], kind: type[Event], count: int = 1) -> None:
    """Wait until so many events of a kind are on record."""
    for _ in range(int(WAIT_SECS / 0.01)):
        if sum(isinstance(event, kind) for event in seen) >= count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"no {count} events of {kind.__name__} within {WAIT_SECS} s")


def loops() -> set[asyncio.Task[Any]]:
    """Every task but those of the emulators, which keep connections open until they are stopped."""
    return {task for task in asyncio.all_tasks() if "RequestHandler" not in repr(task.get_coro())}


def of(seen: list[Event], kind: type[Any]) -> list[Any]:
    return [event for event in seen if isinstance(event, kind)]


class TestRuns:
    async def test_a_bounded_run_ends_by_itself_and_is_on_record(self, tmp_path: Path) -> None:
        """Three cycles and no more, between a row of who started and a row of why it stopped."""
        async with bot_in(tmp_path) as (bot, seen):
            before = loops()
            await asyncio.wait_for(Supervisor(bot, cycles=3).run(), WAIT_SECS)
            assert loops() <= before
        assert [event.cycle for event in of(seen, CycleFinished)] == [1, 2, 3]
        assert isinstance(seen[0], RunStarted)
        assert isinstance(seen[-1], RunStopped)
        assert (seen[0].version, seen[0].pid, seen[0].seed) == (__version__, os.getpid(), 3)
        assert seen[0].simulated == ("exchange", "providers")
        assert "SIMULATED" in seen[0].exchange
        assert seen[-1].reason == "3 cycles done"

    async def test_it_says_how_it_is_while_it_runs(self, tmp_path: Path) -> None:
        """A file tells other processes of the present, and another of the past, without asking the bot."""
        async with bot_in(tmp_path, pace=100.0) as (bot, _), asyncio.timeout(WAIT_SECS):
            run = asyncio.create_task(Supervisor(bot).run())
            while (present := live.read(tmp_path)) is None or present.status.active_route is None:  # noqa: ASYNC110 (a file has no event)
                await asyncio.sleep(0.02)
            assert (present.pid, present.simulated) == (os.getpid(), ("exchange", "providers"))
            assert {report.route for report in present.status.routes} == set(bot.fallback.core.health.records)
            while not (tmp_path / "history.db").exists():  # noqa: ASYNC110 (a file has no event)
                await asyncio.sleep(0.02)
            run.cancel()
            with suppress(asyncio.CancelledError):
                await run
        past = HistoryFile(tmp_path / "journal.db").past(datetime(2026, 1, 5, tzinfo=UTC))
        assert sum(span.tally.cycles for span in past.spans) == bot.cycle.cycles

    async def test_it_stops_when_told_and_says_who_told_it(self, tmp_path: Path) -> None:
        """Asked to stop, it finishes the cycle under way, ends without an error and records the reason."""
        async with bot_in(tmp_path) as (bot, seen):
            supervisor = Supervisor(bot)
            run = asyncio.create_task(supervisor.run())
            await until(seen, CycleFinished, 2)
            supervisor.stop("signal SIGTERM")
            await asyncio.wait_for(run, WAIT_SECS)
        [stopped] = of(seen, RunStopped)
        assert stopped.reason == "signal SIGTERM"

    async def test_a_stop_does_not_wait_for_the_next_cycle(self, tmp_path: Path) -> None:
        """In the pause between two cycles a stop is heard at once, however long the pause."""
        async with bot_in(tmp_path, pace=1.0, cycle_secs=3_600.0) as (bot, seen):
            supervisor = Supervisor(bot)
            run = asyncio.create_task(supervisor.run())
            await until(seen, CycleFinished)
            supervisor.stop("enough")
            await asyncio.wait_for(run, WAIT_SECS)
        assert len(of(seen, CycleFinished)) == 1
        assert of(seen, RunStopped)[0].reason == "enough"

    async def test_told_before_it_began_it_does_nothing(self, tmp_path: Path) -> None:
        """A stop that comes first is still a stop: no cycle runs."""
        async with bot_in(tmp_path) as (bot, seen):
            supervisor = Supervisor(bot)
            supervisor.stop("changed my mind")
            await asyncio.wait_for(supervisor.run(), WAIT_SECS)
        assert of(seen, CycleFinished) == []
        assert of(seen, RunStopped)[0].reason == "changed my mind"

    async def test_a_cancelled_run_is_cancelled_and_on_record(self, tmp_path: Path) -> None:
        """Cancelling the run ends every loop; it ends as cancelled, not as an error of some other kind."""
        async with bot_in(tmp_path) as (bot, seen):
            before = loops()
            run = asyncio.create_task(Supervisor(bot).run())
            await until(seen, CycleFinished)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert loops() <= before
        assert of(seen, RunStopped)[0].reason == "cancelled"

    async def test_cycles_keep_their_distance(self, tmp_path: Path) -> None:
        """The pause fills what a cycle leaves of its interval: starts do not come in a burst."""
        async with bot_in(tmp_path, pace=1.0, cycle_secs=0.2) as (bot, seen):
            await asyncio.wait_for(Supervisor(bot, cycles=4).run(), WAIT_SECS)
        first, *_, last = of(seen, CycleFinished)
        assert (last.at - first.at).total_seconds() > 0.3


class TestHelpers:
    async def test_recovery_probes_run_beside_the_cycles(self, tmp_path: Path) -> None:
        """While the bot trades, idle routes are probed, and an outage ends without anybody's help."""
        async with bot_in(tmp_path, pace=80.0) as (bot, seen):
            assert bot.fleet is not None
            await bot.fleet.set_fault("all", "refuse")
            supervisor = Supervisor(bot)
            run = asyncio.create_task(supervisor.run())
            await until(seen, ProbeSent, 8)
            assert bot.fallback.mode is EmergencyMode.MINIMAL
            await bot.fleet.clear_faults("all")
            for _ in range(int(3 * WAIT_SECS / 0.01)):
                if bot.fallback.mode is EmergencyMode.NORMAL:
                    break
                await asyncio.sleep(0.01)
            assert bot.fallback.mode is EmergencyMode.NORMAL
            supervisor.stop("well again")
            await asyncio.wait_for(run, WAIT_SECS)
        assert any(event.healthy for event in of(seen, ProbeSent))

    @pytest.mark.parametrize("helper", ["check_recovery", "cycle"])
    async def test_an_error_in_any_loop_stops_the_run_and_is_raised(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, helper: str
    ) -> None:
        """A loop that breaks takes the others with it; the error comes out, and the journal names it."""
        async with bot_in(tmp_path) as (bot, seen):

            async def fail() -> None:
                await asyncio.sleep(0.05)
                raise LookupError("a bug of ours")

            if helper == "cycle":
                monkeypatch.setattr(bot.cycle, "run_once", fail)
            else:
                monkeypatch.setattr(bot.fallback, "check_recovery", fail)
            before = loops()
            with pytest.raises(ExceptionGroup) as caught:
                await asyncio.wait_for(Supervisor(bot).run(), WAIT_SECS)
            assert loops() <= before
        assert caught.group_contains(LookupError, match="a bug of ours")
        assert of(seen, RunStopped)[0].reason == "LookupError: a bug of ours"

    async def test_the_opening_shows_an_outage_and_a_total_one(self, tmp_path: Path) -> None:
        """With weather on xAI fails within half a minute, then all do, and the journal says it was made."""
        async with bot_in(tmp_path, pace=500.0, weather=True) as (bot, seen):
            supervisor = Supervisor(bot)
            run = asyncio.create_task(supervisor.run())
            await until(seen, FaultInjected, 6)
            supervisor.stop("seen enough")
            await asyncio.wait_for(run, WAIT_SECS)
        injected = [(event.provider, event.fault) for event in of(seen, FaultInjected)][:6]
        assert injected[:2] == [("xai", "refuse"), ("xai", "clear")]
        assert {fault for _, fault in injected[2:]} == {"503"}
        assert len({provider for provider, _ in injected[2:]}) == 4

    async def test_without_weather_nothing_is_broken(self, tmp_path: Path) -> None:
        """With weather off a thousand seconds pass without an outage."""
        async with bot_in(tmp_path, pace=2_000.0, cycle_secs=100.0) as (bot, seen):
            began = bot.clock.monotonic()
            supervisor = Supervisor(bot)
            run = asyncio.create_task(supervisor.run())
            await bot.clock.sleep(1_000.0)
            supervisor.stop("a fine day")
            await asyncio.wait_for(run, WAIT_SECS)
            assert bot.clock.monotonic() - began >= 1_000.0
        assert of(seen, FaultInjected) == []
