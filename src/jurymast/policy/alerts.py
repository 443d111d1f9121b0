"""Troubles: from signals to what people are told, as seldom as can be.

    none --signal--> PENDING --holds open_secs, or critical--> OPEN --clear close_secs--> resolved, gone
                        '--clear--> gone, nobody was told

  - What has the same cause is one trouble, whatever its text. A condition is told of when it has lasted
    ``open_secs``; a critical one at once. It is over when it has been away ``close_secs``, which is said.
  - A condition that has come ``flap_times`` times within ``FLAP_WINDOW_SECS`` flaps: it is told of at once,
    and has to be away ``flap_secs`` before it is over.
  - What just happened is told of at once and once; more of the same is counted. It is gone after
    ``quiet_secs`` without more. A critical one stays until somebody acknowledges it, a week at most.
  - Getting worse is told of, at most up to the worst level once a trouble. Getting milder is not.
  - An open trouble that nobody has acknowledged is told of again after ``remind_secs``, then after twice as
    long, and so on, ``reminders_max`` times.

Times are UTC. Bounded: ``TROUBLES_MAX`` and one more per kind, which takes what does not fit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from jurymast.domain.word import Word
from jurymast.policy.alert_signals import Level, Signal

TROUBLES_MAX: Final = 200
OTHERS: Final = "others"
"""Subject of what does not fit any more, by kind."""
FLAP_WINDOW_SECS: Final = 3_600.0
COMINGS_KEPT: Final = 16
CRITICAL_KEPT_SECS: Final = 7 * 86_400.0
ID_CHARS: Final = 6


class Change(Word):
    """What is told of a trouble."""

    OPENED = "opened"
    WORSE = "worse"
    REMINDER = "reminder"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """Thresholds, in seconds."""

    open_secs: float = 60.0
    close_secs: float = 300.0
    quiet_secs: float = 3_600.0
    remind_secs: float = 3_600.0
    reminders_max: int = 6
    flap_times: int = 3
    flap_secs: float = 3_600.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """One cause that is, or may be about to become, an alert.

    ``lasting`` tells a condition from what just happened. ``opened_at`` None: nobody was told yet.
    ``clear_since``: the condition has gone, and may come back. ``peak`` is the worst level told of.
    """

    cause: str
    level: Level
    text: str
    since: datetime
    lasting: bool
    seen_at: datetime
    opened_at: datetime | None = None
    clear_since: datetime | None = None
    peak: Level = Level.INFO
    count: int = 1
    reminders: int = 0
    remind_at: datetime | None = None
    acknowledged_at: datetime | None = None

    @property
    def id(self) -> str:
        """Short name to acknowledge it by, the same as long as it is the same trouble."""
        return hashlib.sha256(f"{self.cause}|{self.since.isoformat()}".encode()).hexdigest()[:ID_CHARS]


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to tell. ``level`` is the worst of the trouble."""

    change: Change
    cause: str
    id: str
    level: Level
    text: str
    since: datetime
    at: datetime
    count: int = 1


@dataclass(frozen=True, slots=True)
class Alerts:
    """Every trouble by cause, and when conditions have come lately."""

    troubles: Mapping[str, Trouble] = field(default_factory=dict)
    comings: Mapping[str, tuple[datetime, ...]] = field(default_factory=dict)

    @property
    def open(self) -> tuple[Trouble, ...]:
        """Those that were told of, worst first, then oldest."""
        told = (trouble for trouble in self.troubles.values() if trouble.opened_at is not None)
        return tuple(sorted(told, key=lambda trouble: (-trouble.level.severity, trouble.since)))


Step = tuple[Alerts, tuple[Notice, ...]]


def heard(alerts: Alerts, signal: Signal, now: datetime, settings: AlertSettings) -> Step:
    """A signal has come."""
    cause = signal.cause
    known = alerts.troubles.get(cause)
    if known is None and signal.holds is not False and len(alerts.troubles) >= TROUBLES_MAX:
        cause = f"{signal.kind}:{OTHERS}"
        known = alerts.troubles.get(cause)
        signal = replace(signal, holds=None, subject=OTHERS)  # nobody could tell when all of them are gone
    if known is None:
        if signal.holds is False:
            return alerts, ()
        lasting = signal.holds is not None
        known = Trouble(cause, signal.level, signal.text, now, lasting, now, peak=signal.level)
        alerts = _come(alerts, cause, now) if lasting else alerts
        at_once = not lasting or signal.level is Level.CRITICAL or _flaps(alerts, cause, now, settings)
        return _opened(alerts, known, now, settings) if at_once else (_with(alerts, known), ())
    if signal.holds is False:
        return _cleared(alerts, known, now), ()
    back = known.clear_since is not None
    alerts = _come(alerts, cause, now) if back else alerts
    count = known.count + (signal.holds is None or back)
    # A finished cycle says the same with fewer words: the reason is kept.
    shorter = signal.level is known.level and known.text.startswith(signal.text)
    text = known.text if shorter else signal.text
    known = replace(known, level=signal.level, text=text, seen_at=now, clear_since=None, count=count)
    if known.opened_at is None:
        critical = signal.level is Level.CRITICAL
        return _opened(alerts, known, now, settings) if critical else (_with(alerts, known), ())
    if signal.level.severity <= known.peak.severity:
        return _with(alerts, known), ()
    known = _reminding(replace(known, peak=signal.level, acknowledged_at=None, reminders=0), now, settings)
    return _with(alerts, known), (notice_of(Change.WORSE, known, now),)


def passed(alerts: Alerts, now: datetime, settings: AlertSettings) -> Step:
    """Time has passed: what is due."""
    notices: list[Notice] = []
    for trouble in tuple(alerts.troubles.values()):
        alerts, told = _due(alerts, trouble, now, settings)
        notices += told
    return alerts, tuple(notices)


def acknowledged(alerts: Alerts, ids: Iterable[str], now: datetime) -> Alerts:
    """Somebody has taken these on: no reminder and no escalation, until they get worse."""
    wanted = set(ids)
    for trouble in alerts.open:
        if trouble.id in wanted and trouble.acknowledged_at is None:
            alerts = _with(alerts, replace(trouble, acknowledged_at=now, remind_at=None))
    return alerts


def _due(alerts: Alerts, trouble: Trouble, now: datetime, settings: AlertSettings) -> Step:
    if trouble.opened_at is None:
        lasted = (now - trouble.since).total_seconds() >= settings.open_secs
        return _opened(alerts, trouble, now, settings) if lasted else (alerts, ())
    if trouble.clear_since is not None:
        away_secs = (now - trouble.clear_since).total_seconds()
        flaps = _flaps(alerts, trouble.cause, now, settings)
        if away_secs < (max(settings.close_secs, settings.flap_secs) if flaps else settings.close_secs):
            return alerts, ()
        return _without(alerts, trouble), (notice_of(Change.RESOLVED, trouble, now),)
    if not trouble.lasting and _is_past(trouble, now, settings):
        told = (notice_of(Change.RESOLVED, trouble, now),) if trouble.count > 1 else ()
        return _without(alerts, trouble), told
    if trouble.remind_at is not None and now >= trouble.remind_at:
        trouble = _reminding(replace(trouble, reminders=trouble.reminders + 1), now, settings)
        return _with(alerts, trouble), (notice_of(Change.REMINDER, trouble, now),)
    return alerts, ()


def _opened(alerts: Alerts, trouble: Trouble, now: datetime, settings: AlertSettings) -> Step:
    trouble = _reminding(replace(trouble, opened_at=now, peak=trouble.level), now, settings)
    alerts = _with(alerts, trouble)
    return alerts, (notice_of(Change.OPENED, trouble, now),)


def _cleared(alerts: Alerts, trouble: Trouble, now: datetime) -> Alerts:
    if not trouble.lasting or trouble.clear_since is not None:
        return alerts
    if trouble.opened_at is None:
        return _without(alerts, trouble)
    return _with(alerts, replace(trouble, clear_since=now))


def _come(alerts: Alerts, cause: str, now: datetime) -> Alerts:
    comings = {name: recent for name, times in alerts.comings.items() if (recent := _recent(times, now))}
    comings[cause] = (*comings.get(cause, ()), now)[-COMINGS_KEPT:]
    return replace(alerts, comings=comings)


def _flaps(alerts: Alerts, cause: str, now: datetime, settings: AlertSettings) -> bool:
    return len(_recent(alerts.comings.get(cause, ()), now)) >= settings.flap_times


def _is_past(trouble: Trouble, now: datetime, settings: AlertSettings) -> bool:
    secs = (now - trouble.seen_at).total_seconds()
    held = trouble.peak is Level.CRITICAL and trouble.acknowledged_at is None
    return secs >= (CRITICAL_KEPT_SECS if held else settings.quiet_secs)


def _reminding(trouble: Trouble, now: datetime, settings: AlertSettings) -> Trouble:
    """With its next reminder. What happened once and is not critical needs none."""
    wanted = trouble.lasting or trouble.peak is Level.CRITICAL
    if not wanted or trouble.reminders >= settings.reminders_max:
        return replace(trouble, remind_at=None)
    return replace(trouble, remind_at=now + timedelta(seconds=settings.remind_secs * 2**trouble.reminders))


def _recent(times: tuple[datetime, ...], now: datetime) -> tuple[datetime, ...]:
    return tuple(each for each in times if (now - each).total_seconds() < FLAP_WINDOW_SECS)


def notice_of(change: Change, trouble: Trouble, now: datetime) -> Notice:
    """What there is to tell of a trouble now."""
    return Notice(
        change, trouble.cause, trouble.id, trouble.peak, trouble.text, trouble.since, now, trouble.count
    )  # fmt: skip


def _with(alerts: Alerts, trouble: Trouble) -> Alerts:
    return replace(alerts, troubles={**alerts.troubles, trouble.cause: trouble})


def _without(alerts: Alerts, trouble: Trouble) -> Alerts:
    return replace(alerts, troubles={c: each for c, each in alerts.troubles.items() if c != trouble.cause})
