"""Facts about the running program itself: its runs and cycles, what people demand of it and are told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from jurymast.domain.event import Event
from jurymast.domain.money import Centi, Micros
from jurymast.domain.status import EmergencyMode, TradingState


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """A bot started on this journal. ``simulated`` names the parts that are not real."""

    version: str
    pid: int
    seed: int
    exchange: str
    simulated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStopped(Event):
    """A bot stopped in order. A run without this row ended by a crash or a kill."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsReloaded(Event):
    """The settings file has changed while the bot ran.

    ``applied`` are in force from here on, ``waiting`` want a restart; each says the setting, the value before
    and the new one. ``refused`` says why nothing of it was taken over: the settings of before go on.
    """

    applied: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    refused: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleFinished(Event):
    """Totals of one trading cycle, with the portfolio after it. Money in micro-dollars."""

    cycle: int
    exchange_time: datetime
    secs: float
    scanned: int
    screened: int
    decided: int
    abstained: int
    orders: int
    fills: int
    mode: EmergencyMode
    state: TradingState
    cash: Micros
    equity: Micros
    realized_pnl: Micros
    open_positions: int
    resting_orders: int
    ai_cost: Micros
    contracts_held: Centi = 0
    providers: dict[str, str] | None = None
    active_route: str = ""
    day_equity: Micros = 0
    """Equity when the exchange's day began: what the day's loss is counted from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemandsChanged(Event):
    """The bot took over what people demand: one sentence each, empty when nothing is demanded."""

    serial: int
    demands: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchdogFired(Event):
    """The dead man's switch acted on a bot that was silent: taken over from the watchdog's own record.

    ``proven`` says that the list of resting orders was read empty twice.
    """

    firing_id: str
    reason: str
    silent_secs: float
    count: int
    tries: int
    secs: float
    proven: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertTried(Event):
    """A contact was told of troubles, by their causes; or was not: then ``failure`` says why, without an
    address, and it is tried again later."""

    contact: str
    causes: tuple[str, ...]
    tries: int
    secs: float
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultInjected(Event):
    """The lab was told to break something (SIMULATED outage), or to mend it."""

    provider: str
    model: str | None
    fault: str
