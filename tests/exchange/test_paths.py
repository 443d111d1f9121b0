"""The simulated price between a real crowd price and a real outcome."""

from __future__ import annotations

import math
from datetime import timedelta
from itertools import pairwise
from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurymast.domain.probability import logit, sigmoid
from jurymast.exchange.paths import LOG_ODDS_LIMIT, NOISE_SD_MAX, NOISE_SD_MIN, PricePath
from question_world import START, question

LIFE = timedelta(days=30)


@pytest.mark.parametrize("prior", [0.1, 0.5, 0.85])
@pytest.mark.parametrize("share", [0.05, 0.37, 0.8, 0.99])
def test_the_price_is_a_martingale_under_the_crowds_prior(prior: float, share: float) -> None:
    """Averaged over outcomes drawn from the prior, the expected price stays at the prior for life."""
    draws = 3_000
    path = PricePath(1)
    prices = [
        sigmoid(
            path.fundamental(
                question(f"Q-{n}", crowd_probability=prior, outcome=(n + 0.5) / draws < prior),
                START + LIFE * share,
            )
        )
        for n in range(draws)
    ]
    assert fmean(prices) == pytest.approx(prior, abs=4 * stdev(prices) / math.sqrt(draws))


@pytest.mark.parametrize("share", [0.25, 0.7])
def test_information_is_worth_what_it_says(share: float) -> None:
    """Among paths that stand near a price, the outcome happens about as often as the price says."""
    path = PricePath(2)
    happened: dict[int, list[bool]] = {}
    for n in range(4_000):
        outcome = n % 2 == 0
        log_odds = path.fundamental(question(f"Q-{n}", outcome=outcome), START + LIFE * share)
        happened.setdefault(int(sigmoid(log_odds) * 5), []).append(outcome)
    for bucket, outcomes in happened.items():
        assert fmean(outcomes) == pytest.approx(bucket / 5 + 0.1, abs=0.08)


@pytest.mark.parametrize("outcome", [True, False])
def test_the_price_begins_at_the_crowd_and_ends_at_the_outcome(outcome: bool) -> None:
    """At listing the log-odds are the crowd's; at resolution they say what happened."""
    known = question(crowd_probability=0.2, outcome=outcome)
    path = PricePath(3)
    assert path.fundamental(known, START - timedelta(days=1)) == logit(0.2)
    assert path.fundamental(known, START) == logit(0.2)
    assert path.fundamental(known, START + LIFE) == (LOG_ODDS_LIMIT if outcome else -LOG_ODDS_LIMIT)
    near = sigmoid(path.fundamental(known, START + LIFE * 0.9999))
    assert abs(near - outcome) < 0.01


def test_the_price_moves_in_small_steps() -> None:
    """From one minute to the next the fundamental of a young market moves by less than 0.1 log-odds."""
    path = PricePath(4)
    minutes = [path.fundamental(question(), START + timedelta(minutes=minute)) for minute in range(2_000)]
    moves = [abs(after - before) for before, after in pairwise(minutes)]
    assert 0 < max(moves) < 0.1


def test_mispricing_wanders_around_zero_and_forgets() -> None:
    """The quoted price errs by 0.15 to 0.25 log-odds either way; half a day later it errs anew."""
    path = PricePath(5)
    times = [START + timedelta(hours=12 * n) for n in range(4_000)]
    noise = [path.mispricing(question(), at) for at in times]
    assert abs(fmean(noise)) < 0.02
    assert NOISE_SD_MIN * 0.95 < stdev(noise) < NOISE_SD_MAX * 1.05
    products = [now * later for now, later in pairwise(noise)]
    assert abs(fmean(products)) < 0.1 * stdev(noise) ** 2


def test_mispricing_lasts_for_an_hour() -> None:
    """Within an hour most of a mispricing is still there, so it can be traded."""
    path = PricePath(5)
    times = [START + timedelta(hours=7.3 * n) for n in range(2_000)]
    now = [path.mispricing(question(), at) for at in times]
    later = [path.mispricing(question(), at + timedelta(hours=1)) for at in times]
    correlation = fmean(a * b for a, b in zip(now, later, strict=True)) / (stdev(now) * stdev(later))
    assert correlation > 0.7


def test_the_quote_is_the_fundamental_and_its_mispricing() -> None:
    """What the market quotes is what is known plus what it gets wrong, nothing else."""
    path, at = PricePath(6), START + timedelta(days=3)
    expected = path.fundamental(question(), at) + path.mispricing(question(), at)
    assert path.log_odds(question(), at) == expected


@given(st.integers(), st.integers(min_value=-(10**6), max_value=10**7))
def test_a_path_depends_on_seed_ticker_and_time_alone(seed: int, secs: int) -> None:
    """Asked again, in any order and by another object, the price at a time is the same and finite."""
    at = START + timedelta(seconds=secs)
    first = PricePath(seed).log_odds(question(), at)
    PricePath(seed).log_odds(question("Q-2"), at + timedelta(hours=1))
    assert PricePath(seed).log_odds(question(), at) == first
    assert math.isfinite(first)


def test_seeds_and_tickers_have_paths_of_their_own() -> None:
    """Another seed or another ticker gives another price."""
    at = START + timedelta(days=5)
    prices = {
        PricePath(seed).log_odds(question(ticker), at) for seed in range(5) for ticker in ("Q-1", "Q-2")
    }
    assert len(prices) == 10


def test_a_known_path_stays_known() -> None:
    """The prices of a seed are the same in every version, so that a recorded run can be played again."""
    path, at = PricePath(0), START + timedelta(days=5, hours=1)
    assert path.fundamental(question(), at) == pytest.approx(0.6922075970804874, abs=1e-9)
    assert path.mispricing(question(), at) == pytest.approx(-0.17090131869009909, abs=1e-9)
