"""One match after another: what an order would meet, and what each match does to both members."""

from __future__ import annotations

import msgspec

from jurymast.domain.money import PAYOUT, Centi, Micros
from jurymast.exchange.embedded.accounts import Account, Stake, hold, rest, trade, value
from jurymast.exchange.embedded.floor import Floor, Market
from jurymast.exchange.embedded.records import (
    Fill,
    Order,
    PositionChanged,
    Print,
    Reason,
    SelfTrade,
    Status,
)
from jurymast.policy.fees import charge


class Execution(msgspec.Struct):
    """What a command did to an order at once. Fees are the taker's; ``removed`` is what was cancelled."""

    order: Order
    filled: Centi = 0
    yes_value: Micros = 0
    fees: Micros = 0
    removed: Centi = 0


class Plan:
    """What an order would meet, found before anything changes. ``blocked`` by an order of its own member."""

    __slots__ = ("blocked", "cost", "fees", "filled", "own", "takes")

    def __init__(self) -> None:
        self.takes: list[tuple[Order, Centi]] = []
        self.own: list[Order] = []
        self.blocked = False
        self.filled: Centi = 0
        self.cost: Micros = 0
        self.fees: Micros = 0


def plan(floor: Floor, market: Market, order: Order, account: Account) -> Plan:
    """Walk the book without touching it."""
    found = Plan()
    left, rounding, bid = order.remaining, order.rounding, order.bid
    fees, accounts = market.listing.fees, floor.state.accounts
    for maker in market.book.opposing(bid, order.price):
        if not left:
            break
        if accounts[maker.owner].user == account.user:
            if order.self_trade is SelfTrade.TAKER_AT_CROSS:
                found.blocked = True
                break
            found.own.append(maker)
            continue
        count = maker.remaining if maker.remaining < left else left
        cost = value(maker.price if bid else PAYOUT - maker.price, count)
        cut = charge(maker.price, count, -cost, carried=rounding, schedule=fees)
        rounding = cut.carried
        found.takes.append((maker, count))
        found.filled += count
        found.cost += cost
        found.fees += cut.fee
        left -= count
    return found


def execute(floor: Floor, market: Market, maker: Order, taker: Order, count: Centi, done: Execution) -> None:
    """One match at the maker's price, added to what the taker's command has ``done``."""
    state, known = floor.state, market.state
    shard, price, now_us = market.listing.shard, maker.price, state.now_us
    number = state.next_trade
    state.next_trade = number + 1
    account, other = state.accounts[taker.owner], state.accounts[maker.owner]
    theirs, ours = other.stakes[maker.ticker], account.stake(taker.ticker)
    slack_before = floor.slack_of(maker, market, maker.remaining)
    market.book.reduce(maker, count)
    rest(theirs, bid=maker.bid, price=price, count=-count)
    theirs.slack += floor.slack_of(maker, market, maker.remaining) - slack_before
    redeemed = trade(other, shard, theirs, bid=maker.bid, price=price, count=count)
    redeemed += trade(account, shard, ours, bid=taker.bid, price=price, count=count)
    taker.remaining -= count
    known.pairs += count - redeemed
    known.volume += count
    known.notional += value(price, count)
    known.last_price, known.last_count = price, count
    maker_fee = _charge(floor, market, maker, theirs, price, count, maker=True)
    taker_fee = _charge(floor, market, taker, ours, price, count, maker=False)
    theirs.updated_us = ours.updated_us = other.updated_us = account.updated_us = now_us
    hold(other, shard, theirs)
    hold(account, shard, ours)
    done.filled += count
    done.yes_value += value(price, count)
    done.fees += taker_fee
    floor.delta(maker, market, -count)
    floor.print_trade(Print(number, maker.ticker, price, count, taker.bid, now_us))
    _report(floor, maker, other, theirs, price, count, maker_fee, taker=False)
    _report(floor, taker, account, ours, price, count, taker_fee, taker=True)
    if maker.remaining:
        floor.changed(maker, Reason.TRADE)
    else:
        floor.end(maker, Status.EXECUTED, Reason.TRADE)


def _charge(
    floor: Floor, market: Market, order: Order, stake: Stake, price: Micros, count: Centi, *, maker: bool
) -> Micros:
    """Take the fee and book the match on the order."""
    cost = value(price if order.bid else PAYOUT - price, count)
    cut = charge(price, count, -cost, carried=order.rounding, maker=maker, schedule=market.listing.fees)
    fee, order.rounding = cut.fee, cut.carried
    order.filled += count
    if maker:
        order.maker_cost += cost
        order.maker_fees += fee
    else:
        order.taker_cost += cost
        order.taker_fees += fee
    floor.state.accounts[order.owner].cash[market.listing.shard] -= fee
    stake.fees += fee
    floor.state.fees += fee
    return fee


def _report(
    floor: Floor,
    order: Order,
    account: Account,
    stake: Stake,
    price: Micros,
    count: Centi,
    fee: Micros,
    *,
    taker: bool,
) -> None:
    """Tell a member of a fill; of the crowd's no record is kept."""
    if account.house:
        return
    state = floor.state
    floor.keep_fill(
        Fill(
            number=state.next_fill,
            order=order.number,
            client_order_id=order.client_order_id,
            owner=account.number,
            ticker=order.ticker,
            bid=order.bid,
            taker=taker,
            price=price,
            count=count,
            fee=fee,
            position=stake.count,
            at_us=state.now_us,
        )
    )
    state.next_fill += 1
    floor.events.append(PositionChanged(account.number, order.ticker))
