"""What the journal tells of the past, hour by hour: a fold whose size depends on time, not on events.

  - An hour counts what happened in it, and for how long the bot ran, in which mode and trading state, and how
    each provider did. Hours add up to days, weeks and months by :func:`total`.
  - Time counts while the bot runs. Between its last word and the start after a crash it does not, and neither
    does a silence of more than ``SILENCE_SECS_MAX``: a machine that slept.
  - A provider that is UNHEALTHY makes an incident, until it is not.

Money in micro-dollars, durations in seconds, hours and times in UTC.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Final

from jurymast.domain.decision import AbstainReason, Attempt, Rung
from jurymast.domain.events import (
    CanaryFinished,
    CycleFinished,
    DecisionAbstained,
    DecisionMade,
    Event,
    FailedOver,
    ModeChanged,
    OrderFilled,
    OrderIntended,
    PositionSettled,
    ProbeSent,
    ProviderChanged,
    RunStarted,
    RunStopped,
    SecondOpinionGiven,
    ShadowAnswered,
    StateChanged,
    TextCompleted,
)
from jurymast.domain.money import Micros
from jurymast.domain.provider import ProviderName
from jurymast.domain.status import EmergencyMode, ProviderStatus, TradingState

TOLD_BY: Final[tuple[type[Event], ...]] = (
    CanaryFinished,
    CycleFinished,
    DecisionAbstained,
    DecisionMade,
    FailedOver,
    ModeChanged,
    OrderFilled,
    OrderIntended,
    PositionSettled,
    ProbeSent,
    ProviderChanged,
    RunStarted,
    RunStopped,
    SecondOpinionGiven,
    ShadowAnswered,
    StateChanged,
    TextCompleted,
)
"""The kinds of event that make history."""
HOUR: Final = timedelta(hours=1)
SILENCE_SECS_MAX: Final = 900.0
"""A running bot says something more often than that."""
LATENCY_SECS: Final = tuple(0.05 * 1.35**step for step in range(26))
"""Upper ends of the buckets of an answer's time, 50 ms to 90 s; what takes longer is in one more."""
INCIDENTS_OPEN_MAX: Final = 64
UNANSWERED: Final = frozenset(
    {AbstainReason.ALL_PROVIDERS_FAILED, AbstainReason.NO_ROUTE, AbstainReason.EMERGENCY_MODE}
)
"""Abstentions for want of a provider. The others are answers of models, or a budget's doing."""
_PROVIDED: Final = frozenset({Rung.PRIMARY, Rung.FAILOVER, Rung.LOCAL})


@dataclass(slots=True)
class ProviderTally:
    """One provider in a span of time."""

    sent: int = 0
    answered: int = 0
    failed: int = 0
    overdue: int = 0
    """Given up after another had answered, or the caller had left."""
    probes: int = 0
    probes_failed: int = 0
    shadows: int = 0
    cost: Micros = 0
    uncertain: Micros = 0
    """What attempts given up on their way may be billed beyond ``cost``."""
    secs: dict[str, float] = field(default_factory=dict)
    """By :class:`ProviderStatus`."""
    latency: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_SECS) + 1))
    """Answers by :data:`LATENCY_SECS`."""
    answer_secs: float = 0.0
    """What the answers took, all together."""

    @property
    def uptime(self) -> float | None:
        """Share of the known time in which it was believed to answer, degraded or not; None when none is."""
        down = self.secs.get(ProviderStatus.UNHEALTHY, 0.0)
        known = sum(self.secs.values()) - self.secs.get(ProviderStatus.UNKNOWN, 0.0)
        return 1.0 - down / known if known > 0 else None

    def quantile(self, share: float) -> float | None:
        """Seconds within which that share of the answers came: the upper end of a bucket, 35 % wide."""
        answers = sum(self.latency)
        if not answers:
            return None
        needed, seen = share * answers, 0
        for secs, count in zip((*LATENCY_SECS, math.inf), self.latency, strict=True):
            seen += count
            if seen >= needed:
                return secs
        return math.inf


@dataclass(slots=True)
class Tally:
    """All that happened in a span of time. ``secs`` is how long the bot ran in it."""

    secs: float = 0.0
    rungs: dict[str, int] = field(default_factory=dict)
    """Decisions by :class:`Rung`."""
    abstained: dict[str, int] = field(default_factory=dict)
    """Abstentions by :class:`AbstainReason`."""
    modes: dict[str, float] = field(default_factory=dict)
    states: dict[str, float] = field(default_factory=dict)
    providers: dict[str, ProviderTally] = field(default_factory=dict)
    cycles: int = 0
    orders: int = 0
    fills: int = 0
    settled: int = 0
    failovers: int = 0
    pnl: Micros = 0
    """Of positions that were paid out."""
    equity: Micros | None = None
    """At the end of the last cycle; None without one."""
    equity_low: Micros | None = None
    equity_high: Micros | None = None

    @property
    def cost(self) -> Micros:
        return sum(provider.cost for provider in self.providers.values())

    @property
    def answered(self) -> int:
        """Questions that a provider answered, be it by saying that it can't tell."""
        provided = sum(self.rungs.get(rung, 0) for rung in _PROVIDED)
        return provided + self.abstained.get(AbstainReason.MODEL_ABSTAINED, 0)

    @property
    def unanswered(self) -> int:
        """Questions for which no provider was to be had; an opinion of before may have stood in."""
        return self.rungs.get(Rung.CACHED, 0) + sum(self.abstained.get(reason, 0) for reason in UNANSWERED)

    @property
    def availability(self) -> float | None:
        """Share of the questions that a provider answered; None without any question."""
        asked = self.answered + self.unanswered
        return self.answered / asked if asked else None

    def of(self, provider: str) -> ProviderTally:
        return self.providers.setdefault(provider, ProviderTally())

    def add(self, later: Tally) -> None:
        """Count another span, the next one, to this one."""
        for each in fields(self):
            mine, theirs = getattr(self, each.name), getattr(later, each.name)
            if each.name == "providers":
                for name, tally in theirs.items():
                    _add_provider(self.of(name), tally)
            elif isinstance(mine, dict):
                for key, value in theirs.items():
                    mine[key] = mine.get(key, 0) + value
            elif not each.name.startswith("equity"):
                setattr(self, each.name, mine + theirs)
        if later.equity is not None:
            self.equity = later.equity
            self.equity_low = _least(self.equity_low, later.equity_low)
            self.equity_high = _most(self.equity_high, later.equity_high)


@dataclass(slots=True)
class Incident:
    """A provider was out. ``ended`` None while it still is."""

    provider: str
    started: datetime
    reason: str
    ended: datetime | None = None

    def secs(self, now: datetime) -> float:
        return ((self.ended or now) - self.started).total_seconds()


@dataclass(slots=True)
class Present:
    """Where a fold stands: what is to be known to go on from there."""

    at: datetime | None = None
    running: bool = False
    mode: EmergencyMode = EmergencyMode.NORMAL
    state: TradingState = TradingState.ACTIVE
    statuses: dict[str, ProviderStatus] = field(default_factory=dict)
    incidents: dict[str, Incident] = field(default_factory=dict)
    """By provider, those that have not ended."""


class History:
    """Folds events, in the order of the journal, into hours. ``hours`` and ``ended`` hold what has changed
    since the last :meth:`take`."""

    def __init__(self, present: Present | None = None, hours: dict[datetime, Tally] | None = None) -> None:
        self.present = present or Present()
        self.hours: dict[datetime, Tally] = hours or {}
        self.ended: list[Incident] = []

    def take(self) -> tuple[dict[datetime, Tally], list[Incident]]:
        """Hours and incidents since the last time. The hour that is not over stays."""
        hours, ended = self.hours, self.ended
        now = self.present.at
        self.hours = {start: hours[start] for start in hours if now is not None and start == hour_of(now)}
        self.ended = []
        return hours, ended

    def apply(self, event: Event) -> None:  # noqa: PLR0912 (one case per kind of event)
        """Fold one fact."""
        self._pass_time(event)
        hour = self._hour(event.at)
        match event:
            case DecisionMade(decision=decision):
                _count(hour.rungs, decision.rung)
                _count_attempts(hour, decision.attempts)
            case DecisionAbstained(abstain=abstain):
                _count(hour.abstained, abstain.reason)
                _count_attempts(hour, abstain.attempts)
            case TextCompleted():
                _count_attempts(hour, event.attempts)
            case ProbeSent():
                tally = hour.of(event.route.provider)
                tally.probes += 1
                tally.probes_failed += not event.healthy
                tally.cost += event.cost
            case ShadowAnswered() | SecondOpinionGiven():
                tally = hour.of(event.route.provider)
                tally.shadows += 1
                tally.cost += event.cost
            case CanaryFinished():
                hour.of(event.route.provider).cost += event.cost
            case ModeChanged():
                self.present.mode = event.new
            case StateChanged():
                self.present.state = event.new
            case ProviderChanged():
                self._provider_is(event.provider, event.new, event.at, event.reason)
            case FailedOver():
                hour.failovers += 1
            case OrderIntended():
                hour.orders += 1
            case OrderFilled():
                hour.fills += 1
            case PositionSettled():
                hour.settled += 1
                hour.pnl += event.pnl
            case CycleFinished():
                self._cycle(hour, event)
            case _:
                pass

    def _pass_time(self, event: Event) -> None:
        """What lasted since the event before."""
        present = self.present
        since, now = present.at, event.at
        if isinstance(event, RunStarted):
            present.running = True
        elif since is not None and present.running:
            self._lasted(since, now)
        if isinstance(event, RunStopped):
            present.running = False
        present.at = now if since is None else max(since, now)

    def _lasted(self, since: datetime, now: datetime) -> None:
        if not 0.0 < (now - since).total_seconds() <= SILENCE_SECS_MAX:
            return
        while since < now:
            start = hour_of(since)
            until = min(now, start + HOUR)
            secs, hour = (until - since).total_seconds(), self._hour(since)
            hour.secs += secs
            _count(hour.modes, self.present.mode, secs)
            _count(hour.states, self.present.state, secs)
            for name, status in self.present.statuses.items():
                _count(hour.of(name).secs, status, secs)
            since = until

    def _cycle(self, hour: Tally, event: CycleFinished) -> None:
        hour.cycles += 1
        hour.equity = event.equity
        hour.equity_low = _least(hour.equity_low, event.equity)
        hour.equity_high = _most(hour.equity_high, event.equity)
        self.present.mode, self.present.state = event.mode, event.state
        for name, status in (event.providers or {}).items():
            if name in _PROVIDERS:
                self._provider_is(ProviderName(name), ProviderStatus(status), event.at, "")

    def _provider_is(self, name: ProviderName, status: ProviderStatus, at: datetime, reason: str) -> None:
        present = self.present
        present.statuses[name] = status
        begun = present.incidents.get(name)
        if status is ProviderStatus.UNHEALTHY and begun is None:
            if len(present.incidents) < INCIDENTS_OPEN_MAX:
                present.incidents[name] = Incident(name, at, reason)
        elif status is not ProviderStatus.UNHEALTHY and begun is not None:
            del present.incidents[name]
            begun.ended = at
            self.ended.append(begun)

    def _hour(self, at: datetime) -> Tally:
        return self.hours.setdefault(hour_of(at), Tally())


_PROVIDERS: Final = frozenset(ProviderName)


def hour_of(at: datetime) -> datetime:
    """The UTC hour of a time begins then."""
    return at.replace(minute=0, second=0, microsecond=0)


def total(tallies: Iterable[Tally]) -> Tally:
    """Spans that follow each other, as one."""
    whole = Tally()
    for tally in tallies:
        whole.add(tally)
    return whole


def _count_attempts(hour: Tally, attempts: Iterable[Attempt]) -> None:
    for attempt in attempts:
        if not attempt.sent:
            continue
        tally = hour.of(attempt.route.provider)
        tally.sent += 1
        tally.cost += attempt.cost
        tally.uncertain += attempt.uncertain
        if attempt.outcome == "answered":
            tally.answered += 1
            tally.latency[bisect_left(LATENCY_SECS, attempt.secs)] += 1
            tally.answer_secs += attempt.secs
        elif attempt.failure is not None:
            tally.failed += 1
        elif attempt.outcome == "overdue":
            tally.overdue += 1


def _count(counts: dict[str, int] | dict[str, float], key: str, amount: float = 1) -> None:
    counts[key] = counts.get(key, 0) + amount  # type: ignore[assignment]  # whole where counts are whole


def _add_provider(mine: ProviderTally, theirs: ProviderTally) -> None:
    for each in fields(ProviderTally):
        have, more = getattr(mine, each.name), getattr(theirs, each.name)
        if each.name == "secs":
            for status, secs in more.items():
                _count(have, status, secs)
        elif each.name == "latency":
            mine.latency = [one + other for one, other in zip(have, more, strict=True)]
        else:
            setattr(mine, each.name, have + more)


def _least(one: Micros | None, other: Micros | None) -> Micros | None:
    return min((amount for amount in (one, other) if amount is not None), default=None)


def _most(one: Micros | None, other: Micros | None) -> Micros | None:
    return max((amount for amount in (one, other) if amount is not None), default=None)
