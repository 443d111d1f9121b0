"""A bot under a restriction of the operating system. Run by test_refusals.py: ``limited_child.py WHAT PATH``.

``user`` opens the journal as a user who may not write beside it, ``read`` reads it as one; ``size`` writes
until the file may not grow, then again with the limit gone. Prints numbers and refusals, a line each.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from pathlib import Path

from jurymast.domain.errors import JournalUnwritable
from jurymast.domain.events import MarketScreened
from jurymast.journal.queries import JournalReader
from jurymast.journal.sqlite import SqliteJournal
from jurymast.testing.clock import START, FakeClock

NOBODY = 65534
ROOM_BYTES = 600_000


def say(line: object) -> None:
    sys.stdout.write(f"{line}\n")


def without_permission(path: Path) -> None:
    """From here on this process may not write in the directory of the journal."""
    if os.getuid() == 0:
        os.setuid(NOBODY)
    else:
        path.parent.chmod(0o555)


def read(path: Path) -> None:
    path.parent.chmod(0o755)
    without_permission(path)
    with JournalReader(path) as reader:
        for row in reader.events([MarketScreened]):
            say(row.event.detail)


async def until_full(path: Path) -> None:
    journal = SqliteJournal.open(path, clock=FakeClock())
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM_BYTES, most))
    for number in range(1, 10_000):
        try:
            await journal.append(MarketScreened(at=START, reason="spread", detail=str(number)))
        except JournalUnwritable as refusal:
            say(f"JournalUnwritable: {refusal}")
            break
        say(number)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    await journal.append(MarketScreened(at=START, reason="spread", detail="0"))


def main() -> None:
    restriction, path = sys.argv[1], Path(sys.argv[2])
    try:
        if restriction == "user":
            without_permission(path)
            SqliteJournal.open(path, clock=FakeClock())
        elif restriction == "read":
            read(path)
        else:
            asyncio.run(until_full(path))
    except JournalUnwritable as refusal:
        say(f"JournalUnwritable: {refusal}")


if __name__ == "__main__":
    main()
