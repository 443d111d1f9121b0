"""Watches for troubles beside the trading, and tells the contacts.

Facts come by a bounded queue that nobody waits for, and go through the rules of
:mod:`jurymast.policy.alerts`. Each contact has one delivery under way, tried ``TRIES`` times; then its
breaker opens and it is left alone, twice as long after each failure. What could not be told waits. A dead
channel changes a counter and a row of the journal, nothing else; neither does a fault in here.

How things stand is in ``alerts.json``, so that a restart tells nothing twice and forgets nothing. Somebody
acknowledges a trouble by a file of its id in ``alerts-ack``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from jurymast.app.alert_channels import Undelivered, deliver, letter
from jurymast.domain.errors import JournalError
from jurymast.domain.events import AlertTried, Event, RunStarted
from jurymast.policy import alert_contacts, alert_signals, alerts
from jurymast.policy.alert_contacts import Contact, Inbox, Message
from jurymast.policy.alert_signals import Signal
from jurymast.policy.alerts import Alerts, Notice
from jurymast.watch.files import replace_file

if TYPE_CHECKING:
    from jurymast.app.wiring import Bot  # heavy, and readers don't need it

NAME: Final = "alerts.json"
ACKS: Final = "alerts-ack"
VERSION: Final = 1
BYTES_MAX: Final = 4 * 1024 * 1024
LOOK_SECS: Final = 1.0
BUDGET_SECS: Final = 10.0
"""Between two looks at how the caps stand."""
TRIES: Final = 3
BACKOFF_SECS: Final = 1.0
"""After the first try; four times as long after each next."""
REST_SECS: Final = 30.0
REST_SECS_MAX: Final = 900.0
FAREWELL_SECS: Final = 5.0
"""What the end of a bot waits for its last words to be delivered."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """How telling one contact has gone."""

    sent: int = 0
    failed: int = 0
    detail: str = ""
    """Why the last one failed; empty when it arrived."""


@dataclass(frozen=True, slots=True)
class AlertState:
    """What is kept. ``running``: no end has been written since the last start. ``faults`` are our own."""

    version: int = VERSION
    running: bool = False
    alerts: Alerts = field(default_factory=Alerts)
    inboxes: dict[str, Inbox] = field(default_factory=dict)
    deliveries: dict[str, Delivery] = field(default_factory=dict)
    faults: int = 0


def read(directory: Path) -> AlertState | None:
    """As it was kept last; None when there is none that this version can read."""
    try:
        with (directory / NAME).open("rb") as file:
            found = msgspec.json.decode(file.read(BYTES_MAX), type=AlertState)
    except (OSError, msgspec.MsgspecError, ValueError):
        return None
    return found if found.version == VERSION else None


def acknowledge(directory: Path, ids: Iterable[str]) -> None:
    """Leave word for the bot, running or not. Raises OSError."""
    (directory / ACKS).mkdir(parents=True, exist_ok=True)
    for each in ids:
        (directory / ACKS / each).touch()


class AlertKeeper:
    """The troubles of one bot."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._rules = bot.config.alerts.rules
        self._contacts = {contact.name: contact for contact in bot.config.alerts.people}
        self._tasks: set[asyncio.Task[None]] = set()
        self._rests: dict[str, tuple[float, float]] = {}
        self._cycled_at = self._budget_at = bot.clock.monotonic()
        self._kept = read(bot.config.data_dir) or AlertState()
        landed = {name: replace(box, flying=frozenset()) for name, box in self._kept.inboxes.items()}
        self.state = replace(self._kept, inboxes=landed)

    def tune(self) -> None:
        """Go by the bot's settings as they are now."""
        self._rules = self._bot.config.alerts.rules
        self._contacts = {contact.name: contact for contact in self._bot.config.alerts.people}

    async def run(self) -> None:
        """Look every second, until cancelled."""
        while self._bot.config.alerts.enabled:
            self.look()
            await self._bot.clock.sleep(LOOK_SECS)

    def look(self, *more: Signal) -> None:
        """Take in what has happened, tell what is due. Never raises: a fault here must not stop trading."""
        try:
            self._look(more)
        except Exception:  # counted, and shown by the doctor
            self.state = replace(self.state, faults=self.state.faults + 1)
        self._keep()

    async def farewell(self, reason: str, *, failed: bool) -> None:
        """The bot ends: last words, waited for as long as is decent."""
        if not self._bot.config.alerts.enabled:
            return
        self.look(alert_signals.of_end(reason, failed=failed))
        self.state = replace(self.state, running=False)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=FAREWELL_SECS)
        for task in tuple(self._tasks):
            task.cancel()
        self._keep()

    def _look(self, more: Iterable[Signal]) -> None:
        clock, notices = self._bot.clock, list[Notice]()
        now = clock.utc_now()
        self._take_acknowledgements()
        for signal in (*self._signals(), *more):
            self._step(alerts.heard(self.state.alerts, signal, now, self._rules), notices)
        self._step(alerts.passed(self.state.alerts, now, self._rules), notices)
        for contact in self._contacts.values():
            self._tell(contact, notices)

    def _step(self, step: alerts.Step, notices: list[Notice]) -> None:
        stands, told = step
        self.state = replace(self.state, alerts=stands)
        notices += told

    def _signals(self) -> Iterable[Signal]:
        bot, at = self._bot, self._bot.clock.monotonic()
        while bot.news:
            event = bot.news.popleft()
            if isinstance(event, RunStarted):
                yield from self._started()
            for signal in alert_signals.of(event):
                if signal.kind is alert_signals.AlertKind.SILENT:
                    self._cycled_at = at
                yield signal
        if at - self._budget_at >= BUDGET_SECS:
            self._budget_at = at
            yield from alert_signals.of_budgets(bot.client.get_system_status().budgets)
        silent_secs = at - self._cycled_at
        if silent_secs > bot.config.cycle_secs_max:
            yield alert_signals.of_silence(silent_secs, bot.config.cycle_secs_max)

    def _started(self) -> Iterable[Signal]:
        if self.state.running:
            yield alert_signals.of_crash()
        self.state = replace(self.state, running=True)

    def _take_acknowledgements(self) -> None:
        with suppress(OSError):
            left = list((self._bot.config.data_dir / ACKS).iterdir())
            now = self._bot.clock.utc_now()
            stands = alerts.acknowledged(self.state.alerts, [path.name for path in left], now)
            self.state = replace(self.state, alerts=stands)
            for path in left:
                path.unlink(missing_ok=True)

    def _tell(self, contact: Contact, notices: list[Notice]) -> None:
        now, at = self._bot.clock.utc_now(), self._bot.clock.monotonic()
        inbox = self.state.inboxes.get(contact.name, Inbox())
        inbox = alert_contacts.taken(inbox, contact, notices, self.state.alerts, now)
        until, _ = self._rests.get(contact.name, (at, 0.0))
        if at >= until:
            inbox, message = alert_contacts.due(inbox, contact, now)
            if message is not None:
                task = asyncio.create_task(self._deliver(message))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        self._put(contact.name, inbox)

    async def _deliver(self, message: Message) -> None:
        """One message to its end, good or bad."""
        clock, name = self._bot.clock, message.contact
        began, what, detail, tries = (
            clock.monotonic(),
            letter(message, self._bot.simulated, self._bot.redact),
            "",
            0,
        )
        for tries in range(1, TRIES + 1):
            try:
                await deliver(self._bot.config.alerts.contacts[name], what)
            except Undelivered as error:
                detail = str(error)
            except Exception as error:  # ours: without this the contact would never be told of anything again
                detail = f"a fault of ours: {type(error).__name__}"
            else:
                detail = ""
                break
            if tries < TRIES:
                await clock.sleep(BACKOFF_SECS * 4 ** (tries - 1))
        inbox, delivery = self.state.inboxes[name], self.state.deliveries.get(name, Delivery())
        if detail:
            _, rest = self._rests.get(name, (0.0, 0.0))
            rest = min(max(REST_SECS, 2 * rest), REST_SECS_MAX)
            self._rests[name] = clock.monotonic() + rest, rest
            self._put(name, alert_contacts.returned(inbox))
            delivery = replace(delivery, failed=delivery.failed + 1, detail=detail)
        else:
            self._rests.pop(name, None)
            self._put(name, alert_contacts.delivered(inbox, message))
            delivery = replace(delivery, sent=delivery.sent + 1, detail="")
        self._record(
            AlertTried(
                at=clock.utc_now(),
                contact=name,
                causes=message.causes,
                tries=tries,
                secs=round(clock.monotonic() - began, 3),
                failure=detail,
            )
        )
        self.state = replace(self.state, deliveries={**self.state.deliveries, name: delivery})
        self._keep()

    def _put(self, name: str, inbox: Inbox) -> None:
        self.state = replace(self.state, inboxes={**self.state.inboxes, name: inbox})

    def _record(self, event: Event) -> None:
        with suppress(JournalError):
            self._bot.recorder.emit(event)

    def _keep(self) -> None:
        """Write it when something but the buckets has changed. A disk that refuses makes it old, only."""
        if _worth_keeping(self.state) != _worth_keeping(self._kept):
            with suppress(OSError, ValueError):
                replace_file(self._bot.config.data_dir / NAME, msgspec.json.encode(self.state), durable=False)
                self._kept = self.state


def _worth_keeping(state: AlertState) -> AlertState:
    boxes = {
        name: replace(box, tokens=0.0, urgent_tokens=0.0, filled_at=None)
        for name, box in state.inboxes.items()
    }
    return replace(state, inboxes=boxes)
