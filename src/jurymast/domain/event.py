"""What every fact has."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all facts: see :mod:`jurymast.domain.events`."""

    at: datetime
    decision_id: str | None = None
    ticker: str | None = None
