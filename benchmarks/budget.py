"""Whether a budget holds, and what that costs: at any concurrency, across processes, through SIGKILL.

Ours (hold the worst case, settle by the bill, wait for what others give back) beside the two ways in use
elsewhere: check what is spent, ask, record; and the same with the mean cost added to what is checked. Vendors
are SIMULATED: a request takes a moment and costs a share of its worst case, told at its beginning to whoever
counts the bill, as real ones charge for work begun. A process that is killed is started again.

    uv run benchmarks/budget.py
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from measure import Spread, dump, parser, show

from jurymast.app.clock import SystemClock
from jurymast.intelligence.purse import BudgetSpentError, MemoryBooks, Purse
from jurymast.journal.books import SqliteBooks
from jurymast.policy.ledger import Cap, Payer

WORST = 30_000
"""Micro-dollars: some 4,000 tokens in and 2,000 out of a strong model."""
MEAN = 10_500
LIMIT = 50 * MEAN
REQUEST_SECS = 0.02
PATIENCE_SECS = 5.0
CONCURRENCY = (1, 10, 50, 200)
PROCESSES = 4
KILLS = 3
PAYER = Payer("xai", "grok-4.3", "KXRAIN")
CLOCK = SystemClock()
TITLES = {
    "record": "check what is spent, ask, record",
    "mean": "the same, with the mean estimated",
    "ours": "hold the worst case, settle, wait",
}

Request = Callable[[], Awaitable[int]]
Spend = Callable[[Request], Awaitable[bool]]
"""Makes a request if the budget allows it; whether it did."""


class Shelf:
    """What is spent, in a variable or in a file that processes share: what the two rivals keep."""

    def __init__(self, path: Path | None, estimate: int) -> None:
        self._estimate = estimate
        self._spent = 0
        self._file = None if path is None else sqlite3.connect(path, timeout=30.0, isolation_level=None)
        if self._file is not None:
            self._file.execute("CREATE TABLE IF NOT EXISTS spent (micros INTEGER)")

    async def spend(self, request: Request) -> bool:
        if self._read() + self._estimate > LIMIT or self._read() >= LIMIT:
            return False
        self._add(await request())
        return True

    def _read(self) -> int:
        if self._file is None:
            return self._spent
        (micros,) = self._file.execute("SELECT COALESCE(SUM(micros), 0) FROM spent").fetchone()
        return int(micros)

    def _add(self, cost: int) -> None:
        self._spent += cost
        if self._file is not None:
            self._file.execute("INSERT INTO spent VALUES (?)", (cost,))


class Holding:
    """The purse, over books in memory or in a file."""

    def __init__(self, path: Path | None) -> None:
        caps = [Cap(LIMIT)]
        books = MemoryBooks(caps, CLOCK) if path is None else SqliteBooks.open(path, caps, clock=CLOCK)
        self.purse = Purse(books, clock=CLOCK)

    async def spend(self, request: Request) -> bool:
        try:
            hold = await self.purse.reserve(PAYER, WORST, PATIENCE_SECS)
        except BudgetSpentError:
            return False
        self.purse.settle(hold, await request())
        return True


def policy(name: str, path: Path | None) -> Spend:
    if name == "ours":
        return Holding(path).spend
    return Shelf(path, MEAN if name == "mean" else 0).spend


async def storm(spend: Spend, workers: int, bill: Callable[[int], None], seed: int) -> None:
    """Workers ask on and on until they are refused."""
    dice = random.Random(seed)

    async def request() -> int:
        cost = round(WORST * dice.betavariate(2.1, 3.9))
        bill(cost)
        await asyncio.sleep(REQUEST_SECS * (0.5 + dice.random()))
        return cost

    async def work() -> None:
        while await spend(request):
            pass

    await asyncio.gather(*(work() for _ in range(workers)))


def alone(name: str, workers: int, seed: int) -> int:
    """The vendor's bill after a storm within one process."""
    bills: list[int] = []
    asyncio.run(storm(policy(name, None), workers, bills.append, seed))
    return sum(bills)


def together(name: str, workers: int, seed: int, kills: int) -> int:
    """The same from several processes with one file, so many of them killed and started again."""
    with tempfile.TemporaryDirectory() as directory:
        path, spawned = Path(directory) / "b.db", 0

        def spawn() -> subprocess.Popen[str]:
            nonlocal spawned
            spawned += 1
            words = ["--child", name, str(path), str(workers // PROCESSES), str(seed + spawned)]
            return subprocess.Popen([sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True)

        processes, bill = [spawn() for _ in range(PROCESSES)], 0
        for number in range(kills):
            bill += sum(int(processes[number].stdout.readline() or 0) for _ in range(5))
            processes[number].kill()
            processes.append(spawn())
        for process in processes:
            bill += sum(map(int, process.stdout.read().split()))
            process.stdout.close()
            process.wait()
        return bill


async def rate(purse: Purse, pairs: int, workers: int) -> tuple[float, float]:
    """Holds made and settled a second, and CPU seconds of each pair."""

    async def work() -> None:
        for _ in range(pairs // workers):
            purse.settle(await purse.reserve(PAYER, 100), 40)

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work() for _ in range(workers)))
    done = pairs // workers * workers
    return done / (time.perf_counter() - began), (time.process_time() - cpu) / done


async def rates(rounds: int, pairs: int) -> dict[str, dict[str, Spread]]:
    """Of the books in memory and in a file, one after the other and fifty at once."""
    measured: dict[str, dict[str, Spread]] = {}
    with tempfile.TemporaryDirectory() as directory:
        caps = [Cap(10**12)]
        books = {
            "memory": (MemoryBooks(caps, CLOCK), pairs * 20),
            "file": (SqliteBooks.open(Path(directory) / "b.db", caps, clock=CLOCK), pairs),
        }
        for name, (kept, count) in books.items():
            purse = Purse(kept, clock=CLOCK)
            for workers in (1, 50):
                found = [await rate(purse, count, workers) for _ in range(rounds)]
                measured[f"{name}, {workers} at once"] = {
                    "per_sec": Spread.of(per_sec for per_sec, _ in found),
                    "cpu_us": Spread.of(cpu * 1e6 for _, cpu in found),
                }
            await purse.close()
    return measured


def main() -> None:
    options = parser(__doc__, rounds=5)
    options.add_argument("--quick", action="store_true", help="one round, fewer processes' storms")
    options.add_argument("--child", nargs=4, help="for its own use")
    chosen = options.parse_args()
    if chosen.child:
        name, path, workers, seed = chosen.child

        def bill(cost: int) -> None:
            os.write(1, f"{cost}\n".encode())

        asyncio.run(storm(policy(name, Path(path)), int(workers), bill, int(seed)))
        return
    rounds = 1 if chosen.quick else chosen.rounds
    crowds = CONCURRENCY[1:3] if chosen.quick else CONCURRENCY
    ways: dict[str, Callable[[str, int], int]] = {
        **{f"{n} at once": lambda name, seed, n=n: alone(name, n, seed) for n in crowds},
        f"200 in {PROCESSES} processes": lambda name, seed: together(name, 200, seed, 0),
        f"the same, {KILLS} killed": lambda name, seed: together(name, 200, seed, KILLS),
    }
    bills = {
        way: {name: [run(name, chosen.seed + 1_000 * place) for place in range(rounds)] for name in TITLES}
        for way, run in ways.items()
    }
    speeds = asyncio.run(rates(rounds, 200 if chosen.quick else 1_000))
    if chosen.json:
        dump("budget", {"simulated": True, "limit": LIMIT, "bills": bills, "rates": speeds, "rounds": rounds})
        return
    rows = []
    for way, found in bills.items():
        worst = {name: max(max(0, bill - LIMIT) / LIMIT for bill in found[name]) for name in TITLES}
        used = Spread.of(min(bill, LIMIT) / LIMIT for bill in found["ours"]).median
        rows.append([way, *(f"{worst[name]:.1%}" for name in TITLES), f"{used:.0%}"])
    title = f"SIMULATED storms on one budget, worst overshoot of {rounds} rounds"
    show(title, ["at once", *TITLES.values(), "used by ours"], rows)
    show(
        "Holds made and settled, median (low..high)",
        ["books", "a second", "CPU us each"],
        [[name, row["per_sec"].text(0), row["cpu_us"].text(0)] for name, row in speeds.items()],
    )


if __name__ == "__main__":
    main()
