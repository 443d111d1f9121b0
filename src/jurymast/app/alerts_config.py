"""Settings of alerts: when something is told, and whom. See docs/operate/alerts.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from jurymast.app.settings import bounded, documented
from jurymast.domain.provider import Secret
from jurymast.policy.alert_contacts import Contact
from jurymast.policy.alert_signals import Level
from jurymast.policy.alerts import AlertSettings

CONTACTS_MAX: Final = 20
HOUR: Final = 3_600.0
DAY: Final = 24 * HOUR


@dataclass(frozen=True, slots=True)
class ContactSection:
    """Somebody to tell, under a name of your choice: by an address, or by a command."""

    url: Secret = documented(
        Secret(), doc='{ env = "NAME" } or { file = "PATH" }: a webhook (https://...) or an Apprise URL'
    )
    command: str = documented("", doc="run instead, with the message as JSON on standard input")
    level: Level = documented(Level.WARNING, doc="info, warning or critical: the least that is told")
    after_secs: float = bounded(
        0.0,
        low=0.0,
        high=DAY,
        unit="s",
        doc="told of critical ones only, unacknowledged so long; 0 is at once",
    )
    quiet_from_hour: int = bounded(0, low=0, high=23, unit="h", doc="UTC, from when only critical ones pass")
    quiet_until_hour: int = bounded(0, low=0, high=24, unit="h", doc="UTC, until when; equal hours are none")

    def __post_init__(self) -> None:
        if self.url and self.command:
            raise ValueError("a contact has an address or a command: leave out one of them")


@dataclass(frozen=True, slots=True)
class AlertsSection:
    """When a trouble is told of, and when it is over."""

    enabled: bool = documented(True, doc="watch for troubles, and tell the contacts there are")
    open_secs: float = bounded(60.0, low=0.0, high=DAY, unit="s", doc="a trouble lasts before it is told of")
    close_secs: float = bounded(300.0, low=0.0, high=DAY, unit="s", doc="it is away before it is over")
    quiet_secs: float = bounded(
        HOUR, low=1.0, high=DAY, unit="s", doc="without more of the same, before what happened is past"
    )
    remind_secs: float = bounded(
        HOUR, low=60.0, high=7 * DAY, unit="s", doc="before the first reminder; twice as long to each next"
    )
    reminders_max: int = bounded(6, low=0, high=20, unit="", doc="reminders of one trouble")
    flap_times: int = bounded(3, low=2, high=15, unit="", doc="comings within an hour that are flapping")
    flap_secs: float = bounded(HOUR, low=0.0, high=DAY, unit="s", doc="what flaps is away before it is over")
    per_hour_max: int = bounded(
        20, low=1, high=1_000, unit="/h", doc="messages to a contact; as many more if critical"
    )
    contacts: dict[str, ContactSection] = documented({}, doc="whom to tell, by name")

    def __post_init__(self) -> None:
        if len(self.contacts) > CONTACTS_MAX:
            raise ValueError(f"more than {CONTACTS_MAX} contacts")

    @property
    def rules(self) -> AlertSettings:
        return AlertSettings(
            open_secs=self.open_secs,
            close_secs=self.close_secs,
            quiet_secs=self.quiet_secs,
            remind_secs=self.remind_secs,
            reminders_max=self.reminders_max,
            flap_times=self.flap_times,
            flap_secs=self.flap_secs,
        )

    @property
    def people(self) -> tuple[Contact, ...]:
        """The contacts as the rules want them."""
        return tuple(
            Contact(
                name=name,
                level=section.level,
                after_secs=section.after_secs,
                quiet_from_hour=section.quiet_from_hour,
                quiet_until_hour=section.quiet_until_hour,
                per_hour_max=self.per_hour_max,
            )
            for name, section in self.contacts.items()
        )
