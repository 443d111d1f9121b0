"""What a model has shown to know: against brute force, and as a test that may be looked at at any time."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurymast.domain.probability import sigmoid
from jurymast.policy.skill import (
    HARM_MAX,
    Outcome,
    brier_gain,
    event_shares,
    fitted_weight,
    harm,
    log_gain,
    per_event,
    shrunk_skill,
)

PROBABILITIES = st.floats(0.01, 0.99)
OUTCOMES = st.builds(
    Outcome,
    event=st.sampled_from("abcdefgh"),
    forecast=PROBABILITIES,
    market=PROBABILITIES,
    yes=st.booleans(),
)
RECORDS = st.lists(OUTCOMES, max_size=40)


def brute_mode(mean: float, sd: float, record: list[Outcome]) -> tuple[float, float]:
    """Mode and standard deviation of the posterior on a grid, by the definition and nothing else."""
    counts = [sum(other.event == each.event for other in record) for each in record]
    grid = [mean + sd * step / 400 for step in range(-4000, 4001)]

    def log_posterior(weight: float) -> float:
        total = -((weight - mean) ** 2) / (2 * sd * sd)
        for each, count in zip(record, counts, strict=True):
            market = math.log(each.market / (1 - each.market))
            increment = math.log(each.forecast / (1 - each.forecast)) - market
            probability = sigmoid(market + weight * increment)
            total += math.log(probability if each.yes else 1 - probability) / count
        return total

    best = max(grid, key=log_posterior)
    step = sd / 400
    bend = log_posterior(best + step) - 2 * log_posterior(best) + log_posterior(best - step)
    return best, (-bend / step**2) ** -0.5


@given(record=st.lists(OUTCOMES, min_size=1, max_size=12), mean=st.floats(0.0, 0.3), sd=st.floats(0.05, 0.2))
def test_the_weight_is_the_mode_of_its_posterior(record: list[Outcome], mean: float, sd: float) -> None:
    """Newton finds what a search over every weight finds."""
    found = fitted_weight(mean, sd, record)
    weight, spread = brute_mode(mean, sd, record)
    assert found.mean == pytest.approx(weight, abs=sd / 200)
    assert found.sd == pytest.approx(spread, rel=0.02)


@given(record=RECORDS)
def test_a_weight_is_finite_and_no_less_sure_than_its_prior(record: list[Outcome]) -> None:
    """Outcomes only narrow what is known; nothing overflows."""
    found = fitted_weight(0.1, 0.1, record)
    assert math.isfinite(found.mean)
    assert 0 < found.sd <= 0.1 + 1e-12
    assert found.events == len({each.event for each in record})


def test_without_a_record_the_weight_is_the_prior() -> None:
    """Nothing was seen, so nothing was learned."""
    assert (fitted_weight(0.2, 0.1, []).mean, fitted_weight(0.2, 0.1, []).sd) == (0.2, 0.1)
    assert fitted_weight(0.0, 0.0, [Outcome("a", 0.9, 0.5, True)]).mean == 0.0


def test_an_event_counts_once() -> None:
    """Ten markets of one event teach as much as one of them."""
    one = [Outcome("a", 0.9, 0.5, True)]
    ten = one * 10
    assert event_shares(ten) == [0.1] * 10
    assert fitted_weight(0.1, 0.1, ten).mean == pytest.approx(fitted_weight(0.1, 0.1, one).mean)


def test_who_knows_more_earns_more_weight() -> None:
    """A model that is right against the market gains weight, one that is wrong loses it."""
    right = [Outcome(str(n), 0.8, 0.5, True) for n in range(100)]
    wrong = [Outcome(str(n), 0.8, 0.5, False) for n in range(100)]
    assert fitted_weight(0.1, 0.1, right).mean > 0.2
    assert fitted_weight(0.1, 0.1, wrong).mean < 0.0


@given(outcome=OUTCOMES, weight=st.floats(0, 1))
def test_gains_are_paired_with_the_market(outcome: Outcome, weight: float) -> None:
    """A gain is the market's loss less ours on the same outcome; with no weight there is none."""
    ours, market = outcome.blended(weight), outcome.market
    hit = (ours, market) if outcome.yes else (1 - ours, 1 - market)
    assert log_gain(outcome, weight) == pytest.approx(math.log(hit[0]) - math.log(hit[1]), abs=1e-9)
    assert brier_gain(outcome, weight) == pytest.approx((1 - hit[1]) ** 2 - (1 - hit[0]) ** 2, abs=1e-9)
    assert log_gain(outcome, 0.0) == pytest.approx(0.0, abs=1e-12)


def test_gains_are_averaged_over_an_event() -> None:
    """Markets of one event are one observation."""
    record = [Outcome("a", 0.6, 0.5, True), Outcome("a", 0.6, 0.5, False), Outcome("b", 0.7, 0.5, True)]
    assert per_event(record, [1.0, 3.0, 5.0]) == {"a": 2.0, "b": 5.0}


def test_skill_is_shrunk_to_none() -> None:
    """Few outcomes say little: the mean is pulled to zero by their variance against the prior's."""
    gains = [0.05, -0.02, 0.04, 0.01]
    mean = sum(gains) / 4
    variance = sum((gain - mean) ** 2 for gain in gains) / 3
    expected = (4 * mean / variance) / (4 / variance + 1 / 0.01**2)
    assert shrunk_skill(gains).mean == pytest.approx(expected)
    assert 0 < shrunk_skill(gains).mean < mean
    assert (shrunk_skill([]).mean, shrunk_skill([0.3]).mean, shrunk_skill([0.0, 0.0]).mean) == (0.0, 0.0, 0.0)


def told(random: Random, count: int, weight: float, noise: float, *, biased: float = 0.0) -> list[Outcome]:
    """Forecasts of a model with noise around a market that is right."""
    record = []
    for event in range(count):
        log_odds = random.gauss(0, 1)
        forecast = sigmoid(log_odds + random.gauss(biased, noise))
        record.append(
            Outcome(str(event), forecast, sigmoid(log_odds), random.random() < sigmoid(log_odds), weight)
        )
    return record


def test_a_model_that_does_no_harm_is_seldom_stopped() -> None:
    """Looked at after each of 300 outcomes, one run in twenty at most is stopped where there is no harm."""
    stopped = 0
    for seed in range(300):
        random = Random(seed)
        record = told(random, 300, 0.1, 1.0)
        fair = [  # outcomes as market and forecast together have them: the increment is worth its weight
            Outcome(o.event, o.forecast, o.market, random.random() < o.blended(0.1), 0.1) for o in record
        ]
        stopped += harm(fair) >= HARM_MAX
    assert stopped <= 300 / HARM_MAX


def test_a_model_that_only_harms_is_stopped() -> None:
    """Its noise is bet on at a weight that it never earned: found out in nine of ten within 1,000 events."""
    runs = [harm(told(Random(seed), 1_000, 0.5, 2.0)) for seed in range(40)]
    assert sum(run >= HARM_MAX for run in runs) >= 36


@given(record=RECORDS)
def test_evidence_of_harm_counts_an_event_once_and_never_falls(record: list[Outcome]) -> None:
    """More outcomes can't make it less; an event that was seen adds nothing, nor does weight nought."""
    weighed = [Outcome(each.event, each.forecast, each.market, each.yes, 0.2) for each in record]
    assert 1.0 <= harm(weighed[:-1]) <= harm(weighed)
    assert harm([*weighed, *weighed]) == harm(weighed)
    assert harm(record) == 1.0
