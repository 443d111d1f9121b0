"""The deadline: one absolute end for all attempts of a decision."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurymast.policy.deadline import WorkSettings, attempt_timeout

SETTINGS = WorkSettings()
SETTINGS_DRAWN = st.builds(
    WorkSettings, attempt_secs_max=st.floats(5, 60), attempt_secs_min=st.floats(0.1, 5)
)


@pytest.mark.parametrize(
    ("remaining_secs", "routes_after", "timeout_secs"),
    [
        (60.0, 2, 25.0),
        (60.0, 0, 25.0),
        (30.0, 2, 20.0),
        (30.0, 1, 22.5),
        (10.0, 0, 10.0),
        (10.0, 1, 7.5),
        (5.0, 2, 2.0),
        (2.0, 2, 2.0),
        (1.99, 0, None),
        (0.0, 0, None),
        (-5.0, 1, None),
    ],
)
def test_time_of_the_next_attempt(
    remaining_secs: float, routes_after: int, timeout_secs: float | None
) -> None:
    """An attempt gets what is left less a reserve for the routes behind it, within its cap and floor."""
    assert attempt_timeout(remaining_secs, routes_after, SETTINGS) == timeout_secs


@given(remaining_secs=st.floats(-10, 300), routes_after=st.integers(0, 6), settings=SETTINGS_DRAWN)
def test_an_attempt_fits_into_what_is_left(
    remaining_secs: float, routes_after: int, settings: WorkSettings
) -> None:
    """No attempt outlives the decision, none is shorter than its floor or longer than its cap."""
    timeout_secs = attempt_timeout(remaining_secs, routes_after, settings)
    if timeout_secs is None:
        assert remaining_secs < settings.attempt_secs_min
        return
    assert settings.attempt_secs_min <= timeout_secs <= settings.attempt_secs_max
    assert timeout_secs <= remaining_secs


@given(deadline_secs=st.floats(0, 200), sends=st.integers(1, 5), settings=SETTINGS_DRAWN)
def test_all_attempts_together_end_by_the_deadline(
    deadline_secs: float, sends: int, settings: WorkSettings
) -> None:
    """If every route stays silent to its time-out, the decision still ends in time."""
    remaining_secs = deadline_secs
    for routes_after in reversed(range(sends)):
        timeout_secs = attempt_timeout(remaining_secs, routes_after, settings)
        if timeout_secs is None:
            break
        remaining_secs -= timeout_secs
    assert remaining_secs >= -1e-9


@given(routes_after=st.integers(0, 4), shares=st.floats(1, 50), settings=SETTINGS_DRAWN)
def test_every_later_route_keeps_half_of_an_equal_share(
    routes_after: int, shares: float, settings: WorkSettings
) -> None:
    """A silent first provider can't use up the time of those behind it."""
    remaining_secs = settings.attempt_secs_min * (routes_after + 1) * shares
    timeout_secs = attempt_timeout(remaining_secs, routes_after, settings)
    assert timeout_secs is not None
    share_secs = min(settings.attempt_secs_max, remaining_secs / (routes_after + 1) / 2)
    assert remaining_secs - timeout_secs >= routes_after * share_secs - 1e-9


@given(remaining_secs=st.floats(2, 200), more_secs=st.floats(0, 50), routes_after=st.integers(0, 4))
def test_more_time_is_never_less_time(remaining_secs: float, more_secs: float, routes_after: int) -> None:
    """The longer the deadline, the longer the attempt."""
    shorter = attempt_timeout(remaining_secs, routes_after, SETTINGS)
    longer = attempt_timeout(remaining_secs + more_secs, routes_after, SETTINGS)
    assert shorter is not None
    assert longer is not None
    assert longer >= shorter - 1e-9
