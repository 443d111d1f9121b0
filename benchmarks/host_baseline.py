"""A real Kalshi AI Trading Bot with Jurymast copied in: its own trading job through every outage of the
baseline.

    uv run benchmarks/host_baseline.py --host CHECKOUT --python ITS_INTERPRETER

The checkout is copied, the adapter is installed into the copy, and the bot's real job runs once per row on
four markets, its providers emulated on loopback, its exchange an object. SIMULATED throughout. ``--single``
switches the bot's dual engine off, so that decisions come from ``get_trading_decision``. The bot is not ours
and is not handed on: point this at a checkout of it whose packages, with Jurymast's own, are installed for
ITS_INTERPRETER.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from host_answers import ANSWER, Sure

from jurymast.domain.provider import ProviderName
from jurymast.journal.queries import JournalReader
from jurymast.lab.emulators import answers
from jurymast.lab.emulators.fleet import EmulatorFleet
from jurymast.policy.spending import KINDS, Purpose, Total, spending

ROOT = Path(__file__).resolve().parents[1]
ADAPTER = ROOT / "integrations" / "kalshi-ai-trading-bot"
XAI, OPENAI = ProviderName.XAI, ProviderName.OPENAI
MODELS = {XAI: ("grok-4.7",), OPENAI: ("gpt-6.1-sol",)}
SCENARIOS: tuple[tuple[str, dict[str, str]], ...] = (
    ("both healthy", {}),
    ("xAI 500, OpenAI healthy", {"xai": "500"}),
    ("xAI empty text, OpenAI healthy", {"xai": "empty"}),
    ("xAI hangs, OpenAI healthy", {"xai": "hang"}),
    ("OpenAI 500, xAI healthy", {"openai": "500"}),
    ("both 500", {"xai": "500", "openai": "500"}),
)
CYCLE_SECS_MAX = 300.0
KEPT = shutil.ignore_patterns(".git", "*.db", "*.db-*", "logs", "__pycache__")


async def row(name: str, faults: dict[str, str], wanted: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    checkout = scratch / name.replace(" ", "-").replace(",", "")
    shutil.copytree(wanted.host, checkout, ignore=KEPT)
    environ = os.environ | {"PYTHONPATH": str(ROOT / "src"), "BASELINE_REPORT": str(checkout / "report.json")}
    await run([wanted.python, ADAPTER / "install.py", checkout, "--full"], environ, checkout)
    async with EmulatorFleet(Sure(), latency_scale=wanted.latency_scale, models=MODELS) as fleet:
        for provider, fault in faults.items():
            await fleet.set_fault(provider, fault)
        for provider, models in MODELS.items():
            upper = provider.upper()
            environ[f"{upper}_API_KEY"] = f"{provider}-emulated"
            environ[f"JURYMAST_PROVIDERS__{upper}__BASE_URL"] = fleet.base_urls[provider]
            environ[f"JURYMAST_PROVIDERS__{upper}__MODELS"] = ",".join(models)
        environ["KALSHI_API_KEY"] = "emulated"
        words = [wanted.python, ROOT / "benchmarks" / "host_job.py", "--quiet"]
        await run([*words, "--single"] if wanted.single else words, environ, checkout)
        asked = {provider: fleet.ledger(provider).requests for provider in MODELS}
        billed = sum(fleet.ledger(provider).bill for provider in MODELS)
    facts = json.loads((checkout / "report.json").read_text())
    return {
        "scenario": name,
        **facts,
        "xai_requests": asked[XAI],
        "openai_requests": asked[OPENAI],
        "billed_usd": billed / 1e6,
        **journal(checkout),
    }


def journal(checkout: Path) -> dict[str, Any]:
    """What the journal of the run says it was asked and what it cost, in dollars: as the vendors have told,
    and with what they may bill beyond that."""
    with JournalReader(checkout / "jurymast-data" / "journal.db") as reader:
        found = spending((recorded.event for recorded in reader.scan(KINDS)), "purpose")
    total, probes = found.total, found.purposes.get(Purpose.PROBE, Total())
    return {
        "known_usd": total.known / 1e6,
        "journal_usd": (total.cost + total.uncertain) / 1e6,
        "probes": probes.requests,
        "decisions": found.decisions,
    }


async def run(words: list[Any], environ: dict[str, str], directory: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *map(str, words), cwd=directory, env=environ,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(CYCLE_SECS_MAX):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        raise SystemExit(f"the bot was not done within {CYCLE_SECS_MAX:g} s") from None
    (directory / "output.txt").write_bytes(output)
    if process.returncode != 0:
        raise SystemExit(output.decode(errors="replace")[-4_000:])


HEAD = (
    "scenario",
    "cycle s",
    "requests to xAI, OpenAI (probes)",
    "decisions",
    "positions",
    "its status says",
    "billed USD",
    "journal: known, at most USD",
    "tracker USD",
)


def table(rows: list[dict[str, Any]]) -> str:
    cells = [
        (
            each["scenario"],
            f"{each['secs']:.1f}",
            f"{each['xai_requests']}, {each['openai_requests']} ({each['probes']})",
            str(each["decisions"]),
            str(each["positions"]),
            f"{each['mode']} {each['healthy']}/{each['providers']}",
            f"{each['billed_usd']:.6f}",
            f"{each['known_usd']:.6f}, {each['journal_usd']:.6f}",
            f"{each['tracker_usd']:.6f}",
        )
        for each in rows
    ]
    lines = [HEAD, ("---",) * len(HEAD), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


async def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--host", type=Path, required=True)
    parser.add_argument("--python", type=Path, default=Path(sys.executable))
    parser.add_argument("--single", action="store_true")
    parser.add_argument("--latency-scale", type=float, default=0.1)
    parser.add_argument("--only", default="")
    parser.add_argument("--keep", type=Path, help="directory for the copies, to look into")
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    wanted.host, wanted.python = wanted.host.resolve(), wanted.python.absolute()
    answers.PLAIN_ANSWER = ANSWER
    with tempfile.TemporaryDirectory() as directory:
        scratch = wanted.keep or Path(directory)
        chosen = [each for each in SCENARIOS if wanted.only in each[0]]
        rows = [await row(name, faults, wanted, scratch) for name, faults in chosen]
    print(json.dumps(rows) if wanted.json else table(rows))


if __name__ == "__main__":
    asyncio.run(main())
