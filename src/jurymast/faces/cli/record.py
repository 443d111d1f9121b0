"""``jurymast record``: what a host says about some markets, onto a tape that the exchange can play."""

from __future__ import annotations

import asyncio
import json
import signal
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jurymast.domain.errors import ConfigError
from jurymast.faces.cli.exchange import DATA_DIR, PORT
from jurymast.faces.cli.options import json_option

if TYPE_CHECKING:
    from jurymast.exchange.kalshi.hosts import Credentials, Host
    from jurymast.exchange.tapes.recorder import Recorded

MEGABYTE = 1_000_000
MINUTES_MAX = 7 * 24 * 60


@dataclass(frozen=True, slots=True)
class Options:
    """What ``record`` was asked for."""

    host: str
    out: Path
    source: Path | None
    tickers: tuple[str, ...]
    markets: int
    minutes: float
    megabytes_max: int
    url: str
    config_file: Path | None
    key_id: str | None
    key_file: Path | None
    as_json: bool


@click.command()
@click.option(
    "--host",
    type=click.Choice(["embedded", "demo", "production"]),
    default="embedded",
    show_default=True,
    help="Where to listen.",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The tape.")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Make the tape of this recording or these candlesticks instead of listening.",
)
@click.option("--ticker", "tickers", multiple=True, help="A market to record; may be repeated.")
@click.option(
    "--markets", type=click.IntRange(1, 500), default=10, show_default=True, help="Else the busiest so many."
)
@click.option(
    "--minutes",
    type=click.FloatRange(0, MINUTES_MAX, min_open=True),
    default=60.0,
    show_default=True,
    help="Stop after so long.",
)
@click.option(
    "--max-mb",
    "megabytes_max",
    type=click.IntRange(1, 100_000),
    default=500,
    show_default=True,
    help="Stop when the tape is so long.",
)
@click.option(
    "--url", default=f"http://127.0.0.1:{PORT}", show_default=True, help="Of the embedded exchange."
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Where the key of --host stands; or --key-id and --key-file.",
)
@click.option("--key-id", help="Id of the key in --key-file.")
@click.option("--key-file", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="Its PEM.")
@json_option
def record(**chosen: object) -> None:
    """Record the books and executions of some markets, until the time is over, the tape is full, or Ctrl-C;
    an existing tape is continued. Sends nothing but reads: a key with the scope `read` is enough, and real
    money needs no arming.

    \b
    Examples:
      jurymast record --out embedded.tape --minutes 5
      jurymast record --host demo --config bot.toml --out demo.tape --markets 20
      jurymast record --from candles.json --out candles.tape
      jurymast exchange serve --tape demo.tape
    """
    options = Options(**chosen)  # type: ignore[arg-type] # click has checked them
    if (options.key_file is None) != (options.key_id is None):
        raise click.UsageError("--key-file and --key-id go together")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    if options.source is not None:
        _import(options, options.source)
        return
    done = asyncio.run(_record(options))
    facts = asdict(done) | {"path": str(done.path), "host": options.host}
    click.echo(json.dumps(facts) if options.as_json else _told(done))


def _import(options: Options, source: Path) -> None:
    from jurymast.exchange.tapes.imports import import_tape

    rows = import_tape(source, options.out, bytes_max=options.megabytes_max * MEGABYTE)
    facts = {"path": str(options.out), "rows": rows}
    click.echo(json.dumps(facts) if options.as_json else f"{options.out}: {rows:,} rows of {source.name}")


def _told(done: Recorded) -> str:
    why = {"time": "the time was over", "size": "the tape is full", "stopped": "it was stopped"}[done.ended]
    told = f"{done.path}: {done.rows:,} rows more, {done.size_bytes / MEGABYTE:.1f} MB in all; {why}"
    return told + f"\n{done.missed} breaks in the numbering, {done.lost} connections lost"


async def _record(options: Options) -> Recorded:
    from jurymast.app.clock import SystemClock
    from jurymast.exchange.kalshi.http import KalshiHttp
    from jurymast.exchange.kalshi.rest import KalshiRest
    from jurymast.exchange.tapes.recorder import Recorder, busiest

    host, key = _place(options)
    clock = SystemClock()
    rest = KalshiRest(KalshiHttp(host, key, clock=clock))
    try:
        await rest.learn_limits()
        tickers = options.tickers or tuple(await busiest(rest, options.markets))
        bytes_max = options.megabytes_max * MEGABYTE
        recorder = Recorder(rest, tickers, options.out, clock=clock, bytes_max=bytes_max)
        if not options.as_json:
            click.echo(f"recording {len(tickers)} markets of {options.host} for {options.minutes:g} minutes")
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, recorder.stop)
        return await recorder.record(options.minutes * 60.0)
    finally:
        await rest.close()


def _place(options: Options) -> tuple[Host, Credentials]:
    """Where to listen, and with which key. Raises ConfigError."""
    from jurymast.exchange.kalshi.hosts import DEMO, PRODUCTION, Credentials, Environment, embedded_at
    from jurymast.exchange.kalshi.signing import Signer

    environment = Environment(options.host)
    hosts = {Environment.DEMO: DEMO, Environment.PRODUCTION: PRODUCTION}
    host = hosts[environment] if environment in hosts else embedded_at(options.url)
    if options.key_id is not None and options.key_file is not None:
        return host, Credentials(environment, Signer.from_file(options.key_id, options.key_file))
    if options.config_file is not None:
        from jurymast.faces.cli.loading import load_config

        config = load_config(options.config_file, data_dir=None, seed=None, weather=None)
        known = config.exchange.keys.get(environment)
        if known is not None:
            return host, Credentials(environment, Signer(known.id, known.private_key.value))
    if environment is Environment.EMBEDDED and (Path(DATA_DIR) / "demo-key.pem").exists():
        from jurymast.exchange.embedded.server.keys import demo_key

        play = demo_key(Path(DATA_DIR))
        return host, Credentials(environment, Signer.from_file(play.key_id, play.path))
    raise ConfigError(
        f"there is no key of {environment}. Nothing was recorded. Give --key-id and --key-file, or --config "
        f"with [exchange.keys.{environment}] in it."
    )
