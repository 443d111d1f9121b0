"""When a bot counts as dead: the rules of the watchdog. Pure; times are the watchdog's monotonic seconds.

Rules
  - A bot shows two signs: its pulse, once a second, and the progress of its cycle, with the time the present
    stage may take. No pulse for ``silence_secs``: the process is gone, stopped or hung. No progress for that
    and the stage's own time: the cycle hangs although the process lives.
  - Only time in which the watchdog itself was awake counts, at most ``LOOK_GAP_SECS_MAX`` a look: a machine
    that slept has a silent bot on waking, and a well one a second later.
  - A new run is a new bot: all counting starts anew. One that ended in order is not dead.
  - A heartbeat that can't be read is one that has not changed.

  beat            WAITING     WELL                     SILENT      ENDED
  none yet        WAITING     -                        -           -
  another run     WELL        WELL                     WELL        WELL
  ended           ENDED       ENDED                    ENDED       ENDED
  moved           WELL        WELL                     WELL        (not possible)
  not moved       WELL        WELL, then SILENT        SILENT      ENDED
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

LOOK_GAP_SECS_MAX: Final = 2.0
"""The most that one look adds to a silence."""


@dataclass(frozen=True, slots=True)
class Beat:
    """Signs of life. ``quiet_secs`` is how long the present stage of the cycle may take."""

    run_id: str
    pulse: int
    progress: int
    quiet_secs: float
    may_rest: bool
    ended: bool = False


class Verdict(StrEnum):
    """What the watchdog thinks of the bot."""

    WAITING = "waiting"
    WELL = "well"
    SILENT = "silent"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Deadman:
    """State of the machine: the last beat, when it was looked at, and how long each sign has been missing."""

    beat: Beat | None = None
    looked_at: float | None = None
    no_pulse_secs: float = 0.0
    no_progress_secs: float = 0.0

    def verdict(self, silence_secs: float) -> Verdict:
        """Alive, dead, or something else."""
        if self.beat is None:
            return Verdict.WAITING
        if self.beat.ended:
            return Verdict.ENDED
        hung = self.no_progress_secs >= silence_secs + self.beat.quiet_secs
        return Verdict.SILENT if self.no_pulse_secs >= silence_secs or hung else Verdict.WELL

    @property
    def silent_secs(self) -> float:
        """How long the sign that has been missing longest has been missing."""
        return max(self.no_pulse_secs, self.no_progress_secs)

    def why(self, silence_secs: float) -> str:
        """Which sign is missing, for people."""
        if self.no_pulse_secs >= silence_secs:
            return f"no heartbeat for {self.no_pulse_secs:.0f} s"
        return f"its process lives, but its cycle has not moved for {self.no_progress_secs:.0f} s"


def look(state: Deadman, beat: Beat | None, now: float) -> Deadman:
    """Take in what the heartbeat says now; None when it can't be read."""
    gap = 0.0 if state.looked_at is None else min(max(0.0, now - state.looked_at), LOOK_GAP_SECS_MAX)
    old = state.beat
    if beat is None or old is None:
        return replace(
            state, beat=beat or old, looked_at=now,
            no_pulse_secs=state.no_pulse_secs + (gap if old else 0.0),
            no_progress_secs=state.no_progress_secs + (gap if old else 0.0),
        )  # fmt: skip
    if beat.run_id != old.run_id:
        return Deadman(beat, now)
    return Deadman(
        beat,
        now,
        0.0 if beat.pulse != old.pulse else state.no_pulse_secs + gap,
        0.0 if beat.progress != old.progress else state.no_progress_secs + gap,
    )
