"""``jurymast report``: how judgement held, for people and for partners."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from jurymast.faces.cli.options import DATA_DIR, data_dir_option, json_option

DAYS_MAX = 3_650.0


@click.command()
@click.option(
    "--days",
    type=click.FloatRange(0.01, DAYS_MAX),
    default=30.0,
    show_default=True,
    help="Up to now.",
)
@click.option(
    "--html", "html_file", type=click.Path(path_type=Path, dir_okay=False), help="Write a page to this file."
)
@data_dir_option
@json_option
def report(days: float, html_file: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """Uptime per provider, answered questions by rung against 99.9 %, outages, money, profit and loss.

    Markdown unless told otherwise; works whether the bot runs or not. The page of --html is one file with its
    plots in it.

    \b
    Examples:
      jurymast report
      jurymast report --days 7 --html week.html
      jurymast report --json
    """
    from jurymast.domain.errors import JurymastError
    from jurymast.faces.report import facts, writing

    told = facts.gather(data_dir or Path(DATA_DIR), until=datetime.now(UTC), days=days)
    if html_file is not None:
        try:
            html_file.write_text(writing.html(told), encoding="utf-8")
        except OSError as error:
            raise JurymastError(f"{html_file} can't be written: {error.strerror}") from error
    if as_json:
        click.echo(json.dumps(writing.plain(told.facts)))
    elif html_file is not None:
        click.echo(f"written: {html_file}")
    else:
        click.echo(writing.markdown(told))
