"""Money: whole micro-dollars in, readable text out."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurymast.domain.money import (
    CENT,
    CONTRACT,
    PAYOUT,
    USD,
    Micros,
    format_cents,
    format_contracts,
    format_usd,
    notional,
    usd,
)


@pytest.mark.parametrize(
    ("amount", "micros"),
    [
        ("1", USD),
        (25, 25 * USD),
        ("0.000001", 1),
        ("-3.50", -3_500_000),
        (Decimal("0.0175"), 17_500),
        ("1e3", 1_000 * USD),
        ("0", 0),
    ],
)
def test_dollars_become_micro_dollars(amount: str | int | Decimal, micros: Micros) -> None:
    """Amounts down to a millionth of a dollar are exact."""
    assert usd(amount) == micros
    assert type(usd(amount)) is int


@pytest.mark.parametrize(
    "amount", ["0.0000001", "1.2345678", "NaN", "Infinity", "-inf", "", "ten", "$5", "1,000"]
)
def test_what_is_no_amount_is_refused(amount: str) -> None:
    """Less than a micro-dollar, infinities and words are errors, never rounded or guessed."""
    with pytest.raises(ValueError, match="dollars"):
        usd(amount)


@given(micros=st.integers(-(10**15), 10**15))
def test_amounts_survive_their_text(micros: Micros) -> None:
    """Written with six places and read again, an amount is the same."""
    text = format_usd(micros, places=6).replace("$", "").replace(",", "")
    assert usd(text) == micros


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (1_234_560_000, "$1,234.56"),
        (-70_000, "-$0.07"),
        (5_000, "$0.00"),
        (15_000, "$0.02"),
        (25_000, "$0.02"),
        (0, "$0.00"),
    ],
)
def test_amounts_are_written_in_cents(micros: Micros, text: str) -> None:
    """Rounded half to even, with thousands set apart and the sign before the dollar."""
    assert format_usd(micros) == text


def test_signs_and_places_can_be_asked_for() -> None:
    """Profits show their sign, small costs more places."""
    assert format_usd(3 * USD, sign=True) == "+$3.00"
    assert format_usd(-3 * USD, sign=True) == "-$3.00"
    assert format_usd(60, places=5) == "$0.00006"


def test_prices_and_counts_are_written_as_traders_write_them() -> None:
    """Cents without trailing zeros, contracts likewise."""
    assert [format_cents(price) for price in (62 * CENT, 61 * CENT + 5_000, 50 * CENT, 0, PAYOUT)] == [
        "62c",
        "61.5c",
        "50c",
        "0c",
        "100c",
    ]
    assert [format_contracts(count) for count in (12 * CONTRACT, 50, 100 * CONTRACT)] == ["12", "0.5", "100"]


@given(price=st.integers(0, PAYOUT), count=st.integers(0, 10**9))
def test_a_cost_is_never_understated(price: Micros, count: int) -> None:
    """Price times quantity is rounded up, by less than a micro-dollar."""
    exact = Decimal(price) * count / CONTRACT
    assert exact <= notional(price, count) < exact + 1
