"""The simulated day's money: when it counts as renewed."""

from __future__ import annotations

import math

import pytest

from jurymast.lab.sim.invariants import Rules
from jurymast.lab.sim.run import build
from jurymast.lab.sim.scenario import Scenario
from jurymast.lab.sim.till import DAY_SECS, Till


@pytest.mark.parametrize("short", [False, True])
def test_a_new_day_counts_as_renewal_only_after_money_ran_short(short: bool) -> None:
    """Routes are given time to be proven well at midnight only if the day before could not pay for them; what
    was uncertain of it is forgotten with the day."""
    world = build(Scenario(seed=1, years=0.01))[2]
    dearest = max(place.worst for place in world.places)
    till = Till(2 * dearest, world, Rules(1, "", 3, 1.0))
    assert till.reserve(dearest, 0.0)
    till.settle(dearest, 1, 0.0, dearest - 1)
    if short:
        assert till.reserve(1, 0.0)
    assert till.today(0.0).uncertain == dearest - 1
    assert till.today(1.5 * DAY_SECS).uncertain == 0
    assert till.renewed_at == (1.5 * DAY_SECS if short else -math.inf)
