"""Settings that change while the bot runs: what is taken over, what waits, and what is refused."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from jurymast.app.config import Config
from jurymast.app.reload import Reloader, SettingsFile, changes, merged, tunable
from jurymast.app.settings import describe, load_settings
from jurymast.app.wiring import Bot, build
from jurymast.domain.errors import ConfigError
from jurymast.domain.events import SettingsReloaded
from jurymast.domain.money import USD
from jurymast.journal.queries import JournalReader
from jurymast.policy.alert_signals import AlertKind, of
from jurymast.policy.ledger import Payer
from jurymast.testing.clock import FakeClock

BEFORE = """
[bot]
seed = 3
[exchange]
speed = 240.0
[lab]
emulate = true
control_port = 0
latency_scale = 0.0
[budget.caps.old]
limit_usd = 3.0
"""
AFTER = """
[bot]
seed = 3
cycle_secs = 7.0
[exchange]
speed = 240.0
cash_usd = 5
[watchdog]
silence_secs = 60.0
[trading]
decisions_per_cycle = 2
ask_again_secs = 77.0
days_to_close_max = 5.0
orders_per_minute_max = 11
[failover]
budget_usd_per_day = 1.0
sends_max = 2
open_secs = 9.0
shadow_secs = 0.0
[ladder]
thin_secs = 3.0
[budget.caps.new]
limit_usd = 0.5
scope = "provider"
of = "xai"
[alerts]
open_secs = 5.0
enabled = false
[alerts.contacts.me]
command = "true"
[quality]
look_secs = 9.0
[lab]
emulate = true
control_port = 0
latency_scale = 0.0
[providers.xai]
priority = 9
"""


def read(text: str) -> Config:
    return load_settings(Config, text, source="bot.toml", environ={})


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[tuple[Bot, Path, Reloader, list[int]]]:
    """A bot that runs with BEFORE, its file, and how often its keepers were told."""
    file = directory / "bot.toml"
    file.write_text(BEFORE)

    def load() -> Config:
        config = read(file.read_text())
        return replace(config, bot=replace(config.bot, data_dir=str(directory / "data")))

    told: list[int] = []
    async with build(load(), clock=FakeClock(), ticking=False) as bot:
        yield bot, file, Reloader(bot, SettingsFile(file, load), lambda: told.append(1)), told


def test_what_is_declared_tunable_is_what_is_taken_over() -> None:
    """Setting by setting: the new value where it is declared, the old one everywhere else."""
    old, new = read(BEFORE), read(AFTER)
    before, after = ({row.path: row.value for row in describe(each)} for each in (old, new))
    in_force = {row.path: row.value for row in describe(merged(old, new))}
    differing = [path for path, _ in changes(old, new)]
    sections = {path.split(".")[0] for path in differing}
    assert sections >= {"bot", "exchange", "watchdog", "trading", "failover", "ladder"}
    assert sections >= {"budget", "alerts", "providers"}
    for path in differing:
        expected = after if tunable(path) else before
        assert in_force.get(path) == expected.get(path), path
    assert merged(old, old) == old
    assert list(changes(old, old)) == []


async def test_the_running_bot_goes_by_the_new_settings(tmp_path: Path) -> None:
    """Cycle, failover, modes, money, heartbeat: at once, and told with both values; the rest waits."""
    async with running(tmp_path) as (bot, file, reloader, told):
        file.write_text(AFTER)
        event = reloader.take_over()
        assert event.refused == ""
        assert "trading.decisions_per_cycle: 4 -> 2" in event.applied
        assert "budget.caps.old.limit_usd: 3.0 -> (absent)" in event.applied
        assert "exchange.cash_usd: 10000 -> 5" in event.waiting
        assert "providers.xai.priority: 1 -> 9" in event.waiting
        assert not [text for text in event.waiting if tunable(text.partition(":")[0])]
        assert (bot.config.bot.cycle_secs, bot.config.exchange.cash_usd) == (7.0, 10_000)
        assert (bot.cycle.settings.decisions_max, bot.cycle.settings.ask_again_secs) == (2, 77.0)
        assert bot.cycle.settings.risk.orders_per_minute_max == 11
        core = bot.fallback.core
        assert (core.settings.work.sends_max, core.health.settings.open_secs) == (2, 9.0)
        assert (core.settings.ladder.thin_secs, bot.fallback.settings.shadow_secs) == (3.0, 0.0)
        assert bot.heart.quiet_secs == bot.config.cycle_secs_max
        assert told == [1]


async def test_money_is_limited_by_the_new_caps(tmp_path: Path) -> None:
    """What was spent counts as before; a cap that went limits nothing, one that came does."""
    async with running(tmp_path) as (bot, file, reloader, _):
        purse = bot.fallback.providers.purse
        hold = await purse.reserve(Payer("xai", "grok-4.3"), 400_000)
        purse.settle(hold, 400_000)
        file.write_text(AFTER)
        reloader.take_over()
        async with asyncio.timeout(5.0):
            while purse.day.limit != USD or purse.day.spent != 400_000:
                purse.books.accounts()
                await asyncio.sleep(0.02)
        assert not purse.affords(Payer("xai", "grok-4.3"), 100_001), "0.5 a day for xai"
        assert purse.affords(Payer("openai", "gpt"), 600_000)
        assert not purse.affords(Payer("openai", "gpt"), 600_001)
        assert {account.cap.limit for account in purse.books.accounts()} == {USD, USD // 2}


async def test_a_bad_file_changes_nothing(tmp_path: Path) -> None:
    """Nor does one that is gone, is no TOML, or is half written; people are told, and told of its end."""
    async with running(tmp_path) as (bot, file, reloader, told):
        config = bot.config
        for text in ("[failover]\nsends_max = 0\n", "[trading", "[unknown]\n", "\x00"):
            file.write_text(text)
            event = reloader.take_over()
            assert event.refused
            assert "nothing was started" not in event.refused
            assert (event.applied, event.waiting) == ((), ())
            (signal_,) = of(event)
            assert (signal_.kind, signal_.holds) == (AlertKind.SETTINGS, True)
        file.unlink()
        refused = replace_load(reloader)
        assert refused.refused
        assert bot.config is config
        assert told == []
        file.write_text(BEFORE)
        (signal_,) = of(reloader.take_over())
        assert signal_.holds is False


def replace_load(reloader: Reloader) -> SettingsReloaded:
    """As the program reads: a file that is gone is a ConfigError."""
    inner = reloader._file.load

    def load() -> Config:
        try:
            return inner()
        except OSError as error:
            raise ConfigError(str(error)) from error

    reloader._file.load = load
    return reloader.take_over()


def test_a_file_is_read_again_only_when_it_has_changed(tmp_path: Path) -> None:
    """By time, size or being another file, as editors that write a new one make it."""
    path = tmp_path / "bot.toml"
    path.write_text("a = 1")
    file = SettingsFile(path, Config)
    assert not file.changed()
    (tmp_path / "new").write_text("a = 2")
    (tmp_path / "new").replace(path)
    assert file.changed()
    assert not file.changed()
    path.unlink()
    assert file.changed()
    assert not file.changed()


def test_from_outside(tmp_path: Path) -> None:
    """A running process takes a change over within seconds, refuses a mistake, and goes on trading."""
    config, data = tmp_path / "bot.toml", tmp_path / "data"
    text = BEFORE + "[web]\nenabled = false\n[trading]\ndecisions_per_cycle = 1\n"
    config.write_text(text.replace("seed = 3", "seed = 3\ncycle_secs = 0.2"))

    def reloads() -> list[SettingsReloaded]:
        with JournalReader(data / "journal.db") as journal:
            rows = journal.events([SettingsReloaded])
            return [row.event for row in rows if isinstance(row.event, SettingsReloaded)]

    options = ("--config", str(config), "--data-dir", str(data), "--no-weather")
    with subprocess.Popen(
        [sys.executable, "-m", "jurymast", "run", *options], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if "cycle" in line:
                    break
            for number, changed in enumerate(
                (text.replace("decisions_per_cycle = 1", "decisions_per_cycle = 2"), "[trading"), start=1
            ):
                config.write_text(changed)
                until = time.monotonic() + 30.0
                while len(reloads()) < number and time.monotonic() < until:
                    time.sleep(0.2)
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
    good, bad = reloads()
    assert "trading.decisions_per_cycle: 1 -> 2" in good.applied
    assert "is no valid TOML" in bad.refused
    assert process.returncode == 0
