"""FallbackManager over real sockets: redundancy, degradation, emergency, health and failover, recovery."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import cast

import pytest

from jurymast.domain.decision import Abstain, AbstainReason, Decision, Rung
from jurymast.domain.events import FailedOver, ModeChanged, ProbeSent, ProviderChanged, RouteChanged
from jurymast.domain.market import EvidenceItem
from jurymast.domain.money import USD
from jurymast.domain.provider import FailureKind, ProviderName
from jurymast.domain.status import EmergencyMode, ProviderStatus, RouteState, SystemStatus
from jurymast.lab.rig import QUICK, Rig, rig
from jurymast.policy.deadline import WorkSettings

XAI, OPENAI, ANTHROPIC, LOCAL = ProviderName
CLIMB_SECS = QUICK.ladder.dwell_in(EmergencyMode.MINIMAL) + QUICK.ladder.dwell_secs
"""From MINIMAL to NORMAL, at least."""


def provider_of(answer: Decision | Abstain) -> ProviderName | AbstainReason:
    return answer.provider if isinstance(answer, Decision) else answer.reason


async def ask_all(lab: Rig, times: int) -> list[ProviderName | AbstainReason]:
    return [provider_of(await lab.ask()) for _ in range(times)]


def first_of(status: SystemStatus) -> ProviderName | None:
    """Who answers first, as the status tells it."""
    return status.active_route.provider if status.active_route else None


async def first_and_answering(lab: Rig) -> ProviderName | None:
    """Ask once, then read who answers first."""
    assert isinstance(await lab.ask(), Decision)
    return first_of(lab.fallback.get_system_status())


def state_of(lab: Rig, name: ProviderName) -> RouteState:
    reports = lab.fallback.get_system_status().routes
    return next(report.state for report in reports if report.route.provider is name)


class TestRedundancy:
    async def test_the_first_provider_by_priority_answers(self) -> None:
        """While all is well xAI answers, and the decision says so."""
        async with rig() as lab:
            answer = await lab.ask()
        assert isinstance(answer, Decision)
        assert (answer.provider, answer.rung, answer.served_model) == (XAI, Rung.PRIMARY, "grok-4.3")
        assert answer.cost > 0
        assert answer.simulated
        assert "xai/grok-4.3 answered" in answer.reason

    @pytest.mark.parametrize("first", [XAI, OPENAI, ANTHROPIC, LOCAL])
    async def test_any_single_provider_is_enough(self, first: ProviderName) -> None:
        """A bot with one provider, whichever it is, still gets its decisions."""
        async with rig(providers=[first]) as lab:
            assert await ask_all(lab, 2) == [first, first]

    @pytest.mark.parametrize(
        ("fault", "kind"),
        [
            ("refuse", FailureKind.CONNECT),
            ("reset", FailureKind.RESET),
            ("500", FailureKind.SERVER_ERROR),
            ("529", FailureKind.OVERLOADED),
            ("429", FailureKind.RATE_LIMITED),
            ("quota", FailureKind.QUOTA),
            ("auth", FailureKind.AUTH),
            ("model_gone", FailureKind.MODEL_GONE),
            ("html_502", FailureKind.EDGE_ERROR),
            ("html", FailureKind.EDGE_ERROR),
            ("empty", FailureKind.EMPTY),
            ("truncated", FailureKind.TRUNCATED),
            ("cut", FailureKind.CUT),
            ("invalid_json", FailureKind.MALFORMED),
            ("wrong_schema", FailureKind.INVALID_ANSWER),
        ],
    )
    async def test_each_failure_is_named_and_the_next_provider_answers(
        self, fault: str, kind: FailureKind
    ) -> None:
        """Whatever xAI does wrong, OpenAI answers the same question, and the attempt tells the cause."""
        async with rig() as lab:
            await lab.fleet.set_fault("xai", fault)
            answer = await lab.ask()
        assert isinstance(answer, Decision)
        assert (answer.provider, answer.rung) == (OPENAI, Rung.FAILOVER)
        assert [(a.route.provider, a.failure) for a in answer.attempts] == [(XAI, kind), (OPENAI, None)]

    @pytest.mark.parametrize("fault", ["hang", "drip", "slow_first_token"])
    async def test_a_silent_provider_costs_one_attempt_not_the_decision(self, fault: str) -> None:
        """Silence and drips end at the attempt's own time-out, or earlier by a rival who answers."""
        async with rig() as lab:
            await lab.fleet.set_fault("xai", fault)
            answer = await lab.ask(deadline_secs=5.0)
        assert provider_of(answer) is OPENAI
        [silent] = [attempt for attempt in answer.attempts if attempt.route.provider is XAI]
        assert silent.outcome in {"overdue", "cancelled"} or silent.failure in {
            FailureKind.TIMEOUT,
            FailureKind.FIRST_TOKEN_TIMEOUT,
            FailureKind.STALLED,
        }
        assert silent.cost > 0, "what was sent may be billed"

    async def test_concurrent_questions_share_the_providers(self) -> None:
        """Twenty questions at once through an outage all get an answer from somebody."""
        async with rig() as lab:
            await lab.fleet.set_fault("xai", "503")
            answers = await asyncio.gather(*(lab.ask() for _ in range(20)))
        assert {provider_of(answer) for answer in answers} <= {OPENAI, ANTHROPIC, LOCAL}

    async def test_at_most_three_sends_for_one_decision(self) -> None:
        """When everything fails a decision stops after three sends."""
        async with rig() as lab:
            await lab.fleet.set_fault("all", "500")
            answer = await lab.ask()
            sent = sum(lab.fleet.ledger(name).requests for name in ProviderName)
        assert isinstance(answer, Abstain)
        assert sent == sum(a.sent for a in answer.attempts) == 3


class TestDegradation:
    async def test_providers_go_one_by_one_and_priority_is_kept(self) -> None:
        """xAI, then OpenAI, then Anthropic are lost: the next by priority answers each time."""
        async with rig() as lab:
            seen = await ask_all(lab, 1)
            for gone in ("xai", "openai", "anthropic"):
                await lab.fleet.set_fault(gone, "refuse")
                seen += await ask_all(lab, 1)
                await lab.pass_time(30)
        assert seen == [XAI, OPENAI, ANTHROPIC, LOCAL]

    async def test_with_one_able_provider_left_the_mode_turns_conservative(self) -> None:
        """Two of three clouds gone for a minute: CONSERVATIVE, and decisions go on."""
        async with rig() as lab:
            for gone in ("xai", "openai"):
                await lab.fleet.set_fault(gone, "refuse")
            await ask_all(lab, 3)
            await lab.pass_time(120)
            assert lab.fallback.mode is EmergencyMode.CONSERVATIVE
            assert await ask_all(lab, 1) == [ANTHROPIC]

    async def test_a_dead_provider_is_not_asked_first_any_more(self) -> None:
        """After two failures xAI is open: the next ten decisions send nothing to it."""
        async with rig() as lab:
            await lab.fleet.set_fault("xai", "500")
            await ask_all(lab, 2)
            before = lab.fleet.ledger(XAI).requests
            assert await ask_all(lab, 10) == [OPENAI] * 10
            assert lab.fleet.ledger(XAI).requests == before == 2

    @pytest.mark.parametrize(
        ("retry_after", "secs"),
        [("40", 40), ("40000ms", 40), ("date:40", 40), (None, 5), ("garbage", 5), ("3600", 300)],
    )
    async def test_a_rate_limited_provider_is_left_alone_as_long_as_it_asks(
        self, retry_after: str | None, secs: float
    ) -> None:
        """One 429 sends the next decisions elsewhere for its Retry-After, clamped, and no longer."""
        async with rig() as lab:
            await lab.fleet.set_fault("xai", "429", retry_after=retry_after)
            assert await ask_all(lab, 1) == [OPENAI]
            await lab.fleet.clear_faults()
            lab.clock.advance(secs - 2)
            assert await ask_all(lab, 3) == [OPENAI] * 3
            assert lab.fleet.ledger(XAI).requests == 1
            lab.clock.advance(3)
            assert await ask_all(lab, 1) == [XAI]

    async def test_rate_limited_everywhere_for_moments_costs_moments(self) -> None:
        """When every provider limits us for longer than the deadline the reason comes at once, no mode falls,
        and the first that may be asked again answers."""
        async with rig(providers=[XAI, OPENAI]) as lab:
            await lab.fleet.set_fault("all", "429", retry_after="25")
            answers = [await lab.ask() for _ in range(5)]
            assert all("rate limited for" in answer.detail for answer in answers[1:])
            assert lab.fallback.mode is EmergencyMode.NORMAL
            await lab.fleet.clear_faults()
            lab.clock.advance(26)
            assert await ask_all(lab, 1) == [XAI]
            assert lab.fleet.ledger(XAI).requests == 2

    async def test_rate_limited_everywhere_for_minutes_is_an_outage(self) -> None:
        """Nobody may be asked for a minute: nothing new is risked, and the way back is climbed as ever."""
        async with rig(providers=[XAI, OPENAI]) as lab:
            await lab.fleet.set_fault("all", "429", retry_after="60")
            await ask_all(lab, 2)
            assert lab.fallback.mode is EmergencyMode.MINIMAL
            await lab.fleet.clear_faults()
            await lab.until_mode(EmergencyMode.NORMAL)
            assert await ask_all(lab, 1) == [XAI]

    async def test_a_refusal_is_not_shopped_around(self) -> None:
        """A content filter is an answer: no other provider is asked the same thing."""
        async with rig() as lab:
            await lab.fleet.set_fault("xai", "content_filter")
            answer = await lab.ask()
            assert provider_of(answer) is AbstainReason.CONTENT_FILTER
            assert lab.fleet.ledger(OPENAI).requests == 0

    async def test_the_days_budget_stops_questions_before_they_are_sent(self) -> None:
        """A budget too small for the worst case of one request spends nothing at all."""
        async with rig(providers=[XAI], budget_per_day=USD // 1_000) as lab:
            assert await ask_all(lab, 2) == [AbstainReason.AI_BUDGET_SPENT] * 2
            assert lab.fleet.ledger(XAI).requests == 0

    async def test_a_spent_budget_leaves_the_free_local_model(self) -> None:
        """When no paid request fits the budget any more, the local model still answers."""
        async with rig(budget_per_day=USD // 1_000) as lab:
            answer = await lab.ask()
            assert provider_of(answer) is LOCAL
            assert answer.cost == 0
            assert lab.fleet.ledger(XAI).requests == 0


class TestEmergency:
    async def test_total_outage_stops_asking_and_says_why(self) -> None:
        """When nobody answers the mode falls to MINIMAL and every further question gets a reason at once."""
        async with rig() as lab:
            await lab.fleet.set_fault("all", "refuse")
            seen = await ask_all(lab, 5)
            status = lab.fallback.get_system_status()
        assert seen[0] is AbstainReason.ALL_PROVIDERS_FAILED
        assert seen[-1] is AbstainReason.EMERGENCY_MODE
        assert status.mode is EmergencyMode.MINIMAL
        assert status.healthy_providers == 0

    async def test_in_doubt_everybody_is_asked_who_is_left(self) -> None:
        """While questions go unanswered even idle providers are probed: nobody dead stays healthy."""
        async with rig() as lab:
            await lab.fallback.check_recovery()
            await lab.fleet.set_fault("all", "refuse")
            await ask_all(lab, 2)
            assert lab.fallback.get_system_status().providers[ANTHROPIC] is ProviderStatus.HEALTHY
            await lab.pass_time(QUICK.probe_idle_secs / 3)
            assert lab.fallback.get_system_status().providers[ANTHROPIC] is ProviderStatus.UNHEALTHY

    async def test_abstentions_carry_every_cause(self) -> None:
        """An unanswered question names each provider and what it did; the last try takes another way out."""
        async with rig() as lab:
            await lab.fleet.set_fault("xai", "refuse")
            await lab.fleet.set_fault("openai", "quota")
            await lab.fleet.set_fault("anthropic", "529")
            await lab.fleet.set_fault("local", "model_gone")
            answer = await lab.ask()
        assert isinstance(answer, Abstain)
        assert [a.failure for a in answer.attempts if a.sent] == [
            FailureKind.CONNECT,
            FailureKind.QUOTA,
            FailureKind.MODEL_GONE,
        ]
        assert all(name in answer.detail for name in ("xai", "openai", "local"))

    async def test_four_dark_hours_suspend(self) -> None:
        """An outage that lasts four hours ends in SUSPENDED, and that on answers to ten probes, by itself."""
        async with rig() as lab:
            await lab.fleet.set_fault("all", "refuse")
            await ask_all(lab, 4)
            await lab.pass_time(4 * 3_600 + 400, step_secs=300)
            assert lab.fallback.mode is EmergencyMode.SUSPENDED
            await lab.fleet.clear_faults("all")
            assert await lab.until_mode(EmergencyMode.MINIMAL) >= 900 - 400
            await lab.until_mode(EmergencyMode.NORMAL)

    async def test_a_person_may_demand_a_safer_mode_for_a_while(self) -> None:
        """A demand by hand holds for its time; afterwards the rungs are climbed on evidence."""
        async with rig() as lab:
            lab.fallback.enable_emergency_mode("election night", timedelta(minutes=10), EmergencyMode.MINIMAL)
            assert lab.fallback.mode is EmergencyMode.MINIMAL
            assert await ask_all(lab, 1) == [AbstainReason.EMERGENCY_MODE]
            assert "election night" in lab.fallback.get_system_status().mode_reason
            await lab.pass_time(599)
            assert lab.fallback.mode is EmergencyMode.MINIMAL
            assert await lab.until_mode(EmergencyMode.NORMAL) > 300

    async def test_a_demand_taken_back_is_climbed_out_of(self) -> None:
        """Taking a demand back does not jump: NORMAL comes rung by rung, on evidence."""
        async with rig() as lab:
            lab.fallback.enable_emergency_mode("drill", mode=EmergencyMode.MINIMAL)
            lab.fallback.disable_emergency_mode()
            assert lab.fallback.mode is EmergencyMode.MINIMAL
            assert await lab.until_mode(EmergencyMode.NORMAL) >= CLIMB_SECS

    async def test_a_demand_never_makes_it_riskier(self) -> None:
        """Demanding CONSERVATIVE in a total outage leaves MINIMAL in force."""
        async with rig() as lab:
            await lab.fleet.set_fault("all", "refuse")
            await ask_all(lab, 4)
            lab.fallback.enable_emergency_mode("hope", mode=EmergencyMode.CONSERVATIVE)
            assert lab.fallback.mode is EmergencyMode.MINIMAL

    async def test_the_emergency_decision_takes_no_risk(self) -> None:
        """What is decided without a model is an abstention that says so."""
        async with rig() as lab:
            answer = lab.client.get_emergency_decision(lab.snapshot(0))
        assert (answer.reason, answer.rung) == (AbstainReason.EMERGENCY_MODE, Rung.EMERGENCY)
        assert answer.cost == 0

    async def test_the_trader_is_never_raised_at(self) -> None:
        """A bug inside the AI layer comes out as an abstention with its name."""
        async with rig() as lab:
            evidence = cast("tuple[EvidenceItem, ...]", (None,))
            answer = await lab.client.get_trading_decision(lab.snapshot(0), evidence, deadline_secs=1.0)
        assert isinstance(answer, Abstain)
        assert answer.reason is AbstainReason.INTERNAL_ERROR


class TestHealthAndFailover:
    async def test_health_starts_unknown_and_is_learned_from_answers(self) -> None:
        """Nobody is called healthy before it has answered."""
        async with rig() as lab:
            before = lab.fallback.get_system_status().providers
            await lab.ask()
            after = lab.fallback.get_system_status().providers
        assert set(before.values()) == {ProviderStatus.UNKNOWN}
        assert after[XAI] is ProviderStatus.HEALTHY
        assert after[ANTHROPIC] is ProviderStatus.UNKNOWN

    @pytest.mark.parametrize("fault", ["refuse", "auth", "model_gone", "hang"])
    async def test_an_explicit_check_tells_the_truth(self, fault: str) -> None:
        """check_provider_health asks the model itself: a broken one is not called healthy."""
        async with rig() as lab:
            assert (await lab.fallback.check_provider_health(XAI)).is_healthy
            await lab.fleet.set_fault("xai", fault)
            result = await lab.fallback.check_provider_health(XAI)
        assert not result.is_healthy
        assert result.detail

    async def test_an_unknown_provider_is_not_healthy(self) -> None:
        """Asking about a provider that is not configured gives a plain no."""
        async with rig(providers=[OPENAI]) as lab:
            result = await lab.fallback.check_provider_health(XAI)
        assert (result.is_healthy, result.detail) == (False, "no such provider configured")

    async def test_every_change_is_an_event(self) -> None:
        """An outage and its end leave route, provider, failover and mode events in order."""
        async with rig(providers=[XAI, OPENAI]) as lab:
            await lab.ask()
            await lab.fleet.set_fault("all", "500")
            await ask_all(lab, 3)
            await lab.fleet.clear_faults("all")
            await lab.until_mode(EmergencyMode.NORMAL)
        failovers = [e.to_route for e in lab.events if isinstance(e, FailedOver)]
        modes = [(e.old, e.new) for e in lab.events if isinstance(e, ModeChanged)]
        assert failovers[0] is None
        assert failovers[-1] is not None
        assert modes == [
            (EmergencyMode.NORMAL, EmergencyMode.MINIMAL),
            (EmergencyMode.MINIMAL, EmergencyMode.CONSERVATIVE),
            (EmergencyMode.CONSERVATIVE, EmergencyMode.NORMAL),
        ]
        assert {type(e) for e in lab.events} >= {RouteChanged, ProviderChanged, ProbeSent}

    async def test_a_flickering_provider_is_one_failover_and_not_many(self) -> None:
        """Answers between failures do not count as having taken over again; a real recovery does."""
        async with rig(providers=[XAI, OPENAI]) as lab:
            await lab.ask()
            for fault in ("500", None, "500", None):
                if fault is None:
                    await lab.fleet.clear_faults("xai")
                else:
                    await lab.fleet.set_fault("xai", fault)
                await lab.ask()
                await lab.pass_time(40)
            moves = [e.to_route.provider for e in lab.events if isinstance(e, FailedOver) and e.to_route]
            assert moves == [OPENAI]
            await ask_all(lab, 6)
            moves = [e.to_route.provider for e in lab.events if isinstance(e, FailedOver) and e.to_route]
            assert moves == [OPENAI, XAI]

    async def test_the_active_route_is_the_one_asked_first_that_answered(self) -> None:
        """Over an outage of xAI the status names at every step who answers first: xAI while one failure only
        casts doubt on it, OpenAI from the moment xAI is open, xAI again with its first answer."""
        async with rig(providers=[XAI, OPENAI]) as lab:
            told = [await first_and_answering(lab)]
            await lab.fleet.set_fault("xai", "500")
            told.append(await first_and_answering(lab))
            assert state_of(lab, XAI) is RouteState.SUSPECT
            await lab.pass_time(10)
            assert state_of(lab, XAI) is RouteState.OPEN, "a probe settled it"
            told.append(first_of(lab.fallback.get_system_status()))
            await lab.fleet.clear_faults("xai")
            await lab.pass_time(60)
            assert lab.fallback.get_best_provider() is XAI
            told.append(first_of(lab.fallback.get_system_status()))
            told.append(await first_and_answering(lab))
            assert state_of(lab, XAI) is RouteState.SUSPECT, "on probation, and in charge"
            history = [(e.from_route, e.to_route) for e in lab.events if isinstance(e, FailedOver)]
            last = lab.fallback.get_system_status().last_failover
        assert told == [XAI, XAI, OPENAI, OPENAI, XAI]
        assert [(a.provider, b.provider) for a, b in history if a and b] == [(XAI, OPENAI), (OPENAI, XAI)]
        assert last is not None
        assert (last.from_route, last.to_route) == history[-1]

    async def test_failover_by_hand_moves_the_first_place(self) -> None:
        """initiate_failover puts another provider first, and refuses one that can't answer."""
        async with rig() as lab:
            await lab.ask()
            assert await lab.fallback.initiate_failover(XAI, ANTHROPIC, "cheaper today")
            assert await ask_all(lab, 1) == [ANTHROPIC]
            lab.fallback.isolate_provider(OPENAI, "maintenance")
            assert first_of(lab.fallback.get_system_status()) is ANTHROPIC
            assert not await lab.fallback.initiate_failover(ANTHROPIC, OPENAI, "no")
            assert first_of(lab.fallback.get_system_status()) is ANTHROPIC
            assert lab.fallback.failover_history[-1].reason == "cheaper today"

    async def test_an_isolated_provider_is_left_alone_until_put_back(self) -> None:
        """Isolation by hand stops requests and probes; restoring brings the provider back by probes."""
        async with rig() as lab:
            lab.fallback.isolate_provider(XAI, "maintenance")
            await ask_all(lab, 2)
            await lab.pass_time(1_000)
            assert lab.fleet.ledger(XAI).requests == 0
            lab.fallback.restore_provider(XAI)
            await lab.pass_time(20)
            assert await ask_all(lab, 1) == [XAI]

    async def test_a_latched_failure_is_not_retried_by_decisions(self) -> None:
        """A rejected key latches its route: one send, then none, until the slow probe."""
        async with rig() as lab:
            await lab.fleet.set_fault("xai", "auth")
            await ask_all(lab, 5)
            assert lab.fleet.ledger(XAI).requests == 1
            [report] = [r for r in lab.fallback.get_system_status().routes if r.route.provider is XAI]
        assert report.state is RouteState.LATCHED

    async def test_best_and_available_providers(self) -> None:
        """The list of who would be asked follows health."""
        async with rig() as lab:
            assert lab.fallback.get_available_providers() == [XAI, OPENAI, ANTHROPIC, LOCAL]
            await lab.fleet.set_fault("xai", "refuse")
            await ask_all(lab, 2)
            assert lab.fallback.get_available_providers() == [OPENAI, ANTHROPIC, LOCAL]
            assert lab.fallback.get_best_provider() is OPENAI


class TestRecovery:
    async def test_the_primary_comes_back_by_itself(self) -> None:
        """After an outage probes find xAI well and it answers again, without a hand."""
        async with rig() as lab:
            await lab.fleet.set_fault("xai", "503")
            assert await ask_all(lab, 3) == [OPENAI] * 3
            await lab.fleet.clear_faults("xai")
            await lab.pass_time(60)
            assert await ask_all(lab, 1) == [XAI]

    async def test_probes_and_not_decisions_find_out(self) -> None:
        """While xAI is still down its probes fail off the decision path: no decision pays for them."""
        async with rig() as lab:
            await lab.fleet.set_fault("xai", "503")
            await ask_all(lab, 2)
            await lab.pass_time(600)
            answer = await lab.ask()
        assert [a.route.provider for a in answer.attempts if a.sent] == [OPENAI]
        probes = [e for e in lab.events if isinstance(e, ProbeSent) and e.route.provider is XAI]
        assert 4 <= len(probes) <= 12

    async def test_normal_after_a_total_outage_takes_evidence_and_dwell(self) -> None:
        """Recovery climbs one rung per dwell: MINIMAL, CONSERVATIVE, NORMAL."""
        async with rig() as lab:
            await lab.fleet.set_fault("all", "refuse")
            await ask_all(lab, 4)
            await lab.fleet.clear_faults("all")
            secs = await lab.until_mode(EmergencyMode.NORMAL)
        assert secs >= CLIMB_SECS

    async def test_no_recovery_without_evidence(self) -> None:
        """Time alone never raises the mode while everything stays down."""
        async with rig() as lab:
            await lab.fleet.set_fault("all", "refuse")
            await ask_all(lab, 4)
            await lab.pass_time(3_000, step_secs=60)
            assert lab.fallback.mode is EmergencyMode.MINIMAL

    async def test_nothing_is_left_running_after_close(self) -> None:
        """Closing the layer in the middle of an outage leaves no task behind."""
        before = asyncio.all_tasks()
        async with rig(settings=replace(QUICK, work=WorkSettings(attempt_secs_max=0.3))) as lab:
            await lab.fleet.set_fault("all", "hang")
            await lab.ask(deadline_secs=0.6)
        assert asyncio.all_tasks() == before
