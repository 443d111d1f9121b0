"""The journal after a kill."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from jurymast.journal.queries import JournalReader
from jurymast.journal.sqlite import SqliteJournal
from jurymast.testing.clock import FakeClock

SEED = 20260105
KILLS = 6
CHILD = Path(__file__).with_name("writing_child.py")


def acknowledged_until_killed(path: Path, first: int, enough: int) -> int:
    """The last number a writing child was told is durable before SIGKILL hit it mid-write."""
    child = subprocess.Popen(
        [sys.executable, str(CHILD), str(path), str(first)], stdout=subprocess.PIPE, text=True
    )
    with child:
        assert child.stdout is not None
        seen = [int(child.stdout.readline()) for _ in range(enough)]
        child.kill()
        seen += [int(line) for line in child.stdout if line.endswith("\n")]
    return max(seen)


async def test_what_was_acknowledged_survives_sigkill(path: Path) -> None:
    """Killed at any moment, the journal holds an unbroken beginning of all that was written, in order,
    at least up to the last acknowledged event; a reader sees it before any writer has come back."""
    moments = random.Random(SEED)
    written: list[int] = []
    for _ in range(KILLS):
        first = len(written) + 1
        last = acknowledged_until_killed(path, first, moments.randint(1, 400))
        with JournalReader(path, strict=True) as reader:
            rows = list(reader.scan())
            assert reader.writer_pid() is None
        assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
        written = [int(row.event.detail) for row in rows]
        assert written == list(range(1, len(rows) + 1))
        assert len(written) >= last >= first
    journal = SqliteJournal.open(path, clock=FakeClock())
    assert [int(row.event.detail) for row in journal.read()] == written
    await journal.close()
