"""What one decision costs between the trader and the wire: Jurymast beside its floor and its rivals.

Every client runs in a process of its own and asks the same server in another, in turn: A B C A B C ...
so that whatever else the machine does falls on all of them. CPU is that of the client's process, its
threads and the work it puts off until after the answer included. Nothing leaves this machine.

    uv run --with litellm benchmarks/overhead.py
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from measure import Spread, between, dump, parser, percentile, ratio, show, version

HERE = Path(__file__).resolve().parent
CALLS_MAX = 1_000
STREAMED_SHARE = 4
"""A streamed call is some times as long, so a round has that many fewer of them."""
STOP_SECS = 10.0
QUICK_ROUNDS = 9
TITLES = {
    "floor": "aiohttp alone (floor)",
    "provider": "Jurymast: OpenAIProvider alone",
    "jurymast": "Jurymast: decision, whole AI layer",
    "jurymast_journal": "Jurymast: the same, journalled",
    "openai": "openai SDK (no failover)",
    "litellm": "LiteLLM Router, one fallback",
}
NEEDS = {"openai": "openai", "litellm": "litellm"}


@dataclass(slots=True)
class Client:
    """One client process and what was measured of it. Times in seconds."""

    name: str
    process: subprocess.Popen[str]
    rss_bytes: int
    cpu: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p95: list[float] = field(default_factory=list)

    def round(self, calls: int) -> None:
        assert self.process.stdin is not None
        print(calls, file=self.process.stdin, flush=True)
        found = _told(self.name, self.process)
        self.cpu.append(found["cpu_secs"])
        self.p50.append(percentile(found["latencies"], 0.5))
        self.p95.append(percentile(found["latencies"], 0.95))


def main() -> None:
    options = _options()
    skipped = [name for name, package in NEEDS.items() if not version(package)]
    names = [name for name in TITLES if name not in skipped]
    modes = {"whole": options.calls, "streamed": max(options.calls // STREAMED_SHARE, 10)}
    if options.quick:
        modes, options.rounds = {"whole": options.calls}, min(options.rounds, QUICK_ROUNDS)
    with _server() as port:
        measured = {
            mode: _compare(names, port, options, calls, stream=mode == "streamed")
            for mode, calls in modes.items()
        }
    if options.json:
        facts = {
            mode: {client.name: _facts(client) for client in clients} for mode, clients in measured.items()
        }
        versions = {package: version(package) for package in ("aiohttp", *NEEDS.values())}
        dump(
            "overhead",
            {
                **facts,
                "cpu_ratio": _ratios(measured["whole"]),
                "calls": modes,
                "skipped": skipped,
                "versions": versions,
            },
        )
        return
    for mode, clients in measured.items():
        title = (
            f"One decision, answer {mode}: {modes[mode]} calls x {options.rounds} rounds, median (low..high)"
        )
        columns = ["client", "CPU ms a call", "CPU", "p50 ms", "added p50 ms", "added p95 ms", "RSS MB"]
        show(title, columns, [*_rows(clients), *[_skipped(name, len(columns)) for name in skipped]])


def _options() -> argparse.Namespace:
    options = parser(__doc__, rounds=7)
    options.add_argument(
        "--calls", type=between(10, CALLS_MAX), default=100, help="calls a round, default 100"
    )
    options.add_argument("--quick", action="store_true", help=f"whole answers only, {QUICK_ROUNDS} rounds")
    return options.parse_args()


def _compare(
    names: list[str], port: int, options: argparse.Namespace, calls: int, *, stream: bool
) -> list[Client]:
    order = random.Random(options.seed)
    with ExitStack() as stack:
        clients = [stack.enter_context(_client(name, port, stream=stream)) for name in names]
        for _ in range(options.rounds):
            for client in order.sample(clients, len(clients)):
                client.round(calls)
        return clients


def _rows(clients: list[Client]) -> Iterator[list[str]]:
    floor = clients[0]
    floor_cpu, floor_p50 = Spread.of(floor.cpu).median, Spread.of(floor.p50).median
    floor_p95 = Spread.of(floor.p95).median
    for client in clients:
        cpu = Spread.of(client.cpu)
        p50, p95 = Spread.of(client.p50).median, Spread.of(client.p95).median
        yield [
            _title(client.name),
            Spread(cpu.median * 1e3, cpu.low * 1e3, cpu.high * 1e3).text(),
            ratio(cpu.median, floor_cpu),
            f"{p50 * 1e3:.2f}",
            f"{(p50 - floor_p50) * 1e3:.2f}",
            f"{(p95 - floor_p95) * 1e3:.2f}",
            f"{client.rss_bytes / 1e6:.0f}",
        ]


def _ratios(clients: list[Client]) -> dict[str, float]:
    """CPU of each client over the floor's in the same round, the median of the rounds."""
    floor = clients[0].cpu
    return {
        client.name: round(median(cpu / least for cpu, least in zip(client.cpu, floor, strict=True)), 2)
        for client in clients[1:]
    }


def _title(name: str) -> str:
    return f"{TITLES[name]} {version(NEEDS[name])}" if name in NEEDS else TITLES[name]


def _skipped(name: str, columns: int) -> list[str]:
    return [TITLES[name], "skipped: not installed", *[""] * (columns - 2)]


def _facts(client: Client) -> dict[str, object]:
    return {
        "cpu_secs": Spread.of(client.cpu),
        "p50_secs": Spread.of(client.p50),
        "p95_secs": Spread.of(client.p95),
        "rss_bytes": client.rss_bytes,
    }


@contextmanager
def _server() -> Iterator[int]:
    with _process("fast_server.py") as process:
        yield int(_line("the server", process))


@contextmanager
def _client(name: str, port: int, *, stream: bool) -> Iterator[Client]:
    with _process("clients.py", name, str(port), *(["--stream"] if stream else [])) as process:
        yield Client(name, process, _told(name, process)["rss_bytes"])


@contextmanager
def _process(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A script of this folder; the end of its input is its sign to stop."""
    command = [sys.executable, str(HERE / words[0]), *words[1:]]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(STOP_SECS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def _told(name: str, process: subprocess.Popen[str]) -> dict[str, object]:
    line = _line(name, process)
    while not line.startswith("{"):  # libraries print banners
        line = _line(name, process)
    return json.loads(line)


def _line(name: str, process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"{name} ended early; its complaint stands above")
    return line


if __name__ == "__main__":
    main()
