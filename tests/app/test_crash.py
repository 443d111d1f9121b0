"""A bot killed at any moment and started again: nothing lost, nothing twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from jurymast.app.clock import SystemClock
from jurymast.app.config import Config
from jurymast.domain.events import OrderIntended, Reconciled, RunStarted
from jurymast.exchange.embedded.exchange import EmbeddedExchange
from jurymast.exchange.embedded.invariants import broken
from jurymast.exchange.embedded.records import Status
from jurymast.exchange.questions import load_bundle
from jurymast.journal.queries import JournalReader
from jurymast.trading.portfolio import BOOK_EVENTS, Portfolio

KILLS = int(os.environ.get("JURYMAST_TEST_KILLS", "6"))
"""In each of the runs below; JURYMAST_TEST_KILLS=50 makes a hundred of them."""
FAST = {
    "JURYMAST_LAB__LATENCY_SCALE": "0",
    "JURYMAST_LAB__CONTROL_PORT": "0",
    "JURYMAST_LAB__WEATHER": "false",
    "JURYMAST_BOT__CYCLE_SECS": "0.1",
    "JURYMAST_TRADING__ASK_AGAIN_SECS": "1",
    "JURYMAST_TRADING__DECISIONS_PER_CYCLE": "8",
    "JURYMAST_FAILOVER__BUDGET_USD_PER_DAY": "1000",
}


def start(data_dir: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "jurymast", "run", "--json", "--data-dir", str(data_dir), *arguments]
    return subprocess.Popen(
        command, env={**os.environ, **FAST}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def kill_after_cycles(data_dir: Path, cycles: int, more_secs: float) -> None:
    """Let it finish so many cycles and SIGKILL it somewhere inside the next one."""
    with start(data_dir) as process:
        assert process.stdout is not None
        for _ in range(cycles):
            assert process.stdout.readline(), process.stderr.read() if process.stderr else ""
        time.sleep(more_secs)
        process.send_signal(signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize("seed", [1, 2])
async def test_killed_at_any_moment_it_goes_on_with_the_exchanges_books(tmp_path: Path, seed: int) -> None:
    """After SIGKILLs at seeded moments the books equal the exchange's, and no order was sent twice."""
    dice = random.Random(seed)
    for _ in range(KILLS):
        kill_after_cycles(tmp_path, dice.randint(1, 4), dice.uniform(0.0, 0.3))
    # Long enough for the client to be sure of an order that was on its way at the last kill: it waits for it.
    with start(tmp_path, "--cycles", "40") as last:
        _, errors = last.communicate(timeout=60)
    assert last.returncode == 0, errors

    with JournalReader(tmp_path / "journal.db", strict=True) as journal:
        book_rows = list(journal.scan(BOOK_EVENTS))
        assert journal.count(RunStarted) == KILLS + 1
        assert journal.count(Reconciled) >= KILLS + 1
        closing = journal.last(Reconciled)
    portfolio = Portfolio()
    portfolio.replay(row.event for row in book_rows)
    house = EmbeddedExchange(
        load_bundle(),
        database=tmp_path / "embedded-exchange.db",
        clock=SystemClock(),
        start=Config().exchange.start,
        speed=0.1,
    )
    state, owner = house.engine.state, house.member.number
    positions = {ticker: stake.count for ticker, stake in house.member.stakes.items() if stake.count}
    orders = [order for order in state.orders.values() if order.owner == owner]
    open_orders = {order.client_order_id for order in orders if order.status is Status.RESTING}
    fills = [fill for fill in state.fills if fill.owner == owner]
    cash, wrong = house.member.available(0), broken(house.engine)
    house.close()

    intents = Counter(
        row.event.intent.client_order_id for row in book_rows if isinstance(row.event, OrderIntended)
    )
    assert positions, "the test is worth nothing if nothing was traded"
    assert portfolio.unresolved == set()
    assert {p.ticker: p.count for p in portfolio.positions.values()} == positions
    assert open_orders == set(portfolio.orders)
    placed = Counter(order.client_order_id for order in orders)
    assert placed.keys() <= intents.keys(), "the exchange holds an order that was never intended"
    assert {*placed.values(), *intents.values()} == {1}
    assert (portfolio.fills_seen, portfolio.fees_paid) == (len(fills), sum(fill.fee for fill in fills))
    assert wrong == []
    assert closing is not None
    assert (closing.positions, closing.cash, closing.differences) == (len(positions), cash, ())
