"""Commands by Telegram beside a bot: a dead API changes nothing in trading, and processes that serve it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from bot_world import trade_of
from jurymast.app.clock import SystemClock
from jurymast.app.config import BotSection, Config, LabSection
from jurymast.app.control import ControlFile
from jurymast.app.settings import load_settings
from jurymast.app.telegram_api import reached
from jurymast.app.wiring import build
from jurymast.domain.errors import ConfigError
from jurymast.domain.events import (
    Event,
)
from jurymast.domain.provider import Secret
from jurymast.domain.status import TradingState
from jurymast.exchange.embedded.server.limits import UNLIMITED
from jurymast.faces.cli.main import cli
from jurymast.faces.telegram.serving import serving
from jurymast.testing.clock import FakeClock
from telegram_world import ANN, BOB, EVE, TOKEN, Telegram, config_of, telegram

WAIT_SECS = 60.0
OUTPUT_BYTES_MAX = 2**24
"""Of a process, unread: a bot whose output nobody takes stands still."""


async def traded(directory: Path, chat: Telegram | None, address: str) -> list[str]:
    """Eight cycles with all providers out in the middle, with a chat beside it or none."""
    clock, seen, base = FakeClock(), list[Event](), config_of(directory, address)
    config = replace(
        base,
        bot=BotSection(data_dir=str(directory), seed=3),
        exchange=replace(base.exchange, speed=240.0, tier=UNLIMITED),
        trading=replace(
            base.trading, concurrency=1
        ),  # who of several is answered first is the sockets' chance
        lab=LabSection(emulate=True, control_port=0, latency_scale=0.0),
    )
    async with build(config, clock=clock, watch=seen.append, ticking=False) as bot:
        async with beside(config, chat) as told:
            assert bot.fleet is not None
            for place in range(8):
                if place == 3:
                    await bot.fleet.set_fault("all", "503")
                if chat is not None:
                    for text in ("/status", "/positions", "/spend", "/why", "/halt"):
                        chat.says(text)
                        chat.says(text, user=EVE)
                await bot.cycle.run_once()
                clock.advance(30.0)
            if chat is not None:
                await chat.until(lambda: bool(chat.calls))
        assert TOKEN not in repr(told)
    return trade_of(seen)


@asynccontextmanager
async def beside(config: Config, chat: Telegram | None) -> AsyncIterator[list[str]]:
    told: list[str] = []
    if chat is None:
        yield told
        return
    async with serving(config, SystemClock(), told.append):
        yield told


@pytest.mark.parametrize("sick", ["", "hang", "drop", "garbage", "502", "429", "409", "401", "empty"])
async def test_no_chat_changes_anything_in_trading(tmp_path: Path, sick: str) -> None:
    """Hanging, failing, refusing, talking all the time: trading is the same to the micro-dollar."""
    async with telegram() as (api, address):
        api.sick = sick
        with_it = await traded(tmp_path / "with", api, address)
    without = await traded(tmp_path / "without", None, "http://127.0.0.1:1")
    assert with_it == without
    assert any(" buy " in line for line in with_it)


def written(directory: Path, address: str, enabled: bool = True, **more: str) -> Path:
    """A configuration of a bot with emulated providers that this Telegram bot steers."""
    rows = {"enabled": str(enabled).lower(), "token": '{ env = "CHAT_TOKEN" }', "users": f"[{ANN}, {BOB}]"}
    rows |= {"api": f'"{address}"', **more}
    path = directory / "bot.toml"
    lab = "[lab]\nemulate = true\ncontrol_port = 0\nlatency_scale = 0\n"
    path.write_text(
        f"[bot]\ncycle_secs = 0.2\n[web]\nport = 0\n{lab}[telegram]\n"
        + "\n".join(f"{key} = {value}" for key, value in rows.items())
    )
    return path


@asynccontextmanager
async def process(command: str, config: Path, *more: str) -> AsyncIterator[asyncio.subprocess.Process]:
    options = ["--config", str(config), "--data-dir", str(config.parent / "data"), *more]
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "jurymast", command, *options,
        env={**os.environ, "CHAT_TOKEN": TOKEN},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=OUTPUT_BYTES_MAX,
    )  # fmt: skip
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.communicate()


async def ended(running: asyncio.subprocess.Process) -> str:
    """Everything it said, once it has ended in order."""
    running.send_signal(signal.SIGTERM)
    async with asyncio.timeout(WAIT_SECS):
        out, err = await running.communicate()
    assert running.returncode == 0, err.decode()
    return out.decode() + err.decode()


async def test_a_running_bot_is_halted_from_a_phone(tmp_path: Path) -> None:
    """`run` serves the chat when it is enabled: a confirmed halt is obeyed, proven, and in the status."""
    async with telegram() as (api, address):
        path = written(tmp_path, address)
        async with process("run", path, "--no-weather") as running:
            assert running.stdout is not None
            async with asyncio.timeout(WAIT_SECS):
                while b" cycle 1 " not in await running.stdout.readline():
                    pass
            api.says("/halt enough")
            api.presses(await api.told(1))
            assert "no order rests any more" in (await api.told(3))["text"]
            api.says("/status")
            status = (await api.told(4))["text"]
            assert "running (pid" in status
            assert "halt latch   SET" in status
            said = await ended(running)
    assert "@JuryBot obeys 2 users" in said
    assert "telegram:" in said
    assert TOKEN not in said


async def test_alone_it_serves_a_dead_bot(tmp_path: Path) -> None:
    """`telegram` needs no bot: it says that there is none, and what is demanded waits for its start."""
    async with telegram() as (api, address):
        path = written(tmp_path, address, enabled=False)
        async with process("telegram", path) as running:
            api.says("/status")
            assert "status can't be told" in (await api.told(1))["text"]
            api.says("/pause")
            api.presses(await api.told(2))
            assert "DONE. PAUSE" in (await api.told(3))["text"]
            said = await ended(running)
    assert ControlFile(tmp_path / "data", FakeClock()).demands().floor is TradingState.REDUCING
    assert TOKEN not in said


async def test_a_bot_without_its_token_runs_on(tmp_path: Path) -> None:
    """The variable is not set: the bot says so and trades; alone there is nothing to serve."""
    path = written(tmp_path, "http://127.0.0.1:1", token='{ env = "NOT_SET_ANYWHERE" }')
    async with process("run", path, "--no-weather", "--cycles", "1") as running:
        async with asyncio.timeout(WAIT_SECS):
            out, err = await running.communicate()
        assert running.returncode == 0, err.decode()
        assert "telegram:   NONE: it has no token" in out.decode()
    async with process("telegram", path) as running:
        async with asyncio.timeout(WAIT_SECS):
            _, err = await running.communicate()
        assert running.returncode == 2
        assert "it has no token" in err.decode()


async def test_the_doctor_says_who_the_bot_is_or_what_to_do(tmp_path: Path) -> None:
    """Its name when it is reached, the cure when it is refused, a warning when nobody answers."""
    async with telegram() as (api, address):
        section = config_of(tmp_path, address).telegram
        (row,) = await reached(section)
        assert (row.health, row.finding) == ("ok", "@JuryBot obeys 2 users")
        (row,) = await reached(replace(section, token=Secret("4711:another-token")))
        assert (row.health, "new one from @BotFather" in row.finding) == ("fail", True)
        (row,) = await reached(replace(section, token=Secret()))
        assert (row.health, "no token" in row.finding) == ("fail", True)
        api.sick = "drop"
        (row,) = await reached(section)
        assert row.health == "warn"
        assert await reached(replace(section, enabled=False)) == []
        assert TOKEN not in json.dumps([row.finding, row.cure])


async def test_the_doctor_and_the_check_know_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor has a row when it is enabled; `config check` says what is missing."""
    async with telegram() as (_, address):
        path = written(tmp_path, address)
        arguments = ["doctor", "--config", str(path), "--data-dir", str(tmp_path / "data")]
        monkeypatch.setenv("CHAT_TOKEN", TOKEN)
        done = await asyncio.to_thread(CliRunner().invoke, cli, arguments)
        assert "ok    telegram @JuryBot obeys 2 users" in done.output
        monkeypatch.setenv("CHAT_TOKEN", "")
        done = await asyncio.to_thread(CliRunner().invoke, cli, arguments)
        assert "fail  telegram it has no token" in done.output
        assert done.exit_code == 1
        done = await asyncio.to_thread(CliRunner().invoke, cli, ["config", "check", str(path)])
        assert "it has no token" in done.output


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ("enabled = true", "users is empty, so nobody could command: write users = "),
        ("users = [-1001]", "ids of people"),
        (f"users = {list(range(1, 30))}", "more than 20 users"),
        ('users = ["ann"]', "should be a whole number"),
        ('token = "4711:in-the-file"', "a secret does not belong in this file"),
        ('api = "http://bots.example.org"', "plain http"),
        ('api = "https://user:word@bots.example.org"', "no user"),
        ('api = "ftp://127.0.0.1"', "is an address"),
        ('api = "http://127.0.0.1:none"', "is no address"),
        ("poll_secs = 51", "out of bounds"),
    ],
)
def test_settings_that_a_start_refuses(rows: str, why: str) -> None:
    """Each mistake with its cure, and without the secret."""
    with pytest.raises(ConfigError) as refused:
        load_settings(Config, f"[telegram]\n{rows}\n", source="bot.toml", environ={})
    assert why in str(refused.value)
    assert "in-the-file" not in str(refused.value)


def test_settings_from_the_environment() -> None:
    """The token and the users need not stand in any file."""
    environ = {"JURYMAST_TELEGRAM__TOKEN": TOKEN, "JURYMAST_TELEGRAM__USERS": "101,102"}
    section = load_settings(Config, "", source="bot.toml", environ=environ).telegram
    assert (section.users, section.missing) == ((ANN, BOB), "")
    assert TOKEN not in repr(section)
