"""Draw docs/images/run.svg: the terminal of a real run in the middle of an outage.

Run: ``uv run python tools/picture.py``. Providers and exchange are SIMULATED, as the picture says.
"""

from __future__ import annotations

import asyncio
import io
import re
import tempfile
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from jurymast.app.clock import SystemClock
from jurymast.app.supervisor import Supervisor
from jurymast.app.wiring import build
from jurymast.domain.events import Event
from jurymast.faces.cli.live import LiveView
from jurymast.faces.cli.loading import load_config

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "images" / "run.svg"
HEALTHY_SECS = 10.0
OUTAGE_SECS = 4.5
WEB_FONT = re.compile(r"@font-face \{.*?\}", re.DOTALL)


async def main() -> None:
    """Run, break a provider, and export what the terminal shows."""
    views: list[LiveView] = []

    def watch(event: Event) -> None:
        for view in views:
            view.add(event)

    console = Console(record=True, width=132, height=36, force_terminal=True, file=io.StringIO())
    with tempfile.TemporaryDirectory() as directory:
        config = load_config(None, data_dir=Path(directory), seed=4, weather=False)
        config = replace(config, lab=replace(config.lab, control_port=0, latency_scale=0.15))
        async with build(config, clock=SystemClock(), watch=watch) as bot:
            view = LiveView(bot, console)
            views.append(view)
            supervisor = Supervisor(bot)
            running = asyncio.create_task(supervisor.run())
            await asyncio.sleep(HEALTHY_SECS)
            assert bot.fleet is not None
            await bot.fleet.set_fault("xai", "refuse")
            await asyncio.sleep(OUTAGE_SECS)
            console.print(view.render())
            supervisor.stop("picture taken")
            await running
    svg = console.export_svg(title="jurymast run")
    PICTURE.write_text(WEB_FONT.sub("", svg), encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main())
