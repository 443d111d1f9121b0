"""The deadline: one absolute end for all attempts of a decision."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurymast.policy.deadline import (
    FLOOR_SHARE,
    MARGIN,
    RESERVE_SHARE_MAX,
    WorkSettings,
    attempt_timeout,
    last_timeout,
)

SETTINGS = WorkSettings()
SETTINGS_DRAWN = st.builds(
    WorkSettings, attempt_secs_max=st.floats(5, 60), attempt_secs_min=st.floats(0.1, 5)
)
SECS = st.floats(0, 300)


@pytest.mark.parametrize(
    ("remaining_secs", "usual_secs", "reserve_secs", "timeout_secs"),
    [
        (60.0, 12.0, 8.0, 15.0),
        (60.0, 40.0, 8.0, 25.0),
        (60.0, 0.05, 8.0, 5.0),
        (60.0, 12.0, 0.0, 15.0),
        (20.0, 40.0, 6.0, 14.0),
        (20.0, 40.0, 90.0, 10.0),
        (10.0, 40.0, 0.0, 10.0),
        (3.0, 40.0, 90.0, 2.0),
        (2.0, 40.0, 90.0, 2.0),
        (1.99, 0.1, 0.0, None),
        (0.0, 0.1, 0.0, None),
        (-5.0, 0.1, 0.0, None),
    ],
)
def test_time_of_the_next_attempt(
    remaining_secs: float, usual_secs: float, reserve_secs: float, timeout_secs: float | None
) -> None:
    """An attempt gets what it usually needs with a margin, less what the next route needs, within bounds."""
    assert attempt_timeout(remaining_secs, usual_secs, reserve_secs, SETTINGS) == timeout_secs


@given(remaining_secs=st.floats(-10, 300), usual_secs=SECS, reserve_secs=SECS, settings=SETTINGS_DRAWN)
def test_an_attempt_fits_into_what_is_left(
    remaining_secs: float, usual_secs: float, reserve_secs: float, settings: WorkSettings
) -> None:
    """No attempt outlives the decision, none is shorter than its floor or longer than its cap."""
    timeout_secs = attempt_timeout(remaining_secs, usual_secs, reserve_secs, settings)
    if timeout_secs is None:
        assert remaining_secs < settings.attempt_secs_min
        return
    assert settings.attempt_secs_min <= timeout_secs
    assert timeout_secs <= max(settings.attempt_secs_max, settings.attempt_secs_min)
    assert timeout_secs <= remaining_secs


@given(
    deadline_secs=st.floats(0, 200),
    routes=st.lists(st.tuples(SECS, SECS), min_size=1, max_size=5),
    settings=SETTINGS_DRAWN,
)
def test_all_attempts_together_end_by_the_deadline(
    deadline_secs: float, routes: list[tuple[float, float]], settings: WorkSettings
) -> None:
    """If every route stays silent to its time-out, the decision still ends in time."""
    remaining_secs = deadline_secs
    for usual_secs, reserve_secs in routes:
        timeout_secs = attempt_timeout(remaining_secs, usual_secs, reserve_secs, settings)
        if timeout_secs is None:
            break
        remaining_secs -= timeout_secs
    assert remaining_secs >= -1e-9


@given(remaining_secs=st.floats(20, 200), usual_secs=SECS, reserve_secs=SECS)
def test_the_next_route_keeps_its_time(remaining_secs: float, usual_secs: float, reserve_secs: float) -> None:
    """A silent route can't use up what the one behind it usually needs, up to half of what is left."""
    timeout_secs = attempt_timeout(remaining_secs, usual_secs, reserve_secs, SETTINGS)
    assert timeout_secs is not None
    kept_secs = min(reserve_secs, remaining_secs * RESERVE_SHARE_MAX)
    assert remaining_secs - timeout_secs >= kept_secs - 1e-9


@given(remaining_secs=st.floats(60, 300), usual_secs=SECS)
def test_a_route_gets_its_usual_time_when_there_is_enough(remaining_secs: float, usual_secs: float) -> None:
    """With time to spare nobody is cut off before a margin over its own 99th percentile."""
    timeout_secs = attempt_timeout(remaining_secs, usual_secs, 0.0, SETTINGS)
    floor_secs = SETTINGS.attempt_secs_max * FLOOR_SHARE
    assert timeout_secs == min(max(usual_secs * MARGIN, floor_secs), SETTINGS.attempt_secs_max)


@given(remaining_secs=st.floats(2, 200), more_secs=st.floats(0, 50), usual_secs=SECS, reserve_secs=SECS)
def test_more_time_is_never_less_time(
    remaining_secs: float, more_secs: float, usual_secs: float, reserve_secs: float
) -> None:
    """The longer the deadline, the longer the attempt; the slower a route, the longer it may take."""
    shorter = attempt_timeout(remaining_secs, usual_secs, reserve_secs, SETTINGS)
    longer = attempt_timeout(remaining_secs + more_secs, usual_secs, reserve_secs, SETTINGS)
    slower = attempt_timeout(remaining_secs, usual_secs + more_secs, reserve_secs, SETTINGS)
    assert shorter is not None
    assert longer is not None
    assert slower is not None
    assert longer >= shorter - 1e-9
    assert slower >= shorter


@pytest.mark.parametrize(
    ("remaining_secs", "timeout_secs"), [(200.0, 50.0), (40.0, 40.0), (2.0, 2.0), (1.9, None), (-1.0, None)]
)
def test_the_last_attempt_may_take_what_is_left(remaining_secs: float, timeout_secs: float | None) -> None:
    """With nobody able behind it there is nothing to keep time for, within twice the cap."""
    assert last_timeout(remaining_secs, SETTINGS) == timeout_secs
