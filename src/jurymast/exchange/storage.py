"""The file of the paper exchange: opened, checked, and changed in whole transactions only.

It belongs to the exchange, not to the bot, and survives the bot's death: after a crash the bot's journal
may know less than this file, never more.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

from jurymast.domain.errors import ConfigError, ExchangeUnavailable, OrderRejected

SCHEMA_VERSION: Final = 1
APPLICATION_ID: Final = 0x4A4D5058
"""Marks the file as a paper exchange ("JMPX")."""
_MAGIC: Final = b"SQLite format 3\0"
_HEADER_BYTES: Final = 100
BUSY_SECS: Final = 5.0
"""How long another process may hold the file."""

Row: TypeAlias = tuple[Any, ...]

_SCHEMA: Final = """
CREATE TABLE state (seed TEXT NOT NULL, at_us INTEGER NOT NULL, step INTEGER NOT NULL, cash INTEGER NOT NULL);
CREATE TABLE orders (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, client_order_id TEXT NOT NULL UNIQUE, ticker TEXT NOT NULL,
  side TEXT NOT NULL, action TEXT NOT NULL, limit_price INTEGER NOT NULL, count INTEGER NOT NULL,
  filled INTEGER NOT NULL, status TEXT NOT NULL, created_us INTEGER NOT NULL, expires_us INTEGER);
CREATE INDEX resting ON orders(seq) WHERE status = 'resting';
CREATE TABLE fills (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, order_seq INTEGER NOT NULL REFERENCES orders(seq),
  price INTEGER NOT NULL, count INTEGER NOT NULL, fee INTEGER NOT NULL, at_us INTEGER NOT NULL,
  step INTEGER NOT NULL, yes_price INTEGER NOT NULL);
CREATE INDEX taken ON fills(step);
CREATE TABLE positions (ticker TEXT PRIMARY KEY, count INTEGER NOT NULL, cost INTEGER NOT NULL);
CREATE TABLE settlements (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, ticker TEXT NOT NULL UNIQUE, result TEXT NOT NULL,
  count INTEGER NOT NULL, revenue INTEGER NOT NULL, at_us INTEGER NOT NULL);
"""


class ExchangeFile:
    """A connection to the file, new or old. ``:memory:`` is a file that nobody keeps.

    Raises ConfigError when it is damaged, newer, or something else than a paper exchange.
    """

    def __init__(self, database: Path | str) -> None:
        self.name = str(database)
        self._check_header(Path(database))
        try:
            self._connection = sqlite3.connect(self.name, timeout=BUSY_SECS, isolation_level=None)
        except sqlite3.Error as error:
            raise self.unusable(f"can't be opened ({error})") from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._connection.close()
            raise self.unusable(f"can't be read ({error})") from error
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        self._connection.close()

    def run(self, sql: str, *values: object) -> int:
        """Execute a change; returns the number of the row it inserted."""
        return self._connection.execute(sql, values).lastrowid or 0

    def rows(self, sql: str, *values: object) -> list[Row]:
        return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, *values: object) -> Row | None:
        """The first row, if any."""
        found: Row | None = self._connection.execute(sql, values).fetchone()
        return found

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; but an order that is refused keeps what happened before it.

        Raises ExchangeUnavailable when the file does not answer; nothing was changed then.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except OrderRejected:
                self._connection.execute("COMMIT")
                raise
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise ExchangeUnavailable(
                f"the file of the SIMULATED exchange, {self.name}, does not answer ({error}); nothing was "
                "changed. Check that it is there, writable and not full."
            ) from error
        finally:
            self._roll_back()

    def unusable(self, why: str) -> ConfigError:
        return ConfigError(
            f"the file of the SIMULATED exchange, {self.name}, {why}. Nothing was started and the file was "
            "not changed. Restore it, or name another file to begin with fresh play money."
        )

    def _check_header(self, path: Path) -> None:
        """SQLite takes a stump of a file for an empty one and would write over it."""
        try:
            with path.open("rb") as file:
                head = file.read(_HEADER_BYTES)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self.unusable(f"can't be opened ({error})") from error
        if head and (len(head) < _HEADER_BYTES or not head.startswith(_MAGIC)):
            raise self.unusable("is damaged or not a database")

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.ProgrammingError:
            pass  # closed meanwhile: closing rolls back

    def _prepare(self) -> None:
        (version,) = self.rows("PRAGMA user_version")[0]
        (application,) = self.rows("PRAGMA application_id")[0]
        empty = not self.rows("SELECT 1 FROM sqlite_master LIMIT 1")
        if application != APPLICATION_ID and not empty:
            raise self.unusable("is not the file of a paper exchange")
        if version > SCHEMA_VERSION:
            raise self.unusable(f"was written by a newer version (schema {version}, known {SCHEMA_VERSION})")
        (verdict,) = self.rows("PRAGMA quick_check(1)")[0]
        if verdict != "ok":
            raise self.unusable(f"is damaged ({verdict})")
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        if empty:
            self._connection.executescript(
                f"BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION_ID}; "
                f"PRAGMA user_version = {SCHEMA_VERSION}; {_SCHEMA} COMMIT;"
            )
