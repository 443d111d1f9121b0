"""The bot's heart: a beat a second, and at once when the first order is about to rest.

The pulse shows that the loop runs, the progress that the cycle does. A beat that can't be written is left
out: to the watchdog a bot without a disk is a dead one, and its halt is then the right thing.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from jurymast.domain.events import Event, OrderIntended
from jurymast.policy.deadman import Beat
from jurymast.ports import Clock
from jurymast.watch import heartbeat
from jurymast.watch.heartbeat import Heartbeat

BEAT_SECS: Final = 1.0


@dataclass(slots=True)
class Heart:
    """Writes the beats of one run, once :meth:`run` has begun. ``may_rest`` asks the books."""

    directory: Path
    clock: Clock
    may_rest: Callable[[], bool]
    progress: Callable[[], int]
    quiet_secs: float
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    _pulse: int = 0
    _said_resting: bool = False
    _beating: bool = False

    async def run(self) -> None:
        """Beat until cancelled."""
        self._beating = True
        while True:
            self._write()
            await self.clock.sleep(BEAT_SECS)

    def saw(self, event: Event) -> None:
        """An order is about to leave: the watchdog has to know before it may rest."""
        if self._beating and isinstance(event, OrderIntended) and not self._said_resting:
            self._write()

    def end(self) -> None:
        """The run ended in order and nothing rests: nobody needs to be watched any more."""
        if self._beating:
            self._write(ended=True)
            self._beating = False

    def _write(self, *, ended: bool = False) -> None:
        self._pulse += 1
        self._said_resting = self.may_rest()
        beat = Beat(
            self.run_id, self._pulse, self.progress(), self.quiet_secs, self._said_resting, ended
        )  # fmt: skip
        with suppress(OSError):
            heartbeat.write(
                self.directory,
                Heartbeat(heartbeat.VERSION, os.getpid(), self.clock.utc_now(), beat),
            )
