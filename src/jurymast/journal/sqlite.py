"""The journal in one SQLite file.

One thread owns the connection. Events queue up in the order of the calls; the thread takes all that
wait and writes them in one transaction (group commit), so the cost of making them durable is shared.
``append`` returns after that commit, ``post`` does not wait for it. What is acknowledged survives the
death of the process and, as far as disks tell the truth about ``fsync``, of the machine.

After a failed write the journal stays failed: nothing is written behind a gap.

The tables are plain enough for any SQL database; only the triggers are SQLite's own.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeAlias

from jurymast.domain.errors import JournalError, JournalUnwritable
from jurymast.domain.events import Event
from jurymast.journal import codec
from jurymast.journal.aside import NEVER_DELETED, put_aside
from jurymast.journal.lock import WriterLock
from jurymast.journal.queries import JournalReader, stored_version
from jurymast.ports import Clock, Recorded

GATHER_SECS: Final = 0.02
"""How long what nobody waits for may wait for company: a commit costs the same for one and for many."""
QUEUE_EVENTS_MAX: Final = 10_000
"""Events that may wait for the disk, about a tenth of a second of writing at full speed."""
WRITER_BUSY_SECS: Final = 5.0
"""How long the writer waits for somebody else's write lock, say a shell left in a transaction."""

ASIDE_ROWS: Final = 2_000
ROWS_LEFT: Final = 10_000
"""So many of the newest rows are never put aside."""

Row: TypeAlias = tuple[str, str, str | None, str | None, str]
"""Time, kind, decision id, ticker, body."""

_INSERT: Final = "INSERT INTO events (seq, at, kind, decision_id, ticker, body) VALUES (?, ?, ?, ?, ?, ?)"


_TABLES: Final = """
CREATE TABLE meta (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE events (
    seq BIGINT NOT NULL PRIMARY KEY,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    decision_id TEXT NULL,
    ticker TEXT NULL,
    body TEXT NOT NULL
);
CREATE INDEX events_by_kind ON events (kind, seq);
CREATE INDEX events_by_ticker ON events (ticker, seq);
CREATE INDEX events_by_decision ON events (decision_id, seq);
INSERT INTO meta (name, value) VALUES ('version', '0')
"""


def _create_tables(connection: sqlite3.Connection) -> None:
    for statement in _TABLES.split(";"):
        connection.execute(statement)
    connection.execute(
        "CREATE TRIGGER events_are_never_updated BEFORE update ON events "
        "BEGIN SELECT RAISE(ABORT, 'events are never updated'); END"
    )
    connection.execute(NEVER_DELETED)


MIGRATIONS: Final[tuple[Callable[[sqlite3.Connection], None], ...]] = (_create_tables,)
"""The n-th brings the tables from version n to n + 1, in a transaction of its own."""


@dataclass(slots=True)
class _Move:
    before: str
    upto_seq: int
    done: Future[int] = field(default_factory=Future)


class SqliteJournal:
    """``ports.Journal`` in the file at ``path``. Made by :meth:`open`."""

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: WriterLock) -> None:
        self._path = path
        self._connection = connection
        self._lock = lock
        (self._seq,) = connection.execute("SELECT COALESCE(MAX(seq), 0) FROM events").fetchone()
        self._waiting: list[Row] = []
        self._promises: list[Future[None]] = []
        self._moves: list[_Move] = []
        self._refusal: str | None = None
        self._closing = False
        self._gathering = False
        self._changed = threading.Condition()
        self._writer = threading.Thread(target=self._write_until_closed, name="journal", daemon=True)
        self._writer.start()

    @classmethod
    def open(cls, path: Path, *, clock: Clock) -> SqliteJournal:
        """Open for writing; an absent file is created, an older one migrated.

        Raises JournalLocked while another bot writes to it, JournalNewer for a journal of a newer
        version, JournalUnwritable for what can't be written or is no journal.
        """
        lock = WriterLock(path)
        try:
            connection = _connect(path, clock.utc_now())
            try:
                return cls(path, connection, lock)
            except BaseException:
                connection.close()
                raise
        except BaseException:
            lock.release()
            raise

    async def append(self, *events: Event) -> None:
        """Write in this order, in one transaction; returns once they are durable.

        Raises JournalUnwritable, and then none of them was acknowledged; JournalError for an event that
        can't be recorded. A caller that stops waiting does not take its events back.
        """
        durable: Future[None] = Future()
        durable.set_running_or_notify_cancel()
        self._enqueue(events, durable)
        await asyncio.wrap_future(durable)

    def post(self, *events: Event) -> None:
        """Queue in order with the others; durable with the next commit, at most ``GATHER_SECS`` later.

        Raises JournalUnwritable when the queue is full or an earlier write has failed.
        """
        self._enqueue(events, None)

    async def put_aside(self, before: datetime, upto_seq: int) -> int:
        """Move everyday rows from before a time, not beyond a row, into the files of their months; how many.
        At most ``ASIDE_ROWS`` at once, for what is appended meanwhile waits. See :mod:`.aside`.

        Raises JournalError when it can't be done now; nothing is lost then.
        """
        move = _Move(before.astimezone(UTC).isoformat(timespec="microseconds"), upto_seq)
        move.done.set_running_or_notify_cancel()
        with self._changed:
            if self._closing or self._refusal is not None:
                return 0
            self._moves.append(move)
            self._changed.notify()
        return await asyncio.wrap_future(move.done)

    def read(self, kinds: Iterable[type[Event]] | None = None, *, after_seq: int = 0) -> Iterator[Recorded]:
        """Committed events in order, on a connection of its own. Raises JournalNewer at the first that
        this version does not understand: state folded around a gap would be wrong."""
        with JournalReader(self._path, strict=True) as reader:
            yield from reader.scan(kinds, after_seq=after_seq)

    async def close(self) -> None:
        """Write what waits, then let go of the file. Raises JournalUnwritable if a write had failed."""
        if self._closing:
            return
        with self._changed:
            self._closing = True
            self._changed.notify()
        await asyncio.to_thread(self._writer.join)
        self._connection.close()
        self._lock.release()
        if self._refusal is not None:
            raise JournalUnwritable(self._refusal)

    def _enqueue(self, events: tuple[Event, ...], durable: Future[None] | None) -> None:
        rows = [_row(event) for event in events]
        with self._changed:
            if self._closing:
                raise JournalUnwritable(f"the journal {self._path} is closed; nothing was written")
            if self._refusal is not None:
                raise JournalUnwritable(self._refusal)
            if len(self._waiting) + len(rows) > QUEUE_EVENTS_MAX:
                raise JournalUnwritable(
                    f"the journal {self._path} has fallen behind: {len(self._waiting)} events wait for the "
                    f"disk and at most {QUEUE_EVENTS_MAX} may. This was not written; does the disk stall?"
                )
            self._waiting += rows
            if durable is not None:
                self._promises.append(durable)
            if durable is not None or not self._gathering:
                self._changed.notify()

    def _write_until_closed(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._wanted)
                if not self._promises and not self._closing:
                    self._gathering = True
                    self._changed.wait_for(lambda: self._promises or self._closing, GATHER_SECS)
                    self._gathering = False
                moves, self._moves = self._moves, []
                rows, self._waiting = self._waiting, []
                promises, self._promises = self._promises, []
                last = self._closing and not rows and not promises
            if rows or promises:
                self._commit(rows, promises)
            for move in moves:
                self._move(move)
            if last:
                return

    def _wanted(self) -> bool:
        return bool(self._waiting or self._promises or self._moves or self._closing)

    def _move(self, move: _Move) -> None:
        try:
            upto = min(move.upto_seq, self._seq - ROWS_LEFT)
            moved = put_aside(self._connection, self._path, move.before, upto, ASIDE_ROWS)
            move.done.set_result(moved)
        except Exception as error:  # whoever waits must hear of it, whatever it was
            move.done.set_exception(JournalError(f"nothing was put aside: {error}"))

    def _commit(self, rows: list[Row], promises: list[Future[None]]) -> None:
        if self._refusal is None:
            try:
                self._insert(rows)
            except Exception as error:  # anything: a writer that dies silently would leave awaiters hanging
                self._refusal = _refusal(self._path, error)
        for promise in promises:
            if self._refusal is None:
                promise.set_result(None)
            else:
                promise.set_exception(JournalUnwritable(self._refusal))

    def _insert(self, rows: list[Row]) -> None:
        numbered = [(self._seq + place, *row) for place, row in enumerate(rows, start=1)]
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(_INSERT, numbered)
        self._connection.execute("COMMIT")
        self._seq += len(rows)


def _row(event: Event) -> Row:
    kind, body = codec.encode(event)
    # Microseconds always: text of one width sorts like the times it stands for.
    at = event.at.astimezone(UTC).isoformat(timespec="microseconds")
    return at, kind, event.decision_id, event.ticker, body


def _connect(path: Path, now: datetime) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(
            path, timeout=WRITER_BUSY_SECS, isolation_level=None, check_same_thread=False
        )
    except sqlite3.Error as error:
        raise JournalUnwritable(_refusal(path, error)) from error
    try:
        version = stored_version(connection, path)
        connection.execute("PRAGMA synchronous = FULL")
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise JournalUnwritable(
                f"{path} can't have a write-ahead log where it lies (mode {mode!r}), so readers would hold "
                "up the bot. Keep the journal on a local disk."
            )
        _migrate(connection, version, now)
    except sqlite3.Error as error:
        connection.close()
        raise JournalUnwritable(_refusal(path, error)) from error
    except JournalError:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection, version: int, now: datetime) -> None:
    for reached, migration in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        migration(connection)
        connection.execute("UPDATE meta SET value = ? WHERE name = 'version'", (str(reached),))
        connection.execute(
            "INSERT INTO meta (name, value) VALUES (?, ?)", (f"version_{reached}_at", now.isoformat())
        )
        connection.execute("COMMIT")


def _refusal(path: Path, error: Exception) -> str:
    if getattr(error, "sqlite_errorname", "") == "SQLITE_NOTADB":
        return f"{path} is not a journal; nothing was written. Name another file for the journal."
    return (
        f"the journal {path} can't be written: {error}. Nothing more is written to it. Check the space on "
        f"the disk and that this user may write in {path.parent}, then start again."
    )
