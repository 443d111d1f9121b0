"""Screening: which markets are worth a question, and the one reason why another is not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from policy_world import snapshot_of

from jurymast.domain.market import Book, Level, MarketSnapshot, MarketStatus
from jurymast.domain.money import CENT, CONTRACT
from jurymast.domain.status import EmergencyMode
from jurymast.policy.emergency import TABLE
from jurymast.policy.screening import ScreenReason, screen, visible_depth

NORMAL = TABLE[EmergencyMode.NORMAL]
CLOSE_MAX_SECS = 90 * 86_400.0

REFUSED: list[tuple[ScreenReason, MarketSnapshot]] = [
    *(
        (ScreenReason.NOT_OPEN, snapshot_of(status=status))
        for status in MarketStatus
        if status is not MarketStatus.ACTIVE
    ),
    (ScreenReason.ONE_SIDED_BOOK, snapshot_of(bid=None)),
    (ScreenReason.ONE_SIDED_BOOK, snapshot_of(ask=None)),
    (ScreenReason.ONE_SIDED_BOOK, snapshot_of(bid=None, ask=None)),
    (ScreenReason.CROSSED_BOOK, snapshot_of(51 * CENT, 50 * CENT)),
    (ScreenReason.PRICE_OUT_OF_BAND, snapshot_of(4 * CENT, 5 * CENT)),
    (ScreenReason.PRICE_OUT_OF_BAND, snapshot_of(95 * CENT, 96 * CENT)),
    (ScreenReason.SPREAD_TOO_WIDE, snapshot_of(48 * CENT, 52 * CENT + 100)),
    (ScreenReason.BOOK_TOO_THIN, snapshot_of(count=50 * CONTRACT - 1)),
    (ScreenReason.VOLUME_TOO_LOW, snapshot_of(volume=500 * CONTRACT - 1)),
    (ScreenReason.CLOSES_TOO_SOON, snapshot_of(secs_to_close=599.0)),
    (ScreenReason.CLOSES_TOO_SOON, snapshot_of(secs_to_close=-1.0)),
    (ScreenReason.CLOSES_TOO_LATE, snapshot_of(secs_to_close=CLOSE_MAX_SECS + 1)),
]

PASSED = [
    snapshot_of(),
    snapshot_of(4 * CENT, 6 * CENT),
    snapshot_of(94 * CENT, 96 * CENT),
    snapshot_of(48 * CENT, 52 * CENT),
    snapshot_of(count=50 * CONTRACT),
    snapshot_of(volume=500 * CONTRACT),
    snapshot_of(secs_to_close=600.0),
    snapshot_of(secs_to_close=CLOSE_MAX_SECS),
]


def test_every_reason_can_be_given() -> None:
    """No reason on the closed list is dead."""
    assert {reason for reason, _ in REFUSED} == set(ScreenReason)


@pytest.mark.parametrize(("reason", "snapshot"), REFUSED)
def test_a_market_outside_a_limit_is_dropped_with_its_reason(
    reason: ScreenReason, snapshot: MarketSnapshot
) -> None:
    """A limit missed by the smallest step drops the market, and the numbers are told."""
    screened = screen(snapshot, NORMAL, CLOSE_MAX_SECS)
    assert screened is not None
    assert screened.reason is reason
    assert screened.detail


@pytest.mark.parametrize("snapshot", PASSED)
def test_a_market_at_its_limits_passes(snapshot: MarketSnapshot) -> None:
    """Every limit is inclusive: a model may be asked."""
    assert screen(snapshot, NORMAL, CLOSE_MAX_SECS) is None


@pytest.mark.parametrize(
    ("snapshot", "detail"),
    [
        (snapshot_of(status=MarketStatus.CLOSED), "the market is closed"),
        (snapshot_of(4 * CENT, 5 * CENT), "4.5c is outside 5c..95c [normal: price_min, price_max]"),
        (snapshot_of(40 * CENT, 46 * CENT), "6c, at most 4c [normal: spread_max]"),
        (snapshot_of(volume=120 * CONTRACT), "120 in 24 h, at least 500 [normal: volume_min]"),
        (snapshot_of(secs_to_close=300.0), "in 5 min, at least 10 [normal: secs_to_close_min]"),
        (snapshot_of(secs_to_close=100 * 86_400.0), "in 100 d, at most 90"),
    ],
)
def test_a_person_reads_why(snapshot: MarketSnapshot, detail: str) -> None:
    """The value and its limit stand side by side, in the units of traders."""
    screened = screen(snapshot, NORMAL, CLOSE_MAX_SECS)
    assert screened is not None
    assert screened.detail == detail


def test_the_thinner_side_counts() -> None:
    """A deep bid does not make up for an empty ask: we may have to leave through it."""
    book = Book((Level(48 * CENT, 9_000 * CONTRACT),), (Level(50 * CENT, 10 * CONTRACT),))
    thin = screen(replace(snapshot_of(), book=book), NORMAL, CLOSE_MAX_SECS)
    assert thin is not None
    assert thin.reason is ScreenReason.BOOK_TOO_THIN
    assert thin.detail == "10 contracts, at least 50 [normal: depth_min]"


def test_depth_is_that_of_the_best_three_levels() -> None:
    """What stands far from the price is not there when it is needed."""
    levels = [Level(price * CENT, 10 * CONTRACT) for price in (48, 47, 46, 45)]
    assert visible_depth(levels) == 30 * CONTRACT
    assert visible_depth(levels[:2]) == 20 * CONTRACT
    assert visible_depth(()) == 0


@pytest.mark.parametrize("snapshot", [snapshot for _, snapshot in REFUSED] + PASSED)
def test_a_safer_mode_lets_no_more_through(snapshot: MarketSnapshot) -> None:
    """What NORMAL drops every safer mode drops too."""
    dropped = [screen(snapshot, TABLE[mode], CLOSE_MAX_SECS) is not None for mode in EmergencyMode]
    assert dropped == sorted(dropped)
