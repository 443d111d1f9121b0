"""When another opinion is worth its price."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import pytest
from policy_world import decision_of, snapshot_of

from jurymast.domain.decision import Weight
from jurymast.domain.money import CENT, USD
from jurymast.domain.provider import Tier
from jurymast.domain.status import EmergencyMode
from jurymast.policy import fees
from jurymast.policy.emergency import TABLE
from jurymast.policy.second import SecondSettings, worth, worth_negating
from jurymast.policy.sizing import belief_of, best_edge, needed_edge

NORMAL = TABLE[EmergencyMode.NORMAL]
SETTINGS = SecondSettings(second=True, negate=True)


def test_the_worth_is_the_formula() -> None:
    """Bankroll times the error it takes away, over twice the price's variance, where a trade is likely."""
    decision, snapshot = decision_of(80), snapshot_of()
    belief = belief_of(decision, snapshot, NORMAL)
    _, price, edge = best_edge(belief, snapshot)
    a, s1 = (price + fees.fee_per_contract(price)) / 1e6, max(belief.error, 0.03)
    s2 = s1 * ((1 + 0.6) / 2) ** 0.5
    likely = NormalDist().cdf((edge - needed_edge(price, snapshot, NORMAL)) / 1e6 / s1)
    dollars = 2_000 * (s1**2 - s2**2) / (2 * a * (1 - a)) * likely
    assert worth(decision, snapshot, NORMAL, SETTINGS) == pytest.approx(dollars * 1e6, rel=1e-6)


def test_it_is_worth_most_where_the_edge_is_near_what_is_asked() -> None:
    """Far below the threshold nothing can come of it; from there on it rises."""
    values = [worth(decision_of(percent), snapshot_of(), NORMAL, SETTINGS) for percent in (49, 60, 75, 90)]
    assert values == sorted(values)
    assert values[0] < values[-1] / 10


def test_nothing_is_bought_where_no_trade_can_come_of_it() -> None:
    """A small model, one that is stopped, a mode without entries, a book with one side: worth nothing."""
    decision, snapshot = decision_of(90), snapshot_of()
    stopped = replace(decision, weight=Weight(0.2, 0.1, stopped="harm"))
    assert worth(stopped, snapshot, NORMAL, SETTINGS) == 0
    assert worth(decision_of(90, tier=Tier.SMALL), snapshot, NORMAL, SETTINGS) == 0
    assert worth(decision, snapshot, TABLE[EmergencyMode.MINIMAL], SETTINGS) == 0
    assert worth(decision, snapshot_of(None, 50 * CENT), NORMAL, SETTINGS) == 0
    assert not worth_negating(stopped, snapshot, NORMAL, SETTINGS)


def test_only_a_large_trade_is_asked_backwards() -> None:
    """From a stake on the bankroll on: $20 of $2,000 by default."""
    assert worth_negating(decision_of(95), snapshot_of(), NORMAL, SETTINGS)
    assert not worth_negating(decision_of(55), snapshot_of(), NORMAL, SETTINGS)
    dear = replace(SETTINGS, negate_from=1_000 * USD)
    assert not worth_negating(decision_of(95), snapshot_of(), NORMAL, dear)
