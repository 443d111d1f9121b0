"""Probabilities: away from certainty, and back and forth on the log-odds scale."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurymast.domain.money import CENT
from jurymast.domain.probability import brier, clamp, from_price, logit, sigmoid


@given(probability=st.floats(1e-6, 1 - 1e-6))
def test_log_odds_and_back(probability: float) -> None:
    """The two scales are each other's inverse, and asking the other way round changes the sign."""
    assert sigmoid(logit(probability)) == pytest.approx(probability)
    assert logit(1 - probability) == pytest.approx(-logit(probability), abs=1e-6)


@given(log_odds=st.floats(-1e6, 1e6))
def test_any_log_odds_are_a_probability(log_odds: float) -> None:
    """However large the magnitude, nothing overflows."""
    assert 0 <= sigmoid(log_odds) <= 1
    assert sigmoid(log_odds) + sigmoid(-log_odds) == pytest.approx(1)


@given(probability=st.floats(allow_nan=False))
def test_certainty_is_never_reached(probability: float) -> None:
    """Anything becomes a probability from one to 99 percent, what lies between is untouched."""
    kept = clamp(probability)
    assert 0.01 <= kept <= 0.99
    if 0.01 <= probability <= 0.99:
        assert kept == probability


def test_nan_is_no_probability() -> None:
    """NaN is refused: it would pass through min and max."""
    with pytest.raises(ValueError, match="NaN"):
        clamp(math.nan)


def test_prices_are_probabilities() -> None:
    """A cent is a percent, within one and 99."""
    assert [from_price(cents * CENT) for cents in (0, 1, 62, 99, 100)] == [0.01, 0.01, 0.62, 0.99, 0.99]


def test_brier_is_the_squared_error() -> None:
    """Right and sure is nothing, a coin a quarter, wrong and sure one."""
    assert [brier(1.0, True), brier(0.5, False), brier(0.0, True)] == [0, 0.25, 1]
