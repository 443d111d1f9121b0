"""Orders: an intent that could open risk by mistake can't be written down."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from jurymast.domain.market import Side
from jurymast.domain.money import CENT, PAYOUT, USD
from jurymast.domain.order import (
    Action,
    Order,
    OrderIntent,
    OrderStatus,
    Position,
    Purpose,
    TimeInForce,
)

ENTRY = OrderIntent(
    client_order_id="jm-1",
    decision_id="d1",
    ticker="T",
    event_ticker="E",
    purpose=Purpose.ENTRY,
    side=Side.YES,
    action=Action.BUY,
    count=1,
    limit_price=1,
    time_in_force=TimeInForce.IMMEDIATE_OR_CANCEL,
    reason="",
)


@pytest.mark.parametrize("count", [0, -100])
def test_an_order_is_for_something(count: int) -> None:
    """An order for nothing, or for less, is refused at birth."""
    with pytest.raises(ValueError, match="positive count"):
        replace(ENTRY, count=count)


@pytest.mark.parametrize("limit_price", [0, -CENT, PAYOUT, PAYOUT + 1])
def test_a_limit_lies_between_nothing_and_a_dollar(limit_price: int) -> None:
    """A price that can't be traded, a certain loss among them, is refused at birth."""
    with pytest.raises(ValueError, match="strictly between"):
        replace(ENTRY, limit_price=limit_price)
    assert replace(ENTRY, limit_price=PAYOUT - 1).limit_price == PAYOUT - 1


@pytest.mark.parametrize("purpose", list(Purpose))
@pytest.mark.parametrize("action", list(Action))
def test_entries_buy_and_exits_sell(purpose: Purpose, action: Action) -> None:
    """Any other pair would open risk in the name of reducing it."""
    if (purpose, action) in {(Purpose.ENTRY, Action.BUY), (Purpose.EXIT, Action.SELL)}:
        intent = replace(ENTRY, purpose=purpose, action=action)
        assert intent.reduce_only == (purpose is Purpose.EXIT)
        return
    with pytest.raises(ValueError, match="entries buy and exits sell"):
        replace(ENTRY, purpose=purpose, action=action)


@pytest.mark.parametrize(
    ("status", "is_open"),
    [
        (OrderStatus.INTENDED, True),
        (OrderStatus.UNRESOLVED, True),
        (OrderStatus.RESTING, True),
        (OrderStatus.REJECTED, False),
        (OrderStatus.EXECUTED, False),
        (OrderStatus.CANCELED, False),
    ],
)
def test_an_order_is_open_while_it_may_fill(status: OrderStatus, is_open: bool) -> None:
    """An unknown fate counts as open; only a resting order has a remainder on the exchange."""
    now = datetime(2026, 3, 2, tzinfo=UTC)
    order = Order("O-1", "jm-1", "T", Side.YES, Action.BUY, 50 * CENT, 300, 100, status, now)
    assert status.open == is_open
    assert order.remaining == (200 if status is OrderStatus.RESTING else 0)


def test_a_position_is_signed() -> None:
    """NO counts below zero; size, mean price and what can be lost do not."""
    no = Position("T", "E", -200, 90 * CENT)
    assert (no.side, no.size, no.max_loss) == (Side.NO, 200, 90 * CENT)
    yes = Position("T", "E", 300, USD)
    assert (yes.side, yes.size) == (Side.YES, 300)
    assert Position("T", "E", 100, -5).max_loss == 0
