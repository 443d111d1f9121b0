"""``watchdog``: a second process that takes the bot's resting orders back when the bot falls silent."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

import click

FIRED_EXIT: Final = 6


@click.command()
@click.option("--config", "config_file", type=click.Path(path_type=Path, dir_okay=False), help="TOML file.")
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), default=None)
@click.option("--silence", type=click.FloatRange(5.0, 3_600.0), help="Seconds, instead of the setting.")
@click.option("--with-bot", is_flag=True, help="End with the bot instead of waiting for its next run.")
def watchdog(config_file: Path | None, data_dir: Path | None, silence: float | None, with_bot: bool) -> None:
    """Watch the bot's heartbeat; when it stops, halt and cancel everything that rests, with its own key.

    `run` starts one by itself. Started by hand, or by the system's service manager, it also watches a bot
    whose own one was killed. It never places an order. Exit code 6: it fired, and nothing rests any more.
    """
    from jurymast.app.watchdog import Outcome, watch
    from jurymast.faces.cli.loading import load_config

    config = load_config(config_file, data_dir=data_dir, seed=None, weather=None)
    if silence is not None:
        config = replace(config, watchdog=replace(config.watchdog, silence_secs=silence))
    outcome = asyncio.run(watch(config, once=with_bot, say=lambda line: click.echo(line, err=True)))
    if outcome is Outcome.FIRED:
        sys.exit(FIRED_EXIT)
