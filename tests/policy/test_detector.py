"""The detector: what requests came to, and what that makes of a route."""

from __future__ import annotations

import itertools
import math
import random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from jurymast.domain.status import RouteState
from jurymast.policy import detector
from jurymast.policy.detector import (
    CALM_PER_MINUTE,
    EVIDENCE_MAX,
    FAILURE_STEP,
    HEALTHY_BELOW,
    OPEN_AT,
    OPEN_AT_MAX,
    PROBATION,
    PROBATION_SUCCESSES,
    QUICK_PROBES,
    SUCCESS_STEP,
    SUSPECT_AT,
    DetectorSettings,
    RouteHealth,
    Sign,
    hold,
    isolate,
    observe,
    restore,
    revive,
    threshold,
    tick,
)
from jurymast.policy.illness import COUNTED_MAX, NEVER_ILL, PROOF_MAX, Illness

SETTINGS = DetectorSettings()
NOW = 1_000.0
HEALTHY, SUSPECT, OPEN = RouteState.HEALTHY, RouteState.SUSPECT, RouteState.OPEN
HALF_OPEN, LATCHED, ISOLATED = RouteState.HALF_OPEN, RouteState.LATCHED, RouteState.ISOLATED

COLUMNS = {
    "success": Sign.SUCCESS,
    "failure": Sign.FAILURE,
    "latching": Sign.LATCH,
    "time": None,
    "probe ok": Sign.PROBE_OK,
    "probe failed": Sign.PROBE_FAILED,
}


def drawn_table() -> dict[tuple[RouteState, str], str]:
    """The table drawn at the head of the module, cell by cell. Columns start under their titles."""
    lines = (detector.__doc__ or "").splitlines()
    start = next(i for i, line in enumerate(lines) if line.lstrip().startswith("state "))
    titles = list(COLUMNS)
    edges = [lines[start].index(title) for title in titles]
    cells = {}
    for line in lines[start + 1 : start + 1 + len(RouteState)]:
        state = RouteState(line[: edges[0]].strip())
        for title, left, right in zip(titles, edges, [*edges[1:], None], strict=True):
            cells[state, title] = line[left:right].strip()
    return cells


def situations(state: RouteState) -> list[RouteHealth]:
    """Ways to be in a state that differ in what comes next."""
    match state:
        case RouteState.HEALTHY:
            return [RouteHealth(), RouteHealth(evidence=1.9), RouteHealth(evidence=2.6)]
        case RouteState.SUSPECT:
            probation = RouteHealth(SUSPECT, PROBATION, probation=PROBATION_SUCCESSES)
            plain = [RouteHealth(SUSPECT, e) for e in (HEALTHY_BELOW, 1.2, 1.8, SUSPECT_AT, PROBATION, 3.9)]
            return [*plain, probation]
        case RouteState.OPEN:
            return [RouteHealth(OPEN, 5.4, openings=1, next_probe_at=NOW - 1)]
        case RouteState.HALF_OPEN:
            return [
                RouteHealth(HALF_OPEN, 5.4, openings=1, next_probe_at=NOW, illness=Illness(8, 0, ok))
                for ok in range(SETTINGS.probes_to_close)
            ]
        case _:
            return [RouteHealth(state, 1.0, next_probe_at=NOW - 1)]


def test_the_drawn_table_covers_every_state_and_sign() -> None:
    """The picture a person reads has a cell for every state and everything that can happen to it."""
    assert set(drawn_table()) == {(state, title) for state in RouteState for title in COLUMNS}


@pytest.mark.parametrize(("state", "title"), sorted(drawn_table()))
def test_the_drawn_table_is_true(state: RouteState, title: str) -> None:
    """Whatever a route goes through ends in a state that the drawn cell names, and each is reached."""
    cell = drawn_table()[state, title]
    sign = COLUMNS[title]
    starts = situations(state)
    if sign is None:
        ends = [tick(start, NOW) for start in starts]
    else:
        ends = [observe(start, sign, NOW, SETTINGS) for start in starts]
    drawn = {
        RouteState(word.strip(" *"))
        for word in cell.removesuffix(", longer").removesuffix(" after n").split("|")
    }
    waits = "*" in cell or "after n" in cell
    assert {end.state for end in ends} == drawn | ({state} if waits else set())
    if "longer" in cell:
        assert {end.openings for end in ends} == {start.openings + 1 for start in starts}
    elif state is OPEN and cell == "open":
        assert {end.openings for end in ends} == {1}


def test_two_failures_in_a_row_open_a_route() -> None:
    """The first failure makes a route suspect, the second opens it: no minimum volume is waited for."""
    once = observe(RouteHealth(), Sign.FAILURE, NOW, SETTINGS, reason="HTTP 503")
    assert (once.state, once.reason) == (SUSPECT, "HTTP 503")
    twice = observe(once, Sign.FAILURE, NOW + 60, SETTINGS)
    assert twice.state is OPEN
    assert twice.next_probe_at == NOW + 60 + SETTINGS.open_secs


def test_the_threshold_grows_with_traffic() -> None:
    """Two failures in a row open at a request a minute, five at hundreds a second; no rate asks for more."""

    def failures_to_open(per_minute: float) -> int:
        health = RouteHealth()
        for failures in itertools.count(1):
            health = observe(health, Sign.FAILURE, NOW, SETTINGS, open_at=threshold(per_minute))
            if health.state is OPEN:
                return failures
        raise AssertionError("endless")

    rates = [0.0, 1.0, CALM_PER_MINUTE, 20.0, 600.0, 12_000.0, 1e9]
    needed = [failures_to_open(rate) for rate in rates]
    assert needed == [2, 2, 2, 3, 5, 5, 5]
    assert [threshold(rate) for rate in rates] == sorted(threshold(rate) for rate in rates)
    assert threshold(1e9) == OPEN_AT_MAX
    assert threshold(CALM_PER_MINUTE) == pytest.approx(threshold(CALM_PER_MINUTE + 1e-9)) == OPEN_AT


@given(evidence=st.floats(0, SUSPECT_AT), suspect=st.booleans())
def test_two_plain_failures_open_a_route_whatever_its_past(evidence: float, suspect: bool) -> None:
    """However good its record, a route that fails twice in a row is no longer asked first."""
    health = RouteHealth(SUSPECT if suspect else HEALTHY, evidence)
    for _ in range(2):
        health = observe(health, Sign.FAILURE, NOW, SETTINGS)
    assert health.state is OPEN


@given(
    signs=st.lists(st.sampled_from([Sign.SUCCESS, Sign.PROBE_OK]), max_size=60),
    evidence=st.floats(0, EVIDENCE_MAX),
    suspect=st.booleans(),
)
def test_a_route_that_always_answers_is_never_opened(
    signs: list[Sign], evidence: float, suspect: bool
) -> None:
    """Answers alone never make a route worse, and enough real ones make it healthy without a trace."""
    health = RouteHealth(SUSPECT if suspect else HEALTHY, evidence, openings=3)
    for sign in signs:
        after = observe(health, sign, NOW, SETTINGS)
        assert after.usable
        assert after.evidence <= health.evidence
        assert not (health.state is HEALTHY and after.state is SUSPECT)
        health = after
    if signs.count(Sign.SUCCESS) > EVIDENCE_MAX / SUCCESS_STEP:
        assert (health.state, health.evidence, health.openings) == (HEALTHY, 0, 0)
        assert health.illness == NEVER_ILL


@given(
    state=st.sampled_from(RouteState),
    evidence=st.floats(0, EVIDENCE_MAX),
    probation=st.integers(0, PROBATION_SUCCESSES),
)
def test_a_real_answer_never_makes_a_route_worse(state: RouteState, evidence: float, probation: int) -> None:
    """From wherever a route stands, an answer leaves it where it is or brings it nearer to use."""
    order = [HEALTHY, SUSPECT, HALF_OPEN, OPEN, LATCHED, ISOLATED]
    before = RouteHealth(state, evidence, probation=probation if state is SUSPECT else 0)
    after = observe(before, Sign.SUCCESS, NOW, SETTINGS)
    assert order.index(after.state) <= order.index(before.state)
    assert after.usable or after == before


def test_an_answer_of_a_healthy_route_costs_nothing_to_note() -> None:
    """The usual case leaves the very same object: nothing is told, ranked or allocated for it."""
    health = observe(RouteHealth(), Sign.SUCCESS, NOW, SETTINGS)
    assert health.reason == "answers"
    assert observe(health, Sign.SUCCESS, NOW + 1, SETTINGS) is health
    assert observe(health, Sign.PROBE_OK, NOW + 1, SETTINGS) is health


def test_three_successes_clear_one_failure() -> None:
    """One failure is forgiven after three answers, not after two; shallow probes take four times as many."""
    failed = observe(RouteHealth(), Sign.FAILURE, NOW, SETTINGS)
    for sign, needed in ((Sign.SUCCESS, 3), (Sign.PROBE_OK, 12)):
        health, answers = failed, 0
        while health.state is SUSPECT:
            health, answers = observe(health, sign, NOW, SETTINGS), answers + 1
        assert answers == needed


def test_one_failure_in_ten_is_tolerated_and_four_are_not() -> None:
    """A route that fails now and then keeps its place, one that fails four in ten loses it within ten."""

    def states(pattern: str) -> set[RouteState]:
        health, seen = RouteHealth(), set()
        for answer in pattern:
            health = observe(health, Sign.SUCCESS if answer == "." else Sign.FAILURE, NOW, SETTINGS)
            seen.add(health.state)
        return seen

    assert OPEN not in states(".........x" * 20)
    assert OPEN in states("..x.x..x.x")


def samples_to_open(rate: float, seed: int, *, per_minute: float = 1.0, most: int = 5_000) -> int | None:
    """How many requests, of which this share fails, it takes to open a route; None for never."""
    chance, health, open_at = random.Random(seed), RouteHealth(), threshold(per_minute)
    for sample in range(1, most + 1):
        sign = Sign.FAILURE if chance.random() < rate else Sign.SUCCESS
        health = observe(health, sign, NOW + sample, SETTINGS, open_at=open_at)
        if health.state is OPEN:
            return sample
    return None


@pytest.mark.parametrize(("rate", "most"), [(1.0, 2.0), (0.9, 2.6), (0.4, 8.0), (0.25, 17.0)])
def test_outages_are_found_within_few_requests(rate: float, most: float) -> None:
    """At a request a minute a total outage is found in two, one of 40 % in eight on average."""
    found = [samples_to_open(rate, seed) for seed in range(300)]
    assert None not in found
    assert fmean(sample for sample in found if sample is not None) <= most


def test_false_alarms_are_rare() -> None:
    """A route that fails one request in a hundred is opened wrongly at most twice in ten thousand."""
    alarms, chance, health = 0, random.Random(1), RouteHealth()
    for sample in range(100_000):
        sign = Sign.FAILURE if chance.random() < 0.01 else Sign.SUCCESS
        health = observe(health, sign, NOW + sample, SETTINGS)
        if health.state is OPEN:
            alarms, health = alarms + 1, RouteHealth()
    assert 0 < alarms <= 20


def test_a_busy_route_that_fails_one_in_twenty_keeps_its_place() -> None:
    """At two hundred requests a second 5 % failures do not open a route within two thousand."""
    opened = [samples_to_open(0.05, seed, per_minute=12_000, most=2_000) for seed in range(10)]
    assert sum(found is not None for found in opened) <= 1
    assert samples_to_open(1.0, 0, per_minute=12_000) == 5


@pytest.mark.parametrize("state", [s for s in RouteState if s is not LATCHED])
def test_a_failure_without_weight_is_no_evidence(state: RouteState) -> None:
    """A rate limit says nothing about health: no state, evidence or open time changes."""
    for health in situations(state):
        assert observe(health, Sign.FAILURE, NOW, SETTINGS, weight=0.0, reason="other") is health


def test_weak_failures_need_company() -> None:
    """Three invalid answers in a row open a route, where two plain failures do; the first casts doubt."""
    health, states = RouteHealth(), []
    for _ in range(3):
        health = observe(health, Sign.FAILURE, NOW, SETTINGS, weight=0.7)
        states.append(health.state)
    assert states == [SUSPECT, SUSPECT, OPEN]


@pytest.mark.parametrize("per_minute", [1.0, 12_000.0])
def test_probes_put_a_route_on_probation_only(per_minute: float) -> None:
    """After the probes have closed it, even one invalid answer opens a route again, for twice as long."""
    health = RouteHealth(OPEN, 5.4, openings=1, next_probe_at=NOW)
    health = tick(health, NOW)
    for _ in range(SETTINGS.probes_to_close):
        assert health.state is HALF_OPEN
        health = observe(health, Sign.PROBE_OK, NOW, SETTINGS)
    assert (health.state, health.evidence) == (SUSPECT, PROBATION)
    health = observe(health, Sign.FAILURE, NOW, SETTINGS, weight=0.7, open_at=threshold(per_minute))
    assert health.state is OPEN
    assert health.next_probe_at == NOW + 2 * SETTINGS.open_secs


def test_probation_ends_after_five_answers() -> None:
    """Coming back takes two probes and then real answers until the evidence is gone; probes don't count."""
    assert SETTINGS.probes_to_close == 2
    health = observe(RouteHealth(OPEN, 5.4, openings=1), Sign.SUCCESS, NOW, SETTINGS)
    states = []
    for _ in range(5):
        health = observe(health, Sign.SUCCESS, NOW, SETTINGS)
        states.append(health.state)
    assert states == [SUSPECT] * 4 + [HEALTHY]
    health = RouteHealth(SUSPECT, HEALTHY_BELOW, probation=PROBATION_SUCCESSES)
    for _ in range(20):
        health = observe(health, Sign.PROBE_OK, NOW, SETTINGS)
    assert (health.state, health.probation) == (SUSPECT, PROBATION_SUCCESSES)


def test_a_relapse_waits_longer_until_the_past_is_forgotten() -> None:
    """Opened again with evidence left, a route waits twice as long; after a clean record it starts anew."""
    for answers, wait_secs in ((4, 30.0), (10, 15.0)):
        health = observe(RouteHealth(OPEN, 5.4, openings=1), Sign.SUCCESS, NOW, SETTINGS)
        for _ in range(answers):
            health = observe(health, Sign.SUCCESS, NOW, SETTINGS)
        for _ in range(2):
            health = observe(health, Sign.FAILURE, NOW, SETTINGS)
        assert (health.state, health.next_probe_at) == (OPEN, NOW + wait_secs)


@pytest.mark.parametrize(("sign", "secs"), [(Sign.PROBE_FAILED, 15.0), (Sign.LATCH, 3_600.0)])
def test_jitter_stretches_the_wait(sign: Sign, secs: float) -> None:
    """Routes that fell together do not come back in step."""
    health = RouteHealth(HALF_OPEN, 5.4, openings=1, next_probe_at=NOW)
    for jitter in (0.8, 1.0, 1.2):
        after = observe(health, sign, NOW, SETTINGS, jitter=jitter)
        assert after.next_probe_at == pytest.approx(NOW + secs * jitter)


def test_a_doubtful_route_is_asked_again_soon() -> None:
    """One failure is looked into within seconds, off the decision path, however idle the route is."""
    health = observe(RouteHealth(), Sign.FAILURE, NOW, SETTINGS)
    assert health.next_probe_at == NOW + SETTINGS.confirm_secs
    assert not health.probe_due(NOW + SETTINGS.confirm_secs - 0.1, NOW, 300.0)
    assert health.probe_due(NOW + SETTINGS.confirm_secs, NOW, 300.0)
    answered = observe(health, Sign.SUCCESS, NOW + 1, SETTINGS)
    assert not answered.probe_due(NOW + SETTINGS.confirm_secs, NOW + 1, 300.0)


def test_an_answer_closes_an_open_route_at_once() -> None:
    """The last resort that answers is used again, on probation, without waiting for probes."""
    for state in (OPEN, HALF_OPEN, LATCHED):
        for health in situations(state):
            after = observe(health, Sign.SUCCESS, NOW, SETTINGS)
            assert (after.state, after.evidence) == (SUSPECT, PROBATION)
            assert after.probation == PROBATION_SUCCESSES


def probes_to_come_back(health: RouteHealth) -> int:
    """Answered probes until a route is used again, each asked when it is due."""
    health, now, probes = tick(health, health.next_probe_at), health.next_probe_at, 0
    while not health.usable:
        health, probes = observe(health, Sign.PROBE_OK, now, SETTINGS), probes + 1
        if not health.usable:
            quick = probes < QUICK_PROBES
            assert health.next_probe_at - now == (0.0 if quick else SETTINGS.proof_secs)
            assert f"probe {probes} of " in health.reason
            now = health.next_probe_at
    return probes


@pytest.mark.parametrize(
    ("history", "probes"),
    [("xx", 3), ("xxxxx", 2), ("x.x.xx.x..x", 5), ("xx..x.....x......x........x", 15)],
)
def test_the_sicker_a_route_was_the_fewer_answers_prove_it_well(history: str, probes: int) -> None:
    """After a total outage two or three answered probes close a breaker; a partial one passes those by
    chance, so more are asked for, one after the other."""
    health = RouteHealth()
    for answer in history:
        real = health.usable
        ok, failed = (Sign.SUCCESS, Sign.FAILURE) if real else (Sign.PROBE_OK, Sign.PROBE_FAILED)
        health = observe(health, ok if answer == "." else failed, NOW, SETTINGS)
    assert health.state is OPEN
    assert probes_to_come_back(health) == probes


def share_of_time_used(rate: float, seed: int) -> float:
    """Of ten hours in which this share of a route's requests and probes fails, a question a minute."""
    chance, health, used = random.Random(seed), RouteHealth(), 0
    for second in range(36_000):
        health = tick(health, second)
        used += health.usable
        real = health.usable and second % 60 == 0
        if real or (not health.usable and second >= health.next_probe_at):
            failed = chance.random() < rate
            sign = (Sign.FAILURE if real else Sign.PROBE_FAILED) if failed else None
            sign = sign or (Sign.SUCCESS if real else Sign.PROBE_OK)
            health = observe(health, sign, second, SETTINGS)
    return used / 36_000


@pytest.mark.parametrize(("rate", "least", "most"), [(0.4, 0.0, 0.15), (0.9, 0.0, 0.02), (0.01, 0.98, 1.0)])
def test_a_partial_outage_is_not_returned_to_by_luck(rate: float, least: float, most: float) -> None:
    """A route that fails four requests in ten spends most of the outage unused."""
    assert least <= fmean(share_of_time_used(rate, seed) for seed in range(10)) <= most


def test_open_time_doubles_up_to_its_bound() -> None:
    """A route that keeps failing its probes is asked ever more seldom from the third on, but at least every
    four minutes: many outages last a minute."""
    health, now, waits = RouteHealth(), NOW, []
    for _ in range(2):
        health = observe(health, Sign.FAILURE, now, SETTINGS)
    for _ in range(12):
        waits.append(health.next_probe_at - now)
        now = health.next_probe_at
        health = observe(tick(health, now), Sign.PROBE_FAILED, now, SETTINGS)
    assert waits == [15, 15, 30, 60, 120, *[240] * 7]


def test_failures_of_traffic_do_not_lengthen_the_open_time() -> None:
    """A burst of decisions on the last open route is one outage, not many: only probes lengthen the wait."""
    health = RouteHealth(OPEN, 5.4, openings=2, next_probe_at=NOW + 30)
    for _ in range(50):
        health = observe(health, Sign.FAILURE, NOW, SETTINGS)
    assert (health.openings, health.next_probe_at) == (2, NOW + 30)


def test_time_alone_only_allows_a_probe() -> None:
    """An open route becomes half-open when its time is over and not a moment before."""
    health = RouteHealth(OPEN, 5.4, openings=1, next_probe_at=NOW)
    assert tick(health, NOW - 0.001) is health
    assert tick(health, NOW).state is HALF_OPEN
    assert tick(tick(health, NOW), NOW + 1e9).state is HALF_OPEN


def test_a_latched_route_is_asked_once_an_hour() -> None:
    """A key that was refused is not tried again for an hour, whatever fails in the meantime."""
    health = observe(RouteHealth(), Sign.LATCH, NOW, SETTINGS, reason="invalid key")
    assert (health.state, health.reason, health.next_probe_at) == (LATCHED, "invalid key", NOW + 3_600)
    assert not health.probe_due(NOW + 3_599, NOW, 300)
    assert health.probe_due(NOW + 3_600, NOW, 300)
    later = observe(health, Sign.PROBE_FAILED, NOW + 3_600, SETTINGS)
    assert (later.state, later.reason, later.next_probe_at) == (LATCHED, "invalid key", NOW + 7_200)


def test_isolation_is_lifted_by_hand_only() -> None:
    """Whatever an isolated route does, it stays out until a person puts it back; then it is probed."""
    health = isolate(RouteHealth(), "maintenance")
    for sign in Sign:
        health = observe(health, sign, NOW, SETTINGS)
        assert (health.state, health.reason) == (ISOLATED, "maintenance")
        assert not health.probe_due(NOW + 1e9, 0.0, 1.0)
    back = restore(health, NOW)
    assert back.state is HALF_OPEN
    assert back.probe_due(NOW, NOW, 300)


def test_putting_back_a_usable_route_changes_nothing() -> None:
    """Restoring a provider must not take its healthy models out of service."""
    for health in (*situations(HEALTHY), *situations(SUSPECT)):
        assert restore(health, NOW) == health
    for state in (OPEN, HALF_OPEN, LATCHED, ISOLATED):
        assert restore(situations(state)[0], NOW).probe_due(NOW, NOW, 300)


def test_of_two_rate_limits_the_longer_holds() -> None:
    """A later, shorter demand to wait does not end the first; a held route is not even probed."""
    health = hold(hold(RouteHealth(), NOW + 60), NOW + 5)
    assert health.held_until == NOW + 60
    assert hold(health, NOW + 60) is health
    assert hold(health, NOW + 61).held_until == NOW + 61
    assert not health.probe_due(NOW + 59, -math.inf, 300)
    assert health.probe_due(NOW + 60, -math.inf, 300)
    assert health.usable, "a rate limit is no sickness"


def test_idle_routes_are_probed() -> None:
    """Nobody is probed while traffic tells; a route that was never seen is asked at once."""
    for state in (HEALTHY, SUSPECT):
        health = RouteHealth(state, 1.0)
        assert not health.probe_due(NOW + 299.9, NOW, 300.0)
        assert health.probe_due(NOW + 300.0, NOW, 300.0)
    assert RouteHealth().probe_due(0.0, -math.inf, 300.0)


@pytest.mark.parametrize("state", RouteState)
def test_after_a_restart_nobody_is_trusted_again_unasked(state: RouteState) -> None:
    """Health of an earlier run is revived as doubt: the sick are probed at once, hands and latches stay."""
    health = revive(state, "HTTP 503", NOW, SETTINGS)
    assert health.state is (HALF_OPEN if state is OPEN else state)
    assert health.usable == (state in {HEALTHY, SUSPECT})
    if state is not HEALTHY:
        assert "HTTP 503" in health.reason
    due_at = {
        SUSPECT: NOW + SETTINGS.confirm_secs,
        OPEN: NOW,
        HALF_OPEN: NOW,
        LATCHED: NOW + SETTINGS.latch_probe_secs,
    }.get(state, math.inf)
    assert health.next_probe_at == due_at
    if state in {OPEN, HALF_OPEN}:
        again = observe(health, Sign.PROBE_FAILED, NOW, SETTINGS)
        assert (again.state, again.next_probe_at) == (OPEN, NOW + SETTINGS.open_secs)


def share_of_sends_wasted(decision_secs: float, hours: float) -> tuple[float, float]:
    """A route whose probes are fine and whose every real answer is invalid: share of its life spent
    unusable, and of decisions that it was asked first."""
    health, now, next_decision, unusable_secs, asked, decisions = RouteHealth(), 0.0, 0.0, 0.0, 0, 0
    seen_at = 0.0
    while now < hours * 3_600:
        health = tick(health, now)
        if now >= next_decision:
            next_decision += decision_secs
            decisions += 1
            if health.usable:
                asked, seen_at = asked + 1, now
                health = observe(health, Sign.FAILURE, now, SETTINGS, weight=0.7)
        elif health.probe_due(now, seen_at, 300.0):
            seen_at = now
            health = observe(health, Sign.PROBE_OK, now, SETTINGS)
        unusable_secs += not health.usable
        now += 1.0
    return unusable_secs / now, asked / decisions


@pytest.mark.parametrize("decision_secs", [1.0, 10.0, 30.0, 60.0])
def test_a_route_with_good_probes_and_bad_answers_stays_open(decision_secs: float) -> None:
    """A shallow probe does not outvote real traffic: such a route spends most of its life open and few
    decisions are wasted on it."""
    unusable, asked = share_of_sends_wasted(decision_secs, hours=12)
    assert unusable > 0.75
    assert asked < 0.25


class AnyHistory(RuleBasedStateMachine):
    """A route through any history; ``now`` never goes back."""

    settings = DetectorSettings(open_secs=10.0, open_secs_max=200.0, latch_probe_secs=1_000.0)

    @initialize()
    def begin(self) -> None:
        self.now = 0.0
        self.health = RouteHealth()

    def fold(self, after: RouteHealth, allowed: set[RouteState]) -> None:
        assert after.state in allowed | {self.health.state}, f"{self.health} -> {after}"
        self.health = after

    @rule(secs=st.floats(0, 500))
    def time_passes(self, secs: float) -> None:
        self.now += secs
        before = self.health
        self.fold(tick(before, self.now), {HALF_OPEN} if before.state is OPEN else set())

    @rule(
        sign=st.sampled_from(sorted(Sign, key=lambda sign: sign.value)),
        weight=st.sampled_from([0.0, 0.3, 0.7, 1.0]),
        jitter=st.floats(0.8, 1.2),
        per_minute=st.sampled_from([0.5, 4.0, 100.0, 1e6]),
    )
    def something_comes_back(self, sign: Sign, weight: float, jitter: float, per_minute: float) -> None:
        before, open_at = self.health, threshold(per_minute)
        bad = sign in {Sign.FAILURE, Sign.PROBE_FAILED}
        after = observe(
            before, sign, self.now, self.settings, weight=weight, open_at=open_at, jitter=jitter, reason="r"
        )
        self.fold(after, allowed_after(before, sign))
        if bad and weight == 0 and before.state is not LATCHED:
            assert after is before
        if after.state is OPEN and before.usable:
            assert after.evidence >= min(OPEN_AT, open_at)
            assert 0 < after.next_probe_at - self.now <= self.settings.open_secs_max * jitter
        if bad and before.usable and after.usable and weight > 0:
            assert after.evidence == pytest.approx(before.evidence + weight * FAILURE_STEP)
            assert after.evidence < open_at

    @rule(secs=st.floats(0, 400))
    def it_asks_for_time(self, secs: float) -> None:
        before = self.health.held_until
        self.fold(hold(self.health, self.now + secs), set())
        assert self.health.held_until == max(before, self.now + secs)

    @rule()
    def a_person_isolates(self) -> None:
        self.fold(isolate(self.health, "by hand"), {ISOLATED})

    @precondition(lambda self: not self.health.usable)
    @rule()
    def a_person_restores(self) -> None:
        self.fold(restore(self.health, self.now), {HALF_OPEN})

    @invariant()
    def evidence_is_bounded(self) -> None:
        assert 0 <= self.health.evidence <= EVIDENCE_MAX

    @invariant()
    def a_record_is_bounded_and_a_proof_possible(self) -> None:
        illness = self.health.illness
        assert illness.failures + illness.answers <= COUNTED_MAX
        assert illness.run <= COUNTED_MAX
        assert illness.needed <= PROOF_MAX

    @invariant()
    def a_usable_route_is_below_every_threshold(self) -> None:
        assert not self.health.usable or self.health.evidence < OPEN_AT_MAX

    @invariant()
    def a_sick_route_is_probed_some_day(self) -> None:
        if self.health.state in {OPEN, HALF_OPEN, LATCHED}:
            assert math.isfinite(self.health.next_probe_at)
            asked_at = max(self.health.next_probe_at, self.health.held_until)
            assert self.health.probe_due(asked_at, asked_at, 300.0)
        elif self.health.state is not SUSPECT:
            assert self.health.next_probe_at == math.inf


def allowed_after(before: RouteHealth, sign: Sign) -> set[RouteState]:
    """Where a sign may lead from a state, apart from nowhere: what the drawn table says."""
    if before.state is ISOLATED:
        return set()
    if sign is Sign.LATCH:
        return {LATCHED}
    if sign in {Sign.FAILURE, Sign.PROBE_FAILED}:
        return {SUSPECT, OPEN} if before.usable else set() if before.state is LATCHED else {OPEN}
    if before.usable:
        return {HEALTHY}
    waits = sign is Sign.PROBE_OK and before.state is not LATCHED
    return {SUSPECT, HALF_OPEN} if waits else {SUSPECT}


TestAnyHistory = AnyHistory.TestCase
