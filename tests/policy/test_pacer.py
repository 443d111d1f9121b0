"""The pacer: optional requests follow the day, and certain hours have money of their own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurymast.policy.ledger import Account, Cap, opened
from jurymast.policy.pacer import HEAD_SHARE, Pace, at_ease, planned_share

MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)
DINNER = Pace(0.5, 18, 22)


def at(hour: float) -> datetime:
    return MIDNIGHT + timedelta(hours=hour)


def day(spent: int, held: int = 0) -> Account:
    return opened(Cap(1_000), "", MIDNIGHT, spent)._replace(held=held)


@pytest.mark.parametrize(
    ("pace", "hour", "share"),
    [
        (Pace(), 0, HEAD_SHARE),
        (Pace(), 12, 0.625),
        (DINNER, 0, 0.125),
        (DINNER, 18, 0.5 * (0.25 + 0.75 * 18 / 20)),
        (DINNER, 20, 0.5 * (0.25 + 0.75 * 18 / 20) + 0.25),
        (DINNER, 22, 0.5 * (0.25 + 0.75 * 18 / 20) + 0.5),
        (Pace(0.5, 0, 24), 12, 0.625),
    ],
)
def test_the_plan_brings_the_days_money(pace: Pace, hour: float, share: float) -> None:
    """A head start, then evenly; the reserve comes in its own hours and only there."""
    assert planned_share(pace, at(hour)) == pytest.approx(share)


@given(
    st.builds(
        lambda share, first, length: Pace(share, first, min(first + length, 24)),
        st.floats(0, 1),
        st.integers(0, 23),
        st.integers(1, 24),
    ),
    st.lists(st.integers(0, 86_399), min_size=2, max_size=2),
)
def test_the_plan_only_rises_and_ends_at_all(pace: Pace, secs: list[int]) -> None:
    """Whatever the hours: no time of the day takes back what an earlier one gave, and midnight has it all."""
    early, late = (planned_share(pace, MIDNIGHT + timedelta(seconds=sec)) for sec in sorted(secs))
    assert 0.0 <= early <= late <= 1.0 + 1e-9
    assert planned_share(pace, MIDNIGHT + timedelta(seconds=86_399)) == pytest.approx(1.0, abs=2e-3)


def test_what_is_optional_is_withheld_when_the_day_is_ahead_of_its_plan() -> None:
    """At noon 62.5 % are planned: what is spent, held and asked for may come to that. Free is always free."""
    assert at_ease(Pace(), day(600), 25, at(12))
    assert not at_ease(Pace(), day(600), 26, at(12))
    assert not at_ease(Pace(), day(300, held=301), 25, at(12))
    assert at_ease(Pace(), day(1_000), 0, at(0))


def test_the_reserve_is_kept_until_its_hours() -> None:
    """Of every request, not only of optional ones; hours from midnight on need no keeping."""
    assert DINNER.kept(1_000) == 500
    assert Pace(0.5, 0, 8).kept(1_000) == 0


@pytest.mark.parametrize("hours", [(9, 9), (12, 9), (-1, 5), (3, 25)])
def test_hours_lie_within_one_day(hours: tuple[int, int]) -> None:
    """Anything else is a mistake in the settings."""
    with pytest.raises(ValueError, match="not within one day"):
        Pace(0.1, *hours)


def test_a_share_is_a_share() -> None:
    """More than all can't be kept."""
    with pytest.raises(ValueError, match="between 0 and 1"):
        Pace(1.1)
