"""Which mode the evidence calls for: down at once, up one rung at a time.

Every kind of evidence has its judge, which gives a floor: the providers and the operator here, money, loss,
data and orders in :mod:`.judges`. The safest floor wins, and one rule leads back up.

| floor of the providers | when |
|---|---|
| CONSERVATIVE | only small models usable, at once; fewer than two able providers for ``thin_secs`` |
| CACHED | nobody usable, or ``failed_decisions_max`` decisions in a row unanswered; opinions are cached |
| MINIMAL | the same with nothing cached, or for ``cached_secs_max`` |
| SUSPENDED | nobody usable for ``suspend_after_secs`` |

| up from | to | dwell | validated answers | and |
|---|---|---|---|---|
| CONSERVATIVE | NORMAL | ``dwell_secs`` | ``successes_to_rise`` | |
| CACHED, MINIMAL | CONSERVATIVE | ``blind_dwell_secs`` | ``successes_to_rise`` (of probes) | |
| SUSPENDED | MINIMAL | ``suspended_dwell_secs`` | ``suspended_successes`` (of probes) | books squared |
| KILLED | SUSPENDED | | | only by :func:`lift`, by a person with a reason |

Rules
  - No floor may call for worse than the rung that is climbed to; dwell and answers count since the mode was
    entered, and an unanswered decision breaks the row of answers. No mode ends by the clock alone.
  - Flapping: ``flap_changes`` changes of course within ``flap_window_secs`` hold the present rung, or a safer
    one, for ``flap_hold_secs``. A fall that goes on falling is one change of course.
  - By hand anyone may demand a safer mode; it holds until taken back or until its time is over, and then
    the way up is climbed like any other.
  - Size comes back by halves: after a mode without live models a quarter, a half and the whole within
    ``ramp_secs`` of answered questions. What passes without questions, or up to a failed one, earns nothing.

This module knows nothing of providers or clocks; ``now`` is monotonic seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from jurymast.domain.status import EmergencyMode
from jurymast.policy.judges import NOTHING_SPENT, Floor, JudgeSettings, Thinking, Trading, judged, safest
from jurymast.policy.restart import Earlier

RISES: Final[Mapping[EmergencyMode, EmergencyMode]] = {
    EmergencyMode.NORMAL: EmergencyMode.NORMAL,
    EmergencyMode.CONSERVATIVE: EmergencyMode.NORMAL,
    EmergencyMode.CACHED: EmergencyMode.CONSERVATIVE,
    EmergencyMode.MINIMAL: EmergencyMode.CONSERVATIVE,
    EmergencyMode.SUSPENDED: EmergencyMode.MINIMAL,
    EmergencyMode.KILLED: EmergencyMode.SUSPENDED,
}
"""One rung up from each mode. What models answer again is CONSERVATIVE, not a cache of old answers."""
SHARES: Final = (0.25, 0.5, 1.0)
"""Of the full size, from recovery on."""


@dataclass(frozen=True, slots=True)
class LadderSettings:
    """Times in seconds."""

    thin_secs: float = 60.0
    cached_secs_max: float = 900.0
    suspend_after_secs: float = 4 * 3_600.0
    dwell_secs: float = 300.0
    blind_dwell_secs: float = 30.0
    suspended_dwell_secs: float = 900.0
    successes_to_rise: int = 3
    suspended_successes: int = 10
    failed_decisions_max: int = 3
    flap_changes: int = 4
    flap_window_secs: float = 3_600.0
    flap_hold_secs: float = 3_600.0
    ramp_secs: float = 1_800.0
    ramp_gap_secs_max: float = 300.0
    judges: JudgeSettings = field(default_factory=JudgeSettings)

    def dwell_in(self, mode: EmergencyMode) -> float:
        """Least time in a mode before a better one, in seconds."""
        match mode:
            case EmergencyMode.CACHED | EmergencyMode.MINIMAL:
                return min(self.blind_dwell_secs, self.dwell_secs)
            case EmergencyMode.SUSPENDED:
                return self.suspended_dwell_secs
            case EmergencyMode.KILLED:
                return math.inf
            case _:
                return self.dwell_secs

    def answers_in(self, mode: EmergencyMode) -> int:
        """Least validated answers in a mode before a better one."""
        return self.suspended_successes if mode is EmergencyMode.SUSPENDED else self.successes_to_rise


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
    """State of the machine. Times are monotonic seconds; ``-inf`` means never.

    ``changes`` are the last changes of course and ``falling`` whether the last was down. ``blind_since`` is
    since when no question could be answered, ``dark_since`` since when no route is usable. ``reconciled``
    counts since the mode was entered. ``ramp_secs`` of answered questions since the last recovery.
    """

    mode: EmergencyMode = EmergencyMode.NORMAL
    reason: str = "start"
    entered_at: float = -math.inf
    successes: int = 0
    failures_in_row: int = 0
    thin_since: float | None = None
    dark_since: float | None = None
    blind_since: float | None = None
    changes: tuple[float, ...] = ()
    falling: bool = False
    held_until: float = -math.inf
    manual: EmergencyMode = EmergencyMode.NORMAL
    manual_reason: str = ""
    manual_until: float = math.inf
    thinking: Thinking = NOTHING_SPENT
    trading: Trading | None = None
    reconciled: bool = False
    ramp_secs: float = math.inf
    decided_at: float | None = None


def turns(
    changes: Iterable[tuple[float, EmergencyMode, EmergencyMode]],
) -> tuple[float, ...]:
    """When the course changed, of changes (at, from, to), oldest first: a fall that goes on is one."""
    times, falling = [], False
    for at, old, new in changes:
        fell = new.severity > old.severity
        if not (fell and falling):
            times.append(at)
        falling = fell
    return tuple(times)


def revive(earlier: Earlier, now: float, settings: LadderSettings) -> Ladder:
    """The ladder after a restart: mode, changes of course and size are those before it.

    A restart is no evidence that judgement is better, and no way around the damping of flaps.
    """
    recent = tuple(at for at in earlier.mode_changes if now - at < settings.flap_window_secs)
    changes = recent[-settings.flap_changes :]
    flapping = len(changes) >= settings.flap_changes
    return Ladder(
        mode=earlier.mode,
        reason="as before the restart",
        entered_at=now,
        changes=changes,
        held_until=changes[-1] + settings.flap_hold_secs if flapping else -math.inf,
        ramp_secs={SHARES[0]: 0.0, SHARES[1]: settings.ramp_secs / 2}.get(earlier.size_share, math.inf),
    )


def answered(ladder: Ladder) -> Ladder:
    """A validated answer, of a decision or a probe, came back."""
    return replace(ladder, successes=ladder.successes + 1, failures_in_row=0)


def decided(ladder: Ladder, now: float, settings: LadderSettings) -> Ladder:
    """A real question was answered: what has passed since the last one counts towards full size."""
    if ladder.ramp_secs >= settings.ramp_secs or ladder.mode.severity >= EmergencyMode.CACHED.severity:
        return ladder
    earned = 0.0 if ladder.decided_at is None else min(now - ladder.decided_at, settings.ramp_gap_secs_max)
    return replace(ladder, ramp_secs=ladder.ramp_secs + earned, decided_at=now)


def unanswered(ladder: Ladder) -> Ladder:
    """A decision ended without an answer from any route."""
    return replace(ladder, successes=0, failures_in_row=ladder.failures_in_row + 1, decided_at=None)


def told(ladder: Ladder, evidence: Thinking | Trading) -> Ladder:
    """What the AI layer says of its means, or the trading rooms of books, orders and data."""
    if isinstance(evidence, Thinking):
        return ladder if evidence == ladder.thinking else replace(ladder, thinking=evidence)
    reconciled = ladder.reconciled or evidence.reconciled
    if evidence == ladder.trading and reconciled == ladder.reconciled:
        return ladder
    return replace(ladder, trading=evidence, reconciled=reconciled)


def force(ladder: Ladder, mode: EmergencyMode, reason: str, until: float = math.inf) -> Ladder:
    """Demand at least this mode by hand, until a monotonic time."""
    return replace(ladder, manual=mode, manual_reason=reason, manual_until=until)


def release(ladder: Ladder) -> Ladder:
    """Take a demand by hand back; the rungs are then climbed by evidence."""
    return replace(ladder, manual=EmergencyMode.NORMAL, manual_reason="", manual_until=math.inf)


def lift(ladder: Ladder, reason: str, now: float, settings: LadderSettings) -> Ladder:
    """A person ends KILLED, into SUSPENDED; in any other mode nothing happens.

    Raises ValueError without a reason. What still calls for KILLED brings it back with the next step.
    """
    if not reason.strip():
        raise ValueError("KILLED is ended by a person who says why: give a reason")
    if ladder.mode is not EmergencyMode.KILLED:
        return ladder
    return _moved(release(ladder), Floor(RISES[ladder.mode], f"by hand: {reason}"), now, settings)


def overridden(ladder: Ladder, mode: EmergencyMode, settings: LadderSettings) -> EmergencyMode:
    """``mode`` in spite of the evidence about providers, as far as a person may go: not out of KILLED, not
    below what another judge or a demand calls for, and not out of SUSPENDED before the books are squared."""
    unsure = ladder.trading is not None and not ladder.reconciled
    if ladder.mode is EmergencyMode.KILLED or (ladder.mode is EmergencyMode.SUSPENDED and unsure):
        return ladder.mode
    floor = judged(ladder.thinking, ladder.trading, settings.judges)
    return mode.safest(ladder.manual).safest(floor.mode)


def share_of(ladder: Ladder, settings: LadderSettings) -> float:
    """How much of the full size judgement has earned back since its last loss."""
    if ladder.ramp_secs >= settings.ramp_secs:
        return SHARES[-1]
    return SHARES[1] if ladder.ramp_secs >= settings.ramp_secs / 2 else SHARES[0]


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
    ladder = _timed(ladder, capacity, now, settings)
    floor = called_for(ladder, capacity, now, settings)
    if floor.mode.severity > ladder.mode.severity:
        return _moved(ladder, floor, now, settings)
    rung = floor.mode.safest(RISES[ladder.mode])
    if rung.severity < ladder.mode.severity and not _waits(ladder, now, settings):
        reason = f"{ladder.successes} answers, {capacity.total} providers up"
        return _moved(ladder, Floor(rung, reason), now, settings)
    return ladder


def called_for(ladder: Ladder, capacity: Capacity, now: float, settings: LadderSettings) -> Floor:
    """The safest floor of all judges."""
    by_hand = Floor(ladder.manual, f"by hand: {ladder.manual_reason}")
    return safest(
        _providers(ladder, capacity, now, settings),
        judged(ladder.thinking, ladder.trading, settings.judges),
        by_hand,
    )


def why_not_higher(ladder: Ladder, now: float, settings: LadderSettings) -> str:
    """What the present mode still waits for, for people."""
    waits = [f"set by hand: {ladder.manual_reason}"] if ladder.manual is not EmergencyMode.NORMAL else []
    floor = judged(ladder.thinking, ladder.trading, settings.judges)
    waits += [floor.reason] if floor.reason else []
    return ", ".join([*waits, *_waits(ladder, now, settings)]) or "capacity"


def _waits(ladder: Ladder, now: float, settings: LadderSettings) -> list[str]:
    """What has still to come before a better mode, evidence apart."""
    if ladder.mode is EmergencyMode.KILLED:
        return ["a person with a reason"]
    waits = []
    if now < ladder.held_until:
        waits.append(f"held {ladder.held_until - now:.0f} s after flapping")
    if now - ladder.entered_at < (dwell_secs := settings.dwell_in(ladder.mode)):
        waits.append(f"{ladder.entered_at + dwell_secs - now:.0f} s of dwell left")
    if (missing := settings.answers_in(ladder.mode) - ladder.successes) > 0:
        waits.append(f"{missing} validated answers missing")
    unsure = ladder.trading is not None and not ladder.reconciled
    if ladder.mode is EmergencyMode.SUSPENDED and unsure:
        waits.append("a clean reconciliation missing")
    return waits


def _timed(ladder: Ladder, capacity: Capacity, now: float, settings: LadderSettings) -> Ladder:
    dark = not capacity.total
    blind = dark or ladder.failures_in_row >= settings.failed_decisions_max
    times = (
        _since(ladder.thin_since, capacity.able < 2, now),
        _since(ladder.dark_since, dark, now),
        _since(ladder.blind_since, blind, now),
    )
    if times != (ladder.thin_since, ladder.dark_since, ladder.blind_since):
        ladder = replace(ladder, thin_since=times[0], dark_since=times[1], blind_since=times[2])
    return release(ladder) if now >= ladder.manual_until else ladder


def _since(began: float | None, so: bool, now: float) -> float | None:
    return None if not so else now if began is None else began


def _providers(ladder: Ladder, capacity: Capacity, now: float, settings: LadderSettings) -> Floor:
    if ladder.blind_since is not None:
        if ladder.dark_since is not None and now - ladder.dark_since >= settings.suspend_after_secs:
            return Floor(EmergencyMode.SUSPENDED, f"no provider for {settings.suspend_after_secs:.0f} s")
        failed = f"{ladder.failures_in_row} decisions in a row without an answer"
        reason = failed if ladder.dark_since is None else "no provider answers"
        if not ladder.thinking.cached:
            return Floor(EmergencyMode.MINIMAL, reason)
        if now - ladder.blind_since >= settings.cached_secs_max:
            return Floor(EmergencyMode.MINIMAL, f"{reason} for {settings.cached_secs_max:.0f} s")
        return Floor(EmergencyMode.CACHED, f"{reason}, {ladder.thinking.cached} opinions cached")
    if not capacity.able:
        return Floor(EmergencyMode.CONSERVATIVE, "only small models answer")
    if ladder.thin_since is not None and now - ladder.thin_since >= settings.thin_secs:
        return Floor(EmergencyMode.CONSERVATIVE, "fewer than two able providers")
    return Floor(EmergencyMode.NORMAL, "two or more able providers")


def _moved(ladder: Ladder, floor: Floor, now: float, settings: LadderSettings) -> Ladder:
    falling = floor.mode.severity > ladder.mode.severity
    changes = tuple(at for at in ladder.changes if now - at < settings.flap_window_secs)
    if not (falling and ladder.falling):
        changes = (*changes, now)
    flapping = len(changes) >= settings.flap_changes
    blind = floor.mode.severity >= EmergencyMode.CACHED.severity
    return replace(
        ladder,
        mode=floor.mode,
        reason=floor.reason,
        entered_at=now,
        successes=0,
        reconciled=False,
        changes=changes[-settings.flap_changes :],
        falling=falling,
        held_until=now + settings.flap_hold_secs if flapping else ladder.held_until,
        ramp_secs=0.0 if blind else ladder.ramp_secs,
        decided_at=None if blind else ladder.decided_at,
    )
