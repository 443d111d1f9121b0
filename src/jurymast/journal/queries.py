"""Reading a journal, whether its bot is alive or dead.

A reader opens the file read-only, so it can neither change the journal nor hold up its writer: in WAL
mode readers see the last commit and writers do not wait for them. What was put aside (``aside.py``) is read
as if it still stood here. What a newer version wrote and this one does not understand is skipped and counted
in ``JournalReader.skipped``.

Kept light on purpose: every command that shows something starts by importing this module.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from itertools import chain, islice, takewhile
from operator import attrgetter, itemgetter
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeAlias, TypeVar
from urllib.parse import quote

from jurymast.domain.errors import JournalError, JournalNewer, JournalUnwritable
from jurymast.domain.events import Event
from jurymast.journal import aside, codec
from jurymast.ports import Recorded

SCHEMA_VERSION: Final = 1
"""Version of the tables. ``sqlite.py`` has a migration to each."""
EVENTS_MAX: Final = 1_000
"""Events of one answer unless asked otherwise, and rows per page of a scan."""
READER_BUSY_SECS: Final = 2.0
"""How long a reader waits for a journal that is being opened, closed or recovered."""

E = TypeVar("E", bound=Event)
Row: TypeAlias = tuple[int, str, str]
"""Sequence number, kind, body."""
_EVERYDAY: Final = frozenset(map(codec.kind_of, aside.EVERYDAY))


def lock_path(path: Path) -> Path:
    """Where the writer of a journal leaves its process id and holds its lock."""
    return path.with_name(path.name + ".lock")


def stored_version(connection: sqlite3.Connection, path: Path) -> int:
    """Schema version of an open journal; 0 for an empty file.

    Raises JournalUnwritable for a database of something else, JournalNewer for a journal of a newer
    version.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return 0
    if not {"meta", "events"} <= tables:
        raise JournalUnwritable(
            f"{path} is a database of something else; nothing was written. Name another file for the journal."
        )
    (version,) = connection.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()
    if int(version) > SCHEMA_VERSION:
        raise JournalNewer(
            f"{path} was written by a newer version (schema {version}, this one knows {SCHEMA_VERSION}); "
            "nothing was changed. Install that version again, or start with another journal."
        )
    return int(version)


class JournalReader:
    """A read-only view of the journal at ``path``; use it in the thread that opened it.

    Raises JournalError when there is no journal or it stays busy, JournalUnwritable when the file is
    none, JournalNewer when its tables are newer than this version. With ``strict`` a row that can't be
    understood raises JournalNewer instead of being skipped: whoever folds state must not miss a fact.
    """

    def __init__(self, path: Path, *, strict: bool = False) -> None:
        self._path = path
        self._strict = strict
        self._skipped = 0
        self._asides: dict[Path, JournalReader] = {}
        if not path.is_file():
            raise JournalError(
                f"there is no journal at {path}: no bot has run here yet, or it keeps it elsewhere"
            )
        try:
            self._connection = sqlite3.connect(
                _read_only_uri(path), uri=True, timeout=READER_BUSY_SECS, isolation_level=None
            )
        except sqlite3.Error as error:
            raise self._unreadable(error) from error
        try:
            version = stored_version(self._connection, path)
        except sqlite3.Error as error:
            self.close()
            raise self._unreadable(error) from error
        except BaseException:
            self.close()
            raise
        self._empty = version == 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for earlier in self._asides.values():
            earlier.close()
        self._connection.close()

    @property
    def skipped(self) -> int:
        """Rows that were not understood so far."""
        return self._skipped + sum(earlier.skipped for earlier in self._asides.values())

    @property
    def identity(self) -> str:
        """The same as long as it is the same journal: when it was made."""
        if self._empty:
            return ""
        row = self._connection.execute("SELECT value FROM meta WHERE name = 'version_1_at'").fetchone()
        return str(row[0]) if row else ""

    def last(self, kind: type[E]) -> E | None:
        """The newest event of a kind, or None."""
        for recorded in self.events([kind], newest_first=True, limit=1):
            if isinstance(recorded.event, kind):
                return recorded.event
        return None

    def count(self, kind: type[Event]) -> int:
        if self._empty:
            return 0
        try:
            row = self._connection.execute(
                "SELECT COUNT(*) FROM events WHERE kind = ?", (codec.kind_of(kind),)
            ).fetchone()
        except sqlite3.Error as error:
            raise self._unreadable(error) from error
        return int(row[0])

    def events(
        self,
        kinds: Iterable[type[Event]] | None = None,
        *,
        ticker: str | None = None,
        decision_id: str | None = None,
        after_seq: int = 0,
        limit: int = EVENTS_MAX,
        newest_first: bool = False,
    ) -> list[Recorded]:
        """At most ``limit`` events that match every condition given, oldest first unless asked otherwise."""
        names = None if kinds is None else [codec.kind_of(kind) for kind in kinds]
        where: dict[str, object] = {"seq > ?": after_seq}
        if ticker is not None:
            where["ticker = ?"] = ticker
        if decision_id is not None:
            where["decision_id = ?"] = decision_id
        try:
            with ExitStack() as cursors:
                return list(islice(self._found(cursors, where, names, after_seq, newest_first), limit))
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    def scan(self, kinds: Iterable[type[Event]] | None = None, *, after_seq: int = 0) -> Iterator[Recorded]:
        """Every event in order. Read page by page: a long read would keep the write-ahead log growing."""
        wanted = None if kinds is None else list(kinds)
        while page := self.page(wanted, after_seq=after_seq):
            yield from page
            after_seq = page[-1].seq

    def page(
        self, kinds: Iterable[type[Event]] | None = None, *, after_seq: int, limit: int = EVENTS_MAX
    ) -> list[Recorded]:
        """At most ``limit`` events after a row, oldest first."""
        return self.events(kinds, after_seq=after_seq, limit=limit)

    def seq_before(self, at: datetime) -> int:
        """A place before every event of ``at`` and later, and after those before it that are not put aside:
        found by halving, for rows stand in the order of their times."""
        low, found, text = 0, 0, at.astimezone(UTC).isoformat(timespec="microseconds")
        if self._empty:
            return found
        try:
            (high,) = self._connection.execute("SELECT COALESCE(MAX(seq), 0) FROM events").fetchone()
            while low < high:
                middle = (low + high + 1) // 2
                row = self._connection.execute(
                    "SELECT seq, at FROM events WHERE seq <= ? ORDER BY seq DESC LIMIT 1", (middle,)
                ).fetchone()
                if row is not None and row[1] >= text:
                    high = row[0] - 1
                    continue
                low = middle
                found = found if row is None else row[0]  # beyond it something of any age may be put aside
        except sqlite3.Error as error:
            raise self._unreadable(error) from error
        return found

    def since(self, at: datetime, kinds: Iterable[type[Event]]) -> list[Recorded]:
        """Events of these kinds from ``at`` on, newest first; older ones are not read."""
        names = [codec.kind_of(kind) for kind in kinds]
        try:
            with ExitStack() as cursors:
                found = self._found(cursors, {"seq > ?": 0}, names, 0, newest_first=True)
                return list(takewhile(lambda recorded: recorded.event.at >= at, found))
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    def writer_pid(self) -> int | None:
        """Process id of the bot that writes here now; None when none is alive.

        Asks the kernel by trying for the lock, so a stale file or a reused id can't deceive it. The
        writer's own attempt is patient enough for this (see ``sqlite.WriterLock``).
        """
        try:
            handle = os.open(lock_path(self._path), os.O_RDONLY)
        except OSError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            text = os.read(handle, 32)
            return int(text) if text.strip().isdigit() else None
        finally:
            os.close(handle)
        return None

    def _found(
        self,
        cursors: ExitStack,
        where: dict[str, object],
        names: list[str] | None,
        after_seq: int,
        newest_first: bool,
    ) -> Iterator[Recorded]:
        """Matching events, read lazily, from here and from what was put aside, each once."""
        if self._empty:
            return iter(())
        # One transaction: what is moved by a writer meanwhile is still seen here, and maybe there as well.
        self._connection.execute("BEGIN")
        cursors.callback(self._connection.execute, "COMMIT")
        ours = self._decoded(self._rows(cursors, where, names, newest_first))
        upto = self._aside_upto(names)
        return ours if upto <= after_seq else self._merged(ours, cursors, where, names, upto, newest_first)

    def _merged(
        self,
        ours: Iterator[Recorded],
        cursors: ExitStack,
        where: dict[str, object],
        names: list[str] | None,
        upto: int,
        newest_first: bool,
    ) -> Iterator[Recorded]:
        """A month is opened only when the row that is looked for may stand in it."""
        if newest_first:
            for recorded in ours:
                if recorded.seq <= upto:
                    ours = chain([recorded], ours)
                    break
                yield recorded
        months = aside.files(self._path)[:: -1 if newest_first else 1]
        theirs = (
            recorded
            for month in months
            for recorded in self._aside(month)._found(cursors, where, names, 0, newest_first)  # noqa: SLF001 (one of us)
        )
        seq = -1
        for recorded in heapq.merge(ours, theirs, key=attrgetter("seq"), reverse=newest_first):
            if recorded.seq != seq:  # a kill between the two leaves a row in both
                seq = recorded.seq
                yield recorded

    def _aside_upto(self, names: list[str] | None) -> int:
        """The last row that was put aside, 0 when none of these kinds ever is."""
        if names is not None and not _EVERYDAY.intersection(names):
            return 0
        row = self._connection.execute("SELECT value FROM meta WHERE name = 'aside_upto'").fetchone()
        return 0 if row is None else int(row[0])

    def _aside(self, path: Path) -> JournalReader:
        if path not in self._asides:
            self._asides[path] = JournalReader(path, strict=self._strict)
        return self._asides[path]

    def _rows(
        self, cursors: ExitStack, where: dict[str, object], names: list[str] | None, newest_first: bool
    ) -> Iterator[Row]:
        """Rows read lazily off an index. Kinds alone are merged from one walk each, which needs no sort."""
        order = "DESC" if newest_first else "ASC"

        def walk(where: dict[str, object]) -> Iterator[Row]:
            sql = f"SELECT seq, kind, body FROM events WHERE {' AND '.join(where)} ORDER BY seq {order}"  # noqa: S608 (conditions are literals of this class)
            return cursors.enter_context(closing(self._connection.execute(sql, tuple(where.values()))))

        if names is None:
            return walk(where)
        if len(where) > 1:
            return (row for row in walk(where) if row[1] in names)
        walks = [walk(where | {"kind = ?": name}) for name in dict.fromkeys(names)]
        return heapq.merge(*walks, key=itemgetter(0), reverse=newest_first)

    def _decoded(self, rows: Iterator[Row]) -> Iterator[Recorded]:
        for seq, kind, body in rows:
            try:
                event = codec.decode(kind, body)
            except JournalNewer as error:
                if self._strict:
                    raise JournalNewer(
                        f"{self._path}, row {seq}: {error}. It was written by a newer version; nothing was "
                        "changed. Install that version again, or start with another journal."
                    ) from error
                self._skipped += 1
            else:
                yield Recorded(seq, event)

    def _unreadable(self, error: sqlite3.Error) -> JournalError:
        if getattr(error, "sqlite_errorname", "") == "SQLITE_NOTADB":
            return JournalUnwritable(f"{self._path} is not a journal. Name another file for the journal.")
        return JournalError(
            f"the journal {self._path} can't be read now: {error}. "
            "Check that this user may read it, then try again."
        )


def _read_only_uri(path: Path) -> str:
    """WAL needs a writable directory even to read, unless nobody writes and the file can't change."""
    uri = f"file:{quote(str(path.absolute()))}?mode=ro"
    at_rest = not path.with_name(path.name + "-wal").exists()
    return uri + "&immutable=1" if at_rest and not os.access(path.parent, os.W_OK) else uri
