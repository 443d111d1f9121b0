"""``jurymast``: one grammar for all commands.

Exit codes: 0 done, 1 unexpected error, 2 wrong usage, configuration or question file, 3 port taken,
4 journal or data directory unusable, 5 books and exchange could not be squared, 6 the watchdog fired,
130 interrupted.
Commands import what they need when they run, so that ``status`` answers at once.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from jurymast import __version__
from jurymast.domain.errors import JurymastError
from jurymast.faces.cli.alerts import alerts
from jurymast.faces.cli.completion import completion
from jurymast.faces.cli.config import config
from jurymast.faces.cli.control import COMMANDS
from jurymast.faces.cli.doctor import doctor
from jurymast.faces.cli.drill import drill
from jurymast.faces.cli.exchange import exchange
from jurymast.faces.cli.export import export
from jurymast.faces.cli.flatten import flatten
from jurymast.faces.cli.gateway import gateway
from jurymast.faces.cli.init import init
from jurymast.faces.cli.models import models
from jurymast.faces.cli.options import DATA_DIR, data_dir_option, json_option
from jurymast.faces.cli.plot import plot
from jurymast.faces.cli.record import record
from jurymast.faces.cli.report import report
from jurymast.faces.cli.rollout import rollout
from jurymast.faces.cli.score import score
from jurymast.faces.cli.sim import sim
from jurymast.faces.cli.spend import spend
from jurymast.faces.cli.telegram import telegram
from jurymast.faces.cli.watch import watch
from jurymast.faces.cli.watchdog import watchdog
from jurymast.faces.cli.web import web
from jurymast.faces.cli.year import year

CONTROL_URL = "http://127.0.0.1:8790"
SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=SETTINGS)
@click.version_option(__version__, prog_name="jurymast")
def cli() -> None:
    """A Kalshi AI trading bot whose judgement survives the loss of its AI providers.

    \b
    Begin with:
      jurymast demo             one narrated minute of outages, SIMULATED
      jurymast run              the bot on the embedded exchange, SIMULATED providers, no keys
      jurymast status           how it is doing, from another terminal
      jurymast why --last       why it did or did not trade
      jurymast lab fault xai refuse     break a provider while it runs
    """


@cli.command()
@click.option("--config", "config_file", type=click.Path(path_type=Path, dir_okay=False), help="TOML file.")
@data_dir_option
@click.option("--seed", type=click.IntRange(0, 2**31), help="Of every random choice.")
@click.option("--cycles", type=click.IntRange(1), help="Stop after this many.")
@click.option("--weather/--no-weather", default=None, help="Seeded outages of the emulated providers.")
@click.option("--account", default="", help="Name of the account, typed: one gate before real money.")
@json_option
def run(
    config_file: Path | None,
    data_dir: Path | None,
    seed: int | None,
    cycles: int | None,
    weather: bool | None,
    account: str,
    as_json: bool,
) -> None:
    """Run the bot until Ctrl-C. Paper trading unless the configuration names another host: SIMULATED
    exchange, real questions.

    With --json it prints one JSON object per cycle. Without --config it uses emulated providers, so
    it needs no key and spends nothing. A configuration file may be changed meanwhile: what is tunable
    is taken over within a second, a mistake changes nothing and is told of.
    """
    from jurymast.app.config import Config
    from jurymast.app.reload import SettingsFile
    from jurymast.faces.cli import running
    from jurymast.faces.cli.loading import load_config

    def load() -> Config:
        return load_config(config_file, data_dir=data_dir, seed=seed, weather=weather)

    settings = load()
    file = None if config_file is None else SettingsFile(config_file, load)
    arguments = [] if config_file is None else ["--config", str(config_file)]
    arguments += ["--data-dir", str(settings.data_dir)]
    running.run_bot(
        settings, cycles=cycles, as_json=as_json, watchdog_arguments=arguments, account=account, file=file
    )


@cli.command()
@click.option("--fast", is_flag=True, help="Without pauses: some seconds instead of a minute.")
@click.option("--seed", type=click.IntRange(0, 2**31), default=0, show_default=True, help="Of the story.")
@json_option
def demo(fast: bool, seed: int, as_json: bool) -> None:
    """A narrated minute, SIMULATED: healthy, xAI out, all out, emergency, recovery."""
    from jurymast.faces.cli import running

    running.run_demo(seed, fast=fast, as_json=as_json)


@cli.command()
@data_dir_option
@json_option
def status(data_dir: Path | None, as_json: bool) -> None:
    """Mode, state, providers, money, from the journal; works whether the bot runs or not."""
    from jurymast.faces.cli import reading

    facts = reading.status(data_dir or Path(DATA_DIR))
    click.echo(json.dumps(facts) if as_json else reading.status_text(facts))


@cli.command()
@click.argument("ticker", required=False)
@click.option("--last", is_flag=True, help="The last market that a model was asked about.")
@data_dir_option
@json_option
def why(ticker: str | None, last: bool, data_dir: Path | None, as_json: bool) -> None:
    """Why TICKER was traded, or was not: one line per gate.

    \b
    Examples:
      jurymast why --last
      jurymast why FB-POL-1A2B3C4D --json
    """
    from jurymast.faces.cli import reading

    if last == (ticker is not None):
        raise click.UsageError("name a TICKER or say --last")
    chain = reading.why(data_dir or Path(DATA_DIR), ticker)
    click.echo(json.dumps(chain) if as_json else reading.why_text(chain))


@cli.group()
def lab() -> None:
    """Emulated providers: serve them, break them, mend them. SIMULATED."""


def control_option(command: click.decorators.FC) -> click.decorators.FC:
    """Where the fault control listens."""
    return click.option(
        "--control", default=CONTROL_URL, show_default=True, help="Address of the fault control."
    )(command)


@lab.command("serve")
@click.option("--seed", type=click.IntRange(0, 2**31), default=0, show_default=True)
@click.option("--latency-scale", type=click.FloatRange(0, 10), default=0.2, show_default=True)
@click.option("--control-port", type=click.IntRange(0, 65_535), default=8790, show_default=True)
def lab_serve(seed: int, latency_scale: float, control_port: int) -> None:
    """Serve the four emulated providers until Ctrl-C, for other programs to try."""
    from jurymast.faces.cli import lab as lab_face

    lab_face.serve(seed, latency_scale, control_port)


@lab.command("fault")
@click.argument("provider")
@click.argument("fault")
@click.option("--model", help="Only this model.")
@click.option("--for", "for_secs", type=click.FloatRange(0), help="Mend itself after so many seconds.")
@control_option
def lab_fault(provider: str, fault: str, model: str | None, for_secs: float | None, control: str) -> None:
    """Break PROVIDER (xai, openai, anthropic, local, all) with FAULT (refuse, 503, hang, ...).

    \b
    Examples:
      jurymast lab fault xai refuse
      jurymast lab fault all 503 --for 20
      jurymast lab clear
    """
    from jurymast.faces.cli import lab as lab_face

    body = {"provider": provider, "fault": fault, "model": model, "for_secs": for_secs}
    click.echo(lab_face.call(control, "POST", "/faults", {k: v for k, v in body.items() if v is not None}))


@lab.command("clear")
@click.argument("provider", default="all")
@control_option
def lab_clear(provider: str, control: str) -> None:
    """Mend PROVIDER, or all."""
    from jurymast.faces.cli import lab as lab_face

    click.echo(lab_face.call(control, "DELETE", "/faults" if provider == "all" else f"/faults/{provider}"))


@lab.command("faults")
@control_option
def lab_faults(control: str) -> None:
    """The faults in force, as JSON."""
    from jurymast.faces.cli import lab as lab_face

    click.echo(lab_face.call(control, "GET", "/faults"))


for command in COMMANDS:
    cli.add_command(command)
cli.add_command(flatten)
cli.add_command(watchdog)
cli.add_command(doctor)
cli.add_command(alerts)
cli.add_command(spend)
cli.add_command(models)
cli.add_command(sim)
cli.add_command(drill)
cli.add_command(year)
cli.add_command(score)
cli.add_command(exchange)
cli.add_command(record)
cli.add_command(init)
cli.add_command(watch)
cli.add_command(web)
cli.add_command(gateway)
cli.add_command(telegram)
cli.add_command(report)
cli.add_command(export)
cli.add_command(plot)
cli.add_command(rollout)
cli.add_command(config)
cli.add_command(completion)


def main() -> None:
    """Run a command; turn our own errors into one line and their exit code."""
    try:
        cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except JurymastError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
