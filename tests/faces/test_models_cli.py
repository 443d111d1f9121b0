"""`jurymast models` and what `status` says of models: real processes, real sockets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FAST = {
    "JURYMAST_LAB__LATENCY_SCALE": "0",
    "JURYMAST_LAB__CONTROL_PORT": "0",
    "JURYMAST_BOT__CYCLE_SECS": "0.1",
}
OLD = """
[lab]
emulate = true
[providers.xai]
models = ["grok-4"]
[providers.openai]
models = ["gpt-6.1-sol", "gpt-6-luna"]
[prices."gpt-6-luna"]
input_usd = 0.25
cache_write_usd = 0.3
retires_on = "2020-01-01"
"""


def jurymast(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jurymast", *arguments],
        env={**os.environ, **FAST},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def rows(*arguments: str) -> dict[str, Any]:
    done = jurymast("models", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["simulated"] is True
    return {row["model"]: row for row in told["models"]}


@pytest.fixture(scope="module")
def old_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("config") / "bot.toml"
    file.write_text(OLD)
    return file


def test_models_are_shown_before_any_run(tmp_path: Path, old_config: Path) -> None:
    """From the configuration and the price table alone: ids, roles, prices, ends, old names."""
    found = rows("--config", str(old_config), "--data-dir", str(tmp_path))
    assert list(found) == ["grok-4.3", "gpt-6.1-sol", "gpt-6-luna", "claude-sonnet-5-5", "llama3.1:8b"]
    assert "grok-4 was retired" in found["grok-4.3"]["alias"]
    assert [row["role"] for row in found.values()] == ["strong", "strong", "fast", "strong", "local"]
    assert found["gpt-6-luna"]["usd_per_million"]["input"] == 0.25
    assert found["gpt-6-luna"]["usd_per_million"]["source"] == "operator"
    assert found["gpt-6-luna"]["ends_in_days"] < 0
    assert found["grok-4.3"]["usd_per_million"]["long"] == {
        "above_tokens": 199_999,
        "input": 2.5,
        "output": 5.0,
    }
    assert found["llama3.1:8b"]["usd_per_million"] is None
    assert {row["listed"] for row in found.values()} == {None}


def test_check_asks_the_lists_now(tmp_path: Path, old_config: Path) -> None:
    """With --check every vendor is asked, over its real wire."""
    arguments = ("--config", str(old_config), "--data-dir", str(tmp_path), "--check")
    assert {row["listed"] for row in rows(*arguments).values()} == {True}
    text = jurymast("models", *arguments).stdout
    assert text.startswith("SIMULATED")
    assert "gpt-6-luna" in text
    assert "ends on 2020-01-01" in text
    assert "NOT LISTED" not in text


def test_a_run_leaves_what_it_was_told(tmp_path: Path, old_config: Path) -> None:
    """The bot asks at its start; models, status and doctor know it afterwards."""
    place = ("--config", str(old_config), "--data-dir", str(tmp_path))
    done = jurymast("run", "--cycles", "3", *place)
    assert done.returncode == 0, done.stderr
    found = rows(*place)
    assert {row["listed"] for row in found.values()} == {True}
    news = json.loads(jurymast("status", "--json", "--data-dir", str(tmp_path)).stdout)["models"]
    assert any("grok-4.3 is used instead" in line for line in news)
    assert any("was to end on 2020-01-01" in line for line in news)
    doctor = jurymast("doctor", *place)
    assert doctor.returncode == 1, "a model past its end is a failed check"
    assert "gpt-6-luna ends on 2020-01-01" in doctor.stdout
