"""What the AI layer makes of providers that others have written, and that do their worst.

Every story runs over real sockets against servers that share nothing with the product's own emulators.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest

from jurymast.domain.decision import Abstain, AbstainReason, Decision, Rung
from jurymast.domain.events import ProbeSent, RouteChanged
from jurymast.domain.provider import ProviderName
from jurymast.domain.status import EmergencyMode, ProviderStatus, RouteState
from jurymast.intelligence.fallback_manager import FallbackSettings

from .outsider_world import BRISK, FORECAST, Scene, scene

XAI, OPENAI, ANTHROPIC, LOCAL = ProviderName

SILENCES = ("silent", "header_hang", "drip", "stream_stall")
CUTS = ("cut_json", "cut_stream", "truncated", "full", "half_json", "empty", "null_choices", "reset")
LIES = ("wrong_schema", "fraction", "prose", "html", "error_in_200")
REFUSALS = (
    "500",
    "503",
    "401",
    "404",
    "402",
    "429",
    "429_hour",
    "429_ms",
    "429_date",
    "429_quota",
    "refused",
)
REACHED_MAX = 15
UNHURRIED = replace(BRISK, work=replace(BRISK.work, attempt_secs_max=4.0))
"""For a hundred questions at once: a busy machine is no sick provider."""


def good(answer: Decision | Abstain, name: ProviderName) -> bool:
    """A whole, valid forecast of this provider: never a piece of one."""
    if not isinstance(answer, Decision) or answer.provider is not name:
        return False
    return answer.forecast.probability_pct == FORECAST["probability_pct"]


async def break_down(lab: Scene, name: ProviderName, fault: str) -> None:
    """Give a provider a fault; ``refused`` stops its server."""
    if fault == "refused":
        await lab[name].close()
    else:
        lab[name].fault = fault


async def mend(lab: Scene, name: ProviderName) -> None:
    if lab[name].fault:
        lab[name].fault = ""
    else:
        await lab[name].open()


class TestDeadPrimary:
    @pytest.mark.parametrize("fault", [*SILENCES, *CUTS, *LIES, *REFUSALS])
    async def test_of_two_hundred_questions_fifteen_reach_it(self, fault: str) -> None:
        """Ten callers at once, whatever ails the first: every question is answered in full by the second."""
        hangs = fault in SILENCES
        async with scene(XAI, OPENAI, live=hangs, settings=UNHURRIED if hangs else FallbackSettings()) as lab:
            await lab.ask_at_once(20, workers=2)
            before = lab[XAI].questions
            await break_down(lab, XAI, fault)
            answers = await lab.ask_at_once(200, workers=10)
        assert before == 20
        assert all(good(answer, OPENAI) for answer in answers)
        assert lab[XAI].questions - before <= REACHED_MAX

    @pytest.mark.parametrize("fault", ["500", "wrong_schema", "refused", "cut_stream"])
    async def test_a_minute_of_it_costs_eight_sends(self, fault: str) -> None:
        """Ten questions a second for a minute: eight of them, and eight probes, meet the dead one at most."""
        async with scene(XAI, OPENAI) as lab:
            await lab.ask()
            before = lab[XAI].questions
            await break_down(lab, XAI, fault)
            for _ in range(600):
                assert good(await lab.ask(), OPENAI)
                await lab.pass_time(0.1, step_secs=0.1)
            assert lab[XAI].questions - before <= 8
            probes = [e for e in lab.events if isinstance(e, ProbeSent) and e.route.provider is XAI]
        assert len(probes) <= 8

    @pytest.mark.parametrize("before", [0, 20], ids=["unknown", "known"])
    @pytest.mark.parametrize("fault", ["silent", "drip"])
    async def test_silence_costs_eight_sends_at_any_pace(self, fault: str, before: int) -> None:
        """Fifty questions a second, and nobody waits for another's answer, be the silent one known or not."""
        async with scene(XAI, OPENAI, live=True, settings=UNHURRIED) as lab:
            await lab.ask_at_once(before, workers=1)
            lab[XAI].fault = fault
            asked = []
            for _ in range(100):
                asked.append(asyncio.create_task(lab.ask_another()))
                await asyncio.sleep(0.02)
            answers = await asyncio.gather(*asked)
        assert all(good(answer, OPENAI) for answer in answers)
        assert lab[XAI].questions - before <= 8

    @pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
    @pytest.mark.parametrize("fault", [*SILENCES, *CUTS, *LIES])
    async def test_nothing_broken_passes_for_an_answer(self, fault: str, stream: bool) -> None:
        """Alone, a broken provider leads to an abstention with its cause, and never to a forecast."""
        async with scene(XAI, stream=stream, live=True) as lab:
            lab[XAI].fault = fault
            async with asyncio.timeout(10.0):
                answer = await lab.ask(deadline_secs=1.5)
        assert isinstance(answer, Abstain)
        assert answer.reason is AbstainReason.ALL_PROVIDERS_FAILED
        assert str(XAI) in answer.detail


class TestSilence:
    async def test_the_answer_waits_for_the_hedge_and_not_for_a_time_out(self) -> None:
        """A primary that falls silent is still being waited for when the second's answer is taken."""
        async with scene(XAI, OPENAI, live=True) as lab:
            await lab.ask_at_once(20, workers=1)
            lab[XAI].fault = "silent"
            answer = await lab.ask()
        assert good(answer, OPENAI)
        assert [(a.route.provider, a.outcome) for a in answer.attempts] == [
            (OPENAI, "answered"),
            (XAI, "overdue"),
        ]

    async def test_five_silences_close_the_door(self) -> None:
        """One question after the other, at full speed: five at most wait for the silent one at all."""
        async with scene(XAI, OPENAI, live=True) as lab:
            await lab.ask_at_once(20, workers=1)
            lab[XAI].fault = "silent"
            answers = await lab.ask_at_once(50, workers=1)
            assert lab[XAI].questions - 20 <= 5
            assert lab.report(XAI).state is RouteState.OPEN
        assert all(good(answer, OPENAI) for answer in answers)


class TestDemands:
    @pytest.mark.parametrize("fault", ["429_hour", "429_ms", "429_date"])
    async def test_retry_after_is_never_slept_on(self, fault: str) -> None:
        """The next answers at once; the limited one is left alone for what it asked, five minutes at most."""
        held_secs = {"429_hour": 300.0, "429_ms": 40.0, "429_date": 40.0}[fault]
        async with scene(XAI, OPENAI) as lab:
            lab[XAI].fault = fault
            assert good(await lab.ask(), OPENAI)
            report = lab.report(XAI)
            assert report.held_secs == pytest.approx(held_secs, abs=2.0)
            assert report.state is RouteState.HEALTHY, "a rate limit is no sickness"
            lab[XAI].fault = ""
            await lab.pass_time(held_secs - 3.0)
            assert good(await lab.ask(), OPENAI)
            assert (lab[XAI].questions, lab[XAI].probes) == (1, 0)
            await lab.pass_time(5.0)
            assert good(await lab.ask(), XAI)

    async def test_a_refusal_of_content_is_not_shopped_around(self) -> None:
        """What one vendor will not answer is asked of nobody else, and nobody's health suffers."""
        async with scene(XAI, OPENAI, ANTHROPIC) as lab:
            lab[XAI].fault = "refusal"
            answer = await lab.ask()
            assert isinstance(answer, Abstain)
            assert answer.reason is AbstainReason.CONTENT_FILTER
            assert lab[OPENAI].questions == lab[ANTHROPIC].questions == 0
            assert lab.report(XAI).state is RouteState.HEALTHY
            assert lab.client.mode is EmergencyMode.NORMAL


class TestLies:
    @pytest.mark.parametrize("fault", ["wrong_schema", "fraction", "prose", "error_in_200"])
    @pytest.mark.parametrize("name", [XAI, ANTHROPIC])
    async def test_valid_json_of_another_shape_counts_against_health(
        self, name: ProviderName, fault: str
    ) -> None:
        """Each lie goes to the next vendor; the second of them has closed the liar's door."""
        async with scene(name, OPENAI) as lab:
            lab[name].fault = fault
            for _ in range(5):
                assert good(await lab.ask(), OPENAI)
            assert lab[name].questions <= 3
            assert lab.report(name).state is RouteState.OPEN
            assert lab.report(name).failures == lab[name].questions

    async def test_another_model_than_asked_is_named(self) -> None:
        """A silent swap is still an answer, but the decision says who gave it."""
        async with scene(XAI) as lab:
            lab[XAI].model = "grok-4.3-mini"
            answer = await lab.ask()
        assert isinstance(answer, Decision)
        assert answer.served_model == "grok-4.3-mini"
        assert "instead of grok-4.3" in answer.reason


class TestRecovery:
    @pytest.mark.parametrize("outage_secs", [30.0, 600.0])
    @pytest.mark.parametrize("fault", ["500", "refused"])
    async def test_a_recovered_primary_is_in_use_within_five_minutes(
        self, fault: str, outage_secs: float
    ) -> None:
        """A question every ten seconds: five minutes after the mend at the latest the first answers again."""
        async with scene(XAI, OPENAI) as lab:
            assert good(await lab.ask(), XAI)
            await break_down(lab, XAI, fault)
            for _ in range(int(outage_secs / 10)):
                assert good(await lab.ask(), OPENAI)
                await lab.pass_time(10.0)
            await mend(lab, XAI)
            back_secs = 0.0
            while not good(await lab.ask(), XAI):
                await lab.pass_time(10.0)
                back_secs += 10.0
                assert back_secs <= 300.0
            for _ in range(5):
                assert good(await lab.ask(), XAI), "on probation it is asked all the same"
            moves = [event.to_route for event in lab.client.fallback_manager.failover_history]
        assert [route.provider for route in moves if route is not None] == [OPENAI, XAI]

    async def test_after_the_open_time_one_probe_goes_out_and_no_question(self) -> None:
        """Ten callers and three supervisors at the end of the open time: the dead one meets one probe."""
        async with scene(XAI, OPENAI) as lab:
            lab[XAI].fault = "500"
            for _ in range(3):
                assert good(await lab.ask(), OPENAI)
            lab[XAI].fault, lab[XAI].delay_secs = "silent", 0.0
            before = lab[XAI].questions
            lab.clock.advance(20.0)
            supervisor = lab.client.fallback_manager.check_recovery
            looks = asyncio.gather(*(supervisor() for _ in range(3)))
            answers = await lab.ask_at_once(20, workers=10)
            assert not any(await looks)
        assert all(good(answer, OPENAI) for answer in answers)
        assert lab[XAI].questions == before
        assert lab[XAI].probes == 1


class TestTruth:
    @pytest.mark.parametrize("fault", [*SILENCES, *LIES[3:], *REFUSALS, "cut_stream", "reset"])
    async def test_a_check_says_what_a_question_would_meet(self, fault: str) -> None:
        """check_provider_health is no for a provider that can't answer, yes once it can."""
        async with scene(XAI, OPENAI) as lab:
            manager = lab.client.fallback_manager
            assert (await manager.check_provider_health(XAI)).is_healthy
            await break_down(lab, XAI, fault)
            async with asyncio.timeout(10.0):
                found = await manager.check_provider_health(XAI)
            assert not found.is_healthy
            record = manager.core.health.of(XAI)[0]
            if record.sick:
                doubled = rf"{found.failure}[^:]*: {found.failure}\b"
                assert not re.match(doubled, record.health.reason), "told once"
                assert "Error" not in record.health.reason, "in words, not by the name of a class"
            assert found.detail
            await mend(lab, XAI)
            assert (await manager.check_provider_health(XAI)).is_healthy

    async def test_status_and_history_are_those_of_the_moment(self) -> None:
        """Before, in and after an outage the status names who answers, who is sick and why."""
        async with scene(XAI, OPENAI) as lab:
            manager = lab.client.fallback_manager
            assert good(await lab.ask(), XAI)
            status = manager.get_system_status()
            assert status.active_route is not None
            assert (status.active_route.provider, status.last_failover) == (XAI, None)
            lab[XAI].fault = "503"
            for _ in range(3):
                assert good(await lab.ask(), OPENAI)
            status = manager.get_system_status()
            assert status.active_route is not None
            assert status.active_route.provider is OPENAI
            assert status.providers == {XAI: ProviderStatus.UNHEALTHY, OPENAI: ProviderStatus.HEALTHY}
            assert manager.get_available_providers() == [OPENAI]
            assert "overloaded" in lab.report(XAI).reason
            assert lab.report(XAI).failures == lab[XAI].questions - 1
            assert [e.to_route.provider for e in manager.failover_history if e.to_route] == [OPENAI]
            lab[OPENAI].fault = "500"
            for _ in range(3):
                assert (await lab.ask()).rung is Rung.CACHED
            status = manager.get_system_status()
            assert (status.active_route, status.mode) == (None, EmergencyMode.MINIMAL)
            assert set(status.providers.values()) == {ProviderStatus.UNHEALTHY}
            lab[XAI].fault = lab[OPENAI].fault = ""
            await lab.pass_time(120.0)
            assert good(await lab.ask(), XAI)
            status = manager.get_system_status()
            assert status.active_route is not None
            assert status.active_route.provider is XAI
            moved = [e.new for e in lab.events if isinstance(e, RouteChanged) and e.route.provider is XAI]
        assert moved[0] is RouteState.SUSPECT
        assert RouteState.OPEN in moved

    async def test_a_failover_by_hand_is_done_or_denied(self) -> None:
        """initiate_failover moves the next question to a provider that can answer, and no other."""
        async with scene(XAI, OPENAI, ANTHROPIC) as lab:
            manager = lab.client.fallback_manager
            assert good(await lab.ask(), XAI)
            assert await manager.initiate_failover(XAI, ANTHROPIC, "cheaper today")
            assert good(await lab.ask(), ANTHROPIC)
            assert manager.failover_history[-1].reason == "cheaper today"
            manager.isolate_provider(OPENAI, "not trusted")
            assert not await manager.initiate_failover(ANTHROPIC, OPENAI, "hope")
            assert good(await lab.ask(), ANTHROPIC)
            assert lab[OPENAI].questions == 0
