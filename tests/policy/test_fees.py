"""What the exchange takes per execution."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurymast.domain.money import CENT, CONTRACT, PAYOUT, usd
from jurymast.policy.fees import (
    DIRECT_MEMBER,
    DIRECT_MEMBER_MAKER_FEES,
    THROUGH_BROKER,
    FeeSchedule,
    fee,
    fee_per_contract,
)

prices = st.integers(min_value=0, max_value=PAYOUT)
counts = st.integers(min_value=0, max_value=100_000_000)
schedules = st.sampled_from([DIRECT_MEMBER, DIRECT_MEMBER_MAKER_FEES, THROUGH_BROKER])


@pytest.mark.parametrize(
    ("price", "contracts", "dollars"),
    [
        (50, 100, "1.75"),
        (50, 1, "0.0175"),
        (1, 1, "0.0007"),
        (99, 1, "0.0007"),
        (62, 12, "0.198"),
        (33, 20, "0.3096"),
        (5, 1_000, "3.325"),
    ],
)
def test_taker_fee_of_a_direct_member(price: int, contracts: int, dollars: str) -> None:
    """A direct member pays seven percent of C x P x (1 - P), rounded up to a hundredth of a cent."""
    assert fee(price * CENT, contracts * CONTRACT) == usd(dollars)


def test_everybody_else_pays_whole_cents() -> None:
    """Through a broker the same fee is rounded up to the next cent."""
    assert fee(50 * CENT, CONTRACT, schedule=THROUGH_BROKER) == usd("0.02")
    assert fee(50 * CENT, 100 * CONTRACT, schedule=THROUGH_BROKER) == usd("1.75")


def test_makers_pay_only_where_they_are_charged() -> None:
    """A maker pays nothing on most series and a quarter of the taker's rate on the others."""
    assert fee(50 * CENT, 100 * CONTRACT, maker=True) == 0
    assert fee(50 * CENT, 100 * CONTRACT, maker=True, schedule=DIRECT_MEMBER_MAKER_FEES) == usd("0.4375")


def test_parts_of_a_contract_cost_parts_of_the_fee() -> None:
    """A hundredth of a contract at fifty cents costs two hundredths of a cent, not a whole one."""
    assert fee(50 * CENT, 1) == usd("0.0002")


def test_fee_per_contract_is_the_fee_of_one_contract() -> None:
    """Rules that weigh an edge use the taker fee of exactly one contract."""
    assert fee_per_contract(62 * CENT) == fee(62 * CENT, CONTRACT) == usd("0.0165")


@given(prices, counts, schedules, st.booleans())
def test_a_fee_is_never_negative_and_never_less_than_the_formula(
    price: int, count: int, schedule: FeeSchedule, maker: bool
) -> None:
    """Rounding always favours the exchange, by less than one unit of the account's precision."""
    charged = fee(price, count, maker=maker, schedule=schedule)
    rate = schedule.maker_millionths if maker else schedule.taker_millionths
    scale = 1_000_000 * CONTRACT * PAYOUT
    exact = rate * count * price * (PAYOUT - price)
    assert 0 <= charged * scale - exact < schedule.precision * scale
    assert charged % schedule.precision == 0


@given(prices, counts, schedules)
def test_both_sides_of_a_trade_pay_the_same(price: int, count: int, schedule: FeeSchedule) -> None:
    """A contract at P costs the fee of a contract at 1 - P, so the side a price is named in is no matter."""
    assert fee(price, count, schedule=schedule) == fee(PAYOUT - price, count, schedule=schedule)


@given(prices, counts, counts, schedules)
def test_more_contracts_never_cost_less(price: int, count: int, more: int, schedule: FeeSchedule) -> None:
    """The fee grows with the count, and splitting an execution never makes it cheaper."""
    whole = fee(price, count + more, schedule=schedule)
    assert whole >= fee(price, count, schedule=schedule)
    assert whole <= fee(price, count, schedule=schedule) + fee(price, more, schedule=schedule)


@pytest.mark.parametrize(("price", "count"), [(-1, 100), (PAYOUT + 1, 100), (CENT, -1)])
def test_impossible_trades_have_no_fee(price: int, count: int) -> None:
    """A price outside $0 to $1 or a negative count is refused instead of priced."""
    with pytest.raises(ValueError, match=r"micro-dollars|centi-contracts"):
        fee(price, count)


@pytest.mark.parametrize("fields", [{"precision": 0}, {"precision": 100, "taker_millionths": -1}])
def test_a_schedule_that_pays_the_trader_is_refused(fields: dict[str, int]) -> None:
    """A schedule has a positive precision and no negative rates."""
    with pytest.raises(ValueError, match=r"precision|rate"):
        FeeSchedule(checked_on=date(2026, 10, 7), **fields)
