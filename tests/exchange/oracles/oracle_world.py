"""`jurymast exchange serve` in a process of its own, a tap before it, and the three clients."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
from foreign_clients import Trader, clients
from wiretap import Wiretap, tapped

START_SECS = 30.0
STOP_SECS = 10.0
FACTS = ("REST", "control", "key id", "key file")


@dataclass
class Served:
    """A running exchange and who trades at it."""

    tap: Wiretap
    control: str
    key_id: str
    key_file: Path
    traders: list[Trader]

    def at_work(self, trader: Trader | str) -> None:
        """What is said from now on is said by this client."""
        self.tap.who = trader if isinstance(trader, str) else trader.name

    async def markets(self, count: int) -> list[dict[str, Any]]:
        """Open markets with both sides on offer around the middle, from the list itself."""
        url = f"{self.tap.origin}/trade-api/v2/markets?status=open&limit=1000"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            page = (await answer.json())["markets"]
        found = [
            each
            for each in page
            if Decimal(each["yes_bid_dollars"]) > Decimal("0.15")
            and Decimal(each["yes_ask_dollars"]) < Decimal("0.85")
        ]
        return found[:count]

    async def step(self, ticker: str, step: str) -> None:
        """Bring a market forward in its life."""
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.control}/markets/{ticker}/{step}") as answer,
        ):
            answer.raise_for_status()


@asynccontextmanager
async def served(directory: Path) -> AsyncIterator[Served]:
    """The exchange as a user starts it, on its highest tier, until the end."""
    command = [sys.executable, "-m", "jurymast", "exchange", "serve"]
    options = ["--port", "0", "--tier", "prestige", "--data-dir", str(directory)]
    child = await asyncio.create_subprocess_exec(
        *command, *options, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        facts = await asyncio.wait_for(_announced(child), START_SECS)
        origin = facts["REST"].partition("/trade-api")[0]
        async with tapped(origin) as tap:
            key_id, key_file = facts["key id"], Path(facts["key file"])
            async with clients(tap, key_id, key_file) as traders:
                yield Served(tap, facts["control"], key_id, key_file, traders)
    finally:
        if child.returncode is None:
            child.terminate()
        await asyncio.wait_for(child.wait(), STOP_SECS)


async def _announced(child: asyncio.subprocess.Process) -> dict[str, str]:
    """What the command prints when it is ready."""
    facts: dict[str, str] = {}
    assert child.stdout is not None
    while FACTS[-1] not in facts:
        line = (await child.stdout.readline()).decode()
        assert line, f"the exchange ended with {await child.wait()}"
        for name in FACTS:
            if line.strip().startswith(f"{name} "):
                facts[name] = line.strip().removeprefix(name).strip().partition("   ")[0]
    return facts
