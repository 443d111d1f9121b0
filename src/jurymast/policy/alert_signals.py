"""What events mean to a person who is not looking: facts become signals, each with its cause and its level.

- A cause is ``kind:subject``. Whatever the text says, what has the same cause is the same trouble.
- A signal that ``holds`` says that a condition has come (True) or gone (False); None is something that has
  happened and can't be taken back.
- Each finished cycle says again how mode, state and providers stand, so that no condition outlives a change
  that nobody was awake to see.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from jurymast.domain.decision import AbstainReason, Rung
from jurymast.domain.events import (
    ApiDrifted,
    CanaryFinished,
    CycleFinished,
    DecisionAbstained,
    DecisionMade,
    DemandsChanged,
    EntriesWithdrawn,
    Event,
    FailedOver,
    ModeChanged,
    ModelNoticed,
    ModelSwapped,
    OpinionStopped,
    OrderUnresolved,
    ProviderChanged,
    Reconciled,
    RunStarted,
    SettingsReloaded,
    StateChanged,
    WatchdogFired,
    WithdrawalDelayed,
)
from jurymast.domain.money import format_usd
from jurymast.domain.provider import ModelNotice, same_model
from jurymast.domain.status import BudgetReport, EmergencyMode, ProviderStatus, TradingState
from jurymast.domain.word import Word

TEXT_CHARS_MAX: Final = 300
SUBJECT_CHARS_MAX: Final = 100
BUDGET_SHARE_WARNED: Final = 0.8
BUDGET_SHARE_SPENT: Final = 0.98
"""From here on the worst case of one more request hardly ever fits."""


class Level(Word):
    """How much it matters, least first. CRITICAL wakes people up."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def severity(self) -> int:
        return _LEVELS.index(self)


_LEVELS: Final = tuple(Level)


class AlertKind(Word):
    """What can be the matter. Closed list."""

    PROVIDER = "provider"
    NOBODY = "nobody"
    FAILOVER = "failover"
    MODE = "mode"
    STATE = "state"
    BUDGET = "budget"
    MODEL = "model"
    SWAP = "swap"
    BEHAVIOUR = "behaviour"
    DRIFT = "drift"
    RECONCILE = "reconcile"
    ORDER = "order"
    WITHDRAWAL = "withdrawal"
    WATCHDOG = "watchdog"
    SILENT = "silent"
    STOPPED = "stopped"
    CRASH = "crash"
    DEMAND = "demand"
    SETTINGS = "settings"


@dataclass(frozen=True, slots=True)
class Signal:
    """One thing to know. ``holds``: a condition came or went; None for what just happened."""

    kind: AlertKind
    subject: str
    level: Level
    holds: bool | None
    text: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", _plain(self.text, TEXT_CHARS_MAX))
        object.__setattr__(self, "subject", _plain(self.subject, SUBJECT_CHARS_MAX))

    @property
    def cause(self) -> str:
        return f"{self.kind}:{self.subject}"


def _plain(text: str, chars_max: int) -> str:
    """One line of bounded length that can be written anywhere: strangers' words are in it."""
    return " ".join(text.encode(errors="replace").decode().split())[:chars_max]


TOLD_BY: Final[tuple[type[Event], ...]] = (
    ApiDrifted, CanaryFinished, CycleFinished, DecisionAbstained, DecisionMade, DemandsChanged,
    EntriesWithdrawn, FailedOver, ModeChanged, ModelNoticed, ModelSwapped, OpinionStopped, OrderUnresolved,
    ProviderChanged, Reconciled, RunStarted, SettingsReloaded, StateChanged, WatchdogFired,
    WithdrawalDelayed,
)  # fmt: skip
"""The kinds of event that may make a signal."""

_PROVIDER_LEVELS: Final = {ProviderStatus.DEGRADED: Level.INFO, ProviderStatus.UNHEALTHY: Level.WARNING}
_MODE_LEVELS: Final = {
    EmergencyMode.CONSERVATIVE: Level.INFO,
    EmergencyMode.CACHED: Level.WARNING,
    EmergencyMode.MINIMAL: Level.WARNING,
    EmergencyMode.SUSPENDED: Level.CRITICAL,
    EmergencyMode.KILLED: Level.CRITICAL,
}
_STATE_LEVELS: Final = {TradingState.REDUCING: Level.INFO, TradingState.HALTED: Level.WARNING}
_MILD: Final = frozenset({ModelNotice.ALIAS, ModelNotice.PRICE})
_PROVIDED: Final = frozenset({Rung.PRIMARY, Rung.FAILOVER, Rung.LOCAL})


def of(event: Event) -> Iterator[Signal]:
    """The signals of a fact, if any."""
    match event:
        case ProviderChanged():
            yield _provider(event.provider, event.new, event.reason)
        case FailedOver():
            yield from _failover(event)
        case DecisionMade(decision=decision) if decision.rung in _PROVIDED:
            yield Signal(AlertKind.NOBODY, "all", Level.CRITICAL, False, f"{decision.route} answers")
        case DecisionAbstained(abstain=abstain) if abstain.reason is AbstainReason.AI_BUDGET_SPENT:
            text = f"a question was not asked for want of AI money: {abstain.detail}"
            yield Signal(AlertKind.BUDGET, "refused", Level.WARNING, None, text)
        case ModeChanged():
            yield _mode(event.new, event.reason)
        case StateChanged():
            yield _state(event.new, event.reason)
        case CycleFinished():
            yield Signal(AlertKind.SILENT, "cycle", Level.CRITICAL, False, "cycles finish again")
            yield _mode(event.mode, "")
            yield _state(event.state, "")
            for name, status in (event.providers or {}).items():
                yield _provider(name, ProviderStatus(status), "")
        case RunStarted():
            yield Signal(AlertKind.STOPPED, "bot", Level.INFO, False, "the bot runs again")
            yield Signal(AlertKind.SETTINGS, "file", Level.WARNING, False, "a start has taken the settings")
        case SettingsReloaded():
            text = f"the changed settings were refused, those of before go on: {event.refused}"
            yield Signal(AlertKind.SETTINGS, "file", Level.WARNING, bool(event.refused), text)
        case _:
            yield from _of_books(event)
            yield from _of_models(event)


def _provider(name: str, status: ProviderStatus, reason: str) -> Signal:
    level = _PROVIDER_LEVELS.get(status)
    word = "down" if status is ProviderStatus.UNHEALTHY else status.value
    text = f"{name} is {word}" + (f": {reason}" if reason else "")
    return Signal(AlertKind.PROVIDER, name, level or Level.INFO, level is not None, text)


def _failover(event: FailedOver) -> Iterator[Signal]:
    if event.to_route is None:
        text = f"no provider answers: {event.reason}"
        yield Signal(AlertKind.NOBODY, "all", Level.CRITICAL, True, text)
        return
    yield Signal(AlertKind.NOBODY, "all", Level.CRITICAL, False, f"{event.to_route} answers")
    text = f"{event.to_route} answers first now, before {event.from_route or 'nobody'}: {event.reason}"
    yield Signal(AlertKind.FAILOVER, "route", Level.INFO, None, text)


def _mode(mode: EmergencyMode, reason: str) -> Signal:
    level = _MODE_LEVELS.get(mode)
    text = f"mode {mode.upper()}" + (f": {reason}" if reason else "")
    return Signal(AlertKind.MODE, "judgement", level or Level.INFO, level is not None, text)


def _state(state: TradingState, reason: str) -> Signal:
    level = _STATE_LEVELS.get(state)
    text = f"trading {state.upper()}" + (f": {reason}" if reason else "")
    return Signal(AlertKind.STATE, "orders", level or Level.INFO, level is not None, text)


def _of_books(event: Event) -> Iterator[Signal]:
    match event:
        case ApiDrifted():
            level = Level.INFO if event.harmless else Level.CRITICAL
            subject = "harmless" if event.harmless else "harmful"
            text = f"the exchange's API has changed: {event.name}: {event.detail}"
            yield Signal(AlertKind.DRIFT, subject, level, None, text)
        case Reconciled() if event.differences:
            text = f"books corrected by the exchange's: {'; '.join(event.differences)}"
            yield Signal(AlertKind.RECONCILE, "books", Level.WARNING, None, text)
        case OrderUnresolved():
            text = f"an order of unknown fate in {event.ticker}: {event.detail}"
            yield Signal(AlertKind.ORDER, "unknown", Level.WARNING, None, text)
        case WithdrawalDelayed():
            text = f"orders may still rest ({event.left} seen): {event.reason}: {event.detail}"
            yield Signal(AlertKind.WITHDRAWAL, "resting", Level.CRITICAL, True, text)
        case EntriesWithdrawn():
            yield Signal(AlertKind.WITHDRAWAL, "resting", Level.CRITICAL, False, "no order rests any more")
        case WatchdogFired():
            end = f"{event.count} orders taken back" if event.proven else "NOT PROVEN that no order rests"
            text = f"the watchdog acted after {event.silent_secs:.0f} s of silence: {end}"
            yield Signal(AlertKind.WATCHDOG, "fired", Level.CRITICAL, None, text)
        case DemandsChanged():
            text = f"by hand: {'; '.join(event.demands) or 'nothing is demanded any more'}"
            yield Signal(AlertKind.DEMAND, "people", Level.INFO, None, text)
        case _:
            pass


def _of_models(event: Event) -> Iterator[Signal]:
    match event:
        case ModelNoticed():
            level = Level.INFO if event.notice in _MILD else Level.WARNING
            yield Signal(AlertKind.MODEL, f"{event.model} {event.notice}", level, None, event.detail)
        case ModelSwapped():
            back = same_model(event.served, event.route.model)
            text = f"{event.route} is answered by {event.served}, before by {event.before}"
            yield Signal(AlertKind.SWAP, str(event.route), Level.WARNING, not back, text)
        case CanaryFinished(shift=shift) if shift is not None:
            text = f"{event.served} has moved by {shift:.2f} in log-odds under the same name: size is cut"
            yield Signal(AlertKind.BEHAVIOUR, event.served, Level.WARNING, event.changed, text)
        case OpinionStopped():
            text = f"{event.model} counts for nothing from now on: {event.reason}"
            yield Signal(AlertKind.MODEL, f"{event.model} stopped", Level.WARNING, None, text)
        case _:
            pass


def of_budgets(reports: Iterable[BudgetReport]) -> Iterator[Signal]:
    """How each cap stands. Only the first, the whole day's, is worth waking somebody up for."""
    for place, report in enumerate(reports):
        if report.limit <= 0:
            continue
        share = (report.spent + report.uncertain) / report.limit
        spent = share >= BUDGET_SHARE_SPENT
        level = Level.CRITICAL if spent and place == 0 and report.hard else Level.WARNING
        limit = "limit" if report.hard else "soft limit"
        text = (
            f"{share:.0%} of the {limit} {report.name} is used up, {format_usd(report.spent, places=2)} spent"
        )
        holds = spent if not report.hard else share >= BUDGET_SHARE_WARNED
        yield Signal(AlertKind.BUDGET, report.name, level, holds, text)


def of_silence(secs: float, secs_max: float) -> Signal:
    """Whether the cycle hangs, ``secs`` after it finished last."""
    text = f"no cycle has finished for {secs:.0f} s, a well one takes {secs_max:.0f} s at most"
    return Signal(AlertKind.SILENT, "cycle", Level.CRITICAL, secs > secs_max, text)


def of_end(reason: str, *, failed: bool) -> Signal:
    """The bot ends. A restart within the opening time makes no noise; a failure does at once."""
    level = Level.CRITICAL if failed else Level.INFO
    return Signal(AlertKind.STOPPED, "bot", level, True, f"the bot has stopped: {reason}")


def of_crash() -> Signal:
    """The run before this one ended without a word."""
    text = "the run before ended without a word, by a kill or a power cut; the bot is back"
    return Signal(AlertKind.CRASH, "bot", Level.WARNING, None, text)
