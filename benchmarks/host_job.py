"""One trading cycle of a Kalshi AI Trading Bot in its own checkout, for ``host_baseline.py``.

Runs with the bot's interpreter, in the bot's directory: its real job, its real database, an exchange that is
an object of this file. Prints one line of JSON. The markets and the exchange are SIMULATED.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path.cwd()))

MARKETS = 4
YES_CENTS = 62
BALANCE_CENTS = 100_000
BUDGET_SECS = 2.5
"""Others may spend of the same budget, so a figure of it is as old as the last look, a second or so."""


class Exchange:
    """As much of the bot's Kalshi client as its job calls; everything is filled at once at the limit."""

    def __init__(self) -> None:
        self.orders: list[dict[str, Any]] = []
        self.closes = (datetime.now(UTC) + timedelta(hours=12)).isoformat().replace("+00:00", "Z")

    async def get_balance(self) -> dict[str, Any]:
        return {"balance": BALANCE_CENTS}

    async def get_positions(self, *_: Any, **__: Any) -> dict[str, Any]:
        return {"positions": [], "market_positions": [], "event_positions": []}

    async def get_market(self, ticker: str) -> dict[str, Any]:
        return {"market": self.market(ticker)}

    def market(self, ticker: str) -> dict[str, Any]:
        return {
            "ticker": ticker,
            "title": f"Will {ticker} happen?",
            "status": "active",
            "category": "weather",
            "rules_primary": f"Resolves YES when {ticker} happens.",
            "yes_price": YES_CENTS,
            "no_price": 100 - YES_CENTS,
            "yes_bid": YES_CENTS - 1,
            "yes_ask": YES_CENTS + 1,
            "no_bid": 99 - YES_CENTS,
            "no_ask": 101 - YES_CENTS,
            "last_price": YES_CENTS,
            "volume": 50_000,
            "volume_24h": 50_000,
            "liquidity": 1_000_000,
            "expiration_time": self.closes,
            "close_time": self.closes,
        }

    async def place_order(self, **order: Any) -> dict[str, Any]:
        made = {**order, "order_id": str(uuid.uuid4()), "status": "executed"}
        made["filled_count"] = made["fill_count"] = order.get("count", 0)
        self.orders.append(made)
        return {"order": made}

    async def get_fills(self, *_: Any, **__: Any) -> dict[str, Any]:
        return {
            "fills": [
                {**order, "yes_price": YES_CENTS, "no_price": 100 - YES_CENTS, "created_time": self.closes}
                for order in self.orders
            ]
        }

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)

        async def nothing(*_: Any, **__: Any) -> dict[str, Any]:
            return {}

        return nothing


async def cycle(dual: bool) -> dict[str, Any]:
    from src.config.settings import settings
    from src.intelligence.enhanced_client import EnhancedAIClient
    from src.jobs.trade import run_trading_job
    from src.utils.database import DatabaseManager, Market

    settings.trading.enable_dual_ai_mode = dual
    database = DatabaseManager(db_path="baseline.db")
    await database.initialize()
    exchange = Exchange()
    markets = [
        Market(
            market_id=f"HAPPEN-{number}",
            title=f"Will HAPPEN-{number} happen?",
            yes_price=YES_CENTS / 100,
            no_price=1 - YES_CENTS / 100,
            volume=50_000,
            expiration_ts=int(time.time()) + 12 * 3_600,
            category="weather",
            status="active",
            last_updated=datetime.now(),  # noqa: DTZ005 (the bot's own clock)
        )
        for number in range(MARKETS)
    ]
    await database.upsert_markets(markets)
    client = EnhancedAIClient(db_manager=database, kalshi_client=exchange)
    worst, done = [0.0], asyncio.Event()

    async def beat() -> None:
        last = time.monotonic()
        while not done.is_set():
            await asyncio.sleep(0.01)
            worst[0], last = max(worst[0], time.monotonic() - last), time.monotonic()

    beating = asyncio.create_task(beat())
    started = time.monotonic()
    results = await run_trading_job(client, database, exchange)
    secs = time.monotonic() - started
    done.set()
    await beating
    if hasattr(client, "daily_tracker"):
        _ = client.daily_tracker  # a look has the shared budget read anew, which takes as long as its file
        await asyncio.sleep(BUDGET_SECS)
    status = await client.get_system_status()
    spent = client.daily_tracker.total_cost if hasattr(client, "daily_tracker") else None
    positions = await database.get_open_positions()
    await client.close()
    return {
        "secs": round(secs, 2),
        "orders": len([order for order in exchange.orders if order.get("action") == "buy"]),
        "positions": len({position.market_id for position in positions}),
        "results": getattr(results, "total_positions", None),
        "mode": status.get("mode"),
        "healthy": status.get("healthy_providers"),
        "providers": status.get("total_providers"),
        "decided_because": status.get("decided_because", ""),
        "cost_usd": status.get("total_cost"),
        "tracker_usd": spent,
        "worst_gap_secs": round(worst[0], 2),
    }


def main() -> None:
    logging.disable(logging.CRITICAL if "--quiet" in sys.argv else logging.NOTSET)
    report = Path(os.environ["BASELINE_REPORT"])
    with contextlib.redirect_stdout(sys.stderr):
        facts = asyncio.run(cycle("--single" not in sys.argv))
    report.write_text(json.dumps(facts))


main()
