"""Talking to the emulators from a terminal."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from typing import Any

import click

from jurymast.domain.errors import JurymastError

CALL_SECS = 5.0


def call(control_url: str, method: str, path: str, body: dict[str, Any] | None = None) -> str:
    """One request to the fault control; its answer as text. Raises JurymastError with the cure."""
    request = urllib.request.Request(  # noqa: S310 (the operator names the address; http only)
        control_url.rstrip("/") + path,
        method=method,
        data=json.dumps(body).encode() if body is not None else None,
        headers={"content-type": "application/json"},
    )
    if request.type != "http":
        raise JurymastError(f"{control_url} is no http address")
    try:
        with urllib.request.urlopen(request, timeout=CALL_SECS) as reply:  # noqa: S310 (checked above)
            return str(reply.read().decode()).strip()
    except urllib.error.HTTPError as error:
        raise JurymastError(error.read().decode().strip()) from error
    except (urllib.error.URLError, TimeoutError) as error:
        raise JurymastError(
            f"no fault control answers at {control_url}: start `jurymast run`, `jurymast lab serve` or "
            "`jurymast exchange serve`, and name the address that it prints with --control"
        ) from error


def serve(seed: int, latency_scale: float, control_port: int) -> None:
    """Serve the emulators until interrupted."""
    asyncio.run(_serve(seed, latency_scale, control_port))


async def _serve(seed: int, latency_scale: float, control_port: int) -> None:
    from jurymast.exchange.paths import PricePath
    from jurymast.exchange.questions import load_bundle
    from jurymast.lab.emulators.fleet import EmulatorFleet
    from jurymast.lab.world import QuestionOracle

    oracle = QuestionOracle(load_bundle(), PricePath(seed))
    async with EmulatorFleet(
        oracle, seed=seed, latency_scale=latency_scale, control_port=control_port
    ) as fleet:
        click.echo("SIMULATED providers, on this machine only:")
        for name, url in fleet.base_urls.items():
            click.echo(f"  {name:<10} {url}   {', '.join(fleet.models[name])}")
        click.echo(f"  {'control':<10} {fleet.control_url}")
        await asyncio.Event().wait()
