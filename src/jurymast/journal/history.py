"""History on disk: hours and days folded from the journal, in a file beside it that can be made anew.

``history.db`` is a cache of the journal. It remembers up to which row it has read, and :meth:`catch_up` goes
on from there; lost, broken, of another version or another journal it is thrown away and read again. Hours
older than ``HOURS_KEPT`` become days, so a year takes some megabytes however much happened in it.

The bot catches up once a minute in a thread of its own. Whoever reads while no bot runs catches up first; two
who do it at once take turns by SQLite's lock, and the later finds the work done.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from jurymast.domain.errors import JournalError
from jurymast.journal.queries import JournalReader
from jurymast.policy.history import HOUR, TOLD_BY, History, Incident, Present, Tally, total

HOURS_KEPT: Final = timedelta(days=100)
INCIDENTS_KEPT: Final = 10_000
PAGE_EVENTS: Final = 5_000
BUSY_SECS: Final = 5.0
_VERSION: Final = 2
_TABLES: Final = """
CREATE TABLE state (version INTEGER NOT NULL, journal TEXT NOT NULL, seq INTEGER NOT NULL,
    body BLOB NOT NULL);
CREATE TABLE spans (secs INTEGER NOT NULL, start TEXT NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (secs, start));
CREATE TABLE incidents (started TEXT NOT NULL, provider TEXT NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (started, provider))
"""
DAY: Final = timedelta(days=1)
BEGINNING: Final = datetime(2020, 1, 1, tzinfo=UTC)
"""Before anything that a journal of ours can hold."""


@dataclass(frozen=True, slots=True)
class Span:
    """An hour, or a day of long ago, and what happened in it."""

    start: datetime
    length: timedelta
    tally: Tally


@dataclass(frozen=True, slots=True)
class Past:
    """History from a time on, oldest first. ``present`` is where it ends."""

    spans: tuple[Span, ...]
    incidents: tuple[Incident, ...]
    present: Present


class HistoryFile:
    """The history of the journal at ``journal``."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._path = journal.with_name("history.db")

    def catch_up(self) -> None:
        """Read what the journal has had since the last time, page by page.

        Raises JournalError when the journal can't be read or the file beside it can't be written.
        """
        with JournalReader(self._journal) as reader, self._opened(reader) as db:
            while self._turn_page(reader, db):
                pass
            _age(db)

    def fresh(self, since: datetime) -> Past:
        """The same as :meth:`past`, caught up before where that is possible: for whoever reads once.

        Raises JournalError without a journal.
        """
        try:
            self.catch_up()
        except JournalError:  # a file that can't be written: what it lacks is read from the journal
            if not self._journal.is_file():
                raise
        return self.past(since)

    def past(self, since: datetime) -> Past:
        """Spans that end after ``since`` and incidents that had not ended by then.

        What the file does not have yet is read from the journal: little, after :meth:`catch_up`.
        """
        with JournalReader(self._journal) as reader, self._opened(reader, writable=False) as db:
            db.execute("BEGIN")
            seq, present = _state(db)
            spans = {(span.length, span.start): span.tally for span in _spans(db, since)}
            incidents = _incidents(db, since)
            db.execute("COMMIT")
            history = History(present)
            for recorded in reader.scan(TOLD_BY, after_seq=seq):
                history.apply(recorded.event)
        hours, ended = history.take()
        for start, tally in sorted(hours.items()):
            if start + HOUR > since:
                spans.setdefault((HOUR, start), Tally()).add(tally)
        incidents += [each for each in ended if each.ended is None or each.ended > since]
        incidents += history.present.incidents.values()
        return Past(
            spans=tuple(
                Span(start, length, tally)
                for (length, start), tally in sorted(spans.items(), key=lambda one: one[0][1])
            ),
            incidents=tuple(sorted(incidents, key=lambda each: each.started)),
            present=history.present,
        )

    def reached(self) -> int:
        """The row of the journal up to which the file has all that it wants of it; 0 without a file."""
        with JournalReader(self._journal) as reader, self._opened(reader, writable=False) as db:
            return _state(db)[0]

    def whole(self) -> tuple[int, Tally, Present]:
        """All that the file has as one span, and the row of the journal up to which that goes."""
        with JournalReader(self._journal) as reader, self._opened(reader, writable=False) as db:
            db.execute("BEGIN")
            seq, present = _state(db)
            spans = sorted(_spans(db, BEGINNING), key=lambda span: span.start)
            db.execute("COMMIT")
        return seq, total(span.tally for span in spans), present

    def _turn_page(self, reader: JournalReader, db: sqlite3.Connection) -> bool:
        """Fold the next page; whether there was one."""
        db.execute("BEGIN IMMEDIATE")
        seq, present = _state(db)
        page = reader.page(TOLD_BY, after_seq=seq, limit=PAGE_EVENTS)
        history = History(present)
        for recorded in page:
            history.apply(recorded.event)
        if page:
            hours, ended = history.take()
            for start, tally in hours.items():
                _add(db, start, HOUR, tally)
            rows = [(_text(each.started), each.provider, msgspec.json.encode(each)) for each in ended]
            db.executemany("INSERT OR REPLACE INTO incidents VALUES (?, ?, ?)", rows)
            body = msgspec.json.encode(history.present)
            db.execute("UPDATE state SET seq = ?, body = ?", (page[-1].seq, body))
        db.execute("COMMIT")
        return bool(page)

    @contextmanager
    def _opened(self, reader: JournalReader, *, writable: bool = True) -> Iterator[sqlite3.Connection]:
        """The file, made new where it is missing or of no use. To read, a history in memory will do."""
        try:
            try:
                db = _open(self._path, reader.identity)
            except (sqlite3.DatabaseError, msgspec.MsgspecError) as error:
                if isinstance(error, sqlite3.OperationalError):  # busy, full, read-only: not the file's fault
                    raise
                self._throw_away()
                db = _open(self._path, reader.identity)
        except (sqlite3.Error, OSError) as error:
            if writable:
                raise JournalError(
                    f"the history {self._path} can't be written: {error}. It can be deleted at any time; "
                    "the journal is not touched"
                ) from error
            db = _prepared(sqlite3.connect(":memory:", isolation_level=None), reader.identity)
        with closing(db):
            yield db

    def _throw_away(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)


def _open(path: Path, journal: str) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=BUSY_SECS, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")  # a cache: what a power cut takes is read again
        return _prepared(db, journal)
    except BaseException:
        db.close()
        raise


def _prepared(db: sqlite3.Connection, journal: str) -> sqlite3.Connection:
    """With its tables. Raises sqlite3.DatabaseError for a file of another version or of another journal."""
    db.execute("BEGIN IMMEDIATE")
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'state'").fetchone():
        for statement in _TABLES.split(";"):
            db.execute(statement)
        db.execute(
            "INSERT INTO state VALUES (?, ?, 0, ?)", (_VERSION, journal, msgspec.json.encode(Present()))
        )
    db.execute("COMMIT")
    found = db.execute("SELECT version, journal FROM state").fetchone()
    if found != (_VERSION, journal):
        raise sqlite3.DatabaseError(f"history of {found}")
    _state(db)
    return db


def _state(db: sqlite3.Connection) -> tuple[int, Present]:
    seq, body = db.execute("SELECT seq, body FROM state").fetchone()
    return seq, msgspec.json.decode(body, type=Present)


def _spans(db: sqlite3.Connection, since: datetime) -> list[Span]:
    spans = []
    for length in (DAY, HOUR):
        secs = int(length.total_seconds())
        after = _text(since - length)
        rows = db.execute("SELECT start, body FROM spans WHERE secs = ? AND start > ?", (secs, after))
        spans += [Span(datetime.fromisoformat(start), length, _tally(body)) for start, body in rows]
    return spans


def _incidents(db: sqlite3.Connection, since: datetime) -> list[Incident]:
    rows = db.execute("SELECT body FROM incidents ORDER BY started DESC LIMIT ?", (INCIDENTS_KEPT,))
    found = [msgspec.json.decode(body, type=Incident) for (body,) in rows]
    return [each for each in found if each.ended is None or each.ended > since]


def _add(db: sqlite3.Connection, start: datetime, length: timedelta, tally: Tally) -> None:
    key = int(length.total_seconds()), _text(start)
    row = db.execute("SELECT body FROM spans WHERE secs = ? AND start = ?", key).fetchone()
    whole = Tally() if row is None else _tally(row[0])
    whole.add(tally)
    db.execute(
        "INSERT OR REPLACE INTO spans (secs, start, body) VALUES (?, ?, ?)",
        (*key, msgspec.json.encode(whole)),
    )


def _age(db: sqlite3.Connection) -> None:
    """Hours of long ago become days, and the oldest incidents go."""
    db.execute("BEGIN IMMEDIATE")
    _, present = _state(db)
    if present.at is not None:
        hour_secs, before = int(HOUR.total_seconds()), _text(_midnight(present.at - HOURS_KEPT))
        old = db.execute(
            "SELECT start, body FROM spans WHERE secs = ? AND start < ? ORDER BY start", (hour_secs, before)
        ).fetchall()
        for start, body in old:
            _add(db, _midnight(datetime.fromisoformat(start)), DAY, _tally(body))
        db.execute("DELETE FROM spans WHERE secs = ? AND start < ?", (hour_secs, before))
    db.execute(
        "DELETE FROM incidents WHERE rowid NOT IN "
        "(SELECT rowid FROM incidents ORDER BY started DESC LIMIT ?)",
        (INCIDENTS_KEPT,),
    )
    db.execute("COMMIT")


def _tally(body: bytes) -> Tally:
    return msgspec.json.decode(body, type=Tally)


def _text(at: datetime) -> str:
    """Of one width, so that texts sort like times."""
    return at.isoformat(timespec="seconds")


def _midnight(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)
