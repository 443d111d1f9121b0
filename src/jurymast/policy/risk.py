"""The last word before the gateway: hard limits that neither model, mode nor sizing can loosen.

Sizing aims; this checks, from the order alone and independently of how it was made.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from jurymast.domain.market import MarketSnapshot, MarketStatus
from jurymast.domain.money import CENT, USD, Micros, format_cents, format_usd, notional
from jurymast.domain.order import OrderIntent, Purpose
from jurymast.domain.portfolio import Exposure
from jurymast.domain.status import TradingState
from jurymast.policy import fees
from jurymast.policy.emergency import BASIS, ModeRules


class RiskReason(StrEnum):
    """Why an order was refused. Closed list."""

    TRADING_HALTED = "trading_halted"
    REDUCING_ONLY = "reducing_only"
    ENTRIES_STOPPED = "entries_stopped"
    MARKET_NOT_OPEN = "market_not_open"
    PRICE_INSANE = "price_insane"
    ORDER_PENDING = "order_pending"
    ORDER_TOO_LARGE = "order_too_large"
    ORDER_RATE = "order_rate"
    MARKET_CAP = "market_cap"
    EVENT_CAP = "event_cap"
    GROSS_CAP = "gross_cap"
    CASH = "cash"
    NOTHING_TO_REDUCE = "nothing_to_reduce"


@dataclass(frozen=True, slots=True)
class RiskSettings:
    """Money in micro-dollars. ``price_slack`` is how far beyond the best price a limit may lie."""

    order_cost_max: Micros = 500 * USD
    price_slack: Micros = 2 * CENT
    orders_per_minute_max: int = 60


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an order may go, and if not why."""

    allowed: bool
    reason: RiskReason | None = None
    detail: str = ""


ALLOWED = Verdict(True)


def check(
    intent: OrderIntent,
    snapshot: MarketSnapshot,
    exposure: Exposure,
    rules: ModeRules,
    state: TradingState,
    settings: RiskSettings,
    *,
    orders_last_minute: int,
) -> Verdict:
    """Judge one order against the market and the portfolio as they are now."""
    if state is TradingState.HALTED:
        return _no(RiskReason.TRADING_HALTED, "trading is halted")
    if snapshot.status is not MarketStatus.ACTIVE:
        return _no(RiskReason.MARKET_NOT_OPEN, f"the market is {snapshot.status}")
    if intent.purpose is Purpose.EXIT:
        return _check_exit(intent, exposure)
    if state is TradingState.REDUCING:
        return _no(RiskReason.REDUCING_ONLY, "only exits until the books are reconciled")
    if not rules.entries:
        return _no(RiskReason.ENTRIES_STOPPED, f"the mode takes no new risk {rules.at('entries')}")
    if orders_last_minute >= settings.orders_per_minute_max:
        return _no(RiskReason.ORDER_RATE, f"{orders_last_minute} orders in the last minute")
    return _check_entry(intent, snapshot, exposure, rules, settings)


def _check_exit(intent: OrderIntent, exposure: Exposure) -> Verdict:
    held = exposure.positions.get(intent.ticker)
    if held is None or held.side is not intent.side or held.size < intent.count:
        return _no(RiskReason.NOTHING_TO_REDUCE, "it would sell more than is held")
    return ALLOWED


def _check_entry(
    intent: OrderIntent,
    snapshot: MarketSnapshot,
    exposure: Exposure,
    rules: ModeRules,
    settings: RiskSettings,
) -> Verdict:
    offers = snapshot.book.offers(intent.side)
    if not offers or intent.limit_price > offers[0].price + settings.price_slack:
        best = format_cents(offers[0].price) if offers else "nothing"
        return _no(RiskReason.PRICE_INSANE, f"limit {format_cents(intent.limit_price)}, best offer {best}")
    if intent.ticker in exposure.busy:
        return _no(RiskReason.ORDER_PENDING, "an order for this market may still fill")
    cost = notional(intent.limit_price + fees.fee_per_contract(intent.limit_price), intent.count)
    if cost > settings.order_cost_max:
        return _no(RiskReason.ORDER_TOO_LARGE, f"{format_usd(cost)} of {format_usd(settings.order_cost_max)}")
    if cost > exposure.cash:
        return _no(RiskReason.CASH, f"{format_usd(cost)} of {format_usd(exposure.cash)} cash")
    market = exposure.by_market.get(intent.ticker, 0) + cost
    event = exposure.by_event.get(intent.event_ticker, 0) + cost
    for reason, used, column in (
        (RiskReason.MARKET_CAP, market, "market_cap_bp"),
        (RiskReason.EVENT_CAP, event, "event_cap_bp"),
        (RiskReason.GROSS_CAP, exposure.gross + cost, "gross_cap_bp"),
    ):
        cap = exposure.equity * getattr(rules, column) // BASIS
        if used > cap:
            detail = f"{format_usd(used)} would be at stake, cap {format_usd(cap)} {rules.at(column)}"
            return _no(reason, detail)
    return ALLOWED


def _no(reason: RiskReason, detail: str) -> Verdict:
    return Verdict(False, reason, detail)
