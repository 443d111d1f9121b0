"""Probabilities on the log-odds scale, where opinions add up."""

from __future__ import annotations

import math
from typing import Final

from jurymast.domain.money import PAYOUT, Micros

FLOOR: Final = 0.01
CEILING: Final = 0.99


def clamp(probability: float, low: float = FLOOR, high: float = CEILING) -> float:
    """Keep a probability away from certainty. Raises ValueError for NaN, which is nothing."""
    if math.isnan(probability):
        raise ValueError("NaN is no probability")
    return min(max(probability, low), high)


def logit(probability: float) -> float:
    """Log-odds of a probability in the open interval (0, 1)."""
    return math.log(probability / (1.0 - probability))


def sigmoid(log_odds: float) -> float:
    """Probability of log-odds; safe for large magnitudes."""
    if log_odds >= 0:
        return 1.0 / (1.0 + math.exp(-log_odds))
    e = math.exp(log_odds)
    return e / (1.0 + e)


def from_price(price: Micros) -> float:
    """A contract price read as a probability, kept within [1 %, 99 %]."""
    return clamp(price / PAYOUT)


def brier(probability: float, outcome: bool) -> float:
    """Squared error of a probability against what happened; 0 is perfect, 0.25 is a coin."""
    return (probability - float(outcome)) ** 2
