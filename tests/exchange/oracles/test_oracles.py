"""Foreign clients and Kalshi's specifications against the embedded exchange.

They need a Python of their own (3.13) with packages we do not depend on, so they run only when asked:
JURYMAST_ORACLES names that interpreter, or is ``uv``, which makes one. The specifications are not ours to
hand on: JURYMAST_SPECIFICATIONS names a directory with ``openapi.yaml`` and ``asyncapi.yaml``.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jurymast.app.clock import SystemClock
from jurymast.exchange.embedded.exchange import EmbeddedExchange
from jurymast.exchange.embedded.server.keys import KeyRing, demo_key
from jurymast.exchange.embedded.server.server import ExchangeServer
from jurymast.exchange.embedded.server.site import WireSettings
from jurymast.exchange.questions import load_bundle

HERE = Path(__file__).parent
ORACLES = os.environ.get("JURYMAST_ORACLES", "")
SPECIFICATIONS = os.environ.get("JURYMAST_SPECIFICATIONS", "")
PACKAGES = {
    "official_sdk.py": "kalshi_python_async",
    "community_sdk.py": "kalshi",
    "specification.py": "jsonschema, yaml, aiohttp, cryptography",
}
LIMIT_SECS = 120.0


def interpreter(script: str) -> list[str]:
    """How to run a script; skips with the reason when it can't be run here."""
    if not ORACLES:
        pytest.skip("JURYMAST_ORACLES does not name a Python 3.13 with the foreign clients")
    if ORACLES == "uv":
        if shutil.which("uv") is None:
            pytest.skip("JURYMAST_ORACLES is uv, and there is no uv")
        return ["uv", "run", "--python", "3.13", "--no-project"]
    found = subprocess.run([ORACLES, "-c", f"import {PACKAGES[script]}"], capture_output=True, check=False)
    if found.returncode:
        pytest.skip(f"{ORACLES} can't import {PACKAGES[script]}")
    return [ORACLES]


async def consult(script: str, directory: Path, *more: str) -> tuple[int, str]:
    """Serve a fresh exchange, run a script against it; its exit code and what it said."""
    command = interpreter(script)
    key, clock, keys = demo_key(directory), SystemClock(), KeyRing()
    keys.add(key.key_id, key.path.read_bytes())
    start = datetime(2025, 12, 12, tzinfo=UTC)
    exchange = EmbeddedExchange(load_bundle(), clock=clock, start=start, aligned=True)
    try:
        settings = WireSettings(tier="prestige")
        async with ExchangeServer(exchange, clock=clock, keys=keys, settings=settings) as server:
            child = await asyncio.create_subprocess_exec(
                *command,
                str(HERE / script),
                *(server.rest_url, key.key_id, str(key.path), *more),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            said, _ = await asyncio.wait_for(child.communicate(), LIMIT_SECS)
    finally:
        exchange.close()
    assert child.returncode is not None
    return child.returncode, said.decode()


@pytest.mark.parametrize("script", ["official_sdk.py", "community_sdk.py"])
async def test_foreign_clients_trade_here_unmodified(script: str, tmp_path: Path) -> None:
    """Clients written for Kalshi create, amend, cancel, fill, settle and listen here without a change."""
    code, said = await consult(script, tmp_path)
    assert code == 0, said
    assert "settlement" in said


async def test_every_answer_fits_the_specifications(tmp_path: Path) -> None:
    """What each operation and each frame has is what Kalshi's specifications ask for."""
    if not SPECIFICATIONS:
        interpreter("specification.py")
        pytest.skip("JURYMAST_SPECIFICATIONS does not name a directory with the specifications")
    code, said = await consult("specification.py", tmp_path, SPECIFICATIONS)
    assert code == 0, said
    assert "43 operations" in said
