"""Real money: every gate named with its cure, and nothing sent while one is shut."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jurymast.app import arming
from jurymast.app.config import BotSection, Config, KeySection, LabSection
from jurymast.app.doctor import Health, examine
from jurymast.app.exchange import Venue, check_armed
from jurymast.app.restart import settled_forecasts
from jurymast.app.supervisor import Supervisor
from jurymast.app.wiring import Bot, build
from jurymast.domain.errors import ConfigError
from jurymast.domain.events import OrderIntended, RunStarted
from jurymast.domain.provider import ProviderName, Secret
from jurymast.exchange.embedded.server.limits import UNLIMITED
from jurymast.exchange.kalshi.hosts import Environment
from jurymast.exchange.kalshi.signing import generate_pem
from jurymast.journal.sqlite import SqliteJournal
from jurymast.policy.interlocks import STEPS, order_cap
from jurymast.testing.clock import START, FakeClock

ARMED = {"JURYMAST_LIVE": "yes"}


@pytest.fixture
def unplugged(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """A machine on which every attempt to reach anybody is noted and fails."""
    tried: list[object] = []

    def refuse(*arguments: object, **_: object) -> None:
        tried.append(arguments)
        raise OSError("unplugged")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tried


def live(directory: Path, **changes: Any) -> Config:
    base = Config()
    facts: dict[str, Any] = {
        "host": Environment.PRODUCTION,
        "live": True,
        "account": "savings",
        "keys": {Environment.PRODUCTION: KeySection("key-1", Secret(generate_pem()))},
    }
    exchange = replace(base.exchange, **(facts | changes))
    return replace(base, bot=BotSection(data_dir=str(directory / "data")), exchange=exchange)


@pytest.mark.parametrize(
    ("changes", "environ", "account", "gate", "cure"),
    [
        ({"live": False}, ARMED, "savings", "config", "live = true"),
        ({}, {}, "savings", "environment", "JURYMAST_LIVE=yes"),
        ({}, ARMED, "", "account", "--account savings"),
        ({}, ARMED, "Savings", "account", "--account savings"),
        ({"account": ""}, ARMED, "", "account", "set account"),
    ],
)
async def test_a_gate_that_is_shut_is_named_and_nothing_is_sent(
    tmp_path: Path,
    unplugged: list[object],
    changes: dict[str, Any],
    environ: dict[str, str],
    account: str,
    gate: str,
    cure: str,
) -> None:
    """Each missing word refuses the start by itself, says how to open it, and no connection is tried."""
    config = live(tmp_path, **changes)
    with pytest.raises(ConfigError) as refused:
        async with build(config, clock=FakeClock(), environ=environ, account=account):
            pass
    assert f"{gate}: " in str(refused.value)
    assert cure in str(refused.value)
    assert unplugged == []
    assert not (tmp_path / "data").exists()


def test_simulated_judges_do_not_trade_real_money(tmp_path: Path) -> None:
    """Emulated providers shut a gate of their own."""
    config = replace(live(tmp_path), lab=LabSection(emulate=True))
    with pytest.raises(ConfigError, match="judges: SIMULATED"):
        check_armed(config, ARMED, "savings")


def test_paper_needs_no_word_and_no_word_makes_it_live() -> None:
    """On play money every word is without effect, and meaning real money there is a mistake."""
    check_armed(Config(), ARMED, "savings")
    config = Config()
    with pytest.raises(ConfigError, match=r"exchange\.host is embedded"):
        check_armed(replace(config, exchange=replace(config.exchange, live=True)), ARMED, "savings")


class Played:
    """A bot on the embedded exchange whose account is played to hold real money."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Venue, "real_money", property(lambda _: True))

    @staticmethod
    def config(tmp_path: Path, funded: int) -> Config:
        base = Config()
        exchange = replace(base.exchange, speed=240.0, tier=UNLIMITED, cash_usd=100, funded_usd_max=funded)
        return replace(
            base,
            bot=BotSection(data_dir=str(tmp_path)),
            exchange=exchange,
            lab=LabSection(emulate=True, control_port=0, latency_scale=0.0),
        )


async def refused_run(bot: Bot) -> str:
    with pytest.raises(ConfigError) as refused:
        await Supervisor(bot, cycles=1).run()
    return str(refused.value)


class TestLooking:
    """The gates that a look opens, on an account that is only played to be real."""

    async def test_an_account_with_more_than_may_be_lost_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Funds above the cap shut the gate before the first order."""
        config = Played(monkeypatch).config(tmp_path, 99)
        seen: list[Any] = []
        async with build(config, clock=FakeClock(), watch=seen.append, ticking=False) as bot:
            assert "funded: the account holds $100.00" in await refused_run(bot)
            assert bot.exchange.order_groups == {}
        assert not [event for event in seen if isinstance(event, OrderIntended)]

    async def test_books_that_differ_are_refused_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A position that our books do not know stops the start; the next one, on corrected books, may go."""
        config = Played(monkeypatch).config(tmp_path, 500)
        async with build(config, clock=FakeClock(), ticking=False) as bot:
            assert bot.venue.house is not None
            ticker = next(iter(await bot.exchange.list_snapshots())).ticker
            bot.venue.house.engine.floor.market(ticker)
            stake = bot.venue.house.member.stake(ticker)
            stake.count, stake.cost = 500, 1_000_000
            assert f"books: corrected just now: {ticker}" in await refused_run(bot)

    async def test_a_sick_doctor_refuses(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A failed check is a shut gate with the check's finding."""
        config = Played(monkeypatch).config(tmp_path, 500)
        async with build(config, clock=FakeClock(), ticking=False) as bot:
            assert bot.venue.server is not None
            bot.venue.server.control.set_fault("missing_field", value="exchange_active")
            assert "doctor: schema" in await refused_run(bot)

    async def test_all_gates_open_let_it_run(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """With nothing in the way it trades, and no order is larger than the record allows."""
        config = Played(monkeypatch).config(tmp_path, 500)
        async with build(config, clock=FakeClock(), ticking=False) as bot:
            await arming.check_fit(bot)
            assert bot.cycle.settings.risk.order_cost_max == STEPS[0][1]
            assert bot.cycle.reconciled


SEEN_THERE = ("keys", "clock", "schema")


class TestDoctor:
    async def test_a_well_bot_has_no_failed_check(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Every check of a healthy set-up is fine."""
        config = Played(monkeypatch).config(tmp_path, 500)
        async with build(config, clock=FakeClock(), ticking=False) as bot:
            checks = await examine(config, clock=bot.clock, exchange=bot.exchange)
        models = {check for check in checks if check.name in set(ProviderName)}
        assert {check.health for check in {*checks} - models} <= {Health.OK, Health.WARN}
        assert {check.health for check in models} == {Health.SKIP}, "no key, no server: nobody was asked"
        names = ["config", "disk", "journal", "budget", "demands", *ProviderName, "alerts", *SEEN_THERE]
        assert [check.name for check in checks] == names

    async def test_a_broken_journal_and_a_halt_are_found(self, tmp_path: Path) -> None:
        """What is broken fails with its cure; a halt is a warning; what can't be asked is skipped."""
        (tmp_path / "journal.db").write_bytes(b"nothing" * 1_000)
        (tmp_path / "HALT").touch()
        config = replace(Config(), bot=BotSection(data_dir=str(tmp_path)))
        found = {check.name: check for check in await examine(config, clock=FakeClock())}
        assert found["journal"].health is Health.FAIL
        assert found["journal"].cure
        assert found["demands"].health is Health.WARN
        assert found["keys"].health is Health.SKIP


async def test_only_forecasts_on_real_money_are_a_record(tmp_path: Path) -> None:
    """Paper runs in the same journal count for nothing."""
    journal = SqliteJournal.open(tmp_path / "journal.db", clock=FakeClock())
    await journal.append(
        RunStarted(at=START, version="0", pid=1, seed=0, exchange="x", simulated=("exchange",))
    )
    assert settled_forecasts(journal) == []
    assert order_cap(settled_forecasts(journal)) == STEPS[0][1]
    await journal.close()
