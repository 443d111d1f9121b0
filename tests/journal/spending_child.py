"""A bot that spends until it is killed. Run by test_books.py: ``spending_child.py PATH LIMIT TASKS SECS``.

Each task asks for a hold, then tells the vendor (standard output) what the request costs, waits, and settles.
What is printed is what a vendor would bill. It ends by itself when nothing fits any more.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

from jurymast.app.clock import SystemClock
from jurymast.intelligence.purse import BudgetSpentError, Purse
from jurymast.journal.books import SqliteBooks
from jurymast.policy.ledger import Cap, Payer

WORST = 100
PATIENCE_SECS = 5.0


async def main() -> None:
    path, limit, tasks, secs = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    clock, dice = SystemClock(), random.Random(os.getpid())
    purse = Purse(SqliteBooks.open(path, [Cap(limit)], clock=clock), clock=clock)

    async def spend() -> None:
        while True:
            try:
                hold = await purse.reserve(Payer("xai", "grok-4.3"), WORST, PATIENCE_SECS)
            except BudgetSpentError:
                return
            cost = dice.randint(1, WORST)
            os.write(1, f"{cost}\n".encode())
            await asyncio.sleep(secs * dice.random())
            purse.settle(hold, cost)

    await asyncio.gather(*(spend() for _ in range(tasks)))
    await purse.close()


if __name__ == "__main__":
    asyncio.run(main())
