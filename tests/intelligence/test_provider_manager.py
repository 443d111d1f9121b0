"""Money and counts of the providers: reserved before it is sent, settled by the bill, never overspent."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest

from jurymast.domain.decision import Abstain, Decision
from jurymast.domain.errors import ProviderError
from jurymast.domain.money import USD, Micros
from jurymast.domain.provider import AIRequest, FailureKind, Message, ProviderName, Route, Tier
from jurymast.domain.status import EmergencyMode
from jurymast.intelligence.prompts import forecast_request
from jurymast.intelligence.provider_manager import BudgetSpentError, ProviderManager, RouteStats
from jurymast.intelligence.purse import MemoryBooks
from jurymast.lab.emulators.ledger import Ledger
from jurymast.lab.rig import MODELS, Rig, rig
from jurymast.policy.ledger import Cap, Scope

XAI, OPENAI, ANTHROPIC, LOCAL = ProviderName
CLOUDS = [XAI, OPENAI, ANTHROPIC]
TIMEOUT_SECS = 5.0


def manager_of(lab: Rig) -> ProviderManager:
    return lab.fallback._providers


def route_to(name: ProviderName) -> Route:
    return Route(name, MODELS[name][0])


def question_of(lab: Rig, index: int = 0) -> AIRequest:
    return forecast_request(lab.snapshot(index), ())


def bill(before: Ledger, after: Ledger) -> Micros:
    """What the vendor bills, by its own tariff, for at most one request."""
    assert after.billed - before.billed <= 1
    return after.bill - before.bill


async def ask(lab: Rig, name: ProviderName, index: int = 0, timeout_secs: float = TIMEOUT_SECS) -> None:
    await manager_of(lab).make_request(question_of(lab, index), route_to(name), timeout_secs=timeout_secs)


class TestBills:
    @pytest.mark.parametrize("stream", [True, False], ids=["streamed", "plain"])
    @pytest.mark.parametrize("name", ProviderName)
    async def test_the_books_hold_what_the_vendor_counted(self, name: ProviderName, stream: bool) -> None:
        """Five answers of each vendor cost what its own token counts come to, to the micro-dollar."""
        async with rig(providers=[name], stream=stream) as lab:
            manager, due = manager_of(lab), 0
            for index in range(5):
                before = lab.fleet.ledger(name)
                await ask(lab, name, index)
                due += bill(before, lab.fleet.ledger(name))
            books = lab.fleet.ledger(name)
        assert books.billed == 5
        assert due > 0 or name is LOCAL
        assert manager.get_total_cost() == manager.budget.spent == due
        assert manager.budget.held == 0
        assert manager.stats[route_to(name)].input_tokens == books.input_tokens
        assert manager.stats[route_to(name)].output_tokens == books.output_tokens

    @pytest.mark.parametrize("name", CLOUDS)
    async def test_a_decision_costs_what_was_billed_for_it(self, name: ProviderName) -> None:
        """The cost on a decision is the vendor's bill for it."""
        async with rig(providers=[name]) as lab:
            before = lab.fleet.ledger(name)
            decision = await lab.ask()
            assert decision.cost == bill(before, lab.fleet.ledger(name)) > 0

    @pytest.mark.parametrize("name", CLOUDS)
    async def test_a_probe_is_booked_too(self, name: ProviderName) -> None:
        """Health checks cost money, and the books say how much."""
        async with rig(providers=[name]) as lab:
            manager = manager_of(lab)
            before = lab.fleet.ledger(name)
            result = await manager.probe(route_to(name), timeout_secs=TIMEOUT_SECS)
            due = bill(before, lab.fleet.ledger(name))
        assert result.is_healthy
        assert result.cost == manager.budget.spent == manager.get_total_cost() == due > 0

    @pytest.mark.parametrize("name", CLOUDS)
    async def test_a_truncated_answer_is_billed(self, name: ProviderName) -> None:
        """Half an answer is no answer, but its tokens are paid for."""
        async with rig(providers=[name]) as lab:
            manager = manager_of(lab)
            await lab.fleet.set_fault(name.value, "truncated")
            before = lab.fleet.ledger(name)
            with pytest.raises(ProviderError) as caught:
                await ask(lab, name)
            due = bill(before, lab.fleet.ledger(name))
        assert caught.value.failure.kind is FailureKind.TRUNCATED
        assert caught.value.cost == manager.budget.spent == due > 0


class TestFailures:
    @pytest.mark.parametrize("fault", ["refuse", "503", "529", "429", "auth", "model_gone"])
    async def test_what_was_not_answered_costs_nothing(self, fault: str) -> None:
        """A refused connection, an overload or a rejected key is counted and costs nothing."""
        async with rig(providers=[XAI]) as lab:
            manager = manager_of(lab)
            await lab.fleet.set_fault("xai", fault)
            with pytest.raises(ProviderError) as caught:
                await ask(lab, XAI)
            assert lab.fleet.ledger(XAI).billed == 0
        assert caught.value.cost == 0
        assert (manager.budget.spent, manager.budget.held) == (0, 0)
        stats = manager.get_provider_stats()["xai/grok-4.3"]
        assert (stats["requests"], stats["failures"], stats["cost_micros"]) == (1, 1, 0)

    async def test_a_hung_request_stays_booked_at_its_worst_case(self) -> None:
        """Silence may be billed: what was held for the request is what it cost."""
        async with rig(providers=[XAI]) as lab:
            manager = manager_of(lab)
            await lab.fleet.set_fault("xai", "hang")
            asking = asyncio.create_task(ask(lab, XAI, timeout_secs=0.2))
            await asyncio.sleep(0)
            held = manager.budget.held
            with pytest.raises(ProviderError) as caught:
                await asking
        assert held > 0
        assert caught.value.cost == held
        assert (manager.budget.spent, manager.budget.held) == (held, 0)
        assert manager.get_total_cost() == held

    @pytest.mark.parametrize("known", [False, True])
    async def test_a_cancelled_request_keeps_its_worst_case_back(self, known: bool) -> None:
        """Nobody waits for the answer any more, but the vendor may still bill it: what has likely come is
        spent, the rest of the hold stays uncertain. Of a route that never answered all of it is spent."""
        async with rig(providers=[XAI]) as lab:
            manager = manager_of(lab)
            if known:
                manager.stats[manager.routes()[0]] = RouteStats(output_tokens=800, answer_secs=8.0)
            earlier = manager.budget.spent
            await lab.fleet.set_fault("xai", "hang")
            requests = lab.fleet.ledger(XAI).requests
            asking = asyncio.create_task(ask(lab, XAI))
            for _ in range(400):
                if lab.fleet.ledger(XAI).requests > requests:
                    break
                await asyncio.sleep(0.005)
            held = manager.budget.held
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking
        spent, uncertain = manager.budget.spent - earlier, manager.budget.uncertain
        assert held > 0
        assert (spent + uncertain, manager.budget.held) == (held, 0)
        assert (0 < spent < held) if known else (spent == held)
        assert manager.get_total_cost() == manager.budget.spent

    async def test_the_worst_case_is_never_below_the_bill(self) -> None:
        """What is held for a request covers what any vendor bills for it."""
        async with rig() as lab:
            manager = manager_of(lab)
            for name in CLOUDS:
                for index in range(5):
                    asking = asyncio.create_task(ask(lab, name, index))
                    await asyncio.sleep(0)
                    held, spent = manager.budget.held, manager.budget.spent
                    await asking
                    assert 0 < manager.budget.spent - spent < held


class TestBudget:
    async def test_fifty_at_once_cannot_overspend(self) -> None:
        """Fifty requests on money for a few: at no instant is more spent and held than the limit."""
        async with rig(providers=[OPENAI]) as lab:
            worst = await self.worst_case(lab)
        async with rig(providers=[OPENAI], budget_per_day=worst * 7 // 2) as lab:
            manager, most = manager_of(lab), 0

            async def one(index: int) -> bool:
                nonlocal most
                try:
                    await ask(lab, OPENAI, index)
                except BudgetSpentError:
                    return False
                finally:
                    most = max(most, manager.budget.limit - manager.budget.left)
                return True

            answered = await asyncio.gather(*(one(index) for index in range(50)))
            requests = lab.fleet.ledger(OPENAI).requests
        limit = worst * 7 // 2
        assert most <= limit
        assert manager.budget.spent <= limit
        assert manager.budget.held == 0
        assert 2 <= sum(answered) == requests < 50, "what was refused was not sent"

    @staticmethod
    async def worst_case(lab: Rig) -> Micros:
        asking = asyncio.create_task(ask(lab, OPENAI))
        await asyncio.sleep(0)
        held = manager_of(lab).budget.held
        await asking
        return held

    async def test_fifty_at_once_through_silence_cannot_overspend(self) -> None:
        """Requests that hang keep their worst case booked, and still the limit holds."""
        async with rig(providers=[XAI], budget_per_day=USD // 20) as lab:
            manager = manager_of(lab)
            await lab.fleet.set_fault("xai", "hang")
            asking = [ask(lab, XAI, index, timeout_secs=1.0) for index in range(50)]
            outcomes = await asyncio.gather(*asking, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {ProviderError, BudgetSpentError}
        assert 0 < manager.budget.spent <= USD // 20
        assert manager.budget.held == 0

    async def test_each_market_has_its_own_limit_where_there_is_one(self) -> None:
        """A market that is asked about again and again runs out of money alone."""
        async with rig(providers=[OPENAI]) as lab:
            worst = await self.worst_case(lab)
        caps = Cap(100 * USD), Cap(worst * 3 // 2, scope=Scope.MARKET)
        async with rig(providers=[OPENAI], books=lambda clock: MemoryBooks(caps, clock)) as lab:

            async def decide(index: int) -> Decision | Abstain:
                return await lab.client.get_trading_decision(lab.snapshot(index), deadline_secs=5.0)

            answers = [await decide(0) for _ in range(6)]
            assert answers[0].attempts[-1].outcome == "answered"
            assert answers[-1].attempts[-1].outcome == "skipped"
            assert f"for market {lab.snapshot(0).ticker}" in answers[-1].attempts[-1].detail
            other = await decide(1)
            assert other.attempts[-1].outcome == "answered"
            assert lab.fallback.mode is EmergencyMode.NORMAL, "one market is not the end of means"

    async def test_a_budget_of_nothing_sends_nothing(self) -> None:
        """Zero means none, except for a model that costs nothing."""
        async with rig(budget_per_day=0) as lab:
            for name in CLOUDS:
                with pytest.raises(BudgetSpentError, match="0 of the day's 0"):
                    await ask(lab, name)
            await ask(lab, LOCAL)
            assert [lab.fleet.ledger(name).requests for name in ProviderName] == [0, 0, 0, 1]

    async def test_a_new_day_has_new_money(self) -> None:
        """At midnight UTC spending starts anew, and the total keeps counting."""
        async with rig(providers=[XAI]) as lab:
            manager = manager_of(lab)
            await ask(lab, XAI)
            spent = manager.budget.spent
            lab.clock.advance(timedelta(days=1).total_seconds())
            assert spent > 0
            assert manager.budget.spent == 0
            await ask(lab, XAI)
            assert manager.get_total_cost() == spent + manager.budget.spent


class TestLists:
    async def test_routes_go_by_priority_and_small_models_are_known(self) -> None:
        """Routes stand in the order of priority, and whatever runs locally counts as small."""
        async with rig() as lab:
            manager = manager_of(lab)
        assert [route.provider for route in manager.routes()] == list(ProviderName)
        assert manager.tier(route_to(LOCAL)) is Tier.SMALL
        assert manager.tier(route_to(ANTHROPIC)) is Tier.STRONG

    async def test_every_model_is_listed_and_a_broken_vendor_says_why(self) -> None:
        """One vendor that won't list its models does not hide the others'."""
        async with rig() as lab:
            await lab.fleet.set_fault("openai", "auth")
            models = await manager_of(lab).list_all_models()
        assert isinstance(models[OPENAI], ProviderError)
        for name in (XAI, ANTHROPIC, LOCAL):
            listed = models[name]
            assert not isinstance(listed, ProviderError)
            assert MODELS[name][0] in {info.model for info in listed}

    async def test_all_routes_can_be_checked_at_once(self) -> None:
        """A health check of everything tells each route's own truth."""
        async with rig() as lab:
            await lab.fleet.set_fault("anthropic", "529")
            results = await manager_of(lab).health_check_all(TIMEOUT_SECS)
        assert {route.provider: result.is_healthy for route, result in results.items()} == {
            XAI: True,
            OPENAI: True,
            ANTHROPIC: False,
            LOCAL: True,
        }

    async def test_mean_latency_follows_the_requests(self) -> None:
        """Counts per route are there from the start, and say nothing before the first request."""
        async with rig(providers=[XAI]) as lab:
            assert manager_of(lab).get_provider_stats() == {
                "xai/grok-4.3": {
                    "requests": 0,
                    "failures": 0,
                    "input_tokens": 0,
                    "output_tokens": 0,
                    "cost_micros": 0,
                    "uncertain_micros": 0,
                    "mean_secs": 0.0,
                }
            }

    async def test_plain_text_can_be_asked_for(self) -> None:
        """A request without a schema is priced and answered like any other."""
        async with rig(providers=[XAI]) as lab:
            request = AIRequest((Message("user", "Say something."),), max_output_tokens=200)
            before = lab.fleet.ledger(XAI)
            response = await manager_of(lab).make_request(request, route_to(XAI), timeout_secs=TIMEOUT_SECS)
            due = bill(before, lab.fleet.ledger(XAI))
        assert response.content
        assert response.simulated
        assert response.cost == due
