"""Quality: an opinion moves the market's probability by its weight and no further."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurymast.domain.probability import from_price, logit
from jurymast.domain.provider import Tier
from jurymast.policy.quality import MODEL_SD_MIN, TIER_WEIGHTS, Weight, blend

PROBABILITIES = st.floats(0.01, 0.99)


def test_every_tier_has_its_prior_and_a_small_model_none() -> None:
    """A stronger tier counts for more; a small model can't move the probability at all."""
    priors = {tier: (weight.mean, weight.sd, weight.lower) for tier, weight in TIER_WEIGHTS.items()}
    assert priors == {
        Tier.STRONG: (0.20, 0.10, 0.10),
        Tier.MID: (0.10, 0.10, 0.0),
        Tier.SMALL: (0.0, 0.0, 0.0),
    }


def test_the_lower_weight_is_never_negative() -> None:
    """A prior that may be worthless counts for nothing when judgement is weak; it does not bet against."""
    assert Weight(0.1, 0.3).lower == 0
    assert Weight(0.2, 0.1).lower == pytest.approx(0.1)


@given(market=PROBABILITIES, forecast=PROBABILITIES)
def test_weight_zero_leaves_the_market(market: float, forecast: float) -> None:
    """An opinion without weight changes nothing and claims no error of its own."""
    belief = blend(market, forecast, forecast, forecast, 0.0)
    assert belief.probability == pytest.approx(market, abs=1e-12)
    assert belief.error == 0


@given(market=PROBABILITIES, forecast=PROBABILITIES, weight=st.floats(0, 1), more=st.floats(0, 1))
def test_weight_moves_toward_the_forecast_and_never_beyond(
    market: float, forecast: float, weight: float, more: float
) -> None:
    """The belief lies between market and forecast, nearer to the forecast the more it weighs."""
    light, heavy = sorted((weight, more))
    nearer = blend(market, forecast, forecast, forecast, heavy).probability
    farther = blend(market, forecast, forecast, forecast, light).probability
    for probability in (nearer, farther):
        assert min(market, forecast) - 1e-12 <= probability <= max(market, forecast) + 1e-12
    assert abs(nearer - forecast) <= abs(farther - forecast) + 1e-12


def test_the_increment_adds_up_in_log_odds() -> None:
    """A fifth of the distance in log-odds, as written in the formula."""
    belief = blend(0.40, 0.80, 0.70, 0.90, 0.2)  # an 80 % interval is 2.56 deviations wide
    assert logit(belief.probability) == pytest.approx(logit(0.4) + 0.2 * (logit(0.8) - logit(0.4)))
    slope = belief.probability * (1 - belief.probability)
    assert belief.error == pytest.approx(slope * 0.2 * (logit(0.9) - logit(0.7)) / 2.56)


@given(market=PROBABILITIES, forecast=PROBABILITIES, weight=st.floats(0.01, 1), width=st.floats(0, 0.3))
def test_yes_and_no_are_the_same_question(
    market: float, forecast: float, weight: float, width: float
) -> None:
    """Asked the other way round, the belief is the complement and the error the same."""
    low, high = max(0.01, forecast - width), min(0.99, forecast + width)
    yes = blend(market, forecast, low, high, weight)
    no = blend(1 - market, 1 - forecast, 1 - high, 1 - low, weight)
    assert yes.probability == pytest.approx(1 - no.probability, abs=1e-9)
    assert yes.error == pytest.approx(no.error, abs=1e-9)


@given(forecast=PROBABILITIES, weight=st.floats(0.01, 1), width=st.floats(0, 0.3), more=st.floats(0, 0.3))
def test_a_wider_range_is_a_larger_error(forecast: float, weight: float, width: float, more: float) -> None:
    """Doubt counts: the error grows with the range and never falls below what any model is credited with."""

    def error(half: float) -> float:
        return blend(0.5, forecast, max(0.01, forecast - half), min(0.99, forecast + half), weight).error

    assert error(width + more) >= error(width) - 1e-12
    probability = blend(0.5, forecast, forecast, forecast, weight).probability
    least = probability * (1 - probability) * weight * MODEL_SD_MIN
    assert error(0) == pytest.approx(least)


def test_prices_and_forecasts_at_the_edge_stay_finite() -> None:
    """Certainty, claimed by a price or a model, is read as one percent short of it."""
    sure = blend(from_price(1_000_000), 1.0, 0.0, 1.0, 0.5)
    assert sure.probability == pytest.approx(0.99)
    assert 0 < sure.error < 1
