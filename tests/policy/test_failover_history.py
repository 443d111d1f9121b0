"""The failover core through any history: what must hold whatever providers, callers and operators do."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from policy_world import spec_of

from jurymast.domain.decision import AbstainReason
from jurymast.domain.provider import Failure, FailureKind, ProviderName, Route
from jurymast.domain.status import EmergencyMode, RouteState
from jurymast.policy.facts import ActiveMoved, EdgeMoved, ModeMoved, ProviderMoved, RouteMoved
from jurymast.policy.failover import Failover, FailoverSettings
from jurymast.policy.ladder import RISES, LadderSettings
from jurymast.policy.walk import Send, Walk

SETTINGS = FailoverSettings(ladder=LadderSettings(dwell_secs=100.0, suspend_after_secs=2_000.0))
SPECS = (
    spec_of(ProviderName.XAI),
    spec_of(ProviderName.XAI, "m1"),
    spec_of(ProviderName.OPENAI, instance="east", max_concurrent=2),
    spec_of(ProviderName.OPENAI, instance="west", max_concurrent=2),
    spec_of(ProviderName.ANTHROPIC),
    spec_of(ProviderName.LOCAL, max_concurrent=1),
)
OUT = {RouteState.LATCHED, RouteState.ISOLATED}
BETTER = [
    RouteState.HEALTHY, RouteState.SUSPECT, RouteState.HALF_OPEN,
    RouteState.OPEN, RouteState.LATCHED, RouteState.ISOLATED,
]  # fmt: skip
HAIR = 1e-6
KINDS = st.sampled_from(sorted(FailureKind))
PICK = st.integers(0, 1_000)
SOME_SECS = st.sampled_from([0.0, 0.05, 0.5, 3.0, 20.0, 200.0])


class AnyOutage(RuleBasedStateMachine):
    """Walks, probes and hands in any order. Time moves by events: alarms and time-outs come when due."""

    @initialize(names=st.sets(st.sampled_from(ProviderName), min_size=1), dice=st.floats(0, 0.999))
    def begin(self, names: set[ProviderName], dice: float) -> None:
        self.now = 5_000.0
        specs = [spec for spec in SPECS if spec.route.provider in names]
        self.core = Failover(specs, settings=SETTINGS, now=self.now, dice=lambda: dice)
        self.live: list[Walk] = []
        self.ended: list[tuple[Walk, object]] = []
        self.under_way: dict[int, tuple[Walk, float]] = {}
        """The walk of each attempt that was sent and not yet heard of, and when its time is up."""
        self.unpaid: dict[int, int] = {}
        self.states = {route: record.health.state for route, record in self.core.health.records.items()}
        self.statuses = dict(self.core.health.statuses)
        self.suspects: dict[str, bool] = dict.fromkeys(self.core.health.edges, False)
        self.mode, self.mode_since, self.proofs = self.core.ladder.mode, self.now, 0
        self.active: Route | None = None
        self.active_told = False

    # What happens

    @rule(deadline_secs=st.sampled_from([1.0, 2.5, 8.0, 30.0, 60.0]), size=st.integers(0, 3))
    def a_question(self, deadline_secs: float, size: int) -> None:
        before = self.core.health.plan(self.now)
        walk = self.core.begin(self.now, deadline_secs, prompt_class=size)
        self.live.append(walk)
        askable = [
            record
            for record in self.core.health.records.values()
            if record.health.state not in OUT and record.health.held_until <= self.now
        ]
        if askable and deadline_secs >= SETTINGS.work.attempt_secs_min:
            assert len(walk.asked) == 1, f"somebody can be asked: {before}"
        self.look(walk)

    @precondition(lambda self: self.under_way)
    @rule(pick=PICK, secs=SOME_SECS)
    def an_answer(self, pick: int, secs: float) -> None:
        attempt = self.pass_time(secs, pick)
        if attempt is None:
            return
        walk, _ = self.under_way.pop(attempt)
        record = walk.in_flight[attempt].record
        before = record.health
        self.proofs += 1
        self.core.answered(walk, attempt, self.now, cost=10)
        assert walk.ended is not None
        assert walk.ended.reason is None
        assert walk.ended.record is record
        slow = record.health.reason.startswith("slow") and before.usable
        assert BETTER.index(record.health.state) <= max(BETTER.index(before.state), int(slow))
        assert slow or record.health.evidence <= before.evidence or not before.usable
        self.look(walk)

    @precondition(lambda self: self.under_way)
    @rule(pick=PICK, secs=SOME_SECS, kind=KINDS, retry_after_secs=st.sampled_from([None, 0.0, 3.0, 3_600.0]))
    def a_failure(self, pick: int, secs: float, kind: FailureKind, retry_after_secs: float | None) -> None:
        attempt = self.pass_time(secs, pick)
        if attempt is not None:
            self.report(attempt, Failure(kind, "drawn", retry_after_secs=retry_after_secs))

    @precondition(lambda self: self.under_way)
    @rule(pick=PICK)
    def no_money(self, pick: int) -> None:
        attempt = sorted(self.under_way)[pick % len(self.under_way)]
        walk, _ = self.under_way.pop(attempt)
        self.unpaid[id(walk)] = self.unpaid.get(id(walk), 0) + 1
        self.core.unaffordable(walk, attempt, self.now, "too dear")
        self.look(walk)

    @precondition(lambda self: self.live)
    @rule(pick=PICK)
    def a_caller_leaves(self, pick: int) -> None:
        walk = self.live[pick % len(self.live)]
        self.core.abandoned(walk, self.now)
        assert walk.ended is not None
        self.look(walk)

    @rule(secs=st.sampled_from([0.1, 4.0, 30.0, 120.0, 4_000.0]))
    def time_passes(self, secs: float) -> None:
        self.pass_time(secs)

    @rule(
        secs=st.sampled_from([0.0, 1.0, 20.0, 400.0]), well=st.sets(st.sampled_from(ProviderName)), kind=KINDS
    )
    def probes(self, secs: float, well: set[ProviderName], kind: FailureKind) -> None:
        self.pass_time(secs)
        due = self.core.due_probes(self.now)
        self.every_change_is_told_once()
        for route in due:
            record = self.core.health.records[route]
            assert record.health.state is not RouteState.ISOLATED
            assert record.health.held_until <= self.now
            healthy = route.provider in well
            self.proofs += healthy
            self.core.probed(route, self.now, None if healthy else Failure(kind, "drawn"))
            self.every_change_is_told_once()

    @rule(name=st.sampled_from(ProviderName), out=st.booleans())
    def a_hand(self, name: ProviderName, out: bool) -> None:
        if out:
            self.core.health.isolate(name, "by hand")
        else:
            self.core.health.restore(name, self.now)
        self.core.step(self.now)

    @rule(old=st.sampled_from(ProviderName), new=st.sampled_from(ProviderName))
    def a_failover_by_hand(self, old: ProviderName, new: ProviderName) -> None:
        self.core.fail_over(old, new, "by hand")

    @rule(mode=st.sampled_from(list(EmergencyMode)[:-1]), secs=st.sampled_from([50.0, math.inf]))
    def a_demand(self, mode: EmergencyMode, secs: float) -> None:
        self.core.force_mode(mode, "by hand", self.now, self.now + secs)
        assert self.core.ladder.mode.severity >= mode.severity

    @rule()
    def a_demand_is_taken_back(self) -> None:
        self.core.release_mode(self.now)

    @rule(well=st.booleans())
    def a_shadow(self, well: bool) -> None:
        record = self.core.shadow(self.now)
        if record is not None:
            assert record.health.usable
            failure = None if well else Failure(FailureKind.INVALID_ANSWER, "drawn")
            self.core.shadowed(record, self.now, 2.0, 0, failure)

    # How the shell would carry it out

    def pass_time(self, secs: float, pick: int | None = None) -> int | None:
        """Let time pass, every alarm and time-out at its moment; an attempt that is still under way."""
        target = self.now + secs
        while True:
            alarms = [(walk.wake_at, 0, number) for number, walk in enumerate(self.live)]
            time_outs = [(at, 1, attempt) for attempt, (_, at) in self.under_way.items()]
            at, kind, which = min([*alarms, *time_outs], default=(math.inf, 0, 0))
            if at > target:
                break
            self.now = max(self.now, at)
            if kind:
                self.report(which, Failure(FailureKind.TIMEOUT, "silence"))
            else:
                walk = self.live[which]
                self.core.wake(walk, self.now)
                self.look(walk)
        self.now = target
        attempts = sorted(self.under_way)
        return attempts[pick % len(attempts)] if attempts and pick is not None else None

    def report(self, attempt: int, failure: Failure) -> None:
        walk, _ = self.under_way.pop(attempt)
        self.core.failed(walk, attempt, self.now, failure, cost=5)
        self.look(walk)

    def look(self, walk: Walk) -> None:
        """Take the commands of a walk and hold them to the rules."""
        self.every_change_is_told_once()
        for command in walk.take():
            if isinstance(command, Send):
                record = self.core.health.records[command.route]
                assert record.health.state not in OUT, "never to a route that asking can't mend"
                assert command.attempt not in self.under_way
                assert 0 < command.timeout_secs <= walk.ends_at - self.now + HAIR
                assert command.first_token_secs is None or command.first_token_secs <= command.timeout_secs
                self.under_way[command.attempt] = (walk, self.now + command.timeout_secs)
            else:
                owner, _ = self.under_way.pop(command.attempt)
                assert owner is walk, "only what is under way is given up"
        assert len(walk.asked) <= SETTINGS.work.sends_max
        mine = {attempt for attempt, (owner, _) in self.under_way.items() if owner is walk}
        assert mine == walk.in_flight.keys()
        if walk.ended is None:
            assert self.now <= walk.wake_at <= walk.ends_at, "somebody wakes it in time"
            assert walk.in_flight or walk.retry
        elif walk in self.live:
            assert self.now <= walk.ends_at + HAIR
            assert mine == set()
            assert walk.wake_at == math.inf
            tried = [attempt for attempt in walk.attempts if attempt.sent]
            assert len(tried) == len(walk.asked)
            assert walk.cost == sum(attempt.cost for attempt in walk.attempts)
            if walk.ended.reason is AbstainReason.NO_ROUTE:
                assert tried == []
            self.live.remove(walk)
            self.ended.append((walk, walk.ended))

    # What always holds

    @invariant()
    def every_end_is_final(self) -> None:
        assert all(walk.ended is end and not walk.commands for walk, end in self.ended)

    @invariant()
    def nothing_is_left_over(self) -> None:
        flying = [a for record in self.core.health.records.values() for a in record.in_flight]
        assert sorted(flying) == sorted(self.under_way)

    @invariant()
    def every_change_is_told_once(self) -> None:
        facts, self.core.facts[:] = list(self.core.facts), []
        for fact in facts:
            assert fact.new != fact.old if not isinstance(fact, EdgeMoved) else True
            match fact:
                case RouteMoved(route, old, new):
                    assert self.states[route] is old
                    self.states[route] = new
                case ProviderMoved(name, old, new):
                    assert self.statuses[name] is old
                    self.statuses[name] = new
                case EdgeMoved(edge, suspect):
                    assert self.suspects[edge] != suspect
                    self.suspects[edge] = suspect
                case ModeMoved(old, new):
                    assert self.mode is old
                    self.mode_moved(old, new)
                case ActiveMoved(old, new):
                    assert old == self.active or not self.active_told
                    self.active, self.active_told = new, True
            assert isinstance(fact, EdgeMoved) or fact.reason
        records = self.core.health.records
        assert self.states == {route: record.health.state for route, record in records.items()}
        assert self.statuses == self.core.health.statuses
        assert self.suspects == {name: edge.suspect for name, edge in self.core.health.edges.items()}
        assert self.mode is self.core.ladder.mode
        assert self.active == self.core.active or not self.active_told

    def mode_moved(self, old: EmergencyMode, new: EmergencyMode) -> None:
        if new.severity < old.severity:
            assert new.severity >= RISES[old].severity, "one rung at a time"
            assert self.now - self.mode_since >= SETTINGS.ladder.dwell_in(old)
            assert self.proofs >= SETTINGS.ladder.answers_in(old)
        self.mode, self.mode_since, self.proofs = new, self.now, 0

    @invariant()
    def limits_hold(self) -> None:
        for record in self.core.health.records.values():
            assert 1 <= record.concurrency.allowed <= record.spec.max_concurrent
        assert 0 <= self.core.hedges.tokens <= self.core.hedges.most
        assert self.core.retries.floor <= self.core.retries.tokens <= self.core.retries.most

    def teardown(self) -> None:
        """Left alone, every walk ends by itself, in time, and leaves nothing."""
        if not hasattr(self, "core"):
            return
        self.pass_time(61.0)
        assert self.live == []
        assert self.under_way == {}
        self.every_end_is_final()
        self.nothing_is_left_over()
        self.every_change_is_told_once()


AnyOutage.TestCase.settings = hypothesis_settings(
    max_examples=120, stateful_step_count=40, derandomize=True, deadline=None
)
TestAnyOutage = AnyOutage.TestCase


def test_the_same_history_has_the_same_end() -> None:
    """One seed of chance and one order of events give the same sends, facts and attempts, to the last."""

    def story() -> list[object]:
        core = Failover(SPECS, settings=replace(SETTINGS), now=0.0, dice=lambda: 0.25)
        told: list[object] = []
        for number in range(200):
            now = number * 7.0
            walk = core.begin(now, 30.0)
            while walk.ended is None:
                told += walk.take()
                attempt = next(iter(walk.in_flight), None)
                if attempt is None or (number % 5 == 0 and now < walk.wake_at):
                    now = walk.wake_at
                    core.wake(walk, now)
                elif number % 3:
                    core.answered(walk, attempt, now + 0.5)
                else:
                    core.failed(walk, attempt, now + 0.5, Failure(FailureKind.SERVER_ERROR, "x"))
            told += [*walk.take(), *walk.attempts, *core.due_probes(now)]
        return [*map(str, told), *map(str, core.facts)]

    first = story()
    assert len(first) > 400
    assert first == story()
