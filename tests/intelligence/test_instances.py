"""Several keys, regions or servers of one provider, over real sockets."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from jurymast.domain.decision import Decision, Rung
from jurymast.domain.events import Event
from jurymast.domain.money import USD
from jurymast.domain.provider import ProviderConfig, ProviderName, Route
from jurymast.domain.status import ProviderStatus, RouteState
from jurymast.exchange.paths import PricePath
from jurymast.exchange.questions import load_bundle
from jurymast.intelligence.assembly import connect
from jurymast.lab.emulators.fleet import EmulatorFleet
from jurymast.lab.rig import EMULATED_KEY, MODELS, QUICK, Rig
from jurymast.lab.world import QuestionOracle
from jurymast.testing.clock import FakeClock

XAI, OPENAI = ProviderName.XAI, ProviderName.OPENAI
US, EU = Route(XAI, "grok-4.3", "us"), Route(XAI, "grok-4.3", "eu")


@asynccontextmanager
async def two_regions(us_weight: float = 1.0) -> AsyncIterator[tuple[Rig, EmulatorFleet]]:
    """xAI in two regions, each an emulator of its own, OpenAI behind them; and the second region's fleet."""
    questions = load_bundle()
    oracle = QuestionOracle(questions, PricePath(0))
    events: list[Event] = []
    clock = FakeClock()
    async with (
        EmulatorFleet(oracle, latency_scale=0.0, models=MODELS) as us,
        EmulatorFleet(oracle, latency_scale=0.0, models=MODELS) as eu,
    ):
        configs = [
            ProviderConfig(
                XAI, us.base_urls[XAI], MODELS[XAI], 1, EMULATED_KEY, instance="us", weight=us_weight
            ),
            ProviderConfig(XAI, eu.base_urls[XAI], MODELS[XAI], 1, EMULATED_KEY, instance="eu"),
            ProviderConfig(OPENAI, us.base_urls[OPENAI], MODELS[OPENAI], 2, EMULATED_KEY),
        ]
        async with connect(
            configs, clock=clock, emit=events.append, settings=QUICK, budget_per_day=100 * USD
        ) as client:
            yield Rig(us, client, clock, questions, events), eu


async def routes_of(lab: Rig, times: int) -> Counter[Route]:
    answers = [await lab.ask() for _ in range(times)]
    return Counter(answer.route for answer in answers if isinstance(answer, Decision))


async def test_instances_share_the_work_by_weight() -> None:
    """A region of weight three gets three questions in four, and no question goes to the next provider."""
    async with two_regions(us_weight=3.0) as (lab, _):
        assert await routes_of(lab, 12) == {US: 9, EU: 3}


async def test_when_one_instance_is_down_its_sibling_answers() -> None:
    """One region refuses: the other answers the same question, and that is still the primary provider."""
    async with two_regions() as (lab, _):
        await lab.fleet.set_fault("xai", "refuse")
        answers = [await lab.ask() for _ in range(4)]
        assert all(isinstance(answer, Decision) and answer.route == EU for answer in answers)
        assert {answer.rung for answer in answers} == {Rung.PRIMARY}
        status = lab.fallback.get_system_status()
        assert status.providers[XAI] is ProviderStatus.DEGRADED
        assert {report.route: report.state for report in status.routes}[US] is not RouteState.HEALTHY


async def test_a_key_without_credit_latches_its_own_instance_only() -> None:
    """The first region's account is empty: it is latched at once, the second stays as it was."""
    async with two_regions() as (lab, _):
        await lab.fleet.set_fault("xai", "quota")
        assert await routes_of(lab, 4) == {EU: 4}
        states = {report.route: report.state for report in lab.fallback.get_system_status().routes}
        assert (states[US], states[EU]) == (RouteState.LATCHED, RouteState.HEALTHY)
        assert lab.fleet.ledger(XAI).requests == 1


async def test_when_all_instances_are_down_the_next_provider_answers_in_the_same_decision() -> None:
    """Both regions refuse: two sends go to them, the third to OpenAI."""
    async with two_regions() as (lab, eu):
        await lab.fleet.set_fault("xai", "503")
        await eu.set_fault("xai", "503")
        answer = await lab.ask()
        assert isinstance(answer, Decision)
        assert [attempt.route.provider for attempt in answer.attempts if attempt.sent] == [XAI, XAI, OPENAI]
