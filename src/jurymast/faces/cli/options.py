"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

DATA_DIR = "jurymast-data"


def json_option(command: click.decorators.FC) -> click.decorators.FC:
    """``--json`` on every command."""
    return click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")(command)


def data_dir_option(command: click.decorators.FC) -> click.decorators.FC:
    """Where the journal lives."""
    return click.option(
        "--data-dir",
        type=click.Path(path_type=Path, file_okay=False),
        default=None,
        help=f"Directory of the journal and the embedded exchange.  [default: {DATA_DIR}]",
    )(command)
