"""Is it installed, does it import, does it decide? Run: ``uv run python simple_validation.py``.

Asks the AI layer one question over emulated providers (SIMULATED, this machine only) and exits 0 when a
decision came back, 1 with the reason when none did. Takes under two seconds.
"""

from __future__ import annotations

import asyncio
import sys

try:
    import jurymast
    from jurymast.domain.decision import Decision
    from jurymast.lab.rig import rig
except ImportError as error:
    sys.exit(f"FAIL  not installed for this Python: {error}. Run: uv run python simple_validation.py")


async def main() -> int:
    """One decision, healthy providers."""
    async with rig() as lab:
        answer = await lab.ask()
    if not isinstance(answer, Decision):
        print(f"FAIL  jurymast {jurymast.__version__}: no decision: {answer.reason}: {answer.detail}")
        return 1
    print(
        f"OK    jurymast {jurymast.__version__}: {answer.ticker} {answer.forecast.probability_pct}% "
        f"by {answer.route} ({answer.rung}), SIMULATED"
    )
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
