"""``jurymast score``: what forecasts are worth, on resolved questions or on the bot's own record."""

from __future__ import annotations

import json
from pathlib import Path

import click

from jurymast.faces.cli.options import DATA_DIR, data_dir_option, json_option

SEEDS_MAX = 1_000


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Questions, JSON lines, plain or .gz; the bundled ones without.",
)
@click.option("--seeds", type=click.IntRange(1, SEEDS_MAX), default=8, show_default=True, help="How many.")
@click.option("--seed", type=click.IntRange(0, 2**31), default=0, show_default=True, help="The first.")
@click.option(
    "--out",
    type=click.FloatRange(0.0, 1.0),
    default=0.5,
    show_default=True,
    help="Share of the questions for which each model is out.",
)
@click.option("--plots", type=click.Path(path_type=Path, file_okay=False), help="Write SVG pictures there.")
@click.option("--journal", is_flag=True, help="Score what the bot's own models have said instead.")
@data_dir_option
@json_option
def score(
    data: Path | None,
    seeds: int,
    seed: int,
    out: float,
    plots: Path | None,
    journal: bool,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """What each policy's forecasts are worth: Brier, log loss, calibration, profit after fees, cost.

    Real questions, crowd prices and outcomes; the models and the books are SIMULATED. The market's price,
    each model, naive and weighted failover, an ensemble, the emergency rules, with intervals. With --journal:
    the decisions of this bot, as far as their markets have resolved.

    \b
    Examples:
      jurymast score
      jurymast score --data market_questions.jsonl.gz --plots pictures
      jurymast score --journal --json
    """
    if journal:
        if data is not None or plots is not None:
            raise click.UsageError("--journal takes neither --data nor --plots")
        from jurymast.lab.score import journal as record

        facts = record.scored((data_dir or Path(DATA_DIR)) / "journal.db")
        click.echo(json.dumps(facts) if as_json else record.table(facts))
        return
    from jurymast.exchange.questions import load_bundle
    from jurymast.lab.score import report
    from jurymast.lab.score.plots import write_plots
    from jurymast.lab.score.rows import read_rows

    questions = load_bundle() if data is None else read_rows(data)
    facts = report.figures(questions, seed=seed, seeds=seeds, out=out)
    click.echo(json.dumps(facts) if as_json else report.table(facts))
    if plots is not None:
        for path in write_plots(facts, plots):
            click.echo(f"wrote {path}", err=True)
