"""``jurymast exchange``: a Kalshi-compatible exchange on loopback, SIMULATED."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from jurymast.exchange.embedded.exchange import EmbeddedExchange
    from jurymast.exchange.embedded.server.keys import DemoKey
    from jurymast.exchange.embedded.server.server import ExchangeServer
    from jurymast.ports import Clock

PORT = 8791
CONTROL_URL = f"http://127.0.0.1:{PORT}/control"
DATA_DIR = "jurymast-exchange"
START = datetime(2025, 12, 12, tzinfo=UTC)
"""Where exchange time begins when it is not to be now: the first day most questions are listed."""


@click.group()
def exchange() -> None:
    """A Kalshi-compatible exchange on this machine, for the bot or any Kalshi SDK. SIMULATED."""


@dataclass(frozen=True, slots=True)
class Options:
    """What ``serve`` was asked for."""

    port: int
    seed: int
    speed: float
    data_dir: Path
    key_file: Path | None
    key_id: str | None
    questions: Path | None
    tape: Path | None
    start: datetime | None
    cash_usd: int
    shards: int
    tier: str


@exchange.command("serve")
@click.option("--port", type=click.IntRange(0, 65_535), default=PORT, show_default=True)
@click.option("--seed", type=click.IntRange(0, 2**31), default=0, show_default=True, help="Of the crowd.")
@click.option(
    "--speed",
    type=click.FloatRange(0, 100_000, min_open=True),
    default=1.0,
    show_default=True,
    help="Exchange seconds per second.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(DATA_DIR),
    show_default=True,
    help="Where the account and the demo key are kept.",
)
@click.option(
    "--key-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="PEM of the key that may trade, public or private; with --key-id.",
)
@click.option("--key-id", help="Id of the key in --key-file.")
@click.option(
    "--questions",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Questions to trade instead of the bundled ones.",
)
@click.option(
    "--tape",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Play the markets of this tape instead, from its beginning and in its own time.",
)
@click.option(
    "--start",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    help="Exchange time (UTC) of the first start. Without it that is now, and all dates move along.",
)
@click.option("--cash", "cash_usd", type=click.IntRange(0, 10_000_000), default=10_000, show_default=True)
@click.option("--shards", type=click.IntRange(1, 8), default=1, show_default=True)
@click.option(
    "--tier",
    type=click.Choice(["basic", "advanced", "expert", "premier", "paragon", "prime", "prestige"]),
    default="basic",
    show_default=True,
    help="Rate limits.",
)
def serve(**chosen: object) -> None:
    """Serve until Ctrl-C. On first start it makes a demo key that only this exchange knows.

    \b
    Examples:
      jurymast exchange serve
      jurymast exchange serve --start 2025-12-12 --speed 1800
      jurymast exchange serve --tape demo.tape
    """
    options = Options(**chosen)  # type: ignore[arg-type] # click has checked them
    if (options.key_file is None) != (options.key_id is None):
        raise click.UsageError("--key-file and --key-id go together")
    if options.tape is not None and (options.questions or options.start):
        raise click.UsageError("a tape has its own markets and its own time: no --questions, no --start")
    asyncio.run(_serve(options))


def control_option(command: click.decorators.FC) -> click.decorators.FC:
    """Where the control desk listens."""
    return click.option(
        "--control",
        default=CONTROL_URL,
        show_default=True,
        help="Control desk, as `run` and `serve` print it.",
    )(command)


@exchange.command("fault")
@click.argument("fault")
@click.option("--probability", type=click.FloatRange(0, 1, min_open=True), help="Of each chance to strike.")
@click.option("--times", type=click.IntRange(1), help="Mend itself after so many strikes.")
@click.option("--for", "for_secs", type=click.FloatRange(0), help="Mend itself after so many seconds.")
@click.option("--ticker", help="Of the one market that is concerned.")
@click.option("--value", help="What the fault takes: seconds, a status, a field.")
@control_option
def exchange_fault(fault: str, control: str, **details: object) -> None:
    """Break a running exchange with FAULT: accept_then_timeout, 429, stale_rest, ws_gap, trading_pause, ...

    \b
    Examples:
      jurymast exchange fault accept_then_timeout --times 1
      jurymast exchange fault 429 --probability 0.3 --for 20
      jurymast exchange mend
    """
    from jurymast.faces.cli import lab

    body = {"fault": fault} | {name: value for name, value in details.items() if value is not None}
    click.echo(lab.call(control, "POST", "/faults", body))


@exchange.command("mend")
@click.argument("fault", required=False)
@control_option
def exchange_mend(fault: str | None, control: str) -> None:
    """Mend FAULT, or everything."""
    from jurymast.faces.cli import lab

    click.echo(lab.call(control, "DELETE", "/faults" if fault is None else f"/faults/{fault}"))


@exchange.command("faults")
@control_option
def exchange_faults(control: str) -> None:
    """The faults in force, as JSON."""
    from jurymast.faces.cli import lab

    click.echo(lab.call(control, "GET", "/faults"))


async def _serve(options: Options) -> None:
    from jurymast.app.clock import SystemClock
    from jurymast.exchange.embedded.server.keys import WATCHDOG, DemoKey, KeyRing, demo_key
    from jurymast.exchange.embedded.server.server import TICK_SECS, ExchangeServer
    from jurymast.exchange.embedded.server.site import WireSettings
    from jurymast.exchange.tapes.opening import TICK_SECS as TAPE_TICK_SECS

    keys = KeyRing()
    if options.key_file is not None and options.key_id is not None:
        key = DemoKey(options.key_id, options.key_file)
        options.data_dir.mkdir(parents=True, exist_ok=True)
    else:
        key = demo_key(options.data_dir)
    keys.add(key.key_id, key.path.read_bytes())
    second = demo_key(options.data_dir, WATCHDOG)
    keys.add(second.key_id, second.path.read_bytes())
    clock = SystemClock()
    exchange = _opened(options, clock)
    try:
        settings = WireSettings(tier=options.tier)
        async with ExchangeServer(
            exchange,
            clock=clock,
            keys=keys,
            port=options.port,
            settings=settings,
            tick_secs=TICK_SECS if options.tape is None else TAPE_TICK_SECS,
        ) as server:
            _announce(exchange, server, key, second)
            await asyncio.Event().wait()
    finally:
        exchange.close()


def _opened(options: Options, clock: Clock) -> EmbeddedExchange:
    """The exchange over questions, or over a tape, each with a file of its own."""
    from jurymast.domain.money import USD
    from jurymast.exchange.embedded.exchange import EmbeddedExchange, Rules
    from jurymast.exchange.questions import load_bundle, load_questions

    cash = options.cash_usd * USD
    if options.tape is not None:
        from jurymast.exchange.tapes.opening import open_tape

        database = options.data_dir / f"tape-{options.tape.name}.db"
        return open_tape(options.tape, clock=clock, database=database, speed=options.speed, cash=cash)
    questions = load_bundle() if options.questions is None else load_questions(options.questions)
    return EmbeddedExchange(
        questions,
        clock=clock,
        start=START if options.start is None else options.start.replace(tzinfo=UTC),
        database=options.data_dir / "embedded-exchange.db",
        seed=options.seed,
        speed=options.speed,
        cash=cash,
        aligned=options.start is None,
        rules=Rules(shards=options.shards),
    )


def _announce(exchange: EmbeddedExchange, server: ExchangeServer, key: DemoKey, second: DemoKey) -> None:
    click.echo(exchange.describe())
    click.echo(f"  {'time':<10} {exchange.now():%Y-%m-%d %H:%M:%S} UTC" + _moved(exchange.shift.days))
    click.echo(f"  {'REST':<10} {server.rest_url}")
    click.echo(f"  {'websocket':<10} {server.socket_url}")
    click.echo(f"  {'control':<10} {server.control_url}   faults, halts, settlement")
    click.echo(f"  {'key id':<10} {key.key_id}")
    click.echo(f"  {'key file':<10} {key.path}   a play key: it opens nothing but this exchange")
    click.echo(
        f"  {'watchdog':<10} {second.key_id}   {second.path}   a second key, for [watchdog.keys.embedded]"
    )


def _moved(days: int) -> str:
    return f"; all dates moved by {days} days" if days else ""
