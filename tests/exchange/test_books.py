"""The simulated books around the simulated price."""

from __future__ import annotations

from datetime import timedelta
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurymast.domain.money import CENT, CONTRACT
from jurymast.domain.probability import sigmoid
from jurymast.exchange.books import LEVELS, SPREAD_CENTS, STEP_SECS, BookMaker, step_at
from jurymast.exchange.paths import PricePath
from question_world import START, question

seeds = st.integers(min_value=0, max_value=1_000)
steps = st.integers(min_value=0, max_value=30 * 1_440).map(lambda minutes: step_at(START) + minutes)
priors = st.floats(min_value=0.0005, max_value=0.9995)


@given(seeds, steps, priors, st.booleans())
def test_every_book_is_a_lawful_book(seed: int, step: int, prior: float, outcome: bool) -> None:
    """Prices are whole cents from 1c to 99c, best first; bids are below asks; every level has contracts."""
    book = BookMaker(seed).book(question(crowd_probability=prior, outcome=outcome), step)
    bids, asks = ([level.price for level in side] for side in (book.bids, book.asks))
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert all(price % CENT == 0 and CENT <= price <= 99 * CENT for price in bids + asks)
    assert all(level.count > 0 and level.count % CONTRACT == 0 for level in book.bids + book.asks)
    assert max(len(bids), len(asks)) == LEVELS
    if book.two_sided:
        assert book.spread in {cents * CENT for cents in SPREAD_CENTS}


@given(seeds, steps)
def test_the_price_lies_within_the_spread(seed: int, step: int) -> None:
    """The quoted price of the step's beginning is between best bid and best ask, to half a cent."""
    known = question()
    book = BookMaker(seed).book(known, step)
    at = START + timedelta(seconds=(step - step_at(START)) * STEP_SECS)
    cents = 100 * sigmoid(PricePath(seed).log_odds(known, at))
    if book.bids:
        assert book.bids[0].price / CENT <= cents + 0.5
    if book.asks:
        assert book.asks[0].price / CENT >= cents - 0.5


def test_the_spread_is_centred_on_the_price() -> None:
    """Over many markets the mid errs by less than a tenth of a cent: the book itself gives no edge."""
    maker, path = BookMaker(0), PricePath(0)
    errors = [
        maker.book(known, step_at(START)).mid / CENT - 100 * sigmoid(path.log_odds(known, START))
        for known in (question(f"Q-{n}", crowd_probability=0.2 + n / 1_000) for n in range(600))
    ]
    assert abs(fmean(errors)) < 0.1
    assert max(abs(error) for error in errors) <= 0.5 + 1e-9


def test_near_certainty_one_side_is_empty() -> None:
    """When the outcome is all but known nobody bids below 1c, or offers above 99c."""
    last = step_at(START + timedelta(days=30) - timedelta(seconds=1))
    sure = BookMaker(0).book(question(outcome=True), last)
    lost = BookMaker(0).book(question(outcome=False), last)
    assert sure.asks == ()
    assert sure.bids[0].price >= 96 * CENT
    assert lost.bids == ()
    assert lost.asks[0].price <= 4 * CENT


@given(seeds, steps)
def test_a_book_depends_on_seed_ticker_and_step_alone(seed: int, step: int) -> None:
    """Two makers with one seed show the same book in the same step."""
    assert BookMaker(seed).book(question(), step) == BookMaker(seed).book(question(), step)


def test_liquidity_differs_between_markets() -> None:
    """Among many markets every spread from 1c to 4c occurs, and tighter markets trade more."""
    maker = BookMaker(0)
    volumes: dict[int, list[int]] = {}
    for n in range(200):
        known = question(f"Q-{n}")
        spread = maker.book(known, step_at(START)).spread // CENT
        volumes.setdefault(spread, []).append(maker.volume_24h(known, START))
    assert set(volumes) == set(SPREAD_CENTS)
    assert min(volumes[1]) > max(volumes[2])
    assert min(volumes[2]) > max(volumes[3])
    assert min(volumes[3]) > max(volumes[4])


def test_volume_changes_by_the_day() -> None:
    """The volume of a market is one number for a day and another on most other days."""
    maker = BookMaker(0)
    days = [maker.volume_24h(question(), START + timedelta(days=day)) for day in range(10)]
    assert len(set(days)) > 5
    assert maker.volume_24h(question(), START + timedelta(hours=23)) == days[0]


@pytest.mark.parametrize(("secs", "steps_later"), [(0, 0), (59.999, 0), (60, 1), (3_600, 60)])
def test_a_step_is_a_minute(secs: float, steps_later: int) -> None:
    """Exchange time is cut into whole minutes; a book stands still within one."""
    assert step_at(START + timedelta(seconds=secs)) == step_at(START) + steps_later
