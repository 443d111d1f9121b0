"""A narrated minute: healthy, xAI out, everything out, emergency, recovery. All of it SIMULATED.

Time is virtual and moves a step per cycle, providers are asked one after the other, and faults are set
by phase, so one seed and one version of the program always tell the same story.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jurymast.app.config import Config, FailoverSection, LadderSection
from jurymast.app.staging import CASH_USD, CYCLE_SECS, staged
from jurymast.app.wiring import Bot, build
from jurymast.domain.decision import Rung
from jurymast.domain.events import (
    CycleFinished,
    DecisionAbstained,
    DecisionMade,
    Event,
    FailedOver,
    ModeChanged,
    OrderIntended,
)
from jurymast.domain.money import USD
from jurymast.domain.order import Purpose
from jurymast.domain.probability import brier
from jurymast.domain.provider import ProviderName
from jurymast.domain.status import EmergencyMode
from jurymast.exchange.questions import load_bundle
from jurymast.testing.clock import FakeClock

START = datetime(2026, 1, 5, 12, tzinfo=UTC)
RECOVERY_CYCLES_MAX = 30


@dataclass(frozen=True, slots=True)
class Phase:
    """One act. ``faults`` are (provider, fault); ``until_recovered`` plays on until all is as before."""

    title: str
    story: str
    faults: tuple[tuple[str, str], ...]
    cycles: int
    until_recovered: bool = False


PHASES = (
    Phase("healthy", "All four providers answer; xAI, the first by priority, is asked.", (), 4),
    Phase("xAI is down", "xAI answers every request with 503.", (("xai", "503"),), 4),
    Phase("everything is down", "Every provider refuses connections.", (("all", "refuse"),), 4),
    Phase("recovery", "Every provider is back. Nobody touches the bot.", (), RECOVERY_CYCLES_MAX, True),
)


@dataclass(slots=True)
class DemoReport:
    """What the demo came to. ``simulated`` is always true: no real provider, market or money is touched."""

    seed: int
    decisions_by_rung: Counter[str] = field(default_factory=Counter)
    decisions_by_provider: Counter[str] = field(default_factory=Counter)
    failovers: list[str] = field(default_factory=list)
    mode_changes: list[str] = field(default_factory=list)
    orders: int = 0
    entries_in_emergency: int = 0
    fills: int = 0
    duplicate_orders: int = 0
    pnl_micros: int = 0
    final_mode: str = ""
    forecasts: list[tuple[float, float, bool]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The report as one JSON object."""
        scored = len(self.forecasts)
        return {
            "simulated": True,
            "seed": self.seed,
            "decisions_by_rung": {rung.value: self.decisions_by_rung[rung] for rung in Rung},
            "decisions_by_provider": dict(sorted(self.decisions_by_provider.items())),
            "failovers": self.failovers,
            "mode_changes": self.mode_changes,
            "final_mode": self.final_mode,
            "orders": self.orders,
            "entries_in_emergency": self.entries_in_emergency,
            "fills": self.fills,
            "duplicate_orders": self.duplicate_orders,
            "pnl_usd": round(self.pnl_micros / USD, 2),
            "brier": _mean([brier(ours, outcome) for ours, _, outcome in self.forecasts]),
            "brier_market": _mean([brier(market, outcome) for _, market, outcome in self.forecasts]),
            "forecasts_scored": scored,
        }


class Demo:
    """Plays the phases. ``tell`` gets each phase as it begins, ``watch`` every event."""

    def __init__(
        self,
        seed: int,
        *,
        pace_secs: float,
        tell: Callable[[Phase], None] = lambda _: None,
        watch: Callable[[Event], None] = lambda _: None,
    ) -> None:
        self._pace_secs = pace_secs
        self._tell = tell
        self._watch = watch
        self._report = DemoReport(seed)
        self._ids: Counter[str] = Counter()
        self._outcomes = {question.ticker: question.outcome for question in load_bundle()}
        self._mode = EmergencyMode.NORMAL

    async def run(self) -> DemoReport:
        """Play from beginning to end in a directory that is gone afterwards."""
        with tempfile.TemporaryDirectory(prefix="jurymast-demo-") as directory:
            clock = FakeClock(START)
            config = demo_config(Path(directory), self._report.seed, self._pace_secs)
            async with build(config, clock=clock, watch=self._note, concurrency_max=1, ticking=False) as bot:
                for phase in PHASES:
                    await self._play(phase, bot, clock)
                await self._settle(bot)
        return self._report

    async def _play(self, phase: Phase, bot: Bot, clock: FakeClock) -> None:
        house = bot.venue.house
        assert bot.fleet is not None  # noqa: S101 (narrowing: the demo always emulates)
        assert house is not None  # noqa: S101 (and always embeds)
        self._tell(phase)
        await bot.fleet.clear_faults("all")
        for provider, fault in phase.faults:
            await bot.fleet.set_fault(provider, fault)
        for _ in range(phase.cycles):
            await bot.fallback.check_recovery()
            house.tick()
            await bot.cycle.run_once()
            clock.advance(CYCLE_SECS)
            if self._pace_secs:
                await asyncio.sleep(self._pace_secs)
            if phase.until_recovered and self._recovered(bot):
                return

    @staticmethod
    def _recovered(bot: Bot) -> bool:
        """Normal again, and the first provider answers again."""
        active = bot.client.get_system_status().active_route
        first = bot.fallback.get_best_provider()
        primary = active is not None and active.provider is first is ProviderName.XAI
        return bot.fallback.mode is EmergencyMode.NORMAL and primary

    async def _settle(self, bot: Bot) -> None:
        """Orders as the exchange counts them, against intents as the journal has them."""
        fills = await bot.exchange.list_fills()
        placed = {fill.client_order_id for fill in fills}
        self._report.duplicate_orders = sum(n - 1 for n in self._ids.values() if n > 1) + len(
            placed - self._ids.keys()
        )
        self._report.fills = len(fills)
        self._report.final_mode = bot.fallback.mode.value

    def _note(self, event: Event) -> None:
        report = self._report
        match event:
            case DecisionMade(decision=decision):
                report.decisions_by_rung[decision.rung] += 1
                if decision.cached is None:  # else it was said before, and scored then
                    report.decisions_by_provider[decision.provider.value] += 1
                    outcome = self._outcomes[decision.ticker]
                    market = decision.market_price / USD
                    report.forecasts.append((decision.forecast.probability, market, outcome))
            case DecisionAbstained(abstain=abstain):
                report.decisions_by_rung[abstain.rung] += 1
            case FailedOver(from_route=source, to_route=target):
                report.failovers.append(f"{source or 'nobody'} -> {target or 'nobody'}")
            case ModeChanged(old=old, new=new):
                self._mode = new
                report.mode_changes.append(f"{old} -> {new}")
            case OrderIntended(intent=intent):
                report.orders += 1
                self._ids[intent.client_order_id] += 1
                emergency = self._mode.severity >= EmergencyMode.MINIMAL.severity
                report.entries_in_emergency += emergency and intent.purpose is Purpose.ENTRY
            case CycleFinished(equity=equity):
                report.pnl_micros = equity - CASH_USD * USD
            case _:
                pass
        self._watch(event)


def demo_config(directory: Path, seed: int, pace_secs: float) -> Config:
    """A configuration whose times fit a story of about forty cycles of half a minute."""
    config = staged(
        directory,
        seed,
        speed=60.0,  # opinions count for two hours: four cycles, and those of before are to be seen in use
        failover=FailoverSection(probe_idle_secs=120.0, hedge_secs_min=1.5),
        latency_scale=0.01 if pace_secs == 0 else 0.05,
    )
    return replace(config, ladder=LadderSection(dwell_secs=60.0))


def _mean(values: list[float]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None
