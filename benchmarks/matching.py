"""How many orders a second the embedded exchange matches, and what sixty thousand markets take in memory.

Seeded orders to one market: three in ten take at once, the others rest if they can. The floor is a toy
on heaps and dictionaries that matches the same orders by price and time and does nothing else: no
accounts, no collateral, no fees, no cancelling, no events. Everything is SIMULATED and in one process;
"served" is the same engine behind its log on disk, a member's orders with ids of their own.
"""

from __future__ import annotations

import gc
import heapq
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from cycle_scan import synthetic
from measure import Spread, between, dump, parser, ratio, show

from jurymast.app.clock import SystemClock
from jurymast.domain.money import CENT, CONTRACT, USD
from jurymast.exchange.embedded.commands import Deposit, OpenAccount, Place
from jurymast.exchange.embedded.engine import Engine
from jurymast.exchange.embedded.exchange import EmbeddedExchange, Rules
from jurymast.exchange.embedded.floor import State
from jurymast.exchange.embedded.invariants import broken
from jurymast.exchange.embedded.lifecycle import Listing
from jurymast.exchange.embedded.records import Lifetime
from jurymast.exchange.questions import load_bundle
from jurymast.testing.clock import FakeClock

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
NOON_US = 1_772_452_800_000_000
HOUR_US = 3_600_000_000
LISTING = Listing("BENCH", "EV-BENCH", "SER", NOON_US, NOON_US + HOUR_US, NOON_US + HOUR_US, outcome=True)
MEMBERS = 8
ORDERS_MAX = 200_000
TARGET_PER_SEC = 10_000
TARGET_MB = 400
EVENTS_TAKEN_EVERY = 50


def main() -> None:
    options = parser(__doc__, rounds=7)
    options.add_argument("--orders", type=between(1_000, ORDERS_MAX), default=20_000, help="a round")
    options.add_argument("--memory-markets", type=between(100, 100_000), default=60_000)
    options.add_argument("--memory-only", action="store_true", help="print what the memory process measures")
    chosen = options.parse_args()
    if chosen.memory_only:
        print(json.dumps(_memory(chosen.memory_markets, chosen.seed)))
        return
    orders = _orders(chosen.orders, chosen.seed)
    ways = {
        "heaps and dictionaries (floor)": _toy,
        "engine": _engine,
        "engine, served: with its log": _served,
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    trades: dict[str, int] = {}
    dice = random.Random(chosen.seed)
    for _ in range(chosen.rounds):
        for name, way in dice.sample(list(ways.items()), len(ways)):
            secs, trades[name] = way(orders)
            rates[name].append(len(orders) / secs)
    if trades["engine"] != trades["heaps and dictionaries (floor)"]:
        raise SystemExit(f"engine and toy differ in their trades: {trades}")
    memory = _memory_elsewhere(chosen.memory_markets, chosen.seed)
    if chosen.json:
        facts = {name: Spread.of(values) for name, values in rates.items()}
        dump("matching", {"orders": chosen.orders, "per_sec": facts, "trades": trades, "memory": memory})
        return
    _print(rates, trades, memory, chosen.orders, chosen.rounds)


def _print(
    rates: dict[str, list[float]],
    trades: dict[str, int],
    memory: dict[str, float],
    orders: int,
    rounds: int,
) -> None:
    floor = Spread.of(next(iter(rates.values()))).median
    rows = [
        [name, Spread.of(values).text(0), ratio(floor, Spread.of(values).median), f"{trades[name]:,}"]
        for name, values in rates.items()
    ]
    title = f"{orders:,} orders to one market, {rounds} rounds, SIMULATED: median (low..high)"
    show(title, ["what", "orders/s", "floor is faster by", "trades"], rows)
    slowest = min(rates["engine"])
    print(f"\ntarget: {TARGET_PER_SEC:,} orders/s: {'met' if slowest >= TARGET_PER_SEC else 'MISSED'}")
    steps = ("questions", "exchange over them", "one page of 1,000 shown", "48 markets in depth")
    rows = [[name, f"{memory[name] / 1e6:,.0f}"] for name in steps]
    rows.append(["everything, interpreter included", f"{memory['total'] / 1e6:,.0f}"])
    show(f"Memory of {memory['markets']:,.0f} markets, resident", ["what", "MB"], rows)
    print(f"\ntarget: under {TARGET_MB} MB: {'met' if memory['total'] < TARGET_MB * 1e6 else 'MISSED'}")
    print(f"a tick of 48 live markets: {memory['tick_ms']:.1f} ms")


def _orders(count: int, seed: int) -> list[Place]:
    """Around the middle, from members in turn; whoever comes next meets somebody else."""
    dice = random.Random(seed)
    return [
        Place(
            owner=number % MEMBERS,
            ticker=LISTING.ticker,
            bid=dice.random() < 0.5,
            price=dice.randrange(30, 71) * CENT,
            count=dice.randrange(1, 50) * CONTRACT,
            lifetime=Lifetime.IMMEDIATE_OR_CANCEL if dice.random() < 0.3 else Lifetime.GOOD_TILL_CANCELED,
            client_order_id=f"bench-{number}",
        )
        for number in range(count)
    ]


def _toy(orders: list[Place]) -> tuple[float, int]:
    """Price and time on two heaps, nothing else; own orders are left alone, as the engine leaves them."""
    bids: list[tuple[int, int]] = []
    asks: list[tuple[int, int]] = []
    left: dict[int, int] = {}
    owners: dict[int, int] = {}
    trades = 0
    started = time.perf_counter()
    for number, order in enumerate(orders):
        count, same = order.count, False
        book, limit = (asks, order.price) if order.bid else (bids, -order.price)
        while count and book and book[0][0] <= limit:
            other = book[0][1]
            if owners[other] == order.owner:
                same = True
                break
            part = min(count, left[other])
            count -= part
            left[other] -= part
            trades += 1
            if not left[other]:
                heapq.heappop(book)
        if count and not same and order.lifetime is Lifetime.GOOD_TILL_CANCELED:
            left[number], owners[number] = count, order.owner
            own = (bids, -order.price) if order.bid else (asks, order.price)
            heapq.heappush(own[0], (own[1], number))
    return time.perf_counter() - started, trades


def _engine(orders: list[Place]) -> tuple[float, int]:
    engine = Engine({LISTING.ticker: LISTING}.get, State(now_us=NOON_US))
    for member in range(MEMBERS):
        engine.apply(OpenAccount(f"member-{member}", 0, (100_000_000 * USD,)), NOON_US)
    started = time.perf_counter()
    for number, order in enumerate(orders):
        engine.apply(order, NOON_US)
        if number % EVENTS_TAKEN_EVERY == 0:
            engine.take_events()
    secs = time.perf_counter() - started
    if wrong := broken(engine):
        raise SystemExit(f"the books do not balance: {wrong[0]}")
    return secs, engine.state.next_trade - 1


def _served(orders: list[Place]) -> tuple[float, int]:
    """One member against the crowd's book of one market, every order written down before it is done."""
    with tempfile.TemporaryDirectory() as directory:
        exchange = EmbeddedExchange(
            load_bundle(),
            clock=SystemClock(),
            start=datetime(2025, 12, 12, tzinfo=UTC),
            database=Path(directory) / "exchange.db",
            cash=1_000_000 * USD,
            rules=Rules(near=0),
        )
        member = exchange.member.number
        ticker = exchange.catalogue.next_to_end(exchange.now_us(), 1)[0]
        exchange.execute(Deposit(member, 0, 100_000_000 * USD))
        mine = [
            Place(member, ticker, each.bid, each.price, each.count, each.lifetime, each.client_order_id)
            for each in orders
        ]
        started = time.perf_counter()
        for order in mine:
            exchange.execute(order)
        secs = time.perf_counter() - started
        trades = exchange.engine.state.next_trade - 1
        exchange.close()
    return secs, trades


def _memory_elsewhere(count: int, seed: int) -> dict[str, float]:
    """Measured in a fresh process, whose memory nobody has used and given back before."""
    command = [sys.executable, __file__, "--memory-only", "--memory-markets", str(count), "--seed", str(seed)]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=300)
    return json.loads(found.stdout)


def _memory(count: int, seed: int) -> dict[str, float]:
    from jurymast.exchange.embedded.server.shapes import market_shape

    load_bundle()
    before = _resident_bytes()
    questions = synthetic(count)
    loaded = _resident_bytes()
    clock = FakeClock(START)
    exchange = EmbeddedExchange(questions, clock=clock, start=START, seed=seed, rules=Rules(near=0))
    opened = _resident_bytes()
    page = [market_shape(exchange, exchange.catalogue.question(place)) for place in range(1_000)]
    shown = _resident_bytes()
    exchange.watch([shape["ticker"] for shape in page[:48]])
    ticks = []
    for _ in range(50):
        clock.advance(60.0)  # a new step: every quote may have moved
        started = time.perf_counter()
        exchange.tick()
        ticks.append(time.perf_counter() - started)
    deep = _resident_bytes()
    return {
        "markets": count,
        "questions": loaded - before,
        "exchange over them": opened - loaded,
        "one page of 1,000 shown": shown - opened,
        "48 markets in depth": deep - shown,
        "total": deep,
        "tick_ms": sorted(ticks)[len(ticks) // 2] * 1e3,
    }


def _resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
