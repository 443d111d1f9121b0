"""``jurymast init``: from nothing to a configuration that works, in a minute."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click


@click.command()
@click.option(
    "--config", "config_file", type=click.Path(path_type=Path, dir_okay=False), default=Path("bot.toml"),
    show_default=True, help="File to write.",
)  # fmt: skip
@click.option("--yes", is_flag=True, help="Ask nothing: take what is there.")
@click.option("--force", is_flag=True, help="Write over an existing file.")
@click.option(
    "--budget", type=click.FloatRange(0, 100_000), default=2.0, show_default=True, help="USD a day."
)  # fmt: skip
def init(config_file: Path, yes: bool, force: bool, budget: float) -> None:
    """Write a first configuration: paper trading with the keys and the local models that are there.

    Keys in XAI_API_KEY, OPENAI_API_KEY and ANTHROPIC_API_KEY are used where they are; keys that you paste are
    kept in files that only you can read. Nothing is spent. Ends with `doctor`.

    \b
    Examples:
      jurymast init
      jurymast init --yes --budget 5
    """
    from jurymast.app.first_steps import (
        KEY_VARIABLES,
        Choices,
        configuration,
        keep_key,
        keys_present,
        local_servers,
    )

    if config_file.exists() and not force:
        raise click.UsageError(f"{config_file} exists: --force writes over it, --config names another")
    keys: dict[object, str | Path] = {}
    present = keys_present()
    for name, variable in KEY_VARIABLES.items():
        if name in present:
            click.echo(f"{name:<10} key found in {variable}")
            keys[name] = variable
        elif not yes:
            pasted = click.prompt(
                f"{name:<10} key (empty: without)", default="", hide_input=True, show_default=False
            )
            if pasted.strip():
                keys[name] = keep_key(config_file.resolve().parent, name, pasted)
                click.echo(f"{'':<10} kept in {keys[name]}")
        else:
            click.echo(f"{name:<10} no key in {variable}: left out")
    found = asyncio.run(local_servers())
    for server in found:
        click.echo(f"local      {server.name} at {server.base_url}: {', '.join(server.models[:5])}")
    if not found:
        click.echo("local      no model server answers on this machine")
    if not yes:
        budget = click.prompt("AI money a day, in dollars", default=budget, type=click.FloatRange(0, 100_000))
    choices = Choices(keys, found[0] if found else None, budget)  # type: ignore[arg-type]  # names of providers
    config_file.write_text(configuration(choices), encoding="utf-8")
    click.echo(f"\nwritten: {config_file}")
    if not keys and not found:
        click.echo("No provider can be asked yet. `jurymast run` without --config shows it all, SIMULATED.")
        return
    _examined(config_file)
    click.echo(f"\nstart it:  jurymast run --config {config_file}")


def _examined(config_file: Path) -> None:
    from jurymast.faces.cli.doctor import doctor

    click.echo("\njurymast doctor:")
    try:
        doctor.main(["--config", str(config_file)], standalone_mode=False)
    except SystemExit as stopped:
        if stopped.code:
            click.echo("something is not fit yet: the cure stands beside it", err=True)
            sys.exit(1)
