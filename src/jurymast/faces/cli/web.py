"""``jurymast web``: the page of a bot, from a process of its own."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import click

from jurymast.faces.cli.options import DATA_DIR, data_dir_option

PORT = 8780


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=PORT, show_default=True, help="0 takes a free one."
)
@click.option("--name", "names", multiple=True, help="Another name it is reached by, say through a proxy.")
@data_dir_option
def web(host: str, port: int, names: tuple[str, ...], data_dir: Path | None) -> None:
    """Serve the page of a bot until Ctrl-C, whether the bot runs or not. It only reads, but for the controls.

    On this machine anybody may look; from elsewhere looking needs the token too. The token for the controls
    is in the file web-token of the data directory.

    \b
    Examples:
      jurymast web
      jurymast web --host 0.0.0.0 --name bot.example.org
    """
    from jurymast.faces.web.access import TOKEN_FILE, Access, token_of
    from jurymast.faces.web.server import serving

    directory = data_dir or Path(DATA_DIR)
    access = Access(token_of(directory), host, frozenset(name.casefold() for name in names))

    async def serve() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with serving(directory, access, port) as url:
            click.echo(f"{url}   (the token for its controls: {directory / TOKEN_FILE})")
            await stop.wait()

    asyncio.run(serve())
