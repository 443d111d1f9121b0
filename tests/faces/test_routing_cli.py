"""`jurymast why` and `models` explain the order in which routes are asked: real processes, real sockets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def jurymast(*arguments: str, by: str) -> str:
    environ = {
        "JURYMAST_LAB__EMULATE": "true",
        "JURYMAST_LAB__LATENCY_SCALE": "0",
        "JURYMAST_LAB__CONTROL_PORT": "0",
        "JURYMAST_LAB__WEATHER": "false",
        "JURYMAST_BOT__CYCLE_SECS": "0.1",
        "JURYMAST_WEB__ENABLED": "false",
        "JURYMAST_ROUTING__BY": by,
    }
    done = subprocess.run(
        [sys.executable, "-m", "jurymast", *arguments],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("by", "first", "reason"),
    [("priority", "xai", "priority 1"), ("value", "anthropic", "growth"), ("learned", "anthropic", "growth")],
)
def test_the_order_is_explained(tmp_path: Path, by: str, first: str, reason: str) -> None:
    """By priority xai, by value the only strong model: `why` and `models` say who and the terms."""
    here = ("--data-dir", str(tmp_path))
    config = tmp_path / "bot.toml"
    config.write_text("[lab]\nemulate = true\n")
    jurymast("run", "--config", str(config), *here, "--cycles", "1", by=by)
    order: dict[str, Any] = json.loads(jurymast("why", "--last", "--json", *here, by=by))["order"]
    assert order["by"] == by
    assert order["routes"][0]["route"].startswith(first)
    assert reason in order["routes"][0]["reason"]
    assert order["routes"][-1]["route"].startswith("local")
    assert f"asked by {by}" in jurymast("why", "--last", *here, by=by)
    rows = json.loads(jurymast("models", "--json", "--config", str(config), *here, by=by))["models"]
    places = {row["provider"]: row["place"] for row in rows}
    assert places[first] == 1
    assert sorted(places.values()) == [1, 2, 3, 4]
    assert reason in jurymast("models", "--config", str(config), *here, by=by)
