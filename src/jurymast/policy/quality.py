"""What an opinion is worth: the weight of a model's disagreement with the market.

The market price is the forecast to beat, so a model moves our probability only by its increment:
``logit p = logit m + weight * (logit f - logit m)``. Until a model has a record of its own the weight is
its tier's prior. A small model's is zero: it can't open risk, whatever it says and whatever its record.

Who stands in for another may be worth less, and is less known: its size is that of the other times

    share = (bound / weight of the other)^2,   bound = mean - sqrt(max(0, sd^2 - sd of the other^2))

for a Kelly bettor's growth is quadratic in the edge. What is as uncertain about both is not held against the
one that answers; see docs/decisions/0011.

Opinions that differ say that nobody knows: their spread adds to the standard error, and beyond
``RANGE_PCT_MAX``, or when they are on different sides of the price, there is no trade.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from jurymast.domain.decision import Decision, Opinion, Weight
from jurymast.domain.probability import clamp, logit, sigmoid
from jurymast.domain.provider import Tier

INTERVAL_SDS = 2.56
"""Width of an 80 % interval in standard deviations."""
MODEL_SD_MIN = 0.4
"""Least uncertainty, in log-odds, that any model's opinion is credited with: all are overconfident."""
RANGE_PCT_MAX: Final = 25
"""Percent between the lowest and the highest opinion, beyond which nobody knows."""
NEGATION_GAP_PCT_MAX: Final = 15
"""Percent by which a question's and its negation's probabilities may miss 100: more is acquiescence."""
CORRELATION: Final = 0.6
"""Of two models' errors (Kim et al., ICML 2025: when both err they agree in 60 %)."""

TIER_WEIGHTS: Final[Mapping[Tier, Weight]] = {
    Tier.STRONG: Weight(0.20, 0.10),
    Tier.MID: Weight(0.10, 0.10),
    Tier.SMALL: Weight(0.0, 0.0),
}


@dataclass(frozen=True, slots=True)
class Belief:
    """Our probability of YES and its standard error."""

    probability: float
    error: float


@dataclass(frozen=True, slots=True)
class Meant:
    """What a model is taken to mean: probability of YES and the ends of its 80 % range, calibrated."""

    probability: float
    low: float
    high: float


def weight_of(decision: Decision) -> Weight:
    """The weight of whoever answered: that of its record, or its tier's prior; a small model's is none."""
    prior = TIER_WEIGHTS[decision.tier]
    return prior if decision.weight is None or decision.tier is Tier.SMALL else decision.weight


def meant(decision: Decision) -> Meant:
    """The forecast as the model's record says it is to be read, with what its negation and others add to it.

    Opinions of others move its centre by their weights, in log-odds; its range keeps its width.
    """
    weight, forecast = weight_of(decision), decision.forecast
    ends = (forecast.probability, forecast.low_pct / 100, forecast.high_pct / 100)
    moved = _moved(decision, weight)
    if moved == 0.0 and (weight.shift, weight.slope) == (0.0, 1.0):
        return Meant(*ends)
    return Meant(*(sigmoid(weight.shift + weight.slope * logit(clamp(end)) + moved) for end in ends))


def _moved(decision: Decision, weight: Weight) -> float:
    """By how much the negated question and other models' opinions move a forecast, in log-odds."""
    said = logit(clamp(decision.forecast.probability))
    own = weight.shift + weight.slope * said
    moved = 0.0
    if decision.negated_pct is not None:  # half of the way to what the negated question says of this one
        both = (decision.forecast.probability + 1 - decision.negated_pct / 100) / 2
        moved = weight.slope * (logit(clamp(both)) - said)
    counted = [each for each in decision.beside if _standing(each) > 0.0]
    if not counted or weight.used <= 0.0:
        return moved
    whole = weight.used + sum(each.weight.used for each in counted)
    others = (
        each.weight.used * (each.weight.shift + each.weight.slope * logit(clamp(each.probability_pct / 100)))
        for each in counted
    )
    return (weight.used * (own + moved) + sum(others)) / whole - own


def blend(market: float, forecast: float, low: float, high: float, weight: float) -> Belief:
    """Combine market price and forecast (all probabilities of YES) by the increment weight."""
    market, forecast = clamp(market), clamp(forecast)
    probability = sigmoid(logit(market) + weight * (logit(forecast) - logit(market)))
    spread = (logit(clamp(high)) - logit(clamp(low))) / INTERVAL_SDS
    slope = probability * (1 - probability)
    return Belief(probability, slope * weight * max(spread, MODEL_SD_MIN))


def share_standing_in(stand_in: Weight, instead_of: Weight) -> float:
    """Share of the size that a stand-in has, 0 to 1. None is worse than nobody."""
    if instead_of.used <= 0.0:
        return 1.0
    bound = stand_in.used - math.sqrt(max(0.0, stand_in.sd**2 - instead_of.sd**2))
    return min(1.0, max(0.0, bound) / instead_of.used) ** 2


def share_of(decision: Decision) -> float:
    """Share of the size that whoever answered has earned, 1 for the one that is asked first."""
    if decision.instead_of is None:
        return 1.0
    return share_standing_in(weight_of(decision), decision.instead_of)


def spread_error(decision: Decision) -> float:
    """Standard error, as a probability, that other opinions add: that of their mean."""
    said = [(decision.forecast.probability, weight_of(decision).used)]
    said += [(each.probability_pct / 100, _standing(each)) for each in decision.beside]
    counted = [(probability, weight) for probability, weight in said if weight > 0.0]
    if len(counted) < 2:
        return 0.0
    whole, k = sum(weight for _, weight in counted), len(counted)
    mean = sum(weight * probability for probability, weight in counted) / whole
    variance = sum(weight * (probability - mean) ** 2 for probability, weight in counted) / whole
    return math.sqrt(variance * (1 + (k - 1) * CORRELATION) / k)


def differing(decision: Decision, market: float) -> str:
    """Why the opinions of a question are too different to act on; empty when they are not.

    A small model has no weight, but it may say no: when it is far away and on the other side of the price.
    """
    ours = decision.forecast.probability_pct
    if decision.negated_pct is not None and abs(ours + decision.negated_pct - 100) > NEGATION_GAP_PCT_MAX:
        return f"{ours} % of the question and {decision.negated_pct} % of its negation"
    for each in decision.beside:
        far = abs(each.probability_pct - ours) > RANGE_PCT_MAX
        across = (each.probability_pct / 100 - market) * (ours / 100 - market) < 0
        if (far and across) if _standing(each) <= 0.0 else (far or across):
            return f"{each.route} says {each.probability_pct} %, {decision.route} {ours} %"
    said = [ours, *(each.probability_pct for each in decision.beside if _standing(each) > 0.0)]
    if max(said) - min(said) > RANGE_PCT_MAX:
        return f"opinions from {min(said)} to {max(said)} %"
    return ""


def _standing(opinion: Opinion) -> float:
    return 0.0 if opinion.tier is Tier.SMALL else opinion.weight.used
