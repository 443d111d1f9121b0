"""``ports.Exchange`` over Kalshi's REST API: real orders, or SIMULATED ones at an embedded server.

What it adds to the wire:
  - every order that may rest expires, is cancelled on a pause, and belongs to an order group;
  - exits are immediate-or-cancel and reduce-only, the only way Kalshi keeps an exit from opening risk;
  - an order is "not there" only when Kalshi's view of our account is younger than the order could still
    have arrived; until then the answer is that nobody knows;
  - a cancel that finds nothing is believed after a read has confirmed it;
  - an empty list of positions is believed when nothing speaks against it;
  - fills name the order they belong to by our id, which Kalshi's list does not tell.

Exchange time is Kalshi's; where it runs faster than ours, what passes by our clock is scaled (:mod:`.pace`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from jurymast.domain.errors import (
    ExchangeError,
    ExchangeUnavailable,
    OrderRejected,
    OrderUnknown,
)
from jurymast.domain.market import Book, MarketSnapshot
from jurymast.domain.money import CONTRACT, Centi, notional
from jurymast.domain.order import (
    Action,
    Balance,
    Fill,
    Order,
    OrderIntent,
    OrderStatus,
    Position,
    Settlement,
    TimeInForce,
)
from jurymast.exchange.kalshi.account import (
    KalshiFill,
    KalshiOrder,
    KalshiSettlement,
    book_side,
    yes_price,
)
from jurymast.exchange.kalshi.board import PAGES_PER_LOOK, Board
from jurymast.exchange.kalshi.freshness import CATCH_UP_SECS, STALE_SECS_MAX, Freshness
from jurymast.exchange.kalshi.hosts import Environment
from jurymast.exchange.kalshi.listener import Listener
from jurymast.exchange.kalshi.markets import KalshiMarket, Lifecycle
from jurymast.exchange.kalshi.memory import Feed, OrderMemory, Sent
from jurymast.exchange.kalshi.orders import Amendment, NewOrder, Placed
from jurymast.exchange.kalshi.pace import KALSHI_PACE, Pace
from jurymast.exchange.kalshi.refusals import DUPLICATE, NOT_FOUND, NOT_SENT
from jurymast.exchange.kalshi.rest import KalshiRest
from jurymast.ports import Clock

_BEFORE_SECS: Final = 60.0
"""Looked back from when an order was sent: clocks differ, and rows may show late."""
_ORDERS_ASKED_MAX: Final = 100
"""Fills' orders that are asked for by id in one list of fills."""
_SIMULATED: Final = {
    Environment.EMBEDDED: "the embedded exchange, SIMULATED, play money on Kalshi's wire",
    Environment.DEMO: "Kalshi's demo, SIMULATED money",
    Environment.PRODUCTION: "Kalshi, REAL MONEY",
}


@dataclass(frozen=True, slots=True)
class KalshiSettings:
    """How the bot trades at Kalshi.

    ``series`` empty means every series; their list is read ``pages_per_look`` pages at a time.
    ``group_limit`` is the most that may fill in any 15 s, per shard. ``arrival_secs`` is how long a request
    without an answer may still arrive. Seconds are ours. Whether Kalshi's balance has the collateral of
    resting orders taken off already is not documented: ``balance_excludes_resting``.
    """

    series: tuple[str, ...] = ()
    pages_per_look: int = PAGES_PER_LOOK
    resting_ttl_secs: float = 120.0
    group_limit: Centi = 1_000 * CONTRACT
    arrival_secs: float = 10.0
    catch_up_secs: float = CATCH_UP_SECS
    stale_secs_max: float = STALE_SECS_MAX
    balance_excludes_resting: bool = True

    def __post_init__(self) -> None:
        if min(self.resting_ttl_secs, self.arrival_secs, self.catch_up_secs, self.stale_secs_max) <= 0:
            raise ValueError("the times of a Kalshi exchange are above 0")


class KalshiExchange:
    """Implements :class:`jurymast.ports.Exchange`."""

    def __init__(
        self,
        rest: KalshiRest,
        *,
        clock: Clock,
        settings: KalshiSettings | None = None,
        pace: Pace = KALSHI_PACE,
        listener: Listener | None = None,
    ) -> None:
        self.rest: Final = rest
        self.settings: Final = settings or KalshiSettings()
        self._clock = clock
        self._pace = pace
        self._listener = listener
        self._before = pace.span(_BEFORE_SECS)
        self._started_at = self._time()
        self._fresh = Freshness(
            rest.account.get_data_time,
            self._time,
            clock,
            catch_up_secs=self.settings.catch_up_secs,
            stale_max=pace.span(self.settings.stale_secs_max),
        )
        self._orders = OrderMemory()
        self._board = Board(
            rest.markets, self._time, series=self.settings.series, pages=self.settings.pages_per_look
        )
        self._groups: dict[int | None, str] = {}
        self._pulled: set[str] = set()
        self._group_of: dict[str, str] = {}
        self._fills: Feed[KalshiFill] = Feed(self._before)
        self._settlements: Feed[KalshiSettlement] = Feed(self._before)
        self._held: frozenset[str] = frozenset()
        self._held_at = self._started_at
        self._resting: frozenset[str] = frozenset()

    @property
    def speed(self) -> float:
        return self._pace.speed

    @property
    def clock_skew_secs(self) -> float:
        """By how much our clock is off, measured when Kalshi refuses a signature for its time."""
        return self.rest.http.skew.total_seconds()

    @property
    def environment(self) -> Environment:
        return self.rest.http.host.environment

    def describe(self) -> str:
        """One line for logs and screens."""
        host = self.rest.http.host
        fast = f", time x{self.speed:g}" if self.speed != 1.0 else ""
        return f"{_SIMULATED[host.environment]}, at {host.rest_origin}{fast}"

    @property
    def order_groups(self) -> dict[int | None, str]:
        """Ids of the order groups of this run, by shard."""
        return dict(self._groups)

    async def now(self) -> datetime:
        return self._time()

    async def news(self) -> None:
        """Return when something of our account may have changed; never, if nobody listens."""
        if self._listener is None:
            await asyncio.Event().wait()
        else:
            await self._listener.news()

    async def list_snapshots(self) -> Sequence[MarketSnapshot]:
        """Every market that trades, with the best level of each side; whole books of those at stake that
        are heard live, and of any one by :meth:`get_snapshot`."""
        found = await self._board.look(self._held | self._resting)
        return [self._with_live_book(each) for each in found]

    async def get_snapshot(self, ticker: str) -> MarketSnapshot:
        """Raises OrderRejected with a code of not found for a ticker that was never listed."""
        market = await self._board.read(ticker)
        trades = market.status is Lifecycle.ACTIVE
        book = await self.rest.markets.get_book(ticker) if trades else Book((), ())
        return self._board.show(market, book)

    async def list_books(self, tickers: Sequence[str]) -> Mapping[str, Book]:
        return await self.rest.markets.list_books(tickers)

    async def place_order(self, intent: OrderIntent) -> Order:
        """Raises OrderRejected when nothing was placed and OrderUnknown when that can't be told."""
        try:
            new = await self._new_order(intent)
        except OrderRejected:
            raise
        except (ExchangeError, ValueError) as error:
            raise OrderRejected(NOT_SENT, f"{intent.client_order_id} was not sent: {error}") from error
        self._orders.sent.put(intent.client_order_id, Sent(intent, self._time()))
        try:
            placed = await self.rest.orders.create(new)
        except OrderRejected as refused:
            if refused.code != DUPLICATE:
                self._orders.sent.drop(intent.client_order_id)
            if refused.code in NOT_FOUND:
                self._groups.clear()  # somebody may have deleted the group
            raise
        self._orders.saw(placed.order_id, intent.client_order_id)
        self._fresh.changed(placed.at)
        return _acknowledged(intent, new, placed)

    async def extend_order(self, order: Order, expires_at: datetime) -> Order:
        """Let a resting order live longer; it keeps its place in the queue. Raises as a cancel does."""
        changed = await self.rest.orders.amend(
            Amendment(
                order_id=order.order_id,
                ticker=order.ticker,
                side=book_side(order.side, order.action),
                yes_price=yes_price(order.side, order.limit_price),
                count=order.count,
                expires_at=expires_at,
            )
        )
        self._fresh.changed(changed.at)
        return replace(order, expires_at=expires_at.replace(microsecond=0))

    async def cancel_order(self, order: Order) -> Order:
        """Raises OrderUnknown when it may still rest, OrderRejected ``not_found`` if it was never there."""
        try:
            cancelled = await self.rest.orders.cancel(order.order_id, order.ticker)
        except OrderRejected as refused:
            if refused.code not in NOT_FOUND:
                raise
            return await self._ended(order, str(refused))
        except OrderUnknown as unknown:
            return await self._ended(order, str(unknown))
        self._fresh.changed(cancelled.at)
        if cancelled.reduced_by > order.count:
            raise OrderUnknown(f"{order.client_order_id}: more was cancelled than ordered; ask for it")
        filled = max(order.filled, order.count - cancelled.reduced_by)
        status = OrderStatus.EXECUTED if filled == order.count else OrderStatus.CANCELED
        return replace(order, filled=filled, status=status)

    async def pull_groups(self, orders: Sequence[Order]) -> int:
        """Trigger the groups of this run, and those that a life before has left orders in."""
        groups = {group: shard for shard, group in self._groups.items()}
        for order in orders:
            if group := self._group_of.get(order.order_id):
                groups.setdefault(group, (await self._board.market(order.ticker)).shard)
        for group, shard in groups.items():
            try:
                await self.rest.orders.trigger_group(group, shard=shard)
            except OrderRejected as refused:
                if refused.code not in NOT_FOUND:
                    raise
            self._pulled.add(group)
        return len(groups)

    async def cancel_all(self) -> None:
        await self.rest.orders.cancel_all()

    async def find_order(self, client_order_id: str) -> Order | None:
        """None only when the order is not there and can't arrive any more; ExchangeUnavailable before."""
        as_of = await self._fresh.ensure()
        if (order_id := self._orders.order_id(client_order_id)) is not None:
            return await self._known(order_id)
        sent = self._orders.sent.get(client_order_id)
        for found in await self._list_orders(sent):
            self._orders.saw(found.order_id, found.client_order_id)
        if (order_id := self._orders.order_id(client_order_id)) is not None:
            return await self._known(order_id)
        settled_at = (sent.at if sent else self._started_at) + self._pace.span(self.settings.arrival_secs)
        if as_of < settled_at:
            raise ExchangeUnavailable(
                f"Kalshi does not show {client_order_id}, but it may still arrive; ask again after "
                f"{settled_at:%H:%M:%S}. Nothing is sent for this market until then."
            )
        return None

    async def list_open_orders(self) -> Sequence[Order]:
        """An order with a status nobody here knows counts as open."""
        await self._fresh.ensure()
        orders = []
        self._group_of = {}
        for found in await self.rest.account.list_orders(status="resting"):
            self._orders.saw(found.order_id, found.client_order_id)
            self._group_of[found.order_id] = found.order_group_id
            known = found if found.status is not None else replace(found, status=OrderStatus.RESTING)
            if known.status is OrderStatus.RESTING:
                orders.append(self._orders.order(known))
        self._resting = frozenset(each.ticker for each in orders)
        self._follow()
        return orders

    async def list_fills(self, after: str | None = None) -> Sequence[Fill]:
        """Fills not told yet, in order of execution. One that Kalshi shows late is told when it shows."""
        await self._fresh.ensure()
        found = await self.rest.account.list_fills(self._fills.since(after))
        news = self._fills.news(((fill.fill_id, fill.at, fill) for fill in found), after)
        await self._learn_orders(news)
        return [self._orders.fill(fill) for fill in news]

    async def list_positions(self) -> Sequence[Position]:
        """Raises ExchangeUnavailable for an empty answer that something else speaks against."""
        await self._fresh.ensure()
        asked_at = self._time()
        found = [each for each in await self.rest.account.list_positions() if each.count]
        if not found:
            await self._check_nothing_held()
        await self._board.learn(each.ticker for each in found)
        positions = [each.position((await self._board.market(each.ticker)).event_ticker) for each in found]
        self._held, self._held_at = frozenset(each.ticker for each in found), asked_at
        self._follow()
        return positions

    async def list_settlements(self, after: str | None = None) -> Sequence[Settlement]:
        found = await self.rest.account.list_settlements(self._settlements.since(after))
        rows = ((each.ticker, each.at, each) for each in found)
        return [each.settlement for each in self._settlements.news(rows, after)]

    async def get_balance(self) -> Balance:
        await self._fresh.ensure()
        cash = (await self.rest.account.get_balance()).cash
        if not self.settings.balance_excludes_resting:
            resting = await self.list_open_orders()
            cash -= sum(
                notional(each.limit_price, each.remaining) for each in resting if each.action is Action.BUY
            )
        return Balance(cash)

    async def close(self) -> None:
        """Let go of the connections. Resting orders stay until they expire."""
        await self.rest.close()

    def _time(self) -> datetime:
        return self._pace.at(self._clock.utc_now() + self.rest.http.skew)

    def _with_live_book(self, snapshot: MarketSnapshot) -> MarketSnapshot:
        book = None if self._listener is None else self._listener.book(snapshot.ticker)
        return snapshot if book is None else replace(snapshot, book=book, as_of=self._time())

    def _follow(self) -> None:
        """Hear of the books of the markets at stake."""
        if self._listener is not None:
            self._listener.follow(self._held | self._resting)

    async def _new_order(self, intent: OrderIntent) -> NewOrder:
        """The order as it is sent. Raises ExchangeError or ValueError; nothing has been placed."""
        price = yes_price(intent.side, intent.limit_price)
        market = await self._market_for(intent.ticker, price)
        rests = intent.time_in_force is TimeInForce.GOOD_TILL_CANCELED
        expires_at = intent.expires_at or self._time() + self._pace.span(self.settings.resting_ttl_secs)
        order = NewOrder(
            ticker=intent.ticker,
            side=book_side(intent.side, intent.action),
            yes_price=price,
            count=intent.count,
            time_in_force=intent.time_in_force,
            client_order_id=intent.client_order_id,
            expires_at=expires_at if rests else None,
            reduce_only=intent.reduce_only,
        )
        return replace(order, group_id=await self._group(market.shard)) if rests else order

    async def _market_for(self, ticker: str, price: int) -> KalshiMarket:
        """The market, if it takes the price. Ticks change while it trades, so a doubt is asked about."""
        market = await self._board.market(ticker)
        if not market.grid.accepts(price):
            market = await self._board.read(ticker)
        grid = market.grid
        if not grid.accepts(price):
            raise OrderRejected(
                "invalid_parameters",
                f"{ticker} takes no YES price of {price} micro-dollars; "
                f"the nearest are {grid.at_most(price)} and {grid.at_least(price)}",
            )
        return market

    async def _group(self, shard: int | None) -> str:
        if shard not in self._groups:
            self._groups[shard] = await self.rest.orders.create_group(self.settings.group_limit, shard=shard)
        group = self._groups[shard]
        if group in self._pulled:
            await self.rest.orders.reset_group(group, shard=shard)
            self._pulled.discard(group)
        return group

    async def _ended(self, order: Order, cause: str) -> Order:
        """The order, once a read has confirmed that it rests no more."""
        await self._fresh.ensure()
        found = await self.rest.account.get_order(order.order_id)
        if found.status is OrderStatus.RESTING:
            raise OrderUnknown(f"{order.client_order_id} still rests although: {cause}; cancel it again")
        return self._orders.order(found)

    async def _known(self, order_id: str) -> Order:
        try:
            return self._orders.order(await self.rest.account.get_order(order_id))
        except OrderRejected as refused:
            raise ExchangeUnavailable(
                f"Kalshi knew order {order_id} and does not show it now: {refused}"
            ) from None

    async def _list_orders(self, sent: Sent | None) -> list[KalshiOrder]:
        """Where an order must be among, if it is there."""
        if sent is None:
            return await self.rest.account.list_orders()
        return await self.rest.account.list_orders(ticker=sent.intent.ticker, since=sent.at - self._before)

    async def _learn_orders(self, fills: Iterable[KalshiFill]) -> None:
        """Our ids of the orders that these fills are of: after a restart none of them is known."""
        unnamed = [each for each in fills if not each.client_order_id]
        unknown = list(
            dict.fromkeys(each.order_id for each in unnamed if not self._orders.knows(each.order_id))
        )
        for order_id in unknown[:_ORDERS_ASKED_MAX]:
            try:
                found = await self.rest.account.get_order(order_id)
            except OrderRejected:
                continue  # in the archive by now
            self._orders.saw(order_id, found.client_order_id)

    async def _check_nothing_held(self) -> None:
        """An empty list is also what a broken reader or a lagging shard gives."""
        value = (await self.rest.account.get_balance()).portfolio_value
        if value:
            raise ExchangeUnavailable(
                f"Kalshi lists no positions but values them at {value} micro-dollars; our books stay"
            )
        if not self._held:
            return
        fills = await self.rest.account.list_fills(self._held_at - self._before)
        settlements = await self.rest.account.list_settlements(self._held_at - self._before)
        explained = {each.ticker for each in fills} | {each.ticker for each in settlements}
        if unexplained := self._held - explained:
            raise ExchangeUnavailable(
                f"Kalshi lists no positions, but held {min(unexplained)} before and shows neither "
                "fill nor payout since; our books stay"
            )


def _acknowledged(intent: OrderIntent, new: NewOrder, placed: Placed) -> Order:
    if placed.remaining:
        status = OrderStatus.RESTING
    else:
        status = OrderStatus.EXECUTED if placed.filled == intent.count else OrderStatus.CANCELED
    return Order(
        order_id=placed.order_id,
        client_order_id=intent.client_order_id,
        ticker=intent.ticker,
        side=intent.side,
        action=intent.action,
        limit_price=intent.limit_price,
        count=intent.count,
        filled=placed.filled,
        status=status,
        created_at=placed.at,
        expires_at=new.expires_at,
    )
