"""What users of other gateways report and ask for most, a test each.

T1 to T30, as numbered in the survey of their issue trackers. Those that live on a wire meet a real server,
those about time run in virtual time.
"""

from __future__ import annotations

import asyncio
import gc
import random
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import pytest

from jurymast.domain.decision import Abstain, AbstainReason, Decision, Rung
from jurymast.domain.errors import ConfigError
from jurymast.domain.money import USD
from jurymast.domain.provider import FailureKind, ProviderConfig, ProviderName, Secret
from jurymast.domain.status import EmergencyMode, RouteReport, RouteState
from jurymast.intelligence.assembly import connect
from jurymast.intelligence.fallback_manager import Answered, FallbackManager, Unanswered
from jurymast.policy.restart import Earlier
from jurymast.testing.clock import FakeClock
from jurymast.testing.loop import LoopClock, run_virtually

from .outsider_world import scene
from .virtual_world import (
    QUESTION,
    SILENCE,
    MemoryProvider,
    Turn,
    VirtualWorld,
    config_of,
    failing,
    manager_over,
    taking,
    validated,
    world,
)

XAI, OPENAI, ANTHROPIC, LOCAL = ProviderName
HAIR = 1e-6


def report_of(lab: VirtualWorld, name: ProviderName) -> RouteReport:
    [report] = [r for r in lab.manager.get_system_status().routes if r.route.provider is name]
    return report


def others_running() -> set[asyncio.Task[object]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


@pytest.mark.parametrize(
    "mood",
    [failing(FailureKind.SERVER_ERROR), failing(FailureKind.CONNECT), taking(SILENCE)],
    ids=["500", "refused", "silent"],
)
def test_t01_a_dead_primary_is_left_within_five_failures(mood: Callable[[], Turn]) -> None:
    """One primary, one fallback, default settings: of two hundred questions five reach the dead primary."""

    async def story() -> None:
        lab = world({XAI: mood, OPENAI: taking(0.05)})
        helper = asyncio.create_task(lab.look_after(260.0))
        await lab.ask_each(200, every_secs=1.0)
        await helper
        assert len(lab[XAI].asked_at) <= 5
        assert lab.answered_by() == [OPENAI] * 200

    run_virtually(story())


def test_t02_a_long_retry_after_costs_nobody_a_wait() -> None:
    """429 with a minute: the fallback answers at once, the primary rests for exactly as long, also when a
    later 429 names no time; with nobody else left a short one is waited for."""

    async def story() -> None:
        demands = [failing(FailureKind.RATE_LIMITED, secs)() for secs in (None, 60.0)]
        lab = world({XAI: demands.pop, OPENAI: taking(0.05)})
        await asyncio.gather(lab.ask(), lab.ask())
        assert max(lab.latencies) <= 0.05 + HAIR
        lab[XAI].mood = taking(0.05)
        await lab.ask_each(70, every_secs=1.0)
        back_at = lab[XAI].asked_at[2]
        assert 60.0 <= back_at <= 61.0
        alone = world({XAI: failing(FailureKind.RATE_LIMITED, 2.0)})
        asking = asyncio.create_task(alone.ask())
        await asyncio.sleep(0.1)
        alone[XAI].mood = taking(0.5)
        assert isinstance(await asking, Answered)
        assert alone.latencies == [pytest.approx(2.5)]

    run_virtually(story())


def test_t03_a_silent_upstream_is_answered_for_within_the_deadline() -> None:
    """The very first question, default settings, ten seconds in all: the fallback still has its time."""

    async def story() -> None:
        lab = world({XAI: taking(SILENCE), OPENAI: taking(1.5)})
        assert isinstance(await lab.ask(deadline_secs=10.0), Answered)
        assert lab.latencies[0] < 10.0
        assert lab[XAI].under_way == 0

    run_virtually(story())


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_t04_a_time_out_is_wall_clock_whatever_drips(stream: bool) -> None:
    """Bytes, keep-alive comments and empty chunks come for ever: the question ends at its deadline."""
    async with scene(XAI, stream=stream) as lab:
        lab[XAI].fault = "drip"
        began = asyncio.get_running_loop().time()
        answer = await lab.ask(deadline_secs=1.0)
        assert asyncio.get_running_loop().time() - began < 10.0, "a guard against hanging"
    assert isinstance(answer, Abstain)
    assert [attempt.outcome for attempt in answer.attempts if attempt.sent] != ["answered"]


@pytest.mark.parametrize("deadline_secs", [6.0, 12.0, 30.0, 60.0])
def test_t05_the_fallback_is_always_reachable(deadline_secs: float) -> None:
    """A silent first never eats the fallback's time: half of what is left, or what it needs, is kept for it,
    and a slow fallback has its own, longer time-out."""

    async def story() -> None:
        lab = world({XAI: taking(SILENCE), OPENAI: taking(deadline_secs * 0.4)})
        for _ in range(3):
            assert isinstance(await lab.ask(deadline_secs), Answered)
            assert lab.latencies[-1] <= deadline_secs
            lab.manager.restore_provider(XAI)

    run_virtually(story())


def test_t06_one_probe_at_a_time_and_its_slot_comes_back() -> None:
    """Half-open, a route has one probe in flight while questions go elsewhere; a cancelled probe frees it."""

    async def story() -> None:
        lab = world({XAI: failing(FailureKind.SERVER_ERROR), OPENAI: taking(0.05)})
        await lab.ask_each(4, every_secs=1.0)
        lab[XAI].mood = lab[XAI].probe_mood = taking(10.0)
        await asyncio.sleep(20.0)
        lookers = [asyncio.create_task(lab.manager.check_recovery()) for _ in range(5)]
        asked = len(lab[XAI].asked_at)
        await lab.ask_at_once(50, workers=10)
        assert len(lab[XAI].probed_at) == 1
        assert len(lab[XAI].asked_at) == asked
        for looker in lookers:
            looker.cancel()
        await asyncio.gather(*lookers, return_exceptions=True)
        lab[XAI].mood = lab[XAI].probe_mood = taking(0.1)
        await lab.look_after(5.0)
        assert len(lab[XAI].probed_at) >= 3
        assert (await lab.ask()).attempts[-1].route.provider is XAI

    run_virtually(story())


def test_t07_every_attempt_counts_once_repeats_and_hops_included() -> None:
    """One question that fails, is repeated and fails again is two failures; a hop is one of its own."""

    async def story() -> None:
        lab = world({XAI: failing(FailureKind.SERVER_ERROR)})
        await lab.ask()
        assert report_of(lab, XAI).state is RouteState.OPEN
        assert (report_of(lab, XAI).requests, report_of(lab, XAI).failures) == (2, 2)
        lab = world(dict.fromkeys((XAI, OPENAI), failing(FailureKind.OVERLOADED)))
        await lab.ask()
        counted = {name: (report_of(lab, name).failures, len(lab[name].asked_at)) for name in (XAI, OPENAI)}
        assert counted[XAI] == (1, 1)
        assert report_of(lab, XAI).state is RouteState.SUSPECT
        assert counted[OPENAI][0] == counted[OPENAI][1]

    run_virtually(story())


@pytest.mark.parametrize(("per_sec", "share"), [(0.1, 0.9), (10.0, 0.95)])
def test_t08_a_provider_that_is_95_percent_healthy_keeps_its_traffic(per_sec: float, share: float) -> None:
    """One request in twenty fails: the provider still answers nine questions in ten, or more."""

    async def story() -> None:
        chance = random.Random(8)
        lab = world({XAI: lambda: 0.05 if chance.random() > 0.05 else 500.0, OPENAI: taking(0.05)})
        broken = failing(FailureKind.SERVER_ERROR)
        lab[XAI].mood = lambda: 0.05 if chance.random() > 0.05 else broken()
        helper = asyncio.create_task(lab.look_after(2_000 / per_sec))
        await lab.ask_each(2_000, every_secs=1 / per_sec)
        helper.cancel()
        assert lab.answered_by().count(XAI) >= share * 0.95 * 2_000
        assert lab.answered_by().count(None) == 0

    run_virtually(story())


def test_t09_all_open_is_the_least_bad_or_a_typed_hold() -> None:
    """Everything has failed: one route is still tried for each question, and the answer has its type."""

    async def story() -> None:
        lab = world(dict.fromkeys((XAI, OPENAI, ANTHROPIC), failing(FailureKind.SERVER_ERROR)))
        for _ in range(4):
            assert isinstance(await lab.ask(), Unanswered)
        assert {r.state for r in lab.manager.get_system_status().routes} == {RouteState.OPEN}
        sends = lab.sends
        last = await lab.ask()
        assert isinstance(last, Unanswered)
        assert last.reason is AbstainReason.ALL_PROVIDERS_FAILED
        assert lab.sends == sends + 1
        assert {attempt.outcome for attempt in last.attempts} == {"failed", "skipped"}
        lab[XAI].mood = taking(0.5)
        assert isinstance(await lab.ask(), Answered)

    run_virtually(story())


def test_t10_success_closes_at_once_and_the_state_can_be_asked_for() -> None:
    """Why a route is open and until when stands in the status; the first answer there closes it."""

    async def story() -> None:
        lab = world({XAI: failing(FailureKind.SERVER_ERROR)})
        await lab.ask()
        report = report_of(lab, XAI)
        assert (report.state, report.reason) == (RouteState.OPEN, "server_error: server_error")
        assert 0 < (report.retry_in_secs or 0) <= 18
        lab[XAI].mood = taking(0.1)
        await lab.ask()
        assert report_of(lab, XAI).state is RouteState.SUSPECT
        assert report_of(lab, XAI).retry_in_secs is None

    run_virtually(story())


def test_t11_silence_is_charged_though_we_hung_up_first() -> None:
    """A route that eats the time of every question opens though no attempt ever timed out."""

    async def story() -> None:
        lab = world({XAI: taking(0.5), OPENAI: taking(0.5)})
        await lab.ask_each(10, every_secs=60.0)
        lab[XAI].mood = taking(SILENCE)
        for _ in range(4):
            await lab.ask()
            await asyncio.sleep(60.0)
        assert {attempt.outcome for o in lab.outcomes[10:12] for attempt in o.attempts} == {
            "answered",
            "overdue",
        }
        assert report_of(lab, XAI).state in {RouteState.OPEN, RouteState.HALF_OPEN}
        assert len(lab[XAI].asked_at) <= 10 + 3

    run_virtually(story())


@pytest.mark.parametrize("fault", ["empty", "null_choices", "truncated"])
async def test_t12_an_answer_without_an_answer_is_a_failure(fault: str) -> None:
    """Empty text, null choices, cut by its limit: the next answers, and the route's health knows."""
    async with scene(XAI, OPENAI, stream=fault != "null_choices") as lab:
        lab[XAI].fault = fault
        decision = await lab.ask()
        assert isinstance(decision, Decision)
        assert decision.provider is OPENAI
        assert lab.report(XAI).failures == 1
        assert lab.report(XAI).reason != "no request yet"


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("fault", ["cut_json", "cut_stream"])
async def test_t13_half_a_body_with_status_200_is_a_failure(fault: str, stream: bool) -> None:
    """Truncated JSON and bodies shorter than announced go to the fallback, every time."""
    async with scene(XAI, OPENAI, stream=stream) as lab:
        lab[XAI].fault = fault
        for _ in range(5):
            decision = await lab.ask()
            assert isinstance(decision, Decision)
            assert decision.provider is OPENAI


async def test_t14_another_provider_is_asked_with_the_same_schema() -> None:
    """An answer that breaks the schema goes to the next vendor, which gets the schema in its own words."""
    async with scene(XAI, ANTHROPIC) as lab:
        lab[XAI].fault = "wrong_schema"
        decision = await lab.ask()
    assert isinstance(decision, Decision)
    assert decision.provider is ANTHROPIC
    first = lab[XAI].bodies[0]["response_format"]["json_schema"]["schema"]
    second = lab[ANTHROPIC].bodies[0]["output_config"]["format"]["schema"]
    assert first == second
    assert "probability_pct" in first["required"]


@pytest.mark.parametrize("fault", ["402", "429_quota", "429_exhausted"])
async def test_t15_an_empty_account_is_no_rate_limit(fault: str) -> None:
    """Credit does not come back by waiting: one question, no repeat and no probe for an hour."""
    async with scene(XAI, OPENAI) as lab:
        lab[XAI].fault = fault
        for _ in range(10):
            assert isinstance(await lab.ask(), Decision)
            await lab.pass_time(240.0, step_secs=60.0)
        report = lab.report(XAI)
        assert (lab[XAI].questions, lab[XAI].probes) == (1, 0)
        assert report.state is RouteState.LATCHED
        assert "quota" in report.reason
        lab[XAI].fault = ""
        lab.client.fallback_manager.restore_provider(XAI)
        await lab.pass_time(3.0)
        assert isinstance(back := await lab.ask(), Decision)
        assert back.provider is XAI


async def test_t16_our_own_mistakes_hurt_nobody() -> None:
    """A malformed request goes to two, not to all, and a key that is refused holds that key alone."""
    async with scene(XAI, OPENAI, ANTHROPIC) as lab:
        lab[XAI].fault = lab[OPENAI].fault = lab[ANTHROPIC].fault = "400"
        for _ in range(5):
            assert isinstance(await lab.ask(), Abstain)
            lab.client.fallback_manager.disable_emergency_mode()
        assert lab[ANTHROPIC].questions == 0
        assert {lab.report(name).state for name in lab.servers} == {RouteState.HEALTHY}
    async with scene(XAI, OPENAI) as lab:
        lab[XAI].fault = "401"
        assert isinstance(await lab.ask(), Decision)
        assert lab.report(XAI).state is RouteState.LATCHED
        assert lab.report(OPENAI).state is RouteState.HEALTHY


@pytest.mark.parametrize("name", [XAI, ANTHROPIC])
async def test_t17_streams_end_whole_or_not_at_all(name: ProviderName) -> None:
    """Cut, stalled or malformed streams are completed by the fallback; one without its last marker, whose
    answer was complete, is taken."""
    for fault, answers in (("cut_stream", OPENAI), ("stream_stall", OPENAI), ("html", OPENAI), ("", name)):
        async with scene(name, OPENAI) as lab:
            lab[name].fault = fault
            decision = await lab.ask()
        assert isinstance(decision, Decision)
        assert decision.provider is answers, fault
    async with scene(XAI, OPENAI) as lab:
        lab[XAI].fault = "no_done"
        decision = await lab.ask()
    assert isinstance(decision, Decision)
    assert decision.provider is XAI


def test_t18_many_at_once_can_not_pass_a_budget_with_room_for_one() -> None:
    """Fifty questions, money for one: one is sent; what an error or a caller gives back can be used again."""

    async def story() -> None:
        lab = world({XAI: taking(1.0)})
        worst = lab.money.worst_case(QUESTION, lab.money.routes()[0])
        lab = world({XAI: taking(1.0)}, budget_per_day=worst)
        await lab.ask_at_once(50, workers=50)
        assert lab.sends == 1
        assert lab.money.budget.spent + lab.money.budget.held <= worst
        for failure in (FailureKind.CONNECT, FailureKind.RATE_LIMITED):
            lab = world({XAI: failing(failure, 3_600.0)}, budget_per_day=worst)
            await lab.ask()
            assert (lab.money.budget.held, lab.money.budget.spent) == (0, 0), failure
        lab = world({XAI: taking(1.0)}, budget_per_day=worst)
        asking = asyncio.create_task(lab.ask())
        await asyncio.sleep(0.5)
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        await asyncio.sleep(0)
        assert (lab.money.budget.held, lab.money.budget.spent) == (0, worst), "it may be billed"

    run_virtually(story())


def test_t19_reservations_do_not_spend() -> None:
    """Money for the worst case of two serves a hundred questions of the usual cost, one after the other."""

    async def story() -> None:
        lab = world({XAI: taking(1.0)})
        worst = lab.money.worst_case(QUESTION, lab.money.routes()[0])
        lab = world({XAI: taking(1.0)}, budget_per_day=2 * worst + 100 * 25)
        await lab.ask_each(100, every_secs=2.0)
        assert lab.answered_by() == [XAI] * 100
        assert lab.money.budget.spent == 100 * 25
        await lab.ask_at_once(2, workers=2)
        assert lab.answered_by()[-2:] == [XAI, XAI]

    run_virtually(story())


async def test_t20_what_may_be_billed_is_booked_and_no_price_is_no_request() -> None:
    """Failed, silent and doubled requests stand in the books; a model without a known price is refused."""

    async def story() -> None:
        lab = world({XAI: taking(SILENCE), OPENAI: taking(0.5)})
        worst = lab.money.worst_case(QUESTION, lab.money.routes()[0])
        outcome = await lab.ask()
        assert outcome.cost == lab.money.get_total_cost() == worst + 25
        lab = world({XAI: failing(FailureKind.SERVER_ERROR), OPENAI: taking(0.5)})
        outcome = await lab.ask()
        assert outcome.cost == lab.money.get_total_cost() == lab.money.budget.spent == worst + 25

    await asyncio.to_thread(lambda: run_virtually(story()))
    config = ProviderConfig(XAI, "http://127.0.0.1:9/v1", ("grok-of-tomorrow",), 1, Secret("key"))
    with pytest.raises(ConfigError, match="no price is known"):
        async with connect([config], clock=FakeClock(), budget_per_day=USD):
            pass


async def test_t21_the_budget_is_asked_on_every_hop_and_every_day() -> None:
    """A free first that fails does not carry a dear second past the limit; each UTC day has its own money,
    and a restart opens no new one."""
    async with scene(LOCAL, ANTHROPIC, budget_per_day=1_000) as lab:
        lab[LOCAL].fault = "500"
        answer = await lab.ask()
        assert isinstance(answer, Abstain)
        assert lab[ANTHROPIC].questions == 0
        assert "of the day's 1000 are left" in answer.detail
    async with scene(XAI, budget_per_day=12_000) as lab:
        answers = [await lab.ask() for _ in range(40)]
        assert answers[0].rung is Rung.PRIMARY
        assert answers[-1].rung is Rung.CACHED, "what was said before costs nothing"
        lab.clock.advance(timedelta(days=1).total_seconds())
        assert isinstance(await lab.ask(), Decision)
    async with scene(XAI, budget_per_day=12_000, earlier=Earlier(spent=12_000)) as lab:
        assert isinstance(answer := await lab.ask(), Abstain)
        assert (answer.reason, lab[XAI].questions) == (AbstainReason.AI_BUDGET_SPENT, 0)


def test_t22_our_own_budget_is_the_last_word() -> None:
    """A spent budget is not retried, opens no route, takes no new risk and says what it is."""

    async def story() -> None:
        lab = world(dict.fromkeys((XAI, OPENAI), taking(0.5)), budget_per_day=10)
        helper = asyncio.create_task(lab.look_after(700.0))
        await lab.ask_each(10, every_secs=60.0)
        await helper
        assert lab.sends == sum(len(lab[name].probed_at) for name in (XAI, OPENAI)) == 0
        reasons = {o.reason for o in lab.outcomes if isinstance(o, Unanswered)}
        assert reasons == {AbstainReason.AI_BUDGET_SPENT}
        assert max(lab.latencies) == 0.0
        status = lab.manager.get_system_status()
        assert status.mode is EmergencyMode.MINIMAL
        assert status.mode_reason.startswith("the AI money is spent")
        checked = await lab.manager.check_provider_health(XAI)
        assert (checked.is_healthy, len(lab[XAI].probed_at)) == (False, 0)
        assert "not probed" in checked.detail
        assert lab.money.budget.held == 0

    run_virtually(story())


async def test_t23_health_costs_next_to_nothing() -> None:
    """A standby gets some three hundred tiny probes a day, who answers questions gets none. A model that
    spends the probe's tokens thinking is well, one that refuses the probe is not."""

    async def story() -> None:
        lab = world({XAI: taking(0.5), OPENAI: taking(0.5)})
        helper = asyncio.create_task(lab.look_after(86_400.0))
        await lab.ask_each(1_440, every_secs=60.0)
        await helper
        assert len(lab[XAI].probed_at) <= 1
        assert len(lab[OPENAI].probed_at) <= 86_400 / 300 + 1

    await asyncio.to_thread(lambda: run_virtually(story()))
    async with scene(XAI) as lab:
        lab[XAI].fault = "truncated"
        assert (await lab.client.fallback_manager.check_provider_health(XAI)).is_healthy
        assert lab[XAI].bodies[-1]["max_completion_tokens"] <= 16
        lab[XAI].fault = "400"
        assert not (await lab.client.fallback_manager.check_provider_health(XAI)).is_healthy


def test_t24_probes_do_not_outvote_questions() -> None:
    """Probes fine, answers garbage: the route spends its life behind the other, without flapping."""

    async def story() -> None:
        lab = world({XAI: lambda: "nonsense", OPENAI: taking(0.5)})
        lab[XAI].probe_mood = taking(0.1)
        helper = asyncio.create_task(lab.look_after(3_600.0))
        await lab.ask_each(360, every_secs=10.0)
        await helper
        assert len(lab[XAI].asked_at) <= 0.2 * 360
        assert lab.answered_by() == [OPENAI] * 360
        assert len(lab.manager.failover_history) <= 1
        assert lab.manager.mode is not EmergencyMode.MINIMAL

    run_virtually(story())


def test_t25_loading_a_model_is_not_thinking() -> None:
    """A local server that loads for forty seconds first still answers the first question, and the second
    as fast as it can; a caller that leaves ends the load's request."""

    async def story() -> None:
        turns: list[Turn] = [40.0, 2.0, 2.0]
        lab = world({XAI: failing(FailureKind.CONNECT), LOCAL: lambda: turns.pop(0)})
        await lab.ask()
        await lab.ask()
        assert lab.answered_by() == [LOCAL, LOCAL]
        assert lab.latencies == [pytest.approx(40.0), pytest.approx(2.0)]
        assert report_of(lab, LOCAL).failures == 0
        asking = asyncio.create_task(lab.ask())
        await asyncio.sleep(1.0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await asyncio.sleep(0)
        assert lab[LOCAL].under_way == 0

    run_virtually(story())


def test_t26_who_keeps_the_records_may_fail() -> None:
    """Routing needs no store: while the journal refuses every event the caller learns of it at once, nothing
    is left running, and the same manager answers on as soon as events can be told again."""

    async def story() -> None:
        def refuse(_: object) -> None:
            raise OSError("disk full")

        lab = world({XAI: failing(FailureKind.SERVER_ERROR), OPENAI: taking(0.5)})
        emit, lab.manager._emit = lab.manager._emit, refuse
        with pytest.raises(OSError, match="disk full"):
            await lab.ask()
        await asyncio.sleep(0)
        assert others_running() == set()
        assert lab.money.budget.held == 0
        lab.manager._emit = emit
        assert isinstance(await lab.ask(), Answered)
        assert report_of(lab, XAI).in_flight == report_of(lab, OPENAI).in_flight == 0

    run_virtually(story())


def test_t27_failures_are_not_fast_and_idle_routes_neither_starve_nor_drown() -> None:
    """A provider that fails within a millisecond is not taken for quick, answers in no time break no
    division, and a route idle for a day is asked as one of many when it is needed."""

    async def story() -> None:
        lab = world({XAI: failing(FailureKind.OVERLOADED), OPENAI: taking(0.0), ANTHROPIC: taking(0.2)})
        prior = report_of(lab, XAI).median_secs
        await lab.ask_each(50, every_secs=1.0)
        assert report_of(lab, XAI).median_secs == prior
        assert lab.answered_by() == [OPENAI] * 50
        await asyncio.sleep(86_400.0)
        lab[OPENAI].mood = failing(FailureKind.OVERLOADED)
        await lab.ask_at_once(40, workers=20)
        assert lab.answered_by()[50:] == [ANTHROPIC] * 40
        assert len(lab[XAI].asked_at) < 30

    run_virtually(story())


def test_t28_ten_thousand_questions_leave_memory_flat() -> None:
    """Answers, failures, hangs and hedges in the thousands: afterwards is held what was held before."""

    async def story() -> int:
        chance = random.Random(28)
        broken = failing(FailureKind.SERVER_ERROR)

        def mood() -> Turn:
            dice = chance.random()
            return SILENCE if dice < 0.02 else broken() if dice < 0.1 else 0.1

        providers = [MemoryProvider(config_of(name, place), mood) for place, name in enumerate((XAI, OPENAI))]
        manager = FallbackManager(manager_over(providers, 10**12), clock=LoopClock(), emit=lambda _: None)
        held = []
        for _ in range(4):
            for _ in range(3_000):
                await manager.get_fallback_decision(QUESTION, validated, deadline_secs=60.0)
            for provider in providers:
                provider.asked_at.clear()
            gc.collect()
            held.append(sys.getallocatedblocks())
        return held[-1] - held[-2]  # by then every bounded history is full

    assert run_virtually(story()) < 200


def test_t29_first_use_at_once_another_loop_and_cancellation() -> None:
    """Fifty first questions at once, half of them cancelled, then a new event loop: no slot is lost, nothing
    hangs."""
    labs: list[VirtualWorld] = []

    async def first() -> None:
        lab = world({XAI: taking(1.0), OPENAI: taking(1.0)}, max_concurrent=4)
        labs.append(lab)
        asking = [asyncio.create_task(lab.ask()) for _ in range(50)]
        await asyncio.sleep(0.5)
        for task in asking[::2]:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        await asyncio.sleep(0)
        assert len(lab.outcomes) == 25
        assert lab[XAI].under_way == lab[OPENAI].under_way == 0
        assert others_running() == set()

    async def second() -> None:
        [lab] = labs
        await lab.ask_at_once(20, workers=4)
        assert None not in lab.answered_by()
        assert {report.in_flight for report in lab.manager.get_system_status().routes} == {0}

    run_virtually(first())
    run_virtually(second())


async def test_t30_the_answer_names_who_really_gave_it() -> None:
    """Provider, served model, attempts and cost are those of this question, a swapped model is named."""
    async with scene(XAI, OPENAI) as lab:
        lab[XAI].fault = "500"
        lab[OPENAI].model = "gpt-6.1-luna"
        decision = await lab.ask()
        total = lab.client.get_system_status().cost
    assert isinstance(decision, Decision)
    assert (decision.provider, decision.served_model) == (OPENAI, "gpt-6.1-luna")
    assert "served by gpt-6.1-luna instead of gpt-6.1-terra" in decision.reason
    assert [(a.route.provider, a.outcome) for a in decision.attempts] == [
        (XAI, "failed"),
        (OPENAI, "answered"),
    ]
    assert decision.cost == sum(attempt.cost for attempt in decision.attempts) == total
