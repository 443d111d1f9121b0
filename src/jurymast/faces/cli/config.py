"""``jurymast config``: the settings in force, and where each comes from."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import click

from jurymast.faces.cli.options import DATA_DIR, data_dir_option, json_option


@click.group()
def config() -> None:
    """Look at the settings."""


@config.command("show")
@click.option("--config", "config_file", type=click.Path(path_type=Path, dir_okay=False), help="TOML file.")
@click.option("--changed", is_flag=True, help="Only what is not the default.")
@data_dir_option
@json_option
def show(config_file: Path | None, changed: bool, data_dir: Path | None, as_json: bool) -> None:
    """Every setting with its value, unit and source: default, file, environment, or the host bot's own.

    A host that runs Jurymast inside it leaves in the data directory which file it read and what it took from
    its own settings. Secrets are masked.

    \b
    Examples:
      jurymast config show --changed
      jurymast config show --config bot.toml --json
    """
    from jurymast.app.config import Config
    from jurymast.app.provenance import host_settings, sourced
    from jurymast.app.settings import load_settings
    from jurymast.faces.cli.running import read_config_text

    host = host_settings(data_dir or Path(DATA_DIR)) if config_file is None else None
    if host is None:
        text, source = read_config_text(config_file)
    else:
        text, source = read_config_text(Path(host.config_file)) if host.config_file else ("", "no file")
    loaded = load_settings(Config, text, source=source, environ=os.environ)
    rows = sourced(loaded, text, source, os.environ, host)
    rows = [row for row in rows if not changed or row.source != "default"]
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows]))
        return
    for row in rows:
        unit = f" {row.unit}" if row.unit else ""
        click.echo(f"{row.path:<44} {row.value or '(empty)'}{unit}  [{row.source}]")
