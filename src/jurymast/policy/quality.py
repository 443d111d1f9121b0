"""What an opinion is worth: the weight of a model's disagreement with the market.

The market price is the forecast to beat, so a model moves our probability only by its increment:
``logit p = logit m + weight * (logit f - logit m)``. Until a model has a record of its own the weight is
its tier's prior. A small model's is zero: it can't open risk, whatever it says.
"""

from __future__ import annotations

from dataclasses import dataclass

from jurymast.domain.probability import clamp, logit, sigmoid
from jurymast.domain.provider import Tier

INTERVAL_SDS = 2.56
"""Width of an 80 % interval in standard deviations."""
MODEL_SD_MIN = 0.4
"""Least uncertainty, in log-odds, that any model's opinion is credited with: all are overconfident."""


@dataclass(frozen=True, slots=True)
class Weight:
    """Prior of the increment weight: mean and standard deviation."""

    mean: float
    sd: float

    @property
    def lower(self) -> float:
        """The mean less one standard deviation, never negative: the weight when judgement is weak."""
        return max(0.0, self.mean - self.sd)


TIER_WEIGHTS = {
    Tier.STRONG: Weight(0.20, 0.10),
    Tier.MID: Weight(0.10, 0.10),
    Tier.SMALL: Weight(0.0, 0.0),
}


@dataclass(frozen=True, slots=True)
class Belief:
    """Our probability of YES and its standard error."""

    probability: float
    error: float


def blend(market: float, forecast: float, low: float, high: float, weight: float) -> Belief:
    """Combine market price and forecast (all probabilities of YES) by the increment weight."""
    market, forecast = clamp(market), clamp(forecast)
    probability = sigmoid(logit(market) + weight * (logit(forecast) - logit(market)))
    spread = (logit(clamp(high)) - logit(clamp(low))) / INTERVAL_SDS
    slope = probability * (1 - probability)
    return Belief(probability, slope * weight * max(spread, MODEL_SD_MIN))
