"""The file that accounts for AI money: what was spent when and for whom, what is held, and by whom.

Spending is kept by minute and by day for every name of every scope, whatever caps there are, so that a cap
that is new in the settings is right at once. A hold is a row of its owner, and the owner holds a lock that
the kernel takes away when it dies: its holds can't be settled any more and turn uncertain in full, as of now.
The same becomes of a hold older than a day, whoever made it, as of the end of its first day.

A commit outlives the process at once, and the machine from the next :meth:`BudgetFile.sync` on: two waits for
the disk in each request would cost more than all the rest of a decision.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import quote

from jurymast.domain.errors import JournalError, JournalNewer, JournalUnwritable
from jurymast.domain.money import Micros
from jurymast.policy import lease
from jurymast.policy.ledger import (
    Account,
    Cap,
    Hold,
    Outcome,
    Payer,
    Scope,
    Window,
    crossed,
    end_of,
    held,
    judged,
    start_of,
)

VERSION: Final = 1
BUSY_SECS: Final = 2.0
"""How long somebody else may hold the write lock, before what was asked is refused."""
TRY_AGAIN_SECS: Final = 0.02
HOLD_LIFE: Final = timedelta(days=1)
"""No request lives so long: an older hold was lost."""
KEPT: Final = {Window.MINUTE: timedelta(days=2), Window.DAY: timedelta(days=400)}
"""For how long spending is remembered; a clock that jumps ahead by less forgets nothing."""
_SUMMED: Final = {
    Window.MINUTE: Window.MINUTE,
    Window.HOUR: Window.MINUTE,
    Window.DAY: Window.DAY,
    Window.MONTH: Window.DAY,
}
"""Of what each window is the sum."""

_TABLES: Final = """
CREATE TABLE meta (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE spending (
    span TEXT NOT NULL, scope TEXT NOT NULL, name TEXT NOT NULL, start BIGINT NOT NULL,
    spent BIGINT NOT NULL, uncertain BIGINT NOT NULL,
    PRIMARY KEY (span, scope, name, start)
) WITHOUT ROWID;
CREATE TABLE holds (
    id INTEGER PRIMARY KEY AUTOINCREMENT, owner TEXT NOT NULL, at BIGINT NOT NULL, worst BIGINT NOT NULL,
    provider TEXT NOT NULL, model TEXT NOT NULL, market TEXT NOT NULL, strategy TEXT NOT NULL
);
CREATE TABLE caps (
    place INTEGER NOT NULL PRIMARY KEY, micros BIGINT NOT NULL, span TEXT NOT NULL, scope TEXT NOT NULL,
    name TEXT NOT NULL, hard INTEGER NOT NULL, kept BIGINT NOT NULL, kept_until_hour INTEGER NOT NULL
);
INSERT INTO meta (name, value) VALUES ('version', '1')
"""
_BOOK: Final = """
INSERT INTO spending (span, scope, name, start, spent, uncertain) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET spent = spent + excluded.spent, uncertain = uncertain + excluded.uncertain
"""
_TAKEN: Final = """
SELECT COALESCE(SUM(spent), 0), COALESCE(SUM(uncertain), 0) FROM spending
WHERE span = ? AND scope = ? AND name = ? AND start >= ?
"""
"""What is still to come counts too: money spent while the clock was ahead stays spent when it is right."""
_Place: TypeAlias = tuple[Window, Scope, str, int]
_NAMED: Final = tuple(Scope(field) for field in Payer._fields)
_HOLD: Final = (
    "INSERT INTO holds (owner, at, worst, provider, model, market, strategy) VALUES (?, ?, ?, ?, ?, ?, ?)"
)


class BudgetFile:
    """One owner's access to the file at ``path``, for one thread. A new file begins with ``spent`` for today.

    What reads or writes belongs inside a :meth:`transaction`. Raises JournalError for a file that can't be
    used, sqlite3.Error and OSError for one that can't be now.
    """

    def __init__(self, path: Path, caps: Iterable[Cap], now: datetime, spent: Micros = 0) -> None:
        self.path = path
        self.caps = tuple(caps)
        self.owner = uuid.uuid4().hex
        self._connection = _connect_patiently(path)
        self._inode = _inode(path)
        self._booked: dict[_Place, tuple[Micros, Micros]] = {}
        """Spent and uncertain money of this transaction, not yet in its tables."""
        self._lock: int | None = None
        try:
            with self.transaction():
                if not _version(self._connection, path):
                    for statement in _TABLES.split(";"):
                        self._connection.execute(statement)
                    if spent:
                        self._connection.execute(
                            _BOOK, (Window.DAY, Scope.ALL, "", _secs(start_of(Window.DAY, now)), spent, 0)
                        )
                self._tell_caps()
            self._lock = _locked(lock_file(path, self.owner))
        except BaseException:
            self.close()
            raise

    def tune(self, caps: tuple[Cap, ...]) -> None:
        """Limit by these from here on, where they are others than before."""
        if caps != self.caps:
            self.caps = caps
            self._tell_caps()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Alone with the file: what is tested in here still holds when it is written in here."""
        if _inode(self.path) != self._inode:
            raise JournalUnwritable(f"{self.path} was removed or replaced while it was in use; start again")
        self._connection.execute("BEGIN IMMEDIATE")
        self._booked.clear()
        try:
            yield
            self._write_bookings()
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        with suppress(sqlite3.Error):
            self._connection.close()
        if self._lock is not None:
            with suppress(OSError):
                lock_file(self.path, self.owner).unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    def accounts(self, now: datetime) -> Accounts:
        """How the accounts stand at ``now``, read when they are asked for. What is booked later in the same
        transaction is not in them."""
        self._write_bookings()
        return Accounts(self._connection, self.caps, now)

    def hold(self, accounts: Accounts, payer: Payer, worst: Micros | None) -> Outcome:
        """Hold the worst case of a request where it fits, or say why not."""
        concerned = list(accounts.of(payer))
        refused = judged(concerned, worst, accounts.now)
        if refused is not None:
            return refused
        amount = worst or 0
        row = self._connection.execute(_HOLD, (self.owner, _micros(accounts.now), amount, *payer))
        for account in concerned:
            accounts.put(held(account, amount))
        return Hold(row.lastrowid or 0, payer, amount, accounts.now, crossed(concerned))

    def lease(self, accounts: Accounts, payer: Payer, worst: Micros | None) -> Outcome:
        """Hold enough for several such requests where much is left; otherwise for this one."""
        left = min((each.left for each in accounts.of(payer) if each.cap.hard), default=0)
        if worst is not None and (amount := lease.size(worst, left)) > worst:
            outcome = self.hold(accounts, payer, amount)
            if isinstance(outcome, Hold):
                return outcome
        return self.hold(accounts, payer, worst)

    def settle(self, hold: Hold, cost: Micros, uncertain: Micros, now: datetime) -> None:
        """Give a hold back and book its bill. One that was taken for lost stays booked in full."""
        if hold.serial:
            sql = "DELETE FROM holds WHERE id = ? AND owner = ?"
            if not self._connection.execute(sql, (hold.serial, self.owner)).rowcount:
                return
        self._book(hold.payer, cost, uncertain, now)

    def sync(self) -> None:
        """Bring what is committed to the disk. Outside of a transaction."""
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def sweep(self, now: datetime) -> None:
        """Book what dead owners held, and forget what is long past."""
        owners = [o for (o,) in self._connection.execute("SELECT DISTINCT owner FROM holds")]
        dead = {owner for owner in owners if owner != self.owner and _dead(lock_file(self.path, owner))}
        rows = self._connection.execute(
            "SELECT id, owner, at, worst, provider, model, market, strategy FROM holds"
        ).fetchall()
        for serial, owner, at, worst, *names in rows:
            until = datetime.fromtimestamp(at / 1e6, UTC) + HOLD_LIFE
            if owner in dead or until <= now:
                self._book(Payer(*names), 0, worst, min(now, until))
                self._connection.execute("DELETE FROM holds WHERE id = ?", (serial,))
        for window, kept in KEPT.items():
            sql = "DELETE FROM spending WHERE span = ? AND start < ?"
            self._connection.execute(sql, (window, _secs(now - kept)))
        for owner in dead:
            with suppress(OSError):
                lock_file(self.path, owner).unlink(missing_ok=True)

    def _book(self, payer: Payer, cost: Micros, uncertain: Micros, at: datetime) -> None:
        if not cost and not uncertain:
            return
        scopes = [
            (Scope.ALL, ""),
            *((scope, name) for scope, name in zip(_NAMED, payer, strict=True) if name),
        ]
        for span in KEPT:
            start = _secs(start_of(span, at))
            for scope, name in scopes:
                spent, unsure = self._booked.get((span, scope, name, start), (0, 0))
                self._booked[span, scope, name, start] = spent + cost, unsure + uncertain

    def _write_bookings(self) -> None:
        """One row for each account, however many bills it had."""
        rows = [(*place, *amounts) for place, amounts in self._booked.items()]
        self._booked.clear()
        self._connection.executemany(_BOOK, rows)

    def _tell_caps(self) -> None:
        """Leave the caps for whoever reads the file."""
        self._connection.execute("DELETE FROM caps")
        self._connection.executemany(
            "INSERT INTO caps VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (place, c.limit, c.window, c.scope, c.of, c.hard, c.kept, c.kept_until_hour)
                for place, c in enumerate(self.caps)
            ],
        )


class Accounts:
    """The accounts within one transaction, each read once; holds are counted once for all."""

    def __init__(self, connection: sqlite3.Connection, caps: tuple[Cap, ...], now: datetime) -> None:
        self.now = now
        self.known: dict[tuple[Cap, str], Account] = {}
        self._connection = connection
        self._caps = caps
        sql = "SELECT provider, model, market, strategy, SUM(worst) FROM holds GROUP BY 1, 2, 3, 4"
        self._holds = [(Payer(*names), worst) for *names, worst in connection.execute(sql)]

    def of(self, payer: Payer) -> Iterator[Account]:
        """Every account that a payer concerns."""
        for cap in self._caps:
            if (name := cap.name_of(payer)) is not None:
                yield self.get(cap, name)

    def get(self, cap: Cap, name: str) -> Account:
        if (known := self.known.get((cap, name))) is not None:
            return known
        start = start_of(cap.window, self.now)
        key = (_SUMMED[cap.window], cap.scope, name, _secs(start))
        spent, uncertain = self._connection.execute(_TAKEN, key).fetchone()
        total = sum(worst for payer, worst in self._holds if cap.name_of(payer) == name)
        account = Account(cap, name, start, end_of(cap.window, start), spent, total, uncertain)
        self.put(account)
        return account

    def put(self, account: Account) -> None:
        self.known[account.cap, account.name] = account

    def all(self) -> list[Account]:
        """Those of every cap, each name that has spent or holds anything in its window included."""
        for cap in self._caps:
            if cap.scope is Scope.ALL or cap.of:
                self.get(cap, cap.of)
                continue
            sql = "SELECT DISTINCT name FROM spending WHERE span = ? AND scope = ? AND start >= ?"
            rows = self._connection.execute(
                sql, (_SUMMED[cap.window], cap.scope, _secs(start_of(cap.window, self.now)))
            )
            names = {name for (name,) in rows} | {cap.name_of(payer) or "" for payer, _ in self._holds}
            for name in sorted(names - {""}):
                self.get(cap, name)
        return list(self.known.values())


def read_accounts(path: Path, now: datetime) -> list[Account]:
    """How the accounts in the file at ``path`` stand, by the caps that were told last; nothing is changed.

    Raises JournalError when there is no such file, or it can't be read.
    """
    if not path.is_file():
        raise JournalError(f"there is no budget file at {path}: no bot has run here yet")
    try:
        connection = sqlite3.connect(
            f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, timeout=BUSY_SECS, isolation_level=None
        )
        try:
            connection.execute("BEGIN")
            if not _version(connection, path):
                return []
            rows = connection.execute(
                "SELECT micros, span, scope, name, hard, kept, kept_until_hour FROM caps ORDER BY place"
            )
            caps = tuple(
                Cap(micros, Window(span), Scope(scope), name, bool(hard), kept, kept_until_hour)
                for micros, span, scope, name, hard, kept, kept_until_hour in rows
            )
            return Accounts(connection, caps, now).all()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise JournalError(f"the budget file {path} can't be read: {error}") from error


def lock_file(path: Path, owner: str) -> Path:
    """The file whose lock says that an owner lives."""
    return path.with_name(f"{path.name}.{owner}.lock")


def _connect_patiently(path: Path) -> sqlite3.Connection:
    """Several who make the file at once get into each other's way, and SQLite does not wait then."""
    tries = round(BUSY_SECS / TRY_AGAIN_SECS)
    for _ in range(tries):
        try:
            return _connect(path)
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            time.sleep(TRY_AGAIN_SECS)
    return _connect(path)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECS, isolation_level=None, check_same_thread=False)
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA synchronous = NORMAL")
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise JournalUnwritable(f"{path} can't have a write-ahead log where it lies; use a local disk")
    (sound,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if sound != "ok":
        raise JournalUnwritable(f"{path} is damaged ({sound}); move it away, and today's spending with it")


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """Of the tables; 0 for an empty file. Raises JournalUnwritable for something else, JournalNewer."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return 0
    if not {"meta", "spending", "holds"} <= tables:
        raise JournalUnwritable(f"{path} is a database of something else; name another file for the budget")
    (version,) = connection.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()
    if int(version) > VERSION:
        raise JournalNewer(
            f"{path} was written by a newer version (schema {version}, this one knows {VERSION})"
        )
    return int(version)


def _locked(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle


def _dead(lock: Path) -> bool:
    """Whether nobody holds this lock any more. A process that is stopped still holds it."""
    try:
        handle = os.open(lock, os.O_RDWR)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _secs(at: datetime) -> int:
    return int(at.timestamp())


def _micros(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000)
