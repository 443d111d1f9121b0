"""Calibration: a line in log-odds, shrunk to what was believed before, as a search would find it."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurymast.domain.probability import sigmoid
from jurymast.policy.calibration import IDENTITY, SHIFT_SD, SLOPE_SD, Line, by_category, fitted_line
from jurymast.policy.skill import Outcome

OUTCOMES = st.builds(
    Outcome,
    event=st.sampled_from("abcdefgh"),
    forecast=st.floats(0.01, 0.99),
    market=st.just(0.5),
    yes=st.booleans(),
)


def loss(line: Line, record: list[Outcome], prior: Line = IDENTITY) -> float:
    """Negative log posterior by its definition."""
    total = ((line.shift - prior.shift) / SHIFT_SD) ** 2 / 2 + (
        (line.slope - prior.slope) / SLOPE_SD
    ) ** 2 / 2
    for each in record:
        count = sum(other.event == each.event for other in record)
        said = math.log(each.forecast / (1 - each.forecast))
        probability = sigmoid(line.shift + line.slope * said)
        total -= math.log(probability if each.yes else 1 - probability) / count
    return total


@given(record=st.lists(OUTCOMES, max_size=20))
def test_no_line_nearby_is_better(record: list[Outcome]) -> None:
    """The mode of the posterior: a step in any direction is worse."""
    found = fitted_line(record)
    best = loss(found, record)
    for angle in range(16):
        for step in (0.3, 0.01):
            aside = Line(
                found.shift + step * math.cos(angle * math.pi / 8),
                found.slope + step * math.sin(angle * math.pi / 8),
            )
            assert loss(aside, record) > best


def test_nothing_is_calibrated_without_outcomes() -> None:
    """What a model says is what it means until it has been seen to be otherwise."""
    assert fitted_line([]) == IDENTITY
    assert Line().calibrated(0.7) == pytest.approx(0.7)


def test_who_exaggerates_gets_a_slope_below_one() -> None:
    """A model that says twice too extreme things is read as half as extreme."""
    random, record = Random(1), []
    for event in range(1_500):
        truth = random.gauss(0, 1)
        record.append(Outcome(str(event), sigmoid(2 * truth), 0.5, random.random() < sigmoid(truth)))
    assert fitted_line(record).slope == pytest.approx(0.5, abs=0.1)


def test_a_category_with_few_outcomes_is_read_as_the_rest() -> None:
    """From model to category: one outcome moves a category's line less than its own hundred would."""
    many = [("sports", Outcome(f"s{n}", 0.7, 0.5, n % 5 == 0)) for n in range(200)]
    whole, lines = by_category([*many, ("politics", Outcome("p", 0.7, 0.5, True))])
    assert lines["politics"].calibrated(0.7) == pytest.approx(whole.calibrated(0.7), abs=0.03)
    assert whole.calibrated(0.7) < 0.5
    alone = fitted_line([Outcome("p", 0.7, 0.5, True)])
    assert abs(lines["politics"].shift - whole.shift) <= abs(alone.shift) + 0.05
