"""Latency of a route: learned from few samples, unmoved by stalls, moved by real slowness."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurymast.policy.latency import (
    FASTEST_SECS,
    HALF_LIFE_SECS,
    SAMPLES_MIN,
    Z50,
    Z90,
    Z95,
    Z99,
    Latency,
)

MEDIAN_SECS = 6.0
TRUE_Q99_SECS = MEDIAN_SECS * math.exp(Z99 * 0.5)


def learned(samples: Iterable[float], *, every_secs: float = 1.0, prior_secs: float = 6.25) -> Latency:
    latency = Latency(prior_secs)
    for number, secs in enumerate(samples):
        latency.add(secs, number * every_secs)
    return latency


def lognormal(count: int, seed: int, *, median_secs: float = MEDIAN_SECS, sigma: float = 0.5) -> list[float]:
    chance = random.Random(seed)
    return [chance.lognormvariate(math.log(median_secs), sigma) for _ in range(count)]


def test_before_the_first_answers_the_prior_counts() -> None:
    """An unknown route is expected to take the prior, with its spread, until three answers are in."""
    latency = learned([0.05] * (SAMPLES_MIN - 1))
    assert latency.quantile(Z50) == pytest.approx(6.25)
    assert latency.q99_secs == pytest.approx(6.25 * math.exp(Z99 * 0.5))
    latency.add(0.05, 10.0)
    assert latency.q99_secs < 1.0


@pytest.mark.parametrize("seed", range(6))
def test_the_99th_percentile_is_learned(seed: int) -> None:
    """After two hundred answers the estimate covers the true percentile without being far above it."""
    latency = learned(lognormal(200, seed))
    assert 0.8 * TRUE_Q99_SECS <= latency.q99_secs <= 2.0 * TRUE_Q99_SECS
    assert latency.q95_secs == latency.quantile(Z95)
    assert latency.quantile(Z50) == pytest.approx(MEDIAN_SECS, rel=0.3)


def test_few_samples_widen_the_estimate() -> None:
    """What is known from five answers is trusted less than the same from two hundred."""
    widths = [learned(lognormal(count, 3)).q99_secs / MEDIAN_SECS for count in (5, 200)]
    assert learned([1.0] * 5).q99_secs > learned([1.0] * 200).q99_secs
    assert widths[0] > widths[1]


@pytest.mark.parametrize(("share", "factor"), [(0.02, 1.5), (0.05, 1.5), (0.08, 4.0)])
def test_stalls_of_a_few_do_not_delay_the_hedge(share: float, factor: float) -> None:
    """One stalled request in twenty leaves the percentile where healthy ones put it, one in twelve near."""
    chance, healthy = random.Random(7), lognormal(400, 7, median_secs=0.05, sigma=0.3)
    stalled = [25.0 if chance.random() < share else secs for secs in healthy]
    assert learned(stalled).q99_secs <= factor * learned(healthy).q99_secs


def test_a_route_that_has_become_slower_is_believed() -> None:
    """Three times slower for a while is the new usual, and so is the way back."""
    fast, slow = [1.0] * 200, [3.0] * 250
    assert learned(fast).quantile(Z50) < 1.3
    assert 2.5 < learned(fast + slow).quantile(Z50) < 3.6
    assert learned(fast + slow + [1.0] * 250).quantile(Z50) < 1.3


def test_old_samples_fade_by_time() -> None:
    """At a decision an hour yesterday's answers weigh little: a dozen new ones outvote fifty old."""
    old, new = [1.0] * 50, [4.0] * 12
    quick = learned(old + new, every_secs=1.0)
    idle = Latency(6.25)
    for number, secs in enumerate(old):
        idle.add(secs, float(number))
    for number, secs in enumerate(new):
        idle.add(secs, 6 * HALF_LIFE_SECS + number)
    assert quick.quantile(Z50) < 1.3
    assert idle.quantile(Z50) > 3.5


@given(
    samples=st.lists(st.floats(0.0, 1e6), max_size=60),
    gaps=st.sampled_from([0.0, 1.0, 60.0, 1e5, -5.0]),
    prior_secs=st.floats(0.01, 100.0),
)
def test_no_samples_break_the_estimate(samples: list[float], gaps: float, prior_secs: float) -> None:
    """Whatever is measured, quantiles are finite, positive and in order, even when a clock goes back."""
    latency = learned(samples, every_secs=gaps, prior_secs=prior_secs)
    quantiles = [latency.quantile(z) for z in (Z50, Z90, Z95, Z99)]
    assert quantiles == sorted(quantiles)
    assert quantiles[0] >= min(FASTEST_SECS, prior_secs)
    assert math.isfinite(quantiles[-1])
    assert (latency.q95_secs, latency.q99_secs) == (quantiles[2], quantiles[3])


def test_years_of_answers_do_not_overflow() -> None:
    """The weights are scaled down in time: the estimate is the same after any number of days."""
    latency = Latency(6.25)
    for day in range(400):
        for number in range(20):
            latency.add(1.0 + number / 100, day * 86_400.0 + number)
    assert latency.q99_secs == pytest.approx(
        learned([1.0 + n / 100 for n in range(20)] * 10).q99_secs, rel=0.3
    )
