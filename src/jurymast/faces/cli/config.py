"""``jurymast config``: the settings in force, and where each comes from."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import click

from jurymast.domain.errors import ConfigError
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
    from jurymast.faces.cli.loading import read_config_text

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


@config.command("check")
@click.argument("config_file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@json_option
def check(config_file: Path | None, as_json: bool) -> None:
    """Read a configuration as a start would: every mistake with its line, and what else is to be known.

    Nothing is started, asked or written. Exit code 2 when a start would be refused.

    \b
    Examples:
      jurymast config check bot.toml
      jurymast config check bot.toml --json
    """
    from jurymast.app.settings_check import Remark, remarks
    from jurymast.faces.cli.gateway import settings_of
    from jurymast.faces.cli.loading import load_config

    found: list[Remark] = []
    try:
        loaded = load_config(config_file, data_dir=None, seed=None, weather=None)
    except ConfigError as error:
        found.append(Remark("", str(error), stops=True))
    else:
        found += remarks(loaded, os.environ)
        try:
            settings_of(loaded)
        except ConfigError as error:
            found.append(Remark("gateway", str(error), stops=loaded.gateway.enabled))
    refused = any(remark.stops for remark in found)
    if as_json:
        click.echo(json.dumps({"ok": not refused, "found": [remark._asdict() for remark in found]}))
    else:
        for remark in found:
            where = f"{remark.path}: " if remark.path else ""
            click.echo(f"{'error' if remark.stops else 'note':<5}  {where}{remark.text}")
        if not refused:
            click.echo(f"ok     {config_file or 'the built-in configuration'}: a start would take it")
    if refused:
        sys.exit(ConfigError.exit_code)


@config.command("diff")
@click.argument("one", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("other", type=click.Path(path_type=Path, dir_okay=False), required=False)
@json_option
def diff(one: Path, other: Path | None, as_json: bool) -> None:
    """What differs between the settings of two files, or between the defaults and one.

    Compared is what is in force, whatever the order and whether a value is written or a default. Secrets are
    masked: two that differ look the same.

    \b
    Examples:
      jurymast config diff bot.toml
      jurymast config diff yesterday.toml bot.toml
    """
    from jurymast.app.config import Config
    from jurymast.app.settings import describe, load_settings
    from jurymast.faces.cli.loading import read_config_text

    def values(file: Path) -> dict[str, str]:
        text, source = read_config_text(file)
        loaded = load_settings(Config, text, source=source, environ=os.environ)
        return {row.path: row.value for row in describe(loaded)}

    if other is None:
        before, after = {row.path: row.value for row in describe(Config())}, values(one)
    else:
        before, after = values(one), values(other)
    paths = [*after, *(path for path in before if path not in after)]
    rows = [
        (path, before.get(path), after.get(path)) for path in paths if before.get(path) != after.get(path)
    ]
    if as_json:
        told = [{"path": path, "before": old, "after": new} for path, old, new in rows]
        click.echo(json.dumps(told))
        return
    for path, old, new in rows:
        click.echo(f"{path:<44} {_shown(old)} -> {_shown(new)}")
    if not rows:
        click.echo("no difference")


@config.command("schema")
def schema() -> None:
    """The settings as JSON Schema (draft 2020-12), for editors that complete and check TOML.

    \b
    Example:
      jurymast config schema > jurymast.schema.json
    and as the first line of bot.toml:
      #:schema ./jurymast.schema.json
    """
    from jurymast.app.config import Config
    from jurymast.app.settings_schema import schema_of

    click.echo(json.dumps(schema_of(Config, "jurymast"), indent=2))


def _shown(value: str | None) -> str:
    return "(absent)" if value is None else value or "(empty)"
