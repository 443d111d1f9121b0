"""The real bot with the adapter copied in. Needs a checkout of it, which is not ours to hand on: set
JURYMAST_HOST to the checkout and JURYMAST_HOST_PYTHON to an interpreter with its packages and ours; skipped
without."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT

HOST, PYTHON = os.environ.get("JURYMAST_HOST", ""), os.environ.get("JURYMAST_HOST_PYTHON", sys.executable)
pytestmark = pytest.mark.skipif(not HOST, reason="JURYMAST_HOST names no checkout of the bot")
LAYER = ("tests/test_fallback_manager.py", "tests/test_intelligence_layer.py", "test_wired_integration.py")
"""The bot's own tests of its AI layer."""
SECS = 300.0


def its_tests(directory: Path) -> dict[str, str]:
    """Outcome of each of the bot's tests of the layer."""
    words = [PYTHON, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "-o", "log_cli=false", *LAYER]
    environ = os.environ | {
        "PYTHONPATH": str(ROOT / "src"),
        "XAI_API_KEY": "xai-test-key",
        "KALSHI_API_KEY": "k",
    }
    environ["OPENAI_API_KEY"] = "sk-test-key"
    done = subprocess.run(
        words, cwd=directory, env=environ, capture_output=True, text=True, timeout=SECS, check=False
    )
    return dict(
        reversed(pair) for pair in re.findall(r"^(PASSED|FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    )


def test_its_own_tests_of_the_layer_pass(tmp_path: Path) -> None:
    """Whatever passed in the untouched bot passes with ours in its place."""
    ignored = shutil.ignore_patterns(".git", "*.db", "*.db-*", "logs", "__pycache__")
    shutil.copytree(HOST, tmp_path / "before", ignore=ignored)
    shutil.copytree(HOST, tmp_path / "after", ignore=ignored)
    script = ROOT / "integrations" / "kalshi-ai-trading-bot" / "install.py"
    install = [sys.executable, str(script), str(tmp_path / "after"), "--full"]
    subprocess.run(install, check=True, capture_output=True)
    before, after = its_tests(tmp_path / "before"), its_tests(tmp_path / "after")
    passed = {name for name, outcome in before.items() if outcome == "PASSED"}
    assert passed
    assert {name: after.get(name) for name in passed} == dict.fromkeys(passed, "PASSED")


def test_its_trading_job_goes_on_without_xai() -> None:
    """xAI dead: four positions on real decisions of OpenAI, a status that says so, and every cent in the
    journal."""
    words = [
        "benchmarks/host_baseline.py",
        "--host",
        HOST,
        "--python",
        PYTHON,
        "--single",
        "--only",
        "xAI 500",
    ]
    done = subprocess.run(
        [sys.executable, *words, "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = json.loads(done.stdout)
    assert (row["positions"], row["decisions"]) == (4, 4)
    assert (row["mode"], row["healthy"], row["providers"]) == ("degraded", 1, 2)
    assert row["tracker_usd"] == pytest.approx(row["journal_usd"], abs=1e-9)
