"""``doctor``: is everything fit to trade, and what to do where it is not."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from jurymast.faces.cli.options import data_dir_option, json_option


@click.command()
@click.option("--config", "config_file", type=click.Path(path_type=Path, dir_okay=False), help="TOML file.")
@click.option("--spend", is_flag=True, help="Put one real question to every model, within the day's budget.")
@data_dir_option
@json_option
def doctor(config_file: Path | None, spend: bool, data_dir: Path | None, as_json: bool) -> None:
    """Look at disk, journal, demands, ports, models, alerts, keys, clock, schema and Telegram. Each row has
    its cure.

    Reads only, and asks vendors and exchange what costs nothing. With --spend every model answers one real
    question, and its answer must be a forecast: about what a decision costs, for each. Exit code 1 when a
    check failed.

    \b
    Examples:
      jurymast doctor --config bot.toml
      jurymast doctor --config bot.toml --spend
    """
    from jurymast.app.clock import SystemClock
    from jurymast.app.doctor import Health, examine
    from jurymast.app.telegram_api import reached
    from jurymast.app.trials import answers, ports
    from jurymast.faces.cli.loading import load_config

    config = load_config(config_file, data_dir=data_dir, seed=None, weather=None)
    clock = SystemClock()
    checks = [*asyncio.run(examine(config, clock=clock)), *ports(config)]
    checks += asyncio.run(reached(config.telegram))
    if spend:
        checks += asyncio.run(answers(config, clock=clock))
    if as_json:
        click.echo(json.dumps([asdict(check) for check in checks]))
    for check in () if as_json else checks:
        cure = f" -> {check.cure}" if check.cure else ""
        click.echo(f"{check.health:<5} {check.name:<8} {check.finding}{cure}")
    if any(check.health is Health.FAIL for check in checks):
        sys.exit(1)
