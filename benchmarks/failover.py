"""How Jurymast and its rivals behave under the same faults of the same emulated providers.

One client at a time, in a process of its own, asks forecasts of three emulated providers in another process
(xAI first, OpenAI next, a local model last; SIMULATED, on 127.0.0.1) while a clock plays their faults.
Faults, answers and latencies come from the seed and are the same for everybody. Time is compressed: see
``compressed.py``. An answer counts as valid when the strict parser takes it before the deadline.

    uv run --with litellm --with langchain-openai benchmarks/failover.py
    uv run benchmarks/failover.py --short --only S1,S3 --clients jurymast,oracle
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import compressed
from measure import between, dump, parser, version
from rivals import CLIENTS, NEEDS
from scenarios import BURSTS, Regime, Scenario, chosen, decisions
from tables import show_all
from tally import Tally, Told

HERE = Path(__file__).resolve().parent
SCALE = 40
SCALE_MAX = 100
LEAD_SECS = 0.15
"""Wall seconds between the word to start and the start."""
GUARD_SECS = 60.0
"""Wall seconds by which a client may overrun its story before it is ended."""
STOP_SECS = 10.0
PACKAGES = ("aiohttp", "openai", "litellm", "langchain-core", "langchain-openai")


def main() -> None:
    options = _options()
    if options.again:
        show_all(json.loads(options.again.read_text()))
        return
    try:
        scenarios = chosen(short=options.short, only=frozenset(options.only))
    except ValueError as error:
        raise SystemExit(f"{error}") from None
    skipped = [name for name in options.clients if name in NEEDS and not version(NEEDS[name])]
    clients = [name for name in options.clients if name not in skipped]
    tallies = {scenario.name: {name: Tally() for name in clients} for scenario in scenarios}
    for regime in (decisions(float(options.scale)), BURSTS):
        told = [scenario for scenario in scenarios if scenario.regime == regime.name]
        if told:
            _measure(regime, told, clients, options, tallies)
    run = _run(options, scenarios, tallies, skipped)
    if options.json:
        dump("failover", run)
    else:
        show_all(run)


def _options() -> argparse.Namespace:
    options = parser(__doc__, rounds=1, rounds_max=20)
    options.add_argument("--short", action="store_true", help="five scenarios, under two minutes")
    options.add_argument("--only", type=_names, default=[], help="scenarios by name, such as S1,S3,F-hang")
    options.add_argument("--clients", type=_clients, default=list(CLIENTS), help=",".join(CLIENTS))
    options.add_argument(
        "--scale", type=between(1, SCALE_MAX), default=SCALE, help=f"story seconds a second, default {SCALE}"
    )
    options.add_argument("--again", type=Path, help="no run: the tables of a file that --json wrote")
    options.add_argument(
        "--logs", action="store_true", help="with --json: what our client reports as it goes"
    )
    return options.parse_args()


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _clients(text: str) -> list[str]:
    names = _names(text)
    if unknown := set(names) - CLIENTS.keys():
        raise argparse.ArgumentTypeError(
            f"no client {', '.join(sorted(unknown))}; there are {', '.join(CLIENTS)}"
        )
    return names


def _measure(
    regime: Regime,
    scenarios: list[Scenario],
    clients: list[str],
    options: argparse.Namespace,
    tallies: dict[str, dict[str, Tally]],
) -> None:
    with _process("fault_server.py", str(regime.scale), str(regime.latency_scale)) as server:
        place = json.loads(_line("the server", server))
        for name in clients:
            with _process("rivals.py", name, str(regime.scale)) as client:
                for scenario in scenarios:
                    for nth in range(options.rounds * scenario.repeats):
                        told = _tell(name, client, place, scenario, regime, options.seed + nth)
                        tallies[scenario.name][name].add(told)


def _tell(
    name: str,
    client: subprocess.Popen[str],
    place: dict[str, Any],
    scenario: Scenario,
    regime: Regime,
    seed: int,
) -> Told:
    """Play one story to one client."""
    story = {**asdict(scenario), **place, "regime": asdict(regime), "seed": seed}
    until_secs = (max(scenario.asks) + regime.deadline_secs * len(scenario.asks)) / regime.scale + GUARD_SECS
    guard = threading.Timer(until_secs, client.kill)
    guard.start()
    try:
        _say(client, json.dumps(story))
        _answer(name, client)
        start_at = compressed.story_secs(regime.scale) + LEAD_SECS * regime.scale
        _post(place["desk"] + "/play", {"steps": story["steps"], "start_at": start_at, "seed": seed})
        _say(client, repr(start_at))
        done = _answer(name, client)
    finally:
        guard.cancel()
    book = _post(place["desk"] + "/finish", {})
    if book["errors"]:
        raise SystemExit(f"{scenario.name} could not be played: {book['errors']}")
    return Told(scenario, regime, start_at, done["answers"], book, done["log"])


def _run(
    options: argparse.Namespace,
    scenarios: list[Scenario],
    tallies: dict[str, dict[str, Tally]],
    skipped: list[str],
) -> dict[str, Any]:
    """Everything measured, ready for JSON."""
    facts = {}
    for scenario in scenarios:
        row = tallies[scenario.name]
        clients = {name: tally.facts(row.get("oracle")) for name, tally in row.items()}
        if options.logs:
            for name, tally in row.items():
                clients[name]["log"] = tally.log
        facts[scenario.name] = {"title": scenario.title, "group": scenario.group, "clients": clients}
    return {
        "simulated": True,
        "scale": options.scale,
        "crowd_scale": BURSTS.scale,
        "seed": options.seed,
        "rounds": options.rounds,
        "short": options.short,
        "skipped": skipped,
        "versions": {package: version(package) for package in PACKAGES},
        "scenarios": facts,
    }


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


def _say(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdin is not None
    print(text, file=process.stdin, flush=True)


def _answer(name: str, process: subprocess.Popen[str]) -> dict[str, Any]:
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


def _post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    data = json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=STOP_SECS) as reply:
        return json.loads(reply.read())


if __name__ == "__main__":
    main()
