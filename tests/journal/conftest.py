"""A journal of its own for every test, on a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jurymast.journal.sqlite import SqliteJournal
from jurymast.testing.clock import FakeClock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
async def journal(path: Path) -> AsyncIterator[SqliteJournal]:
    opened = SqliteJournal.open(path, clock=FakeClock())
    yield opened
    await opened.close()
