"""A whole bot put together and taken apart: real parts, nothing left over, the mode kept."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from jurymast.app.config import BotSection, Config, LabSection
from jurymast.app.models_config import ProvidersSection
from jurymast.app.wiring import Bot, build, provider_configs
from jurymast.domain.errors import ConfigError, ExchangeUnavailable, JournalLocked, JournalUnwritable
from jurymast.domain.events import CycleFinished, DecisionMade, Event, FaultInjected
from jurymast.domain.provider import ProviderName, Secret
from jurymast.domain.status import EmergencyMode, TradingState
from jurymast.journal.queries import JournalReader
from jurymast.lab.rig import EMULATED_KEY
from jurymast.testing.clock import FakeClock

START = Config().exchange.start
REAL_KEY = Secret("sk-real")


def config_in(directory: Path, **sections: Any) -> Config:
    """Emulated providers without latency, on free ports, and money enough."""
    base = Config()
    return replace(
        base,
        bot=BotSection(data_dir=str(directory / "data")),
        lab=LabSection(emulate=True, control_port=0, latency_scale=0.0),
        failover=replace(base.failover, budget_usd_per_day=100.0),
        **sections,
    )


def with_key(*names: str) -> ProvidersSection:
    """The real addresses, with a key for some."""
    base = ProvidersSection()
    return replace(base, **{name: replace(getattr(base, name), api_key=REAL_KEY) for name in names})


@asynccontextmanager
async def running(config: Config, **parts: Any) -> AsyncIterator[Bot]:
    async with build(config, clock=parts.pop("clock", None) or FakeClock(START), **parts) as bot:
        yield bot


async def cycles(bot: Bot, how_many: int) -> list[CycleFinished]:
    rows = []
    for _ in range(how_many):
        rows.append(await bot.cycle.run_once())
        assert isinstance(bot.clock, FakeClock)
        bot.clock.advance(30.0)
    return rows


def open_ports(urls: list[str]) -> list[int]:
    """Which of these addresses somebody still listens at."""
    listening = []
    for url in urls:
        with socket.socket() as client:
            client.settimeout(1.0)
            if client.connect_ex((urlsplit(url).hostname or "", urlsplit(url).port or 0)) == 0:
                listening.append(urlsplit(url).port or 0)
    return listening


def open_sockets() -> int:
    """Sockets that this process holds, counted by the system."""
    held = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            held += descriptor.readlink().as_posix().startswith("socket:")
    return held


class TestBuild:
    async def test_it_trades_in_an_empty_directory(self, tmp_path: Path) -> None:
        """A bot built where nothing was runs its cycles, asks its providers and records every step."""
        seen: list[Event] = []
        async with running(config_in(tmp_path), watch=seen.append) as bot:
            rows = await cycles(bot, 3)
        assert {row.state for row in rows} == {TradingState.ACTIVE}
        assert sum(row.decided for row in rows) > 0
        assert rows[0].scanned > 100
        with JournalReader(tmp_path / "data" / "journal.db", strict=True) as journal:
            assert journal.count(CycleFinished) == 3
            assert journal.count(DecisionMade) == sum(row.decided for row in rows)
            assert journal.count(DecisionMade) == sum(isinstance(e, DecisionMade) for e in seen)

    async def test_taken_apart_nothing_is_left(self, tmp_path: Path) -> None:
        """After the last cycle no task runs, no port listens and the files are free for the next bot."""
        config, before, sockets = config_in(tmp_path), asyncio.all_tasks(), open_sockets()
        async with running(config) as bot:
            await cycles(bot, 1)
            assert open_sockets() > sockets
            assert bot.fleet is not None
            assert bot.venue.server is not None
            urls = [*bot.fleet.base_urls.values(), bot.fleet.control_url, bot.venue.server.rest_url]
            assert len(open_ports(urls)) == len(ProviderName) + 2
        assert asyncio.all_tasks() == before
        assert open_ports(urls) == []
        assert open_sockets() == sockets
        with pytest.raises(ExchangeUnavailable, match="closed"):
            await bot.exchange.get_balance()
        async with running(config) as next_bot:
            await cycles(next_bot, 1)

    async def test_an_error_inside_closes_everything_too(self, tmp_path: Path) -> None:
        """An exception in the middle of a run leaves as little behind as its end."""
        config, before, sockets = config_in(tmp_path), asyncio.all_tasks(), open_sockets()

        async def stumble() -> None:
            async with running(config) as bot:
                await cycles(bot, 1)
                raise RuntimeError("in the middle")

        with pytest.raises(RuntimeError, match="in the middle"):
            await stumble()
        assert asyncio.all_tasks() == before
        assert open_sockets() == sockets
        async with running(config):
            pass

    async def test_a_second_bot_is_kept_out(self, tmp_path: Path) -> None:
        """One bot a directory: the second is refused and the first goes on undisturbed."""
        config = config_in(tmp_path)
        async with running(config) as bot:
            with pytest.raises(JournalLocked):
                async with running(config):
                    pass
            assert (await cycles(bot, 1))[0].state is TradingState.ACTIVE

    async def test_a_directory_that_cannot_be_made_is_told(self, tmp_path: Path) -> None:
        """A file where the data directory should be: nothing starts, and the message says what to do."""
        (tmp_path / "data").write_text("in the way", encoding="utf-8")
        with pytest.raises(JournalUnwritable, match="--data-dir"):
            async with running(config_in(tmp_path)):
                pass

    async def test_faults_of_the_lab_are_on_record(self, tmp_path: Path) -> None:
        """An outage that was made on purpose stands in the journal as one, and so does its end."""
        async with running(config_in(tmp_path)) as bot:
            assert bot.fleet is not None
            await bot.fleet.set_fault("xai", "503")
            await bot.fleet.clear_faults("xai")
        with JournalReader(tmp_path / "data" / "journal.db", strict=True) as journal:
            faults = [row.event for row in journal.events([FaultInjected])]
        assert [(e.provider, e.fault) for e in faults if isinstance(e, FaultInjected)] == [
            ("xai", "503"),
            ("xai", "clear"),
        ]

    async def test_what_is_not_real_is_named(self, tmp_path: Path) -> None:
        """A bot on emulators says that its exchange and its providers are simulated."""
        async with running(config_in(tmp_path)) as bot:
            assert bot.simulated == ("exchange", "providers")
            assert "SIMULATED" in bot.exchange.describe()
        real = replace(config_in(tmp_path / "real"), lab=LabSection(), providers=with_key("xai"))
        async with running(real) as bot:
            assert bot.fleet is None
            assert bot.simulated == ("exchange",)


class TestRestart:
    async def test_the_mode_survives(self, tmp_path: Path) -> None:
        """A restart is no evidence that judgement is better: MINIMAL stays MINIMAL."""
        config = config_in(tmp_path)
        async with running(config) as bot:
            assert bot.fallback.mode is EmergencyMode.NORMAL
            bot.fallback.enable_emergency_mode("drill", mode=EmergencyMode.MINIMAL)
        async with running(config) as bot:
            assert bot.fallback.mode is EmergencyMode.MINIMAL
            assert "as before the restart" in bot.client.get_system_status().mode_reason
            [row] = await cycles(bot, 1)
        assert (row.mode, row.decided, row.orders) == (EmergencyMode.MINIMAL, 0, 0)

    async def test_books_and_exchange_go_on_where_they_were(self, tmp_path: Path) -> None:
        """Positions and cash of the next life are those of the last one."""
        config, clock = config_in(tmp_path), FakeClock(START)
        async with running(config, clock=clock) as bot:
            rows = await cycles(bot, 6)
            positions = dict(bot.portfolio.positions)
            cash = bot.portfolio.cash
        assert positions, "worth nothing if nothing was traded"
        assert sum(row.orders for row in rows) >= len(positions)
        async with running(config, clock=clock) as bot:
            assert bot.portfolio.positions == positions
            assert [p.ticker for p in await bot.exchange.list_positions()] == sorted(positions)
            assert (await bot.exchange.get_balance()).cash == cash


class TestProviderConfigs:
    def test_nobody_to_ask_is_an_error_with_its_cure(self) -> None:
        """No key and no local server: nothing starts, and the message names both ways out."""
        base = ProvidersSection()
        alone = replace(base, local=replace(base.local, enabled=False))
        with pytest.raises(ConfigError, match=r"XAI_API_KEY.*emulate = true"):
            provider_configs(replace(Config(), providers=alone), None)

    def test_a_provider_without_its_key_is_left_out(self) -> None:
        """Only those with a key are asked, and the local one, which needs none."""
        configs = provider_configs(replace(Config(), providers=with_key("openai")), None)
        assert [config.name for config in configs] == [ProviderName.OPENAI, ProviderName.LOCAL]
        assert configs[0].api_key == REAL_KEY
        assert not any(config.simulated for config in configs)

    def test_a_disabled_provider_is_left_out_whatever_its_key(self) -> None:
        """Switched off is switched off."""
        providers = with_key("xai", "anthropic")
        providers = replace(providers, xai=replace(providers.xai, enabled=False))
        configs = provider_configs(replace(Config(), providers=providers), None)
        assert [config.name for config in configs] == [ProviderName.ANTHROPIC, ProviderName.LOCAL]

    async def test_an_emulated_run_keeps_no_real_address_and_no_real_key(self, tmp_path: Path) -> None:
        """With emulators every request goes to this machine with a play key, whatever is configured."""
        config = config_in(tmp_path, providers=with_key("xai", "openai", "anthropic"))
        async with running(config) as bot:
            assert bot.fleet is not None
            used = [provider.config for provider in bot.fallback._providers.providers.values()]
            assert [each.base_url for each in used] == list(bot.fleet.base_urls.values())
        assert len(used) == len(ProviderName)
        assert {urlsplit(each.base_url).hostname for each in used} == {"127.0.0.1"}
        assert {each.api_key for each in used} == {EMULATED_KEY}
        assert all(each.simulated for each in used)

    async def test_nobody_enabled_is_refused_under_emulation_too(self, tmp_path: Path) -> None:
        """Emulators do not switch on what the configuration has switched off; nothing stays open."""
        base, before = ProvidersSection(), asyncio.all_tasks()
        off = {name.value: replace(getattr(base, name.value), enabled=False) for name in ProviderName}
        config = config_in(tmp_path, providers=replace(base, **off))
        with pytest.raises(ConfigError, match="no provider can be asked"):
            async with running(config):
                pass
        assert asyncio.all_tasks() == before
