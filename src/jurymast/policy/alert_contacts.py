"""Who is told what, and when: from notices to messages, one inbox for each contact.

  - A contact hears of troubles from its level up. What it was told of, it is also told the end of.
  - One with ``after_secs`` is only told of critical ones that nobody has acknowledged for so long.
  - In its quiet hours only what is critical passes; the rest waits, newest word by cause, and what was over
    before anybody was told is not told at all.
  - All that is ready goes in one message. Messages are bounded by a bucket for each hour; what finds it empty
    waits. What is critical has a second bucket of the same size, and waits only when that is empty as well.
  - A message that could not be delivered goes back (:func:`returned`): nothing is lost with a dead channel.

Bounded: an inbox holds one notice for a cause, ``WAITING_MAX`` in all, the least and oldest given up first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from jurymast.policy.alert_signals import Level
from jurymast.policy.alerts import Alerts, Change, Notice, notice_of

WAITING_MAX: Final = 400
HOUR_SECS: Final = 3_600.0
BURST_SHARE: Final = 0.25
"""Of an hour's messages, those that may go one after the other."""


@dataclass(frozen=True, slots=True)
class Contact:
    """Who wants to know what. Quiet hours are of UTC, from one hour up to another; equal ones are none."""

    name: str
    level: Level = Level.WARNING
    after_secs: float = 0.0
    quiet_from_hour: int = 0
    quiet_until_hour: int = 0
    per_hour_max: int = 20

    def is_quiet(self, now: datetime) -> bool:
        begin, end = self.quiet_from_hour, self.quiet_until_hour
        return begin <= now.hour < end if begin <= end else now.hour >= begin or now.hour < end

    @property
    def burst(self) -> float:
        return max(1.0, self.per_hour_max * BURST_SHARE)

    @property
    def messages_per_hour_max(self) -> int:
        """No hour, wherever it begins, has more messages than this."""
        return 2 * int(self.burst + self.per_hour_max)


@dataclass(frozen=True, slots=True)
class Inbox:
    """What one contact has been told and will be. Tokens are messages that may go now.

    ``told`` has the ids of open troubles whose beginning was delivered, ``flying`` those of the message that
    is on its way: its notices wait until it has arrived.
    """

    waiting: Mapping[str, Notice] = field(default_factory=dict)
    told: frozenset[str] = frozenset()
    flying: frozenset[str] = frozenset()
    tokens: float = 0.0
    urgent_tokens: float = 0.0
    filled_at: datetime | None = None
    given_up: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """One delivery: at least one notice, worst first."""

    contact: str
    notices: tuple[Notice, ...]

    @property
    def level(self) -> Level:
        return max((notice.level for notice in self.notices), key=lambda level: level.severity)

    @property
    def causes(self) -> tuple[str, ...]:
        return tuple(notice.cause for notice in self.notices)


def taken(inbox: Inbox, contact: Contact, notices: Iterable[Notice], alerts: Alerts, now: datetime) -> Inbox:
    """New notices as far as they are for this contact, and what nobody has taken on for ``after_secs``."""
    for notice in notices:
        if _wanted(inbox, contact, notice):
            inbox = _waits(inbox, notice)
    if contact.after_secs:
        for notice in _neglected(inbox, contact, alerts, now):
            inbox = _waits(inbox, notice)
    alive = {trouble.id for trouble in alerts.open} | {each.id for each in inbox.waiting.values()}
    return replace(inbox, told=inbox.told & alive)


def due(inbox: Inbox, contact: Contact, now: datetime) -> tuple[Inbox, Message | None]:
    """The message that may go now, if any; one at a time."""
    inbox = _filled(inbox, contact, now)
    quiet = contact.is_quiet(now)
    ready = [each for each in inbox.waiting.values() if not quiet or each.level is Level.CRITICAL]
    if not ready or inbox.flying:
        return inbox, None
    urgent = any(each.level is Level.CRITICAL for each in ready)
    if inbox.tokens >= 1.0:
        inbox = replace(inbox, tokens=inbox.tokens - 1.0)
    elif urgent and inbox.urgent_tokens >= 1.0:
        inbox = replace(inbox, urgent_tokens=inbox.urgent_tokens - 1.0)
    else:
        return inbox, None
    ready.sort(key=lambda each: (-each.level.severity, each.at))
    message = Message(contact.name, tuple(ready))
    return replace(inbox, flying=frozenset(each.id for each in ready)), message


def delivered(inbox: Inbox, message: Message) -> Inbox:
    """The contact knows. What has come up since then waits on."""
    over = {each.id for each in message.notices if each.change is Change.RESOLVED}
    told = (inbox.told | {each.id for each in message.notices}) - over
    waiting = {cause: each for cause, each in inbox.waiting.items() if each not in message.notices}
    return replace(inbox, waiting=waiting, told=told, flying=frozenset())


def returned(inbox: Inbox) -> Inbox:
    """The message on its way has not arrived: its notices wait on, but for what is over meanwhile."""
    inbox = replace(inbox, flying=frozenset())
    over = [each for each in inbox.waiting.values() if each.change is Change.RESOLVED and _mute(inbox, each)]
    for notice in over:
        inbox = _dropped(inbox, notice.cause)
    return inbox


def _neglected(inbox: Inbox, contact: Contact, alerts: Alerts, now: datetime) -> Iterator[Notice]:
    for trouble in alerts.open:
        known = trouble.id in inbox.told | inbox.flying or trouble.cause in inbox.waiting
        if known or trouble.peak is not Level.CRITICAL or trouble.acknowledged_at or trouble.clear_since:
            continue
        assert trouble.opened_at is not None  # noqa: S101 (narrowing: it is open)
        if (now - trouble.opened_at).total_seconds() >= contact.after_secs:
            text = f"{trouble.text} (nobody has acknowledged it)"
            yield replace(notice_of(Change.OPENED, trouble, now), text=text)


def _wanted(inbox: Inbox, contact: Contact, notice: Notice) -> bool:
    waiting = inbox.waiting.get(notice.cause)
    known = notice.id in inbox.told | inbox.flying or (waiting is not None and waiting.id == notice.id)
    mine = not contact.after_secs and notice.level.severity >= contact.level.severity
    return known or mine


def _waits(inbox: Inbox, notice: Notice) -> Inbox:
    before = inbox.waiting.get(notice.cause)
    if notice.change is Change.RESOLVED and before is not None and _mute(inbox, notice):
        return _dropped(inbox, notice.cause)
    waiting = {**inbox.waiting, notice.cause: notice}
    given_up = inbox.given_up
    while len(waiting) > WAITING_MAX:
        least = min(waiting.values(), key=lambda each: (each.level.severity, each.at))
        del waiting[least.cause]
        given_up += 1
    return replace(inbox, waiting=waiting, given_up=given_up)


def _mute(inbox: Inbox, notice: Notice) -> bool:
    """Whether the end of it need not be told: nobody was told of its beginning, and it was not critical."""
    return notice.id not in inbox.told | inbox.flying and notice.level is not Level.CRITICAL


def _dropped(inbox: Inbox, cause: str) -> Inbox:
    return replace(inbox, waiting={c: each for c, each in inbox.waiting.items() if c != cause})


def _filled(inbox: Inbox, contact: Contact, now: datetime) -> Inbox:
    """With the tokens of the time that has passed. A clock that was set back gives none."""
    if inbox.filled_at is None:
        return replace(inbox, tokens=contact.burst, urgent_tokens=contact.burst, filled_at=now)
    more = max(0.0, (now - inbox.filled_at).total_seconds()) * contact.per_hour_max / HOUR_SECS
    return replace(
        inbox,
        tokens=min(contact.burst, inbox.tokens + more),
        urgent_tokens=min(contact.burst, inbox.urgent_tokens + more),
        filled_at=now,
    )
