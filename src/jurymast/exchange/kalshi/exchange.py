"""``ports.Exchange`` over Kalshi's REST API: real orders, or SIMULATED ones at an embedded server.

What it adds to the wire:
  - every order that may rest expires, is cancelled on a pause, and belongs to an order group;
  - exits are immediate-or-cancel and reduce-only, the only way Kalshi keeps an exit from opening risk;
  - an order is "not there" only when Kalshi's view of our account is younger than the order could still
    have arrived; until then the answer is that nobody knows;
  - a cancel that finds nothing is believed after a read has confirmed it;
  - an empty list of positions is believed when nothing speaks against it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
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
from jurymast.exchange.kalshi.freshness import CATCH_UP_SECS, STALE_SECS_MAX, Freshness
from jurymast.exchange.kalshi.markets import KalshiMarket, Lifecycle, MarketFilter
from jurymast.exchange.kalshi.memory import MARKETS_MAX, Feed, MarketFacts, OrderMemory, Recent, Sent
from jurymast.exchange.kalshi.orders import NewOrder, Placed
from jurymast.exchange.kalshi.refusals import DUPLICATE, NOT_FOUND, NOT_SENT
from jurymast.exchange.kalshi.rest import KalshiRest
from jurymast.ports import Clock

_TICKERS_PER_READ: Final = 50
_BEFORE: Final = timedelta(seconds=60)
"""Looked back from when an order was sent: clocks differ."""


@dataclass(frozen=True, slots=True)
class KalshiSettings:
    """How the bot trades at Kalshi.

    ``series`` empty means every series. ``group_limit`` is the most that may fill in any 15 s, per shard.
    ``arrival_secs`` is how long a request without an answer may still arrive. Whether Kalshi's balance has
    the collateral of resting orders taken off already is not documented: ``balance_excludes_resting``.
    """

    series: tuple[str, ...] = ()
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

    def __init__(self, rest: KalshiRest, *, clock: Clock, settings: KalshiSettings | None = None) -> None:
        self.rest: Final = rest
        self.settings: Final = settings or KalshiSettings()
        self._clock = clock
        self._started_at = self._time()
        self._fresh = Freshness(
            rest.account.get_data_time,
            self._time,
            clock,
            catch_up_secs=self.settings.catch_up_secs,
            stale_secs_max=self.settings.stale_secs_max,
        )
        self._orders = OrderMemory()
        self._markets: Recent[MarketFacts] = Recent(MARKETS_MAX)
        self._groups: dict[int | None, str] = {}
        self._fills: Feed[KalshiFill] = Feed()
        self._settlements: Feed[KalshiSettlement] = Feed()
        self._held: frozenset[str] = frozenset()
        self._held_at = self._started_at

    def describe(self) -> str:
        """One line for logs and screens."""
        host = self.rest.http.host
        return f"Kalshi {host.environment} at {host.rest_origin}, specification of {host.checked_on}"

    @property
    def order_groups(self) -> dict[int | None, str]:
        """Ids of the order groups of this run, by shard."""
        return dict(self._groups)

    async def now(self) -> datetime:
        return self._time()

    async def list_snapshots(self) -> Sequence[MarketSnapshot]:
        """Every market that trades, with the best level of each side. Whole books: :meth:`get_snapshot`."""
        snapshots: list[MarketSnapshot] = []
        for series in self.settings.series or (None,):
            events = await self.rest.markets.list_events(status=MarketFilter.OPEN, series_ticker=series)
            as_of = self._time()
            for event in events:
                for market in event.markets:
                    self._markets.put(market.ticker, MarketFacts(market, event.category))
                    if market.status is Lifecycle.ACTIVE:
                        snapshots.append(market.snapshot(market.top, as_of, event.category))
        return snapshots

    async def get_snapshot(self, ticker: str) -> MarketSnapshot:
        """Raises OrderRejected with a code of not found for a ticker that was never listed."""
        facts = await self._read_market(ticker)
        trades = facts.market.status is Lifecycle.ACTIVE
        book = await self.rest.markets.get_book(ticker) if trades else Book((), ())
        return facts.market.snapshot(book, self._time(), facts.category)

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
        settled_at = (sent.at if sent else self._started_at) + timedelta(seconds=self.settings.arrival_secs)
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
        for found in await self.rest.account.list_orders(status="resting"):
            self._orders.saw(found.order_id, found.client_order_id)
            known = found if found.status is not None else replace(found, status=OrderStatus.RESTING)
            if known.status is OrderStatus.RESTING:
                orders.append(self._orders.order(known))
        return orders

    async def list_fills(self, after: str | None = None) -> Sequence[Fill]:
        """Fills not told yet, in order of execution. One that Kalshi shows late is told when it shows."""
        await self._fresh.ensure()
        found = await self.rest.account.list_fills(self._fills.since(after))
        rows = ((fill.fill_id, fill.at, fill) for fill in found)
        return [self._orders.fill(fill) for fill in self._fills.news(rows, after)]

    async def list_positions(self) -> Sequence[Position]:
        """Raises ExchangeUnavailable for an empty answer that something else speaks against."""
        await self._fresh.ensure()
        asked_at = self._time()
        found = [each for each in await self.rest.account.list_positions() if each.count]
        if not found:
            await self._check_nothing_held()
        await self._learn_events(each.ticker for each in found)
        positions = [each.position(await self._event_of(each.ticker)) for each in found]
        self._held, self._held_at = frozenset(each.ticker for each in found), asked_at
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
        return self._clock.utc_now() + self.rest.http.skew

    async def _new_order(self, intent: OrderIntent) -> NewOrder:
        """The order as it is sent. Raises ExchangeError or ValueError; nothing has been placed."""
        price = yes_price(intent.side, intent.limit_price)
        market = await self._market_for(intent.ticker, price)
        rests = intent.time_in_force is TimeInForce.GOOD_TILL_CANCELED
        expires_at = intent.expires_at or self._time() + timedelta(seconds=self.settings.resting_ttl_secs)
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
        facts = self._markets.get(ticker) or await self._read_market(ticker)
        if not facts.market.grid.accepts(price):
            facts = await self._read_market(ticker)
        grid = facts.market.grid
        if not grid.accepts(price):
            raise OrderRejected(
                "invalid_parameters",
                f"{ticker} takes no YES price of {price} micro-dollars; "
                f"the nearest are {grid.at_most(price)} and {grid.at_least(price)}",
            )
        return facts.market

    async def _group(self, shard: int | None) -> str:
        if shard not in self._groups:
            self._groups[shard] = await self.rest.orders.create_group(self.settings.group_limit, shard=shard)
        return self._groups[shard]

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
        return await self.rest.account.list_orders(ticker=sent.intent.ticker, since=sent.at - _BEFORE)

    async def _read_market(self, ticker: str) -> MarketFacts:
        known = self._markets.get(ticker)
        facts = MarketFacts(await self.rest.markets.get_market(ticker), known.category if known else "")
        self._markets.put(ticker, facts)
        return facts

    async def _learn_events(self, tickers: Iterable[str]) -> None:
        unknown = [ticker for ticker in tickers if ticker not in self._markets]
        for start in range(0, len(unknown), _TICKERS_PER_READ):
            for market in await self.rest.markets.list_markets(
                tickers=unknown[start : start + _TICKERS_PER_READ]
            ):
                self._markets.put(market.ticker, MarketFacts(market, ""))

    async def _event_of(self, ticker: str) -> str:
        facts = self._markets.get(ticker) or await self._read_market(ticker)
        return facts.market.event_ticker

    async def _check_nothing_held(self) -> None:
        """An empty list is also what a broken reader or a lagging shard gives."""
        value = (await self.rest.account.get_balance()).portfolio_value
        if value:
            raise ExchangeUnavailable(
                f"Kalshi lists no positions but values them at {value} micro-dollars; our books stay"
            )
        if not self._held:
            return
        fills = await self.rest.account.list_fills(self._held_at - _BEFORE)
        settlements = await self.rest.account.list_settlements(self._held_at - _BEFORE)
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
