"""How many facts a second can be made durable, alone and when many wait at once.

Jurymast's journal against sqlite3 used plainly (one commit a row, same durability) and against the
floor: the same bytes written to a file and synced. Every row is an order intent, the event that must be
on disk before an order leaves. The rivals get their rows encoded already, which favours them.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from measure import Spread, between, dump, parser, ratio, show

from jurymast.app.clock import SystemClock
from jurymast.domain.events import OrderIntended
from jurymast.domain.market import Side
from jurymast.domain.money import CENT, CONTRACT
from jurymast.domain.order import Action, OrderIntent, Purpose, TimeInForce
from jurymast.journal import codec
from jurymast.journal.sqlite import SqliteJournal

ROWS_MAX = 20_000
APPENDERS = 50
AT = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
TABLE = "CREATE TABLE events (seq INTEGER PRIMARY KEY, at TEXT, kind TEXT, body TEXT)"
Cost = tuple[float, float]
"""Seconds and CPU seconds, threads included."""
INSERT = "INSERT INTO events (at, kind, body) VALUES (?, ?, ?)"


@dataclass(slots=True)
class Way:
    """One way to make rows durable. ``run`` writes them into an empty directory, checks that they are
    there, and returns the seconds and the CPU seconds of the writing alone."""

    name: str
    appenders: int
    run: Callable[[Path, list[OrderIntended], int], Awaitable[Cost]]
    per_sec: list[float] = field(default_factory=list)
    cpu_secs: list[float] = field(default_factory=list)


def main() -> None:
    options = parser(__doc__, rounds=7)
    options.add_argument("--rows", type=between(100, ROWS_MAX), default=1_000, help="a round, default 1000")
    options.add_argument("--dir", type=Path, default=None, help="on the disk to measure (default: temporary)")
    chosen = options.parse_args()
    ways = [
        Way("write + fsync of a file (floor)", 1, _file),
        Way("sqlite3, one commit a row, WAL", 1, _sqlite_wal),
        Way("sqlite3, one commit a row, defaults", 1, _sqlite_default),
        Way("Jurymast, alone", 1, _journal),
        Way(f"sqlite3 WAL, {APPENDERS} tasks", APPENDERS, _sqlite_wal),
        Way(f"Jurymast, {APPENDERS} at once", APPENDERS, _journal),
    ]
    rows = [_intent(number) for number in range(chosen.rows)]
    order = random.Random(chosen.seed)
    for _ in range(chosen.rounds):
        for way in order.sample(ways, len(ways)):
            with tempfile.TemporaryDirectory(dir=chosen.dir) as directory:
                secs, cpu_secs = asyncio.run(way.run(Path(directory), rows, way.appenders))
                way.cpu_secs.append(cpu_secs / len(rows))
                way.per_sec.append(len(rows) / secs)
    if chosen.json:
        facts = {
            way.name: {"per_sec": Spread.of(way.per_sec), "cpu_secs": Spread.of(way.cpu_secs)} for way in ways
        }
        dump("journal", {"rows": chosen.rows, "appenders": APPENDERS, "ways": facts})
        return
    floor = Spread.of(ways[0].per_sec).median
    table = [
        [
            way.name,
            Spread.of(way.per_sec).text(0),
            ratio(Spread.of(way.per_sec).median, floor),
            Spread.of(value * 1e6 for value in way.cpu_secs).text(0),
        ]
        for way in ways
    ]
    title = (
        f"Durable rows of {_row_bytes(rows[0])} bytes, {chosen.rows:,} x {chosen.rounds}: median (low..high)"
    )
    show(title, ["way", "rows a second", "of floor", "CPU us a row"], table)


def _intent(number: int) -> OrderIntended:
    decision_id = f"{number:016x}"
    intent = OrderIntent(
        client_order_id=f"jm-{number:024x}",
        decision_id=decision_id,
        ticker=f"BENCH-{number % 500:04d}",
        event_ticker="EV-BENCH",
        purpose=Purpose.ENTRY,
        side=Side.YES,
        action=Action.BUY,
        count=25 * CONTRACT,
        limit_price=42 * CENT,
        time_in_force=TimeInForce.GOOD_TILL_CANCELED,
        reason="edge 4.1c after costs, a quarter of Kelly, capped by the market's limit",
        expires_at=AT,
    )
    return OrderIntended(at=AT, decision_id=decision_id, ticker=intent.ticker, intent=intent)


def _row_bytes(event: OrderIntended) -> int:
    return len(codec.encode(event)[1])


def _encoded(rows: list[OrderIntended]) -> list[tuple[str, str, str]]:
    return [(row.at.isoformat(), *codec.encode(row)) for row in rows]


async def _journal(directory: Path, rows: list[OrderIntended], appenders: int) -> Cost:
    journal = SqliteJournal.open(directory / "journal.db", clock=SystemClock())
    waiting = iter(rows)

    async def append() -> None:
        for row in waiting:
            await journal.append(row)

    started = _now()
    await asyncio.gather(*(append() for _ in range(appenders)))
    cost = _since(started)
    _expect(sum(1 for _ in journal.read()), rows)
    await journal.close()
    return cost


async def _sqlite_wal(directory: Path, rows: list[OrderIntended], appenders: int) -> Cost:
    return await _sqlite(
        directory, rows, appenders, ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL")
    )


async def _sqlite_default(directory: Path, rows: list[OrderIntended], appenders: int) -> Cost:
    return await _sqlite(directory, rows, appenders, ())


async def _sqlite(
    directory: Path, rows: list[OrderIntended], appenders: int, settings: tuple[str, ...]
) -> Cost:
    """Blocks its event loop while it commits, as such code does."""
    connection = sqlite3.connect(directory / "plain.db", isolation_level=None)
    for setting in settings:
        connection.execute(setting)
    connection.execute(TABLE)
    waiting = iter(_encoded(rows))

    async def append() -> None:
        for row in waiting:
            connection.execute(INSERT, row)
            await asyncio.sleep(0)

    started = _now()
    await asyncio.gather(*(append() for _ in range(appenders)))
    cost = _since(started)
    _expect(connection.execute("SELECT COUNT(*) FROM events").fetchone()[0], rows)
    connection.close()
    return cost


async def _file(directory: Path, rows: list[OrderIntended], appenders: int) -> Cost:
    del appenders
    lines = ["\t".join(row).encode() + b"\n" for row in _encoded(rows)]
    handle = os.open(directory / "plain.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        started = _now()
        for line in lines:
            os.write(handle, line)
            os.fsync(handle)
        cost = _since(started)
    finally:
        os.close(handle)
    _expect((directory / "plain.log").read_bytes().count(b"\n"), rows)
    return cost


def _now() -> Cost:
    return time.perf_counter(), time.process_time()


def _since(started: Cost) -> Cost:
    now = _now()
    return now[0] - started[0], now[1] - started[1]


def _expect(found: int, rows: list[OrderIntended]) -> None:
    if found != len(rows):
        raise SystemExit(f"{found} of {len(rows)} rows are there")


if __name__ == "__main__":
    main()
