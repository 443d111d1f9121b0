"""What a person demands: ``halt``, ``pause``, ``reduce``, ``resume``, ``mode``, ``isolate``, ``restore``,
``failover``. Latched in a file that a running bot takes over within a second and a later start obeys.

None of them needs the database or the bot. Safer needs nothing; riskier needs a reason, and a mode in spite
of the evidence an end within the hour.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import click

from jurymast.app.clock import SystemClock
from jurymast.app.control import ControlFile
from jurymast.domain.provider import ProviderName
from jurymast.domain.status import EmergencyMode, TradingState
from jurymast.faces.cli.options import DATA_DIR, data_dir_option
from jurymast.policy import demands as rules
from jurymast.policy.demands import Demand, Demands, ModeDemand, Preference, StateDemand

PROOF_SECS: Final = 15.0
"""How long `halt` waits to hear that nothing rests."""
PROOF_ASK_SECS: Final = 0.1
UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
Span = timedelta | None


class SpanType(click.ParamType[timedelta]):
    """A span of time: ``90s``, ``30m``, ``2h``."""

    name = "span"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Raises a usage error for anything else."""
        found = re.fullmatch(r"(\d{1,6})([smhd])", str(value))
        if found is None or int(found[1]) == 0:
            self.fail(f"{value} is no span of time: say 90s, 30m or 2h", param, ctx)
        return timedelta(seconds=int(found[1]) * UNITS[found[2]])


PROVIDER: Final = click.Choice([name.value for name in ProviderName])
MODE: Final = click.Choice([mode.value for mode in EmergencyMode])
optional_reason: Final = click.option("--reason", default="", help="For the record.")
needed_reason: Final = click.option("--reason", required=True, help="For the record.")
for_option: Final = click.option(
    "--for", "span", type=SpanType(), help="End by itself after 30m, 2h...; without it, until taken back."
)


def control_of(data_dir: Path | None) -> ControlFile:
    """The control file of a data directory."""
    return ControlFile(data_dir or Path(DATA_DIR), SystemClock())


def changed(control: ControlFile, how: Callable[[Demands], Demands]) -> None:
    """Change what is demanded and say what is demanded now; what the rules refuse is a wrong usage."""
    try:
        control.change(how)
    except ValueError as error:
        raise click.UsageError(f"{error}. Nothing was changed.") from None
    say(control)


def say(control: ControlFile) -> None:
    """Print what is demanded now."""
    click.echo(demanded(control))


def demanded(control: ControlFile) -> str:
    """What is demanded now, a line each."""
    told = rules.sentences(control.demands(), now())
    return "\n".join(told) or "nothing is demanded by hand: the bot follows its own evidence"


def now() -> datetime:
    """This moment, UTC."""
    return SystemClock().utc_now()


def ends(span: Span) -> datetime | None:
    """When a span that begins now is over."""
    return None if span is None else now() + span


@click.command()
@optional_reason
@click.option("--wait/--no-wait", default=True, help="Wait some seconds for the proof that nothing rests.")
@data_dir_option
def halt(reason: str, wait: bool, data_dir: Path | None) -> None:
    """Send nothing more and cancel everything that rests. Survives a restart, needs no running bot.

    Positions are held: while halted, selling them is the operator's. `resume` ends it.
    """
    control, since = control_of(data_dir), now()
    control.halt(reason or "halted by hand")
    click.echo(f"halted: {control.halt_path} is set. `jurymast resume --reason ...` takes it away.")
    click.echo(proof(control.directory, since) if wait else "not waited for the proof that nothing rests")


def proof(data_dir: Path, since: datetime) -> str:
    """What the running bot has made of the halt, as far as its journal can be read."""
    from jurymast.domain.errors import JournalError
    from jurymast.domain.events import EntriesWithdrawn, WithdrawalDelayed
    from jurymast.faces.cli.narration import describe
    from jurymast.journal.queries import JournalReader

    until, last = now() + timedelta(seconds=PROOF_SECS), None
    try:
        with JournalReader(data_dir / "journal.db") as journal:
            if journal.writer_pid() is None:
                return "no bot runs here: what rests of an earlier one expires by itself, or by its watchdog"
            while now() < until:
                last = journal.last(WithdrawalDelayed)
                done = journal.last(EntriesWithdrawn)
                if done is not None and done.at >= since and done.everything:
                    return (describe(done) or ("", ""))[1]
                time.sleep(PROOF_ASK_SECS)
    except JournalError as error:
        return f"whether orders rest is not known here, the journal can't be read: {error}"
    told = describe(last) if last is not None and last.at >= since else None
    return told[1] if told else "NOT PROVEN yet that nothing rests: look with `jurymast status`"


@click.command()
@optional_reason
@for_option
@data_dir_option
def pause(reason: str, span: Span, data_dir: Path | None) -> None:
    """No entries; resting ones are cancelled; exits go on. `resume` ends it."""
    _floor(data_dir, StateDemand(reason, now(), ends(span), floor=TradingState.REDUCING))


@click.command()
@optional_reason
@data_dir_option
def reduce(reason: str, data_dir: Path | None) -> None:
    """As `pause`, and positions are worked down: a quarter of each at a cycle, into tight books only."""
    demand = StateDemand(reason, now(), floor=TradingState.REDUCING, work_down=True)
    _floor(data_dir, demand)


def _floor(data_dir: Path | None, demand: StateDemand) -> None:
    control = control_of(data_dir)
    try:
        control.floor(demand)
    except ValueError as error:
        raise click.UsageError(f"{error}. Nothing was changed.") from None
    say(control)


@click.command()
@needed_reason
@data_dir_option
def resume(reason: str, data_dir: Path | None) -> None:
    """Take back every demand that stops trading: halt, pause, reduce, flatten, modes. Says what it re-arms.

    The way up is climbed rung by rung on evidence, as ever. Isolated providers stay isolated.
    """
    control = control_of(data_dir)
    before = control.resume(reason)
    stopped = replace(before, isolated={}, preferred=None)
    told = rules.sentences(stopped, now())
    if not told:
        click.echo("nothing was demanded; if the bot is KILLED by its own evidence, that is ended too")
        return
    click.echo(f"resumed ({reason}): taken back")
    for line in told:
        click.echo(f"  {line}")
    click.echo("orders are allowed again, after the books are squared and as far as the mode takes them")


@click.command()
@click.argument("name", type=MODE)
@optional_reason
@for_option
@click.option("--override", is_flag=True, help="Also when the evidence calls for a safer one; at most 60m.")
@data_dir_option
def mode(name: str, reason: str, span: Span, override: bool, data_dir: Path | None) -> None:
    """Demand at least mode NAME. A safer one needs nothing; a milder one than is demanded needs --reason.

    \b
    Examples:
      jurymast mode suspended
      jurymast mode normal --reason "read the report"       take the demand back
      jurymast mode conservative --override --reason "flap, seen to" --for 30m
    """
    if override and (not reason or span is None):
        raise click.UsageError("--override makes things riskier: it needs --reason and --for of at most 60m")
    wanted = EmergencyMode(name)

    def how(old: Demands) -> Demands:
        at = now()
        until = None if span is None else at + span
        return rules.with_mode(old, ModeDemand(reason, at, until, wanted, override))

    changed(control_of(data_dir), how)


@click.command()
@click.argument("provider", type=PROVIDER)
@optional_reason
@for_option
@data_dir_option
def isolate(provider: str, reason: str, span: Span, data_dir: Path | None) -> None:
    """Ask PROVIDER no more until it is restored."""
    demand = Demand(reason, now(), ends(span))
    changed(
        control_of(data_dir),
        lambda old: replace(old, isolated={**old.isolated, ProviderName(provider): demand}),
    )


@click.command()
@click.argument("provider", type=PROVIDER)
@data_dir_option
def restore(provider: str, data_dir: Path | None) -> None:
    """Put PROVIDER back that was isolated: it is probed at once, and asked when it proves well."""

    def how(old: Demands) -> Demands:
        return replace(old, isolated={k: v for k, v in old.isolated.items() if k != provider})

    changed(control_of(data_dir), how)


@click.command()
@click.argument("source", metavar="FROM", type=PROVIDER)
@click.argument("target", metavar="TO", type=PROVIDER)
@optional_reason
@data_dir_option
def failover(source: str, target: str, reason: str, data_dir: Path | None) -> None:
    """Ask provider TO before FROM, if it can be used."""
    if source == target:
        raise click.UsageError("FROM and TO are the same provider")
    demand = Preference(reason, now(), None, ProviderName(source), ProviderName(target))
    changed(control_of(data_dir), lambda old: replace(old, preferred=demand))


COMMANDS: Final = (halt, pause, reduce, resume, mode, isolate, restore, failover)
