"""History on disk: a cache of the journal that may be lost, broken or old and still tells the truth."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from history_world import START, life, told, write
from jurymast.domain.events import Event
from jurymast.journal import history as histories
from jurymast.journal.history import HOURS_KEPT, HistoryFile, Past
from jurymast.journal.sqlite import SqliteJournal
from jurymast.policy.history import History, Tally
from jurymast.testing.clock import FakeClock


def folded(events: list[Event]) -> bytes:
    """The same straight from the events."""
    history = History()
    for event in events:
        history.apply(event)
    spans = tuple(
        histories.Span(start, histories.HOUR, tally) for start, tally in sorted(history.hours.items())
    )
    return told(Past(spans, (), history.present))[0]


async def test_it_says_what_the_journal_says(path: Path) -> None:
    """Caught up, half caught up or not at all: the numbers are those of the events."""
    events = life(days=3)
    await write(path, events[:300])
    file = HistoryFile(path)
    assert told(file.past(START))[0] == folded(events[:300])
    file.catch_up()
    assert told(file.past(START))[0] == folded(events[:300])
    await write(path, events[300:])
    assert told(file.past(START))[0] == folded(events)
    file.catch_up()
    assert told(file.past(START))[0] == folded(events)


async def test_old_hours_become_days(path: Path) -> None:
    """A year keeps its sums and its size: hours of the last hundred days, days before."""
    events = life(days=130)
    await write(path, events)
    file = HistoryFile(path)
    file.catch_up()
    past = file.past(START)
    assert told(past)[0] == folded(events)
    days = [span for span in past.spans if span.length == histories.DAY]
    assert 29 <= len(days) <= 31
    assert len(past.spans) - len(days) <= HOURS_KEPT / histories.HOUR + 24
    starts = [span.start for span in past.spans]
    assert starts == sorted(starts)
    assert len(set(starts)) == len(starts)


async def test_only_what_is_asked_for(path: Path) -> None:
    """A later beginning gives the spans from then on, and outages that were not over by then."""
    events = life(days=2)
    await write(path, events)
    file = HistoryFile(path)
    file.catch_up()
    since = START + timedelta(days=1, minutes=30)
    past = file.past(since)
    assert past.spans[0].start <= since < past.spans[0].start + past.spans[0].length
    assert all(each.ended is None or each.ended > since for each in past.incidents)
    assert len(past.incidents) < len(file.past(START).incidents)


@pytest.mark.parametrize("harm", ["gone", "no database", "half", "older version", "another journal"])
async def test_a_file_of_no_use_is_made_anew(path: Path, harm: str) -> None:
    """Deleted, broken, of another version or of another journal: nothing is lost, nothing wrong is said."""
    events = life(days=1)
    await write(path, events)
    file, db = HistoryFile(path), path.with_name("history.db")
    file.catch_up()
    match harm:
        case "gone":
            db.unlink()
        case "no database":
            db.write_bytes(b"not a database, but as long as one might be" * 100)
        case "half":
            db.write_bytes(db.read_bytes()[:5_000])
        case "older version":
            with sqlite3.connect(db) as connection:
                connection.execute("UPDATE state SET version = 0")
            connection.close()
        case _:
            os.unlink(path)  # noqa: PTH108 (pathlib's would be taken for slow work)
            events = life(days=1, seed=1)
            journal = SqliteJournal.open(path, clock=FakeClock(START))
            await journal.append(*events)
            await journal.close()
    assert told(file.past(START))[0] == folded(events)
    file.catch_up()
    assert told(file.past(START))[0] == folded(events)


async def test_two_who_catch_up_at_once_count_once(path: Path) -> None:
    """The bot and a command that reads may do it together; nothing is counted twice."""
    events = life(days=20)
    await write(path, events)
    failures: list[BaseException] = []

    def catch_up() -> None:
        try:
            HistoryFile(path).catch_up()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=catch_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert failures == []
    assert told(HistoryFile(path).past(START))[0] == folded(events)


async def test_killed_in_the_middle_it_goes_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after some page, the next one goes on from there."""
    events = life(days=20)
    await write(path, events)
    monkeypatch.setattr(histories, "PAGE_EVENTS", 500)
    pages = iter(range(3))

    class StopError(Exception):
        pass

    real = HistoryFile._turn_page

    def stopping(file: HistoryFile, reader: object, db: sqlite3.Connection) -> bool:
        if next(pages, None) is None:
            db.execute("BEGIN IMMEDIATE")  # as when it is killed within a page
            raise StopError
        return real(file, reader, db)  # type: ignore[arg-type]  # handed through

    monkeypatch.setattr(HistoryFile, "_turn_page", stopping)
    with pytest.raises(StopError):
        HistoryFile(path).catch_up()
    monkeypatch.setattr(HistoryFile, "_turn_page", real)
    HistoryFile(path).catch_up()
    assert told(HistoryFile(path).past(START))[0] == folded(events)


async def test_an_empty_journal_has_no_history(path: Path) -> None:
    """A bot that has just been started has nothing to tell."""
    await write(path, [])
    file = HistoryFile(path)
    file.catch_up()
    assert file.past(START).spans == ()
    assert Tally().availability is None
