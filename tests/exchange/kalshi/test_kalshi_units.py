"""Fixed-point text becomes whole numbers, exactly or not at all; prices keep to the market's own grid."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurymast.domain.money import CENT, PAYOUT, usd
from jurymast.exchange.kalshi.units import (
    PriceGrid,
    PriceRange,
    centi,
    count_text,
    dollars_text,
    micros,
)

LINEAR = PriceGrid.of([PriceRange(0, PAYOUT, CENT)])
TAPERED = PriceGrid.of(
    [
        PriceRange(90 * CENT, PAYOUT, CENT // 10),
        PriceRange(0, 10 * CENT, CENT // 10),
        PriceRange(10 * CENT, 90 * CENT, CENT),
    ]
)
grids = st.sampled_from([LINEAR, TAPERED])
prices = st.integers(min_value=0, max_value=PAYOUT)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.5600", 560_000),
        ("1", 1_000_000),
        ("0.015930", 15_930),
        ("-0.000001", -1),
        ("12.3400000", 12_340_000),
    ],
)
def test_dollars_are_read_exactly(text: str, expected: int) -> None:
    """Dollar texts become micro-dollars, with as many decimals as Kalshi sends."""
    assert micros(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", " 1", "1.", ".5", "1e3", "0.0000001", "NaN", "+1", "1,000", 0.5, 1, None, True, "٣", "1" * 30],
)
def test_what_is_not_exact_is_refused(text: object) -> None:
    """Numbers, exponents, blanks and too many decimals are refused, never rounded."""
    with pytest.raises(ValueError, match=r"fixed-point|decimals"):
        micros(text)


def test_contracts_have_two_decimals() -> None:
    """Counts become centi-contracts; a third decimal is refused."""
    assert centi("227.27") == 22_727
    assert centi("-0.32") == -32
    with pytest.raises(ValueError, match="more than 2"):
        centi("1.005")


@given(st.integers(min_value=0, max_value=10_000))
def test_prices_survive_the_wire(hundredths_of_cents: int) -> None:
    """Every price with four decimals is written and read back as the same price."""
    price = hundredths_of_cents * 100
    assert micros(dollars_text(price)) == price
    assert Decimal(dollars_text(price)) * 1_000_000 == price


@given(st.integers(min_value=0, max_value=10**12))
def test_counts_survive_the_wire(count: int) -> None:
    """Every count is written and read back as the same count."""
    assert centi(count_text(count)) == count


@pytest.mark.parametrize("price", [1, 99, 560_001, -100])
def test_a_price_too_fine_for_a_request_is_refused(price: int) -> None:
    """A price that would have to be rounded isn't sent."""
    with pytest.raises(ValueError, match="four decimals"):
        dollars_text(price)


def test_a_negative_count_is_not_sent() -> None:
    """There is no order for less than nothing."""
    with pytest.raises(ValueError, match="negative"):
        count_text(-1)


def test_ticks_come_from_the_ranges() -> None:
    """A market with finer ticks at the edges takes them there and nowhere else."""
    assert TAPERED.accepts(usd("0.095"))
    assert not TAPERED.accepts(usd("0.105"))
    assert TAPERED.accepts(usd("0.905"))
    assert not LINEAR.accepts(usd("0.905"))
    assert not LINEAR.accepts(0)
    assert not LINEAR.accepts(PAYOUT)
    assert TAPERED.at_most(usd("0.1055")) == usd("0.10")
    assert TAPERED.at_least(usd("0.1055")) == usd("0.11")
    assert LINEAR.at_most(PAYOUT) == usd("0.99")
    assert LINEAR.at_least(0) == usd("0.01")
    assert LINEAR.at_most(usd("0.0099")) is None
    assert LINEAR.at_least(usd("0.9901")) is None


@given(grids, prices)
def test_neighbours_on_the_grid(grid: PriceGrid, price: int) -> None:
    """The nearest prices below and above are on the grid, and a price on the grid is its own neighbour."""
    below, above = grid.at_most(price), grid.at_least(price)
    assert below is None or (below <= price and grid.accepts(below))
    assert above is None or (above >= price and grid.accepts(above))
    if grid.accepts(price):
        assert below == above == price
    elif below is not None and above is not None:
        assert not any(grid.accepts(between) for between in range(below + 100, above, 100))


@pytest.mark.parametrize(
    "ranges",
    [
        [],
        [PriceRange(0, 10, 1), PriceRange(20, 30, 1)],
        [PriceRange(0, 20, 1), PriceRange(10, 30, 1)],
    ],
)
def test_a_grid_with_holes_is_refused(ranges: list[PriceRange]) -> None:
    """Ranges that leave a gap or overlap are not guessed at."""
    with pytest.raises(ValueError, match="price ranges"):
        PriceGrid.of(ranges)


@pytest.mark.parametrize("bounds", [(5, 5, 1), (0, 10, 0), (0, PAYOUT + 1, 1), (0, 10, 11)])
def test_a_range_without_prices_is_refused(bounds: tuple[int, int, int]) -> None:
    """A range has a width, a step that fits into it, and stays between $0 and $1."""
    with pytest.raises(ValueError, match="price range"):
        PriceRange(*bounds)
