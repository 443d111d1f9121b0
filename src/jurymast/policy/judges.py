"""What evidence other than providers calls for: each judge gives a floor for the mode, and why.

| judge | looks at | CONSERVATIVE | MINIMAL | SUSPENDED | KILLED |
|---|---|---|---|---|---|
| budget | AI money of the day and the month | 80 % spent | spent, or can't be accounted for | | |
| answers | the last questions | another model than was asked answers; 5 % unanswered in time | | | |
| loss | the day's loss, of its cap | | 50 % | all of it | |
| data | prices, clock, wire | | | unread for 30 s, clock off by 1 s, schema drift | |
| orders | books and orders | | | mismatch, fate unknown 30 s, pause | 3x plan, 2x hard cap, a double |

The providers and the operator are judged in :mod:`.ladder`, which remembers; here nothing is remembered. The
safest floor wins. Evidence is whatever was last reported: a judge never waits, and time is no evidence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from jurymast.domain.status import EmergencyMode


@dataclass(frozen=True, slots=True)
class JudgeSettings:
    """Where each judge draws its lines. Shares of one, times in seconds, losses in basis points of equity."""

    budget_share_worrying: float = 0.8
    unanswered_share_max: float = 0.05
    loss_day_bp_max: int = 1_000
    loss_share_worrying: float = 0.5
    data_stale_secs_max: float = 30.0
    clock_skew_secs_max: float = 1.0
    unknown_secs_max: float = 30.0
    order_rate_max: float = 3.0
    hard_caps_max: float = 2.0


@dataclass(frozen=True, slots=True)
class Thinking:
    """What judgement has left, told by the AI layer.

    ``cached`` counts opinions of providers that are still worth something, ``budget_used`` is a share,
    ``unaccountable`` says why money can't be accounted for, ``swapped`` which model gave the last answer
    although another was asked. ``unanswered`` is the share of the last minutes' questions that nobody
    answered in time, 0 while they are too few to tell.
    """

    cached: int = 0
    budget_used: float = 0.0
    unaccountable: str = ""
    swapped: str = ""
    unanswered: float = 0.0


@dataclass(frozen=True, slots=True)
class Trading:
    """How well we know what we do, told by the trading rooms once a cycle.

    ``data_stale_secs`` is for how long the exchange has not been read, ``unknown_secs`` for how long the fate
    of an order has been unknown. ``order_rate`` and ``hard_caps`` are multiples of the plan and of the
    hard cap. ``mismatch``, ``schema_drift`` and ``doubled`` say what was wrong, empty for nothing.
    ``reconciled`` says that all books were compared and none differed.
    """

    reconciled: bool = False
    data_stale_secs: float = 0.0
    clock_skew_secs: float = 0.0
    schema_drift: str = ""
    loss_bp: int = 0
    mismatch: str = ""
    unknown_secs: float = 0.0
    paused: bool = False
    order_rate: float = 0.0
    hard_caps: float = 0.0
    doubled: str = ""


class Floor(NamedTuple):
    """The least safe mode that evidence leaves, and what it says."""

    mode: EmergencyMode = EmergencyMode.NORMAL
    reason: str = ""


def _budget(thinking: Thinking, _: Trading, settings: JudgeSettings) -> Floor:
    if thinking.unaccountable:
        return Floor(EmergencyMode.MINIMAL, f"AI money can't be accounted for: {thinking.unaccountable}")
    if thinking.budget_used >= 1.0:
        return Floor(EmergencyMode.MINIMAL, "the AI money is spent")
    if thinking.budget_used >= settings.budget_share_worrying:
        return Floor(EmergencyMode.CONSERVATIVE, f"{thinking.budget_used:.0%} of the AI money is spent")
    return Floor()


def _answers(thinking: Thinking, _: Trading, settings: JudgeSettings) -> Floor:
    if thinking.swapped:
        return Floor(EmergencyMode.CONSERVATIVE, thinking.swapped)
    if thinking.unanswered > settings.unanswered_share_max:
        late = f"{thinking.unanswered:.0%} of the last questions were not answered in time"
        return Floor(EmergencyMode.CONSERVATIVE, late)
    return Floor()


def _loss(_: Thinking, trading: Trading, settings: JudgeSettings) -> Floor:
    cap_bp = settings.loss_day_bp_max
    lost = f"{trading.loss_bp / 100:.1f} % of equity lost today, the cap is {cap_bp / 100:.1f} %"
    if trading.loss_bp >= cap_bp:
        return Floor(EmergencyMode.SUSPENDED, lost)
    if trading.loss_bp >= settings.loss_share_worrying * cap_bp:
        return Floor(EmergencyMode.MINIMAL, lost)
    return Floor()


def _data(_: Thinking, trading: Trading, settings: JudgeSettings) -> Floor:
    if trading.schema_drift:
        return Floor(EmergencyMode.SUSPENDED, f"the exchange speaks otherwise: {trading.schema_drift}")
    if trading.data_stale_secs > settings.data_stale_secs_max:
        return Floor(EmergencyMode.SUSPENDED, f"no market data for {trading.data_stale_secs:.0f} s")
    if abs(trading.clock_skew_secs) > settings.clock_skew_secs_max:
        return Floor(EmergencyMode.SUSPENDED, f"our clock is {trading.clock_skew_secs:+.1f} s off")
    return Floor()


def _orders(_: Thinking, trading: Trading, settings: JudgeSettings) -> Floor:
    if trading.doubled:
        return Floor(EmergencyMode.KILLED, f"an order is doubled: {trading.doubled}")
    if trading.order_rate > settings.order_rate_max:
        return Floor(EmergencyMode.KILLED, f"orders at {trading.order_rate:.1f}x the plan")
    if trading.hard_caps > settings.hard_caps_max:
        return Floor(EmergencyMode.KILLED, f"a position at {trading.hard_caps:.1f}x its hard cap")
    if trading.mismatch:
        return Floor(EmergencyMode.SUSPENDED, f"books differed: {trading.mismatch}")
    if trading.unknown_secs > settings.unknown_secs_max:
        return Floor(EmergencyMode.SUSPENDED, f"an order's fate unknown for {trading.unknown_secs:.0f} s")
    if trading.paused:
        return Floor(EmergencyMode.SUSPENDED, "the exchange is paused")
    return Floor()


Judge = Callable[[Thinking, Trading, JudgeSettings], Floor]
JUDGES: Final[tuple[Judge, ...]] = (_orders, _data, _loss, _budget, _answers)
NOT_TRADING: Final = Trading()
NOTHING_SPENT: Final = Thinking()


def safest(*floors: Floor) -> Floor:
    """The safest of these; the first of several alike."""
    return max(floors, key=lambda floor: floor.mode.severity)


def judged(thinking: Thinking, trading: Trading | None, settings: JudgeSettings) -> Floor:
    """What all judges together call for. ``trading`` is None where nobody trades."""
    return safest(*(judge(thinking, trading or NOT_TRADING, settings) for judge in JUDGES))
