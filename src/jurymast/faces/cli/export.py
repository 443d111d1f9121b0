"""``jurymast export``: the journal as tables, for spreadsheets, notebooks and databases."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import click

from jurymast.domain.errors import JurymastError
from jurymast.faces.cli.options import DATA_DIR, data_dir_option, json_option

NAMES = (
    "decisions", "attempts", "orders", "fills", "settlements", "forecasts", "spend", "modes", "failovers",
    "cycles", "health",
)  # fmt: skip
BEFORE_ALL = datetime(2000, 1, 1, tzinfo=UTC)
FORMATS = ("csv", "jsonl", "json")


@click.command()
@click.argument("table", type=click.Choice(NAMES))
@click.option(
    "--days", type=click.FloatRange(0.001, 36_500.0), default=None, help="Up to now; all, if left out."
)
@click.option("--format", "form", type=click.Choice(FORMATS), default="csv", show_default=True)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="A file instead of the screen."
)
@data_dir_option
@json_option
def export(
    table: str, days: float | None, form: str, output: Path | None, data_dir: Path | None, as_json: bool
) -> None:
    """Write a table of the journal: CSV unless told otherwise, a row at a time, whether the bot runs or not.

    Times are ISO 8601 UTC, money dollars to the micro-dollar, counts contracts, durations seconds; what is
    not known is empty. `health` has a row for each provider and hour, every other table one for each fact.
    --json is --format json.

    \b
    Examples:
      jurymast export decisions --days 7 -o decisions.csv
      jurymast export spend --format jsonl
      jurymast export health --json
    """
    from jurymast.faces.tables import HEALTH, TABLES, rows_of

    until = datetime.now(UTC)
    since = BEFORE_ALL if days is None else until - timedelta(days=days)
    columns = (HEALTH if table == "health" else TABLES[table]).columns
    rows = (
        {name: row.get(name) for name in columns}
        for row in rows_of(table, data_dir or Path(DATA_DIR), since, until)
    )
    with _opened(output) as file:
        try:
            count = _write(rows, columns, "json" if as_json else form, file)
            file.flush()
        except BrokenPipeError:  # whoever read has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return
    if output is not None:
        click.echo(f"written: {output}, {count} rows", err=True)


@contextmanager
def _opened(output: Path | None) -> Iterator[IO[str]]:
    if output is None:
        yield sys.stdout
        return
    try:
        with output.open("w", encoding="utf-8", newline="") as file:
            yield file
    except OSError as error:
        raise JurymastError(f"{output} can't be written: {error.strerror}") from error


def _write(rows: Iterator[dict[str, Any]], columns: tuple[str, ...], form: str, file: IO[str]) -> int:
    """How many rows there were. A list in JSON is written as it comes, too."""
    count = 0
    if form == "csv":
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            count += 1
            writer.writerow([_cell(row[name]) for name in columns])
        return count
    before, between, after = ("[", ",\n", "]\n") if form == "json" else ("", "\n", "\n")
    file.write(before)
    for count, row in enumerate(rows, start=1):
        if count > 1:
            file.write(between)
        file.write(json.dumps({name: _plain(value) for name, value in row.items()}))
    if count or form == "json":
        file.write(after)
    return count


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return float(value) if isinstance(value, Decimal) else value


def _cell(value: Any) -> str:
    """One cell of CSV. Text that a spreadsheet would take for a formula is told as text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        return f"{value:.6f}"
    if isinstance(value, str):
        return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
    return str(_plain(value))
