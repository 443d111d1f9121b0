"""``jurymast completion``: names of commands and options at the Tab key."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

VARIABLE = "_JURYMAST_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes jurymast's commands and options in a shell.

    \b
    Examples:
      jurymast completion bash > ~/.local/share/bash-completion/completions/jurymast
      jurymast completion zsh > ~/.zfunc/_jurymast
      jurymast completion fish > ~/.config/fish/completions/jurymast.fish
    """
    made = get_completion_class(shell)
    if made is None:  # pragma: no cover (all three are click's own)
        raise click.UsageError(f"nothing is known of {shell}")
    click.echo(made(context.find_root().command, {}, "jurymast", VARIABLE).source())
