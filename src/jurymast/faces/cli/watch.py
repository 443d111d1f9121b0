"""``jurymast watch``: a bot in the terminal, from another terminal."""

from __future__ import annotations

from pathlib import Path

import click

from jurymast.faces.cli.options import DATA_DIR, data_dir_option


@click.command()
@click.option("--control", "may_control", is_flag=True, help="Let `:halt`, `:pause`, `:resume`... act.")
@data_dir_option
def watch(may_control: bool, data_dir: Path | None) -> None:
    """Watch a bot live: who is out, who answers, money, decisions, what happened. Read-only unless --control.

    Keys: `/` filters, `:` takes a command (`:why TICKER`), `?` says them, `q` leaves. The bot may run or not;
    it is never asked. Without a terminal one look is printed.
    """
    from rich.console import Console

    from jurymast.faces.watch.watching import watch as show

    show(data_dir or Path(DATA_DIR), Console(), may_control=may_control)
