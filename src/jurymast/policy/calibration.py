"""Calibration of a model's probabilities (Platt 1999) in log-odds, shrunk from model to category.

    l = shift + slope * logit f,   (shift, slope) ~ N((0, 1), diag(0.3^2, 0.25^2))

A model's line is shrunk to the identity, and that of a category of its questions to the model's. With few
outcomes nothing changes; a model that says too extreme things gets a slope below 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from jurymast.domain.probability import clamp, logit, sigmoid
from jurymast.policy.skill import Outcome, event_shares

SHIFT_SD: Final = 0.3
SLOPE_SD: Final = 0.25
STEPS_MAX: Final = 50
HALVINGS_MAX: Final = 30
TOLERANCE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Line:
    """Calibrated log-odds as a line over those that a model gave."""

    shift: float = 0.0
    slope: float = 1.0

    def calibrated(self, probability: float) -> float:
        """The probability that is meant by what was said."""
        return sigmoid(self.shift + self.slope * logit(clamp(probability)))


IDENTITY: Final = Line()


def fitted_line(record: Sequence[Outcome], prior: Line = IDENTITY) -> Line:
    """The mode of the posterior around ``prior``; an event counts as one observation."""
    points = [
        (logit(clamp(each.forecast)), each.yes, share)
        for each, share in zip(record, event_shares(record), strict=True)
    ]
    line, (loss, step) = prior, _look(points, prior, prior)
    for _ in range(STEPS_MAX):
        share = 1.0
        for _ in range(HALVINGS_MAX):
            ahead = Line(line.shift + share * step.shift, line.slope + share * step.slope)
            loss_ahead, step_ahead = _look(points, ahead, prior)
            if loss_ahead <= loss:
                break
            share /= 2
        else:
            return line
        moved = max(abs(ahead.shift - line.shift), abs(ahead.slope - line.slope))
        line, loss, step = ahead, loss_ahead, step_ahead
        if moved < TOLERANCE:
            break
    return line


def by_category(record: Sequence[tuple[str, Outcome]]) -> tuple[Line, dict[str, Line]]:
    """A model's line over everything, and one for each category, shrunk to it."""
    whole = fitted_line([outcome for _, outcome in record])
    sorted_out: dict[str, list[Outcome]] = {}
    for category, outcome in record:
        sorted_out.setdefault(category, []).append(outcome)
    return whole, {category: fitted_line(theirs, whole) for category, theirs in sorted_out.items()}


_Points = Sequence[tuple[float, bool, float]]


def _look(points: _Points, line: Line, prior: Line) -> tuple[float, Line]:
    """Negative log posterior of a line, less a constant, and Newton's step from there."""
    off0, off1 = line.shift - prior.shift, line.slope - prior.slope
    loss = (off0 / SHIFT_SD) ** 2 / 2 + (off1 / SLOPE_SD) ** 2 / 2
    g0, g1 = off0 / SHIFT_SD**2, off1 / SLOPE_SD**2
    h00, h01, h11 = SHIFT_SD**-2, 0.0, SLOPE_SD**-2
    for said, yes, share in points:
        log_odds = line.shift + line.slope * said
        probability = sigmoid(log_odds)
        signed = log_odds if yes else -log_odds
        loss += share * (math.log1p(math.exp(-abs(signed))) + max(-signed, 0.0))
        miss, bend = share * (probability - yes), share * probability * (1.0 - probability)
        g0, g1 = g0 + miss, g1 + miss * said
        h00, h01, h11 = h00 + bend, h01 + bend * said, h11 + bend * said * said
    determinant = h00 * h11 - h01 * h01
    return loss, Line((h01 * g1 - h11 * g0) / determinant, (h01 * g0 - h00 * g1) / determinant)
