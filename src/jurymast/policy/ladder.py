"""Which mode the evidence calls for: down at once, up one rung at a time.

Rules
  - No usable route, or ``failed_decisions_max`` decisions in a row without an answer: MINIMAL at once.
    After ``suspend_after_secs`` without a usable route: SUSPENDED.
  - Only small models left: CONSERVATIVE at once. Fewer than two able providers for
    ``thin_secs``: CONSERVATIVE.
  - Up: one rung after ``dwell_secs`` in the present one, ``successes_to_rise`` validated answers since
    it was entered, and evidence that calls for better. No mode ends by the clock alone. MINIMAL asks no
    question, so staying there proves nothing: it is left after ``blind_dwell_secs``, on answers to probes.
  - Flapping: ``flap_changes`` changes of mode within ``flap_window_secs`` hold the present rung, or a
    safer one, for ``flap_hold_secs``.
  - By hand anyone may force a safer mode; it holds until taken back or until its time is over, and then
    the way up is climbed like any other. The effective mode is the safest of all.

This module knows nothing of providers or clocks; ``now`` is monotonic seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from jurymast.domain.status import EmergencyMode

RISES: Final[Mapping[EmergencyMode, EmergencyMode]] = {
    EmergencyMode.NORMAL: EmergencyMode.NORMAL,
    EmergencyMode.CONSERVATIVE: EmergencyMode.NORMAL,
    EmergencyMode.CACHED: EmergencyMode.CONSERVATIVE,
    EmergencyMode.MINIMAL: EmergencyMode.CONSERVATIVE,
    EmergencyMode.SUSPENDED: EmergencyMode.MINIMAL,
    EmergencyMode.KILLED: EmergencyMode.SUSPENDED,
}
"""One rung up from each mode. What models answer again is CONSERVATIVE, not a cache of old answers."""


@dataclass(frozen=True, slots=True)
class LadderSettings:
    """Times in seconds."""

    thin_secs: float = 60.0
    suspend_after_secs: float = 4 * 3_600.0
    dwell_secs: float = 300.0
    blind_dwell_secs: float = 30.0
    successes_to_rise: int = 3
    failed_decisions_max: int = 3
    flap_changes: int = 4
    flap_window_secs: float = 3_600.0
    flap_hold_secs: float = 3_600.0

    def dwell_in(self, mode: EmergencyMode) -> float:
        """Least time in a mode before a better one, in seconds."""
        return (
            min(self.blind_dwell_secs, self.dwell_secs) if mode is EmergencyMode.MINIMAL else self.dwell_secs
        )


@dataclass(frozen=True, slots=True)
class Capacity:
    """Providers believed to answer, by what their opinion is worth."""

    able: int
    """Providers with a usable route of strong or mid tier."""
    small: int
    """Providers with a usable route of small tier."""

    @property
    def total(self) -> int:
        return self.able + self.small


@dataclass(frozen=True, slots=True)
class Ladder:
    """State of the machine. Times are monotonic seconds; ``-inf`` means never."""

    mode: EmergencyMode = EmergencyMode.NORMAL
    reason: str = "start"
    entered_at: float = -math.inf
    successes: int = 0
    failures_in_row: int = 0
    thin_since: float | None = None
    dark_since: float | None = None
    changes: tuple[float, ...] = ()
    held_until: float = -math.inf
    manual: EmergencyMode = EmergencyMode.NORMAL
    manual_reason: str = ""
    manual_until: float = math.inf


def revive(mode: EmergencyMode, changes: tuple[float, ...], now: float, settings: LadderSettings) -> Ladder:
    """The ladder after a restart, from the mode before it and the times at which that had changed.

    A restart is no evidence that judgement is better, and no way around the damping of flaps.
    """
    changes = tuple(at for at in changes if now - at < settings.flap_window_secs)[-settings.flap_changes :]
    flapping = len(changes) >= settings.flap_changes
    return Ladder(
        mode=mode,
        reason="as before the restart",
        entered_at=now,
        changes=changes,
        held_until=changes[-1] + settings.flap_hold_secs if flapping else -math.inf,
    )


def answered(ladder: Ladder) -> Ladder:
    """A validated answer, of a decision or a probe, came back."""
    return replace(ladder, successes=ladder.successes + 1, failures_in_row=0)


def unanswered(ladder: Ladder) -> Ladder:
    """A decision ended without an answer from any route."""
    return replace(ladder, successes=0, failures_in_row=ladder.failures_in_row + 1)


def force(ladder: Ladder, mode: EmergencyMode, reason: str, until: float = math.inf) -> Ladder:
    """Demand at least this mode by hand, until a monotonic time."""
    return replace(ladder, manual=mode, manual_reason=reason, manual_until=until)


def release(ladder: Ladder) -> Ladder:
    """Take a demand by hand back; the rungs are then climbed by evidence."""
    return replace(ladder, manual=EmergencyMode.NORMAL, manual_reason="", manual_until=math.inf)


def calm(ladder: Ladder) -> bool:
    """Whether time alone changes nothing: only new evidence or a hand does."""
    return (
        ladder.mode is EmergencyMode.NORMAL
        and ladder.manual is EmergencyMode.NORMAL
        and not ladder.failures_in_row
        and ladder.thin_since is None
        and ladder.dark_since is None
    )


def step(ladder: Ladder, capacity: Capacity, now: float, settings: LadderSettings) -> Ladder:
    """Look at the evidence and move: down as far as it says, up by one rung at most."""
    ladder = _timed(ladder, capacity, now)
    target, reason = _called_for(ladder, capacity, now, settings)
    if target.severity > ladder.mode.severity:
        return _moved(ladder, target, reason, now, settings)
    if target.severity < ladder.mode.severity and _may_rise(ladder, now, settings):
        rung = target.safest(RISES[ladder.mode])
        return _moved(
            ladder, rung, f"{ladder.successes} answers, {capacity.total} providers up", now, settings
        )
    return ladder


def why_not_higher(ladder: Ladder, now: float, settings: LadderSettings) -> str:
    """What the present mode still waits for, for people."""
    waits = []
    if ladder.manual is not EmergencyMode.NORMAL:
        waits.append(f"set by hand: {ladder.manual_reason}")
    if now < ladder.held_until:
        waits.append(f"held {ladder.held_until - now:.0f} s after flapping")
    if (left := ladder.entered_at + settings.dwell_in(ladder.mode) - now) > 0:
        waits.append(f"{left:.0f} s of dwell left")
    if (missing := settings.successes_to_rise - ladder.successes) > 0:
        waits.append(f"{missing} validated answers missing")
    return ", ".join(waits) or "capacity"


def _timed(ladder: Ladder, capacity: Capacity, now: float) -> Ladder:
    thin_since = None if capacity.able >= 2 else (ladder.thin_since if ladder.thin_since is not None else now)
    dark_since = None if capacity.total else (ladder.dark_since if ladder.dark_since is not None else now)
    if thin_since != ladder.thin_since or dark_since != ladder.dark_since:
        ladder = replace(ladder, thin_since=thin_since, dark_since=dark_since)
    return release(ladder) if now >= ladder.manual_until else ladder


def _called_for(
    ladder: Ladder, capacity: Capacity, now: float, settings: LadderSettings
) -> tuple[EmergencyMode, str]:
    target, reason = EmergencyMode.NORMAL, "two or more able providers"
    if ladder.dark_since is not None:
        target, reason = EmergencyMode.MINIMAL, "no provider answers"
        if now - ladder.dark_since >= settings.suspend_after_secs:
            target, reason = EmergencyMode.SUSPENDED, f"no provider for {settings.suspend_after_secs:.0f} s"
    elif ladder.failures_in_row >= settings.failed_decisions_max:
        target = EmergencyMode.MINIMAL
        reason = f"{ladder.failures_in_row} decisions in a row without an answer"
    elif not capacity.able:
        target, reason = EmergencyMode.CONSERVATIVE, "only small models answer"
    elif ladder.thin_since is not None and now - ladder.thin_since >= settings.thin_secs:
        target, reason = EmergencyMode.CONSERVATIVE, "fewer than two able providers"
    if ladder.manual.severity > target.severity:
        return ladder.manual, f"by hand: {ladder.manual_reason}"
    return target, reason


def _may_rise(ladder: Ladder, now: float, settings: LadderSettings) -> bool:
    return (
        ladder.mode is not EmergencyMode.KILLED
        and now - ladder.entered_at >= settings.dwell_in(ladder.mode)
        and ladder.successes >= settings.successes_to_rise
        and now >= ladder.held_until
    )


def _moved(ladder: Ladder, mode: EmergencyMode, reason: str, now: float, settings: LadderSettings) -> Ladder:
    changes = (*(at for at in ladder.changes if now - at < settings.flap_window_secs), now)
    flapping = len(changes) >= settings.flap_changes
    return replace(
        ladder,
        mode=mode,
        reason=reason,
        entered_at=now,
        successes=0,
        changes=changes[-settings.flap_changes :],
        held_until=now + settings.flap_hold_secs if flapping else ladder.held_until,
    )
