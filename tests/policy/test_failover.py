"""The failover core: one decision on its way through routes that answer, fail, stall or ask for time."""

from __future__ import annotations

import heapq
import math
from random import Random

import pytest
from policy_world import Bench, spec_of

from jurymast.domain.decision import AbstainReason
from jurymast.domain.provider import Failure, FailureKind, ProviderName, Tier
from jurymast.domain.status import EmergencyMode, RouteState
from jurymast.policy.deadline import WorkSettings
from jurymast.policy.detector import DetectorSettings, revive
from jurymast.policy.facts import ActiveMoved, ModeMoved
from jurymast.policy.failover import (
    HEDGE_SHARE_MAX,
    PRIOR_SHARE,
    RETRY_SECS,
    WORRIED_HASTE,
    FailoverSettings,
)
from jurymast.policy.failures import TREATMENTS
from jurymast.policy.latency import Z90
from jurymast.policy.limits import HEDGE_TOKENS
from jurymast.policy.record import FIRST_TOKEN_FACTOR
from jurymast.policy.routing import RouteOrder
from jurymast.policy.walk import Cancel, Walk

XAI, OPENAI, ANTHROPIC, LOCAL = ProviderName
CLOUDS = (spec_of(XAI), spec_of(OPENAI), spec_of(ANTHROPIC))
WORK = WorkSettings()
NORMAL, CONSERVATIVE, MINIMAL = EmergencyMode.NORMAL, EmergencyMode.CONSERVATIVE, EmergencyMode.MINIMAL
SERVER_ERROR, RATE_LIMITED = FailureKind.SERVER_ERROR, FailureKind.RATE_LIMITED


def outcomes(walk: Walk) -> list[tuple[ProviderName, str]]:
    return [(attempt.route.provider, attempt.outcome) for attempt in walk.attempts]


class TestOrder:
    def test_the_first_is_asked_and_its_answer_ends_the_walk(self) -> None:
        """One question, one send, one answer, and its cost."""
        bench = Bench()
        walk = bench.answer(bench.ask(), cost=900)
        assert walk.ended is not None
        assert (walk.ended.reason, walk.ended.record) == (None, bench.record(XAI))
        assert (bench.asked(walk), walk.cost, bench.cancelled) == ([XAI], 900, [])
        assert outcomes(walk) == [(XAI, "answered")]

    def test_a_failure_goes_to_the_next(self) -> None:
        """What one route can't answer the next is asked at once, with the cause on record."""
        bench = Bench()
        walk = bench.answer(bench.fail(bench.ask()))
        assert outcomes(walk) == [(XAI, "failed"), (OPENAI, "answered")]
        assert walk.attempts[0].failure is SERVER_ERROR

    def test_a_prompt_goes_to_models_that_hold_it(self) -> None:
        """Who is too small is passed over with the figures; when all are, their servers are the judges."""
        small, large = spec_of(XAI, context_tokens=8_000), spec_of(OPENAI, context_tokens=100_000)
        walk = Bench(small, large).ask(tokens=9_000)
        assert [c.route.provider for c in walk.asked] == [OPENAI]
        assert walk.attempts[0].detail == "holds 8000 tokens, some 9000 are needed"
        assert [c.route.provider for c in Bench(small, large).ask(tokens=8_000).asked] == [XAI]
        assert [c.route.provider for c in Bench(small, spec_of(OPENAI)).ask(tokens=10**6).asked] == [OPENAI]
        assert [c.route.provider for c in Bench(small, large).ask(tokens=10**6).asked] == [XAI]

    def test_a_question_may_name_who_is_asked_first(self) -> None:
        """A critic is asked of another provider than the forecaster: while it is well, for one question."""
        bench = Bench()
        assert bench.asked(bench.ask(first=OPENAI)) == [OPENAI]
        assert bench.asked(bench.ask()) == [XAI]
        bench.outage(OPENAI)
        assert bench.asked(bench.ask(first=OPENAI)) == [XAI]

    def test_three_sends_at_most_and_the_last_by_another_way(self) -> None:
        """The third send leaves the edge that the first two share, and there is no fourth."""
        bench = Bench()
        walk = bench.ask()
        for _ in range(3):
            bench.fail(walk)
        assert bench.asked(walk) == [XAI, OPENAI, LOCAL]
        assert walk.ended is not None
        assert walk.ended.reason is AbstainReason.ALL_PROVIDERS_FAILED
        assert all(name in walk.ended.detail for name in ("xai", "openai", "local", "server_error"))

    def test_without_another_way_the_third_is_the_next(self) -> None:
        """Where everybody stands behind one edge the rank decides."""
        bench = Bench(*CLOUDS)
        walk = bench.ask()
        for _ in range(3):
            bench.fail(walk)
        assert bench.asked(walk) == [XAI, OPENAI, ANTHROPIC]

    def test_one_providers_models_do_not_use_up_all_sends(self) -> None:
        """An overloaded model's siblings are tried, but the third send goes to another provider."""
        models = [spec_of(XAI, f"m{rank}") for rank in range(3)]
        bench = Bench(*models, spec_of(OPENAI))
        walk = bench.ask()
        for _ in range(3):
            bench.fail(walk, FailureKind.OVERLOADED)
        assert bench.asked(walk) == [XAI, XAI, OPENAI]

    def test_a_providers_outage_is_not_asked_of_its_other_models(self) -> None:
        """What speaks of the whole provider or its key gives up all models behind it for this question."""
        for kind in FailureKind:
            treatment = TREATMENTS[kind]
            if not treatment.fail_over:
                continue
            bench = Bench(spec_of(XAI), spec_of(XAI, "m1"), spec_of(OPENAI))
            walk = bench.fail(bench.ask(), kind)
            sibling_is_asked = treatment.scope in {"model", "request"} and kind is not FailureKind.BAD_REQUEST
            assert bench.asked(walk)[1] is (XAI if sibling_is_asked else OPENAI), kind

    def test_what_is_left_out_has_its_reason(self) -> None:
        """A latched key and an isolated provider stand among the attempts, unsent, with their reasons."""
        bench = Bench()
        bench.fail(bench.ask(), FailureKind.QUOTA)
        bench.core.health.isolate(OPENAI, "maintenance")
        walk = bench.ask()
        assert bench.asked(walk) == [ANTHROPIC]
        left_out = {a.route.provider: (a.outcome, a.sent, a.detail) for a in walk.attempts}
        assert left_out[XAI][:2] == left_out[OPENAI][:2] == ("skipped", False)
        assert "quota" in left_out[XAI][2]
        assert "maintenance" in left_out[OPENAI][2]

    def test_a_question_may_have_its_own_reasons_against_a_route(self) -> None:
        """Such a route is not asked for it, however many others fail, and the next question may ask it."""
        bench = Bench(*CLOUDS)
        route = bench.record(XAI).route
        order = RouteOrder(refused={route: "can't carry this one"})
        walk = bench.core.begin(bench.now, 60.0, order=order)
        for name in (OPENAI, ANTHROPIC):
            assert bench.asked(walk)[-1] is name
            bench.fail(walk, FailureKind.QUOTA, name)
        assert walk.ended is not None
        assert XAI not in bench.asked(walk)
        assert ("skipped", "can't carry this one") in [(a.outcome, a.detail) for a in walk.attempts]
        assert bench.asked(bench.ask()) == [XAI]

    def test_nobody_at_all_is_an_answer_too(self) -> None:
        """With every route out by hand the walk ends as it begins, with the reasons."""
        bench = Bench(spec_of(XAI))
        bench.core.health.isolate(XAI, "maintenance")
        walk = bench.ask()
        assert walk.ended is not None
        assert walk.ended.reason is AbstainReason.NO_ROUTE
        assert "maintenance" in walk.ended.detail


class TestTheOnlyOne:
    @pytest.mark.parametrize("kind", [FailureKind.QUOTA, FailureKind.AUTH, FailureKind.MODEL_GONE])
    def test_the_only_route_has_answered_and_is_latched(self, kind: FailureKind) -> None:
        """Out of credit, say: the question ends with that reason, and so do those that come after it."""
        bench = Bench(spec_of(XAI))
        bench.answer(bench.ask())
        for _ in range(4):
            walk = bench.ask()
            while walk.ended is None:
                bench.fail(walk, kind)
            assert walk.ended.reason is not None
        assert bench.core.active is None

    def test_an_answer_that_comes_after_its_route_was_latched(self) -> None:
        """Two questions under way: one finds the credit gone, the answer of the other still counts."""
        bench = Bench(spec_of(XAI))
        bench.answer(bench.ask())
        one, other = bench.ask(), bench.ask()
        bench.fail(one, FailureKind.QUOTA)
        bench.answer(other)
        assert other.ended is not None
        assert other.ended.reason is None


class TestLearntMeanwhile:
    """What happens to routes while a walk is under way counts for it."""

    @pytest.mark.parametrize("kind", [FailureKind.QUOTA, FailureKind.AUTH, FailureKind.MODEL_GONE])
    def test_a_route_that_was_latched_meanwhile_is_not_asked(self, kind: FailureKind) -> None:
        """Another question found the key refused: this one goes past it."""
        bench = Bench(*CLOUDS)
        first, second = bench.ask(), bench.ask()
        bench.fail(bench.fail(first), kind)
        bench.fail(second)
        assert bench.asked(second) == [XAI, ANTHROPIC]

    def test_an_isolated_route_is_not_asked_even_as_the_last(self) -> None:
        """A provider taken out by hand gets nothing more, not even the repeat that was under way."""
        bench = Bench(spec_of(XAI))
        walk = bench.fail(bench.ask())
        assert walk.retry is not None
        bench.core.health.isolate(XAI, "maintenance")
        bench.wake(walk)
        assert walk.ended is not None
        assert len(bench.sends) == 1

    def test_a_rate_limit_learnt_meanwhile_is_kept(self) -> None:
        """Four questions fail over together: one is limited, the other three go elsewhere."""
        bench = Bench(*CLOUDS)
        walks = [bench.ask() for _ in range(4)]
        for walk in walks:
            bench.fail(walk)
            if walk is walks[0]:
                bench.fail(walk, RATE_LIMITED, retry_after_secs=60.0)
        assert [bench.asked(walk)[-1] for walk in walks] == [ANTHROPIC] * 4
        assert sum(send.route.provider is OPENAI for send in bench.sends) == 1

    def test_a_route_that_opened_meanwhile_comes_last(self) -> None:
        """A fallback found dead by others is not preferred to one that is well."""
        bench = Bench(*CLOUDS)
        walk = bench.ask()
        bench.outage(OPENAI)
        bench.fail(walk)
        assert bench.asked(walk) == [XAI, ANTHROPIC]

    def test_a_silent_route_gets_nothing_more_while_another_can_answer(self) -> None:
        """An overdue request that nothing has come back after stops traffic long before any time-out."""
        bench = Bench(*CLOUDS)
        bench.answers(10)
        silent = bench.ask()
        bench.now = silent.wake_at
        assert bench.asked(bench.ask()) == [OPENAI]
        bench.answer(silent, secs=0.0)
        assert bench.asked(bench.ask()) == [XAI]

    def test_several_without_a_word_are_silence_before_any_is_overdue(self) -> None:
        """Together they have waited longer than chance explains; a single word of any ends it."""
        bench = Bench(*CLOUDS)
        bench.answers(10)
        walks = [bench.ask() for _ in range(4)]
        overdue_at = walks[0].wake_at
        bench.now += bench.record(XAI).latency(0).quantile(Z90)
        assert bench.now < overdue_at
        assert bench.asked(bench.ask()) == [OPENAI]
        bench.answer(walks[3], secs=0.0)
        assert bench.asked(bench.ask()) == [XAI]

    @pytest.mark.parametrize(("every_secs", "most"), [(20.0, 0.005), (1.0, 0.02), (0.2, 0.02)])
    def test_chance_seldom_looks_like_silence(self, every_secs: float, most: float) -> None:
        """A well route, whose answers take a lognormal time, is left alone however many are out at once."""
        dice, bench = Random(5), Bench(spec_of(XAI, max_concurrent=100))
        record, due, turned_away = bench.record(XAI), list[tuple[float, int, Walk]](), 0
        for question in range(3_000):
            bench.now += dice.expovariate(1 / every_secs)
            while due and due[0][0] <= bench.now:
                at, _, walk = heapq.heappop(due)
                if walk.ended is None:
                    bench.core.answered(walk, next(iter(walk.in_flight)), at)
            turned_away += record.silent(bench.now)
            secs = dice.lognormvariate(math.log(5.0), 0.5)
            heapq.heappush(due, (bench.now + secs, question, bench.ask()))
        assert turned_away / 3_000 < most

    @pytest.mark.parametrize("kind", [FailureKind.BUSY, FailureKind.TIMEOUT, FailureKind.STALLED])
    def test_silence_is_not_broken_by_more_silence(self, kind: FailureKind) -> None:
        """A time-out or a full queue of ours is no sign of life from a route that hangs."""
        bench = Bench(*CLOUDS)
        bench.answers(10)
        walks = [bench.ask(), bench.ask()]
        bench.now = walks[0].wake_at + 0.1
        bench.fail(walks[1], kind)
        assert bench.record(XAI).silent(bench.now)

    def test_a_full_route_passes_work_on(self) -> None:
        """More at once than an operator allows goes to the next route, not into a queue."""
        bench = Bench(spec_of(XAI, max_concurrent=2), spec_of(OPENAI))
        assert [bench.asked(bench.ask()) for _ in range(4)] == [[XAI], [XAI], [OPENAI], [OPENAI]]

    def test_instances_share_by_weight(self) -> None:
        """Two keys of one provider get work in the proportion of their weights."""
        east, west = spec_of(XAI, instance="east", weight=3.0), spec_of(XAI, instance="west")
        bench = Bench(east, west)
        for _ in range(40):
            bench.answer(bench.ask())
        by_instance = [send.route.instance for send in bench.sends]
        assert (by_instance.count("east"), by_instance.count("west")) == (30, 10)


class TestTime:
    def test_an_attempt_leaves_time_for_the_next(self) -> None:
        """At first nobody knows how long it takes: within the cap, and half of the rest is kept back."""
        bench = Bench()
        walk = bench.ask(deadline_secs=20.0)
        [send] = bench.sends
        assert send.timeout_secs <= 20.0 / 2 + 1e-9 or send.timeout_secs <= 20.0 - 14.0
        assert walk.wake_at <= bench.now + send.timeout_secs * HEDGE_SHARE_MAX

    def test_time_outs_and_alarms_are_learned(self) -> None:
        """After answers of a second a route is overdue within seconds, not after the prior."""
        bench = Bench()
        before = bench.ask().wake_at - bench.now
        prior_secs = WORK.attempt_secs_max * PRIOR_SHARE
        assert before > 2 * prior_secs
        bench = Bench()
        bench.answers(20)
        walk = bench.ask()
        assert 1.0 < walk.wake_at - bench.now < 3.0

    def test_a_doubtful_route_is_waited_for_less(self) -> None:
        """Suspect, it gets its rival at the 95th percentile instead of the 99th."""
        waits = []
        for failed in (False, True):
            bench = Bench()
            bench.answers(20)
            if failed:
                bench.core.health.failed(bench.record(XAI), -1, bench.now, Failure(SERVER_ERROR, ""), 0.1, 0)
                assert bench.state(XAI) is RouteState.SUSPECT
            waits.append(bench.ask().wake_at - bench.now)
        assert waits[1] < waits[0]

    def test_the_first_token_is_expected_early_where_it_is_known_to_come_early(self) -> None:
        """Streams known to begin at once are given up after seconds of silence; small models are not."""
        bench = Bench(spec_of(XAI), spec_of(LOCAL))
        assert bench.ask().ended is None
        assert bench.sends[-1].first_token_secs is None, "nothing is known yet"
        for name in (XAI, LOCAL):
            latency = bench.record(name).first_token
            for second in range(10):
                latency.add(0.5, float(second))
        bench = Bench(spec_of(XAI), spec_of(LOCAL))
        for _ in range(10):
            walk = bench.ask()
            [attempt] = walk.in_flight
            bench.core.answered(walk, attempt, bench.now + 1, first_token_secs=0.5)
            bench.now += 60
        bench.ask()
        first_token_secs = bench.sends[-1].first_token_secs
        assert first_token_secs is not None
        usual_secs = bench.record(XAI).first_token.q99_secs * FIRST_TOKEN_FACTOR
        assert first_token_secs == pytest.approx(max(usual_secs, 5.0))

    def test_no_attempt_is_begun_without_time_for_it(self) -> None:
        """Below the shortest attempt nothing is sent, and nobody's health or mode suffers for it."""
        bench = Bench()
        for _ in range(4):
            walk = bench.ask(deadline_secs=WORK.attempt_secs_min - 0.1)
            assert walk.ended is not None
            assert "no time left" in walk.ended.detail
        assert bench.sends == []
        assert bench.core.ladder.mode is NORMAL
        assert bench.facts() == []

    def test_the_deadline_ends_the_walk(self) -> None:
        """Silent to the end: given up at the deadline with everything that is under way, and charged."""
        bench = Bench(spec_of(XAI))
        walk = bench.ask(deadline_secs=10.0)
        while walk.ended is None:
            bench.wake(walk)
        assert bench.now == walk.ends_at
        assert bench.cancelled == [bench.sends[0].attempt]
        assert outcomes(walk) == [(XAI, "overdue")]
        assert bench.record(XAI).health.evidence > 0
        assert walk.cost == 4_000, "silence may be billed"
        assert sum(attempt.uncertain for attempt in walk.attempts) == 3_000


class TestHedge:
    def test_an_overdue_attempt_gets_a_rival_and_the_first_answer_wins(self) -> None:
        """The same question goes to the next healthy route; the loser is given up, charged and paid for."""
        bench = Bench(*CLOUDS)
        bench.answers(10)
        walk = bench.wake(bench.ask())
        assert bench.asked(walk) == [XAI, OPENAI]
        bench.answer(walk, OPENAI)
        assert walk.ended is not None
        assert walk.ended.record is bench.record(OPENAI)
        assert outcomes(walk) == [(OPENAI, "answered"), (XAI, "overdue")]
        assert bench.record(XAI).health.evidence > 0
        assert walk.cost == 100 + 4_000

    def test_the_first_may_still_win(self) -> None:
        """The rival that is not needed any more is cancelled and says nothing about its route."""
        bench = Bench(*CLOUDS)
        bench.answers(10)
        walk = bench.wake(bench.ask())
        before = bench.record(OPENAI).health
        bench.answer(walk, XAI)
        assert outcomes(walk) == [(XAI, "answered"), (OPENAI, "cancelled")]
        assert bench.record(OPENAI).health is before

    def test_an_answer_that_is_passed_on_has_no_rivals(self) -> None:
        """From its first word on the other is given up, no time brings a new one, and its end is the end."""
        for broken in (False, True):
            bench = Bench(*CLOUDS)
            bench.answers(10)
            walk = bench.wake(bench.ask())
            (first, _), (rival, _) = walk.in_flight.items()
            bench.core.commit(walk, first, bench.now)
            assert outcomes(walk) == [(OPENAI, "cancelled")]
            assert [c.attempt for c in walk.take() if isinstance(c, Cancel)] == [rival]
            assert walk.wake_at == walk.ends_at
            if broken:
                bench.fail(walk, FailureKind.CUT, XAI)
            else:
                bench.answer(walk, XAI)
            assert walk.ended is not None
            assert (walk.ended.record is None) is broken
            assert bench.asked(walk) == [XAI, OPENAI]
            assert (bench.record(XAI).health.evidence > 0) is broken

    def test_a_doubtful_route_is_no_rival(self) -> None:
        """The next healthy one is asked, past a suspect one."""
        bench = Bench(*CLOUDS)
        bench.answers(10)
        bench.core.health.failed(bench.record(OPENAI), -1, bench.now, Failure(SERVER_ERROR, ""), 0.1, 0)
        assert bench.state(OPENAI) is RouteState.SUSPECT
        assert bench.asked(bench.wake(bench.ask())) == [XAI, ANTHROPIC]

    def test_hedges_come_to_an_end(self) -> None:
        """When a whole fleet is slow, doubling every question would finish it: the allowance runs out."""
        bench = Bench(*CLOUDS)
        walks = [bench.ask() for _ in range(20)]
        for walk in walks:
            bench.wake(walk)
        assert len(bench.sends) - len(walks) <= HEDGE_TOKENS + 1

    def test_a_rival_that_fails_is_replaced_at_once(self) -> None:
        """The first is silent, its rival fails: the third is asked without waiting for any time-out."""
        bench = Bench(*CLOUDS)
        bench.answers(10)
        walk = bench.wake(bench.ask())
        bench.fail(walk, provider=OPENAI)
        assert bench.asked(walk) == [XAI, OPENAI, ANTHROPIC]
        bench.answer(walk, ANTHROPIC)
        assert outcomes(walk)[-1] == (XAI, "overdue")

    def test_a_first_that_fails_leaves_the_rival_its_time(self) -> None:
        """While the rival is in good time nobody else is asked."""
        bench = Bench(*CLOUDS)
        bench.answers(10)
        walk = bench.wake(bench.ask())
        bench.fail(walk, provider=XAI)
        assert bench.asked(walk) == [XAI, OPENAI]

    def test_an_answer_of_a_rival_is_no_failover(self) -> None:
        """Beaten once by a rival, a route that is well stays the one that answers first."""
        bench = Bench(*CLOUDS)
        bench.answers(10)
        bench.facts()
        bench.answer(bench.wake(bench.ask()), OPENAI)
        assert bench.facts(ActiveMoved) == []
        assert bench.core.active == bench.record(XAI).route


class TestRetry:
    def test_the_last_route_is_asked_twice_after_a_fast_failure(self) -> None:
        """Nobody else left, failed within moments, time may mend it: once more after a short wait."""
        bench = Bench(spec_of(XAI))
        walk = bench.fail(bench.ask())
        assert walk.ended is None
        assert 0 < walk.wake_at - bench.now <= RETRY_SECS
        bench.answer(bench.wake(walk))
        assert outcomes(walk) == [(XAI, "failed"), (XAI, "answered")]

    def test_it_is_not_asked_a_third_time(self) -> None:
        """Two failures in a row are an outage, not bad luck."""
        bench = Bench(spec_of(XAI))
        walk = bench.fail(bench.wake(bench.fail(bench.ask())))
        assert walk.ended is not None
        assert len(bench.sends) == 2

    @pytest.mark.parametrize(
        ("kind", "secs"), [(FailureKind.AUTH, 0.1), (FailureKind.EMPTY, 0.1), (SERVER_ERROR, 5.0)]
    )
    def test_what_asking_can_not_mend_is_not_repeated(self, kind: FailureKind, secs: float) -> None:
        """A refused key, an empty answer and a slow failure end the question."""
        bench = Bench(spec_of(XAI))
        assert bench.fail(bench.ask(), kind, secs=secs).ended is not None

    def test_nobody_is_asked_twice_while_another_is_left(self) -> None:
        """The next route is worth more than the same again."""
        bench = Bench(spec_of(XAI), spec_of(OPENAI))
        assert bench.asked(bench.fail(bench.ask())) == [XAI, OPENAI]

    def test_a_short_rate_limit_is_waited_out(self) -> None:
        """With nobody else left and time enough, two seconds of Retry-After are waited, to the second."""
        bench = Bench(spec_of(XAI))
        walk = bench.fail(bench.ask(), RATE_LIMITED, retry_after_secs=2.0)
        assert walk.wake_at == bench.now + 2.0
        bench.answer(bench.wake(walk))
        assert walk.ended is not None
        assert walk.ended.reason is None

    @pytest.mark.parametrize("retry_after_secs", [59.0, 120.0, 3_600.0])
    def test_a_long_one_is_not(self, retry_after_secs: float) -> None:
        """What does not fit the deadline ends the question at once."""
        bench = Bench(spec_of(XAI))
        walk = bench.fail(bench.ask(), RATE_LIMITED, retry_after_secs=retry_after_secs)
        assert walk.ended is not None

    @pytest.mark.parametrize("secs", [2.0, 20.0])
    def test_a_limit_of_before_is_waited_out_as_well(self, secs: float) -> None:
        """The dead second route is tried first, then the limited first one as soon as it may be asked."""
        bench = Bench(spec_of(XAI), spec_of(OPENAI))
        bench.outage(OPENAI)
        held_until = bench.now + secs
        bench.core.health.failed(
            bench.record(XAI), -1, bench.now, Failure(RATE_LIMITED, "", retry_after_secs=secs), 0.1, 0
        )
        walk = bench.fail(bench.ask())
        assert bench.asked(walk) == [OPENAI]
        assert walk.wake_at == held_until
        bench.answer(bench.wake(walk))
        assert outcomes(walk)[-1] == (XAI, "answered")

    def test_a_cut_answer_is_asked_for_at_greater_length(self) -> None:
        """An answer cut by its own limit is repeated once with a larger one, when nobody else is left."""
        bench = Bench(spec_of(XAI))
        walk = bench.wake(bench.fail(bench.ask(), FailureKind.TRUNCATED, secs=4.0))
        assert [send.more_output for send in bench.sends] == [False, True]
        assert bench.fail(walk, FailureKind.TRUNCATED).ended is not None

    def test_repeats_come_to_an_end(self) -> None:
        """When answers are rare repeating stops: outages must not double their own load."""
        bench = Bench(spec_of(XAI))
        repeats = 0
        for _ in range(30):
            for _ in range(10):
                bench.core.health.answered(bench.record(XAI), -1, bench.now, 1.0, 0, None)
            walk = bench.fail(bench.ask())
            if walk.ended is None:
                repeats += 1
                bench.fail(bench.wake(walk))
            bench.now += 100
        assert repeats == 5


class TestRefusals:
    def test_a_refusal_of_content_ends_the_question(self) -> None:
        """It is not shopped around: whoever is under way beside it is given up too."""
        bench = Bench(*CLOUDS)
        bench.answers(10)
        walk = bench.wake(bench.ask())
        bench.fail(walk, FailureKind.CONTENT_FILTER, OPENAI)
        assert walk.ended is not None
        assert walk.ended.reason is AbstainReason.CONTENT_FILTER
        assert outcomes(walk) == [(OPENAI, "failed"), (XAI, "overdue")]
        assert bench.core.ladder.failures_in_row == 0, "an answer of its kind"

    def test_a_request_that_two_call_malformed_is_ours(self) -> None:
        """One 400 may be a dialect's, two are a bug of ours: nobody else is bothered."""
        bench = Bench()
        walk = bench.fail(bench.fail(bench.ask(), FailureKind.BAD_REQUEST), FailureKind.BAD_REQUEST)
        assert walk.ended is not None
        assert bench.asked(walk) == [XAI, OPENAI]
        assert bench.state(XAI) is bench.state(OPENAI) is RouteState.HEALTHY


class TestMoney:
    def test_what_is_too_dear_is_passed_over(self) -> None:
        """A route whose worst case does not fit the budget costs no send; the next is asked."""
        bench = Bench()
        walk = bench.refuse_to_pay(bench.ask())
        assert bench.asked(walk) == [OPENAI]
        assert outcomes(walk)[-1] == (XAI, "skipped")
        assert bench.record(XAI).in_flight == {}

    def test_nothing_affordable_is_its_own_reason(self) -> None:
        """A spent budget is no outage: the reason says so, the mode stays, nobody is blamed."""
        bench = Bench()
        for _ in range(4):
            walk = bench.ask()
            while walk.ended is None:
                bench.refuse_to_pay(walk)
            assert walk.ended.reason is AbstainReason.AI_BUDGET_SPENT
        assert bench.core.ladder.mode is NORMAL
        assert bench.facts() == []

    def test_refused_money_leaves_the_sends(self) -> None:
        """Only what was sent counts against the bound: four too dear, and three can still be asked."""
        bench = Bench(*(spec_of(XAI, f"m{rank}") for rank in range(4)), *CLOUDS[1:], spec_of(LOCAL))
        walk = bench.ask()
        for _ in range(4):
            bench.refuse_to_pay(walk)
        for _ in range(3):
            bench.fail(walk)
        assert bench.asked(walk) == [OPENAI, ANTHROPIC, LOCAL]


class TestAbandoned:
    def test_a_caller_that_leaves_in_time_says_nothing(self) -> None:
        """Cancelled before it was overdue, an attempt is nobody's fault."""
        bench = Bench()
        walk = bench.abandon(bench.ask())
        assert bench.cancelled == [bench.sends[0].attempt]
        assert bench.record(XAI).health.evidence == 0
        assert outcomes(walk) == [(XAI, "cancelled")]

    def test_a_caller_that_leaves_after_silence_charges_the_route(self) -> None:
        """A route that ate the caller's patience is charged for it, though no time-out was reached."""
        bench = Bench(*CLOUDS)
        bench.answers(10)
        for _ in range(3):
            walk = bench.ask()
            bench.now = walk.wake_at
            bench.abandon(walk)
            bench.now += 1
        assert bench.state(XAI) is RouteState.OPEN
        assert bench.core.ladder.failures_in_row == 0, "a caller that leaves is no outage"

    def test_after_the_end_nothing_more_happens(self) -> None:
        """An alarm or a caller that comes late changes nothing."""
        bench = Bench()
        walk = bench.answer(bench.ask())
        ended, attempts = walk.ended, list(walk.attempts)
        bench.abandon(walk)
        bench.core.wake(walk, walk.ends_at)
        assert (walk.ended, walk.attempts, walk.commands) == (ended, attempts, [])


class TestProbes:
    def test_a_dead_primary_is_found_by_two_decisions_and_back_by_three_probes(self) -> None:
        """At a decision a minute: two failures open it, probes off the decision path bring it back."""
        bench = Bench(*CLOUDS)
        for _ in range(2):
            bench.answer(bench.fail(bench.ask()))
            bench.now += 60
        assert bench.state(XAI) is RouteState.OPEN
        assert bench.asked(bench.ask()) == [OPENAI]
        assert XAI in bench.probe(ok=[XAI])
        assert bench.probe(ok=[XAI], secs=1) == [XAI]
        assert bench.state(XAI) is RouteState.HALF_OPEN
        assert bench.probe(ok=[XAI], secs=1) == [XAI]
        assert bench.state(XAI) is RouteState.SUSPECT
        assert bench.asked(bench.ask()) == [XAI]

    def test_at_one_a_minute_an_outage_is_found_by_probes_within_a_minute(self) -> None:
        """The first failure makes the route suspect; a probe seconds later settles it."""
        bench = Bench(*CLOUDS)
        bench.answer(bench.fail(bench.ask()))
        bench.now += DetectorSettings().confirm_secs * 1.2
        assert XAI in bench.probe(ok=[OPENAI, ANTHROPIC])
        assert bench.state(XAI) is RouteState.OPEN

    def test_a_route_with_work_under_way_is_not_probed(self) -> None:
        """Real traffic tells more than a probe, and costs nothing extra."""
        bench = Bench(spec_of(XAI))
        bench.ask()
        assert bench.probe() == []

    def test_in_doubt_idle_routes_are_asked_sooner(self) -> None:
        """While questions go unanswered everybody is asked who is left, ten times as often."""
        idle_secs = FailoverSettings().probe_idle_secs
        bench = Bench(*CLOUDS)
        bench.probe(ok=list(ProviderName))
        assert bench.probe(secs=idle_secs / WORRIED_HASTE + 1) == []
        walk = bench.ask()
        while walk.ended is None:
            bench.fail(walk, FailureKind.EMPTY)
        bench.now += idle_secs / WORRIED_HASTE
        assert set(bench.probe(ok=list(ProviderName))) == {XAI, OPENAI, ANTHROPIC}

    def test_a_restart_in_an_outage_asks_before_it_trusts(self) -> None:
        """Routes that were open before come back half-open: asked by probes, not first by decisions."""
        route = spec_of(XAI).route
        health = revive(RouteState.OPEN, "HTTP 503", 1_000.0, DetectorSettings())
        bench = Bench(*CLOUDS, mode=MINIMAL, healths={route: health})
        assert bench.core.ladder.mode is MINIMAL
        assert bench.asked(bench.ask()) == [OPENAI]
        assert XAI in bench.probe()


class TestModes:
    def test_probes_that_find_everybody_gone_end_the_story_of_who_answers(self) -> None:
        """With no usable route nobody is the active one, whether decisions or probes found out."""
        bench = Bench(*CLOUDS)
        bench.answers(2)
        bench.facts()
        for _ in range(40):
            bench.probe(secs=10.0)
        assert bench.core.ladder.mode is MINIMAL
        assert bench.core.active is None
        [moved] = bench.facts(ActiveMoved)
        assert (moved.old, moved.new) == (bench.record(XAI).route, None)

    def test_questions_that_fail_together_are_one_failure(self) -> None:
        """Ten questions at once through one bad moment do not count as ten decisions in a row."""
        bench = Bench(spec_of(XAI), spec_of(OPENAI, edge="other"), spec_of(LOCAL))
        walks = [bench.ask() for _ in range(10)]
        bench.now += 0.1
        for walk in walks:
            while walk.ended is None:
                attempt = next(iter(walk.in_flight))
                bench.core.failed(walk, attempt, bench.now, Failure(FailureKind.CONTEXT_LENGTH, ""))
                walk.take()
        assert bench.core.ladder.failures_in_row == 1
        assert bench.core.ladder.mode is NORMAL

    def test_three_unanswered_questions_in_a_row_are_an_outage(self) -> None:
        """Whatever the routes look like: nobody answers, so nothing new is risked."""
        bench = Bench()
        for _ in range(3):
            walk = bench.ask()
            while walk.ended is None:
                bench.fail(walk, FailureKind.CONTEXT_LENGTH)
            bench.now += 1
        assert bench.core.ladder.mode is MINIMAL
        [moved] = bench.facts(ModeMoved)
        assert (moved.old, moved.new) == (NORMAL, MINIMAL)

    def test_a_shared_edge_in_doubt_prefers_the_other_way_at_once(self) -> None:
        """Two providers refuse connections together: the third behind the same edge is not believed in."""
        bench = Bench()
        walk = bench.fail(bench.fail(bench.ask(), FailureKind.CONNECT), FailureKind.CONNECT)
        assert bench.asked(walk) == [XAI, OPENAI, LOCAL]
        bench.answer(walk)
        assert bench.core.ladder.mode is CONSERVATIVE, "only a small model is left"
        assert bench.asked(bench.ask()) == [LOCAL]
        bench.probe(ok=list(ProviderName), secs=10.0)
        assert not bench.record(XAI).edge.suspect
        assert bench.asked(bench.ask())[0] is not LOCAL

    def test_a_hand_moves_the_first_place(self) -> None:
        """Another provider is asked first from now on, and who can't be used can't be put there."""
        bench = Bench()
        bench.answers(1)
        assert bench.core.fail_over(XAI, ANTHROPIC, "cheaper today")
        assert bench.asked(bench.ask()) == [ANTHROPIC]
        [moved] = bench.facts(ActiveMoved)
        assert moved.reason == "cheaper today"
        bench.outage(OPENAI)
        assert not bench.core.fail_over(ANTHROPIC, OPENAI, "no")
        assert not bench.core.fail_over(ANTHROPIC, ANTHROPIC, "no")


class TestShadow:
    def test_routes_that_have_long_answered_nothing_real_are_due_a_question_in_shadow(self) -> None:
        """The last line is proven on real questions: the free model often, a cloud hourly."""
        settings = FailoverSettings()
        bench = Bench(settings=settings)
        assert bench.core.shadow(bench.now) is None, "a run has just begun"
        bench.now += settings.shadow_free_secs
        assert bench.core.shadow(bench.now) is bench.record(LOCAL)
        assert bench.core.shadow(bench.now) is None, "it has one"
        bench.now += settings.shadow_secs
        due = [bench.core.shadow(bench.now) for _ in range(5)]
        assert {record.route.provider for record in due if record} == set(ProviderName)
        assert due[-1] is None

    def test_who_answers_real_questions_needs_none(self) -> None:
        """The active route proves itself; sick routes have their probes; zero means never."""
        settings = FailoverSettings(shadow_secs=0.0, shadow_free_secs=0.0)
        bench = Bench(settings=settings)
        bench.now += 1e6
        assert bench.core.shadow(bench.now) is None
        bench = Bench(spec_of(XAI), spec_of(OPENAI))
        bench.outage(OPENAI)
        bench.now += 1e4
        bench.answers(1)
        assert bench.core.shadow(bench.now) is None

    def test_what_it_comes_to_is_evidence(self) -> None:
        """A failing shadow warns before a decision needs the route; an answer teaches its latency."""
        bench = Bench()
        local = bench.record(LOCAL)
        bench.core.shadowed(local, bench.now, 8.0, 1, None)
        assert local.latencies[1].samples == 1
        bench.core.shadowed(local, bench.now, 8.0, 1, Failure(FailureKind.INVALID_ANSWER, "no JSON"))
        assert local.health.evidence > 0


def test_a_route_belongs_to_its_tier() -> None:
    """What a local model answers counts as a small opinion, whatever else is up."""
    bench = Bench()
    assert bench.record(LOCAL).spec.tier is Tier.SMALL
    capacity = bench.core.health.capacity(bench.now)
    assert (capacity.able, capacity.small) == (3, 1)
