"""AI money of a whole bot: its settings, its file, and what it does without one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jurymast.app.config import BotSection, Config, LabSection
from jurymast.app.doctor import Health, _budget
from jurymast.app.settings import load_settings
from jurymast.app.wiring import Bot, build
from jurymast.domain.decision import Rung
from jurymast.domain.errors import ConfigError
from jurymast.domain.events import DecisionAbstained, DecisionMade, Event, ProbeSent, ShadowAnswered
from jurymast.domain.money import USD
from jurymast.domain.provider import ProviderName
from jurymast.journal.budget_file import read_accounts
from jurymast.journal.queries import JournalReader
from jurymast.policy.ledger import Cap, Scope, Window
from jurymast.policy.pacer import Pace
from jurymast.policy.spending import spending
from jurymast.testing.clock import FakeClock

START = Config().exchange.start


def loaded(text: str) -> Config:
    return load_settings(Config, text, source="bot.toml", environ={})


def config_in(directory: Path, **sections: Any) -> Config:
    base = Config()
    return replace(
        base,
        bot=BotSection(data_dir=str(directory)),
        lab=LabSection(emulate=True, control_port=0, latency_scale=0.0),
        failover=replace(base.failover, budget_usd_per_day=100.0),
        **sections,
    )


def files(directory: Path, pattern: str) -> list[Path]:
    return list(directory.glob(pattern))


@asynccontextmanager
async def running(config: Config, events: list[Event] | None = None) -> AsyncIterator[Bot]:
    watch = (lambda _: None) if events is None else events.append
    async with build(config, clock=FakeClock(START), watch=watch) as bot:
        yield bot


async def cycles(bot: Bot, count: int) -> None:
    for _ in range(count):
        await bot.cycle.run_once()
        await bot.fallback.check_recovery()
        assert isinstance(bot.clock, FakeClock)
        bot.clock.advance(30.0)


class TestSettings:
    def test_a_configuration_of_before_means_what_it_meant(self) -> None:
        """One hard limit a day in all, kept in the data directory, without reserve."""
        config = loaded("[failover]\nbudget_usd_per_day = 2.5")
        assert config.caps == (Cap(2_500_000),)
        assert config.budget.pace == Pace()
        assert config.budget_path == Path("jurymast-data/budget.db")
        assert loaded("").caps == (Cap(5 * USD),)

    def test_caps_are_tables_with_names(self) -> None:
        """Each with its window, its scope, whose it is, and whether it refuses."""
        config = loaded(
            """
            [budget]
            file = "/srv/shared/budget.db"
            reserve_share = 0.4
            reserve_from_hour = 13
            reserve_until_hour = 21
            [budget.caps.xai-hour]
            limit_usd = 0.25
            window = "hour"
            scope = "provider"
            of = "xai"
            [budget.caps.each-market]
            limit_usd = 0.1
            scope = "market"
            [budget.caps.month]
            limit_usd = 50
            window = "month"
            hard = false
            """
        )
        assert config.caps == (
            Cap(5 * USD, kept=2 * USD, kept_until_hour=13),
            Cap(USD // 4, Window.HOUR, Scope.PROVIDER, "xai"),
            Cap(USD // 10, Window.DAY, Scope.MARKET),
            Cap(50 * USD, Window.MONTH, hard=False),
        )
        assert config.budget_path == Path("/srv/shared/budget.db")

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("[budget.caps.a]\nwindow = 'hour'", "limit_usd: is missing"),
            ("[budget.caps.a]\nlimit_usd = -1", "out of bounds"),
            ("[budget.caps.a]\nlimit_usd = 1\nwindow = 'week'", "minute, hour, day, month"),
            ("[budget.caps.a]\nlimit_usd = 1\nof = 'xai'", "a cap on all is of nobody"),
            ("[budget.caps.a]\nlimit_usd = 0.00000001", "whole number of micro-dollars"),
            ("[budget]\nreserve_from_hour = 9\nreserve_until_hour = 8", "not within one day"),
        ],
    )
    def test_mistakes_are_found_before_the_start(self, text: str, complaint: str) -> None:
        """With the place and what is wrong."""
        with pytest.raises(ConfigError, match=complaint):
            loaded(text)


class TestBot:
    async def test_the_file_says_what_the_journal_says(self, tmp_path: Path) -> None:
        """What a bot spends in some cycles stands in both, to the micro-dollar; a restart goes on from it."""
        events: list[Event] = []
        config = config_in(tmp_path)
        async with running(config, events) as bot:
            await cycles(bot, 3)
        told = spending(events, "provider").total
        (day,) = read_accounts(config.budget_path, START)
        assert (day.spent, day.uncertain, day.held) == (told.cost, told.uncertain, 0)
        assert day.spent > 0
        async with running(config) as bot:
            assert bot.fallback._providers.budget.spent == day.spent
            await cycles(bot, 1)
        assert files(tmp_path, "budget.db.*.lock") == []

    async def test_a_bot_of_before_brings_what_it_spent_today(self, tmp_path: Path) -> None:
        """A journal without a budget file: the new file begins with what the journal knows."""
        config = config_in(tmp_path)
        async with running(config) as bot:
            await cycles(bot, 2)
        (before,) = read_accounts(config.budget_path, START)
        for file in files(tmp_path, "budget.db*"):
            file.unlink()
        async with running(config) as bot:
            assert bot.fallback._providers.budget.taken == before.taken

    async def test_two_bots_that_name_one_file_share_it(self, tmp_path: Path) -> None:
        """Each with a journal and data directory of its own."""
        shared = replace(Config().budget, file=str(tmp_path / "both.db"))
        for name in ("one", "two"):
            async with running(config_in(tmp_path / name, budget=shared)) as bot:
                await cycles(bot, 2)
        journals = 0
        for name in ("one", "two"):
            with JournalReader(tmp_path / name / "journal.db") as reader:
                kinds = (DecisionMade, DecisionAbstained, ProbeSent, ShadowAnswered)
                journals += spending((row.event for row in reader.scan(kinds)), "day").total.cost
        (day,) = read_accounts(tmp_path / "both.db", START)
        assert day.spent == journals > 0

    async def test_without_a_sound_file_only_free_models_are_asked(self, tmp_path: Path) -> None:
        """The bot starts, says what is wrong, cycles and keeps its exits; nothing paid leaves it."""
        config, events = config_in(tmp_path), list[Event]()
        config.budget_path.write_bytes(b"damaged" * 500)
        async with running(config, events) as bot:
            await cycles(bot, 3)
            assert bot.fleet is not None
            for name in (ProviderName.XAI, ProviderName.OPENAI, ProviderName.ANTHROPIC):
                assert bot.fleet.ledger(name).requests == 0
            assert bot.fleet.ledger(ProviderName.LOCAL).requests > 0
        made = [event.decision for event in events if isinstance(event, DecisionMade)]
        assert {decision.rung for decision in made} == {Rung.LOCAL}
        reasons = {a.detail for decision in made for a in decision.attempts if not a.sent}
        assert any("can't be accounted for" in reason for reason in reasons)
        check = _budget(config, FakeClock(START))
        assert (check.health, "not a database" in check.finding) == (Health.FAIL, True)


def test_the_doctor_looks_at_the_budget(tmp_path: Path) -> None:
    """None yet is fine; nothing left is worth a word."""
    assert _budget(config_in(tmp_path), FakeClock(START)).health is Health.OK


async def test_the_doctor_says_when_nothing_is_left(tmp_path: Path) -> None:
    """Before anybody wonders why no model is asked."""
    config = replace(config_in(tmp_path), failover=replace(Config().failover, budget_usd_per_day=0.0))
    async with running(config) as bot:
        await cycles(bot, 1)
    check = _budget(config, FakeClock(START))
    assert check.health is Health.WARN
    assert "the day's 0" in check.finding
