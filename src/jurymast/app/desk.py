"""Where the demands of people meet the running bot: taken over within a second, journalled, carried out.

Safety first: what may not rest is taken back before anything is written about it. The doors are those that
a program has as well: ``enable_emergency_mode``, ``isolate_provider``, ``initiate_failover`` and so on.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from jurymast.app.wiring import Bot
from jurymast.domain.events import DemandsChanged, ModeChanged
from jurymast.domain.status import EmergencyMode, RouteState
from jurymast.intelligence.fallback_manager import FallbackManager
from jurymast.journal.queries import JournalReader
from jurymast.policy.demands import NONE, Demand, Demands, FlattenDemand, sentences
from jurymast.policy.liquidation import Sale, Unsold
from jurymast.watch.files import replace_file

LOOK_SECS: Final = 0.25
"""Between two looks at what people demand."""
FLATTEN_SECS: Final = 2.0
"""Between two slices of a flattening."""
BY_HAND: Final = "by hand: "
"""Begins the reason of what the desk did, so that the next run knows whose it was."""


class Preview(msgspec.Struct, frozen=True):
    """What a flattening would sell now, for whoever asked under ``flatten_id``."""

    flatten_id: str
    sales: list[Sale]
    unsold: list[Unsold]


class ControlDesk:
    """Carries out demands, for one run of a bot."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._applied: Demands | None = None
        self._previewed = ""
        self._sell_at = float("-inf")

    async def look(self) -> None:
        """Carry out what is demanded now. Raises JournalUnwritable, after resting orders are gone."""
        bot, demands = self._bot, self._bot.control.demands()
        await bot.cycle.guard.look()
        if self._applied is None:
            self._applied = left_behind(bot.fallback, bot.config.journal_path, demands, bot.clock.utc_now())
        if demands != self._applied:
            before, self._applied = self._applied, demands
            await self._apply(before, demands)
        if demands.flatten is not None:
            await self._flatten(demands.flatten)

    async def run(self) -> None:
        """Look again and again."""
        while True:
            await self.look()
            await self._bot.clock.sleep(LOOK_SECS)

    async def _apply(self, before: Demands, demands: Demands) -> None:
        bot = self._bot
        now = bot.clock.utc_now()
        told = sentences(demands, now)
        if told != sentences(before, now):
            await bot.recorder.record(DemandsChanged(at=now, serial=demands.serial, demands=told))
        await carry_out(bot.fallback, before, demands, now)
        await bot.cycle.guard.look()

    async def _flatten(self, flatten: FlattenDemand) -> None:
        bot = self._bot
        if self._previewed != flatten.flatten_id:
            sales, unsold = await bot.liquidator.preview()
            body = msgspec.json.encode(Preview(flatten.flatten_id, sales, unsold))
            replace_file(bot.config.preview_path, msgspec.json.format(body, indent=2))
            self._previewed = flatten.flatten_id
        if not flatten.confirmed or bot.clock.monotonic() < self._sell_at:
            return
        self._sell_at = bot.clock.monotonic() + FLATTEN_SECS
        await bot.liquidator.sell()
        if bot.cycle.reconciled and not bot.portfolio.positions:
            bot.control.change(lambda demands: replace(demands, flatten=None))


def left_behind(judgement: FallbackManager, journal_path: Path, demands: Demands, now: datetime) -> Demands:
    """What an earlier run did by hand and its journal has kept: isolated providers, the end of KILLED."""
    isolated = {
        record.route.provider: Demand(record.health.reason, now)
        for record in judgement.core.health.records.values()
        if record.health.state is RouteState.ISOLATED and record.health.reason.startswith(BY_HAND)
    }
    lifted = demands.lifted
    with JournalReader(journal_path) as journal:
        changed = journal.last(ModeChanged)
    if changed is not None and lifted is not None and lifted.at > changed.at:
        lifted = None  # said while no bot ran, of the mode that this one was left in: to be carried out
    return replace(NONE, isolated=isolated, lifted=lifted)


async def carry_out(judgement: FallbackManager, before: Demands, demands: Demands, now: datetime) -> None:
    """What demands mean for judgement: modes, isolated and preferred providers."""
    if (mode := demands.mode) != before.mode:
        if mode is None:
            judgement.disable_emergency_mode()
        else:
            left = None if mode.until is None else mode.until - now
            judgement.enable_emergency_mode(mode.reason or "by hand", left, mode.mode)
    if demands.lifted is not None and demands.lifted != before.lifted:
        judgement.disable_emergency_mode(demands.lifted.reason)
    if (override := demands.override) != before.override:
        mode_then = EmergencyMode.NORMAL if override is None else override.mode
        until = now if override is None or override.until is None else override.until
        judgement.override_mode(mode_then, until - now)
    for name in demands.isolated.keys() - before.isolated.keys():
        judgement.isolate_provider(name, f"{BY_HAND}{demands.isolated[name].reason}")
    for name in before.isolated.keys() - demands.isolated.keys():
        judgement.restore_provider(name)
    if (preferred := demands.preferred) is not None and preferred != before.preferred:
        await judgement.initiate_failover(preferred.source, preferred.target, preferred.reason or "by hand")
