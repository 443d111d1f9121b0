"""A bot that decides many questions at once: ``storm_child.py BUDGET_FILE LIMIT COUNT URLS``.

URLS is JSON: base address by provider. Says when it is ready, begins with the first line it is sent, and
tells what it has decided.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import timedelta
from pathlib import Path

from jurymast.app.clock import SystemClock
from jurymast.domain.decision import Decision
from jurymast.domain.market import MarketSnapshot, MarketStatus
from jurymast.domain.money import CONTRACT
from jurymast.domain.provider import ProviderConfig, ProviderName
from jurymast.exchange.books import BookMaker, step_at
from jurymast.exchange.questions import as_market, load_bundle
from jurymast.intelligence.assembly import connect
from jurymast.journal.books import SqliteBooks
from jurymast.lab.rig import EMULATED_KEY, MODELS
from jurymast.policy.ledger import Cap, Scope, Window

DEADLINE_SECS = 8.0


async def main() -> None:
    path, limit, count, urls = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])
    clock, questions, maker = SystemClock(), load_bundle(), BookMaker(0)
    caps = Cap(limit), Cap(limit // 2, Window.HOUR, Scope.PROVIDER, "xai")
    configs = [
        ProviderConfig(
            ProviderName(name), url, MODELS[ProviderName(name)], priority,
            EMULATED_KEY, max_concurrent=100, simulated=True,
        )
        for priority, (name, url) in enumerate(urls.items(), start=1)
    ]  # fmt: skip
    books = SqliteBooks.open(path, caps, clock=clock)
    async with connect(configs, clock=clock, books=books) as client:

        async def ask(index: int) -> bool:
            question = questions[index]
            at = question.listed_at + timedelta(days=1)
            snapshot = MarketSnapshot(
                as_market(question),
                MarketStatus.ACTIVE,
                maker.book(question, step_at(at)),
                10_000 * CONTRACT,
                at,
            )
            answer = await client.get_trading_decision(snapshot, deadline_secs=DEADLINE_SECS)
            return isinstance(answer, Decision) and bool(answer.cost)

        os.write(1, b"begun\n")
        await asyncio.to_thread(sys.stdin.readline)
        answered = await asyncio.gather(*(ask(index) for index in range(count)))
        cost = client.fallback_manager._providers.get_total_cost()
        os.write(1, f"{sum(answered)} {cost}\n".encode())


if __name__ == "__main__":
    asyncio.run(main())
