"""``jurymast plot``: pictures of the past, on the screen or as files."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from jurymast.domain.errors import JurymastError
from jurymast.faces.cli.options import DATA_DIR, data_dir_option, json_option

NAMES = ("uptime", "availability", "latency", "spend", "equity", "calibration")


@click.command()
@click.argument("name", type=click.Choice(NAMES))
@click.option(
    "--days", type=click.FloatRange(0.01, 3_650.0), default=30.0, show_default=True, help="Up to now."
)
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Draw it into this file.")
@data_dir_option
@json_option
def plot(name: str, days: float, svg: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """A picture of the past: on the screen, as SVG, or its figures as JSON; whether the bot runs or not.

    Parts of the time without a record are dots.

    \b
    Examples:
      jurymast plot uptime
      jurymast plot equity --days 90 --svg equity.svg
      jurymast plot calibration --json
    """
    from jurymast.faces.pictures import picture

    until = datetime.now(UTC)
    made = picture(name, data_dir or Path(DATA_DIR), since=until - timedelta(days=days), until=until)
    if svg is not None:
        if not made.drawing:
            raise JurymastError(f"there is nothing to draw yet: {made.title}, of the last {days:g} days")
        try:
            svg.write_text(made.svg(), encoding="utf-8")
        except OSError as error:
            raise JurymastError(f"{svg} can't be written: {error.strerror}") from error
    if as_json:
        told = {"title": made.title, "days": days, "simulated": list(made.simulated), "rows": made.rows}
        click.echo(json.dumps(told))
        return
    marked = f"   SIMULATED {', '.join(made.simulated)}" if made.simulated else ""
    click.echo(f"{made.title}, last {days:g} days{marked}")
    for line in made.lines or ["nothing yet"]:
        click.echo(line)
    if svg is not None:
        click.echo(f"written: {svg}", err=True)
