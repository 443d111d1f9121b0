"""Orders for tests of every room that sends or takes them."""

from __future__ import annotations

from itertools import count
from typing import Any

from jurymast.domain.market import Side
from jurymast.domain.money import CENT, CONTRACT
from jurymast.domain.order import Action, OrderIntent, Purpose, TimeInForce

_ids = count(1)


def order_intent(ticker: str = "Q-1", **changes: Any) -> OrderIntent:
    """An order for ten YES contracts at any price, not resting, with an id of its own."""
    fields: dict[str, Any] = {
        "client_order_id": f"test-{next(_ids)}",
        "decision_id": "decision",
        "ticker": ticker,
        "event_ticker": f"EV-{ticker}",
        "purpose": Purpose.ENTRY,
        "side": Side.YES,
        "action": Action.BUY,
        "count": 10 * CONTRACT,
        "limit_price": 99 * CENT,
        "time_in_force": TimeInForce.IMMEDIATE_OR_CANCEL,
        "reason": "test",
    }
    return OrderIntent(**(fields | changes))
