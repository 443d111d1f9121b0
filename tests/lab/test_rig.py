"""The rig for drills: a whole AI layer on emulated providers, real sockets and virtual time."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from urllib.parse import urlsplit

import pytest

from jurymast.domain.decision import Abstain, AbstainReason, Decision
from jurymast.domain.events import DecisionMade, ModeChanged, ProbeSent
from jurymast.domain.market import MarketStatus
from jurymast.domain.money import USD
from jurymast.domain.provider import ProviderName
from jurymast.domain.status import EmergencyMode
from jurymast.exchange.paths import PricePath
from jurymast.exchange.questions import load_bundle
from jurymast.lab.rig import EMULATED_KEY, MODELS, rig
from jurymast.lab.world import QuestionOracle

XAI, OPENAI, ANTHROPIC, LOCAL = ProviderName


class TestAsking:
    async def test_each_question_is_another_market_a_day_after_its_listing(self) -> None:
        """Questions come in the order of the bundle, with a book and the evidence of their day."""
        async with rig() as lab:
            answers = [await lab.ask() for _ in range(3)]
            asked = [lab.snapshot(index) for index in range(3)]
        assert [answer.ticker for answer in answers] == [q.ticker for q in lab.questions[:3]]
        for snapshot, question in zip(asked, lab.questions, strict=False):
            assert snapshot.as_of == question.listed_at + timedelta(days=1)
            assert snapshot.status is MarketStatus.ACTIVE

    async def test_questions_begin_anew_after_the_last(self) -> None:
        """The bundle is a ring: a drill may ask more questions than there are."""
        async with rig(providers=[LOCAL]) as lab:
            assert lab.snapshot(len(lab.questions) + 1) == lab.snapshot(1)

    async def test_every_answer_is_marked(self) -> None:
        """No decision of a rig can be taken for a real one."""
        async with rig() as lab:
            decision = await lab.ask()
            configs = [provider.config for provider in lab.fallback._providers.providers.values()]
        assert decision.simulated
        assert all(config.simulated for config in configs)
        assert {config.api_key for config in configs} == {EMULATED_KEY}
        assert {urlsplit(config.base_url).hostname for config in configs} == {"127.0.0.1"}

    async def test_the_same_seed_tells_the_same_story(self) -> None:
        """Two rigs with one seed give the same forecasts at the same cost; another seed gives others."""
        stories = []
        for seed in (1, 1, 2):
            async with rig(seed=seed) as lab:
                answers = [await lab.ask() for _ in range(4)]
            stories.append([(a.forecast, a.cost) for a in answers if isinstance(a, Decision)])
        assert stories[0] == stories[1] != stories[2]

    async def test_events_are_kept(self) -> None:
        """What the AI layer reports stands in the rig's list."""
        async with rig() as lab:
            decision = await lab.ask()
        assert [event.decision for event in lab.events if isinstance(event, DecisionMade)] == [decision]

    @pytest.mark.parametrize("stream", [True, False])
    async def test_answers_come_streamed_or_whole(self, stream: bool) -> None:
        """Both ways of answering lead to a decision with every vendor."""
        for name in ProviderName:
            async with rig(providers=[name], stream=stream) as lab:
                decision = await lab.ask()
                config = lab.fallback._providers.providers[name].config
            assert isinstance(decision, Decision)
            assert (decision.provider, decision.served_model) == (name, MODELS[name][0])
            assert config.stream is stream

    async def test_priority_is_the_order_of_the_vendors_whatever_the_order_asked_for(self) -> None:
        """The default priority decides, not how the list was written."""
        async with rig(providers=[LOCAL, OPENAI]) as lab:
            decision = await lab.ask()
        assert isinstance(decision, Decision)
        assert decision.provider is OPENAI

    async def test_the_budget_is_the_rigs(self) -> None:
        """A rig without money asks nobody who costs any."""
        async with rig(providers=[XAI], budget_per_day=USD // 10_000) as lab:
            answer = await lab.ask()
        assert isinstance(answer, Abstain)
        assert answer.reason is AbstainReason.AI_BUDGET_SPENT


class TestTime:
    async def test_time_passes_in_steps_with_probes(self) -> None:
        """Ten minutes of virtual time take no real ones, and idle routes are probed meanwhile."""
        async with rig() as lab:
            await lab.pass_time(601.0)
            assert lab.clock.monotonic() == 601.0
            probed = {event.route.provider for event in lab.events if isinstance(event, ProbeSent)}
        assert probed == set(ProviderName)

    async def test_waiting_for_a_mode_tells_how_long_it_took(self) -> None:
        """Down at once and up by the rungs: the times are those of the ladder."""
        async with rig() as lab:
            await lab.fleet.set_fault("all", "refuse")
            down_secs = await lab.until_mode(EmergencyMode.MINIMAL)
            await lab.fleet.clear_faults("all")
            up_secs = await lab.until_mode(EmergencyMode.NORMAL)
            modes = [event.new for event in lab.events if isinstance(event, ModeChanged)]
        assert down_secs < 60.0
        assert 330.0 <= up_secs < 1_200.0, "half a minute, five minutes, and probes"
        assert modes[-3:] == [EmergencyMode.MINIMAL, EmergencyMode.CONSERVATIVE, EmergencyMode.NORMAL]

    async def test_a_mode_that_never_comes_is_an_error(self) -> None:
        """Waiting in vain ends after its time."""
        async with rig(providers=[XAI, OPENAI]) as lab:
            with pytest.raises(TimeoutError, match="suspended was not reached in 30 s"):
                await lab.until_mode(EmergencyMode.SUSPENDED, secs_max=30.0)


class TestEnd:
    async def test_nothing_is_left_running(self) -> None:
        """After a rig, in the middle of an outage or not, no task is left."""
        before = asyncio.all_tasks()
        async with rig() as lab:
            await lab.ask()
            await lab.fleet.set_fault("xai", "hang", for_secs=60.0)
            await lab.ask()
        assert asyncio.all_tasks() == before


class TestWorld:
    def test_a_model_that_reads_the_news_sees_no_mispricing(self) -> None:
        """The oracle's opinion is the fundamental price, not the quoted one."""
        path, question = PricePath(3), load_bundle()[0]
        oracle = QuestionOracle([question], path)
        at = question.listed_at + timedelta(days=3)
        assert oracle.log_odds(question.ticker, at) == path.fundamental(question, at)
        assert oracle.log_odds(question.ticker, at) != path.log_odds(question, at)
        assert oracle.outcome(question.ticker) is question.outcome

    def test_it_knows_only_its_own_markets(self) -> None:
        """A market that is not in the world has neither opinion nor outcome."""
        question = load_bundle()[0]
        oracle = QuestionOracle([question], PricePath(0))
        assert oracle.log_odds("elsewhere", question.listed_at) is None
        assert oracle.outcome("elsewhere") is None

    def test_the_sample_for_skill_is_the_crowd_against_what_happened(self) -> None:
        """Skill is calibrated on every question: the crowd's price and the real outcome."""
        questions = load_bundle()
        sample = QuestionOracle(questions, PricePath(0)).calibration_sample()
        assert len(sample) == len(questions)
        assert [outcome for _, outcome in sample] == [question.outcome for question in questions]
        agree = sum((log_odds > 0) == outcome for log_odds, outcome in sample)
        assert agree / len(sample) > 0.6, "the crowd is right more often than not"
