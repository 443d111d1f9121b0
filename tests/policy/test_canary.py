"""The canary: how far answers have moved, and what that means for trust."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurymast.domain.probability import logit, sigmoid
from jurymast.policy.canary import (
    COMMON_MIN,
    NEW,
    QUESTIONS,
    Canary,
    CanarySettings,
    Verdict,
    due,
    folded,
    judge,
    shift,
)
from jurymast.policy.retirement import end_of, stage

AT = datetime(2026, 11, 29, tzinfo=UTC)
DAY = timedelta(days=1)
SETTINGS = CanarySettings()
BASE = tuple(range(5, 5 + 4 * QUESTIONS, 4))


def moved(by: float) -> tuple[int, ...]:
    """The base with every answer this far away in log-odds, up and down in turn, rounded to percents."""
    return tuple(
        round(100 * sigmoid(logit(pct / 100) + (by if place % 2 else -by))) for place, pct in enumerate(BASE)
    )


def run(canary: Canary, answers: tuple[int | None, ...], at: datetime) -> tuple[Canary, Verdict]:
    verdict = judge(canary, answers, SETTINGS)
    return folded(canary, answers, verdict, at), verdict


answered = st.lists(st.none() | st.integers(1, 99), min_size=QUESTIONS, max_size=QUESTIONS).map(tuple)


@given(answered, answered)
def test_distance_is_one(one: tuple[int | None, ...], other: tuple[int | None, ...]) -> None:
    """Symmetric, nothing from itself, and silent on too few questions in common."""
    both = sum(a is not None and b is not None for a, b in zip(one, other, strict=True))
    assert (shift(one, other) is None) is (both < COMMON_MIN)
    assert shift(one, other) == shift(other, one)
    assert not shift(one, one)


def test_the_first_answers_are_the_base_and_near_ones_leave_it() -> None:
    """A model that answers alike is trusted; its base does not creep along with it."""
    canary, verdict = run(NEW, BASE, AT)
    assert verdict == Verdict(None)
    for week in range(1, 4):
        canary, verdict = run(canary, moved(0.1 * week), AT + 7 * week * DAY)
        assert not verdict.changed
        assert canary.base == BASE
    assert verdict.shift == pytest.approx(0.3, abs=0.06)


def test_a_slow_drift_is_found() -> None:
    """Each week a little: no week's step is beyond the limit, but the way from the base is."""
    canary, changes = run(NEW, BASE, AT)[0], []
    for week in range(1, 6):
        canary, verdict = run(canary, moved(0.15 * week), AT + 7 * week * DAY)
        changes.append(verdict.changed)
    assert changes == [False, False, False, True, False]


def test_a_changed_model_is_doubted_until_it_answers_alike_once_more() -> None:
    """The new answers are the base; a day later they are asked for again, not a week later."""
    canary, _ = run(NEW, BASE, AT)
    canary, verdict = run(canary, moved(1.0), AT + 7 * DAY)
    assert verdict.changed
    assert verdict.shift is not None
    assert verdict.shift > SETTINGS.shift_max
    assert "moved by" in canary.doubted
    assert canary.base == moved(1.0)
    assert due(canary, AT + 8 * DAY, SETTINGS)
    again, verdict = run(canary, moved(1.1), AT + 8 * DAY)
    assert (verdict.changed, again.doubted) == (False, "")
    assert not due(again, AT + 14 * DAY, SETTINGS)
    still, verdict = run(canary, BASE, AT + 8 * DAY)
    assert verdict.changed
    assert still.doubted


def test_too_few_answers_say_nothing_either_way() -> None:
    """An outage in the middle of a run is no change of behaviour, and no proof of the old one."""
    canary, _ = run(NEW, BASE, AT)
    doubted, _ = run(canary, moved(1.0), AT + 7 * DAY)
    few = (*moved(2.0)[: COMMON_MIN - 1], *[None] * (QUESTIONS - COMMON_MIN + 1))
    for before in (canary, doubted):
        after, verdict = run(before, few, AT + 14 * DAY)
        assert (after, verdict.changed) == (before, False)


@pytest.mark.parametrize(
    ("after", "doubted", "expected"),
    [(0.5, "", False), (6.9, "", False), (7, "", True), (0.9, "why", False), (1, "why", True)],
)
def test_when_it_is_due(after: float, doubted: str, expected: bool) -> None:
    """Weekly, daily while in doubt, at once when never asked, and never when switched off."""
    canary = Canary(BASE, AT, doubted)
    assert due(canary, AT + after * DAY, SETTINGS) is expected
    assert due(NEW, AT, SETTINGS)
    assert not due(canary, AT + 999 * DAY, CanarySettings(every_secs=0.0))


@pytest.mark.parametrize(
    ("days_left", "expected"),
    [(61, None), (60, 60), (31, 60), (30, 30), (8, 30), (7, 7), (1, 7), (0, 0), (-5, 0)],
)
def test_an_end_is_told_at_sixty_thirty_and_seven_days(days_left: int, expected: int | None) -> None:
    """And once more when it is over."""
    today = date(2026, 11, 29)
    assert stage(today + timedelta(days=days_left), today) == expected
    assert stage(None, today) is None


def test_the_vendor_knows_the_end_best() -> None:
    """Its date counts before ours; one that is none leaves ours."""
    ours = date(2027, 1, 1)
    assert end_of("2027-06-30", ours) == date(2027, 6, 30)
    assert end_of("soon", ours) == end_of(None, ours) == ours
    assert end_of(None, None) is None
