"""How long a person waits for the program to begin, and what it holds: whole processes, from fork to exit.

The floor is an interpreter that does nothing. ``status`` reads a journal that a short emulated run has
written before. The rivals are the imports that a bot built on them starts with.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from measure import Spread, between, dump, parser, ratio, show, version

CYCLES_MAX = 200
RUN_SECS_MAX = 60.0
CONFIG = """
[bot]
cycle_secs = 0.1
[lab]
emulate = true
latency_scale = 0.0
control_port = 0
"""
OFFLINE = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
"""Importing litellm fetches its price list from the network unless told not to: nothing here may."""
TARGETS_SECS = {"import jurymast": 0.1, "jurymast status": 0.3}


@dataclass(slots=True)
class Start:
    """One command and what it took. Times in seconds."""

    name: str
    words: Sequence[str]
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    rss_bytes: int = 0

    def run(self) -> None:
        started = time.perf_counter()
        process = subprocess.Popen([sys.executable, *self.words], stdout=subprocess.DEVNULL, env=OFFLINE)
        _, status, used = os.wait4(process.pid, 0)
        self.wall.append(time.perf_counter() - started)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{self.name} ended with {process.returncode}; its complaint stands above")
        self.cpu.append(used.ru_utime + used.ru_stime)
        self.rss_bytes = max(self.rss_bytes, used.ru_maxrss * 1_024)


def main() -> None:
    options = parser(__doc__, rounds=20, rounds_max=200)
    options.add_argument("--cycles", type=between(1, CYCLES_MAX), default=20, help="of the run behind status")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        _run_bot(Path(directory), chosen.seed, chosen.cycles)
        starts, skipped = _starts(Path(directory))
        order = random.Random(chosen.seed)
        for start in starts:
            start.run()  # the first start writes byte code and warms the disk cache
            start.wall.clear()
            start.cpu.clear()
        for _ in range(chosen.rounds):
            for start in order.sample(starts, len(starts)):
                start.run()
    if chosen.json:
        dump("startup", {"starts": {start.name: _facts(start) for start in starts}, "skipped": skipped})
        return
    title = f"From start to exit, {chosen.rounds} interleaved runs: median (min..max)"
    columns = ["command", "wall ms", "wall", "CPU ms", "peak RSS MB", "target ms"]
    show(title, columns, [*_rows(starts), *([name, "skipped: not installed", *[""] * 4] for name in skipped)])


def _starts(directory: Path) -> tuple[list[Start], list[str]]:
    ours = [
        Start("python -c pass (floor)", ["-c", "pass"]),
        Start("import jurymast", ["-c", "import jurymast"]),
        Start("import the AI layer", ["-c", "from jurymast import EnhancedAIClient, ProviderManager"]),
        Start("import aiohttp", ["-c", "import aiohttp"]),
        Start("jurymast --version", ["-m", "jurymast", "--version"]),
        Start("jurymast status", ["-m", "jurymast", "status", "--data-dir", str(directory)]),
    ]
    rivals = {package: f"import {package}" for package in ("openai", "litellm")}
    installed = [Start(_titled(p, name), ["-c", name]) for p, name in rivals.items() if version(p)]
    return ours + installed, [name for package, name in rivals.items() if not version(package)]


def _titled(package: str, name: str) -> str:
    return f"{name} {version(package)}"


def _run_bot(directory: Path, seed: int, cycles: int) -> None:
    """A short emulated run (SIMULATED), for its journal."""
    config = directory / "bench.toml"
    config.write_text(CONFIG, encoding="utf-8")
    words = ["run", "--config", str(config), "--data-dir", str(directory), "--seed", str(seed), "--json"]
    command = [sys.executable, "-m", "jurymast", *words, "--cycles", str(cycles)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=RUN_SECS_MAX)


def _rows(starts: Sequence[Start]) -> list[list[str]]:
    floor = Spread.of(starts[0].wall).median
    return [
        [
            start.name,
            _millis(start.wall),
            ratio(Spread.of(start.wall).median, floor),
            _millis(start.cpu),
            f"{start.rss_bytes / 1e6:.0f}",
            _target(start),
        ]
        for start in starts
    ]


def _millis(values: Sequence[float]) -> str:
    return Spread.of(value * 1e3 for value in values).text(0)


def _target(start: Start) -> str:
    if (target := TARGETS_SECS.get(start.name)) is None:
        return ""
    return f"< {target * 1e3:.0f}: {'met' if Spread.of(start.wall).median < target else 'MISSED'}"


def _facts(start: Start) -> Mapping[str, object]:
    return {
        "wall_secs": Spread.of(start.wall),
        "cpu_secs": Spread.of(start.cpu),
        "rss_bytes": start.rss_bytes,
    }


if __name__ == "__main__":
    main()
