"""Many bots, one budget, real sockets: the vendors' bill never passes a cap, whoever is killed meanwhile."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from jurymast.app.clock import SystemClock
from jurymast.domain.provider import ProviderName
from jurymast.exchange.paths import PricePath
from jurymast.exchange.questions import load_bundle
from jurymast.journal.budget_file import read_accounts
from jurymast.lab.emulators.fleet import EmulatorFleet
from jurymast.lab.rig import MODELS
from jurymast.lab.world import QuestionOracle

CHILD = Path(__file__).with_name("storm_child.py")
BOTS, EACH = 4, 50
LIMIT = 600_000
"""Micro-dollars: for some sixty answers of the two hundred that are asked for."""
XAI, OPENAI = ProviderName.XAI, ProviderName.OPENAI


@pytest.mark.parametrize("killed", [0, 2])
async def test_two_hundred_decisions_at_once_never_pass_a_cap(tmp_path: Path, killed: int) -> None:
    """Four bots with fifty decisions each, all at once, on money for a third of them."""
    path = tmp_path / "budget.db"
    oracle = QuestionOracle(load_bundle(), PricePath(0))
    async with EmulatorFleet(oracle, latency_scale=0.05, models=MODELS) as fleet:
        urls = json.dumps({name.value: fleet.base_urls[name] for name in (XAI, OPENAI)})
        words = [sys.executable, str(CHILD), str(path), str(LIMIT), str(EACH), urls]
        bots = [
            await asyncio.create_subprocess_exec(
                *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
            for _ in range(BOTS)
        ]
        for bot in bots:
            assert bot.stdout is not None
            assert await bot.stdout.readline() == b"begun\n"
        for bot in bots:
            assert bot.stdin is not None
            bot.stdin.write(b"go\n")
        for number, bot in enumerate(bots[:killed], start=1):
            while fleet.ledger(XAI).requests < number * 5:
                await asyncio.sleep(0.005)
            assert bot.returncode is None
            bot.kill()
        told = [(await bot.communicate())[0].split() for bot in bots]
        bills = {name: fleet.ledger(name).bill for name in (XAI, OPENAI)}
    day, xai = read_accounts(path, SystemClock().utc_now())
    assert sum(bills.values()) <= LIMIT
    assert bills[XAI] <= LIMIT // 2, "its own cap of an hour"
    assert day.taken + day.held <= LIMIT
    assert xai.taken + xai.held <= LIMIT // 2
    assert sum(bills.values()) <= day.taken + day.held, "nothing that is billed was forgotten"
    assert sum(bills.values()) > LIMIT // 4, "it was a storm"
    if not killed:
        assert day.spent == sum(int(cost) for _, cost in told)
        assert day.held == 0
