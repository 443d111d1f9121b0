"""The everyday of long ago is put aside, and nobody who reads misses it."""

from __future__ import annotations

import asyncio
import csv
import io
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from history_world import START, cycle, decided, life, told, write
from jurymast.app.config import Config
from jurymast.app.keeping import keep_short
from jurymast.app.settings import load_settings
from jurymast.domain.errors import ConfigError, JournalError
from jurymast.domain.events import CycleFinished, DecisionMade, ProviderChanged
from jurymast.faces.cli.main import cli
from jurymast.faces.web.pages import Pages
from jurymast.journal import aside, sqlite
from jurymast.journal.history import BEGINNING, HistoryFile
from jurymast.journal.queries import JournalReader
from jurymast.journal.sqlite import SqliteJournal
from jurymast.testing.clock import FakeClock

DAYS = 100.0


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hundred days of a bot's life, read into its history."""
    monkeypatch.setattr(sqlite, "ROWS_LEFT", 10)
    path = tmp_path / "journal.db"
    asyncio.run(write(path, life(DAYS, seed=2)))
    HistoryFile(path).catch_up()
    return path


def shorten(path: Path, days: float = 30.0) -> None:
    async def run() -> None:
        clock = FakeClock(START + timedelta(days=DAYS))
        book = SqliteJournal.open(path, clock=clock)
        try:
            await keep_short(book, HistoryFile(path), days, clock)
        finally:
            await book.close()

    asyncio.run(run())


def rows(path: Path) -> list[tuple[int, str]]:
    with JournalReader(path, strict=True) as reader:
        return [(row.seq, type(row.event).__name__) for row in reader.scan()]


def here(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute("SELECT COUNT(*) FROM events").fetchone()[0])


def test_readers_miss_nothing(journal: Path) -> None:
    """Every row in its place, by kind or all, from the beginning or the middle; most are elsewhere now."""
    before, history = rows(journal), told(HistoryFile(journal).past(BEGINNING))
    shorten(journal)
    assert len(aside.files(journal)) == 3, "March, April, May"
    assert here(journal) < len(before) * 0.75
    assert rows(journal) == before
    with JournalReader(journal) as reader:
        middle = len(before) // 3
        assert [r.seq for r in reader.scan([DecisionMade], after_seq=middle)] == [
            seq for seq, kind in before if kind == "DecisionMade" and seq > middle
        ]
        for days in (0, 10, 50, 69, 71, 99, 200):
            at = START + timedelta(days=days)
            seq = reader.seq_before(at)
            events = list(reader.scan(after_seq=seq))
            with_all = [r for r in reader.scan() if r.event.at >= at]
            assert [r.seq for r in events if r.event.at >= at] == [r.seq for r in with_all]
    assert told(HistoryFile(journal).past(BEGINNING)) == history
    for name in ("history.db", "history.db-wal", "history.db-shm"):
        journal.with_name(name).unlink(missing_ok=True)
    assert told(HistoryFile(journal).past(BEGINNING)) == history, "unwritten, from the rows alone"
    HistoryFile(journal).catch_up()
    assert told(HistoryFile(journal).past(BEGINNING)) == history


def test_what_a_start_needs_stays(journal: Path) -> None:
    """Only the everyday goes, only what is old, and never what history has not read."""
    late = START + timedelta(days=DAYS - 30.0)
    shorten(journal)
    with closing(sqlite3.connect(journal)) as db:
        left = db.execute("SELECT kind, MIN(at) FROM events GROUP BY kind").fetchall()
    oldest = {kind: datetime.fromisoformat(at) for kind, at in left}
    assert oldest["provider_changed"] < START + timedelta(days=5)
    assert oldest["decision_made"] >= late
    assert oldest["cycle_finished"] >= late
    with JournalReader(journal) as reader:
        assert reader.last(CycleFinished) is not None
        assert reader.last(ProviderChanged) is not None


def test_the_journal_goes_on_and_forgets_nothing(journal: Path) -> None:
    """Appended as before, numbered on; rows still can't be deleted; done twice it is done once."""
    shorten(journal)
    count = here(journal)
    shorten(journal)
    assert here(journal) == count
    last = rows(journal)[-1][0]

    async def more() -> None:
        book = SqliteJournal.open(journal, clock=FakeClock())
        await book.append(cycle(START + timedelta(days=DAYS, hours=1)))
        await book.close()

    asyncio.run(more())
    assert rows(journal)[-1] == (last + 1, "CycleFinished")
    with (
        closing(sqlite3.connect(journal)) as db,
        pytest.raises(sqlite3.IntegrityError, match="never deleted"),
    ):
        db.execute("DELETE FROM events")


def test_a_kill_in_the_middle_loses_and_doubles_nothing(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that are in both places are read once; the next time they are moved."""
    before = rows(journal)
    kept = aside._keep

    def killed(*arguments: object) -> None:
        kept(*arguments)  # type: ignore[arg-type] # handed through
        raise OSError("power cut")

    monkeypatch.setattr(aside, "_keep", killed)
    with pytest.raises(Exception, match="nothing was put aside: power cut"):
        shorten(journal)
    assert aside.files(journal)
    assert here(journal) == len(before)
    assert rows(journal) == before
    monkeypatch.setattr(aside, "_keep", kept)
    shorten(journal)
    assert here(journal) < len(before)
    assert rows(journal) == before


def test_what_history_has_not_read_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a history nothing goes, however old."""
    monkeypatch.setattr(sqlite, "ROWS_LEFT", 0)
    path = tmp_path / "journal.db"
    asyncio.run(write(path, [decided(START + timedelta(hours=number)) for number in range(50)]))
    shorten(path)
    assert here(path) == 50
    HistoryFile(path).catch_up()
    shorten(path)
    assert here(path) == 0


def test_tables_and_spending_reach_back(journal: Path) -> None:
    """An export has the same rows before and after, and no older ones than were asked for."""

    def exported(*options: str) -> list[dict[str, str]]:
        done = CliRunner().invoke(cli, ["export", "decisions", "--data-dir", str(journal.parent), *options])
        return list(csv.DictReader(io.StringIO(done.output)))

    days = str((datetime.now(UTC) - START).days - 20)
    before = exported(), exported("--days", days)
    assert 0 < len(before[1]) < len(before[0])
    shorten(journal)
    assert (exported(), exported("--days", days)) == before


def test_every_question_has_the_same_answer(journal: Path) -> None:
    """Either end first, by kind, market or decision, cut anywhere: what was put aside makes no difference."""
    with JournalReader(journal) as reader:
        made = reader.events([DecisionMade], limit=10_000)
        last_seq = reader.events(newest_first=True, limit=1)[0].seq

    def answers() -> list[list[int]]:
        kinds = (None, [DecisionMade], [DecisionMade, ProviderChanged], [ProviderChanged])
        asked = [
            {"kinds": kind, "newest_first": newest, "limit": limit, "after_seq": after} | more
            for kind in kinds
            for newest in (False, True)
            for limit in (1, 7, 500, 10_000)
            for after in (0, last_seq // 3, last_seq - 5)
            for more in ({}, {"ticker": made[3].event.ticker}, {"decision_id": made[3].event.decision_id})
        ]
        with JournalReader(journal) as reader:
            found = [[row.seq for row in reader.events(**each)] for each in asked]  # type: ignore[arg-type] # each by its name
            since = reader.since(START + timedelta(days=20), [DecisionMade, ProviderChanged])
        return [*found, [row.seq for row in since]]

    before = answers()
    assert sum(map(len, before)) > 10_000
    shorten(journal)
    assert answers() == before


def test_a_month_is_opened_only_for_what_may_stand_in_it(journal: Path) -> None:
    """A broken month is nobody's concern who asks for what is new, or for what is never put aside."""
    shorten(journal)
    *_, last = aside.files(journal)
    last.write_bytes(b"not a journal any more")
    with JournalReader(journal) as reader:
        assert reader.last(CycleFinished) is not None
        assert len(reader.events([DecisionMade], newest_first=True, limit=20)) == 20
        assert reader.events([ProviderChanged], limit=10_000)
        with pytest.raises(JournalError, match=last.name):
            reader.events([DecisionMade], newest_first=True, limit=10_000)


def test_why_reaches_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A market that was asked about long ago has its reasons still, on the page as well."""
    monkeypatch.setattr(sqlite, "ROWS_LEFT", 1)
    path = tmp_path / "journal.db"
    days = [cycle(START + timedelta(days=day)) for day in range(int(DAYS))]
    asyncio.run(write(path, [decided(START + timedelta(minutes=1), ticker="LONG-AGO"), *days]))
    HistoryFile(path).catch_up()

    def told_why() -> tuple[str, str]:
        done = CliRunner().invoke(cli, ["why", "LONG-AGO", "--data-dir", str(tmp_path)])
        assert done.exit_code == 0, done.output
        return done.output, Pages().why(tmp_path, "LONG-AGO")

    before = told_why()
    shorten(path)
    assert aside.files(path)
    assert told_why() == before


def test_too_short_is_refused() -> None:
    """A start reads some weeks back; 0 keeps all."""
    with pytest.raises(ConfigError, match="reads so far back"):
        load_settings(Config, "[journal]\nkeep_days = 3\n", source="t", environ={})
    assert load_settings(Config, "[journal]\nkeep_days = 0\n", source="t", environ={}).journal.keep_days == 0
