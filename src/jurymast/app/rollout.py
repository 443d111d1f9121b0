"""Where the move from another decision maker stands, in ``rollout.json`` of the data directory.

Latched: it outlives bot and database, the running host looks at it before each decision, and a person changes
it from any terminal. Without the file nothing is moved and ours decides. One that can't be read is SHADOW:
theirs decides until somebody has looked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import msgspec

from jurymast.domain.errors import ControlUnwritable, JournalError
from jurymast.domain.events import RolloutChanged, RolloutCompared
from jurymast.domain.money import USD, Micros
from jurymast.domain.rollout import Comparison, Phase, Rollout
from jurymast.journal.queries import JournalReader
from jurymast.policy import rollout as rules
from jurymast.watch.files import Stamp, replace_file, stamp, taking_turns

ROLLOUT: Final = "rollout.json"
LOCK: Final = "rollout.lock"
BYTES_MAX: Final = 65_536
REASON_CHARS_MAX: Final = 500
COMPARED_MAX: Final = 10_000
"""Comparisons that a report reads at most."""


class RolloutFile:
    """The phase of one data directory. Reading costs a look at the file system."""

    def __init__(self, directory: Path) -> None:
        self.path: Final = directory / ROLLOUT
        self._lock = directory / LOCK
        self._seen: tuple[Stamp, Rollout] | None = None

    @property
    def begun(self) -> bool:
        """Whether anybody has ever begun a move here."""
        return stamp(self.path) is not None

    def state(self) -> Rollout:
        """The phase now. Never raises."""
        found = stamp(self.path)
        if self._seen is None or self._seen[0] != found:
            self._seen = (found, self._read())
        return self._seen[1]

    def change(self, how: Callable[[Rollout], Rollout]) -> Rollout:
        """Let ``how`` make a new state of the present one, and keep it. Raises ControlUnwritable."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with taking_turns(self._lock):
                before = self._read()
                changed = how(before)
                after = replace(changed, serial=before.serial + 1, reason=changed.reason[:REASON_CHARS_MAX])
                body = msgspec.json.encode(after)
                replace_file(self.path, msgspec.json.format(body, indent=2) + b"\n")
        except OSError as error:
            raise ControlUnwritable(
                f"{self.path} can't be written: {error.strerror}. The phase is what it was."
            ) from error
        return after

    def _read(self) -> Rollout:
        try:
            with self.path.open("rb") as file:
                body = file.read(BYTES_MAX + 1)
            return msgspec.json.decode(body, type=Rollout)
        except FileNotFoundError:
            return Rollout(reason="no move was begun")
        except (OSError, msgspec.MsgspecError, ValueError) as error:
            return Rollout(Phase.SHADOW, 0, reason=f"{ROLLOUT} can't be read ({error}): theirs decides")


def compared(data_dir: Path, rollout: Rollout, window: int) -> list[Comparison]:
    """The last ``window`` of what was compared since the phase began, oldest first. Raises JournalError."""
    with JournalReader(data_dir / "journal.db") as journal:
        rows = journal.events([RolloutCompared], newest_first=True, limit=min(window, COMPARED_MAX))
    return [
        row.event.comparison
        for row in reversed(rows)
        if isinstance(row.event, RolloutCompared) and (rollout.since is None or row.event.at >= rollout.since)
    ]


@dataclass(frozen=True, slots=True)
class Change:
    """One step of the past."""

    at: str
    old: Phase
    new: Phase
    reason: str
    by_hand: bool


def changes(data_dir: Path, limit: int = 20) -> list[Change]:
    """The latest steps, newest first; none where there is no journal yet."""
    try:
        with JournalReader(data_dir / "journal.db") as journal:
            rows = journal.events([RolloutChanged], newest_first=True, limit=limit)
    except JournalError:
        return []
    found = (row.event for row in rows)
    return [
        Change(event.at.isoformat(), event.old, event.new, event.reason, event.by_hand)
        for event in found
        if isinstance(event, RolloutChanged)
    ]


def report(comparisons: Iterable[Comparison]) -> dict[str, Any]:
    """Agreement, quality, latency and cost, ready for JSON. Money in dollars, times in seconds."""
    rows = list(comparisons)
    found, (ours, theirs) = rules.tally(rows), rules.marks(rows)
    return {
        **asdict(found),
        "ours_cost": _usd(found.ours_cost),
        "theirs_cost": _usd(found.theirs_cost),
        "agreement": found.agreed / found.both if found.both else None,
        "ours_bets_marked": ours.bets,
        "ours_mark_cents": ours.mean / 10_000 if ours.bets else None,
        "theirs_bets_marked": theirs.bets,
        "theirs_mark_cents": theirs.mean / 10_000 if theirs.bets else None,
    }


def _usd(amount: Micros | None) -> float | None:
    return None if amount is None else amount / USD
