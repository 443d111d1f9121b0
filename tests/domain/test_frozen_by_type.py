"""Values: like frozen dataclasses to the type checker, cheaper to make."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jurymast.domain.value import value


@value
class Price:
    """For the tests."""

    low: int
    high: int = 9


def test_values_are_compared_hashed_and_replaced_by_their_fields() -> None:
    """Like those of any frozen dataclass."""
    assert Price(1) == Price(1, 9) != Price(2)
    assert {Price(1), Price(1, 9), Price(2)} == {Price(1), Price(2)}
    assert replace(Price(1), high=3) == Price(1, 3)
    assert repr(Price(1)) == "Price(low=1, high=9)"


def test_a_field_that_is_none_can_not_be_set() -> None:
    """They have slots, so a slip of the pen is an error."""
    with pytest.raises(AttributeError):
        Price(1).lo = 2  # type: ignore[attr-defined]  # what is tested


def test_the_type_checker_refuses_an_assignment() -> None:
    """It reports an ignore that it has no use for, so this line fails its check when it no longer refuses."""
    price = Price(1)
    price.low = 2  # type: ignore[misc]  # what is tested
    assert price.low == 2
