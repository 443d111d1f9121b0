"""When the journal can't be opened or written."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from jurymast.domain.errors import JournalLocked, JournalNewer, JournalUnwritable
from jurymast.domain.events import MarketScreened
from jurymast.journal.lock import WriterLock
from jurymast.journal.queries import SCHEMA_VERSION, JournalReader, lock_path
from jurymast.journal.sqlite import MIGRATIONS, SqliteJournal
from jurymast.testing.clock import START, FakeClock

CHILD = Path(__file__).with_name("limited_child.py")


def screened(number: int) -> MarketScreened:
    return MarketScreened(at=START, ticker="KXRAIN", reason="spread", detail=str(number))


def numbers(journal: SqliteJournal) -> list[int]:
    return [int(row.event.detail) for row in journal.read([MarketScreened])]


def reopened(path: Path) -> SqliteJournal:
    return SqliteJournal.open(path, clock=FakeClock())


def in_a_limited_child(restriction: str, path: Path) -> list[str]:
    """Lines that a child prints when it works under a restriction of the operating system."""
    done = subprocess.run(
        [sys.executable, str(CHILD), restriction, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


async def test_a_second_bot_is_refused(journal: SqliteJournal, path: Path) -> None:
    """Two bots on one journal would trade twice: the second is told who has it and what to do."""
    with pytest.raises(JournalLocked, match=rf"process {os.getpid()} .*{path}.*[Ss]top that bot"):
        reopened(path)
    await journal.append(screened(1))


def test_a_refused_start_leaves_the_journal_free(path: Path) -> None:
    """After a failed open nothing stays locked: mending the cause is enough."""
    path.write_text("not a database, but long enough to look like one " * 20)
    with pytest.raises(JournalUnwritable, match="is not a journal"):
        reopened(path)
    path.unlink()
    asyncio.run(reopened(path).close())


async def test_the_lock_file_of_a_dead_bot_does_not_matter(path: Path) -> None:
    """A lock file left behind by a kill stops nobody, whatever process id it names."""
    lock_path(path).write_text(f"{os.getppid()}\n")
    journal = reopened(path)
    assert lock_path(path).read_text() == f"{os.getpid()}\n"
    await journal.close()


def test_the_kernel_releases_the_lock_of_a_killed_bot(path: Path) -> None:
    """The lock lasts exactly as long as its owner lives."""
    hold = (
        "import sys, time; from pathlib import Path; from jurymast.journal.lock import WriterLock; "
        "lock = WriterLock(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(path)], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "held\n"
        with pytest.raises(JournalLocked, match=f"process {owner.pid} "):
            WriterLock(path)
        owner.kill()
    WriterLock(path).release()


def test_a_missing_directory_is_named_with_its_cure(tmp_path: Path) -> None:
    """A journal in a directory that does not exist is refused with the command that makes it."""
    with pytest.raises(JournalUnwritable, match=f"mkdir -p {tmp_path / 'absent'}"):
        reopened(tmp_path / "absent" / "journal.db")


def test_a_directory_is_no_journal(tmp_path: Path) -> None:
    """A path that is a directory is refused."""
    (tmp_path / "journal.db").mkdir()
    with pytest.raises(JournalUnwritable, match="can't be written"):
        reopened(tmp_path / "journal.db")


def test_a_database_of_something_else_is_left_alone(path: Path) -> None:
    """A database that holds other tables is refused and not touched."""
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE customers (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(JournalUnwritable, match="database of something else"):
        reopened(path)
    assert path.read_bytes() == before


async def test_a_journal_of_a_newer_version_is_left_alone(path: Path) -> None:
    """A schema this version does not know is refused with the way out, and not touched."""
    journal = reopened(path)
    await journal.close()
    with closing(sqlite3.connect(path)) as newer, newer:
        newer.execute("UPDATE meta SET value = '99' WHERE name = 'version'")
    with pytest.raises(JournalNewer, match=r"schema 99.*Install that version"):
        reopened(path)
    with pytest.raises(JournalNewer):
        JournalReader(path)


def test_a_place_without_write_ahead_log_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where SQLite can't keep a write-ahead log, readers would block the bot: refused."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(JournalUnwritable, match="local disk"):
        reopened(Path(":memory:"))


async def test_folding_never_steps_over_a_fact_it_does_not_know(journal: SqliteJournal, path: Path) -> None:
    """Reading for a restart raises at the row of a newer version, naming it."""
    await journal.append(screened(1))
    with closing(sqlite3.connect(path)) as newer, newer:
        newer.execute("INSERT INTO events VALUES (2, '2026', 'teleported', NULL, NULL, '{}')")
    with pytest.raises(JournalNewer, match="row 2: kind 'teleported'"):
        list(journal.read())
    assert [row.event for row in journal.read([MarketScreened])] == [screened(1)]


async def test_migrations_run_once_each_and_are_dated(path: Path) -> None:
    """A new journal records its version and when it was reached; opening again changes nothing."""
    for _ in range(2):
        journal = reopened(path)
        await journal.close()
    with closing(sqlite3.connect(path)) as shell:
        meta = dict(shell.execute("SELECT name, value FROM meta"))
    assert meta == {"version": "1", "version_1_at": START.isoformat()}
    assert len(MIGRATIONS) == SCHEMA_VERSION


@pytest.fixture
async def full_disk(path: Path) -> AsyncIterator[SqliteJournal]:
    """A journal on a disk with room for a few pages more."""
    journal = reopened(path)
    await journal.append(screened(1))
    (pages,) = journal._connection.execute("PRAGMA page_count").fetchone()
    journal._connection.execute(f"PRAGMA max_page_count = {pages + 4}")
    yield journal
    with suppress(JournalUnwritable):
        await journal.close()


async def fill(journal: SqliteJournal) -> int:
    """Append until the disk is full; the number of the last acknowledged event."""
    for number in range(2, 10_000):
        try:
            await journal.append(screened(number))
        except JournalUnwritable:
            return number - 1
    raise AssertionError("the disk never filled")


async def test_a_full_disk_stops_the_journal_for_good(full_disk: SqliteJournal) -> None:
    """After one failed write nothing is written behind the gap, even when there is room again."""
    last = await fill(full_disk)
    full_disk._connection.execute("PRAGMA max_page_count = 100000")
    for _ in range(3):
        with pytest.raises(JournalUnwritable, match=r"full.*Check the space on the disk"):
            await full_disk.append(screened(0))
        with pytest.raises(JournalUnwritable, match="Check the space on the disk"):
            full_disk.post(screened(0))
    assert numbers(full_disk) == list(range(1, last + 1))


async def test_everybody_who_waits_learns_of_the_failure(full_disk: SqliteJournal) -> None:
    """Appends in the failed transaction and behind it all raise; none hangs."""
    big = MarketScreened(at=START, reason="r", detail="x" * 100_000)
    outcomes = await asyncio.gather(*(full_disk.append(big) for _ in range(5)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [JournalUnwritable] * 5


async def test_a_stopped_journal_can_be_opened_again(path: Path, full_disk: SqliteJournal) -> None:
    """When the disk has room again, a new start finds everything that was acknowledged and goes on."""
    last = await fill(full_disk)
    with pytest.raises(JournalUnwritable):
        await full_disk.close()
    journal = reopened(path)
    await journal.append(screened(last + 1))
    assert numbers(journal) == list(range(1, last + 2))
    await journal.close()


async def test_a_user_who_may_only_read_reads_a_journal_at_rest() -> None:
    """A stopped bot's journal is readable for somebody who may not write beside it."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        journal = reopened(path)
        await journal.append(screened(7))
        await journal.close()
        assert in_a_limited_child("read", path) == ["7"]


def test_a_directory_without_permission_is_named(path: Path) -> None:
    """A user who may not write there is told so, and what to check."""
    (refusal,) = in_a_limited_child("user", path)
    assert refusal.startswith("JournalUnwritable:")
    assert "Permission denied" in refusal
    assert f"may write in {path.parent}" in refusal


async def test_a_disk_that_fills_under_a_running_bot_loses_nothing(path: Path) -> None:
    """With the operating system itself refusing to let the file grow, what was acknowledged before is
    there afterwards without a gap, and nothing that came later."""
    *acknowledged, refusal, still_refused = in_a_limited_child("size", path)
    assert refusal.startswith("JournalUnwritable:")
    assert still_refused == refusal
    journal = reopened(path)
    assert numbers(journal) == [int(number) for number in acknowledged]
    assert len(acknowledged) > 10
    await journal.close()
