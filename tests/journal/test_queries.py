"""Reading the journal beside a writer, or without one."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from jurymast.domain.errors import JournalError, JournalUnwritable
from jurymast.domain.events import Event, MarketScreened, ModeChanged, RunStopped, TradeDeclined
from jurymast.domain.status import EmergencyMode
from jurymast.journal import lock
from jurymast.journal.queries import JournalReader, lock_path
from jurymast.journal.sqlite import SqliteJournal
from jurymast.testing.clock import START, FakeClock

READER = Path(__file__).with_name("reading_child.py")
TICKERS = ("KXRAIN", "KXSNOW", "KXWIND")


def story() -> list[Event]:
    """Thirty decisions, ten for each market, with a change of mode after every fifth."""
    told: list[Event] = []
    for number in range(30):
        ticker, decision_id = TICKERS[number % 3], f"d{number}"
        told.append(MarketScreened(at=START, ticker=ticker, reason="spread", detail=str(number)))
        told.append(
            TradeDeclined(
                at=START,
                ticker=ticker,
                decision_id=decision_id,
                gate="edge",
                reason="thin",
                detail=str(number),
            )
        )
        if number % 5 == 4:
            told.append(
                ModeChanged(at=START, old=EmergencyMode.NORMAL, new=EmergencyMode.MINIMAL, reason=str(number))
            )
    return told


@pytest.fixture
async def told(path: Path) -> list[Event]:
    """The story, written and left by a bot that has ended."""
    journal = SqliteJournal.open(path, clock=FakeClock())
    await journal.append(*story())
    await journal.close()
    return story()


def expected(told: list[Event], *kinds: type[Event], after_seq: int = 0) -> list[tuple[int, Event]]:
    rows = enumerate(told, start=1)
    return [(seq, event) for seq, event in rows if seq > after_seq and (not kinds or type(event) in kinds)]


def test_everything_is_read_in_order(path: Path, told: list[Event]) -> None:
    """Without conditions every event comes back with its number, oldest first."""
    with JournalReader(path) as reader:
        assert [(row.seq, row.event) for row in reader.events()] == expected(told)
        assert [(row.seq, row.event) for row in reader.scan()] == expected(told)


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("kinds", [(ModeChanged,), (ModeChanged, TradeDeclined), (RunStopped,), ()])
def test_kinds_are_read_together_in_order(
    path: Path, told: list[Event], kinds: tuple[type[Event], ...], newest_first: bool
) -> None:
    """Several kinds come back merged in the order they were written, or in reverse; no kinds give nothing."""
    with JournalReader(path) as reader:
        rows = reader.events(kinds, newest_first=newest_first)
    wanted = expected(told, *kinds) if kinds else []
    assert [(row.seq, row.event) for row in rows] == (wanted[::-1] if newest_first else wanted)


def test_conditions_add_up(path: Path, told: list[Event]) -> None:
    """Market, decision, kind, place and number of events narrow the answer together."""
    with JournalReader(path) as reader:
        rain = reader.events([TradeDeclined], ticker="KXRAIN", after_seq=30, limit=3, newest_first=True)
        one = reader.events(ticker="KXSNOW", decision_id="d7")
        none = reader.events(ticker="KXRAIN", decision_id="d7")
    wanted = [(seq, event) for seq, event in expected(told, TradeDeclined) if event.ticker == "KXRAIN"]
    assert [(row.seq, row.event) for row in rain] == wanted[::-1][:3]
    assert [row.event.decision_id for row in one] == ["d7"]
    assert none == []


def test_the_newest_and_the_number_of_a_kind(path: Path, told: list[Event]) -> None:
    """The last event of a kind and how many there are; None and 0 for a kind that never happened."""
    with JournalReader(path) as reader:
        mode = reader.last(ModeChanged)
        assert mode is not None
        assert mode.reason == "29"
        assert reader.count(ModeChanged) == 6
        assert reader.last(RunStopped) is None
        assert reader.count(RunStopped) == 0


async def test_what_happened_since_a_time_comes_newest_first(path: Path) -> None:
    """Events of some kinds from a moment on, that moment included; older ones are left out."""
    journal = SqliteJournal.open(path, clock=FakeClock())
    screened = [
        MarketScreened(at=START + timedelta(minutes=minute), ticker="KXRAIN", reason="spread", detail="")
        for minute in range(5)
    ]
    other = TradeDeclined(
        at=START + timedelta(minutes=9),
        ticker="KXRAIN",
        decision_id="d",
        gate="edge",
        reason="thin",
        detail="",
    )
    await journal.append(*screened, other)
    await journal.close()
    with JournalReader(path) as reader:
        found = [recorded.event for recorded in reader.since(START + timedelta(minutes=3), [MarketScreened])]
        assert found == [screened[4], screened[3]]
        assert len(reader.since(START, [MarketScreened, TradeDeclined])) == 6


def test_what_a_newer_bot_wrote_is_skipped_and_counted(path: Path, told: list[Event]) -> None:
    """Rows this version does not understand hide none of the others, even when they come first."""
    with closing(sqlite3.connect(path)) as newer, newer:
        for seq in range(1001, 1011):
            newer.execute("INSERT INTO events VALUES (?, '2027', 'teleported', NULL, 'KXRAIN', '{}')", (seq,))
        newer.execute("INSERT INTO events VALUES (1011, '2027', 'mode_changed', NULL, NULL, '{}')")
    with JournalReader(path) as reader:
        (newest,) = reader.events(ticker="KXRAIN", newest_first=True, limit=1)
        assert newest.event in told
        assert reader.skipped == 10
        assert reader.last(ModeChanged) is not None
        assert reader.skipped == 11
        assert [(row.seq, row.event) for row in reader.scan()] == expected(told)


def test_a_reader_changes_nothing(path: Path, told: list[Event]) -> None:
    """The connection of a reader refuses every write."""
    with JournalReader(path) as reader, pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._connection.execute("INSERT INTO meta VALUES ('a', 'b')")


def test_no_journal_is_said_plainly(path: Path) -> None:
    """Where no bot has run there is nothing to read, and reading creates nothing."""
    with pytest.raises(JournalError, match="no journal at"):
        JournalReader(path)
    assert not path.exists()


def test_other_files_are_no_journals(path: Path) -> None:
    """Text and foreign databases are refused; a bot killed before its first row left an empty journal."""
    path.write_text("not a database, but long enough to look like one " * 20)
    with pytest.raises(JournalUnwritable, match="is not a journal"):
        JournalReader(path)
    path.write_bytes(b"")
    with JournalReader(path) as reader:
        assert reader.events() == []
        assert reader.last(RunStopped) is None
        assert reader.count(RunStopped) == 0


@pytest.mark.parametrize("name", ["a b.db", "what?.db", "100%.db", "#1.db", "été.db"])
async def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    """Characters that mean something in a URI are part of the name."""
    journal = SqliteJournal.open(tmp_path / name, clock=FakeClock())
    await journal.append(RunStopped(at=START, reason="done"))
    with JournalReader(tmp_path / name) as reader:
        assert reader.count(RunStopped) == 1
    await journal.close()


async def test_the_writer_is_known_while_it_lives(path: Path) -> None:
    """The process id of the bot that writes, from before its first event until it closed."""
    journal = SqliteJournal.open(path, clock=FakeClock())
    with JournalReader(path) as reader:
        assert reader.writer_pid() == os.getpid()
        await journal.close()
        assert reader.writer_pid() is None


async def test_asking_for_the_writer_does_not_stop_one_from_starting(
    path: Path, told: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bot that starts in the instant in which somebody asks who writes waits for it to pass."""
    with lock_path(path).open() as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        monkeypatch.setattr(lock.time, "sleep", lambda _: fcntl.flock(asking, fcntl.LOCK_UN))
        journal = SqliteJournal.open(path, clock=FakeClock())
        await journal.close()


async def test_a_reader_in_the_middle_of_a_read_holds_nobody_up(path: Path, told: list[Event]) -> None:
    """While a reader stands on a row the writer commits, and the reader goes on with what it saw at first."""
    journal = SqliteJournal.open(path, clock=FakeClock())
    with JournalReader(path) as reader:
        cursor = reader._connection.execute("SELECT seq FROM events ORDER BY seq")
        cursor.fetchone()
        await journal.append(RunStopped(at=START, reason="written under a reader"))
        assert len(cursor.fetchall()) == len(told) - 1
        assert reader.last(RunStopped) is not None
    await journal.close()


async def test_hammering_readers_never_fail_and_never_see_a_gap(path: Path) -> None:
    """Another process that opens and reads as fast as it can, while a bot starts, writes, stops and starts
    again, gets no error and always an unbroken beginning of the journal."""
    journal = SqliteJournal.open(path, clock=FakeClock())
    await journal.append(RunStopped(at=START, reason="0"))
    child = await asyncio.create_subprocess_exec(
        sys.executable, str(READER), str(path), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert await child.stdout.readline() == b"reading\n"
    number = 1
    for _ in range(5):
        for _ in range(100):
            journal.post(RunStopped(at=START, reason=str(number)))
            await journal.append(RunStopped(at=START, reason=str(number + 1)))
            number += 2
        await journal.close()
        journal = SqliteJournal.open(path, clock=FakeClock())
    report, _ = await child.communicate(b"\n")
    reads, highest, errors = map(int, report.split())
    assert errors == 0
    assert reads > 10
    assert highest == number
    await journal.close()


def test_importing_the_reader_is_light() -> None:
    """A command that shows the state does not wait for event loops and web servers to be imported."""
    code = "import sys, jurymast.journal.queries; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"asyncio", "aiohttp", "rich", "click", "logging"} & set(done.stdout.split())
