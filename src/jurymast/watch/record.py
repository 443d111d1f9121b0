"""What the watchdog did, in a file of its own: the bot's database has one writer, and may be the broken part.

A line per step, JSON. The next start of a bot takes the lines over into its journal and puts the file aside.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

NAME: Final = "watchdog.jsonl"
TAKEN: Final = "watchdog.taken.jsonl"
BYTES_MAX: Final = 4 * 1024 * 1024
"""Read of one file."""


@dataclass(frozen=True, slots=True)
class Firing:
    """One step of one firing. ``proven``: the list of resting orders was read empty twice."""

    firing_id: str
    run_id: str
    at: datetime
    reason: str
    silent_secs: float
    count: int = 0
    tries: int = 0
    secs: float = 0.0
    proven: bool = False


def append(directory: Path, firing: Firing) -> None:
    """Add a line and wait for the disk. Raises OSError."""
    with (directory / NAME).open("ab") as file:
        file.write(msgspec.json.encode(firing) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def untaken(directory: Path) -> list[Firing]:
    """The last step of every firing that no bot has taken over yet."""
    last = {firing.firing_id: firing for firing in _lines(directory / NAME)}
    return list(last.values())


def taken(directory: Path) -> None:
    """Put the lines aside: they are in a journal now. Raises OSError."""
    path = directory / NAME
    if path.exists():
        path.replace(directory / TAKEN)


def dealt_with(directory: Path, run_id: str) -> bool:
    """Whether the orders of a run were taken back already, and proven gone."""
    lines = [*_lines(directory / NAME), *_lines(directory / TAKEN)]
    return any(firing.run_id == run_id and firing.proven for firing in lines)


def _lines(path: Path) -> Iterator[Firing]:
    try:
        with path.open("rb") as file:
            raw = file.read(BYTES_MAX)
    except OSError:
        return
    for line in raw.splitlines():
        try:
            yield msgspec.json.decode(line, type=Firing)
        except (msgspec.MsgspecError, ValueError):
            continue  # cut by a full disk
