"""From what is decided to the order that is sent."""

from __future__ import annotations

from datetime import timedelta

from jurymast.domain.decision import Decision
from jurymast.domain.market import MarketSnapshot
from jurymast.domain.order import Action, OrderIntent, Purpose, TimeInForce
from jurymast.policy.sizing import Sized
from jurymast.trading.gateway import client_order_id


def entry_intent(
    decision: Decision, snapshot: MarketSnapshot, sized: Sized, lifetime: timedelta | None
) -> OrderIntent:
    """The order of a decision that is worth an entry; without ``lifetime`` nothing of it rests."""
    return OrderIntent(
        client_order_id=client_order_id(decision.decision_id, decision.ticker, Purpose.ENTRY),
        decision_id=decision.decision_id,
        ticker=decision.ticker,
        event_ticker=snapshot.market.event_ticker,
        purpose=Purpose.ENTRY,
        side=sized.side,
        action=Action.BUY,
        count=sized.count,
        limit_price=sized.limit_price,
        time_in_force=TimeInForce.IMMEDIATE_OR_CANCEL if lifetime is None else TimeInForce.GOOD_TILL_CANCELED,
        reason=sized.detail,
        expires_at=None if lifetime is None else snapshot.as_of + lifetime,
        cached=decision.cached is not None,
    )
