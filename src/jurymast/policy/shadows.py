"""Which route is due a real question in shadow, beside the one that decides.

So that the last line is proven every day, its answers are compared with those that count, and a standby that
is back from an outage clears itself. Suspect routes come first.
"""

from __future__ import annotations

import math
from typing import Final, Protocol

from jurymast.domain.provider import Tier
from jurymast.domain.status import RouteState
from jurymast.policy.health import FleetHealth
from jurymast.policy.record import Record

PROVE_SECS: Final = 60.0
"""A suspect route without real questions gets one so soon."""


class Patience(Protocol):
    """How long a route may go without a real question, in seconds; 0 is for ever. A small, free model has its
    own."""

    @property
    def shadow_secs(self) -> float: ...

    @property
    def shadow_free_secs(self) -> float: ...


class Shadows:
    """Remembers until when nobody is due one: it is asked with every answer."""

    def __init__(self, began_at: float) -> None:
        self._began_at = began_at
        self._idle: tuple[float, object, object] = (-math.inf, None, None)
        """Until when, as long as the plan and the settings are these."""

    def next(self, health: FleetHealth, patience: Patience, now: float) -> Record | None:
        """The usable route that has waited longest beyond its patience; from now on it counts as asked."""
        plan = health.plan(now)
        if now < self._idle[0] and self._idle[1] is plan and self._idle[2] is patience:
            return None
        due: list[tuple[bool, float, Record]] = []
        idle_until = math.inf
        for record in health.records.values():
            small = record.spec.tier is Tier.SMALL
            patience_secs = patience.shadow_free_secs if small else patience.shadow_secs
            if not patience_secs:
                continue
            well = record.health.state is RouteState.HEALTHY
            since = max(record.last_real_at, self._began_at)
            due_at = since + (patience_secs if well else min(patience_secs, PROVE_SECS))
            idle_until = min(idle_until, due_at)
            if now < due_at or record.in_flight or record.sick or record.health.held_until > now:
                continue
            curious_secs = patience_secs * health.order.curiosity.get(record.route, 0.0)
            due.append((well, since - curious_secs, record))
        self._idle = idle_until, plan, patience
        if not due:
            return None
        record = min(due, key=lambda one: one[:2])[2]
        record.last_real_at = now
        return record
