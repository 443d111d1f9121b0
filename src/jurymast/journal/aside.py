"""What is of the everyday and long ago is put aside: into a journal for each month, beside the one in use.

Moved are kinds that no state is folded from at a start: what was screened, declined, asked, probed. Orders,
fills, modes and scored forecasts stay. A month's file is a journal like any other
(``journal-aside-2026-08.db``), so readers go on through it, and it can be kept elsewhere or deleted: then
history made anew begins later.

Rows are durable there before they are deleted here; a kill between the two leaves them in both, and the next
time they are moved again. Space that becomes free is used again by what comes: the file stops growing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, TypeAlias

from jurymast.domain.events import (
    AlertTried,
    CycleFinished,
    DecisionAbstained,
    DecisionMade,
    EmergencyShadowed,
    Event,
    FaultInjected,
    MarketScreened,
    ProbeSent,
    RouteChanged,
    ShadowAnswered,
    TextCompleted,
    TradeDeclined,
)
from jurymast.journal import codec

EVERYDAY: Final[tuple[type[Event], ...]] = (
    AlertTried,
    CycleFinished,
    DecisionAbstained,
    DecisionMade,
    EmergencyShadowed,
    FaultInjected,
    MarketScreened,
    ProbeSent,
    RouteChanged,
    ShadowAnswered,
    TextCompleted,
    TradeDeclined,
)
NEVER_DELETED: Final = (
    "CREATE TRIGGER events_are_never_deleted BEFORE delete ON events "
    "BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END"
)
_COLUMNS: Final = "seq, at, kind, decision_id, ticker, body"
_Row: TypeAlias = tuple[Any, ...]


def put_aside(connection: sqlite3.Connection, journal: Path, before: str, upto_seq: int, limit: int) -> int:
    """Move up to ``limit`` everyday rows from before a time (ISO, UTC) and up to a row; how many.

    ``connection`` is the writer's, outside of a transaction. Raises sqlite3.Error, and then nothing is lost.
    """
    rows = [row for row in _oldest(connection, upto_seq, limit) if row[1] < before]
    if not rows:
        return 0
    meta = connection.execute("SELECT name, value FROM meta WHERE name LIKE 'version%'").fetchall()
    schema = [sql for (sql,) in connection.execute(
        "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND type IN ('table', 'index')"
    )]  # fmt: skip
    for month, group in groupby(rows, key=lambda row: row[1][:7]):
        _keep(journal.with_name(f"{journal.stem}-aside-{month}.db"), schema, meta, group)
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("DROP TRIGGER events_are_never_deleted")
        connection.executemany("DELETE FROM events WHERE seq = ?", [(row[0],) for row in rows])
        connection.execute(NEVER_DELETED)
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('aside_upto', ?)", (str(rows[-1][0]),))
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return len(rows)


def files(journal: Path) -> list[Path]:
    """The months that were put aside, oldest first."""
    return sorted(journal.parent.glob(f"{journal.stem}-aside-[0-9][0-9][0-9][0-9]-[0-9][0-9].db"))


def _oldest(connection: sqlite3.Connection, upto_seq: int, limit: int) -> list[_Row]:
    """Walks the index of each kind: a scan by row would pass over all that stays, every time."""
    sql = f"SELECT {_COLUMNS} FROM events WHERE kind = ? AND seq <= ? ORDER BY seq LIMIT ?"  # noqa: S608 (literals of this module)
    rows: list[_Row] = []
    for kind in EVERYDAY:
        rows += connection.execute(sql, (codec.kind_of(kind), upto_seq, limit)).fetchall()
    return sorted(rows, key=itemgetter(0))[:limit]


def _keep(path: Path, schema: list[str], meta: list[_Row], rows: Iterable[_Row]) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as aside:
        aside.execute("PRAGMA journal_mode = DELETE")  # one file when it is at rest
        aside.execute("PRAGMA synchronous = FULL")
        aside.execute("BEGIN IMMEDIATE")
        if not aside.execute("SELECT 1 FROM sqlite_master").fetchone():
            for statement in schema:
                if "sqlite_autoindex" not in statement:
                    aside.execute(statement)
            aside.executemany("INSERT INTO meta VALUES (?, ?)", meta)
        aside.executemany(f"INSERT OR IGNORE INTO events ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", rows)  # noqa: S608 (literals of this module)
        aside.execute("COMMIT")
