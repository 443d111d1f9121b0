"""What systemd hears of a bot, over a real socket, and the unit that makes it listen."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jurymast.app.config import Config
from jurymast.app.settings import load_settings
from jurymast.app.systemd import Systemd
from jurymast.testing.loop import LoopClock, run_virtually

UNIT = Path(__file__).parents[2] / "deploy/systemd/jurymast.service"
QUIET_SECS = 30.0


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wire:
        wire.bind(str(path))
        wire.setblocking(False)
        yield wire


def heard(wire: socket.socket) -> list[str]:
    messages = []
    while True:
        try:
            messages.append(wire.recv(4_096).decode().partition("\n")[0])
        except BlockingIOError:
            return messages


def test_ready_at_work_and_stopping(tmp_path: Path) -> None:
    """Ready with the first cycle, fed while cycles end, silent when one hangs, and a word at the end."""

    async def story(wire: socket.socket) -> None:
        cycles = 0
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "60000000"}
        told = Systemd(LoopClock(), progress=lambda: cycles, quiet_secs=QUIET_SECS, environ=environ)
        task = asyncio.create_task(told.run())
        await asyncio.sleep(2.5)
        assert set(heard(wire)) == {"WATCHDOG=1"}, "not ready before a cycle has ended"
        cycles = 1
        await asyncio.sleep(1.0)
        assert "READY=1" in heard(wire)
        await asyncio.sleep(QUIET_SECS)
        heard(wire)
        await asyncio.sleep(QUIET_SECS)
        assert heard(wire) == [], "a cycle hangs"
        cycles = 2
        await asyncio.sleep(1.0)
        assert heard(wire) == ["WATCHDOG=1"]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert heard(wire) == ["STOPPING=1"]

    with listening(tmp_path / "notify") as wire:
        run_virtually(story(wire))


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
def test_nobody_listens(environ: dict[str, str]) -> None:
    """Without a socket it ends at once; with one that is gone it goes on, and nothing fails."""

    async def story() -> bool:
        task = asyncio.create_task(
            Systemd(LoopClock(), progress=lambda: 1, quiet_secs=QUIET_SECS, environ=environ).run()
        )
        await asyncio.sleep(5.0)
        done = task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return done

    assert run_virtually(story()) is not bool(environ)


def unit() -> dict[str, str]:
    return dict(
        line.split("=", 1) for line in UNIT.read_text().splitlines() if "=" in line and line[0] != "#"
    )


def test_the_unit_starts_a_command_of_ours() -> None:
    """Type, watchdog and stop are those that the bot knows; the command exists, with its options."""
    lines = unit()
    assert (lines["Type"], lines["KillSignal"]) == ("notify", "SIGINT")
    words = lines["ExecStart"].split()
    assert words[0].endswith("/jurymast")
    assert words[1::2] == ["run", "/etc/jurymast/bot.toml", "/var/lib/jurymast"]
    assert words[2::2] == ["--config", "--data-dir"]


def test_the_unit_leaves_the_watchdog_alive() -> None:
    """Killed with the bot it could take nothing back: tried, and orders rested on where no bot came again."""
    assert unit()["KillMode"] == "process"


def test_the_unit_outwaits_the_longest_cycle() -> None:
    """Start and stop wait for a cycle, at the longest that the defaults allow."""
    lines, longest = unit(), load_settings(Config, "", source="t", environ={}).cycle_secs_max
    assert int(lines["TimeoutStartSec"]) > longest
    assert int(lines["TimeoutStopSec"]) > longest


def test_the_unit_is_installed_as_the_page_says() -> None:
    """Its user, its program and its configuration are those that the commands of service.md make."""
    lines, page = unit(), (UNIT.parents[2] / "docs/operate/service.md").read_text()
    home, _, _ = lines["ExecStart"].partition("/.venv/")
    assert f"useradd --system --home-dir /var/lib/{lines['StateDirectory']} " in page
    assert f"cd {home}\n" in page
    assert f"install -m 640 -g {lines['Group']} bot.toml {lines['WorkingDirectory']}/" in page
    assert f"runuser -u {lines['User']} -- {home}/.venv/bin/jurymast " in page


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    """No option is misspelt or unknown."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/jurymast/.venv/bin/jurymast", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False
    )
    assert [line for line in done.stderr.splitlines() if "Unknown" in line or "Failed to parse" in line] == []
