"""What every fact has, and the one fact that is about the running program itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all facts: see :mod:`jurymast.domain.events`."""

    at: datetime
    decision_id: str | None = None
    ticker: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsReloaded(Event):
    """The settings file has changed while the bot ran.

    ``applied`` are in force from here on, ``waiting`` want a restart; each says the setting, the value before
    and the new one. ``refused`` says why nothing of it was taken over: the settings of before go on.
    """

    applied: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    refused: str = ""
