"""The exchange's file: what it survives and what it refuses."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from paper_kit import CASH, START, buy, exchange, question

from jurymast.domain.errors import ConfigError, ExchangeUnavailable, OrderUnknown
from jurymast.domain.money import CENT, CONTRACT, usd
from jurymast.domain.order import Action, TimeInForce
from jurymast.testing.clock import FakeClock

CHILD = Path(__file__).with_name("trading_child.py")
GTC = TimeInForce.GOOD_TILL_CANCELED
KILLED_AFTER = 200


async def test_a_restart_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Orders, fills, positions and cash are there after a restart, and no time has passed meanwhile."""
    database, clock = tmp_path / "exchange.db", FakeClock()
    before = exchange((question(),), clock, database)
    await before.place_order(buy())
    await before.place_order(buy(limit_price=CENT, time_in_force=GTC))
    clock.advance(30)
    expected = [
        await before.now(),
        await before.list_fills(),
        await before.list_open_orders(),
        await before.list_positions(),
        await before.get_balance(),
        await before.list_snapshots(),
    ]
    await before.close()
    clock.advance(86_400)
    after = exchange((question(),), clock, database, start=START + timedelta(days=9), cash=usd(1))
    assert expected == [
        await after.now(),
        await after.list_fills(),
        await after.list_open_orders(),
        await after.list_positions(),
        await after.get_balance(),
        await after.list_snapshots(),
    ]
    clock.advance(1)
    assert await after.now() == START + timedelta(seconds=31)
    await after.close()


@pytest.mark.parametrize("restarted", [False, True])
async def test_time_never_runs_backwards(tmp_path: Path, restarted: bool) -> None:
    """When the machine's clock is set back, exchange time waits, before and after a restart."""
    database, clock = tmp_path / "exchange.db", FakeClock()
    paper = exchange((question(),), clock, database)
    clock.advance(100)
    reached = await paper.now()
    if restarted:
        await paper.close()
        paper = exchange((question(),), clock, database)
    clock._start -= timedelta(seconds=60)
    assert await paper.now() == reached
    clock.advance(61)
    assert await paper.now() == reached + timedelta(seconds=1)
    await paper.close()


def trade_and_kill(database: Path) -> dict[str, int]:
    """Let a process trade, kill it in the middle, and return the orders it was told of with their fills."""
    acknowledged: dict[str, int] = {}
    with subprocess.Popen(
        [sys.executable, str(CHILD), str(database)],
        env={**os.environ, "PYTHONPATH": str(CHILD.parents[1])},
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.endswith("\n"):
                name, filled = line.split()
                acknowledged[name] = int(filled)
            if len(acknowledged) == KILLED_AFTER:
                child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    assert len(acknowledged) >= KILLED_AFTER
    return acknowledged


async def test_a_killed_process_loses_nothing_it_was_told(tmp_path: Path) -> None:
    """After SIGKILL in the middle of trading, every acknowledged order is there once and the books add up."""
    database = tmp_path / "exchange.db"
    acknowledged = trade_and_kill(database)
    paper = exchange((question(), question("Q-2")), FakeClock(), database)
    fills = await paper.list_fills()
    for name, filled_at_once in acknowledged.items():
        order = await paper.find_order(name)
        assert order is not None
        assert order.filled == sum(fill.count for fill in fills if fill.client_order_id == name)
        assert order.filled >= filled_at_once
    assert len({fill.fill_id for fill in fills}) == len(fills)
    resting = await paper.list_open_orders()
    positions = await paper.list_positions()
    collateral = sum(order.limit_price * order.remaining // CONTRACT for order in resting)
    spent = sum(fill.price * fill.count // CONTRACT + fill.fee for fill in fills)
    bought = sum(fill.count for fill in fills)
    redeemed = (bought - sum(position.size for position in positions)) // 2
    assert all(fill.action is Action.BUY for fill in fills)
    assert (await paper.get_balance()).cash == CASH - spent - collateral + redeemed * usd(1) // CONTRACT
    await paper.close()


def test_a_file_of_another_seed_is_refused(tmp_path: Path) -> None:
    """A file goes with the seed it was begun with: its fills would not fit the books of another."""
    database = tmp_path / "exchange.db"
    exchange((question(),), FakeClock(), database, seed=1)._file.close()
    with pytest.raises(ConfigError, match=r"exchange\.db, was begun with seed 1, not 2.*name another file"):
        exchange((question(),), FakeClock(), database, seed=2)


async def test_a_file_of_other_questions_is_refused(tmp_path: Path) -> None:
    """A position in a market that is no longer among the questions could never settle."""
    database = tmp_path / "exchange.db"
    paper = exchange((question(),), FakeClock(), database)
    await paper.place_order(buy())
    await paper.close()
    with pytest.raises(ConfigError, match="Q-1 and 0 more"):
        exchange((question("Q-2"),), FakeClock(), database)


def test_a_newer_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    """A file of a later version is not touched; the message says so and what to do."""
    database = tmp_path / "exchange.db"
    exchange((question(),), FakeClock(), database)._file.close()
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    before = database.read_bytes()
    with pytest.raises(ConfigError, match=r"newer version \(schema 2, known 1\)"):
        exchange((question(),), FakeClock(), database)
    assert database.read_bytes() == before


@pytest.mark.parametrize("content", [b"not a database, by far " * 200, b"x"])
def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    """What is no database is not overwritten."""
    database = tmp_path / "exchange.db"
    database.write_bytes(content)
    with pytest.raises(ConfigError, match="not a database"):
        exchange((question(),), FakeClock(), database)
    assert database.read_bytes() == content


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    """A database that is not ours, the bot's journal for instance, gets no tables of ours."""
    database = tmp_path / "exchange.db"
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE events (seq INTEGER)")
    connection.close()
    with pytest.raises(ConfigError, match="not the file of a paper exchange"):
        exchange((question(),), FakeClock(), database)


@pytest.mark.parametrize("where", [0.3, 0.6, 0.95])
async def test_a_damaged_file_is_refused(tmp_path: Path, where: float) -> None:
    """A file with overwritten pages is reported instead of traded on."""
    database = tmp_path / "exchange.db"
    paper = exchange((question(),), FakeClock(), database)
    for _ in range(50):
        await paper.place_order(buy(count=1))
    await paper.close()
    data = bytearray(database.read_bytes())
    page = int(len(data) * where) // 4_096 * 4_096
    data[page : page + 4_096] = b"\xa5" * 4_096
    database.write_bytes(data)
    with pytest.raises(ConfigError, match="SIMULATED exchange"):
        exchange((question(),), FakeClock(), database)


def test_a_place_without_a_folder_is_refused(tmp_path: Path) -> None:
    """A path that can't be opened is a fault of the configuration, told as such."""
    with pytest.raises(ConfigError, match="can't be opened"):
        exchange((question(),), FakeClock(), tmp_path / "nowhere" / "exchange.db")


def test_a_stump_of_a_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    """What is left of a cut exchange file is not taken for a new one and written over."""
    database = tmp_path / "exchange.db"
    exchange((question(),), FakeClock(), database)._file.close()
    stump = database.read_bytes()[:50]
    database.write_bytes(stump)
    with pytest.raises(ConfigError, match="damaged"):
        exchange((question(),), FakeClock(), database)
    assert database.read_bytes() == stump


async def test_a_file_that_stops_answering_changes_nothing(tmp_path: Path) -> None:
    """While the file can't be written, reads say unavailable, an order is unknown, and none was placed."""
    database = tmp_path / "exchange.db"
    paper = exchange((question(),), FakeClock(), database)
    paper._file._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(ExchangeUnavailable, match="nothing was changed"):
        await paper.now()
    intent = buy()
    with pytest.raises(OrderUnknown, match=intent.client_order_id):
        await paper.place_order(intent)
    paper._file._connection.execute("PRAGMA query_only = OFF")
    assert await paper.find_order(intent.client_order_id) is None
    assert (await paper.get_balance()).cash == CASH
    await paper.close()
