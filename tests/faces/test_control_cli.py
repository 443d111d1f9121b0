"""Manual control as a person uses it: real processes; a running bot, a dead one, a broken database."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jurymast.domain.events import DemandsChanged, EntriesWithdrawn, OrderIntended
from jurymast.journal.queries import JournalReader

FAST = {
    "JURYMAST_LAB__LATENCY_SCALE": "0",
    "JURYMAST_LAB__CONTROL_PORT": "0",
    "JURYMAST_LAB__WEATHER": "false",
    "JURYMAST_BOT__CYCLE_SECS": "0.5",
    "JURYMAST_TRADING__ASK_AGAIN_SECS": "1",
}
WAIT_SECS = 30.0


def jurymast(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jurymast", *arguments],
        env={**os.environ, **FAST},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def start(data_dir: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "jurymast", "run", "--json", "--data-dir", str(data_dir)]
    process = subprocess.Popen(command, env={**os.environ, **FAST}, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline(), "the first cycle"
    return process


def cycle(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    return dict(json.loads(process.stdout.readline()))


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = start(tmp_path)
    yield process
    if process.poll() is None:
        process.kill()
        process.communicate()


def until_told(data_dir: Path, words: str) -> None:
    """Wait until the journal says that the bot has taken a demand over."""
    give_up = time.monotonic() + WAIT_SECS
    while time.monotonic() < give_up:
        with JournalReader(data_dir / "journal.db") as journal:
            last = journal.last(DemandsChanged)
        if last is not None and any(words in each for each in last.demands):
            return
        time.sleep(0.05)
    raise AssertionError(f"the bot has not taken over {words!r}")


class TestARunningBot:
    def test_a_halt_comes_back_with_the_proof(self, tmp_path: Path, bot: subprocess.Popen[str]) -> None:
        """halt says how many orders were taken back and that this was proven; no order follows."""
        done = jurymast("halt", "--reason", "enough", "--data-dir", str(tmp_path))
        assert done.returncode == 0, done.stderr
        assert "no order rests any more" in done.stdout
        with JournalReader(tmp_path / "journal.db") as journal:
            told = journal.last(EntriesWithdrawn)
            sent = journal.count(OrderIntended)
        assert told is not None
        assert told.everything
        while cycle(bot)["state"] != "halted":
            pass
        cycle(bot)
        with JournalReader(tmp_path / "journal.db") as journal:
            assert journal.count(OrderIntended) == sent
        facts = json.loads(jurymast("status", "--json", "--data-dir", str(tmp_path)).stdout)
        assert facts["halted"] is True
        assert "enough" in facts["by_hand"][0]

    def test_demands_outlive_the_bot(self, tmp_path: Path, bot: subprocess.Popen[str]) -> None:
        """Paused, killed and started again it is still paused; resumed, it trades."""
        assert jurymast("pause", "--data-dir", str(tmp_path)).returncode == 0
        until_told(tmp_path, "PAUSED")
        bot.send_signal(signal.SIGKILL)
        bot.communicate()
        again = start(tmp_path)
        try:
            assert [cycle(again)["state"] for _ in range(2)] == ["reducing"] * 2
            done = jurymast("resume", "--reason", "calm again", "--data-dir", str(tmp_path))
            assert "PAUSED" in done.stdout
            while cycle(again)["state"] != "active":
                pass
        finally:
            again.kill()
            again.communicate()

    def test_a_mode_by_hand_reaches_the_bot(self, tmp_path: Path, bot: subprocess.Popen[str]) -> None:
        """A demanded mode is the bot's mode, and status counts its time down."""
        jurymast("mode", "minimal", "--for", "30m", "--data-dir", str(tmp_path))
        until_told(tmp_path, "MINIMAL")
        while cycle(bot)["mode"] != "minimal":
            pass
        told = jurymast("status", "--data-dir", str(tmp_path)).stdout
        assert "mode MINIMAL or safer" in told
        assert "s left" in told

    def test_a_flattening_shows_and_then_sells(self, tmp_path: Path, bot: subprocess.Popen[str]) -> None:
        """Without --yes only a preview; with it the running bot sells and stays paused."""
        while not cycle(bot)["open_positions"]:
            pass
        shown = json.loads(jurymast("flatten", "--json", "--data-dir", str(tmp_path)).stdout)
        assert shown["confirmed"] is False
        assert shown["sales"]
        done = jurymast("flatten", "--yes", "--data-dir", str(tmp_path))
        assert done.returncode == 0, done.stderr
        assert "or better" in done.stdout
        last = cycle(bot)
        for _ in range(60):
            if last["state"] == "reducing" and not last["open_positions"]:
                break
            last = cycle(bot)
        assert (last["state"], last["open_positions"]) == ("reducing", 0)


class TestWithoutABot:
    def test_everything_works_on_a_broken_database(self, tmp_path: Path) -> None:
        """With a journal that is none, demands are kept, shown and taken back all the same."""
        (tmp_path / "journal.db").write_bytes(b"no database at all" * 100)
        for command in (["halt"], ["mode", "suspended"], ["isolate", "xai"]):
            done = jurymast(*command, "--data-dir", str(tmp_path))
            assert done.returncode == 0, done.stderr
        told = jurymast("status", "--data-dir", str(tmp_path))
        assert told.returncode == 0
        for words in ("HALTED", "SUSPENDED", "xai isolated", "journal"):
            assert words in told.stdout
        assert jurymast("resume", "--reason", "mended", "--data-dir", str(tmp_path)).returncode == 0
        assert "HALTED" not in jurymast("status", "--data-dir", str(tmp_path)).stdout

    def test_riskier_is_refused_without_its_words(self, tmp_path: Path) -> None:
        """Less than a halt needs a reason, an override an end within the hour, resume always a reason."""
        where = ("--data-dir", str(tmp_path))
        jurymast("halt", *where)
        jurymast("mode", "suspended", *where)
        for command in (
            ["pause"],
            ["mode", "normal"],
            ["mode", "normal", "--override", "--reason", "x"],
            ["mode", "normal", "--override", "--for", "5m"],
            ["mode", "normal", "--override", "--reason", "x", "--for", "61m"],
            ["resume"],
            ["flatten", "--yes"],
        ):
            done = jurymast(*command, *where)
            assert done.returncode == 2, command
        assert (tmp_path / "HALT").exists()
        assert jurymast("pause", "--reason", "seen to", *where).returncode == 0
        assert not (tmp_path / "HALT").exists()
        assert "PAUSED" in jurymast("status", *where).stdout

    def test_a_flattening_without_a_bot_is_done_here(self, tmp_path: Path) -> None:
        """With no bot running flatten opens the exchange itself, sells, and leaves a pause behind."""
        process = start(tmp_path)
        while not cycle(process)["open_positions"]:
            pass
        process.send_signal(signal.SIGKILL)
        process.communicate()
        done = jurymast("flatten", "--yes", "--data-dir", str(tmp_path))
        assert done.returncode == 0, done.stderr
        assert "sell " in done.stdout
        again = jurymast("flatten", "--data-dir", str(tmp_path))
        assert "sell " not in again.stdout
        assert "PAUSED" in jurymast("status", "--data-dir", str(tmp_path)).stdout
