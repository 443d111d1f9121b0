"""The real FallbackManager in virtual time: tails, hangs, storms and thousands of decisions."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import pytest

from intelligence.virtual_world import (
    SILENCE,
    Turn,
    VirtualWorld,
    failing,
    lognormal,
    percentile,
    taking,
    world,
)
from jurymast.domain.events import FailedOver, RouteChanged
from jurymast.domain.provider import Failure, FailureKind, ProviderName
from jurymast.domain.status import ProviderStatus, RouteReport, RouteState
from jurymast.intelligence.fallback_manager import Answered
from jurymast.policy.deadline import WorkSettings
from jurymast.policy.limits import HEDGE_EARNED, HEDGE_TOKENS
from jurymast.testing.loop import run_virtually

XAI, OPENAI, ANTHROPIC, LOCAL = ProviderName
HAIR = 1e-6
DEADLINE_SECS = 60.0
T = TypeVar("T")


def report_of(lab: VirtualWorld, name: ProviderName) -> RouteReport:
    [report] = [r for r in lab.manager.get_system_status().routes if r.route.provider is name]
    return report


def opened(lab: VirtualWorld, name: ProviderName) -> int:
    """How often a provider's route was opened."""
    changes = [e for e in lab.events if isinstance(e, RouteChanged) and e.route.provider is name]
    return sum(change.new is RouteState.OPEN for change in changes)


def left_over(lab: VirtualWorld) -> tuple[set[asyncio.Task[Any]], int]:
    """Tasks of others and how many limits are set on the running loop."""
    return asyncio.all_tasks() - {asyncio.current_task()}, lab.limits_set()


class TestSilence:
    def test_once_learned_it_costs_the_hedge_delay_and_one_good_call(self) -> None:
        """A provider of a second that falls silent once costs about two seconds, not a time-out."""

        async def story() -> None:
            lab = world({XAI: lognormal(1.0, 0.2, 1), OPENAI: taking(1.2)})
            await lab.ask_each(40, every_secs=60.0)
            delay_secs = report_of(lab, XAI).overdue_secs
            assert delay_secs < 3.0
            lab[XAI].mood = taking(SILENCE)
            await lab.ask()
            assert lab.answered_by()[-1] is OPENAI
            assert lab.latencies[-1] <= delay_secs + 1.2 + HAIR
            assert lab[XAI].under_way == 0, "the silent request was given up"

        run_virtually(story())

    def test_before_anything_is_learned_a_share_of_the_longest_attempt(self) -> None:
        """The very first question to a silent provider is answered within the deadline by the next."""

        async def story() -> None:
            lab = world({XAI: taking(SILENCE), OPENAI: taking(1.0)})
            await lab.ask()
            assert lab.answered_by() == [OPENAI]
            assert lab.latencies[0] <= 0.75 * WorkSettings().attempt_secs_max + 1.0 + HAIR

        run_virtually(story())

    def test_the_next_silence_is_no_dearer(self) -> None:
        """An outage of ten minutes does not teach patience: the one after it costs as little."""

        async def story() -> list[float]:
            lab = world({XAI: lognormal(1.0, 0.2, 1), OPENAI: taking(1.2)})
            await lab.ask_each(30, every_secs=60.0)
            dearest = []
            for _ in range(3):
                lab[XAI].mood = taking(SILENCE)
                helper = asyncio.create_task(lab.look_after(600.0))
                before = len(lab.latencies)
                await lab.ask_each(10, every_secs=60.0)
                dearest.append(max(lab.latencies[before:]))
                lab[XAI].mood = lognormal(1.0, 0.2, 2)
                await helper
                helper = asyncio.create_task(lab.look_after(700.0))
                await lab.ask_each(12, every_secs=60.0)
                await helper
                assert lab.answered_by()[-1] is XAI
            return dearest

        assert max(run_virtually(story())) < 5.0

    def test_two_hundred_questions_by_ten_callers_leave_a_hanging_primary_alone(self) -> None:
        """Ten callers at once, a primary that hangs: fifteen of two hundred requests reach it at most."""

        async def story() -> None:
            lab = world({XAI: taking(0.05), OPENAI: taking(0.05)})
            await lab.ask_at_once(100, workers=10)
            before = len(lab[XAI].asked_at)
            lab[XAI].mood = taking(SILENCE)
            await lab.ask_at_once(200, workers=10)
            reached = len(lab[XAI].asked_at) - before
            assert reached <= 15
            assert None not in lab.answered_by()
            assert percentile(lab.latencies[100:], 0.9) < 0.2

        run_virtually(story())

    def test_a_cold_hanging_primary_is_left_alone_too(self) -> None:
        """The same without anything learned before: as many as there are callers, and a few."""

        async def story() -> None:
            lab = world({XAI: taking(SILENCE), OPENAI: taking(0.05)})
            await lab.ask_at_once(200, workers=10)
            assert len(lab[XAI].asked_at) <= 15
            assert None not in lab.answered_by()

        run_virtually(story())

    @pytest.mark.parametrize("per_sec", [1 / 60, 0.1, 1.0, 10.0, 50.0])
    @pytest.mark.parametrize(
        "mood", [taking(SILENCE), failing(FailureKind.SERVER_ERROR)], ids=["silent", "500"]
    )
    def test_a_minutes_outage_costs_eight_sends_at_any_rate(
        self, mood: Callable[[], Turn], per_sec: float
    ) -> None:
        """However fast questions come, a primary that is dead for a minute sees at most eight of them."""

        async def story() -> None:
            lab = world({XAI: taking(0.05), OPENAI: taking(0.05)}, max_concurrent=64)
            await lab.ask_at_rate(max(per_sec, 1.0), secs=60.0)
            helper = asyncio.create_task(lab.look_after(62.0))
            before = len(lab[XAI].asked_at)
            lab[XAI].mood = mood
            await lab.ask_at_rate(per_sec, secs=60.0)
            lab[XAI].mood = taking(0.05)
            sends = len(lab[XAI].asked_at) - before
            await helper
            assert sends <= 8
            assert None not in lab.answered_by()

        run_virtually(story())


class TestTail:
    def test_one_stall_in_twenty_is_hidden(self) -> None:
        """5 % of requests stall for 5 s, the rest take 50 ms: the 99th percentile is the hedge delay and a
        good call, extra calls are a hedge for each stall, and the provider keeps its place."""

        async def story() -> None:
            chance = random.Random(5)
            lab = world(
                {XAI: lambda: 5.0 if chance.random() < 0.05 else 0.05, OPENAI: taking(0.05)},
                max_concurrent=16,
            )
            await lab.ask_at_once(100, workers=10)
            before, sends = len(lab.latencies), lab.sends
            await lab.ask_at_once(600, workers=10)
            latencies, extra = lab.latencies[before:], lab.sends - sends - 600
            delay_secs = max(WorkSettings().hedge_secs_min, report_of(lab, XAI).overdue_secs)
            assert percentile(latencies, 0.99) <= delay_secs + 0.05 + 0.01
            assert extra <= 600 * HEDGE_EARNED + HEDGE_TOKENS
            assert opened(lab, XAI) == 0
            assert lab.answered_by()[before:].count(XAI) >= 0.9 * 600

        run_virtually(story())

    def test_when_everybody_is_slow_questions_are_not_doubled(self) -> None:
        """A fleet three times slower than learned does not get twice the load on top."""

        async def story() -> None:
            names = (XAI, OPENAI, ANTHROPIC)
            lab = world({name: lognormal(2.0, 0.3, seed) for seed, name in enumerate(names)})
            await lab.ask_each(60, every_secs=10.0)
            for seed, name in enumerate(names):
                lab[name].mood = lognormal(6.0, 0.3, seed + 10)
            sends = lab.sends
            await lab.ask_each(200, every_secs=10.0)
            assert lab.sends - sends <= 1.2 * 200
            assert lab.answered_by().count(None) == 0

        run_virtually(story())

    @pytest.mark.parametrize("factor", [3.0, 10.0])
    def test_a_primary_that_turns_slow_is_left_for_a_faster_one(self, factor: float) -> None:
        """Three or ten times slower for half an hour: the median question does not pay it for long."""

        async def story() -> None:
            lab = world({XAI: lognormal(2.0, 0.3, 1), OPENAI: lognormal(2.5, 0.3, 2)})
            await lab.ask_each(60, every_secs=10.0)
            lab[XAI].mood = lognormal(2.0 * factor, 0.3, 3)
            before = len(lab.latencies)
            await lab.ask_each(180, every_secs=10.0)
            assert percentile(lab.latencies[before:], 0.5) < 8.0
            assert lab.answered_by().count(None) == 0

        run_virtually(story())


class TestRecovery:
    def test_probes_find_the_way_back_one_at_a_time(self) -> None:
        """Through an outage and after it a provider never has two probes under way, and no decision goes
        to it before a probe has been answered."""

        async def story() -> None:
            lab = world({XAI: taking(0.5), OPENAI: taking(0.5)})
            await lab.ask_each(10, every_secs=1.0)
            lab[XAI].mood = taking(SILENCE)
            helpers = [asyncio.create_task(lab.look_after(900.0)) for _ in range(3)]
            await lab.ask_each(300, every_secs=1.0)
            asked = len(lab[XAI].asked_at)
            healed_at, lab[XAI].mood = lab.now, taking(0.5)
            await lab.ask_each(300, every_secs=1.0)
            back_at = lab[XAI].asked_at[asked]
            assert any(healed_at <= at < back_at for at in lab[XAI].probed_at)
            assert back_at - healed_at <= 300.0
            assert lab[XAI].probes_under_way_most == 1
            assert lab.answered_by()[-1] is XAI
            for helper in helpers:
                await helper

        run_virtually(story())

    @pytest.mark.parametrize("outage_secs", [20.0, 60.0, 600.0, 3_600.0])
    def test_a_recovered_primary_is_in_use_within_five_minutes(self, outage_secs: float) -> None:
        """However long it was gone, it answers again within five minutes and some probes, without a hand."""

        async def story() -> None:
            lab = world({XAI: taking(0.5), OPENAI: taking(0.5)}, seed=3)
            helper = asyncio.create_task(lab.look_after(outage_secs + 400.0))
            await lab.ask_each(5, every_secs=5.0)
            lab[XAI].mood = failing(FailureKind.SERVER_ERROR)
            await lab.ask_each(int(outage_secs / 5), every_secs=5.0)
            healed_at, lab[XAI].mood = lab.now, taking(0.5)
            while lab.answered_by()[-1] is not XAI:
                await lab.ask_each(1, every_secs=5.0)
            assert lab.now - healed_at <= 310.0
            assert len(lab[XAI].probed_at) <= 6 + outage_secs / 150
            await helper

        run_virtually(story())

    def test_a_flickering_provider_makes_few_changes(self) -> None:
        """Half a minute of storm, a minute without, for an hour: every question answered, little extra."""

        async def story() -> None:
            lab = world({XAI: taking(0.5), OPENAI: taking(0.5)})
            helper = asyncio.create_task(lab.look_after(3_600.0))
            for _ in range(40):
                lab[XAI].mood = failing(FailureKind.OVERLOADED)
                await lab.ask_each(6, every_secs=5.0)
                lab[XAI].mood = taking(0.5)
                await lab.ask_each(12, every_secs=5.0)
            await helper
            assert None not in lab.answered_by()
            assert lab.sends <= 1.2 * len(lab.outcomes)
            assert len(lab.told(FailedOver)) <= 80

        run_virtually(story())


class TestCallers:
    def test_a_caller_that_leaves_takes_everything_with_it(self) -> None:
        """Cancelled in the middle of a hedge, a question leaves no task, no timer and no request."""

        async def story() -> None:
            lab = world({XAI: taking(SILENCE), OPENAI: taking(SILENCE)})
            asking = asyncio.create_task(lab.ask())
            await asyncio.sleep(22.0)
            assert lab[XAI].under_way == lab[OPENAI].under_way == 1
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking
            assert asking.cancelled()
            await asyncio.sleep(0)
            assert lab[XAI].under_way == lab[OPENAI].under_way == 0
            assert left_over(lab) == (set(), 0)
            assert report_of(lab, XAI).reason.startswith("no answer in 22")
            assert report_of(lab, OPENAI).reason == "no request yet", "it was still in good time"
            assert [report.in_flight for report in lab.manager.get_system_status().routes] == [0, 0]

        run_virtually(story())

    def test_patience_that_is_always_too_short_is_the_routes_fault_in_the_end(self) -> None:
        """A route that eats every caller's patience is charged though no time-out was ever reached."""

        async def story() -> None:
            lab = world({XAI: taking(1.0), OPENAI: taking(1.0)})
            await lab.ask_each(20, every_secs=60.0)
            lab[XAI].mood = lab[OPENAI].mood = taking(SILENCE)
            for _ in range(4):
                with suppress(TimeoutError):
                    async with asyncio.timeout(4.0):
                        await lab.ask()
                await asyncio.sleep(60.0)
            assert report_of(lab, XAI).state in {RouteState.OPEN, RouteState.HALF_OPEN}

        run_virtually(story())

    @pytest.mark.parametrize("seed", range(3))
    def test_over_an_outage_the_status_names_who_answers_first(self, seed: int) -> None:
        """xAI fails two times in five for an hour. At every second the active route is one that is believed
        to answer, each failover starts where the last one ended, and none is told without an opening."""

        async def story() -> None:
            chance = random.Random(seed)

            def mood() -> Turn:
                ill = 600.0 < lab.now - began < 4_200.0 and chance.random() < 0.4
                return Failure(FailureKind.SERVER_ERROR, "drawn") if ill else 1.0

            lab = world({XAI: mood, OPENAI: taking(1.0)}, seed=seed)
            lab[XAI].probe_mood = mood
            began = lab.now
            helper = asyncio.create_task(lab.look_after(6_000.0))
            asking = asyncio.create_task(lab.ask_each(90, every_secs=60.0))
            while not asking.done():
                await asyncio.sleep(1.0)
                if (active := lab.manager.get_system_status().active_route) is not None:
                    assert report_of(lab, active.provider).state in {RouteState.HEALTHY, RouteState.SUSPECT}
            helper.cancel()
            moves = [(e.from_route, e.to_route) for e in lab.events if isinstance(e, FailedOver)]
            assert [event.to_route for event in lab.manager.failover_history] == [to for _, to in moves]
            assert all(here == there for (_, here), (there, _) in itertools.pairwise(moves))
            assert 2 <= len(moves) <= 2 * opened(lab, XAI)
            assert active is not None
            assert active.provider is XAI

        run_virtually(story())

    @pytest.mark.parametrize("seed", range(3))
    def test_the_deadline_is_kept_whatever_happens(self, seed: int) -> None:
        """Three providers that answer, stall and fail at random: no question takes longer than it may."""

        async def story() -> None:
            chance = random.Random(seed)

            def mood() -> Turn:
                dice = chance.random()
                if dice < 0.3:
                    return SILENCE
                if dice < 0.6:
                    kind = chance.choice(sorted(FailureKind))
                    return Failure(kind, "drawn", retry_after_secs=chance.choice([None, 1.0, 30.0]))
                return chance.choice(["nonsense", chance.lognormvariate(1.5, 1.0)])

            lab = world(dict.fromkeys((XAI, OPENAI, ANTHROPIC, LOCAL), mood), seed=seed)
            helper = asyncio.create_task(lab.look_after(20_000.0))
            for _ in range(400):
                deadline_secs = chance.choice([1.0, 3.0, 10.0, 60.0])
                for name in (XAI, OPENAI, ANTHROPIC, LOCAL):
                    if chance.random() < 0.05:
                        lab.manager.restore_provider(name)
                began = lab.now
                outcome = await lab.ask(deadline_secs)
                assert lab.now - began <= deadline_secs + HAIR
                assert sum(attempt.sent for attempt in outcome.attempts) <= 3
                await asyncio.sleep(chance.random() * 20)
            helper.cancel()
            with suppress(asyncio.CancelledError):
                await helper
            assert left_over(lab) == (set(), 0)
            assert lab.money.budget.held == 0
            assert sum(isinstance(outcome, Answered) for outcome in lab.outcomes) > 30, (
                "one send in five is good"
            )

        run_virtually(story())


class TestManyQuestions:
    def test_thousands_of_questions_leave_nothing_behind(self) -> None:
        """Five thousand through hangs, failures and hedges: no task, no timer, no slot, no money held, and
        books that add up to what the questions say they cost."""

        async def story() -> None:
            chance = random.Random(9)

            def mood() -> Turn:
                dice = chance.random()
                return SILENCE if dice < 0.02 else 0.3 if dice < 0.9 else failing(FailureKind.OVERLOADED)()

            lab = world(dict.fromkeys((XAI, OPENAI, ANTHROPIC), mood))
            helper = asyncio.create_task(lab.look_after(120.0))
            await lab.ask_at_once(5_000, workers=20)
            await helper
            assert left_over(lab) == (set(), 0)
            assert lab.money.budget.held == 0
            assert [report.in_flight for report in lab.manager.get_system_status().routes] == [0, 0, 0]
            probes = sum(len(provider.probed_at) for provider in lab.providers.values())
            booked = sum(outcome.cost for outcome in lab.outcomes)
            assert booked <= lab.money.get_total_cost() <= booked + probes
            assert lab.sends <= 1.3 * 5_000
            assert lab.answered_by().count(None) <= 20, "all three may fall silent for one question"

        run_virtually(story())

    def test_the_same_seed_tells_the_same_story(self) -> None:
        """One seed, one story: the same answers, latencies, requests and events in every run."""

        async def story() -> tuple[Any, ...]:
            chance = random.Random(4)

            def mood() -> Turn:
                return SILENCE if chance.random() < 0.05 else chance.lognormvariate(0.5, 0.5)

            lab = world(dict.fromkeys((XAI, OPENAI, ANTHROPIC), mood), seed=1)
            helper = asyncio.create_task(lab.look_after(60.0))
            await lab.ask_at_once(300, workers=5)
            await helper
            return (
                lab.answered_by(),
                lab.latencies,
                lab[OPENAI].asked_at,
                [str(event) for event in lab.events],
            )

        assert repeated(story) == 1

    def test_a_run_without_trouble_asks_each_question_once(self) -> None:
        """No fault, no extra: a request per question, and everybody idle probed now and then."""

        async def story() -> None:
            lab = world({XAI: lognormal(6.0, 0.5, 1), OPENAI: taking(7.0), LOCAL: taking(12.0)})
            helper = asyncio.create_task(lab.look_after(6_000.0))
            await lab.ask_each(100, every_secs=60.0)
            await helper
            assert lab.sends <= 105
            assert lab.answered_by().count(XAI) >= 98
            assert len(lab[OPENAI].probed_at) <= 6_000 / 300 + 2
            statuses = lab.manager.get_system_status().providers
            assert set(statuses.values()) == {ProviderStatus.HEALTHY}

        run_virtually(story())


def repeated(story: Callable[[], Coroutine[Any, Any, T]]) -> int:
    """How many different outcomes three runs of a story have."""
    return len({repr(run_virtually(story())) for _ in range(3)})
