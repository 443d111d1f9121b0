"""What people demand of the bot, and what that means for an order. Pure: who keeps it is :mod:`app.control`.

Rules
  - A trading state is a floor: REDUCING lets exits out and nothing in, HALTED lets nothing out.
  - A mode is a floor too, for good or until a time. The bot may be in a safer one by its own evidence.
  - An override is the one demand that makes things riskier: a mode although the evidence calls for a safer
    one. It has a reason and ends within ``OVERRIDE_SECS_MAX``; it never opens a halt or a mode floor, and
    hard caps never ask for the mode. Nothing but taking the floor back leads out of KILLED.
  - Two demands of one kind: the safer state counts, the later of all others.
  - What can't be read is HALTED: whoever wrote it wanted something, and nothing is the safe reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, TypeVar

from jurymast.domain.provider import ProviderName
from jurymast.domain.status import EmergencyMode, TradingState

OVERRIDE_SECS_MAX: Final = 3_600.0
REASON_CHARS_MAX: Final = 500
KILLED: Final = "KILLED"
"""The mode that only a human ends, by its name."""


class BarReason(StrEnum):
    """Why the gateway lets an order not pass. Closed list."""

    TRADING_HALTED = "trading_halted"
    REDUCING_ONLY = "reducing_only"
    ENTRIES_STOPPED = "entries_stopped"
    WITHDRAWING = "withdrawing"
    COOLING_OFF = "cooling_off"


@dataclass(frozen=True, slots=True)
class Demand:
    """Why and since when something is demanded; without ``until`` it holds till taken back."""

    reason: str
    at: datetime
    until: datetime | None = None

    def __post_init__(self) -> None:
        if len(self.reason) > REASON_CHARS_MAX:
            raise ValueError(f"a reason has at most {REASON_CHARS_MAX} characters")

    def lapsed(self, now: datetime) -> bool:
        """Whether its time is over."""
        return self.until is not None and now >= self.until


D = TypeVar("D", bound=Demand)


@dataclass(frozen=True, slots=True)
class StateDemand(Demand):
    """A floor of the trading state. ``work_down`` sells positions by rule while it holds."""

    floor: TradingState = TradingState.REDUCING
    work_down: bool = False


@dataclass(frozen=True, slots=True)
class ModeDemand(Demand):
    """A floor of the mode; with ``override`` a mode in spite of the evidence."""

    mode: EmergencyMode = EmergencyMode.CONSERVATIVE
    override: bool = False

    def __post_init__(self) -> None:
        Demand.__post_init__(self)
        if not self.override:
            return
        if not self.reason:
            raise ValueError("a mode in spite of the evidence needs a reason")
        if self.until is None or self.until - self.at > timedelta(seconds=OVERRIDE_SECS_MAX):
            raise ValueError("a mode in spite of the evidence needs an end within 60 minutes")


@dataclass(frozen=True, slots=True)
class Preference(Demand):
    """Ask ``target`` first instead of ``source``."""

    source: ProviderName = ProviderName.XAI
    target: ProviderName = ProviderName.OPENAI


@dataclass(frozen=True, slots=True)
class FlattenDemand(Demand):
    """Sell every position. Until it is ``confirmed`` only the preview is made."""

    flatten_id: str = ""
    confirmed: bool = False


@dataclass(frozen=True, slots=True)
class Demands:
    """Everything demanded now. ``serial`` grows with every change."""

    serial: int = 0
    state: StateDemand | None = None
    mode: ModeDemand | None = None
    override: ModeDemand | None = None
    isolated: Mapping[ProviderName, Demand] = field(default_factory=dict)
    preferred: Preference | None = None
    flatten: FlattenDemand | None = None
    lifted: Demand | None = None
    """When and why a person last took everything back: what ends KILLED, if it was before that."""

    def in_force(self, now: datetime) -> Demands:
        """Without what has lapsed."""
        single = (self.state, self.mode, self.override, self.preferred, self.flatten)
        if not any(each is not None and each.lapsed(now) for each in (*single, *self.isolated.values())):
            return self
        return replace(
            self,
            state=_held(self.state, now),
            mode=_held(self.mode, now),
            override=_held(self.override, now),
            preferred=_held(self.preferred, now),
            flatten=_held(self.flatten, now),
            isolated={name: each for name, each in self.isolated.items() if not each.lapsed(now)},
        )

    @property
    def floor(self) -> TradingState:
        """The most that orders may do."""
        return TradingState.ACTIVE if self.state is None else self.state.floor

    @property
    def mode_floor(self) -> EmergencyMode:
        """The least safe mode that is allowed."""
        return EmergencyMode.NORMAL if self.mode is None else self.mode.mode


NONE: Final = Demands()


def _held(demand: D | None, now: datetime) -> D | None:
    return None if demand is None or demand.lapsed(now) else demand


def halted(reason: str, at: datetime, demands: Demands = NONE) -> Demands:
    """The same with a halt on top."""
    return replace(demands, state=StateDemand(reason, at, floor=TradingState.HALTED))


def with_state(demands: Demands, wanted: StateDemand) -> Demands:
    """A floor under the state; a sale by rule goes on under a pause.

    Raises ValueError for a milder one than there is, unless it comes with a reason.
    """
    held = demands.state
    if held is not None and held.floor.severity > wanted.floor.severity and not wanted.reason:
        raise ValueError(f"it is {held.floor.upper()}, which is safer: less than that needs --reason")
    if held is not None and held.work_down and held.floor is wanted.floor:
        wanted = replace(wanted, work_down=True)
    return replace(demands, state=wanted)


def with_mode(demands: Demands, wanted: ModeDemand) -> Demands:
    """A floor under the mode, or an override of the evidence. NORMAL takes the floor back.

    Raises ValueError for a milder floor without a reason, and for anything that would lead out of KILLED.
    """
    if wanted.override:
        if wanted.mode.severity < demands.mode_floor.severity:
            raise ValueError(f"mode {demands.mode_floor.upper()} is demanded by hand: take that back first")
        return replace(demands, override=wanted)
    held = demands.mode_floor
    if wanted.mode.severity < held.severity:
        if held.name == KILLED:
            raise ValueError("out of KILLED leads `jurymast resume --reason ...` alone")
        if not wanted.reason:
            raise ValueError(f"mode {held.upper()} is demanded, which is safer: less needs --reason")
    return replace(demands, mode=wanted if wanted.mode.severity else None, override=None)


def bar(demands: Demands, *, adds_risk: bool, mode_takes_entries: bool) -> tuple[BarReason, str] | None:
    """Why an order may not pass, or None. ``mode_takes_entries`` speaks of the demanded mode."""
    why = "" if demands.state is None else f": {demands.state.reason}"
    if demands.floor is TradingState.HALTED:
        return BarReason.TRADING_HALTED, f"the halt latch is set{why}"
    if not adds_risk:
        return None
    if demands.floor is TradingState.REDUCING:
        return BarReason.REDUCING_ONLY, f"entries are paused by hand{why}"
    if not mode_takes_entries:
        return BarReason.ENTRIES_STOPPED, f"mode {demands.mode_floor} by hand takes no new risk"
    return None


def sentences(demands: Demands, now: datetime) -> tuple[str, ...]:
    """What is demanded, for people: one sentence each, with what is left of its time."""
    told = []
    if (state := demands.state) is not None:
        what = {
            TradingState.HALTED: "HALTED: nothing is sent",
            TradingState.REDUCING: "PAUSED: no entries, exits go on",
        }.get(state.floor, f"{state.floor}")
        told.append(_sentence(what + (", positions are worked down" if state.work_down else ""), state, now))
    if (mode := demands.mode) is not None:
        told.append(_sentence(f"mode {mode.mode.upper()} or safer", mode, now))
    if (override := demands.override) is not None:
        told.append(_sentence(f"mode {override.mode.upper()} AGAINST THE EVIDENCE", override, now))
    told += [_sentence(f"{name} isolated", each, now) for name, each in demands.isolated.items()]
    if (preferred := demands.preferred) is not None:
        told.append(_sentence(f"{preferred.target} before {preferred.source}", preferred, now))
    if (flatten := demands.flatten) is not None and flatten.confirmed:
        told.append(_sentence("FLATTENING: every position is sold", flatten, now))
    return tuple(told)


def _sentence(what: str, demand: Demand, now: datetime) -> str:
    left = "" if demand.until is None else f", {max(0, round((demand.until - now).total_seconds()))} s left"
    why = f" ({demand.reason})" if demand.reason else ""
    return f"{what}{left}{why}"
