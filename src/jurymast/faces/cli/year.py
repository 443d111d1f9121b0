"""``jurymast year``: what ways of taking an outage earn and lose, SIMULATED."""

from __future__ import annotations

import json
import sys

import click

from jurymast.faces.cli.options import json_option

SEEDS_MAX = 10_000
YEARS_MAX = 10.0
VIOLATED = 1


@click.command()
@click.option("--seeds", type=click.IntRange(1, SEEDS_MAX), default=4, show_default=True, help="How many.")
@click.option("--seed", type=click.IntRange(0, 2**31), default=0, show_default=True, help="The first.")
@click.option(
    "--years", type=click.FloatRange(0.01, YEARS_MAX), default=1.0, show_default=True, help="Of each seed."
)
@click.option(
    "--outages",
    type=click.IntRange(0, 100),
    default=1,
    show_default=True,
    help="Times as often as recorded.",
)
@click.option(
    "--longer",
    type=click.FloatRange(1.0, 100.0),
    default=1.0,
    show_default=True,
    help="Times as long as recorded.",
)
@json_option
def year(seeds: int, seed: int, years: float, outages: int, longer: float, as_json: bool) -> None:
    """A year of trading with outages, SIMULATED: profit and loss by mode and by policy.

    Real questions, crowd prices and outcomes; prices between, models and outages are SIMULATED. The bot's
    rules against doing nothing, ignoring the outage, selling everything, and a year without outages. Allow
    half a minute a seed, more with more outages.

    \b
    Examples:
      jurymast year
      jurymast year --outages 10 --seeds 20
      jurymast year --outages 5 --longer 6 --seeds 10 --json
    """
    from jurymast.exchange.questions import load_bundle
    from jurymast.lab.year.replay import Scenario, live
    from jurymast.lab.year.report import figures, table

    scenarios = [Scenario(seed + turn, years, outages, longer) for turn in range(seeds)]
    facts = figures([live(scenario, load_bundle()) for scenario in scenarios])
    click.echo(json.dumps(facts) if as_json else table(facts))
    if facts["violations"] or facts["imbalance_micros"]:
        sys.exit(VIOLATED)
