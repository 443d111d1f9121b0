"""Decisions that wait for money: nobody is blamed for it, and it looks like what it is."""

from __future__ import annotations

import asyncio

import pytest

from jurymast.domain.decision import AbstainReason
from jurymast.domain.events import RouteChanged
from jurymast.domain.money import USD
from jurymast.domain.provider import Failure, FailureKind, ProviderName
from jurymast.domain.status import EmergencyMode
from jurymast.intelligence.fallback_manager import Answered, Unanswered
from jurymast.intelligence.purse import MemoryBooks, Purse
from jurymast.policy.ledger import Cap, Payer, Scope
from jurymast.testing.loop import LoopClock, run_virtually

from .virtual_world import QUESTION, failing, taking, world

XAI, OPENAI, ANTHROPIC, LOCAL = ProviderName


def worst_case() -> int:
    lab = world({XAI: taking(1.0)})
    return lab.money.worst_case(QUESTION, lab.money.routes()[0])


def test_a_burst_of_worst_cases_waits_instead_of_failing() -> None:
    """Twenty questions at once on the worst cases of two: all are answered by the first, some later."""

    async def story() -> None:
        lab = world({XAI: taking(1.0), OPENAI: taking(1.0)}, budget_per_day=2 * worst_case() + 20 * 25)
        await lab.ask_at_once(20, workers=20)
        assert lab.answered_by() == [XAI] * 20
        assert lab.sends == 20, "nobody who waits for money is asked twice"
        assert lab.money.budget.held == 0
        assert max(lab.latencies) > 5.0
        assert not lab.told(RouteChanged), "waiting for money says nothing of a route"
        record = lab.manager.core.health.records[lab.money.routes()[0]]
        assert record.latency(0).quantile(0.0) < 2.0, "nor does it count as the route's own time"

    run_virtually(story())


def test_waiting_ends_in_time_for_a_free_model() -> None:
    """Money that is held until too late: the local model answers within the deadline."""

    async def story() -> None:
        lab = world({XAI: taking(24.0), LOCAL: taking(1.0)}, budget_per_day=worst_case())
        lab[LOCAL].calculate_cost = lambda usage, model: 0  # type: ignore[method-assign]  # the double prices everybody
        first = asyncio.create_task(lab.ask(deadline_secs=60.0))
        await asyncio.sleep(0.1)
        await lab.ask(deadline_secs=20.0)
        assert lab.answered_by() == [LOCAL]
        assert lab.latencies[0] < 20.0
        await lab.look_after(2.0)
        await first
        assert lab.manager.mode is EmergencyMode.NORMAL, "held is not spent"

    run_virtually(story())


def test_who_waits_for_money_is_not_asked_for_again_elsewhere() -> None:
    """Its money comes later than the route ever needed for an answer: no rival is asked meanwhile."""

    async def story() -> None:
        lab = world({XAI: taking(1.0), OPENAI: taking(1.0)})
        for _ in range(40):
            await lab.ask()
        caps = Cap(1_000 * USD), Cap(worst_case(), scope=Scope.PROVIDER, of="xai")
        lab.money.purse = Purse(MemoryBooks(caps, LoopClock()), clock=LoopClock())
        hold = await lab.money.purse.reserve(Payer("xai", "grok-4.3"), worst_case())
        asking = asyncio.create_task(lab.ask())
        await asyncio.sleep(2.3)
        lab.money.purse.settle(hold, 0)
        await asking
        assert lab.answered_by()[-1] is XAI
        assert lab.latencies[-1] == pytest.approx(3.3)
        assert lab[OPENAI].asked_at == []

    run_virtually(story())


def test_a_decision_given_up_while_it_waits_costs_nothing() -> None:
    """Its caller leaves before anything was sent: no cost, no hold, no place in the line."""

    async def story() -> None:
        lab = world({XAI: taking(10.0)}, budget_per_day=worst_case())
        first = asyncio.create_task(lab.ask())
        await asyncio.sleep(0.1)
        leaving = asyncio.create_task(lab.ask())
        await asyncio.sleep(1.0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert lab.money.get_total_cost() == 0
        await first
        assert lab.sends == 1
        assert (lab.money.budget.spent, lab.money.budget.held) == (25, 0)

    run_virtually(story())


def test_hedges_do_not_wait_and_are_withheld_when_money_is_short() -> None:
    """A second opinion is optional: it is bought while the day goes by its plan, and only then."""

    async def story() -> None:
        for budget, sends in ((100 * worst_case(), 1), (3 * worst_case(), 0)):
            lab = world({XAI: taking(1.0), OPENAI: taking(1.0)}, budget_per_day=budget)
            for _ in range(40):
                await lab.ask()
            before = len(lab[OPENAI].asked_at)
            lab[XAI].mood = taking(12.0)
            await lab.ask()
            assert len(lab[OPENAI].asked_at) - before == sends

    run_virtually(story())


def test_the_vendors_empty_credit_is_not_our_budget() -> None:
    """QUOTA at every vendor: a failure of theirs, to the reason, the mode and the money."""

    async def story() -> None:
        lab = world({XAI: failing(FailureKind.QUOTA), OPENAI: failing(FailureKind.QUOTA)})
        outcomes = [await lab.ask() for _ in range(4)]
        await lab.look_after(5.0)
        status = lab.manager.get_system_status()
        for outcome in outcomes:
            assert isinstance(outcome, Unanswered)
            assert outcome.reason in {AbstainReason.ALL_PROVIDERS_FAILED, AbstainReason.NO_ROUTE}
        told = f"{outcomes} {status.mode_reason} {[report.reason for report in status.routes]}"
        assert "quota" in told
        assert "AI money" not in told
        assert "budget" not in told
        assert lab.money.budget.held == 0

    run_virtually(story())


def test_our_spent_budget_is_not_the_vendors_failure() -> None:
    """And the other way round: no route is sick for it, and no word of credit or quota is said."""

    async def story() -> None:
        lab = world({XAI: taking(1.0)}, budget_per_day=worst_case() - 1)
        outcome = await lab.ask()
        await lab.look_after(2.0)
        assert isinstance(outcome, Unanswered)
        assert outcome.reason is AbstainReason.AI_BUDGET_SPENT
        status = lab.manager.get_system_status()
        assert status.mode_reason.startswith("the AI money is spent")
        assert {str(report.state) for report in status.routes} == {"healthy"}
        assert "quota" not in f"{outcome} {status}"

    run_virtually(story())


def test_a_failure_without_a_word_of_its_tokens_is_booked_as_our_estimate() -> None:
    """The worst case stands for it, and says that it does; an answer's cost is the vendor's own."""

    async def story() -> None:
        unknown = Failure(FailureKind.SERVER_ERROR, "500")
        assert unknown.usage is None
        lab = world({XAI: failing(FailureKind.SERVER_ERROR), OPENAI: taking(1.0)})
        outcome = await lab.ask()
        assert isinstance(outcome, Answered)
        assert [(a.cost > 25, a.estimated) for a in outcome.attempts] == [(True, True), (False, False)]

    run_virtually(story())
