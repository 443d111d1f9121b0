"""``flatten``: sell every position, after a look at what that costs."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from jurymast.domain.errors import JournalError, JurymastError
from jurymast.domain.money import USD, format_cents, format_contracts, format_usd
from jurymast.domain.status import TradingState
from jurymast.faces.cli.control import control_of, now
from jurymast.faces.cli.options import json_option
from jurymast.policy.demands import FlattenDemand, StateDemand, with_state

if TYPE_CHECKING:
    from jurymast.app.config import Config
    from jurymast.app.desk import Preview

ANSWER_SECS: Final = 10.0
"""How long a running bot may take to answer with a preview."""
ASK_SECS: Final = 0.1
ROUNDS_MAX: Final = 50
"""Slices sold here when no bot runs; what is left then is said."""


@click.command()
@click.option("--yes", is_flag=True, help="Do it. Without it only the preview is shown.")
@click.option("--reason", default="", help="For the record.")
@click.option("--config", "config_file", type=click.Path(path_type=Path, dir_okay=False), help="TOML file.")
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), default=None)
@json_option
def flatten(yes: bool, reason: str, config_file: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """Show what selling every position would bring and cost; with --yes do it and pause.

    Orders are immediate-or-cancel and reduce-only, in bounded slices; what finds no buyer is kept and tried
    again. A running bot does it; without one it is done here, with the exchange of --config.
    """
    from jurymast.faces.cli.loading import load_config

    config = load_config(config_file, data_dir=data_dir, seed=None, weather=False)
    control = control_of(config.data_dir)
    if control.demands().floor is TradingState.HALTED:
        raise click.UsageError(
            "it is HALTED: nothing is sent, not even to sell. `jurymast pause --reason ...` turns the halt "
            "into a pause; then flatten."
        )
    if _runs(config):
        preview = _asked(config, reason)
        _show(preview, as_json=as_json, done=yes)
        if yes:
            control.change(lambda old: _confirmed(old, reason))
            if not as_json:
                click.echo("the running bot sells now, slice by slice, and stays paused: `jurymast status`")
        return
    if yes:
        control.change(lambda old: with_state(old, _pause(reason)))
    preview = asyncio.run(_here(config, sell=yes))
    _show(preview, as_json=as_json, done=yes)


def _pause(reason: str) -> StateDemand:
    return StateDemand(reason or "flattened by hand", now(), floor=TradingState.REDUCING)


def _confirmed(old: Any, reason: str) -> Any:
    demand = old.flatten or FlattenDemand(reason, now(), None, uuid.uuid4().hex)
    return replace(with_state(old, _pause(reason)), flatten=replace(demand, confirmed=True))


def _runs(config: Config) -> bool:
    from jurymast.journal.queries import JournalReader

    try:
        with JournalReader(config.journal_path) as journal:
            return journal.writer_pid() is not None
    except JournalError:
        return False


def _asked(config: Config, reason: str) -> Preview:
    """The preview of the running bot. Raises JurymastError when it does not answer in time."""
    from jurymast.app.desk import Preview

    demand = FlattenDemand(reason, now(), None, uuid.uuid4().hex)
    control_of(config.data_dir).change(lambda old: replace(old, flatten=demand))
    until = time.monotonic() + ANSWER_SECS
    while time.monotonic() < until:
        time.sleep(ASK_SECS)
        try:
            preview = msgspec.json.decode(config.preview_path.read_bytes(), type=Preview)
        except (OSError, msgspec.MsgspecError):
            continue
        if preview.flatten_id == demand.flatten_id:
            return preview
    raise JurymastError(
        f"the bot runs and has not answered within {ANSWER_SECS:g} s: nothing was sold. If it hangs, "
        "stop it and flatten again: then it is done here."
    )


async def _here(config: Config, *, sell: bool) -> Preview:
    """Preview, and sell, without a running bot. Raises what opening the journal and the exchange raises."""
    from jurymast.app.clock import SystemClock
    from jurymast.app.desk import Preview
    from jurymast.app.wiring import build

    async with build(config, clock=SystemClock()) as bot:
        await bot.cycle.square_books()
        preview = Preview("", *await bot.liquidator.preview())
        for _ in range(ROUNDS_MAX if sell else 0):
            if not await bot.liquidator.sell():
                break
        left = Preview("", *await bot.liquidator.preview()) if sell else preview
        return Preview("", preview.sales, left.unsold + [_left(sale) for sale in left.sales if sell])


def _left(sale: Any) -> Any:
    from jurymast.policy.liquidation import Unsold

    return Unsold(sale.ticker, sale.plan.count, "no more buyers in reach")


def _show(preview: Preview, *, as_json: bool, done: bool) -> None:
    proceeds, fees = sum(s.proceeds for s in preview.sales), sum(s.fee for s in preview.sales)
    cost = sum(s.cost for s in preview.sales)
    if as_json:
        facts = {
            "confirmed": done,
            "proceeds_usd": proceeds / USD,
            "fees_usd": fees / USD,
            "cost_usd": cost / USD,
            "sales": [
                {"ticker": s.ticker, "contracts": s.plan.count / 100, "limit_usd": s.plan.limit_price / USD}
                for s in preview.sales
            ],
            "unsold": [
                {"ticker": u.ticker, "contracts": u.count / 100, "why": u.why} for u in preview.unsold
            ],
        }
        click.echo(json.dumps(facts))
        return
    if not preview.sales and not preview.unsold:
        click.echo("nothing is held: nothing to sell")
        return
    for sale in preview.sales:
        price = format_cents(sale.plan.limit_price)
        click.echo(
            f"sell {format_contracts(sale.plan.count)} {sale.ticker} at {price} or better: "
            f"{format_usd(sale.proceeds)}, fee {format_usd(sale.fee)}"
        )
    for unsold in preview.unsold:
        click.echo(f"keep {format_contracts(unsold.count)} {unsold.ticker}: {unsold.why}")
    click.echo(
        f"first slices bring about {format_usd(proceeds)} and cost {format_usd(cost)} against the middle "
        f"of the book, fees of {format_usd(fees)} among it"
    )
    if not done:
        click.echo("nothing was sold. `jurymast flatten --yes` does it.")
