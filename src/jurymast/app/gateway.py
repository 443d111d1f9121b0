"""The AI layer alone, for other programs: no exchange, no orders, the same judgement of providers.

It keeps a journal like a bot's, so that status, spending, reports and the page tell of it too.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from jurymast import __version__
from jurymast.app.config import Config
from jurymast.app.control import ControlFile
from jurymast.app.desk import LOOK_SECS, carry_out, left_behind
from jurymast.app.keeping import keep_history, keep_probing, keep_weather
from jurymast.app.redaction import Redactor
from jurymast.app.traces import Tracer
from jurymast.app.wiring import emulators, judgement, prepare, provider_configs, questions_of
from jurymast.domain.events import DemandsChanged, Event, RunStarted, RunStopped
from jurymast.exchange.paths import PricePath
from jurymast.intelligence.enhanced_client import EnhancedAIClient
from jurymast.journal.sqlite import SqliteJournal
from jurymast.lab.emulators.fleet import EmulatorFleet
from jurymast.lab.world import QuestionOracle
from jurymast.policy.demands import sentences
from jurymast.ports import Clock

NO_EXCHANGE: Final = "no exchange: a gateway"


@dataclass(slots=True)
class Layer:
    """The AI layer with its memory. ``fleet`` is None when real providers are asked."""

    config: Config
    clock: Clock
    journal: SqliteJournal
    client: EnhancedAIClient
    fleet: EmulatorFleet | None
    emit: Callable[[Event], None]
    tracer: Tracer

    async def keep(self) -> None:
        """Probe, heed what people demand and write history, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(keep_probing(self.client.fallback_manager, self.clock))
            tasks.create_task(self._heed())
            tasks.create_task(keep_history(self.journal, self.config, self.clock))
            tasks.create_task(self.tracer.run())
            if self.fleet is not None and self.config.lab.weather:
                tasks.create_task(keep_weather(self.fleet, self.config.bot.seed, self.clock))

    async def _heed(self) -> None:
        control = ControlFile(self.config.data_dir, self.clock)
        judge, now = self.client.fallback_manager, self.clock.utc_now()
        applied = left_behind(judge, self.config.journal_path, control.demands(), now)
        while True:
            demands, now = control.demands(), self.clock.utc_now()
            if demands != applied:
                before, applied = applied, demands
                if (told := sentences(demands, now)) != sentences(before, now):
                    self.emit(DemandsChanged(at=now, serial=demands.serial, demands=told))
                await carry_out(judge, before, demands, now)
            await self.clock.sleep(LOOK_SECS)


@asynccontextmanager
async def layer(
    config: Config, *, clock: Clock, watch: Callable[[Event], None] = lambda _: None
) -> AsyncIterator[Layer]:
    """Put the AI layer together on a data directory of its own. ``watch`` sees every event.

    Raises ConfigError when no provider can be asked, JournalError when another program has the directory.
    """
    prepare(config.data_dir)
    async with AsyncExitStack() as stack:
        journal = SqliteJournal.open(config.journal_path, clock=clock)
        stack.push_async_callback(journal.close)

        tracer = Tracer(config.traces, clock, Redactor(config))

        def emit(event: Event) -> None:
            journal.post(event)
            tracer.saw(event)
            watch(event)

        fleet = None
        if config.lab.emulate:
            oracle = QuestionOracle(questions_of(config), PricePath(config.bot.seed))
            fleet = await emulators(config, oracle, clock, emit, stack)
        client = await stack.enter_async_context(
            judgement(config, provider_configs(config, fleet), journal, clock=clock, emit=emit)
        )
        simulated = () if fleet is None else ("providers",)
        started = RunStarted(
            at=clock.utc_now(), version=__version__, pid=os.getpid(), seed=config.bot.seed,
            exchange=NO_EXCHANGE, simulated=simulated,
        )  # fmt: skip
        await journal.append(started)
        try:
            yield Layer(config, clock, journal, client, fleet, emit, tracer)
        finally:
            await journal.append(RunStopped(at=clock.utc_now(), reason="asked to stop"))
