"""Health of all routes together: who shares evidence, who is alike, what probes and holds say."""

from __future__ import annotations

import pytest
from policy_world import Bench, spec_of

from jurymast.domain.provider import Failure, FailureKind, ProviderName, Route
from jurymast.domain.status import ProviderStatus, RouteState
from jurymast.policy.detector import OPEN_AT
from jurymast.policy.failures import TREATMENTS, FailureScope
from jurymast.policy.health import (
    ALIKE_MIN,
    HOLD_SECS,
    HOLD_SECS_MAX,
    SLOW_FACTOR,
    WELCOME_SECS,
    EdgeMoved,
    ProviderMoved,
    RouteMoved,
    prompt_class,
)

XAI, OPENAI, ANTHROPIC, LOCAL = ProviderName
HEALTHY, SUSPECT, OPEN = RouteState.HEALTHY, RouteState.SUSPECT, RouteState.OPEN
HALF_OPEN, LATCHED = RouteState.HALF_OPEN, RouteState.LATCHED
FLEET = (
    spec_of(XAI), spec_of(XAI, "m1"), spec_of(XAI, instance="west"), spec_of(OPENAI), spec_of(LOCAL)
)  # fmt: skip


def fail(
    bench: Bench, kind: FailureKind, *, secs: float = 0.1, retry_after_secs: float | None = None
) -> None:
    """A real question to xAI's first model fails."""
    failure = Failure(kind, kind.value, retry_after_secs=retry_after_secs)
    bench.core.health.failed(bench.record(XAI), -1, bench.now, failure, secs, 0)


def answer(bench: Bench, provider: ProviderName = XAI, secs: float = 1.0) -> None:
    bench.core.health.answered(bench.record(provider), -1, bench.now, secs, 0, None)


class TestWhoSharesEvidence:
    @pytest.mark.parametrize("kind", FailureKind)
    def test_as_far_as_the_failure_speaks(self, kind: FailureKind) -> None:
        """A model's failure is its own, a key's is its models', a provider's counts half for its models; no
        failure touches another key, another provider or, with the request at fault, anybody."""
        bench = Bench(*FLEET)
        fail(bench, kind)
        treatment = TREATMENTS[kind]
        own, sibling = bench.record(XAI).health, bench.record(XAI, "m1").health
        assert (own.evidence > 0 or own.state is LATCHED) == bool(treatment.evidence_weight)
        assert (own.state is LATCHED) == treatment.latch
        if treatment.scope is FailureScope.ACCESS:
            assert sibling.state is LATCHED
        elif treatment.scope in {FailureScope.PROVIDER, FailureScope.EDGE}:
            assert sibling.evidence == pytest.approx(own.evidence / 2)
        else:
            assert (sibling.state, sibling.evidence) == (HEALTHY, 0)
        for other in (bench.record(XAI, instance="west"), bench.record(OPENAI), bench.record(LOCAL)):
            assert (other.health.state, other.health.evidence) == (HEALTHY, 0)

    def test_a_model_only_outage_leaves_its_siblings(self) -> None:
        """Half of all outages hit one model: an overloaded one opens alone, and the provider is degraded."""
        bench = Bench(*FLEET)
        answer(bench)
        for _ in range(3):
            fail(bench, FailureKind.OVERLOADED)
        assert (bench.state(XAI), bench.state(XAI, "m1")) == (OPEN, HEALTHY)
        assert bench.core.health.statuses[XAI] is ProviderStatus.DEGRADED

    def test_a_network_failure_of_two_providers_is_told_as_the_edges(self) -> None:
        """The suspicion is a fact of its own, raised once, cleared by an answer, and then all are asked."""
        bench = Bench(*FLEET)
        for _ in range(2):
            fail(bench, FailureKind.CONNECT)
            bench.core.health.failed(
                bench.record(OPENAI), -1, bench.now, Failure(FailureKind.RESET, ""), 0.1, 0
            )
        assert (bench.state(XAI), bench.state(OPENAI)) == (OPEN, OPEN)
        answer(bench, OPENAI)
        assert bench.record(OPENAI).edge.suspect, "it was asked before the trouble began"
        bench.now += 2
        answer(bench, OPENAI)
        assert bench.facts(EdgeMoved) == [EdgeMoved("internet", True), EdgeMoved("internet", False)]
        assert bench.state(XAI) is HALF_OPEN
        assert set(bench.probe()) >= {XAI}


class TestRefusals:
    @pytest.mark.parametrize("kind", [FailureKind.AUTH, FailureKind.MODEL_GONE])
    def test_what_was_welcome_within_the_hour_is_not_latched(self, kind: FailureKind) -> None:
        """A refused key or a lost model that worked minutes ago is their fault until it lasts."""
        bench = Bench(*FLEET)
        answer(bench)
        bench.now += WELCOME_SECS - 1
        fail(bench, kind)
        assert bench.state(XAI) is SUSPECT
        bench.now += 2
        fail(bench, kind)
        assert bench.state(XAI) is LATCHED

    def test_quota_is_latched_whatever_was_before(self) -> None:
        """An empty account does not fill by itself: one send, and all models of the key wait for a person."""
        bench = Bench(*FLEET)
        answer(bench)
        fail(bench, FailureKind.QUOTA)
        assert bench.state(XAI) is bench.state(XAI, "m1") is LATCHED
        assert bench.state(XAI, instance="west") is HEALTHY

    def test_three_bad_requests_in_a_row_are_theirs(self) -> None:
        """Requests as they passed within the hour, refused three times running, count; two do not."""
        bench = Bench(*FLEET)
        answer(bench)
        evidence = []
        for _ in range(ALIKE_MIN):
            fail(bench, FailureKind.BAD_REQUEST)
            evidence.append(bench.record(XAI).health.evidence)
        assert evidence[:-1] == [0, 0]
        assert evidence[-1] > 0

    def test_an_answer_between_them_starts_the_row_anew(self) -> None:
        """Bad requests among good answers stay ours."""
        bench = Bench(*FLEET)
        for _ in range(5):
            answer(bench)
            fail(bench, FailureKind.BAD_REQUEST)
            fail(bench, FailureKind.BAD_REQUEST)
        assert (bench.state(XAI), bench.record(XAI).health.evidence) == (HEALTHY, 0)

    @pytest.mark.parametrize(
        "kind", [FailureKind.BAD_REQUEST, FailureKind.CONTEXT_LENGTH, FailureKind.CONTENT_FILTER]
    )
    def test_without_a_recent_answer_requests_are_ours(self, kind: FailureKind) -> None:
        """A template that never passed is a bug of ours, however often it is refused."""
        bench = Bench(*FLEET)
        for _ in range(20):
            fail(bench, kind)
        assert (bench.state(XAI), bench.record(XAI).health.evidence) == (HEALTHY, 0)


class TestSilence:
    @pytest.mark.parametrize(("first_token_secs", "opened"), [(None, False), (1.0, True)])
    def test_a_missing_first_token_is_judged_by_first_tokens(
        self, first_token_secs: float | None, opened: bool
    ) -> None:
        """Five seconds without a token are long for a route whose tokens come within two, though its whole
        answers take twenty; of a route whose first tokens were never timed they say little."""
        bench = Bench(*FLEET)
        for _ in range(10):
            bench.core.health.answered(bench.record(XAI), -1, bench.now, 20.0, 0, first_token_secs)
        for _ in range(2):
            fail(bench, FailureKind.FIRST_TOKEN_TIMEOUT, secs=5.0)
        assert (bench.state(XAI) is OPEN) == opened


class TestHolds:
    @pytest.mark.parametrize(
        ("asked_secs", "held_secs"),
        [(None, HOLD_SECS), (0.0, 0.0), (0.4, 0.4), (40.0, 40.0), (3_600.0, HOLD_SECS_MAX)],
    )
    def test_a_rate_limit_holds_for_as_long_as_it_asks(
        self, asked_secs: float | None, held_secs: float
    ) -> None:
        """To the second, within the bound, and without any evidence."""
        bench = Bench(*FLEET)
        fail(bench, FailureKind.RATE_LIMITED, retry_after_secs=asked_secs)
        health = bench.record(XAI).health
        assert health.held_until == bench.now + held_secs
        assert (health.state, health.evidence) == (HEALTHY, 0)

    def test_the_longest_of_several_demands_counts(self) -> None:
        """A later limit without a header does not shorten the one before."""
        bench = Bench(*FLEET)
        fail(bench, FailureKind.RATE_LIMITED, retry_after_secs=60.0)
        until = bench.now + 60
        bench.now += 1
        fail(bench, FailureKind.RATE_LIMITED)
        assert bench.record(XAI).health.held_until == until

    def test_a_probe_is_told_to_wait_as_well(self) -> None:
        """A probe that is limited holds the route for as long, and is not repeated before."""
        bench = Bench(*FLEET)
        bench.outage(XAI)
        bench.now += 30
        route = bench.record(XAI).route
        assert route in bench.core.due_probes(bench.now)
        bench.core.probed(route, bench.now, Failure(FailureKind.RATE_LIMITED, "", retry_after_secs=90.0))
        assert bench.state(XAI) is HALF_OPEN
        assert route not in bench.core.due_probes(bench.now + 89)
        assert route in bench.core.due_probes(bench.now + 91)


class TestLatency:
    def test_a_slow_answer_raises_doubt_and_never_closes_the_door(self) -> None:
        """Far slower than its usual 99th percentile is weak evidence; a hundred of them open nothing."""
        bench = Bench(*FLEET)
        for _ in range(20):
            answer(bench)
        for _ in range(4):
            answer(bench, secs=SLOW_FACTOR * bench.record(XAI).latency(0).q99_secs + 1)
        assert bench.record(XAI).health.evidence > 0
        for _ in range(100):
            fail(bench, FailureKind.EMPTY) if bench.record(XAI).health.evidence < 1 else None
            answer(bench, secs=SLOW_FACTOR * bench.record(XAI).latency(0).q99_secs + 1)
            assert bench.record(XAI).health.usable
            assert bench.record(XAI).health.evidence < OPEN_AT

    def test_each_class_of_prompts_learns_for_itself(self) -> None:
        """A long prompt's minutes say nothing about a short one's seconds; time-outs go where they belong."""
        bench = Bench(*FLEET)
        record = bench.record(XAI)
        for _ in range(20):
            bench.core.health.answered(record, -1, bench.now, 1.0, 0, None)
            bench.core.health.answered(record, -1, bench.now, 20.0, 2, None)
        before = record.latency(0).q99_secs
        assert record.latency(3) is record.latency(0), "a class without answers borrows the best known one"
        bench.core.health.failed(record, -1, bench.now, Failure(FailureKind.TIMEOUT, ""), 25.0, 2)
        assert record.latency(0).q99_secs == before < 3.0
        assert record.latency(2).q99_secs > 20.0

    def test_an_outage_does_not_teach_patience(self) -> None:
        """A provider that hangs does not make the next silence more expensive."""
        bench = Bench(*FLEET)
        for _ in range(20):
            answer(bench)
        record, before = bench.record(XAI), bench.record(XAI).latency(0).q99_secs
        for attempt in range(12):
            bench.core.health.overdue(record, attempt, bench.now, 5.0)
            fail(bench, FailureKind.TIMEOUT, secs=25.0)
        assert record.latency(0).q99_secs <= 1.5 * before

    @pytest.mark.parametrize(
        ("size_bytes", "size"),
        [(0, 0), (3_999, 0), (4_000, 1), (16_000, 2), (63_999, 2), (64_000, 3), (10**9, 3)],
    )
    def test_prompts_have_four_sizes(self, size_bytes: int, size: int) -> None:
        """Prompts of one size are expected to take alike."""
        assert prompt_class(size_bytes) == size


class TestCapacity:
    def test_it_counts_providers_that_can_answer(self) -> None:
        """Models of one provider are one opinion; who is open, latched or behind a doubtful edge is none."""
        bench = Bench(*FLEET, spec_of(ANTHROPIC))

        def counts() -> tuple[int, int]:
            capacity = bench.core.health.capacity(bench.now)
            return (capacity.able, capacity.small)

        assert counts() == (3, 1)
        bench.outage(OPENAI, FailureKind.SERVER_ERROR)
        assert counts() == (2, 1)
        fail(bench, FailureKind.QUOTA)
        assert counts() == (2, 1), "its other key still works"
        bench.core.health.isolate(XAI, "by hand")
        assert counts() == (1, 1)
        bench.outage(LOCAL)
        assert counts() == (1, 0)

    def test_a_brief_rate_limit_takes_nobody_out(self) -> None:
        """Seconds of waiting are no loss of judgement; minutes are, until they are over."""
        bench = Bench(*FLEET)
        fail(bench, FailureKind.RATE_LIMITED, retry_after_secs=3.0)
        assert bench.core.health.capacity(bench.now).able == 2
        for record in bench.core.health.of(XAI):
            failure = Failure(FailureKind.RATE_LIMITED, "", retry_after_secs=250.0)
            bench.core.health.failed(record, -1, bench.now, failure, 0.1, 0)
        assert bench.core.health.capacity(bench.now).able == 1
        assert bench.core.health.capacity(bench.now + 251).able == 2


class TestFacts:
    def test_every_change_is_told_with_its_reason(self) -> None:
        """Route and provider, from what to what and why, in the words of the failure."""
        bench = Bench(spec_of(XAI))
        answer(bench)
        [known] = bench.facts()
        assert known == ProviderMoved(XAI, ProviderStatus.UNKNOWN, ProviderStatus.HEALTHY, "answers")
        fail(bench, FailureKind.SERVER_ERROR)
        fail(bench, FailureKind.SERVER_ERROR)
        route, reason = Route(XAI, "m0"), "server_error: server_error"
        assert bench.facts() == [
            RouteMoved(route, HEALTHY, SUSPECT, reason),
            ProviderMoved(XAI, ProviderStatus.HEALTHY, ProviderStatus.DEGRADED, reason),
            RouteMoved(route, SUSPECT, OPEN, reason),
            ProviderMoved(XAI, ProviderStatus.DEGRADED, ProviderStatus.UNHEALTHY, reason),
        ]

    def test_nothing_is_told_of_what_does_not_change(self) -> None:
        """A thousand answers of a healthy route are no news."""
        bench = Bench(*FLEET)
        answer(bench)
        bench.facts()
        for _ in range(1_000):
            answer(bench)
        assert bench.facts() == []


class TestConcurrency:
    def test_a_route_that_comes_back_begins_with_one_at_a_time(self) -> None:
        """After an outage the whole load does not fall on a provider that has just got up."""
        bench = Bench(spec_of(XAI), spec_of(OPENAI))
        bench.outage(XAI)
        bench.now += 30
        while bench.state(XAI) is not SUSPECT:
            bench.probe(ok=[XAI, OPENAI], secs=1.0)
        first = [bench.asked(bench.ask())[0] for _ in range(3)]
        assert first == [XAI, OPENAI, OPENAI]

    def test_a_route_that_has_never_answered_gets_four_at_once(self) -> None:
        """If it is dead, no more find out together; each answer lets one more in."""
        bench = Bench(spec_of(XAI), spec_of(OPENAI))
        walks = [bench.ask() for _ in range(6)]
        assert [bench.asked(walk)[0] for walk in walks] == [XAI] * 4 + [OPENAI] * 2
        bench.answer(walks[0])
        assert [bench.asked(bench.ask())[0] for _ in range(3)] == [XAI, XAI, OPENAI]

    def test_pushback_halves_what_a_route_gets(self) -> None:
        """Overloaded with six under way, it gets three."""
        bench = Bench(spec_of(XAI), spec_of(OPENAI))
        bench.answers(4)
        walks = [bench.ask() for _ in range(6)]
        bench.fail(walks[0], FailureKind.OVERLOADED)
        assert bench.record(XAI).concurrency.allowed == 3
        assert bench.record(XAI).full
