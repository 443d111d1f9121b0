"""The terminal view: what it shows, which keys it obeys, and that it changes nothing unless told to."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import re
import select
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from bot_world import bot, present, says
from jurymast.app.clock import SystemClock
from jurymast.app.control import ControlFile
from jurymast.domain.status import EmergencyMode
from jurymast.faces.watch.watching import Watching, watch

WAIT_SECS = 30.0


def shown(watching: Watching, width: int = 120, height: int = 40) -> str:
    out = io.StringIO()
    Console(file=out, width=width, height=height).print(watching.screen())
    return out.getvalue()


def typed(watching: Watching, text: str) -> None:
    for key in text:
        watching.key(key)


async def test_it_shows_who_is_out_and_who_answers(tmp_path: Path) -> None:
    """The sentence, the countdown, the money and what happened, on a wide and on a narrow terminal."""
    async with bot(tmp_path):
        for width in (80, 140):
            screen = shown(Watching(tmp_path, may_control=False), width)
            for part in ("Out: xai. openai answers", "next look in 12 s", "SIMULATED", "unhealthy", "equity"):
                assert part in screen, (width, part)
            assert all(len(line) <= width for line in screen.splitlines())


async def test_a_screen_is_no_longer_than_the_terminal(tmp_path: Path) -> None:
    """What does not fit is left out, from the end."""
    async with bot(tmp_path):
        for height in (24, 40):
            assert len(shown(Watching(tmp_path, may_control=False), 120, height).splitlines()) <= height


async def test_keys(tmp_path: Path) -> None:
    """Spans, the filter, why, help, and the way back from each; nonsense does nothing."""
    async with bot(tmp_path):
        watching = Watching(tmp_path, may_control=False)
        watching.key("2")
        assert watching.span == "7d"
        typed(watching, ":90d\n")
        assert watching.span == "90d"
        typed(watching, "/no such line\n")
        assert "FB-1" not in shown(watching, 80)
        typed(watching, "/\n")
        typed(watching, ":why FB-1\n")
        assert "FB-1: not traded" in shown(watching)
        watching.key("x")
        assert "Out: xai" in shown(watching)
        typed(watching, ":why <nobody>\n")
        assert "the journal has nothing about <nobody>" in shown(watching)
        typed(watching, "x?")
        assert "the bot runs on" in shown(watching)
        typed(watching, "x\x1b[A:dance\n")
        assert "there is no command dance" in shown(watching)
        typed(watching, ":ab\x7f\x7f\x7f")
        typed(watching, "q")
        assert watching.over


async def test_it_controls_only_when_started_to_and_asks_once_more(tmp_path: Path) -> None:
    """Without --control nothing; with it a yes; with a no nothing."""
    control = ControlFile(tmp_path, SystemClock())
    async with bot(tmp_path):
        reader, master = Watching(tmp_path, may_control=False), Watching(tmp_path, may_control=True)
        typed(reader, ":halt smoke\ny")
        assert not control.halt_path.exists()
        assert "read-only" in shown(reader)
        typed(master, ":halt smoke\nn")
        assert not control.halt_path.exists()
        typed(master, ":halt smoke\ny")
        assert control.halt_path.read_text() == "smoke\n"
        assert "TRADING HALTED" in shown(master)
        typed(master, ":resume\ny")
        assert "it needs a reason" in shown(master)
        typed(master, ":resume seen to\ny")
        assert not control.halt_path.exists()


async def test_modes_and_silence_stand_out(tmp_path: Path) -> None:
    """A mode has its reason, a bot that says nothing is said to be silent."""
    async with bot(tmp_path):
        says(tmp_path, present(EmergencyMode.MINIMAL))
        assert "one provider is left" in shown(Watching(tmp_path, may_control=False))
        says(tmp_path, replace(present(), at=datetime.now(UTC) - timedelta(minutes=5)))
        assert "SILENT" in shown(Watching(tmp_path, may_control=False))


def test_without_a_terminal_one_look_is_printed(tmp_path: Path) -> None:
    """A pipe gets the screen once, without a journal too."""
    out = io.StringIO()
    watch(tmp_path, Console(file=out, width=100, height=30), may_control=False)
    assert "The bot is not running." in out.getvalue()


async def test_in_a_real_terminal(tmp_path: Path) -> None:
    """It draws, obeys, leaves at q, and leaves the terminal as it was."""
    async with bot(tmp_path):
        seen = await asyncio.to_thread(_played, tmp_path)
        assert "\x1b[?1049h" in seen, "the screen of before comes back"


def _played(directory: Path) -> str:
    """A visit: a look, a question, the way out; all that came to the terminal."""
    master, slave = pty.openpty()
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    process = subprocess.Popen(
        [sys.executable, "-m", "jurymast", "watch", "--data-dir", str(directory)],
        stdin=slave, stdout=slave, stderr=slave, env=environ,
    )  # fmt: skip
    os.close(slave)
    try:
        seen = _until(master, "openai answers")
        os.write(master, b":why FB-1\n")
        seen += _until(master, "not traded")
        os.write(master, b"xq")
        assert process.wait(WAIT_SECS) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)
    return seen


def _until(terminal: int, text: str) -> str:
    seen, until = "", time.monotonic() + WAIT_SECS
    while text not in re.sub(r"\x1b\[[0-9;]*m", "", seen):
        ready, _, _ = select.select([terminal], [], [], max(until - time.monotonic(), 0))
        if not ready:
            pytest.fail(f"{text!r} did not come: {seen[-2_000:]}")
        seen += os.read(terminal, 65_536).decode(errors="replace")
    return seen
