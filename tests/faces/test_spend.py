"""``jurymast spend`` says what the vendors say, to the micro-dollar. Over real sockets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from jurymast.domain.decision import Decision
from jurymast.domain.events import OrderIntended
from jurymast.domain.money import USD
from jurymast.domain.order import Action, OrderIntent, Purpose, Side, TimeInForce
from jurymast.domain.provider import ProviderName
from jurymast.faces.cli.main import cli
from jurymast.faces.cli.spend import BY
from jurymast.journal.books import SqliteBooks
from jurymast.journal.sqlite import SqliteJournal
from jurymast.lab.rig import QUICK, Rig, rig
from jurymast.policy.ledger import Cap, Scope, Window
from jurymast.policy.spending import DIMENSIONS
from jurymast.ports import Clock
from jurymast.testing.clock import FakeClock

XAI, OPENAI, ANTHROPIC, LOCAL = ProviderName
SINCE = "2026-01-05"
SHADOWED = replace(QUICK, shadow_secs=600.0, shadow_free_secs=600.0)


def spend(directory: Path, *words: str) -> dict[str, Any]:
    result = CliRunner().invoke(
        cli, ["spend", "--data-dir", str(directory), "--since", SINCE, "--json", *words]
    )
    assert result.exit_code == 0, result.output
    facts: dict[str, Any] = json.loads(result.output)
    return facts


async def journalled(lab: Rig, directory: Path) -> None:
    journal = SqliteJournal.open(directory / "journal.db", clock=FakeClock())
    try:
        await journal.append(*lab.events)
    finally:
        await journal.close()


def known_bill(lab: Rig, name: ProviderName) -> int:
    """What a vendor bills for the answers that we have seen the end of."""
    ledger = lab.fleet.ledger(name)
    return ledger.bill - ledger.undelivered


async def story(lab: Rig) -> list[Decision]:
    """Good answers, refusals, nonsense, an outage with probes, a shadow, and a hedge that loses."""
    decisions = []

    async def ask(times: int) -> None:
        for _ in range(times):
            answer = await lab.ask()
            if isinstance(answer, Decision):
                decisions.append(answer)

    await ask(5)
    await lab.fleet.set_fault("xai", "wrong_schema")
    await ask(1)
    await lab.fleet.set_fault("xai", "503")
    await ask(3)
    await lab.fleet.clear_faults("all")
    await lab.pass_time(900.0)
    await ask(3)
    await lab.pass_time(300.0)
    await ask(2)
    await lab.fleet.set_fault("xai", "slow_first_token")
    await ask(1)
    await lab.fleet.clear_faults("all")
    await ask(1)
    await lab.fallback.close()
    return decisions


async def test_it_equals_the_vendors_bills_to_the_micro_dollar(tmp_path: Path) -> None:
    """By provider, with failures, hedges, probes and shadows: what is known is the vendor's own bill, and
    what is not known is no less than it."""

    def books(clock: Clock) -> SqliteBooks:
        caps = Cap(100 * USD), Cap(USD, Window.MONTH, Scope.PROVIDER), Cap(USD, Window.HOUR, hard=False)
        return SqliteBooks.open(tmp_path / "budget.db", caps, clock=clock)

    async with rig(settings=SHADOWED, books=books) as lab:
        await story(lab)
        await journalled(lab, tmp_path)
        facts = spend(tmp_path)
        bills = {name.value: lab.fleet.ledger(name).bill for name in ProviderName}
        known = {name.value: known_bill(lab, name) for name in ProviderName}
        assert {name: row["known_micros"] for name, row in facts["groups"].items()} == known
        for name, row in facts["groups"].items():
            assert bills[name] <= row["cost_micros"] + row["uncertain_micros"]
            assert row["requests"] == lab.fleet.ledger(ProviderName(name)).requests
        assert known["xai"] > 0
        assert bills["xai"] > known["xai"], "the hedge that lost is on the bill as well"
    purposes = facts["purposes"]
    assert set(purposes) == {"decision", "failed", "probe", "shadow", "hedge_loser"}
    assert purposes["failed"]["known_micros"] > 0
    assert purposes["hedge_loser"]["known_micros"] == 0
    assert facts["total"]["cost_micros"] == sum(row["cost_micros"] for row in purposes.values())


@pytest.mark.parametrize(
    "fault", ["cut", "invalid_json", "hang", "stream_error", "empty", "truncated", "drip"]
)
async def test_a_fault_costs_what_is_billed_or_is_told_as_our_estimate(tmp_path: Path, fault: str) -> None:
    """Whatever breaks on the way: the bill is never more than what is booked, and known is known."""
    async with rig(providers=[XAI, OPENAI]) as lab:
        await lab.fleet.set_fault("xai", fault)
        await lab.ask()
        await lab.ask()
        await journalled(lab, tmp_path)
        for name, row in spend(tmp_path)["groups"].items():
            bill = lab.fleet.ledger(ProviderName(name)).bill
            assert row["known_micros"] <= bill <= row["cost_micros"] + row["uncertain_micros"]
            if not row["estimated_micros"]:
                assert row["known_micros"] == bill


async def test_the_budgets_in_the_file_agree_with_the_journal(tmp_path: Path) -> None:
    """Windows with their limits and what is left: the same money, counted twice."""

    def books(clock: Clock) -> SqliteBooks:
        caps = Cap(100 * USD), Cap(USD, Window.MONTH, Scope.PROVIDER, "xai")
        return SqliteBooks.open(tmp_path / "budget.db", caps, clock=clock)

    async with rig(books=books) as lab:
        await story(lab)
        await journalled(lab, tmp_path)
        manager = lab.fallback._providers
        await manager.purse.books.close()
        facts = spend(tmp_path)
        from jurymast.journal.budget_file import read_accounts

        day, xai = read_accounts(tmp_path / "budget.db", lab.clock.utc_now())
    assert (day.spent, day.uncertain, day.held) == (
        facts["total"]["cost_micros"],
        facts["total"]["uncertain_micros"],
        0,
    )
    assert (xai.spent, xai.uncertain) == (
        facts["groups"]["xai"]["cost_micros"],
        facts["groups"]["xai"]["uncertain_micros"],
    )
    assert [(row["window"], row["of"], row["limit_micros"]) for row in facts["budgets"]] == [
        ("day", "", 100 * USD),
        ("month", "xai", USD),
    ]


@pytest.mark.parametrize("by", BY)
async def test_every_way_of_telling_adds_up(tmp_path: Path, by: str) -> None:
    """By whatever it is grouped, nothing is lost and nothing counted twice."""
    async with rig(settings=SHADOWED) as lab:
        await story(lab)
        await journalled(lab, tmp_path)
    facts = spend(tmp_path, "--by", by)
    for cell in ("requests", "cost_micros", "known_micros", "estimated_micros", "uncertain_micros"):
        assert sum(row[cell] for row in facts["groups"].values()) == facts["total"][cell]
    assert set(BY) == set(DIMENSIONS)


async def test_a_used_decision_carries_what_the_unused_cost(tmp_path: Path) -> None:
    """Per decision and per decision that led to an order: the price of an opinion worth having."""
    async with rig(providers=[OPENAI]) as lab:
        decisions = [await lab.ask() for _ in range(4)]
        used = decisions[1]
        intent = OrderIntent(
            client_order_id="c1", decision_id=used.decision_id, ticker=used.ticker, event_ticker="E",
            purpose=Purpose.ENTRY, side=Side.YES, action=Action.BUY, count=100, limit_price=500_000,
            time_in_force=TimeInForce.IMMEDIATE_OR_CANCEL, reason="",
        )  # fmt: skip
        for _ in range(2):
            lab.events.append(
                OrderIntended(
                    at=used.decided_at, decision_id=used.decision_id, ticker=used.ticker, intent=intent
                )
            )
        await journalled(lab, tmp_path)
    facts = spend(tmp_path)
    cost = facts["total"]["cost_micros"]
    assert (facts["decisions"], facts["used_decisions"]) == (4, 1)
    assert facts["per_decision_micros"] == -(-cost // 4)
    assert facts["per_used_decision_micros"] == cost


async def test_only_what_is_asked_for_is_counted(tmp_path: Path) -> None:
    """Since a moment: what came before it is left out, to the event."""
    async with rig(providers=[OPENAI]) as lab:
        await lab.ask()
        await lab.pass_time(60.0)
        moment = lab.clock.utc_now()
        await lab.ask()
        await lab.ask()
        await journalled(lab, tmp_path)
    facts = spend(tmp_path, "--since", moment.isoformat())
    assert facts["total"]["requests"] == 2
    assert spend(tmp_path)["total"]["requests"] >= 3
    assert spend(tmp_path, "--since", "2027-01-01")["total"]["requests"] == 0


async def test_people_can_read_it(tmp_path: Path) -> None:
    """The text has the same figures in dollars, and says when there is no budget file."""
    async with rig(providers=[OPENAI]) as lab:
        await lab.ask()
        await journalled(lab, tmp_path)
    result = CliRunner().invoke(cli, ["spend", "--data-dir", str(tmp_path), "--since", SINCE, "--by", "rung"])
    assert result.exit_code == 0
    cost = spend(tmp_path)["total"]["known_micros"]
    assert f"${cost / 1e6:,.6f}" in result.output
    assert "by rung primary" in result.output
    assert "no budget file" in result.output


@pytest.mark.parametrize("since", ["yesterday", "24", "-3h", "2026-13-01", "99999999999999d"])
def test_nonsense_is_refused_with_examples(tmp_path: Path, since: str) -> None:
    """A time that is none ends with the ways to write one."""
    result = CliRunner().invoke(cli, ["spend", "--data-dir", str(tmp_path), "--since", since])
    assert result.exit_code == 2
    assert "24h" in result.output
