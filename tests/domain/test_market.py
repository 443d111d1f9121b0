"""Markets: one pair of ladders describes both contracts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurymast.domain.market import Book, Level, Market, MarketSnapshot, MarketStatus, Side
from jurymast.domain.money import CENT, PAYOUT

NOW = datetime(2026, 3, 2, tzinfo=UTC)
BOOK = Book(
    bids=(Level(48 * CENT, 100), Level(47 * CENT, 200)),
    asks=(Level(51 * CENT, 300), Level(55 * CENT, 400)),
)


def test_the_opposite_of_the_opposite_is_the_side() -> None:
    """YES and NO are each other's opposite."""
    assert (Side.YES.opposite, Side.NO.opposite) == (Side.NO, Side.YES)


def test_yes_is_bought_from_the_asks_and_sold_to_the_bids() -> None:
    """In the terms of YES the ladders are as they stand."""
    assert (BOOK.offers(Side.YES), BOOK.takers(Side.YES)) == (BOOK.asks, BOOK.bids)


def test_no_is_bought_from_the_bids_and_sold_to_the_asks() -> None:
    """A bid for YES at 48 c offers NO at 52 c, best price first, with the same count."""
    assert BOOK.offers(Side.NO) == (Level(52 * CENT, 100), Level(53 * CENT, 200))
    assert BOOK.takers(Side.NO) == (Level(49 * CENT, 300), Level(45 * CENT, 400))


@given(
    bids=st.lists(st.integers(1, 49), max_size=5, unique=True),
    asks=st.lists(st.integers(50, 99), max_size=5, unique=True),
    side=st.sampled_from(Side),
)
def test_the_best_level_comes_first_on_both_sides(bids: list[int], asks: list[int], side: Side) -> None:
    """Whoever buys sees the cheapest first, whoever sells the dearest, and a round trip never gains."""
    book = Book(
        tuple(Level(price * CENT, 1) for price in sorted(bids, reverse=True)),
        tuple(Level(price * CENT, 1) for price in sorted(asks)),
    )
    offers = [level.price for level in book.offers(side)]
    takers = [level.price for level in book.takers(side)]
    assert offers == sorted(offers)
    assert takers == sorted(takers, reverse=True)
    assert not offers or not takers or offers[0] > takers[0]
    assert all(0 < price < PAYOUT for price in offers + takers)


def test_mid_and_spread() -> None:
    """The mid lies between best bid and best ask, the spread is their distance."""
    assert (BOOK.mid, BOOK.spread, BOOK.two_sided) == (495_000, 3 * CENT, True)


@pytest.mark.parametrize("book", [Book((), ()), Book(BOOK.bids, ()), Book((), BOOK.asks)])
def test_a_one_sided_book_has_no_price(book: Book) -> None:
    """There is no default price: asking for one is an error."""
    assert not book.two_sided
    with pytest.raises(ValueError, match="mid"):
        _ = book.mid
    with pytest.raises(ValueError, match="spread"):
        _ = book.spread


def test_time_to_close_is_exchange_time() -> None:
    """Seconds from the snapshot's own instant to the end of trading, negative after it."""
    market = Market("T", "E", "C", "?", "", NOW, NOW + timedelta(hours=1))
    snapshot = MarketSnapshot(market, MarketStatus.ACTIVE, BOOK, 0, NOW + timedelta(hours=2))
    assert (snapshot.ticker, snapshot.secs_to_close) == ("T", -3_600)
