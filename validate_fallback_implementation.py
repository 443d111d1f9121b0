"""Real outages, one after another, and what the AI layer made of each. Exit code 0 when all held.

Run: ``uv run python validate_fallback_implementation.py [--json]``. Providers are emulated on this
machine (SIMULATED) but the sockets, time-outs and broken answers are real. Each row breaks something,
asks a question and compares who answered with who should have.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass

from jurymast.domain.decision import AbstainReason, Decision
from jurymast.domain.provider import ProviderName
from jurymast.domain.status import EmergencyMode, ProviderStatus
from jurymast.lab.rig import Rig, rig

DEADLINE_SECS = 5.0
FAULTS_THAT_FAIL_OVER = (
    "refuse",
    "reset",
    "500",
    "503",
    "529",
    "429",
    "quota",
    "auth",
    "model_gone",
    "hang",
    "slow_first_token",
    "drip",
    "cut",
    "html",
    "error_object",
    "empty",
    "truncated",
    "wrong_schema",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One scenario: what was expected, what came, and how long it took in real seconds."""

    scenario: str
    expected: str
    got: str
    secs: float
    held: bool


async def ask(lab: Rig) -> tuple[str, float]:
    """Who answered, or why nobody did, and after how many real seconds."""
    started = time.monotonic()
    answer = await lab.ask(DEADLINE_SECS)
    got = answer.provider.value if isinstance(answer, Decision) else answer.reason.value
    return got, time.monotonic() - started


async def xai_fault(fault: str) -> Row:
    """xAI fails in one way; OpenAI must answer the same question within the deadline."""
    async with rig() as lab:
        await lab.fleet.set_fault("xai", fault)
        got, secs = await ask(lab)
        return Row(f"xai: {fault}", "openai", got, secs, got == "openai" and secs < DEADLINE_SECS)


async def degradation() -> list[Row]:
    """Providers go one by one; priority is kept among those that are left."""
    rows = []
    async with rig() as lab:
        for gone, expected in (("xai", "openai"), ("openai", "anthropic"), ("anthropic", "local")):
            await lab.fleet.set_fault(gone, "refuse")
            got, secs = await ask(lab)
            rows.append(Row(f"{gone} gone too", expected, got, secs, got == expected))
            await lab.pass_time(30)
    return rows


async def total_outage_and_recovery() -> list[Row]:
    """Everything goes down and comes back; nobody touches the bot."""
    rows = []
    async with rig() as lab:
        await lab.fleet.set_fault("all", "refuse")
        answers = [await ask(lab) for _ in range(4)]
        got, secs = answers[0]
        rows.append(_row("all down: first question", AbstainReason.ALL_PROVIDERS_FAILED, got, secs))
        rows.append(_row("all down: mode", EmergencyMode.MINIMAL, lab.fallback.mode, 0.0))
        got, secs = answers[-1]
        rows.append(_row("all down: no more questions", AbstainReason.EMERGENCY_MODE, got, secs))
        await lab.fleet.clear_faults("all")
        virtual_secs = await lab.until_mode(EmergencyMode.NORMAL)
        rows.append(
            Row("all back: mode", "normal", f"normal after {virtual_secs:.0f} s of policy time", 0, True)
        )
        await lab.pass_time(600)
        statuses = {lab.fallback.get_system_status().providers[name] for name in ProviderName}
        healthy = ProviderStatus.UNHEALTHY not in statuses
        rows.append(Row("all back: providers", "none unhealthy", ", ".join(sorted(statuses)), 0, healthy))
        got, secs = await ask(lab)
        rows.append(_row("all back: who answers", "xai", got, secs))
    return rows


def _row(scenario: str, expected: str, got: str, secs: float) -> Row:
    return Row(scenario, expected, got, secs, got == expected)


async def main() -> int:
    """Run every scenario and print the table."""
    as_json = "--json" in sys.argv[1:]
    rows: list[Row] = []
    if not as_json:
        print("SIMULATED providers, real sockets\n")
        print(f"{'scenario':<30}{'expected':<24}{'got':<44}{'secs':>6}")
    for scenario in [*(xai_fault(fault) for fault in FAULTS_THAT_FAIL_OVER)]:
        rows.append(await scenario)
        _show(rows[-1:], as_json)
    for batch in (degradation(), total_outage_and_recovery()):
        fresh = await batch
        rows += fresh
        _show(fresh, as_json)
    broken = [row for row in rows if not row.held]
    if as_json:
        print(
            json.dumps(
                {"simulated": True, "held": len(rows) - len(broken), "rows": [asdict(r) for r in rows]}
            )
        )
    else:
        print(f"\n{len(rows) - len(broken)} of {len(rows)} held")
    return 1 if broken else 0


def _show(rows: list[Row], as_json: bool) -> None:
    for row in [] if as_json else rows:
        mark = "" if row.held else "   FAILED"
        print(f"{row.scenario:<30}{row.expected:<24}{row.got:<44}{row.secs:>6.2f}{mark}")


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
