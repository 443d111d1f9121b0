"""``models``: what is configured, what it costs, whether it is still there."""

from __future__ import annotations

import asyncio
import json
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jurymast.faces.cli.options import data_dir_option, json_option

if TYPE_CHECKING:
    from jurymast.app.model_table import ModelRow
    from jurymast.domain.events import CanaryFinished


@click.command()
@click.option("--config", "config_file", type=click.Path(path_type=Path, dir_okay=False), help="TOML file.")
@click.option("--check", is_flag=True, help="Ask the vendors' lists now: free, and it proves the keys.")
@data_dir_option
@json_option
def models(config_file: Path | None, check: bool, data_dir: Path | None, as_json: bool) -> None:
    """Each model by provider: role, price in USD for a million tokens, context, end, whether it is listed.

    \b
    Examples:
      jurymast models
      jurymast models --config bot.toml --check
      jurymast models --json
    """
    from jurymast.app.clock import SystemClock
    from jurymast.app.model_table import asked, remembered, table
    from jurymast.faces.cli.loading import load_config

    config = load_config(config_file, data_dir=data_dir, seed=None, weather=None)
    clock = SystemClock()
    known = remembered(config)
    if check:
        known = asyncio.run(asked(config, clock, known))
    today = clock.utc_now().date()
    rows = [_facts(row, today) for row in table(config, known)]
    if as_json:
        click.echo(json.dumps({"simulated": config.lab.emulate, "models": rows}))
        return
    if config.lab.emulate:
        click.echo("SIMULATED providers: their lists are the emulators'.")
    for row in rows:
        click.echo(_line(row))


def _facts(row: ModelRow, today: date) -> dict[str, Any]:
    price = row.price
    return {
        "provider": row.provider.value,
        "model": row.model,
        "role": row.role.value,
        "tier": row.tier.value,
        "usd_per_million": None
        if price is None
        else {
            "input": price.input / 1e6,
            "cached_input": None if price.cached_input is None else price.cached_input / 1e6,
            "cache_write": None if price.cache_write is None else price.cache_write / 1e6,
            "output": price.output / 1e6,
            "long": None
            if price.long is None
            else {
                "above_tokens": price.long.above,
                "input": price.long.input / 1e6,
                "output": price.long.output / 1e6,
            },
            "source": price.source,
            "checked_on": None if price.checked_on is None else price.checked_on.isoformat(),
        },
        "context_tokens": row.context,
        "listed": row.listed,
        "list_failure": row.failure or None,
        "ends_on": None if row.ends_on is None else row.ends_on.isoformat(),
        "ends_in_days": None if row.ends_on is None else (row.ends_on - today).days,
        "alias": row.notice or None,
        "served_as": row.served or None,
        "canary": _canary(row.canary),
        "place": row.place,
        "place_reason": row.place_reason or None,
    }


def _canary(run: CanaryFinished | None) -> dict[str, Any] | None:
    if run is None:
        return None
    return {
        "at": run.at.isoformat(),
        "served": run.served,
        "shift": run.shift,
        "changed": run.changed,
        "detail": run.detail or None,
    }


def _line(row: dict[str, Any]) -> str:
    price = row["usd_per_million"]
    costs = f"{price['input']:g} in, {price['output']:g} out" if price else "free"
    if price and price["long"]:
        long = price["long"]
        costs += f" ({long['input']:g}/{long['output']:g} above {long['above_tokens'] // 1_000}k)"
    seen = {True: "listed", False: "NOT LISTED", None: "not asked"}[row["listed"]]
    parts = [f"{row['provider']:<9} {row['model']:<20} {row['role']:<6} {row['tier']:<6} {costs:<34} {seen}"]
    if row["list_failure"]:
        parts.append(f"no list: {row['list_failure']}")
    if row["ends_on"]:
        parts.append(f"ends on {row['ends_on']}, in {row['ends_in_days']} days")
    if row["alias"]:
        parts.append(row["alias"])
    if row["served_as"]:
        parts.append(f"served as {row['served_as']}")
    if row["place_reason"]:
        place = f"asked as number {row['place']}: " if row["place"] is not None else "not asked: "
        parts.append(place + row["place_reason"])
    if (run := row["canary"]) is not None:
        moved = "first answers" if run["shift"] is None else f"{run['shift']:.2f} from its base"
        parts.append(
            f"canary {run['at'][:10]}: {run['detail'] or moved}{', CHANGED' if run['changed'] else ''}"
        )
    return "\n            ".join(parts)
