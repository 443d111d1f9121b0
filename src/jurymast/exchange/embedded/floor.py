"""Everything the engine knows, and the few changes that all its rules are made of.

:class:`State` is what a snapshot holds. :class:`Floor` adds what follows from it (books, indexes, what is
due when) and keeps the two in step: orders enter and leave the book here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from heapq import heappop, heappush
from typing import Final

import msgspec

from jurymast.domain.errors import OrderRejected
from jurymast.domain.money import Centi, Micros
from jurymast.exchange.embedded.accounts import Account, hold, rest
from jurymast.exchange.embedded.book import Book
from jurymast.exchange.embedded.groups import Group
from jurymast.exchange.embedded.lifecycle import DETERMINATION_US, SETTLEMENT_US, Listing, Stage
from jurymast.exchange.embedded.records import (
    BookDelta,
    Event,
    Fill,
    Order,
    OrderChanged,
    Payout,
    Print,
    Reason,
    Status,
)
from jurymast.policy.fees import resting_reserve

ORDERS_KEPT: Final = 100_000
"""Ended orders of members; the oldest are forgotten first. The crowd's are forgotten at once."""
FILLS_KEPT: Final = 200_000
TAPE_KEPT: Final = 50_000
"""Prints of all markets together."""
PAYOUTS_KEPT: Final = 100_000

Catalogue = Callable[[str], Listing | None]


class MarketState(msgspec.Struct):
    """What trading made of a market.

    ``end_us`` is when it closes or closed, ``pairs`` are outstanding, ``acted`` is the tick in which the
    crowd was here last. ``recorded`` is a tape's: on show and taken from it, by level.
    """

    ticker: str
    stage: Stage
    end_us: int
    determined_us: int = 0
    settled_us: int = 0
    yes: bool | None = None
    last_price: Micros = 0
    last_count: Centi = 0
    volume: Centi = 0
    notional: Micros = 0
    pairs: Centi = 0
    clock: int = 0
    watched: bool = False
    acted: int = -1
    acted_us: int = 0
    recorded: dict[int, list[Centi]] = {}


class State(msgspec.Struct):
    """All that is to be remembered. ``clock`` counts the actions that changed a book."""

    shards: int = 1
    now_us: int = 0
    clock: int = 0
    ticks: int = 0
    next_order: int = 1
    next_trade: int = 1
    next_fill: int = 1
    next_group: int = 1
    next_payout: int = 1
    priority: int = 0
    trading_paused: bool = False
    exchange_paused: bool = False
    deposited: Micros = 0
    fees: Micros = 0
    accounts: list[Account] = []
    markets: dict[str, MarketState] = {}
    orders: dict[int, Order] = {}
    ended: list[int] = []
    client_ids: dict[str, dict[str, int]] = {}
    fills: list[Fill] = []
    payouts: list[Payout] = []
    groups: dict[str, Group] = {}
    tape: list[Print] = []
    swept: list[int] = []


class Market:
    """A market that somebody touched: its listing, what became of it, its book."""

    __slots__ = ("book", "listing", "state")

    def __init__(self, listing: Listing, state: MarketState) -> None:
        self.listing = listing
        self.state = state
        self.book = Book()


class Floor:
    """The state and what follows from it. ``events`` collects what is to be told; the reader empties it."""

    def __init__(self, catalogue: Catalogue, state: State) -> None:
        self.state = state
        self.events: list[Event] = []
        self.markets: dict[str, Market] = {}
        self.open: dict[int, dict[int, Order]] = {account.number: {} for account in state.accounts}
        self.expiries: list[tuple[int, int]] = []
        self.steps: list[tuple[int, str]] = []
        self._catalogue = catalogue
        for ticker, known in state.markets.items():
            listing = catalogue(ticker)
            if listing is None:
                raise OrderRejected("market_not_found", f"{ticker} was traded and is not listed any more")
            self.markets[ticker] = Market(listing, known)
            self._schedule(self.markets[ticker])
        resting = (order for order in state.orders.values() if order.status is Status.RESTING)
        for order in sorted(resting, key=lambda order: order.priority):
            self.markets[order.ticker].book.add(order)
            self.open[order.owner][order.number] = order
            self.watch_expiry(order)

    def listing(self, ticker: str) -> Listing:
        """Raises OrderRejected with code ``market_not_found``."""
        listing = self._catalogue(ticker)
        if listing is None:
            raise OrderRejected("market_not_found", f"there is no market {ticker}")
        return listing

    def market(self, ticker: str) -> Market:
        """A market to trade in; from now on it has a record of its own."""
        market = self.markets.get(ticker)
        if market is None:
            listing = self.listing(ticker)
            stage = listing.stage_at(self.state.now_us)
            known = MarketState(ticker, stage, min(listing.close_us, listing.resolve_us))
            if stage in {Stage.DETERMINED, Stage.FINALIZED}:
                known.yes = listing.outcome
                known.determined_us = known.end_us + DETERMINATION_US
                known.settled_us = known.determined_us + SETTLEMENT_US
            self.state.markets[ticker] = known
            market = self.markets[ticker] = Market(listing, known)
            self._schedule(market)
        return market

    def account(self, owner: int) -> Account:
        return self.state.accounts[owner]

    def due(self, market: Market) -> int | None:
        """When the next step of a market's life comes by itself."""
        known = market.state
        match known.stage:
            case Stage.INITIALIZED:
                return market.listing.open_us
            case Stage.ACTIVE | Stage.INACTIVE:
                return known.end_us
            case Stage.CLOSED:
                return known.end_us + DETERMINATION_US
            case Stage.DETERMINED:
                return known.determined_us + SETTLEMENT_US
            case _:
                return None

    def _schedule(self, market: Market) -> None:
        due_us = self.due(market)
        if due_us is not None:
            heappush(self.steps, (due_us, market.listing.ticker))

    def set_stage(self, market: Market, stage: Stage) -> None:
        market.state.stage = stage
        self._schedule(market)

    def next_step(self, now_us: int) -> Market | None:
        """The market whose next step is due first, if any is."""
        while self.steps and self.steps[0][0] <= now_us:
            due_us, ticker = heappop(self.steps)
            market = self.markets[ticker]
            if self.due(market) == due_us:
                return market
        return None

    def watch_expiry(self, order: Order) -> None:
        if order.expires_us is not None:
            heappush(self.expiries, (order.expires_us, order.number))

    def next_expired(self, now_us: int) -> Order | None:
        """The resting order that expires first, if its time is over."""
        while self.expiries and self.expiries[0][0] <= now_us:
            expires_us, number = heappop(self.expiries)
            order = self.state.orders.get(number)
            if order is not None and order.status is Status.RESTING and order.expires_us == expires_us:
                return order
        return None

    def new_priority(self) -> int:
        self.state.priority += 1
        return self.state.priority

    def put_on(self, order: Order, market: Market) -> None:
        """Let what remains of an order rest, behind everybody at its price."""
        order.priority = self.new_priority()
        market.book.add(order)
        self.open[order.owner][order.number] = order
        self._collateral(order, market, order.remaining)
        self.delta(order, market, order.remaining)
        self.watch_expiry(order)

    def take_off(self, order: Order, reason: Reason) -> Centi:
        """Cancel what remains of a resting order; returns how much that was."""
        market = self.markets[order.ticker]
        remaining = self.shrink(order, market, order.remaining)
        self.end(order, Status.CANCELED, reason)
        return remaining

    def shrink(self, order: Order, market: Market, count: Centi) -> Centi:
        """Take ``count`` off a resting order, which keeps its place; returns ``count``."""
        market.book.reduce(order, count)
        self._collateral(order, market, -count)
        self.delta(order, market, -count)
        return count

    def end(self, order: Order, status: Status, reason: Reason) -> None:
        """An order is over: nothing of it rests any more."""
        order.status = status
        self.open[order.owner].pop(order.number, None)
        self.changed(order, reason)
        if self.account(order.owner).house:
            self.state.orders.pop(order.number, None)
            return
        ended = self.state.ended
        ended.append(order.number)
        if len(ended) > ORDERS_KEPT + ORDERS_KEPT // 10:
            for number in ended[:-ORDERS_KEPT]:
                self.state.orders.pop(number, None)
            del ended[:-ORDERS_KEPT]

    def changed(self, order: Order, reason: Reason) -> None:
        """Note a change and tell its member."""
        order.reason = reason
        order.updated_us = self.state.now_us
        if not self.account(order.owner).house:
            self.events.append(OrderChanged(copy(order)))

    def delta(self, order: Order, market: Market, count: Centi) -> None:
        clock = self.state.clock
        market.state.clock = clock
        self.events.append(
            BookDelta(order.ticker, order.bid, order.price, count, clock, order.owner, order.client_order_id)
        )

    def _collateral(self, order: Order, market: Market, count: Centi) -> None:
        account = self.state.accounts[order.owner]
        stake = account.stake(order.ticker)
        rest(stake, bid=order.bid, price=order.price, count=count)
        extra = self.slack_of(order, market, order.remaining)
        stake.slack += extra - self.slack_of(order, market, order.remaining - count)
        hold(account, market.listing.shard, stake)

    def slack_of(self, order: Order, market: Market, count: Centi) -> Micros:
        return resting_reserve(market.listing.fees, order.price, count)

    def print_trade(self, trade: Print) -> None:
        state = self.state
        state.tape.append(trade)
        if len(state.tape) > TAPE_KEPT + TAPE_KEPT // 10:
            del state.tape[:-TAPE_KEPT]
        self.events.append(trade)

    def keep_fill(self, fill: Fill) -> None:
        fills = self.state.fills
        fills.append(fill)
        if len(fills) > FILLS_KEPT + FILLS_KEPT // 10:
            del fills[:-FILLS_KEPT]
        self.events.append(fill)

    def keep_payout(self, payout: Payout) -> None:
        self.state.payouts.append(payout)
        del self.state.payouts[:-PAYOUTS_KEPT]
        self.events.append(payout)
