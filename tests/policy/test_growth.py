"""What ways of finding a weight earn, on a stylised market: shapes of the published table, not digits.

A market and a model each read the truth with noise of their own; the bettor stakes a quarter of Kelly where
two cents are left after half a spread of a cent and the fee. SIMULATED.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random
from statistics import mean, stdev

import pytest

from jurymast.domain.probability import logit, sigmoid
from jurymast.policy.calibration import IDENTITY, Line, fitted_line
from jurymast.policy.skill import Outcome, fitted_weight

TRUTH_SD, MARKET_NOISE = 1.2, 0.35
MARKETS = 400
RUNS = 24


@dataclass(frozen=True, slots=True)
class Model:
    """How noisily it reads the truth in log-odds, and by how much it exaggerates."""

    noise: float
    exaggerates: float = 1.0


STRONG, MEDIUM, WEAK = Model(0.6), Model(1.0), Model(1.8)
OVERCONFIDENT = Model(1.8, 1.6)


def drawn(random: Random, model: Model) -> tuple[float, float, float]:
    """Truth, market and model, in log-odds."""
    truth = random.gauss(0, TRUTH_SD)
    said = (truth + random.gauss(0, model.noise)) * model.exaggerates
    return truth, truth + random.gauss(0, MARKET_NOISE), said


def history(random: Random, model: Model, count: int) -> list[Outcome]:
    record = []
    for event in range(count):
        truth, market, said = drawn(random, model)
        record.append(Outcome(str(event), sigmoid(said), sigmoid(market), random.random() < sigmoid(truth)))
    return record


def growth_bp(random: Random, model: Model, weight: float, line: Line = IDENTITY) -> float:
    """Expected growth a market, in hundredths of a percent: over both outcomes, so that luck is none."""
    total = 0.0
    for _ in range(MARKETS):
        truth, market, said = drawn(random, model)
        meant = line.shift + line.slope * said
        ours = sigmoid(market + weight * (meant - market))
        total += expected_growth(ours, sigmoid(market), sigmoid(truth))
    return 1e4 * total / MARKETS


def expected_growth(ours: float, market: float, truth: float) -> float:
    sides = []
    for yes in (True, False):
        price = (market if yes else 1 - market) + 0.01
        price = min(price + 0.07 * price * (1 - price), 0.99)
        sides.append(((ours if yes else 1 - ours) - price, price, truth if yes else 1 - truth))
    edge, price, truth = max(sides)
    if edge < 0.02:
        return 0.0
    stake = 0.25 * edge / (1 - price)
    return truth * math.log1p(stake * (1 - price) / price) + (1 - truth) * math.log1p(-stake)


def interval(values: list[float]) -> tuple[float, float]:
    """95 % of the mean."""
    error = 1.96 * stdev(values) / math.sqrt(len(values))
    return mean(values) - error, mean(values) + error


def runs(model: Model, count: int, how: str) -> list[float]:
    found = []
    for seed in range(RUNS):
        random = Random(seed)
        record = history(random, model, count)
        line = IDENTITY
        if how == "calibrated":
            line = fitted_line(record)
            record = [Outcome(o.event, line.calibrated(o.forecast), o.market, o.yes) for o in record]
        estimate = fitted_weight(0.15, 0.1, record)
        lower = max(0.0, estimate.mean - estimate.sd)
        weight = {"raw": 1.0, "lower": lower}.get(how, max(0.0, estimate.mean))
        found.append(growth_bp(random, model, weight, line))
    return found


@pytest.mark.parametrize("model", [MEDIUM, WEAK, OVERCONFIDENT], ids=["medium", "weak", "overconfident"])
def test_betting_on_what_is_said_loses(model: Model) -> None:
    """p = f is ruin for anything but a strong model; a learned weight loses far less or nothing."""
    assert interval(runs(model, 200, "raw"))[1] < 0
    assert interval(runs(model, 200, "mean"))[0] > interval(runs(model, 200, "raw"))[1]


def test_a_strong_model_earns_by_its_mean() -> None:
    """With two hundred outcomes, and more with a thousand."""
    few, many = runs(STRONG, 200, "mean"), runs(STRONG, 1_000, "mean")
    assert interval(few)[0] > 0
    assert mean(many) > mean(few)


@pytest.mark.parametrize("model", [STRONG, WEAK], ids=["strong", "weak"])
def test_the_lower_bound_gives_up_profit_for_a_floor(model: Model) -> None:
    """At twenty outcomes little is earned by it and little lost, where the mean earns or loses."""
    lower, middle = runs(model, 20, "lower"), runs(model, 20, "mean")
    assert abs(mean(lower)) < abs(mean(middle)) / 2


def test_too_high_a_prior_costs_a_weak_model_dear() -> None:
    """The prior of a tier has to be low: at 20 outcomes its mean loses, and a thousand mend it."""
    assert interval(runs(WEAK, 20, "mean"))[1] < 0
    assert mean(runs(WEAK, 1_000, "mean")) > mean(runs(WEAK, 20, "mean"))


def test_calibration_mends_exaggeration() -> None:
    """A weak model that exaggerates loses without its line and not with it."""
    assert interval(runs(OVERCONFIDENT, 200, "mean"))[1] < interval(runs(OVERCONFIDENT, 200, "calibrated"))[0]
    assert logit(fitted_line(history(Random(0), OVERCONFIDENT, 1_000)).calibrated(0.9)) < logit(0.9)
