"""What happened, as websocket messages: one ``msg`` for each event, without subscription numbers.

Checked against the AsyncAPI description on 2026-11-23. Levels are best last; a side of the book without
levels has no key; changes by the member's own orders carry their ``client_order_id``.
"""

from __future__ import annotations

from typing import Final

from jurymast.domain.money import PAYOUT, USD
from jurymast.exchange.embedded.accounts import Account, value
from jurymast.exchange.embedded.exchange import USER, Depth, EmbeddedExchange
from jurymast.exchange.embedded.lifecycle import Listing
from jurymast.exchange.embedded.records import (
    BookDelta,
    Fill,
    GroupChanged,
    MarketChanged,
    Order,
    PositionChanged,
    Print,
    Reason,
)
from jurymast.exchange.embedded.server.shapes import Json, ladder_shape
from jurymast.exchange.embedded.server.wire import (
    book_side,
    dollars,
    dollars6,
    fill_id,
    fp,
    market_id,
    milliseconds,
    order_id,
    outcome_side,
    rfc3339,
    seconds,
    trade_id,
    user_id,
)

_SILENT: Final = frozenset({Reason.PLACED, Reason.CANCELED})


class Frames:
    """Messages of one exchange."""

    def __init__(self, exchange: EmbeddedExchange) -> None:
        self._exchange = exchange

    def mine(self, owner: int) -> Account | None:
        """The member's account of that number; None for the crowd's."""
        account = self._exchange.engine.state.accounts[owner]
        return account if account.user == USER else None

    def _market_id(self, ticker: str) -> str:
        return market_id(self._exchange.catalogue.place(ticker) or 0)

    def _listing(self, ticker: str) -> Listing:
        return self._exchange.engine.floor.listing(ticker)

    def snapshot(self, ticker: str, *, yes_price: bool) -> Json:
        """The whole book."""
        yes, no = self._exchange.depth(ticker)
        known = self._exchange.engine.state.markets.get(ticker)
        msg: Json = {
            "market_ticker": ticker,
            "market_id": self._market_id(ticker),
            "clock": 0 if known is None else known.clock,
        }
        if yes:
            msg["yes_dollars_fp"] = ladder_shape(yes)
        if no:
            msg["no_dollars_fp"] = ladder_shape(_in_yes(no) if yes_price else no)
        return msg

    def delta(self, event: BookDelta, *, yes_price: bool) -> Json:
        """A change of one level."""
        in_yes = event.bid or yes_price
        at_us = self._exchange.engine.state.now_us
        msg: Json = {
            "market_ticker": event.ticker,
            "market_id": self._market_id(event.ticker),
            "clock": event.clock,
            "price_dollars": dollars(event.price if in_yes else PAYOUT - event.price),
            "delta_fp": fp(event.delta),
            "side": outcome_side(event.bid),
            "ts": rfc3339(at_us),
            "ts_ms": milliseconds(at_us),
        }
        account = self.mine(event.owner)
        if account is not None:
            msg["client_order_id"] = event.client_order_id
            msg["subaccount"] = account.subaccount
        return msg

    def ticker(self, ticker: str) -> Json:
        """Prices, sizes and totals of a market."""
        yes, no = self._exchange.depth(ticker)
        known = self._exchange.engine.state.markets.get(ticker)
        at_us = self._exchange.engine.state.now_us
        bid, bid_size = yes[-1] if yes else (0, 0)
        no_bid, ask_size = no[-1] if no else (0, 0)
        last, pairs = (known.last_price, known.pairs) if known is not None else (0, 0)
        return {
            "market_id": self._market_id(ticker),
            "market_ticker": ticker,
            "price_dollars": dollars(last),
            "yes_bid_dollars": dollars(bid),
            "yes_ask_dollars": dollars(PAYOUT - no_bid),
            "volume_fp": fp(known.volume if known is not None else 0),
            "open_interest_fp": fp(pairs),
            "dollar_volume": (known.notional if known is not None else 0) // USD,
            "dollar_open_interest": value(last, pairs) // USD,
            "yes_bid_size_fp": fp(bid_size),
            "yes_ask_size_fp": fp(ask_size),
            "last_trade_size_fp": fp(known.last_count if known is not None else 0),
            "ts": seconds(at_us),
            "ts_ms": milliseconds(at_us),
            "time": rfc3339(at_us),
        }

    def trade(self, trade: Print) -> Json:
        """A print."""
        return {
            "trade_id": trade_id(trade.number),
            "market_ticker": trade.ticker,
            "yes_price_dollars": dollars(trade.price),
            "no_price_dollars": dollars(PAYOUT - trade.price),
            "count_fp": fp(trade.count),
            "taker_side": outcome_side(trade.taker_bid),
            "taker_outcome_side": outcome_side(trade.taker_bid),
            "taker_book_side": book_side(trade.taker_bid),
            "is_block_trade": False,
            "ts": seconds(trade.at_us),
            "ts_ms": milliseconds(trade.at_us),
        }

    def fill(self, fill: Fill, account: Account) -> Json:
        """An execution of the member's."""
        return {
            "trade_id": fill_id(fill.number),
            "order_id": order_id(fill.order),
            "client_order_id": fill.client_order_id,
            "market_ticker": fill.ticker,
            "exchange_index": self._listing(fill.ticker).shard,
            "is_taker": fill.taker,
            "side": outcome_side(fill.bid),
            "yes_price_dollars": dollars(fill.price),
            "count_fp": fp(fill.count),
            "fee_cost": dollars6(fill.fee),
            "action": "buy",
            "ts": seconds(fill.at_us),
            "ts_ms": milliseconds(fill.at_us),
            "post_position_fp": fp(fill.position),
            "purchased_side": outcome_side(fill.bid),
            "outcome_side": outcome_side(fill.bid),
            "book_side": book_side(fill.bid),
            "subaccount": account.subaccount,
        }

    def order(self, order: Order, account: Account) -> Json:
        """An order of the member's as it stood after a change."""
        msg: Json = {
            "order_id": order_id(order.number),
            "user_id": user_id(account.number),
            "ticker": order.ticker,
            "exchange_index": self._listing(order.ticker).shard,
            "status": order.status.value,
            "side": outcome_side(order.bid),
            "is_yes": order.bid,
            "outcome_side": outcome_side(order.bid),
            "book_side": book_side(order.bid),
            "yes_price_dollars": dollars(order.price),
            "fill_count_fp": fp(order.filled),
            "remaining_count_fp": fp(order.remaining),
            "initial_count_fp": fp(order.initial),
            "taker_fill_cost_dollars": dollars6(order.taker_cost),
            "maker_fill_cost_dollars": dollars6(order.maker_cost),
            "taker_fees_dollars": dollars6(order.taker_fees),
            "maker_fees_dollars": dollars6(order.maker_fees),
            "client_order_id": order.client_order_id,
            "self_trade_prevention_type": order.self_trade.value,
            "created_time": rfc3339(order.created_us),
            "created_ts_ms": milliseconds(order.created_us),
            "last_update_time": rfc3339(order.updated_us),
            "last_updated_ts_ms": milliseconds(order.updated_us),
            "subaccount_number": account.subaccount,
        }
        if order.group:
            msg["order_group_id"] = order.group
        if order.expires_us is not None:
            msg["expiration_time"] = rfc3339(order.expires_us)
            msg["expiration_ts_ms"] = milliseconds(order.expires_us)
        if order.reason not in _SILENT:
            msg["last_update_reason"] = order.reason.value
        return msg

    def position(self, event: PositionChanged, account: Account) -> Json:
        """A position of the member's."""
        stake = account.stake(event.ticker)
        return {
            "user_id": user_id(account.number),
            "market_ticker": event.ticker,
            "position_fp": fp(stake.count),
            "position_cost_dollars": dollars(stake.cost),
            "realized_pnl_dollars": dollars(stake.realized),
            "fees_paid_dollars": dollars(stake.fees),
            "position_fee_cost_dollars": dollars(stake.fees),
            "volume_fp": fp(stake.volume),
            "subaccount": account.subaccount,
        }

    def life(self, event: MarketChanged) -> Json:
        """A step of a market's life."""
        ticker = event.ticker
        known = self._exchange.engine.state.markets.get(ticker)
        listing = self._listing(ticker)
        end_us = known.end_us if known is not None else min(listing.close_us, listing.resolve_us)
        msg: Json = {"market_ticker": ticker, "event_type": event.what}
        match event.what:
            case "activated" | "deactivated":
                msg["is_deactivated"] = event.what == "deactivated"
            case "close_date_updated":
                msg["close_ts"] = seconds(end_us)
            case "determined":
                yes = listing.outcome if known is None or known.yes is None else known.yes
                due_us = listing.due()[2][0] if known is None else known.determined_us
                msg["determination_ts"] = seconds(due_us)
                msg["result"] = "yes" if yes else "no"
                msg["settlement_value"] = dollars(PAYOUT if yes else 0)
            case _:
                due_us = listing.due()[3][0] if known is None else known.settled_us
                msg["settled_ts"] = seconds(due_us)
        return msg

    def group(self, event: GroupChanged) -> Json:
        """A change of an order group."""
        msg: Json = {
            "event_type": event.what,
            "order_group_id": event.group,
            "ts_ms": milliseconds(self._exchange.engine.state.now_us),
        }
        if event.limit is not None:
            msg["contracts_limit_fp"] = fp(event.limit)
        return msg


def _in_yes(levels: Depth) -> Depth:
    return [(PAYOUT - price, count) for price, count in levels]
