"""Levels taken and positions changed, as arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurymast.domain.market import Book, Level, Side
from jurymast.domain.money import CENT, CONTRACT, PAYOUT
from jurymast.domain.order import Action
from jurymast.exchange.matching import FLAT, Holding, Take, after_fill, cash_for, takes

BOOK = Book(
    bids=(Level(40 * CENT, 500), Level(39 * CENT, 700)), asks=(Level(42 * CENT, 300), Level(43 * CENT, 900))
)
prices = st.integers(min_value=1, max_value=99).map(lambda cents: cents * CENT)
counts = st.integers(min_value=1, max_value=10_000)
fees = st.integers(min_value=0, max_value=100_000)
sides = st.sampled_from(Side)


@pytest.mark.parametrize(
    ("side", "action", "limit_cents", "count", "expected"),
    [
        (Side.YES, Action.BUY, 41, 100, []),
        (Side.YES, Action.BUY, 42, 1_000, [(42, 42, 300)]),
        (Side.YES, Action.BUY, 99, 1_000, [(42, 42, 300), (43, 43, 700)]),
        (Side.YES, Action.SELL, 40, 600, [(40, 40, 500)]),
        (Side.YES, Action.SELL, 1, 600, [(40, 40, 500), (39, 39, 100)]),
        (Side.NO, Action.BUY, 59, 100, []),
        (Side.NO, Action.BUY, 61, 600, [(60, 40, 500), (61, 39, 100)]),
        (Side.NO, Action.SELL, 57, 400, [(58, 42, 300), (57, 43, 100)]),
    ],
)
def test_an_order_takes_the_best_levels_within_its_limit(
    side: Side, action: Action, limit_cents: int, count: int, expected: list[tuple[int, int, int]]
) -> None:
    """Each kind of order takes from the right side of the book, best price first, never past its limit."""
    chosen = takes(BOOK, side, action, limit_cents * CENT, count)
    assert chosen == tuple(Take(price * CENT, yes * CENT, part) for price, yes, part in expected)


def test_buying_the_other_side_redeems_pairs() -> None:
    """Whoever holds YES at 40c and buys as many NO at 55c gets $1 a pair back and holds nothing."""
    held, paid = after_fill(FLAT, Side.YES, Action.BUY, 40 * CENT, 10 * CONTRACT, 0)
    assert (held, paid) == (Holding(1_000, 4_000_000), -4_000_000)
    held, cash = after_fill(held, Side.NO, Action.BUY, 55 * CENT, 10 * CONTRACT, 0)
    assert held == FLAT
    assert cash == 10_000_000 - 5_500_000


def test_a_fill_may_close_and_open() -> None:
    """Buying 15 NO against 10 YES leaves 5 NO that cost their price and their share of the fee."""
    held, _ = after_fill(FLAT, Side.YES, Action.BUY, 40 * CENT, 10 * CONTRACT, 0)
    held, cash = after_fill(held, Side.NO, Action.BUY, 60 * CENT, 15 * CONTRACT, 900)
    assert held == Holding(-500, 3_000_000 + 300)
    assert cash == 10_000_000 - 9_000_000 - 900


def test_a_partial_sale_takes_its_share_of_the_cost() -> None:
    """Selling a third of a position leaves two thirds of its cost, the odd micro-dollar included."""
    held, cash = after_fill(Holding(300, 1_000_001), Side.YES, Action.SELL, 50 * CENT, 100, 25)
    assert held == Holding(200, 666_668)
    assert cash == 500_000 - 25


@given(st.lists(st.tuples(sides, prices, counts, fees), min_size=1, max_size=20))
def test_netting_moves_the_same_money_as_two_accounts(
    fills: list[tuple[Side, int, int, int]],
) -> None:
    """Bought contracts kept apart by side, with pairs redeemed for $1, give the same cash and position."""
    held, cash = FLAT, 0
    bought = {Side.YES: 0, Side.NO: 0}
    spent = 0
    for side, price, count, fee in fills:
        held, change = after_fill(held, side, Action.BUY, price, count, fee)
        cash += change
        bought[side] += count
        spent += cash_for(price, count) + fee
        assert (held.count == 0) == (held.cost == 0) or held.cost >= 0
    pairs = min(bought.values())
    assert held.count == bought[Side.YES] - bought[Side.NO]
    assert cash == pairs * PAYOUT // CONTRACT - spent
