"""Keeps a bot running until it is told to stop: cycles, recovery probes, news of the exchange, weather.

Crash-only: an error that nobody can mend stops the process, and the next start is the normal start.
"""

from __future__ import annotations

import asyncio
import os

from jurymast import __version__
from jurymast.app import live
from jurymast.app.alerts import AlertKeeper
from jurymast.app.arming import check_fit
from jurymast.app.canary import CanaryKeeper
from jurymast.app.desk import ControlDesk
from jurymast.app.firings import take_over_firings
from jurymast.app.keeping import keep_history, keep_probing, keep_weather
from jurymast.app.models import ModelKeeper
from jurymast.app.reload import Reloader, SettingsFile
from jurymast.app.systemd import Systemd
from jurymast.app.wiring import Bot
from jurymast.domain.events import RunStarted, RunStopped

NEWS_GAP_SECS = 2.0
"""Between two looks at the account because of news: reads are rationed."""


class Supervisor:
    """Runs the loops of one bot. ``cycles`` bounds the run, None runs until ``stop``. ``file`` is where its
    settings came from: what is tunable in it is taken over when it changes."""

    def __init__(self, bot: Bot, *, cycles: int | None = None, file: SettingsFile | None = None) -> None:
        self._bot = bot
        self._cycles = cycles
        self._stop = asyncio.Event()
        self._reason = "asked to stop"
        self._alerts = AlertKeeper(bot)
        self._file = file
        self._systemd = Systemd(
            bot.clock, progress=lambda: bot.cycle.cycles, quiet_secs=bot.config.cycle_secs_max
        )

    def stop(self, reason: str) -> None:
        """Finish the cycle that runs, then stop. Safe to call from a signal handler."""
        self._reason = reason
        self._stop.set()

    async def run(self) -> None:
        """Run to the end. Raises what stopped it, once everything else has been stopped."""
        bot, failed = self._bot, False
        await bot.recorder.record(
            RunStarted(
                at=bot.clock.utc_now(),
                version=__version__,
                pid=os.getpid(),
                seed=bot.config.bot.seed,
                exchange=bot.exchange.describe(),
                simulated=bot.simulated,
            )
        )
        try:
            await take_over_firings(bot)
            await check_fit(bot)
            async with asyncio.TaskGroup() as tasks:
                helpers = [
                    tasks.create_task(keep_probing(bot.fallback, bot.clock)),
                    tasks.create_task(bot.venue.listener.run()),
                    tasks.create_task(self._heed()),
                    tasks.create_task(self._learn()),
                    tasks.create_task(ControlDesk(bot).run()),
                    tasks.create_task(bot.heart.run()),
                    tasks.create_task(live.keep(bot)),
                    tasks.create_task(self._systemd.run()),
                    tasks.create_task(keep_history(bot.journal, bot.config, bot.clock)),
                    tasks.create_task(ModelKeeper(bot).run()),
                    tasks.create_task(CanaryKeeper(bot).run()),
                    tasks.create_task(self._alerts.run()),
                    tasks.create_task(bot.log.run()),
                    tasks.create_task(bot.tracer.run()),
                ]
                if self._file is not None:
                    helpers.append(tasks.create_task(Reloader(bot, self._file, self._retuned).run()))
                if bot.fleet is not None and bot.config.lab.weather:
                    weather = keep_weather(bot.fleet, bot.config.bot.seed, bot.clock)
                    helpers.append(tasks.create_task(weather))
                await self._cycle()
                for helper in helpers:
                    helper.cancel()
            await self._leave_in_order()
        except asyncio.CancelledError:
            self._reason = "cancelled"
            raise
        except (Exception, BaseExceptionGroup) as error:
            self._reason, failed = _cause(error), True
            raise
        finally:
            try:
                await bot.recorder.record(RunStopped(at=bot.clock.utc_now(), reason=self._reason))
            finally:
                await self._alerts.farewell(self._reason, failed=failed)

    async def _leave_in_order(self) -> None:
        """What rests goes with the bot. Only when that is proven is the watchdog told to stop watching."""
        bot = self._bot
        await bot.venue.stand_still()
        nothing_rests = bot.gateway.proven_clear(everything=False) or await bot.gateway.withdraw(
            "the bot stops"
        )
        await bot.cycle.square(closing=True)
        if nothing_rests:
            bot.heart.end()

    async def _cycle(self) -> None:
        bot = self._bot
        while not self._stop.is_set():
            started = bot.clock.monotonic()
            await bot.cycle.run_once()
            if self._cycles is not None and bot.cycle.cycles >= self._cycles:
                self._reason = f"{self._cycles} cycles done"
                return
            await self._pause(bot.config.bot.cycle_secs - (bot.clock.monotonic() - started))

    async def _pause(self, secs: float) -> None:
        try:
            async with asyncio.timeout(max(secs, 0.0)):
                await self._stop.wait()
        except TimeoutError:
            return

    async def _heed(self) -> None:
        """Look at the account when the exchange has news of it, not only once in a cycle."""
        while True:
            await self._bot.exchange.news()
            await self._bot.cycle.square()
            await self._bot.clock.sleep(NEWS_GAP_SECS)

    def _retuned(self) -> None:
        """Settings have changed: those who keep some of their own hear of it."""
        self._alerts.tune()
        self._systemd.quiet_secs = self._bot.config.cycle_secs_max

    async def _learn(self) -> None:
        """Find out what became of the markets that models gave forecasts of."""
        while True:
            await self._bot.clock.sleep(self._bot.config.quality.look_secs)
            await self._bot.outcomes.look()


def _cause(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
