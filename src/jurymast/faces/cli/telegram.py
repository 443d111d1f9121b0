"""``jurymast telegram``: status and control by chat, from a process of its own."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jurymast.faces.cli.options import data_dir_option

if TYPE_CHECKING:
    from jurymast.app.config import Config


@click.command()
@click.option("--config", "config_file", type=click.Path(path_type=Path), required=True, help="TOML file.")
@data_dir_option
def telegram(config_file: Path, data_dir: Path | None) -> None:
    """Obey the users of [telegram] until Ctrl-C, whether the bot runs or not.

    What they demand waits for the bot's next start when it does not run. With [telegram] enabled `run` does
    this already: two who listen to one Telegram bot take each other's messages away.

    \b
    Examples:
      jurymast telegram --config bot.toml
    """
    from jurymast.domain.errors import ConfigError
    from jurymast.faces.cli.loading import load_config

    config = load_config(config_file, data_dir=data_dir, seed=None, weather=None)
    if config.telegram.missing:
        raise ConfigError(f"Telegram can't be served: {config.telegram.missing}. Nothing was started.")
    asyncio.run(_serve(config))


async def _serve(config: Config) -> None:
    from jurymast.app.clock import SystemClock
    from jurymast.faces.telegram.serving import serving

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serving(config, SystemClock(), tell) as said:
        tell(f"{said}, for {config.data_dir}")
        await stop.wait()


def tell(words: str) -> None:
    """A line on standard error: standard output may be somebody's JSON."""
    click.echo(f"telegram:   {words}", err=True)
