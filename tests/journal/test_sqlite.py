"""Writing the journal."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from jurymast.domain.errors import JournalError, JournalUnwritable
from jurymast.domain.events import MarketScreened, ModeChanged
from jurymast.domain.status import EmergencyMode
from jurymast.journal import queries, sqlite
from jurymast.journal.queries import JournalReader
from jurymast.journal.sqlite import SqliteJournal
from jurymast.testing.clock import START, FakeClock


def screened(number: int) -> MarketScreened:
    return MarketScreened(at=START, ticker="KXRAIN", decision_id="d1", reason="spread", detail=str(number))


def numbers(journal: SqliteJournal) -> list[int]:
    return [int(row.event.detail) for row in journal.read([MarketScreened])]


def reopened(path: Path) -> SqliteJournal:
    return SqliteJournal.open(path, clock=FakeClock())


@contextmanager
def held_up(journal: SqliteJournal) -> Iterator[list[str]]:
    """Stops the writer inside its next transaction until the block ends; yields the transactions begun."""
    begun: list[str] = []
    inside, go_on = threading.Event(), threading.Event()

    def trace(statement: str) -> None:
        if statement.startswith("BEGIN"):
            begun.append(statement)
            inside.set()
            go_on.wait(10)

    journal._connection.set_trace_callback(trace)
    journal.post(screened(0))
    assert inside.wait(10)
    try:
        yield begun
    finally:
        go_on.set()


async def test_posts_and_appends_share_one_order(journal: SqliteJournal) -> None:
    """Events are numbered from 1 in the order of the calls, whichever way they were written."""
    for number in range(1, 300):
        if number % 3:
            journal.post(screened(number))
        else:
            await journal.append(screened(number))
    await journal.append()
    rows = list(journal.read())
    assert [row.seq for row in rows] == list(range(1, 300))
    assert [row.event for row in rows] == [screened(number) for number in range(1, 300)]


async def test_an_append_is_durable_when_it_returns(journal: SqliteJournal, path: Path) -> None:
    """Another program sees the event at once."""
    await journal.append(screened(1))
    with JournalReader(path) as reader:
        assert reader.last(MarketScreened) == screened(1)


async def test_waiting_events_share_one_transaction(journal: SqliteJournal) -> None:
    """Everything that queued up while a commit was under way goes into the next one together."""
    with held_up(journal) as begun:
        for number in range(1, 101):
            journal.post(screened(number))
        waiting = [asyncio.create_task(journal.append(screened(number))) for number in range(101, 111)]
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert len(begun) == 2
    assert numbers(journal) == list(range(111))


async def test_giving_up_waiting_does_not_take_events_back(journal: SqliteJournal) -> None:
    """A cancelled append is still written: an order it announced may have been sent."""
    with held_up(journal):
        waiting = asyncio.create_task(journal.append(screened(1)))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    await journal.append(screened(2))
    assert numbers(journal) == [0, 1, 2]


async def test_a_full_queue_refuses_and_forgets_nothing(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that falls behind is reported to whoever writes next; what was accepted is still written,
    and once there is room the journal takes events again."""
    monkeypatch.setattr(sqlite, "QUEUE_EVENTS_MAX", 3)
    with held_up(journal):
        journal.post(screened(1), screened(2), screened(3))
        with pytest.raises(JournalUnwritable, match="fallen behind"):
            journal.post(screened(4))
        with pytest.raises(JournalUnwritable, match="fallen behind"):
            await journal.append(screened(5))
    await journal.append()
    await journal.append(screened(6))
    assert numbers(journal) == [0, 1, 2, 3, 6]


async def test_an_event_that_cannot_be_recorded_harms_no_other(journal: SqliteJournal) -> None:
    """A mistake in one event is that caller's error; nothing of its call is written, the journal goes on."""
    broken = MarketScreened(at=START, reason="r", detail="\ud800")
    with pytest.raises(JournalError, match="can't be recorded"):
        await journal.append(screened(1), broken)
    await journal.append(screened(2))
    assert numbers(journal) == [2]


async def test_closing_writes_what_waits(path: Path) -> None:
    """Posts made just before close are in the journal afterwards, and numbering goes on at the next start."""
    journal = reopened(path)
    for number in range(1, 1001):
        journal.post(screened(number))
    await journal.close()
    await journal.close()
    journal = reopened(path)
    await journal.append(screened(1001))
    assert numbers(journal) == list(range(1, 1002))
    assert [row.seq for row in journal.read(after_seq=1000)] == [1001]
    await journal.close()


async def test_a_closed_journal_takes_nothing(path: Path) -> None:
    """After close every write raises."""
    journal = reopened(path)
    await journal.close()
    with pytest.raises(JournalUnwritable, match="is closed"):
        journal.post(screened(1))
    with pytest.raises(JournalUnwritable, match="is closed"):
        await journal.append(screened(1))


async def test_restarting_reads_page_by_page_from_any_place(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal longer than a page is read whole and in order, also by kinds and from the middle."""
    monkeypatch.setattr(queries, "EVENTS_MAX", 7)
    mode = ModeChanged(at=START, old=EmergencyMode.NORMAL, new=EmergencyMode.MINIMAL, reason="outage")
    for number in range(1, 51):
        journal.post(screened(number), mode)
    await journal.append()
    assert [row.seq for row in journal.read()] == list(range(1, 101))
    assert [row.seq for row in journal.read([ModeChanged], after_seq=50)] == list(range(52, 101, 2))
    assert [row.seq for row in journal.read([ModeChanged, MarketScreened], after_seq=90)] == list(
        range(91, 101)
    )


@pytest.mark.parametrize("change", ["UPDATE events SET body = '{}'", "DELETE FROM events"])
async def test_the_past_can_not_be_changed(journal: SqliteJournal, path: Path, change: str) -> None:
    """Not even a person with a SQL shell updates or deletes an event by accident."""
    await journal.append(screened(1))
    with (
        closing(sqlite3.connect(path)) as shell,
        pytest.raises(sqlite3.IntegrityError, match="events are never"),
    ):
        shell.execute(change)
    assert numbers(journal) == [1]


async def test_times_in_the_table_sort_as_text(journal: SqliteJournal, path: Path) -> None:
    """The time column is UTC in one width, with the keys of the event beside it."""
    await journal.append(screened(1))
    with closing(sqlite3.connect(path)) as shell:
        rows = shell.execute("SELECT seq, at, kind, decision_id, ticker FROM events").fetchall()
    assert rows == [(1, "2026-01-05T12:00:00.000000+00:00", "market_screened", "d1", "KXRAIN")]


async def test_commits_wait_for_the_disk(journal: SqliteJournal) -> None:
    """A commit is synced before it is acknowledged, and readers need not wait for it."""
    await journal.append()
    assert journal._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert journal._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
