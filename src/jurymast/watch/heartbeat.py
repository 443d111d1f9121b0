"""The heartbeat: a small file that a bot replaces every second and a watchdog reads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from jurymast.policy.deadman import Beat
from jurymast.watch.files import replace_file

NAME: Final = "heartbeat.json"
VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """One beat with who gives it, and when."""

    version: int
    pid: int
    at: datetime
    beat: Beat


def write(directory: Path, heartbeat: Heartbeat) -> None:
    """Replace the file. Raises OSError."""
    replace_file(directory / NAME, msgspec.json.encode(heartbeat), durable=False)


def read(directory: Path) -> Heartbeat | None:
    """The last beat; None when there is none that this version can read."""
    try:
        found = msgspec.json.decode((directory / NAME).read_bytes(), type=Heartbeat)
    except (OSError, msgspec.MsgspecError, ValueError):
        return None
    return found if found.version == VERSION else None
