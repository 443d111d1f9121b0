"""``jurymast sim``: the failover core through years of SIMULATED outages, every rule checked."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jurymast.faces.cli.options import json_option

if TYPE_CHECKING:
    from jurymast.lab.sim.scenario import Scenario

POLICIES = ("jurymast", "single", "sequential", "simple-breaker", "oracle")
SEEDS_MAX = 100_000
YEARS_MAX = 100.0
VIOLATED = 1


@click.command()
@click.option("--seeds", type=click.IntRange(1, SEEDS_MAX), default=10, show_default=True, help="How many.")
@click.option("--seed", type=click.IntRange(0, 2**31), default=0, show_default=True, help="The first.")
@click.option(
    "--years", type=click.FloatRange(0.001, YEARS_MAX), default=0.1, show_default=True, help="Of each seed."
)
@click.option(
    "--trace",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Replay the incidents of a CSV file, as long as it lasts, instead of making trouble up.",
)
@click.option(
    "--rate", type=click.FloatRange(0.1, 600), default=1.0, show_default=True, help="Decisions a minute."
)
@click.option(
    "--clouds", type=click.Choice(["2", "3"]), default="3", show_default=True, help="And a local model."
)
@click.option(
    "--mode",
    type=click.Choice(["iid", "sticky"]),
    default="iid",
    show_default=True,
    help="Of partial outages: each request is hit by itself, or our key wholly or not at all.",
)
@click.option(
    "--policy", type=click.Choice(POLICIES), default="jurymast", show_default=True, help="Who decides."
)
@click.option(
    "--edge-hours",
    type=click.FloatRange(0, 1_000),
    default=4.0,
    show_default=True,
    help="Hours a year in which all clouds fail at once.",
)
@click.option(
    "--failures", type=click.Path(path_type=Path, dir_okay=False), help="Append failing seeds to this file."
)
@json_option
def sim(
    seeds: int,
    seed: int,
    years: float,
    trace: Path | None,
    rate: float,
    clouds: str,
    mode: str,
    policy: str,
    edge_hours: float,
    failures: Path | None,
    as_json: bool,
) -> None:
    """Years of outages in virtual time, SIMULATED: what the failover core makes of them.

    Exit code 1 when a rule was broken; each breach names the command that shows it again.

    \b
    Examples:
      jurymast sim --seeds 100
      jurymast sim --trace incidents.csv --clouds 2 --mode sticky --edge-hours 0 --seeds 20
      jurymast sim --policy oracle --json
    """
    from jurymast.lab.sim.report import figures, table
    from jurymast.lab.sim.run import run
    from jurymast.lab.sim.scenario import Scenario
    from jurymast.lab.sim.tally import Tally
    from jurymast.lab.sim.trace import read_trace

    base = Scenario(
        seed,
        years,
        rate,
        int(clouds),
        mode == "sticky",
        read_trace(trace) if trace else None,
        trace,
        edge_hours,
        policy,
    )
    tally, chain = Tally(), hashlib.blake2b(digest_size=16)
    for scenario in _seeds(base, seeds):
        result = run(scenario)
        chain.update(result.trace_hash.encode())
        tally.merge(result)
        if failures is not None and result.violations:
            with failures.open("a", encoding="utf-8") as file:
                file.write(scenario.command + "\n")
    tally.trace_hash = chain.hexdigest()
    facts = figures(tally)
    facts |= {
        "policy": policy,
        "seed": seed,
        "rate": rate,
        "clouds": int(clouds),
        "mode": mode,
        "trace": bool(trace),
    }
    title = (
        f"{policy}, {clouds} clouds and a local model, {seeds} seeds, {facts['years']:.2f} years, "
        f"{rate:g} a minute"
    )
    click.echo(json.dumps(facts) if as_json else table(facts, title))
    if tally.violations:
        sys.exit(VIOLATED)


def _seeds(base: Scenario, seeds: int) -> Iterator[Scenario]:
    from dataclasses import replace

    for offset in range(seeds):
        yield replace(base, seed=base.seed + offset)
