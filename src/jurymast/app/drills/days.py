"""The game days: what is broken, what must come of it, and within which limits.

A day says when it is *safe* (somebody else answers, or nothing new is risked and nothing rests). It is
*back* with NORMAL, trading, and the first provider first. The limits are those of the policies at their
settings for real use: a failure opens a route within two decisions, modes fall within a look, and climb by
their dwell.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from jurymast.app.config import Config
from jurymast.app.drills.grading import Check, Condition, Limits, Look, Seen
from jurymast.app.drills.stage import Stage
from jurymast.domain.events import (
    DemandsChanged,
    EntriesWithdrawn,
    Event,
    ModeChanged,
    OrderIntended,
    RouteChanged,
    StateChanged,
    WithdrawalDelayed,
)
from jurymast.domain.order import Purpose
from jurymast.domain.provider import ProviderName
from jurymast.domain.status import EmergencyMode, TradingState
from jurymast.policy.demands import StateDemand, with_state

MINUTE: Final = 60.0
HOUR: Final = 3_600.0
WARM_SECS: Final = 2.5 * MINUTE
"""Before the trouble: every provider has answered, something is held."""
BACK_SECS_MAX: Final = 2 * HOUR
"""Longer than this no day waits for its end."""
RESTING: Final = 20
MANY_RESTING: Final = 200
REFUSED: Final = 12


@dataclass(frozen=True, slots=True)
class Day:
    """One game day."""

    name: str
    story: str
    play: Callable[[Stage], Awaitable[None]]
    limits: Limits
    safe: Condition
    signs: tuple[type[Event], ...] = (RouteChanged, ModeChanged, StateChanged)
    adjust: Callable[[Config], Config] = lambda config: config
    also: Callable[[Seen], list[Check]] = lambda _: []


def is_back(look: Look) -> bool:
    """All is as before."""
    normal = look.mode is EmergencyMode.NORMAL and look.state is TradingState.ACTIVE
    return normal and look.first is ProviderName.XAI


def _elsewhere(look: Look) -> bool:
    """Another provider answers, and the mode has stayed."""
    return look.mode is EmergencyMode.NORMAL and look.answering not in {None, ProviderName.XAI}


def _careful(look: Look) -> bool:
    return look.mode.severity >= EmergencyMode.CONSERVATIVE.severity and not look.resting


def _no_new_risk(look: Look) -> bool:
    return look.mode.severity >= EmergencyMode.CACHED.severity and not look.resting


def _nothing_at_all(look: Look) -> bool:
    return look.mode.severity >= EmergencyMode.MINIMAL.severity and not look.resting


def _suspended(look: Look) -> bool:
    return look.mode.severity >= EmergencyMode.SUSPENDED.severity and not look.resting


def _halted(look: Look) -> bool:
    return look.state is TradingState.HALTED and not look.resting


# What is played


async def _out(
    stage: Stage, faults: Mapping[str, str], secs: float, *, laid_out: int = 0, cycle_secs: float = 0.0
) -> None:
    await stage.run(WARM_SECS)
    await stage.lay_out(laid_out)
    stage.trouble()
    for provider, fault in faults.items():
        await stage.strike(provider, fault)
    await stage.run(secs, cycle_secs=cycle_secs)
    await stage.heal()
    stage.over()
    await stage.run(BACK_SECS_MAX, until=is_back)


def _outage(
    faults: Mapping[str, str], secs: float, *, laid_out: int = 0, cycle_secs: float = 0.0
) -> Callable[[Stage], Awaitable[None]]:
    async def play(stage: Stage) -> None:
        await _out(stage, faults, secs, laid_out=laid_out, cycle_secs=cycle_secs)

    return play


async def _flapping(stage: Stage) -> None:
    await stage.run(WARM_SECS)
    stage.trouble()
    for _ in range(15):
        await stage.strike("all", "503")
        await stage.run(MINUTE)
        await stage.heal()
        await stage.run(MINUTE)
    stage.over()
    await stage.run(BACK_SECS_MAX, until=is_back)


async def _money_gone(stage: Stage) -> None:
    """The day's money is spent by the questions themselves; positions are then worked down by hand."""
    await stage.run(2 * MINUTE)
    await stage.lay_out(RESTING)
    stage.trouble()
    await stage.run(15 * MINUTE, until=_nothing_at_all)
    _demand(stage, StateDemand("drill: sell without a model", stage.clock.utc_now(), work_down=True))
    await stage.run(15 * MINUTE)
    _release(stage)
    stage.clock.advance(24 * HOUR)  # a new day brings new money
    stage.over()
    await stage.run(BACK_SECS_MAX, until=is_back)


async def _halt_in_a_storm(stage: Stage) -> None:
    await stage.run(WARM_SECS)
    for _ in range(2):  # all at once would be three times the planned rate, which kills
        await stage.lay_out(MANY_RESTING // 2)
        await stage.run(MINUTE)
    await _halted_while(stage, "429", 2 * MINUTE, times=REFUSED)


async def _halt_in_a_pause(stage: Stage) -> None:
    """In an exchange pause not even cancels are taken; what rests was told to go with the pause."""
    await stage.run(WARM_SECS)
    await stage.lay_out(RESTING)
    await _halted_while(stage, "exchange_pause", 3 * MINUTE)


async def _halted_while(stage: Stage, fault: str, secs: float, times: int | None = None) -> None:
    stage.trouble()
    stage.exchange_desk.set_fault(fault, times=times)
    _demand(stage, StateDemand("drill", stage.clock.utc_now(), floor=TradingState.HALTED))
    await stage.run(secs)
    stage.exchange_desk.clear()
    await stage.run(2 * MINUTE)
    stage.over()
    _release(stage)
    await stage.run(BACK_SECS_MAX, until=is_back)


async def _crash_before_cancel(stage: Stage) -> None:
    """The process dies when the safer mode is on record and nothing has been cancelled yet."""
    await stage.run(WARM_SECS)
    await stage.lay_out(RESTING)
    stage.trouble()
    stage.dies_at = lambda event: (
        isinstance(event, ModeChanged) and event.new.severity >= EmergencyMode.CACHED.severity
    )
    await stage.strike("all", "refuse")
    await stage.run(5 * MINUTE)
    await stage.heal()
    stage.over()
    await stage.run(BACK_SECS_MAX, until=is_back)


def _exchange(
    fault: str, secs: float, value: str | float | None = None
) -> Callable[[Stage], Awaitable[None]]:
    async def play(stage: Stage) -> None:
        await stage.run(WARM_SECS)
        await stage.lay_out(RESTING)
        stage.trouble()
        stage.exchange_desk.set_fault(fault, value=value)
        await stage.run(secs)
        stage.exchange_desk.clear()
        await stage.run(MINUTE)
        stage.over()
        await stage.run(BACK_SECS_MAX, until=is_back)

    return play


def _demand(stage: Stage, demand: StateDemand) -> None:
    stage.bot.control.change(lambda demands: with_state(demands, demand))


def _release(stage: Stage) -> None:
    stage.bot.control.resume("drill over")


def _little_money(config: Config) -> Config:
    return replace(config, failover=replace(config.failover, budget_usd_per_day=0.05))


def _sold(seen: Seen) -> list[Check]:
    sales = sum(
        isinstance(event, OrderIntended) and event.intent.purpose is Purpose.EXIT
        for at, event in seen.events
        if seen.trouble_at < at <= seen.over_at
    )
    return [Check("positions sold without a model", f"{sales} orders", "at least 1", sales > 0)]


_BY_HAND: Final = (DemandsChanged, StateChanged, EntriesWithdrawn, WithdrawalDelayed)

DAYS: Final = (
    Day(
        "first-down", "xAI answers everything with 503 for ten minutes.",
        _outage({"xai": "503"}, 10 * MINUTE, laid_out=RESTING),
        Limits(detect_secs=35, safe_secs=35, back_secs=6 * MINUTE, risk_bp_max=None, resting_max=None),
        safe=_elsewhere,
    ),
    Day(
        "first-silent", "xAI takes every question and never answers, for ten minutes.",
        _outage({"xai": "hang"}, 10 * MINUTE, laid_out=RESTING),
        Limits(detect_secs=65, safe_secs=35, back_secs=6 * MINUTE, risk_bp_max=None, resting_max=None),
        safe=_elsewhere,
    ),
    Day(
        "clouds-down", "All three clouds refuse connections for ten minutes; the local model answers.",
        _outage({"xai": "refuse", "openai": "refuse", "anthropic": "refuse"}, 10 * MINUTE, laid_out=RESTING),
        Limits(detect_secs=35, safe_secs=65, back_secs=12 * MINUTE, risk_bp_max=100),
        safe=_careful,
    ),
    Day(
        "everything-down", "Every provider refuses connections for twenty minutes, with entries resting.",
        _outage({"all": "refuse"}, 20 * MINUTE, laid_out=RESTING),
        Limits(detect_secs=35, safe_secs=65, back_secs=14 * MINUTE, risk_bp_max=100),
        safe=_no_new_risk,
    ),
    Day(
        "long-night", "Every provider refuses connections for more than four hours.",
        _outage({"all": "refuse"}, 4.5 * HOUR, laid_out=RESTING, cycle_secs=5 * MINUTE),
        Limits(detect_secs=5 * MINUTE, safe_secs=4 * HOUR + 10 * MINUTE, back_secs=45 * MINUTE),
        safe=_suspended,
    ),
    Day(
        "flapping", "Every provider is away for a minute and back for a minute, fifteen times.",
        _flapping,
        Limits(detect_secs=35, safe_secs=15 * MINUTE, back_secs=75 * MINUTE, risk_bp_max=100),
        safe=_careful,
    ),
    Day(
        "model-swap", "xAI's answers come from a model that nobody asked for, for ten minutes.",
        _outage({"xai": "swapped_model"}, 10 * MINUTE, laid_out=RESTING),
        Limits(detect_secs=40, safe_secs=70, back_secs=8 * MINUTE, risk_bp_max=100),
        safe=_careful, signs=(ModeChanged,),
    ),
    Day(
        "money-gone", "The day's AI money is spent with positions open; they are then worked down by rule.",
        _money_gone,
        Limits(detect_secs=10 * MINUTE, safe_secs=15 * MINUTE, back_secs=20 * MINUTE),
        safe=_nothing_at_all, signs=(ModeChanged,), adjust=_little_money, also=_sold,
    ),
    Day(
        "halt-in-a-storm", "Halted by hand with 200 entries resting; the exchange refuses twelve requests.",
        _halt_in_a_storm,
        Limits(detect_secs=20, safe_secs=30, back_secs=5 * MINUTE),
        safe=_halted, signs=_BY_HAND,
    ),
    Day(
        "halt-in-a-pause", "Halted by hand while the exchange is paused and takes no cancels.",
        _halt_in_a_pause,
        Limits(detect_secs=20, safe_secs=35, back_secs=45 * MINUTE),
        safe=_halted, signs=_BY_HAND,
    ),
    Day(
        "crash-before-cancel", "The process dies with the safer mode on record and no cancel sent.",
        _crash_before_cancel,
        Limits(detect_secs=35, safe_secs=70, back_secs=14 * MINUTE, risk_bp_max=100),
        safe=_no_new_risk,
    ),
    Day(
        "exchange-away", "The exchange answers nothing but 503 for five minutes, with entries resting.",
        _exchange("unavailable", 5 * MINUTE),
        Limits(detect_secs=35, safe_secs=6 * MINUTE, back_secs=45 * MINUTE),
        safe=_suspended, signs=(ModeChanged, StateChanged),
    ),
    Day(
        "exchange-changed", "The exchange's balance lacks the field that it always had, for five minutes.",
        _exchange("missing_field", 5 * MINUTE, "balance"),
        Limits(detect_secs=35, safe_secs=65, back_secs=45 * MINUTE),
        safe=_suspended, signs=(ModeChanged, StateChanged),
    ),
    Day(
        "clock-off", "Our clock and the exchange's are 45 seconds apart, for five minutes.",
        _exchange("clock_skew", 5 * MINUTE, 45),
        Limits(detect_secs=35, safe_secs=65, back_secs=45 * MINUTE),
        safe=_suspended, signs=(ModeChanged, StateChanged),
    ),
)  # fmt: skip
