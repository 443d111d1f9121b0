"""What members and markets look like in JSON: every field the specification asks for, as text.

Checked against OpenAPI 3.34.0 on 2026-11-23. Fields that are gone from the specification but still sent
(``side``, ``action``, ``liquidity_dollars``) are sent as well, unless ``legacy`` is off.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, TypeAlias

from jurymast.domain.money import PAYOUT, USD, Micros
from jurymast.exchange.embedded.accounts import Account, Stake
from jurymast.exchange.embedded.catalogue import Catalogue, micros_since_epoch, series_of
from jurymast.exchange.embedded.exchange import EmbeddedExchange
from jurymast.exchange.embedded.lifecycle import SETTLEMENT_US, Listing, Stage, Ticks
from jurymast.exchange.embedded.records import SECOND_US, Fill, Order, Payout, Print, Status
from jurymast.exchange.embedded.server.wire import (
    book_side,
    cents,
    dollars,
    fill_id,
    fp,
    order_id,
    outcome_side,
    rfc3339,
    seconds,
    trade_id,
    user_id,
)
from jurymast.exchange.questions import Question, rules_of

Json: TypeAlias = dict[str, Any]

_WHOLE: Final = dollars(PAYOUT)
_DAY_US: Final = 86_400 * SECOND_US


@lru_cache(maxsize=64)
def price_ranges(ticks: Ticks) -> list[dict[str, str]]:
    """The ticks as bands. Shared: not to be changed."""
    return [
        {"start": dollars(start), "end": dollars(end), "step": dollars(step)}
        for start, end, step in ticks.ranges
    ]


def market_shape(exchange: EmbeddedExchange, question: Question, *, legacy: bool = True) -> Json:
    """A market as listed now. An empty side shows as a bid of $0 or an ask of $1, as on Kalshi."""
    listing = exchange.catalogue.listing(question.ticker)
    assert listing is not None  # noqa: S101 (the question is of this catalogue)
    now_us = exchange.now_us()
    known = exchange.engine.state.markets.get(question.ticker)
    stage = listing.stage_at(now_us) if known is None else known.stage
    (bid, bid_size), (no_bid, ask_size) = exchange.tops(question, stage, now_us)
    last = known.last_price if known is not None else 0
    end_us = known.end_us if known is not None else listing.resolve_us
    over = stage in {Stage.CLOSED, Stage.DETERMINED, Stage.FINALIZED}
    result, value = _result(exchange, listing, stage)
    opened, closes = rfc3339(listing.open_us), rfc3339(listing.close_us)
    shape: Json = {
        "ticker": question.ticker,
        "event_ticker": question.event_ticker,
        "market_type": "binary",
        "title": question.title,
        "subtitle": "",
        "yes_sub_title": "Yes",
        "no_sub_title": "No",
        "created_time": opened,
        "updated_time": rfc3339(end_us) if over else opened,
        "open_time": opened,
        "close_time": rfc3339(end_us) if over else closes,
        "expected_expiration_time": closes,
        "latest_expiration_time": rfc3339(listing.close_us + _DAY_US),
        "settlement_timer_seconds": SETTLEMENT_US // SECOND_US,
        "status": stage.value,
        "yes_bid_dollars": dollars(bid),
        "yes_bid_size_fp": fp(bid_size),
        "yes_ask_dollars": dollars(PAYOUT - no_bid),
        "yes_ask_size_fp": fp(ask_size),
        "no_bid_dollars": dollars(no_bid),
        "no_ask_dollars": dollars(PAYOUT - bid),
        "last_price_dollars": dollars(last),
        "volume_fp": fp(known.volume if known is not None else 0),
        "volume_24h_fp": fp(exchange.crowd.volume_24h(question, now_us) if stage is Stage.ACTIVE else 0),
        "result": result,
        "can_close_early": True,
        "open_interest_fp": fp(known.pairs if known is not None else 0),
        "notional_value_dollars": _WHOLE,
        "previous_yes_bid_dollars": dollars(0),
        "previous_yes_ask_dollars": dollars(0),
        "previous_price_dollars": dollars(0),
        "settlement_bounds_type": "default",
        "expiration_value": result,
        "rules_primary": rules_of(question),
        "rules_secondary": "SIMULATED trading of a real question that has resolved; play money only.",
        "price_level_structure": listing.ticks.name,
        "price_ranges": price_ranges(listing.ticks),
        "exchange_index": listing.shard,
    }
    if value is not None:
        shape["settlement_value_dollars"] = dollars(value)
    if stage is Stage.FINALIZED:
        settled_us = known.settled_us if known is not None else listing.due()[-1][0]
        shape["settlement_ts"] = rfc3339(settled_us)
    if legacy:
        shape["liquidity_dollars"] = dollars(0)
        shape["tick_size"] = 1
    return shape


def _result(exchange: EmbeddedExchange, listing: Listing, stage: Stage) -> tuple[str, Micros | None]:
    """What may be known of the outcome: nothing before it is determined."""
    if stage not in {Stage.DETERMINED, Stage.FINALIZED}:
        return "", None
    known = exchange.engine.state.markets.get(listing.ticker)
    yes = listing.outcome if known is None else bool(known.yes)
    return ("yes" if yes else "no"), PAYOUT if yes else 0


def event_shape(catalogue: Catalogue, event_ticker: str) -> Json:
    """An event without its markets."""
    questions = catalogue.event(event_ticker)
    first = questions[0]
    listing = catalogue.listing(first.ticker)
    return {
        "event_ticker": event_ticker,
        "series_ticker": series_of(first.category),
        "title": first.title,
        "sub_title": "",
        "collateral_return_type": "",
        "mutually_exclusive": False,
        "category": first.category.capitalize(),
        "settlement_sources": [{"name": first.source, "url": first.url}],
        "last_updated_ts": rfc3339(micros_since_epoch(first.listed_at)),
        "exchange_index": listing.shard if listing is not None else 0,
    }


def series_shape(catalogue: Catalogue, category: str, listing: Listing) -> Json:
    """A series: here, a category of questions."""
    makers = listing.fees.maker_millionths
    return {
        "ticker": series_of(category),
        "frequency": "one_off",
        "title": f"{category.capitalize()} questions (SIMULATED trading)",
        "category": category.capitalize(),
        "categories": [category.capitalize()],
        "tags": [category],
        "settlement_sources": [],
        "contract_url": "",
        "contract_terms_url": "",
        "fee_type": "quadratic_with_maker_fees" if makers else "quadratic",
        "fee_multiplier": listing.fees.multiplier_millionths / 1_000_000,
        "additional_prohibitions": [],
        "last_updated_ts": rfc3339(min(catalogue.opens)),
        "exchange_index": 0,
    }


def order_shape(order: Order, account: Account, shard: int, *, legacy: bool = True) -> Json:
    """An order as reads show it."""
    shape: Json = {
        "order_id": order_id(order.number),
        "user_id": user_id(account.number),
        "client_order_id": order.client_order_id,
        "ticker": order.ticker,
        "outcome_side": outcome_side(order.bid),
        "book_side": book_side(order.bid),
        "type": "limit",
        "status": order.status.value,
        "yes_price_dollars": dollars(order.price),
        "no_price_dollars": dollars(PAYOUT - order.price),
        "fill_count_fp": fp(order.filled),
        "remaining_count_fp": fp(order.remaining if order.status is Status.RESTING else 0),
        "initial_count_fp": fp(order.initial),
        "taker_fill_cost_dollars": dollars(order.taker_cost),
        "maker_fill_cost_dollars": dollars(order.maker_cost),
        "taker_fees_dollars": dollars(order.taker_fees),
        "maker_fees_dollars": dollars(order.maker_fees),
        "expiration_time": None if order.expires_us is None else rfc3339(order.expires_us),
        "created_time": rfc3339(order.created_us),
        "last_update_time": rfc3339(order.updated_us),
        "self_trade_prevention_type": order.self_trade.value,
        "order_group_id": order.group or None,
        "cancel_order_on_pause": order.pause_cancel,
        "subaccount_number": account.subaccount,
        "exchange_index": shard,
    }
    if legacy:
        shape["side"] = outcome_side(order.bid)
        shape["action"] = "buy"
    return shape


def fill_shape(fill: Fill, account: Account, shard: int, *, legacy: bool = True) -> Json:
    """One member's side of an execution."""
    number = fill_id(fill.number)
    shape: Json = {
        "fill_id": number,
        "trade_id": number,
        "exchange_index": shard,
        "order_id": order_id(fill.order),
        "ticker": fill.ticker,
        "market_ticker": fill.ticker,
        "outcome_side": outcome_side(fill.bid),
        "book_side": book_side(fill.bid),
        "count_fp": fp(fill.count),
        "yes_price_dollars": dollars(fill.price),
        "no_price_dollars": dollars(PAYOUT - fill.price),
        "is_taker": fill.taker,
        "created_time": rfc3339(fill.at_us),
        "fee_cost": dollars(fill.fee),
        "subaccount_number": account.subaccount,
        "ts": seconds(fill.at_us),
    }
    if legacy:
        shape["side"] = outcome_side(fill.bid)
        shape["action"] = "buy"
    return shape


def trade_shape(trade: Print) -> Json:
    """A print of the public tape."""
    return {
        "trade_id": trade_id(trade.number),
        "ticker": trade.ticker,
        "count_fp": fp(trade.count),
        "yes_price_dollars": dollars(trade.price),
        "no_price_dollars": dollars(PAYOUT - trade.price),
        "taker_side": outcome_side(trade.taker_bid),
        "taker_outcome_side": outcome_side(trade.taker_bid),
        "taker_book_side": book_side(trade.taker_bid),
        "created_time": rfc3339(trade.at_us),
        "is_block_trade": False,
    }


def position_shape(ticker: str, stake: Stake, shard: int) -> Json:
    """A position in one market."""
    return {
        "ticker": ticker,
        "exchange_index": shard,
        "total_traded_dollars": dollars(stake.traded),
        "position_fp": fp(stake.count),
        "market_exposure_dollars": dollars(stake.cost),
        "realized_pnl_dollars": dollars(stake.realized),
        "fees_paid_dollars": dollars(stake.fees),
        "last_updated_ts": rfc3339(stake.updated_us),
        "resting_orders_count": 0,
    }


def settlement_shape(payout: Payout, event_ticker: str, shard: int) -> Json:
    """A payout; revenue in whole cents, as on Kalshi."""
    yes, no = max(payout.count, 0), max(-payout.count, 0)
    return {
        "ticker": payout.ticker,
        "exchange_index": shard,
        "event_ticker": event_ticker,
        "market_result": "yes" if payout.yes else "no",
        "yes_count_fp": fp(yes),
        "yes_total_cost_dollars": dollars(payout.cost if yes else 0),
        "no_count_fp": fp(no),
        "no_total_cost_dollars": dollars(payout.cost if no else 0),
        "revenue": cents(payout.revenue),
        "settled_time": rfc3339(payout.at_us),
        "fee_cost": dollars(payout.fees),
        "value": 100 if payout.yes else 0,
    }


def ladder_shape(levels: list[tuple[Micros, int]], depth: int = 0) -> list[list[str]]:
    """Levels best last; with a depth only the best so many."""
    return [[dollars(price), fp(count)] for price, count in (levels[-depth:] if depth else levels)]


def dollar_volume(amount: Micros) -> int:
    """Whole dollars."""
    return amount // USD
