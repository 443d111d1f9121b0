"""A bot that writes until it is killed. Run by test_crash.py: ``writing_child.py PATH FIRST``.

Numbers its events, mixes posts with awaited appends from several tasks, and prints a number only when
its append has returned.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from jurymast.domain.events import MarketScreened
from jurymast.journal.sqlite import SqliteJournal
from jurymast.testing.clock import START, FakeClock

TASKS = 4


def numbered(number: int) -> MarketScreened:
    return MarketScreened(at=START, ticker=f"KX{number % 7}", reason="spread", detail=str(number))


async def main() -> None:
    journal = SqliteJournal.open(Path(sys.argv[1]), clock=FakeClock())
    number = int(sys.argv[2])

    async def write() -> None:
        nonlocal number
        while True:
            journal.post(numbered(number))
            mine = number + 1
            number += 2
            await journal.append(numbered(mine))
            os.write(1, f"{mine}\n".encode())

    await asyncio.gather(*(write() for _ in range(TASKS)))


if __name__ == "__main__":
    asyncio.run(main())
