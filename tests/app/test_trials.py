"""What only trying shows: models that answer as they must, ports that can be listened on."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from jurymast.app.clock import SystemClock
from jurymast.app.config import Config
from jurymast.app.doctor import Check, Health, examine
from jurymast.app.settings import load_settings
from jurymast.app.trials import answers, ports
from jurymast.domain.provider import ProviderName
from jurymast.exchange.paths import PricePath
from jurymast.exchange.questions import load_bundle
from jurymast.journal.budget_file import read_accounts
from jurymast.journal.sqlite import SqliteJournal
from jurymast.lab.emulators.fleet import EmulatorFleet
from jurymast.lab.world import QuestionOracle
from jurymast.testing.clock import FakeClock

KEYED = "".join(f'[providers.{name}]\nbase_url = "{{{name}}}"\napi_key = {{{{ env = "KEY" }}}}\n' for name in
                ("xai", "openai", "anthropic"))  # fmt: skip


@asynccontextmanager
async def vendors() -> AsyncIterator[EmulatorFleet]:
    oracle = QuestionOracle(load_bundle(), PricePath(0))
    async with EmulatorFleet(oracle, seed=0, latency_scale=0.0) as fleet:
        yield fleet


def configured(fleet: EmulatorFleet, directory: Path, more: str = "") -> Config:
    """A configuration of real providers whose addresses are the emulators'."""
    urls = {name.value: url for name, url in fleet.base_urls.items()}
    text = KEYED.format(**urls) + f'[providers.local]\nbase_url = "{urls["local"]}"\n{more}'
    config = load_settings(Config, text, source="test", environ={"KEY": "a-key"})
    return replace(config, bot=replace(config.bot, data_dir=str(directory)))


def told(checks: list[Check]) -> dict[str, Check]:
    return {check.finding.partition("/")[0]: check for check in checks}


async def test_every_model_is_put_a_real_question(tmp_path: Path) -> None:
    """Each answers with a forecast; what it cost stands in the row and in the books of the day."""
    async with vendors() as fleet:
        config = configured(fleet, tmp_path)
        checks = await answers(config, clock=SystemClock())
    assert [check.health for check in checks] == [Health.OK] * 4
    assert all("a forecast as it must be" in check.finding for check in checks)
    accounts = read_accounts(config.budget_path, SystemClock().utc_now())
    assert accounts[0].spent > 1_000
    assert accounts[0].held == 0


async def test_what_is_wrong_is_said_of_each(tmp_path: Path) -> None:
    """A refused key, an answer of another schema, a model that stands in for another; the rest is well."""
    async with vendors() as fleet:
        await fleet.set_fault("xai", "auth")
        await fleet.set_fault("openai", "wrong_schema")
        await fleet.set_fault("anthropic", "swapped_model")
        rows = told(await answers(configured(fleet, tmp_path), clock=SystemClock()))
    assert rows["xai"].health is Health.FAIL
    assert "auth" in rows["xai"].finding
    assert rows["openai"].health is Health.FAIL
    assert "$" in rows["openai"].finding, "it was billed all the same"
    assert rows["anthropic"].health is Health.WARN
    assert rows["local"].health is Health.OK


async def test_a_refused_key_is_seen_without_spending(tmp_path: Path) -> None:
    """The list of models is free and wants the key; a vendor that is away is a warning as well."""
    async with vendors() as fleet:
        await fleet.set_fault("xai", "auth")
        await fleet.set_fault("openai", "refuse")
        rows = {
            check.name: check for check in await examine(configured(fleet, tmp_path), clock=SystemClock())
        }
    assert (rows["xai"].health, rows["xai"].cure) == (Health.WARN, "its key is refused: set another")
    assert rows["openai"].health is Health.WARN
    assert "network" in rows["openai"].cure
    assert rows["anthropic"].health is Health.OK


async def test_the_budget_holds_for_the_doctor_too(tmp_path: Path) -> None:
    """Nothing is sent that the day's money does not cover; what is free is asked all the same."""
    async with vendors() as fleet:
        config = configured(fleet, tmp_path, "[failover]\nbudget_usd_per_day = 0.0\n")
        rows = told(await answers(config, clock=SystemClock()))
        sent = {name: fleet.ledger(name).requests for name in ProviderName}
    assert {name: rows[name].health for name in ("xai", "openai", "anthropic")} == dict.fromkeys(
        ("xai", "openai", "anthropic"), Health.SKIP
    )
    assert rows["local"].health is Health.OK
    assert sent == {name: int(name is ProviderName.LOCAL) for name in ProviderName}


async def test_without_anybody_to_ask(tmp_path: Path) -> None:
    """Emulators are no proof, and no key is a failure."""
    bot = replace(Config().bot, data_dir=str(tmp_path))
    emulated = replace(Config(), bot=bot, lab=replace(Config().lab, emulate=True))
    assert [c.health for c in await answers(emulated, clock=SystemClock())] == [Health.SKIP]
    local = load_settings(Config, "[providers.local]\nenabled = false", source="t", environ={})
    assert [c.health for c in await answers(local, clock=SystemClock())] == [Health.FAIL]


class TestPorts:
    def config(self, directory: Path, port: int) -> Config:
        text = f"[web]\nport = {port}\n[gateway]\nenabled = true\nport = 0\n"
        config = load_settings(Config, text, source="test", environ={})
        return replace(config, bot=replace(config.bot, data_dir=str(directory)))

    def test_one_that_is_taken_is_found_before_a_start(self, tmp_path: Path) -> None:
        """With its section and the cure; free, it is well; 0 takes any and needs no look."""
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            (check,) = ports(self.config(tmp_path, port))
            assert (check.health, "[web]" in check.finding) == (Health.FAIL, True)
            assert check.cure
        (check,) = ports(self.config(tmp_path, port))
        assert check.health is Health.OK

    @pytest.mark.skipif(os.name != "posix", reason="locks are of another kind elsewhere")
    async def test_what_our_own_bot_holds_is_no_fault(self, tmp_path: Path) -> None:
        """While it runs nobody can tell, and nobody needs to."""
        journal = SqliteJournal.open(tmp_path / "journal.db", clock=FakeClock())
        try:
            (check,) = ports(self.config(tmp_path, 8_780))
            assert check.health is Health.SKIP
        finally:
            await journal.close()
