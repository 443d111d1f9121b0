"""What a model has shown to know beyond the market: its increment weight, its skill, its harm.

One parameter a model, the maximum a posteriori of a logistic regression with offset:

    P(yes) = sigmoid(logit m + weight * (logit f - logit m)),   weight ~ N(tier mean, tier sd^2)

with market price m and forecast f as they were when the question was put. What is compared is paired: the
same questions, the market's loss less that of market and forecast together. Markets of one event move
together, so an event counts once, however many markets it has and however often they were asked about.

*Harm* is a test by betting (Shafer 2021; Waudby-Smith and Ramdas 2024) of "the weight that was in force did
not hurt". It may be looked at after every outcome: a route that does no harm is ever stopped with a
probability of ``1 / HARM_MAX`` at most.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from jurymast.domain.probability import clamp, logit, sigmoid

WEIGHT_MAX: Final = 1.0
"""No model counts for more than itself: between market and forecast, never beyond."""
STEPS_MAX: Final = 50
"""Newton steps with bisection; some six are needed."""
TOLERANCE: Final = 1e-9
HARM_MAX: Final = 20.0
"""Evidence of harm that stops a model: of twenty that do none one is stopped, in all its life."""
STAKES: Final = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Shares of the purse bet on harm, each with a fifth of it: which is best depends on how bad it is."""
SKILL_SD: Final = 0.01
"""Prior standard deviation of a model's skill in nats a question; its mean is none."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A forecast whose market has resolved; probabilities of YES. ``weight`` was in force then."""

    event: str
    forecast: float
    market: float
    yes: bool
    weight: float = 0.0

    @property
    def increment(self) -> float:
        """How far the forecast was from the market, in log-odds."""
        return logit(clamp(self.forecast)) - logit(clamp(self.market))

    def blended(self, weight: float) -> float:
        """The market moved by so much of the forecast."""
        return sigmoid(logit(clamp(self.market)) + weight * self.increment)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its standard error, from so many independent events."""

    mean: float
    sd: float
    events: int


def fitted_weight(
    prior_mean: float, prior_sd: float, record: Sequence[Outcome], discounts: Sequence[float] = ()
) -> Estimate:
    """The increment weight that a record shows, shrunk to its tier's prior; the prior where there is none.

    The mode of the posterior and its curvature (Laplace). An event counts as one observation,
    or as much less as its ``discounts`` say, one for each forecast.
    """
    shares = event_shares(record)
    if discounts:
        shares = [share * discount for share, discount in zip(shares, discounts, strict=True)]
    if prior_sd <= 0.0 or not record:
        return Estimate(prior_mean, prior_sd, len({each.event for each in record}))
    points = [
        (logit(clamp(each.market)), each.increment, each.yes, share)
        for each, share in zip(record, shares, strict=True)
    ]
    precision = prior_sd**-2
    # The posterior is log-concave: its slope falls, and its only root lies between these.
    low, high = -_REACH * prior_sd + prior_mean, _REACH * prior_sd + prior_mean
    weight = prior_mean
    for _ in range(STEPS_MAX):
        slope, curvature = (prior_mean - weight) * precision, precision
        for offset, increment, yes, share in points:
            probability = sigmoid(offset + weight * increment)
            slope += share * increment * (yes - probability)
            curvature += share * increment * increment * probability * (1.0 - probability)
        if slope > 0:
            low = weight
        else:
            high = weight
        step = weight + slope / curvature
        step = step if low < step < high else (low + high) / 2
        if abs(step - weight) < TOLERANCE:
            break
        weight = step
    return Estimate(weight, curvature**-0.5, len({each.event for each in record}))


_REACH: Final = 1e4


def event_shares(record: Sequence[Outcome]) -> list[float]:
    """What each forecast counts, so that the forecasts of one event count one together."""
    counts: dict[str, int] = {}
    for each in record:
        counts[each.event] = counts.get(each.event, 0) + 1
    return [1.0 / counts[each.event] for each in record]


def log_gain(outcome: Outcome, weight: float) -> float:
    """By how much market and forecast together beat the market alone, in nats; below 0 they lose."""
    ours, market = outcome.blended(weight), clamp(outcome.market)
    return math.log(ours / market) if outcome.yes else math.log((1.0 - ours) / (1.0 - market))


def brier_gain(outcome: Outcome, weight: float) -> float:
    """The same in Brier score."""
    ours, market, yes = outcome.blended(weight), clamp(outcome.market), float(outcome.yes)
    return (market - yes) ** 2 - (ours - yes) ** 2


def per_event(record: Iterable[Outcome], values: Iterable[float]) -> dict[str, float]:
    """The mean of some values over each event."""
    sums: dict[str, tuple[float, int]] = {}
    for outcome, value in zip(record, values, strict=True):
        total, count = sums.get(outcome.event, (0.0, 0))
        sums[outcome.event] = (total + value, count + 1)
    return {event: total / count for event, (total, count) in sums.items()}


def shrunk_skill(gains: Sequence[float], prior_sd: float = SKILL_SD) -> Estimate:
    """Mean gain over the market, one value an event, shrunk to none (empirical Bayes, known prior)."""
    n = len(gains)
    if n < 2:
        return Estimate(0.0, prior_sd, n)
    mean = sum(gains) / n
    variance = sum((gain - mean) ** 2 for gain in gains) / (n - 1)
    if variance == 0.0:  # as it is where nothing was staked
        return Estimate(mean if mean else 0.0, 0.0 if mean else prior_sd, n)
    precision = n / variance + prior_sd**-2
    return Estimate(n * mean / variance / precision, precision**-0.5, n)


def harm(record: Iterable[Outcome]) -> float:
    """Largest evidence so far that the weights in force have hurt; 1 without any. In order of resolution.

    Of an event only what resolved first counts: what is known of it then is no news for the rest. The bet on
    an outcome is fixed before it: ``stake * gain / largest gain possible`` is lost, at most the stake.
    """
    purses, largest = [1.0 / len(STAKES)] * len(STAKES), 1.0
    seen: set[str] = set()
    for outcome in record:
        if outcome.event in seen or outcome.weight <= 0.0:
            continue
        ours, market = outcome.blended(outcome.weight), clamp(outcome.market)
        gains = math.log(ours / market), math.log((1.0 - ours) / (1.0 - market))
        if max(gains) <= 0.0:
            continue  # the forecast was the market's
        seen.add(outcome.event)
        lost = gains[0 if outcome.yes else 1] / max(gains)
        purses = [purse * (1.0 - stake * lost) for purse, stake in zip(purses, STAKES, strict=True)]
        largest = max(largest, sum(purses))
    return largest
