"""When to leave a position. The first two rules need no model: exits live when judgement is gone.

Losing the model is no reason to sell: hold to settlement is the default, caps are the stop.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from jurymast.domain.market import MarketSnapshot, MarketStatus
from jurymast.domain.money import CENT, CONTRACT, PAYOUT, Centi, Micros, format_cents
from jurymast.domain.order import Position
from jurymast.policy import fees
from jurymast.policy.emergency import ExitRules
from jurymast.policy.quality import Belief


class ExitReason(StrEnum):
    """Why a position is sold. Closed list."""

    TAKE_PROFIT = "take_profit"
    CAP_BREACH = "cap_breach"
    REVERSED = "reversed"
    WORKED_DOWN = "worked_down"
    FLATTENED = "flattened"


@dataclass(frozen=True, slots=True)
class ExitSettings:
    """Prices in micro-dollars, caps in basis points of equity."""

    take_profit_at: Micros = 97 * CENT
    hard_market_cap_bp: int = 400
    reversal_margin: Micros = 3 * CENT


@dataclass(frozen=True, slots=True)
class ExitPlan:
    """Sell ``count`` at ``limit_price`` (in the terms of the side held) or better."""

    reason: ExitReason
    count: Centi
    limit_price: Micros
    detail: str


def exit_for(
    position: Position,
    snapshot: MarketSnapshot,
    equity: Micros,
    settings: ExitSettings,
    belief: Belief | None = None,
    *,
    allowed: ExitRules = ExitRules.MODEL,
) -> ExitPlan | None:
    """The first rule that says sell, or None.

    ``belief`` is a fresh one from a live model or what is left of a cached one, if any; ``allowed`` is what
    the mode leaves.
    """
    if allowed is ExitRules.NONE:
        return None
    take_profit = allowed is not ExitRules.HARD_CAP
    bids = snapshot.book.takers(position.side)
    if snapshot.status is not MarketStatus.ACTIVE or not bids:
        return None
    bid = bids[0].price
    if take_profit and bid >= settings.take_profit_at:
        detail = f"bid {format_cents(bid)}: what is left to win is not worth the risk"
        return ExitPlan(ExitReason.TAKE_PROFIT, position.size, bid, detail)
    cap = equity * settings.hard_market_cap_bp // 10_000
    if position.cost > cap:
        excess = -(-position.size * (position.cost - cap) // position.cost)
        count = -(-excess // CONTRACT) * CONTRACT
        detail = f"{position.cost / PAYOUT:.2f} dollars at stake, hard cap {cap / PAYOUT:.2f}"
        return ExitPlan(ExitReason.CAP_BREACH, min(count, position.size), bid, detail)
    return _reversal(position, bid, settings, belief if take_profit else None)


def _reversal(
    position: Position, bid: Micros, settings: ExitSettings, belief: Belief | None
) -> ExitPlan | None:
    if belief is None:
        return None
    probability = belief.probability if position.count > 0 else 1 - belief.probability
    worth = round(probability * PAYOUT)
    net = bid - fees.fee_per_contract(bid)
    if net < worth + settings.reversal_margin:
        return None
    detail = f"the bid nets {format_cents(net)}, we believe {format_cents(round(worth, -4))}"
    return ExitPlan(ExitReason.REVERSED, position.size, bid, detail)
