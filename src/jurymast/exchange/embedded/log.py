"""What the exchange was told, on disk before it is done: the file that survives a kill.

One row a command with its exchange time, in order, committed before the command is carried out. A
snapshot of the whole state replaces the rows before it, so that a restart replays little. A crash between
the row and the deed is no loss: the replay does the deed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from jurymast.domain.errors import ConfigError, ExchangeUnavailable
from jurymast.exchange.embedded.commands import AnyCommand
from jurymast.exchange.embedded.floor import State

SCHEMA_VERSION: Final = 1
APPLICATION_ID: Final = 0x4A4D4558
"""Marks the file as an embedded exchange ("JMEX")."""
BUSY_SECS: Final = 5.0

_SCHEMA: Final = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE snapshot (id INTEGER PRIMARY KEY CHECK (id = 1), seq INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE log (seq INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, body BLOB NOT NULL);
"""
_COMMANDS: Final = msgspec.msgpack.Decoder(AnyCommand)
_STATES: Final = msgspec.msgpack.Decoder(State)
_ENCODER: Final = msgspec.msgpack.Encoder()


class CommandLog:
    """The file. ``:memory:`` keeps nothing. Raises ConfigError when it is no such file or in use."""

    def __init__(self, database: Path | str) -> None:
        self.name = str(database)
        try:
            self._connection = sqlite3.connect(self.name, timeout=BUSY_SECS, isolation_level=None)
        except sqlite3.Error as error:
            raise self.unusable(f"can't be opened ({error})") from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._connection.close()
            raise self.unusable(f"can't be read, or another exchange has it open ({error})") from error
        except ConfigError:
            self._connection.close()
            raise
        row = self._connection.execute("SELECT MAX(seq) FROM log").fetchone()
        kept = self._connection.execute("SELECT seq FROM snapshot").fetchone()
        self._seq: int = max(row[0] or 0, kept[0] if kept else 0)

    def close(self) -> None:
        self._connection.close()

    def facts(self) -> dict[str, str]:
        """What the exchange was begun with; empty for a new file."""
        return dict(self._connection.execute("SELECT name, value FROM facts").fetchall())

    def begin(self, facts: dict[str, str]) -> None:
        self._run("INSERT INTO facts VALUES (?, ?)", *facts.items())

    def append(self, command: AnyCommand, at_us: int) -> None:
        """Write a command down. Raises ExchangeUnavailable when that is not possible: nothing happened."""
        self._run("INSERT INTO log VALUES (?, ?, ?)", (self._seq + 1, at_us, _ENCODER.encode(command)))
        self._seq += 1

    def snapshot(self) -> State | None:
        """The last whole state, if there is one."""
        row = self._connection.execute("SELECT body FROM snapshot").fetchone()
        try:
            return None if row is None else _STATES.decode(row[0])
        except msgspec.MsgspecError as error:
            raise self.unusable(f"has a snapshot that can't be read ({error})") from error

    def commands(self) -> Iterator[tuple[AnyCommand, int]]:
        """Commands after the snapshot, in order, with their times."""
        for at_us, body in self._connection.execute("SELECT at_us, body FROM log ORDER BY seq"):
            try:
                yield _COMMANDS.decode(body), at_us
            except msgspec.MsgspecError as error:
                raise self.unusable(f"has a command that can't be read ({error})") from error

    def keep(self, state: State) -> None:
        """Replace snapshot and log by this state."""
        body = _ENCODER.encode(state)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute("INSERT OR REPLACE INTO snapshot VALUES (1, ?, ?)", (self._seq, body))
            self._connection.execute("DELETE FROM log WHERE seq <= ?", (self._seq,))
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._silent(error) from error

    def unusable(self, why: str) -> ConfigError:
        return ConfigError(
            f"the file of the SIMULATED exchange, {self.name}, {why}. Nothing was started and the file was "
            "not changed. Restore it, or name another directory to begin with fresh play money."
        )

    def _run(self, sql: str, *rows: tuple[Any, ...]) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(sql, rows)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._silent(error) from error

    def _silent(self, error: sqlite3.Error) -> ExchangeUnavailable:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        return ExchangeUnavailable(
            f"the file of the SIMULATED exchange, {self.name}, can't be written ({error}); nothing changed"
        )

    def _prepare(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        (application,) = self._connection.execute("PRAGMA application_id").fetchone()
        empty = self._connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None
        if not empty and application != APPLICATION_ID:
            raise self.unusable("is not the file of an embedded exchange")
        if version > SCHEMA_VERSION:
            raise self.unusable(f"was written by a newer version (schema {version}, known {SCHEMA_VERSION})")
        self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        if empty:
            self._connection.executescript(
                f"BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION_ID}; "
                f"PRAGMA user_version = {SCHEMA_VERSION}; {_SCHEMA} COMMIT;"
            )
        else:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute("COMMIT")
