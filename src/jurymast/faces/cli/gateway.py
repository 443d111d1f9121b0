"""``jurymast gateway``: the vendors' own APIs for other programs, answered by whoever is well."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jurymast.faces.cli.options import data_dir_option

if TYPE_CHECKING:
    from jurymast.app.config import Config
    from jurymast.faces.gateway.server import GatewaySettings


@click.command()
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Settings in TOML.")
@click.option("--host", default=None, help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65_535), default=None, help="0 takes a free one.  [8770]")
@click.option("--seed", type=int, default=None, help="Of emulated providers and of all chance.")
@click.option("--weather/--no-weather", default=None, help="Seeded outages of emulated providers.")
@data_dir_option
def gateway(
    config_file: Path | None,
    host: str | None,
    port: int | None,
    seed: int | None,
    weather: bool | None,
    data_dir: Path | None,
) -> None:
    """Serve OpenAI's chat completions and Anthropic's messages, answered by whoever is well, until Ctrl-C.

    A program in any language gets failover, budgets and history by its base URL: http://127.0.0.1:8770/v1
    for OpenAI's SDK, http://127.0.0.1:8770 for Anthropic's. The model "jurymast" is whoever is first; a
    model's own name asks that one first. Without --config the providers are emulated (SIMULATED).

    \b
    Examples:
      jurymast gateway
      jurymast gateway --config bot.toml --port 9000
    """
    from jurymast.faces.cli.loading import load_config

    config = load_config(config_file, data_dir=data_dir, seed=seed, weather=weather)
    section = replace(
        config.gateway,
        host=config.gateway.host if host is None else host,
        port=config.gateway.port if port is None else port,
    )
    asyncio.run(_serve(replace(config, gateway=section)))


def settings_of(config: Config) -> GatewaySettings:
    """What the server wants of a configuration. Raises ConfigError when it would be open to strangers."""
    from jurymast.faces.gateway.server import GatewaySettings

    section = config.gateway
    return GatewaySettings(
        host=section.host,
        port=section.port,
        deadline_secs=section.deadline_secs,
        output_tokens=section.output_tokens,
        keys={name: client.key for name, client in section.clients.items()},
        names=frozenset(section.names),
    )


async def _serve(config: Config) -> None:
    from jurymast.app.clock import SystemClock
    from jurymast.app.gateway import layer
    from jurymast.faces.gateway.server import ANY_MODEL, serving

    settings, stop = settings_of(config), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with layer(config, clock=SystemClock()) as judge, serving(judge.client, settings) as url:
        if judge.fleet is not None:
            click.echo("SIMULATED providers answer: no key, no network, no money.")
            click.echo(f"break one:   jurymast lab fault --control {judge.fleet.control_url} xai 503")
        keys = ", ".join(config.gateway.clients) or "anybody on this machine"
        click.echo(f"OpenAI:      base URL {url}/v1, model {ANY_MODEL}")
        click.echo(f"Anthropic:   base URL {url}, model {ANY_MODEL}")
        click.echo(f"clients:     {keys}")
        click.echo(f"journal:     {config.journal_path}   (`jurymast status`, `jurymast spend --by client`)")
        keeping = asyncio.create_task(judge.keep())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({keeping, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in (keeping, stopping):
            task.cancel()
        await asyncio.gather(keeping, stopping, return_exceptions=True)
        if keeping.done() and not keeping.cancelled() and (error := keeping.exception()) is not None:
            raise error
