"""The ladder of modes: down at once, up one rung at a time and only on evidence."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from jurymast.domain.status import EmergencyMode
from jurymast.policy.judges import Thinking, Trading, judged
from jurymast.policy.ladder import (
    RISES,
    Capacity,
    Ladder,
    LadderSettings,
    answered,
    decided,
    force,
    lift,
    release,
    revive,
    share_of,
    step,
    told,
    turns,
    unanswered,
    why_not_higher,
)
from jurymast.policy.restart import Earlier

SETTINGS = LadderSettings()
NORMAL, CONSERVATIVE = EmergencyMode.NORMAL, EmergencyMode.CONSERVATIVE
CACHED, MINIMAL = EmergencyMode.CACHED, EmergencyMode.MINIMAL
SUSPENDED, KILLED = EmergencyMode.SUSPENDED, EmergencyMode.KILLED
FULL, ONE, SMALL, DARK = Capacity(3, 1), Capacity(1, 1), Capacity(0, 1), Capacity(0, 0)

CAPACITIES = st.builds(Capacity, able=st.integers(0, 4), small=st.integers(0, 2))
MODES = st.sampled_from(list(EmergencyMode))
THOUGHTS = st.builds(Thinking, st.integers(0, 2), st.sampled_from([0.0, 0.79, 0.8, 1.0]))
REPORTS = st.builds(
    Trading,
    reconciled=st.booleans(),
    data_stale_secs=st.sampled_from([0.0, 30.0, 31.0]),
    clock_skew_secs=st.sampled_from([0.0, -1.0, 1.1, -1.1]),
    schema_drift=st.sampled_from(["", "", "no field yes_bid"]),
    loss_bp=st.sampled_from([-50, 0, 499, 500, 1_000]),
    mismatch=st.sampled_from(["", "", "T: ours 1, exchange 2"]),
    unknown_secs=st.sampled_from([0.0, 30.0, 31.0]),
    paused=st.booleans(),
    order_rate=st.sampled_from([0.0, 3.0, 3.1]),
    hard_caps=st.sampled_from([0.0, 2.0, 2.1]),
    doubled=st.sampled_from(["", "", "jm-1"]),
)
LADDERS = st.builds(
    Ladder,
    mode=MODES,
    entered_at=st.sampled_from([-math.inf, 0.0, 900.0]),
    successes=st.integers(0, 5),
    failures_in_row=st.integers(0, 5),
    thin_since=st.sampled_from([None, 0.0, 980.0]),
    dark_since=st.sampled_from([None, -20_000.0, 980.0]),
    changes=st.sampled_from([(), (10.0, 20.0, 30.0)]),
    held_until=st.sampled_from([-math.inf, 5_000.0]),
    manual=MODES,
    manual_until=st.sampled_from([math.inf, 500.0]),
    falling=st.booleans(),
    thinking=THOUGHTS,
    trading=st.none() | REPORTS,
    reconciled=st.booleans(),
)


def proved(ladder: Ladder, answers: int = 3) -> Ladder:
    for _ in range(answers):
        ladder = answered(ladder)
    return ladder


@pytest.mark.parametrize(
    ("capacity", "failed", "secs", "mode"),
    [
        (FULL, 0, 0, NORMAL),
        (Capacity(2, 0), 0, 1e6, NORMAL),
        (ONE, 0, 0, NORMAL),
        (ONE, 0, 59, NORMAL),
        (ONE, 0, 60, CONSERVATIVE),
        (SMALL, 0, 0, CONSERVATIVE),
        (SMALL, 0, 1e6, CONSERVATIVE),
        (FULL, 2, 0, NORMAL),
        (FULL, 3, 0, MINIMAL),
        (SMALL, 3, 0, MINIMAL),
        (DARK, 0, 0, MINIMAL),
        (DARK, 0, 4 * 3_600 - 1, MINIMAL),
        (DARK, 0, 4 * 3_600, SUSPENDED),
    ],
)
def test_what_the_evidence_calls_for(
    capacity: Capacity, failed: int, secs: float, mode: EmergencyMode
) -> None:
    """From NORMAL every loss leads to its mode, as many rungs down as it takes."""
    ladder = Ladder()
    for _ in range(failed):
        ladder = unanswered(ladder)
    began_at = 5_000.0
    ladder = step(ladder, capacity, began_at, SETTINGS)
    ladder = step(ladder, capacity, began_at + secs, SETTINGS)
    assert ladder.mode is mode


def test_total_darkness_is_minimal_in_the_same_step() -> None:
    """No dwell, hold or streak delays a step down."""
    flapping = Ladder(held_until=1e9, entered_at=100.0, successes=99)
    down = step(flapping, DARK, 100.0, SETTINGS)
    assert (down.mode, down.entered_at, down.successes) == (MINIMAL, 100.0, 0)
    assert down.reason == "no provider answers"


def test_the_way_up_is_one_rung_per_dwell_with_new_answers_each() -> None:
    """From SUSPENDED to NORMAL three rungs are climbed, each after its own dwell and its own answers."""
    ladder, now, climbed = Ladder(mode=SUSPENDED, entered_at=0.0), 0.0, []
    while ladder.mode is not NORMAL:
        now += 1.0
        after = step(answered(ladder), FULL, now, SETTINGS)
        if after.mode is not ladder.mode:
            climbed.append((after.mode, now))
            assert after.successes == 0
        ladder = after
    assert climbed == [(MINIMAL, 900.0), (CONSERVATIVE, 930.0), (NORMAL, 1_230.0)]


def test_a_restart_is_no_way_around_the_damping_of_flaps() -> None:
    """The mode and the times of its changes go on; a rise that was held before the restart stays held."""
    flapped = revive(Earlier(MINIMAL, (100.0, 200.0, 300.0, 400.0)), 500.0, SETTINGS)
    assert (flapped.mode, flapped.entered_at, flapped.held_until) == (MINIMAL, 500.0, 4_000.0)
    assert step(proved(flapped), FULL, 3_999.0, SETTINGS).mode is MINIMAL
    assert step(proved(flapped), FULL, 4_000.0, SETTINGS).mode is CONSERVATIVE
    long_ago = revive(Earlier(MINIMAL, (100.0, 200.0, 300.0, 400.0)), 4_000.0, SETTINGS)
    assert (long_ago.changes, long_ago.held_until) == ((), -math.inf)


def test_minimal_is_left_soon_on_answers_and_on_nothing_else() -> None:
    """MINIMAL asks no question: half a minute and three answers to probes end it, no time alone does."""
    dark = step(Ladder(), DARK, 0.0, SETTINGS)
    assert dark.mode is MINIMAL
    assert step(proved(dark), FULL, 29.0, SETTINGS).mode is MINIMAL
    assert step(proved(dark), FULL, 30.0, SETTINGS).mode is CONSERVATIVE
    assert step(dark, FULL, 1e6, SETTINGS).mode is MINIMAL
    impatient = replace(SETTINGS, dwell_secs=10.0)
    assert impatient.dwell_in(MINIMAL) == 10.0


@pytest.mark.parametrize(
    ("successes", "secs", "rises"), [(3, 300, True), (2, 1e9, False), (99, 299, False), (0, 1e9, False)]
)
def test_a_rung_needs_dwell_and_answers(successes: int, secs: float, rises: bool) -> None:
    """Time without answers does not lift the mode, nor do answers without time."""
    ladder = proved(Ladder(mode=CONSERVATIVE, entered_at=0.0), successes)
    assert (step(ladder, FULL, secs, SETTINGS).mode is NORMAL) == rises


def test_a_failed_decision_breaks_the_streak() -> None:
    """Answers count towards a rise only since the last decision that got none."""
    ladder = answered(unanswered(proved(Ladder(mode=CONSERVATIVE, entered_at=0.0))))
    assert ladder.successes == 1
    assert step(ladder, FULL, 1e6, SETTINGS).mode is CONSERVATIVE


def test_an_answer_clears_the_row_of_failures() -> None:
    """Two failures, an answer and two failures are no outage."""
    ladder = unanswered(unanswered(answered(unanswered(unanswered(Ladder())))))
    assert step(ladder, FULL, 0.0, SETTINGS).mode is NORMAL


def test_thin_and_dark_times_restart_with_every_recovery() -> None:
    """A minute below two providers must be one minute, not the sum of several moments."""
    ladder = Ladder()
    for start in (0.0, 100.0, 200.0):
        ladder = step(ladder, ONE, start, SETTINGS)
        ladder = step(ladder, ONE, start + 50, SETTINGS)
        ladder = step(ladder, FULL, start + 51, SETTINGS)
        assert ladder.thin_since is None
    assert ladder.mode is NORMAL


def flapped(changes: int, every_secs: float, start: float = 10_000.0) -> Ladder:
    """A ladder that has just changed its mode for the last of so many times."""
    ladder, now = Ladder(), start
    for number in range(changes):
        now = start + number * every_secs
        capacity = FULL if number % 2 else SMALL
        ladder = step(proved(ladder), capacity, now, SETTINGS)
    assert len(ladder.changes) == min(changes, SETTINGS.flap_changes)
    return ladder


def test_flapping_holds_the_safer_rung() -> None:
    """After four changes within an hour the next fall is not climbed out of for an hour."""
    assert flapped(3, 301.0).held_until == -math.inf
    ladder = flapped(4, 301.0)
    flapped_at = 10_000.0 + 3 * 301.0
    assert ladder.held_until == flapped_at + 3_600
    ladder = step(ladder, SMALL, flapped_at + 1, SETTINGS)
    held_until = flapped_at + 1 + 3_600
    assert (ladder.mode, ladder.held_until) == (CONSERVATIVE, held_until)
    assert step(proved(ladder), FULL, held_until - 0.1, SETTINGS).mode is CONSERVATIVE
    assert step(proved(ladder), FULL, held_until, SETTINGS).mode is NORMAL


def test_changes_are_forgotten_after_an_hour() -> None:
    """Four changes spread over more than an hour are no flapping: the oldest has left the window."""
    ladder = flapped(3, 301.0)
    last = step(proved(ladder), FULL, 10_000.0 + 3_599.9, SETTINGS)
    assert last.held_until == 10_000.0 + 3_599.9 + 3_600
    late = step(proved(ladder), FULL, 10_000.0 + 3_600.0, SETTINGS)
    assert (late.mode, late.held_until) == (NORMAL, -math.inf)


def test_a_hold_does_not_keep_anyone_from_safety() -> None:
    """While held after flapping the mode may still fall, at once."""
    held = Ladder(mode=CONSERVATIVE, entered_at=0.0, held_until=9_999.0)
    assert step(held, DARK, 1.0, SETTINGS).mode is MINIMAL


@pytest.mark.parametrize("mode", [CONSERVATIVE, MINIMAL, SUSPENDED])
def test_a_mode_by_hand_holds_until_taken_back_and_is_then_climbed(mode: EmergencyMode) -> None:
    """Healthy providers do not lift a demand by hand; after its release the rungs are climbed as ever."""
    ladder = step(force(Ladder(), mode, "news"), FULL, 0.0, SETTINGS)
    assert (ladder.mode, ladder.reason) == (mode, "by hand: news")
    assert step(proved(ladder, 99), FULL, 1e6, SETTINGS).mode is mode
    freed = release(proved(ladder, SETTINGS.answers_in(mode)))
    dwell_secs = SETTINGS.dwell_in(mode)
    assert step(freed, FULL, dwell_secs - 1.0, SETTINGS).mode is mode
    assert step(freed, FULL, dwell_secs, SETTINGS).mode.severity == RISES[mode].severity


def test_a_mode_by_hand_ends_at_its_time() -> None:
    """A demand with a time is over at that time; the mode itself still waits for evidence."""
    ladder = step(force(Ladder(), MINIMAL, "lunch", until=600.0), FULL, 0.0, SETTINGS)
    assert step(proved(ladder), FULL, 599.0, SETTINGS).manual is MINIMAL
    late = step(ladder, FULL, 600.0, SETTINGS)
    assert (late.manual, late.mode) == (NORMAL, MINIMAL)
    assert step(proved(ladder), FULL, 600.0, SETTINGS).mode is CONSERVATIVE


def test_a_hand_never_makes_it_riskier() -> None:
    """Forcing NORMAL in an outage changes nothing."""
    ladder = step(Ladder(), DARK, 0.0, SETTINGS)
    assert step(force(ladder, NORMAL, "I am sure"), DARK, 1.0, SETTINGS).mode is MINIMAL


def test_opinions_that_are_left_make_an_outage_cached_for_a_while() -> None:
    """All out with opinions cached is CACHED; a quarter of an hour later, or without one, it is MINIMAL."""
    kept = told(Ladder(), Thinking(cached=2))
    dark = step(kept, DARK, 0.0, SETTINGS)
    assert (dark.mode, dark.reason) == (CACHED, "no provider answers, 2 opinions cached")
    assert step(dark, DARK, 899.0, SETTINGS).mode is CACHED
    assert step(dark, DARK, 900.0, SETTINGS).mode is MINIMAL
    assert step(told(dark, Thinking()), DARK, 1.0, SETTINGS).mode is MINIMAL
    failing = step(unanswered(unanswered(unanswered(kept))), FULL, 0.0, SETTINGS)
    assert failing.mode is CACHED
    assert step(proved(dark), FULL, 30.0, SETTINGS).mode is CONSERVATIVE


def test_suspended_is_left_on_answers_and_squared_books_only() -> None:
    """A quarter of an hour, ten answers and a clean reconciliation after it was entered: all three."""
    bad, clean = Trading(mismatch="T: ours 1, exchange 2"), Trading(reconciled=True)
    down = step(told(Ladder(), bad), FULL, 0.0, SETTINGS)
    assert (down.mode, down.reason) == (SUSPENDED, "books differed: T: ours 1, exchange 2")
    proven = proved(down, 10)
    assert step(proven, FULL, 900.0, SETTINGS).mode is SUSPENDED
    assert step(told(proven, Trading()), FULL, 900.0, SETTINGS).mode is SUSPENDED
    assert "a clean reconciliation missing" in why_not_higher(told(proven, Trading()), 900.0, SETTINGS)
    squared = told(proven, clean)
    assert step(squared, FULL, 899.0, SETTINGS).mode is SUSPENDED
    assert step(told(proved(down, 9), clean), FULL, 900.0, SETTINGS).mode is SUSPENDED
    assert step(squared, FULL, 900.0, SETTINGS).mode is MINIMAL
    assert not step(squared, FULL, 900.0, SETTINGS).reconciled


def test_killed_is_ended_by_a_person_with_a_reason_into_suspended() -> None:
    """No answer, book, time or restart ends it, nor a release; what still calls for it brings it back."""
    doubled = told(Ladder(), Trading(doubled="jm-1"))
    killed = step(doubled, FULL, 0.0, SETTINGS)
    assert killed.mode is KILLED
    well = release(proved(told(killed, Trading(reconciled=True)), 99))
    assert step(well, FULL, 1e9, SETTINGS).mode is KILLED
    assert step(revive(Earlier(KILLED, ()), 0.0, SETTINGS), FULL, 1e9, SETTINGS).mode is KILLED
    with pytest.raises(ValueError, match="says why"):
        lift(well, " ", 1e9, SETTINGS)
    lifted = lift(well, "found and mended", 1e9, SETTINGS)
    assert (lifted.mode, lifted.reason, lifted.successes) == (SUSPENDED, "by hand: found and mended", 0)
    assert step(lifted, FULL, 1e9, SETTINGS).mode is SUSPENDED
    assert step(lift(killed, "hope", 1.0, SETTINGS), FULL, 1.0, SETTINGS).mode is KILLED
    assert lift(Ladder(), "habit", 0.0, SETTINGS) == Ladder()


def test_size_comes_back_by_halves_of_answered_questions() -> None:
    """A quarter, a half and the whole within half an hour of answers; gaps and failures earn nothing."""
    ladder = proved(step(Ladder(), DARK, 0.0, SETTINGS))
    assert share_of(ladder, SETTINGS) == 0.25
    ladder = step(ladder, FULL, 30.0, SETTINGS)
    assert ladder.mode is CONSERVATIVE
    shares = []
    for minute in range(1, 33):
        ladder = decided(ladder, minute * 60.0, SETTINGS)
        shares.append(share_of(ladder, SETTINGS))
    assert (shares.count(0.25), shares.count(0.5), shares.count(1.0)) == (15, 15, 2)
    assert decided(ladder, 1e6, SETTINGS) is ladder, "what is whole grows no more"
    slow = decided(decided(replace(ladder, ramp_secs=0.0, decided_at=None), 0.0, SETTINGS), 1e6, SETTINGS)
    assert slow.ramp_secs == 300.0
    failed = decided(unanswered(slow), 1e6 + 60.0, SETTINGS)
    assert failed.ramp_secs == 300.0


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_a_restart_keeps_how_far_size_had_come_back(share: float) -> None:
    """A restart earns no size and loses at most what the present step had earned."""
    assert share_of(revive(Earlier(size_share=share), 0.0, SETTINGS), SETTINGS) == share


def test_a_fall_that_goes_on_is_one_change_of_course() -> None:
    """Thin, then dark, then suspended is one trouble; every rise and every fall after one counts."""
    falls = [(1.0, NORMAL, CONSERVATIVE), (2.0, CONSERVATIVE, MINIMAL), (3.0, MINIMAL, SUSPENDED)]
    back = [(4.0, SUSPENDED, MINIMAL), (5.0, MINIMAL, CONSERVATIVE), (6.0, CONSERVATIVE, MINIMAL)]
    assert turns([*falls, *back]) == (1.0, 4.0, 5.0, 6.0)
    ladder = step(step(Ladder(), SMALL, 1.0, SETTINGS), DARK, 2.0, SETTINGS)
    assert (ladder.mode, ladder.changes) == (MINIMAL, (1.0,))


def test_people_are_told_what_a_mode_waits_for() -> None:
    """Every condition that keeps a mode down is named, with its number."""
    ladder = force(Ladder(mode=MINIMAL, entered_at=0.0, held_until=500.0), MINIMAL, "drill")
    text = why_not_higher(ladder, 20.0, SETTINGS)
    assert text == (
        "set by hand: drill, held 480 s after flapping, 10 s of dwell left, 3 validated answers missing"
    )
    assert why_not_higher(proved(Ladder(mode=MINIMAL)), 100.0, SETTINGS) == "capacity"


@given(ladder=LADDERS, capacity=CAPACITIES, now=st.floats(1_000, 1e7))
def test_without_new_answers_no_time_lifts_a_mode(ladder: Ladder, capacity: Capacity, now: float) -> None:
    """No mode ends by the clock alone."""
    silent = replace(ladder, successes=0)
    for at in (now, now * 2, now * 1_000):
        after = step(silent, capacity, at, SETTINGS)
        assert after.mode.severity >= silent.mode.severity
        silent = after


@given(ladder=LADDERS, able=st.integers(0, 3), small=st.integers(0, 2), more=CAPACITIES)
def test_more_providers_never_make_the_mode_worse(
    ladder: Ladder, able: int, small: int, more: Capacity
) -> None:
    """The effective mode is monotone in capacity, whatever has happened before."""
    poor, rich = Capacity(able, small), Capacity(able + more.able, small + more.small)
    with_poor, with_rich = (step(ladder, capacity, 1_000.0, SETTINGS) for capacity in (poor, rich))
    assert with_rich.mode.severity <= with_poor.mode.severity


@given(ladder=LADDERS, capacity=CAPACITIES, manual=MODES)
def test_the_hand_is_a_floor(ladder: Ladder, capacity: Capacity, manual: EmergencyMode) -> None:
    """The effective mode is never riskier than the one demanded by hand."""
    after = step(force(ladder, manual, "r"), capacity, 1_000.0, SETTINGS)
    assert after.mode.severity >= manual.severity


class AnyHistory(RuleBasedStateMachine):
    """The ladder through any history, with every rule about its steps checked on each."""

    settings = LadderSettings(suspend_after_secs=1_000.0, dwell_secs=100.0, flap_window_secs=600.0)

    @initialize()
    def begin(self) -> None:
        self.now = 0.0
        self.ladder = Ladder()
        self.answers = 0
        self.falling = False
        self.changed_at: list[float] = []

    @rule(thinking=THOUGHTS)
    def a_look_at_our_means(self, thinking: Thinking) -> None:
        self.ladder = told(self.ladder, thinking)

    @rule(trading=REPORTS)
    def a_report_of_trading(self, trading: Trading) -> None:
        self.ladder = told(self.ladder, trading)

    @rule()
    def a_person_ends_killed(self) -> None:
        was = self.ladder.mode
        self.ladder = lift(self.ladder, "checked", self.now, self.settings)
        assert self.ladder.mode is (SUSPENDED if was is KILLED else was)
        if was is KILLED:
            self.answers, self.falling = 0, False
            self.changed_at.append(self.now)

    @rule()
    def an_answer(self) -> None:
        self.ladder = answered(self.ladder)
        self.answers += 1

    @rule()
    def no_answer(self) -> None:
        self.ladder = unanswered(self.ladder)
        self.answers = 0

    @rule(mode=MODES, secs=st.sampled_from([50.0, 500.0, math.inf]))
    def a_hand(self, mode: EmergencyMode, secs: float) -> None:
        self.ladder = force(self.ladder, mode, "hand", self.now + secs)

    @rule()
    def a_hand_lets_go(self) -> None:
        self.ladder = release(self.ladder)

    @rule(capacity=CAPACITIES, secs=st.sampled_from([0.0, 1.0, 59.0, 101.0, 700.0]))
    def a_look(self, capacity: Capacity, secs: float) -> None:
        self.now += secs
        before, after = self.ladder, step(self.ladder, capacity, self.now, self.settings)
        climbed = after.mode.severity < before.mode.severity
        assert after.mode.severity >= RISES[before.mode].severity
        if climbed:
            assert self.answers >= self.settings.answers_in(before.mode)
            assert self.now - before.entered_at >= self.settings.dwell_in(before.mode)
            assert self.now >= before.held_until
            assert capacity.total > 0 or before.mode is SUSPENDED
            assert before.reconciled or before.mode is not SUSPENDED
            assert before.mode is not KILLED
        if after.mode is not before.mode:
            self.answers = 0
            if climbed or not self.falling:
                self.changed_at.append(self.now)
            self.falling = not climbed
        if capacity.total == 0:
            assert after.mode.severity >= (CACHED if before.thinking.cached else MINIMAL).severity
        assert (
            after.mode.severity >= judged(before.thinking, before.trading, self.settings.judges).mode.severity
        )
        self.ladder = after
        again = step(after, capacity, self.now, self.settings)
        assert again == after, "a second look at the same evidence finds nothing to do"

    @invariant()
    def changes_are_few(self) -> None:
        window = [at for at in self.changed_at if self.now - at < self.settings.flap_window_secs]
        if len(window) >= self.settings.flap_changes:
            assert self.ladder.held_until >= window[-1] + self.settings.flap_hold_secs
        assert len(self.ladder.changes) <= self.settings.flap_changes


TestAnyHistory = AnyHistory.TestCase
