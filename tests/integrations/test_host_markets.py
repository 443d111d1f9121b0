"""The host's dictionaries: one unit, and nothing guessed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import MagicMock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from src.jurymast_adapter import markets

from jurymast.domain.money import CENT, PAYOUT

NOW = datetime(2026, 11, 29, 12, 34, 56, tzinfo=UTC)
MARKET = {"title": "Will it happen?", "yes_price": 60, "no_price": 40, "days_to_expiry": 7}


@given(st.integers(1, 99))
def test_dollars_and_cents_are_the_same_market(cents: int) -> None:
    """Whatever the unit, the same price is read, and it is a bid below an ask."""
    in_cents = markets.prices({"yes_price": cents, "no_price": 100 - cents})
    in_dollars = markets.prices({"yes_price": cents / 100, "no_price": (100 - cents) / 100})
    as_text = markets.prices({"yes_price": f"{cents / 100:.4f}", "no_price": f"{1 - cents / 100:.4f}"})
    assert in_cents == in_dollars == as_text
    bid, ask = in_cents
    assert 0 < bid < ask < PAYOUT
    assert ask - bid == CENT


@given(st.integers(2, 98))
def test_a_single_price_tells_its_unit_away_from_one(cents: int) -> None:
    """Below one it is dollars, above one it is cents."""
    assert markets.prices({"yes_price": cents}) == markets.prices({"yes_price": cents / 100})


@given(st.integers(1, 97), st.integers(1, 97))
def test_quotes_are_taken_as_they_are(one: int, other: int) -> None:
    """A bid and an ask need no guess at the spread."""
    bid, ask = sorted((one, other))
    if bid == ask:
        ask += 1
    quotes = {"yes_bid": bid, "yes_ask": ask, "yes_price": 50}
    if ask == 1:
        return
    assert markets.prices(quotes) == (bid * CENT, ask * CENT)
    assert markets.prices({"yes_bid": bid / 100, "yes_ask": ask / 100}) == (bid * CENT, ask * CENT)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        ({}, "no price"),
        ({"yes_price": None}, "no price"),
        ({"yes_price": float("nan")}, "no price"),
        ({"yes_price": float("inf"), "no_price": 40}, "no price"),
        ({"yes_price": True}, "no price"),
        ({"yes_price": MagicMock()}, "no price"),
        ({"yes_price": "sixty"}, "no price"),
        ({"yes_price": 1}, "a dollar or a cent"),
        ({"yes_price": 1.0}, "a dollar or a cent"),
        ({"yes_price": 0.6, "no_price": 40}, "add up to neither"),
        ({"yes_price": 60, "no_price": 60}, "add up to neither"),
        ({"yes_price": 0}, "no prices of a contract"),
        ({"yes_price": -5}, "no prices of a contract"),
        ({"yes_price": 150}, "no prices of a contract"),
        ({"yes_bid": 0.5, "yes_ask": 60}, "neither both dollars nor both cents"),
        ({"yes_bid": 70, "yes_ask": 60}, "no prices of a contract"),
    ],
)
def test_what_is_no_price_is_refused_with_its_reason(data: dict[str, Any], word: str) -> None:
    """A price that is missing or ambiguous never becomes another one."""
    with pytest.raises(markets.Unusable, match=word):
        markets.prices(data)


def test_one_beside_its_complement_is_no_riddle() -> None:
    """A cent beside 99 is a cent; a price of one dollar is none."""
    assert markets.prices({"yes_price": 1, "no_price": 99}) == (CENT // 2, 3 * CENT // 2)
    with pytest.raises(markets.Unusable):
        markets.prices({"yes_price": 1.0, "no_price": 0.0})


def test_a_market_without_an_end_is_not_judged() -> None:
    """Nothing is assumed about when a market closes."""
    with pytest.raises(markets.Unusable, match="when the market closes"):
        markets.snapshot({"title": "x", "yes_price": 60}, NOW)


@pytest.mark.parametrize(
    "when",
    [
        {"expiration_ts": NOW.timestamp() + 7 * 86_400},
        {"close_time": "2026-12-06T12:34:56Z"},
        {"expected_expiration_time": datetime(2026, 12, 6, 12, 34, 56, tzinfo=UTC)},
        {"expiration_time": "2026-12-06T12:34:56"},
    ],
)
def test_closing_times_come_in_many_forms(when: dict[str, Any]) -> None:
    """Epoch seconds, ISO text with and without a zone, datetimes."""
    found = markets.snapshot({"title": "x", "yes_price": 60, **when}, NOW)
    assert found.market.close_time == NOW + timedelta(days=7)


def test_a_countdown_stays_one_question() -> None:
    """Days to expiry counted down between two questions are the same market, or no opinion could be kept."""
    later = NOW + timedelta(seconds=90)
    first = markets.snapshot({**MARKET, "days_to_expiry": 3.0}, NOW)
    second = markets.snapshot({**MARKET, "days_to_expiry": 3.0 - 90 / 86_400}, later)
    assert first.market.close_time == second.market.close_time
    assert first.ticker == second.ticker


def test_a_market_without_an_id_has_one_of_its_title() -> None:
    """The same title is the same market; another is another."""
    assert markets.ticker_of({"title": "a"}) == markets.ticker_of({"title": "a", "yes_price": 3})
    assert markets.ticker_of({"title": "a"}) != markets.ticker_of({"title": "b"})
    assert markets.ticker_of({"title": "a", "market_id": "M"}) == "M"


def test_balances_are_read_and_not_invented() -> None:
    """Dollars of whatever name; nothing where nothing is said."""
    assert markets.balance({"available_balance": 12.5}) == 12_500_000
    assert markets.balance({"cash": 3, "balance": 7}) == 7_000_000
    assert markets.balance({}) == markets.balance(None) == markets.balance(MagicMock()) == 0
