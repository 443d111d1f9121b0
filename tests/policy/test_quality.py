"""Quality: an opinion moves the market's probability by its weight and no further."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_world import decision_of, exposure_of, snapshot_of

from jurymast.domain.decision import Decision, Opinion, Weight
from jurymast.domain.money import CONTRACT
from jurymast.domain.probability import from_price, logit
from jurymast.domain.provider import ProviderName, Route, Tier
from jurymast.domain.status import EmergencyMode
from jurymast.policy.emergency import TABLE
from jurymast.policy.quality import (
    MODEL_SD_MIN,
    TIER_WEIGHTS,
    blend,
    differing,
    meant,
    share_standing_in,
    spread_error,
    weight_of,
)
from jurymast.policy.sizing import Declined, Sized, belief_of, size

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


def weighed(decision: Decision, **changes: Any) -> Decision:
    return replace(decision, **changes)


def opinion(percent: int, tier: Tier = Tier.STRONG, weight: Weight | None = None) -> Opinion:
    route = Route(ProviderName.OPENAI, "gpt")
    return Opinion(route, "gpt", tier, percent, weight or TIER_WEIGHTS[tier])


WEIGHTS = st.builds(
    Weight,
    st.floats(-0.5, 1.0),
    st.floats(0.01, 0.2),
    events=st.integers(0, 500),
    shift=st.floats(-0.5, 0.5),
    slope=st.floats(0.3, 1.5),
    stopped=st.sampled_from(["", "harm"]),
)
BESIDE = st.lists(st.builds(opinion, st.integers(1, 99), st.sampled_from(Tier), WEIGHTS), max_size=3).map(
    tuple
)


@given(weight=WEIGHTS, percent=st.integers(1, 99), beside=BESIDE, negated=st.none() | st.integers(1, 99))
def test_a_small_model_never_opens_risk(
    weight: Weight, percent: int, beside: tuple[Opinion, ...], negated: int | None
) -> None:
    """Whatever its record says and whoever else agrees with it: its decision is no entry in any mode."""
    decision = weighed(
        decision_of(percent, tier=Tier.SMALL), weight=weight, beside=beside, negated_pct=negated
    )
    for rules in TABLE.values():
        entry = size(decision, snapshot_of(), exposure_of(), rules)
        assert isinstance(entry, Declined)
    assert weight_of(decision).used == 0


@given(percent=st.integers(30, 99), small=st.integers(1, 99), beside=BESIDE)
def test_a_small_model_only_ever_takes_away(percent: int, small: int, beside: tuple[Opinion, ...]) -> None:
    """Beside another's decision it can stop the trade, and never turn it, make it or make it larger."""
    without = weighed(decision_of(percent), beside=beside)
    asked = weighed(without, beside=(*beside, opinion(small, Tier.SMALL, Weight(0.9, 0.01, events=900))))
    entry, with_it = (
        size(each, snapshot_of(), exposure_of(), TABLE[EmergencyMode.NORMAL]) for each in (without, asked)
    )
    assert isinstance(with_it, Declined) or replace(with_it, weighed="") == replace(entry, weighed="")


@given(stand_in=WEIGHTS, first=WEIGHTS)
def test_a_stand_in_never_has_more_than_the_whole_size(stand_in: Weight, first: Weight) -> None:
    """A share between nothing and one, the square of how its weight's bound compares."""
    share = share_standing_in(stand_in, first)
    assert 0.0 <= share <= 1.0
    if first.used and stand_in.used and stand_in.sd <= first.sd:
        assert share == pytest.approx(min(1.0, stand_in.used / first.used) ** 2)


def test_failing_over_costs_what_is_less_known() -> None:
    """Equals stand in in full; half the weight has a quarter; less known has less, stopped none."""
    strong, mid = TIER_WEIGHTS[Tier.STRONG], TIER_WEIGHTS[Tier.MID]
    assert share_standing_in(mid, mid) == 1.0
    assert share_standing_in(mid, strong) == pytest.approx(0.25)
    proven = Weight(0.20, 0.06, events=200)
    assert share_standing_in(strong, proven) == pytest.approx(((0.20 - 0.08) / 0.20) ** 2)
    assert share_standing_in(Weight(0.2, 0.1, stopped="harm"), strong) == 0.0
    assert share_standing_in(mid, Weight(0.2, 0.1, stopped="harm")) == 1.0


def test_the_share_cuts_every_size() -> None:
    """Also where a cap and not Kelly decides: a stand-in of half the weight stakes a quarter."""
    whole = weighed(decision_of(95), weight=Weight(0.2, 0.1))
    stand_in = weighed(whole, instead_of=Weight(0.4, 0.1))
    rules = TABLE[EmergencyMode.NORMAL]
    full, quarter = (size(each, snapshot_of(), exposure_of(), rules) for each in (whole, stand_in))
    assert isinstance(full, Sized)
    assert isinstance(quarter, Sized)
    assert quarter.count == pytest.approx(full.count / 4, abs=CONTRACT)
    assert "25% of the size as it stands in for weight 0.40" in quarter.detail


def test_opinions_that_differ_are_no_trade() -> None:
    """25 points apart, on either side of the price, or a question and its negation that miss 100."""
    at_market = 0.49
    assert not differing(weighed(decision_of(75), beside=(opinion(60),)), at_market)
    assert "opinions" in differing(weighed(decision_of(75), beside=(opinion(90), opinion(62))), at_market)
    assert not differing(weighed(decision_of(75), beside=(opinion(99),)), at_market)
    assert differing(weighed(decision_of(60), beside=(opinion(40),)), at_market)
    assert differing(weighed(decision_of(60), beside=(opinion(90),)), at_market)
    assert not differing(weighed(decision_of(60), beside=(opinion(40, Tier.SMALL),)), at_market)
    assert differing(weighed(decision_of(75), beside=(opinion(40, Tier.SMALL),)), at_market)
    assert not differing(weighed(decision_of(75), negated_pct=40), at_market)
    assert "negation" in differing(weighed(decision_of(75), negated_pct=41), at_market)


def test_the_spread_of_opinions_widens_the_error() -> None:
    """Weighted variance, over as many opinions as correlated ones are worth."""
    both = weighed(decision_of(70), beside=(opinion(60),))
    assert spread_error(both) == pytest.approx((0.05**2 * (1 + 0.6) / 2) ** 0.5)
    assert spread_error(decision_of(70)) == 0.0
    assert spread_error(weighed(decision_of(70), beside=(opinion(60, Tier.SMALL),))) == 0.0
    rules = TABLE[EmergencyMode.NORMAL]
    near = belief_of(weighed(decision_of(70), beside=(opinion(69),)), snapshot_of(), rules)
    far = belief_of(weighed(decision_of(70), beside=(opinion(60),)), snapshot_of(), rules)
    assert far.error > near.error


def test_the_negation_pulls_half_of_the_way() -> None:
    """75 % of the question and 35 % of its negation are read as 70 %."""
    assert meant(weighed(decision_of(75), negated_pct=35)).probability == pytest.approx(0.70)
    assert meant(decision_of(75)).probability == 0.75


def test_a_model_is_read_as_its_record_says() -> None:
    """With a slope of one half 90 % means what 75 % says, and so do the ends of the range."""
    half = weighed(decision_of(90, 80, 95), weight=Weight(0.2, 0.1, slope=0.5))
    assert meant(half).probability == pytest.approx(0.75)
    assert meant(half).low == pytest.approx(2 / 3)
