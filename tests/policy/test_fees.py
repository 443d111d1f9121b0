"""What the exchange takes per execution."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurymast.domain.money import CENT, CONTRACT, PAYOUT, usd
from jurymast.policy.fees import (
    DIRECT_MEMBER,
    DIRECT_MEMBER_AUGUST,
    DIRECT_MEMBER_MAKER_FEES,
    THROUGH_BROKER,
    Charge,
    FeeSchedule,
    charge,
    fee,
    fee_per_contract,
    schedule_on,
)

REAL_FILLS = [
    ("0.001", "227.27", "0.015930"),
    ("0.001", "90.90", "0.006400"),
    ("0.002", "45.45", "0.006400"),
    ("0.033", "28.32", "0.063340"),
    ("0.013", "71.94", "0.064780"),
    ("0.228", "4.15", "0.051200"),
    ("0.001", "909.09", "0.063610"),
    ("0.01", "10", "0.007000"),
    ("0.04", "10", "0.026900"),
    ("0.74", "15", "0.202100"),
    ("0.33", "20", "0.309600"),
    ("0.27", "10", "0.138000"),
    ("0.28", "10", "0.141200"),
    ("0.08", "10", "0.051600"),
    ("0.52", "3", "0.052500"),
]
"""Price, contracts and fee in dollars of real purchases by a direct member as taker, 16 to 18 August 2026:
the ``fee_cost`` of ``GET /portfolio/fills`` as a third party recorded it (kalshi-cockpit)."""
TELLS_THE_RULES_APART = ("0.013", "71.94", "0.064780")

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
    rate = schedule.rate(maker=maker)
    scale = 1_000_000**2 * CONTRACT * PAYOUT
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


def bought(price: str, contracts: str) -> tuple[int, int, int]:
    """Price, count and cash flow of a purchase."""
    count = round(float(contracts) * CONTRACT)
    return usd(price), count, -usd(price) * count // CONTRACT


@pytest.mark.parametrize(("price", "contracts", "dollars"), REAL_FILLS)
def test_real_fees_are_reproduced_to_the_last_digit(price: str, contracts: str, dollars: str) -> None:
    """What Kalshi charged for real fills in August 2026 is what the rule of that time gives."""
    schedule = schedule_on(date(2026, 8, 18))
    assert schedule is DIRECT_MEMBER_AUGUST
    assert charge(*bought(price, contracts), schedule=schedule).fee == usd(dollars)


def test_the_rule_of_today_is_another_one() -> None:
    """Since September the model fee is rounded to the micro-dollar: one of the fills would cost less."""
    assert schedule_on(date(2026, 11, 1)) is schedule_on(date(2026, 9, 1)) is DIRECT_MEMBER
    assert schedule_on(date(2026, 8, 31)) is DIRECT_MEMBER_AUGUST
    for price, contracts, dollars in REAL_FILLS:
        same = charge(*bought(price, contracts)).fee == usd(dollars)
        assert same == ((price, contracts, dollars) != TELLS_THE_RULES_APART)


def test_before_the_first_rule_nothing_is_assumed() -> None:
    """For a day before the first known rule there is no fee to tell."""
    with pytest.raises(ValueError, match="no rule"):
        schedule_on(date(2026, 8, 7))


def test_rounding_is_given_back_within_an_order() -> None:
    """What rounding took from earlier fills of an order is taken off a later one, in whole units."""
    price, count, flow = bought("0.013", "0.50")
    carried, fees = 0, []
    for _ in range(4):
        one = charge(price, count, flow, carried=carried)
        carried, fees = one.carried, [*fees, one.fee]
    assert fees == [500, 400, 500, 400]
    assert carried == 0
    assert charge(*bought("0.013", "0.05"), carried=99) == Charge(fee=50, carried=104)


@given(
    st.integers(min_value=1, max_value=99).map(lambda cents: cents * CENT),
    st.lists(st.tuples(st.integers(min_value=1, max_value=50_000), st.booleans()), min_size=1, max_size=20),
    schedules,
)
def test_an_order_pays_the_model_fee_and_what_it_carries(
    price: int, parts: list[tuple[int, bool]], schedule: FeeSchedule
) -> None:
    """However an order fills, in parts, as taker and as maker: no fee is negative, the balance keeps to its
    precision, and beyond the model fee the order has paid exactly what it still carries."""
    carried = total = balance = 0
    model_total = 0
    for count, maker in parts:
        flow = -price * count // CONTRACT
        one = charge(price, count, flow, carried=carried, maker=maker, schedule=schedule)
        model = -(
            -schedule.rate(maker=maker) * count * price * (PAYOUT - price) // (10**12 * CONTRACT * PAYOUT)
        )
        carried, total, model_total = one.carried, total + one.fee, model_total + model
        balance += flow - one.fee
        assert one.fee >= 0
        assert balance % schedule.precision == 0
        assert total == model_total + carried


def test_series_and_events_set_the_terms() -> None:
    """A multiplier scales the fee, a type decides whether makers pay, an unknown type is not guessed at."""
    half = DIRECT_MEMBER.for_series("quadratic", 500_000)
    assert fee(50 * CENT, 100 * CONTRACT, schedule=half) == usd("0.875")
    assert fee(50 * CENT, 100 * CONTRACT, maker=True, schedule=half) == 0
    makers = DIRECT_MEMBER.for_series("quadratic_with_combo_maker_fees", 2_000_000)
    assert fee(50 * CENT, 100 * CONTRACT, maker=True, schedule=makers) == usd("0.875")
    assert fee(50 * CENT, 100 * CONTRACT, schedule=DIRECT_MEMBER.for_series("quadratic", 0)) == 0
    with pytest.raises(ValueError, match="no known formula"):
        DIRECT_MEMBER.for_series("flat")
