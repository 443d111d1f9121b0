"""Selling by hand: bounded slices, never below the planned price, never more than is held or wanted."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from policy_world import snapshot_of

from jurymast.domain.market import Book, Level
from jurymast.domain.money import CENT, CONTRACT, PAYOUT
from jurymast.domain.order import Position
from jurymast.policy.liquidation import LiquidationSettings, Sale, flatten, work_down

SETTINGS = LiquidationSettings()
Sizes = st.integers(1, 2_000).map(lambda n: n * CONTRACT // 4)
Ladders = st.lists(Sizes, min_size=1, max_size=6)


def books(bids: list[int], asks: list[int], top: int, spread: int) -> Book:
    down = [Level((top - n) * CENT, size) for n, size in enumerate(bids)]
    up = [Level((top + spread + n) * CENT, size) for n, size in enumerate(asks)]
    return Book(tuple(down), tuple(up))


@given(Ladders, Ladders, st.integers(10, 60), st.integers(1, 12), st.integers(-4_000, 4_000).filter(bool))
def test_a_slice_is_within_every_bound(
    bids: list[int], asks: list[int], top: int, spread: int, count: int
) -> None:
    """A slice sells at most what is held, what is bid within the slack, and what one slice may hold."""
    position = Position("Q-1", "EV", count, PAYOUT)
    snapshot = replace(snapshot_of(), book=books(bids, asks, top, spread))
    [sale], unsold = flatten([position], {"Q-1": snapshot}, SETTINGS)
    assert isinstance(sale, Sale)
    best = snapshot.book.takers(position.side)[0].price
    reach = sum(x.count for x in snapshot.book.takers(position.side) if x.price >= sale.plan.limit_price)
    assert 0 < sale.plan.count <= min(position.size, SETTINGS.slice_max, reach)
    assert best - SETTINGS.slack <= sale.plan.limit_price <= best
    assert sale.proceeds >= sale.plan.limit_price * sale.plan.count // CONTRACT - len(bids + asks)
    assert sale.cost >= 0
    assert sale.plan.count + sum(each.count for each in unsold) == position.size
    part = work_down(position, snapshot, SETTINGS)
    assert (part is None) == (spread * CENT > SETTINGS.spread_max)
    if part is not None:
        assert 0 < part.count <= position.size
        assert part.limit_price == best


def test_what_nobody_bids_for_is_kept_and_said() -> None:
    """A position without a bid is not sold at any price, and the preview says why."""
    position = Position("Q-1", "EV", 500, PAYOUT)
    empty = replace(snapshot_of(), book=Book((), (Level(60 * CENT, 100),)))
    assert flatten([position], {"Q-1": empty}, SETTINGS)[0] == []
    assert flatten([position], {"Q-1": empty}, SETTINGS)[1][0].why == "nobody bids"
    assert work_down(position, empty, SETTINGS) is None
    assert flatten([position], {}, SETTINGS)[1][0].why == "the market does not trade now"
