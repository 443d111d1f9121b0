"""The move by phases, inside the host: who decides, what is compared, and the step back that nobody has to
take."""

from __future__ import annotations

import asyncio
import sys
import types
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from adapter_world import PORTFOLIO, World, market, world
from src.jurymast_adapter.legacy import KEPT_MODULE
from src.jurymast_adapter.types import TradingDecision
from test_host_client import Old

from jurymast.app.rollout import RolloutFile
from jurymast.domain.events import RolloutChanged, RolloutCompared
from jurymast.domain.rollout import Decider, Phase, Rollout

OLD_SAYS = TradingDecision("BUY", "NO", 0.7, 40, "old words")


def begin(here: World, phase: Phase, share_pct: int = 0) -> None:
    since = datetime.now(UTC) - timedelta(minutes=1)
    RolloutFile(here.data_dir).change(lambda _: Rollout(phase, share_pct, since, "test"))


async def ask(client: Any, ticker: str) -> TradingDecision:
    decision = await client.get_trading_decision(market(ticker), PORTFOLIO)
    assert decision is not None
    return decision


async def test_in_shadow_theirs_decides_and_ours_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old client's word goes out unchanged; ours stands beside it in the journal, with time and cost."""
    async with world(tmp_path, monkeypatch) as here:
        begin(here, Phase.SHADOW)
        client = here.client(legacy=Old(OLD_SAYS))
        decision = await ask(client, "M-1")
        assert (decision.action, decision.side, decision.limit_price) == ("BUY", "NO", 40)
        status = await client.get_system_status()
        assert (status["decided_by"], status["rollout_phase"]) == ("legacy", "shadow")
        (row,) = await here.until(lambda: here.events(RolloutCompared))
        found = row.comparison
        assert (found.ticker, found.phase, found.decided_by) == ("M-1", Phase.SHADOW, Decider.THEIRS)
        assert (str(found.ours.side), str(found.theirs.side)) == ("yes", "no")
        assert found.ours.cost > 0
        assert found.theirs.cost == 2_000
        assert found.ours.provider == "xai"


async def test_in_shadow_nothing_of_ours_is_traded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An old client that fails is a SKIP there, although ours would buy."""
    async with world(tmp_path, monkeypatch) as here:
        begin(here, Phase.SHADOW)
        decision = await ask(here.client(legacy=Old(None)), "M-1")
        assert decision.action == "SKIP"
        assert "shadow" in str(decision.reasoning)


async def test_in_gradual_a_market_keeps_its_decider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the markets are ours, the same ones each time, and all are compared."""
    async with world(tmp_path, monkeypatch, JURYMAST_ROLLOUT__OPPOSITE_SHARE_MAX="1.0") as here:
        begin(here, Phase.GRADUAL, 50)
        client = here.client(legacy=Old(OLD_SAYS))
        names = [f"M-{n}" for n in range(12)]
        first = [(await ask(client, name)).side for name in names]
        again = [(await ask(client, name)).side for name in names]
        assert first == again
        assert set(first) == {"YES", "NO"}
        await here.until(lambda: len(here.events(RolloutCompared)) == 2 * len(names))
        by = {row.comparison.ticker: row.comparison.decided_by for row in here.events(RolloutCompared)}
        assert [by[name] is Decider.OURS for name in names] == [side == "YES" for side in first]


async def test_in_gradual_whoever_answers_helps_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where theirs fails ours decides, and where ours fails theirs."""
    async with world(tmp_path, monkeypatch) as here:
        begin(here, Phase.GRADUAL, 1)
        assert (await ask(here.client(legacy=Old(None)), "M-1")).side == "YES"
        begin(here, Phase.GRADUAL, 100)
        await here.fleet.set_fault("all", "500")
        assert (await ask(here.client(legacy=Old(OLD_SAYS)), "M-2")).side == "NO"


async def test_in_full_theirs_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The move is complete: no comparison, no cost of theirs."""
    old = Old(OLD_SAYS)
    async with world(tmp_path, monkeypatch) as here:
        begin(here, Phase.FULL)
        assert (await ask(here.client(legacy=old), "M-1")).side == "YES"
    assert old.asked == 0


async def test_an_outage_is_no_step_back_where_no_move_was_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old client that helps out when nobody answers is the flow at work, and no evidence against it."""
    async with world(tmp_path, monkeypatch, JURYMAST_ROLLOUT__COUNT_MIN="5") as here:
        await here.fleet.set_fault("all", "500")
        client = here.client(legacy=Old(OLD_SAYS))
        for n in range(8):
            assert (await ask(client, f"M-{n}")).side == "NO"
        assert not RolloutFile(here.data_dir).begun
        assert here.events(RolloutCompared) == []


async def test_a_regression_steps_back_by_itself_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opposite sides in too many markets: from GRADUAL to SHADOW, with its reason, latched and journalled."""
    async with world(tmp_path, monkeypatch, JURYMAST_ROLLOUT__COUNT_MIN="5") as here:
        begin(here, Phase.GRADUAL, 100)
        client = here.client(legacy=Old(OLD_SAYS))
        for n in range(6):
            await ask(client, f"M-{n}")
        state = await here.until(lambda: stepped(here, Phase.SHADOW))
        assert not state.by_hand
        assert "opposite sides" in state.reason
        (change,) = await here.until(lambda: here.events(RolloutChanged))
        assert (change.old, change.new, change.by_hand) == (Phase.GRADUAL, Phase.SHADOW, False)
        decision = await ask(client, "M-9")
        assert decision.side == "NO", "theirs decides again"
        status = await client.get_system_status()
        assert status["rollout_phase"] == "shadow"
        assert "opposite sides" in status["rollout_reason"]


def stepped(here: World, phase: Phase) -> Rollout | None:
    state = RolloutFile(here.data_dir).state()
    return state if state.phase is phase else None


async def test_a_step_of_a_person_counts_from_the_next_decision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host looks at the file each time; evidence of the phase before is left behind."""
    async with world(tmp_path, monkeypatch) as here:
        begin(here, Phase.SHADOW)
        client = here.client(legacy=Old(OLD_SAYS))
        assert (await ask(client, "M-1")).side == "NO"
        RolloutFile(here.data_dir).change(lambda old: replace(old, phase=Phase.FULL))
        assert (await ask(client, "M-1")).side == "YES"


async def test_the_kept_client_of_the_host_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a move is under way, what the installer has kept is asked without anybody handing it over."""
    kept: Any = types.ModuleType(KEPT_MODULE)
    made: list[Any] = []

    def make(**hosts: Any) -> Old:
        made.append(hosts)
        return Old(OLD_SAYS)

    kept.XAIClient = make
    monkeypatch.setitem(sys.modules, KEPT_MODULE, kept)
    async with world(tmp_path, monkeypatch) as here:
        client = here.client("a database")
        assert (await ask(client, "M-1")).side == "YES", "no move, no old client"
        begin(here, Phase.SHADOW)
        assert (await ask(client, "M-2")).side == "NO"
        assert (await ask(client, "M-3")).side == "NO"
        assert [hosts["db_manager"] for hosts in made] == ["a database"]


async def test_an_old_client_that_can_not_be_made_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own packages may be gone: ours decides, whatever the phase."""
    kept: Any = types.ModuleType(KEPT_MODULE)

    def make(**_: Any) -> None:
        raise ImportError("no such package")

    kept.XAIClient = make
    monkeypatch.setitem(sys.modules, KEPT_MODULE, kept)
    async with world(tmp_path, monkeypatch) as here:
        begin(here, Phase.SHADOW)
        assert (await ask(here.client(), "M-1")).side == "YES"


async def test_closing_leaves_nothing_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparisons under way are given up with the client."""
    async with world(tmp_path, monkeypatch) as here:
        begin(here, Phase.TUNED, 100)
        client = here.client(legacy=Old(OLD_SAYS, secs=600.0))
        monkeypatch.setattr("src.jurymast_adapter.flow.compares", lambda *_: True)
        await ask(client, "M-1")
        await client.close()
        assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
