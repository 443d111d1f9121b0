"""Three clients with the same verbs: Kalshi's own SDK, kalshi-sdk and ours, each as it comes.

What a verb returns is in plain words and decimals, so that three readings of one answer can be compared.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import kalshi_python_async
from kalshi import AsyncKalshiClient, KalshiAuth, KalshiConfig
from kalshi.errors import KalshiError
from kalshi.models import (
    AmendOrderV2Request,
    BatchCancelOrdersV2Request,
    BatchCreateOrdersV2Request,
    CreateOrderV2Request,
    DecreaseOrderV2Request,
)
from wiretap import Wiretap

from jurymast.app.clock import SystemClock
from jurymast.domain.errors import OrderRejected
from jurymast.domain.money import CONTRACT, USD
from jurymast.domain.order import TimeInForce
from jurymast.exchange.kalshi.account import BookSide
from jurymast.exchange.kalshi.hosts import Credentials, Environment, embedded
from jurymast.exchange.kalshi.http import KalshiHttp
from jurymast.exchange.kalshi.orders import Amendment, Cancelled, NewOrder, Placed
from jurymast.exchange.kalshi.rest import KalshiRest
from jurymast.exchange.kalshi.signing import Signer

OFFICIAL, COMMUNITY, OURS = "kalshi_python_async", "kalshi-sdk", "jurymast"
Row = tuple[Any, ...]


class Refused(Exception):
    """The exchange said no; the text has its code."""


@dataclass(frozen=True)
class Wanted:
    """An order to place. ``price`` is that of YES, in dollars."""

    ticker: str
    name: str
    side: str
    price: str
    count: str = "5.00"
    lifetime: str = "good_till_canceled"
    post_only: bool = False
    reduce_only: bool = False
    group: str | None = None
    expires: int | None = None

    def facts(self) -> dict[str, Any]:
        """Keywords that both SDKs take, all said aloud."""
        facts = {
            "ticker": self.ticker,
            "client_order_id": self.name,
            "side": self.side,
            "count": self.count,
            "price": self.price,
            "time_in_force": self.lifetime,
            "self_trade_prevention_type": "taker_at_cross",
            "post_only": self.post_only,
            "reduce_only": self.reduce_only,
            "cancel_order_on_pause": True,
            "order_group_id": self.group,
            "expiration_time": self.expires,
        }
        return {name: value for name, value in facts.items() if value is not None}


class Trader(Protocol):
    """What each client can do here. Refusals are :class:`Refused`."""

    name: str

    async def place(self, order: Wanted) -> Row: ...
    async def place_batch(self, orders: Sequence[Wanted]) -> list[Row]: ...
    async def amend(self, order_id: str, ticker: str, side: str, price: str, count: str) -> Row: ...
    async def decrease(self, order_id: str, ticker: str, to: str) -> Row: ...
    async def cancel(self, order_id: str, ticker: str) -> Row: ...
    async def cancel_batch(self, chosen: Sequence[tuple[str, str]]) -> list[Row]: ...
    async def cancel_all(self) -> None: ...
    async def create_group(self, limit: int) -> str: ...
    async def limit_group(self, group: str, limit: int) -> None: ...
    async def trigger_group(self, group: str) -> None: ...
    async def reset_group(self, group: str) -> None: ...
    async def delete_group(self, group: str) -> None: ...
    async def groups(self) -> list[Row]: ...
    async def group_orders(self, group: str) -> list[str]: ...
    async def status(self) -> Row: ...
    async def data_time(self) -> datetime: ...
    async def limits(self) -> Row: ...
    async def market(self, ticker: str) -> Row: ...
    async def book(self, ticker: str) -> dict[tuple[str, Decimal], Decimal]: ...
    async def books(self, tickers: Sequence[str]) -> dict[str, dict[tuple[str, Decimal], Decimal]]: ...
    async def trades(self, ticker: str) -> list[Row]: ...
    async def candles(self, series: str, ticker: str, start: int, end: int) -> list[Row]: ...
    async def orders(self) -> list[Row]: ...
    async def order(self, order_id: str) -> Row: ...
    async def fills(self) -> list[Row]: ...
    async def positions(self) -> list[Row]: ...
    async def settlements(self) -> list[Row]: ...
    async def balance(self) -> Row: ...


def plain(value: Any) -> Any:
    """Text of numbers as decimals, words of enumerations as text."""
    value = getattr(value, "value", value)
    if isinstance(value, str) and "." in value:
        try:
            return Decimal(value)
        except ArithmeticError:
            return value
    return value


def row(source: Any, *names: str) -> Row:
    return tuple(plain(getattr(source, name)) for name in names)


class Official:
    """Kalshi's own asynchronous SDK."""

    name = OFFICIAL

    def __init__(self, api: Any) -> None:
        self.api = api

    async def _do(self, call: Any) -> Any:
        try:
            return await call
        except kalshi_python_async.ApiException as error:
            raise Refused(f"{error.status} {error.body}") from error

    async def place(self, order: Wanted) -> Row:
        made = await self._do(self.api.create_order_v2(**order.facts()))
        return row(made, "order_id", "fill_count", "remaining_count", "average_fill_price")

    async def place_batch(self, orders: Sequence[Wanted]) -> list[Row]:
        made = await self._do(self.api.batch_create_orders_v2(orders=[each.facts() for each in orders]))
        return [row(each, "order_id", "fill_count", "remaining_count") for each in made.orders]

    async def amend(self, order_id: str, ticker: str, side: str, price: str, count: str) -> Row:
        call = self.api.amend_order_v2(order_id, ticker=ticker, side=side, price=price, count=count)
        return row(await self._do(call), "order_id", "remaining_count", "fill_count")

    async def decrease(self, order_id: str, ticker: str, to: str) -> Row:
        call = self.api.decrease_order_v2(order_id, reduce_to=to, market_ticker=ticker)
        return row(await self._do(call), "order_id", "remaining_count")

    async def cancel(self, order_id: str, ticker: str) -> Row:
        call = self.api.cancel_order_v2(order_id, market_ticker=ticker)
        return row(await self._do(call), "order_id", "reduced_by")

    async def cancel_batch(self, chosen: Sequence[tuple[str, str]]) -> list[Row]:
        orders = [{"order_id": order_id, "market_ticker": ticker} for order_id, ticker in chosen]
        done = await self._do(self.api.batch_cancel_orders_v2(orders=orders))
        return [row(each, "order_id", "reduced_by") for each in done.orders]

    async def cancel_all(self) -> None:
        await self._do(self.api.cancel_all_orders())

    async def create_group(self, limit: int) -> str:
        return str((await self._do(self.api.create_order_group(contracts_limit=limit))).order_group_id)

    async def limit_group(self, group: str, limit: int) -> None:
        await self._do(self.api.update_order_group_limit(group, contracts_limit=limit))

    async def trigger_group(self, group: str) -> None:
        await self._do(self.api.trigger_order_group(group))

    async def reset_group(self, group: str) -> None:
        await self._do(self.api.reset_order_group(group))

    async def delete_group(self, group: str) -> None:
        await self._do(self.api.delete_order_group(group))

    async def groups(self) -> list[Row]:
        found = (await self.api.get_order_groups()).order_groups or []
        return [row(each, "id", "contracts_limit_fp") for each in found]

    async def group_orders(self, group: str) -> list[str]:
        return list((await self.api.get_order_group(group)).orders)

    async def status(self) -> Row:
        return row(await self.api.get_exchange_status(), "exchange_active", "trading_active")

    async def data_time(self) -> datetime:
        return (await self.api.get_user_data_timestamp()).as_of_time.astimezone(UTC)

    async def limits(self) -> Row:
        found = await self.api.get_account_api_limits()
        costs = await self.api.get_account_endpoint_costs()
        buckets = row(found.read, "refill_rate", "bucket_capacity") + row(
            found.write, "refill_rate", "bucket_capacity"
        )
        return (found.usage_tier, *buckets, costs.default_cost)

    async def market(self, ticker: str) -> Row:
        found = (await self._do(self.api.get_market(ticker))).market
        ranges = tuple(row(each, "start", "end", "step") for each in found.price_ranges)
        names = ("ticker", "event_ticker", "status", "yes_bid_dollars", "yes_ask_dollars", "exchange_index")
        return (*row(found, *names), found.open_time, found.close_time, ranges)

    async def book(self, ticker: str) -> dict[tuple[str, Decimal], Decimal]:
        return self._book((await self.api.get_market_orderbook(ticker)).orderbook_fp)

    async def books(self, tickers: Sequence[str]) -> dict[str, dict[tuple[str, Decimal], Decimal]]:
        found = (await self.api.get_market_orderbooks(tickers=list(tickers))).orderbooks
        return {each.ticker: self._book(each.orderbook_fp) for each in found}

    def _book(self, found: Any) -> dict[tuple[str, Decimal], Decimal]:
        sides = {"yes": found.yes_dollars, "no": found.no_dollars}
        return {
            (side, Decimal(price)): Decimal(size) for side, levels in sides.items() for price, size in levels
        }

    async def trades(self, ticker: str) -> list[Row]:
        found = (await self.api.get_trades(ticker=ticker)).trades
        names = ("trade_id", "ticker", "yes_price_dollars", "count_fp", "taker_outcome_side")
        return [row(each, *names) for each in found]

    async def candles(self, series: str, ticker: str, start: int, end: int) -> list[Row]:
        call = self.api.get_market_candlesticks(series, ticker, start_ts=start, end_ts=end, period_interval=1)
        return [
            (
                each.end_period_ts,
                plain(each.yes_bid.close_dollars),
                plain(each.yes_ask.close_dollars),
                plain(each.volume_fp),
            )
            for each in (await call).candlesticks
        ]

    async def orders(self) -> list[Row]:
        return [self._order(each) for each in (await self.api.get_orders(limit=1000)).orders]

    async def order(self, order_id: str) -> Row:
        return self._order((await self._do(self.api.get_order(order_id))).order)

    def _order(self, found: Any) -> Row:
        names = ("order_id", "client_order_id", "ticker", "book_side", "status", "yes_price_dollars")
        counts = ("initial_count_fp", "fill_count_fp", "remaining_count_fp")
        return (*row(found, *names, *counts), found.order_group_id or "", found.expiration_time)

    async def fills(self) -> list[Row]:
        names = ("fill_id", "order_id", "ticker", "book_side", "yes_price_dollars", "count_fp", "fee_cost")
        return [row(each, *names, "is_taker") for each in (await self.api.get_fills(limit=1000)).fills]

    async def positions(self) -> list[Row]:
        names = ("ticker", "position_fp", "market_exposure_dollars", "fees_paid_dollars")
        found = await self.api.get_positions(count_filter="position", limit=1000)
        return [row(each, *names) for each in found.market_positions]

    async def settlements(self) -> list[Row]:
        names = ("ticker", "event_ticker", "market_result", "yes_count_fp", "no_count_fp", "revenue", "value")
        return [row(each, *names) for each in (await self.api.get_settlements(limit=1000)).settlements]

    async def balance(self) -> Row:
        found = await self.api.get_balance()
        return (plain(found.balance_dollars), found.portfolio_value)


class Community:
    """kalshi-sdk, asynchronous."""

    name = COMMUNITY

    def __init__(self, api: AsyncKalshiClient) -> None:
        self.api = api

    async def _do(self, call: Any) -> Any:
        try:
            return await call
        except KalshiError as error:
            raise Refused(str(error)) from error

    async def place(self, order: Wanted) -> Row:
        made = await self._do(self.api.orders.create_v2(request=CreateOrderV2Request(**order.facts())))
        return row(made, "order_id", "fill_count", "remaining_count", "average_fill_price")

    async def place_batch(self, orders: Sequence[Wanted]) -> list[Row]:
        request = BatchCreateOrdersV2Request(orders=[CreateOrderV2Request(**each.facts()) for each in orders])
        made = await self._do(self.api.orders.batch_create_v2(request=request))
        return [row(each, "order_id", "fill_count", "remaining_count") for each in made.orders]

    async def amend(self, order_id: str, ticker: str, side: str, price: str, count: str) -> Row:
        change = AmendOrderV2Request(ticker=ticker, side=side, price=price, count=count)
        done = await self._do(self.api.orders.amend_v2(order_id, request=change))
        return row(done, "order_id", "remaining_count", "fill_count")

    async def decrease(self, order_id: str, ticker: str, to: str) -> Row:
        change = DecreaseOrderV2Request(reduce_to=to, market_ticker=ticker)
        return row(
            await self._do(self.api.orders.decrease_v2(order_id, request=change)),
            "order_id",
            "remaining_count",
        )

    async def cancel(self, order_id: str, ticker: str) -> Row:
        done = await self._do(self.api.orders.cancel_v2(order_id, market_ticker=ticker))
        return row(done, "order_id", "reduced_by")

    async def cancel_batch(self, chosen: Sequence[tuple[str, str]]) -> list[Row]:
        orders = [{"order_id": order_id, "market_ticker": ticker} for order_id, ticker in chosen]
        request = BatchCancelOrdersV2Request.model_validate({"orders": orders})
        done = await self._do(self.api.orders.batch_cancel_v2(request=request))
        return [row(each, "order_id", "reduced_by") for each in done.orders]

    async def cancel_all(self) -> None:
        await self._do(self.api.orders.cancel_all_v2())

    async def create_group(self, limit: int) -> str:
        return (await self._do(self.api.order_groups.create(contracts_limit=limit))).order_group_id

    async def limit_group(self, group: str, limit: int) -> None:
        await self._do(self.api.order_groups.update_limit(group, contracts_limit=limit))

    async def trigger_group(self, group: str) -> None:
        await self._do(self.api.order_groups.trigger(group))

    async def reset_group(self, group: str) -> None:
        await self._do(self.api.order_groups.reset(group))

    async def delete_group(self, group: str) -> None:
        await self._do(self.api.order_groups.delete(group))

    async def groups(self) -> list[Row]:
        return [row(each, "id", "contracts_limit") for each in await self.api.order_groups.list()]

    async def group_orders(self, group: str) -> list[str]:
        return list((await self.api.order_groups.get(group)).orders)

    async def status(self) -> Row:
        return row(await self.api.exchange.status(), "exchange_active", "trading_active")

    async def data_time(self) -> datetime:
        return (await self.api.exchange.user_data_timestamp()).as_of_time.astimezone(UTC)

    async def limits(self) -> Row:
        found, costs = await self.api.account.limits(), await self.api.account.endpoint_costs()
        buckets = row(found.read, "refill_rate", "bucket_capacity") + row(
            found.write, "refill_rate", "bucket_capacity"
        )
        return (found.usage_tier, *buckets, costs.default_cost)

    async def market(self, ticker: str) -> Row:
        found = await self._do(self.api.markets.get(ticker))
        steps = ("start", "end", "step")
        ranges = tuple(tuple(plain(each[name]) for name in steps) for each in found.price_ranges)
        names = ("ticker", "event_ticker", "status", "yes_bid", "yes_ask", "exchange_index")
        return (*row(found, *names), found.open_time, found.close_time, ranges)

    async def book(self, ticker: str) -> dict[tuple[str, Decimal], Decimal]:
        return self._book(await self.api.markets.orderbook(ticker))

    async def books(self, tickers: Sequence[str]) -> dict[str, dict[tuple[str, Decimal], Decimal]]:
        found = await self.api.markets.bulk_orderbooks(tickers=list(tickers))
        return {each.ticker: self._book(each) for each in found}

    def _book(self, found: Any) -> dict[tuple[str, Decimal], Decimal]:
        sides = {"yes": found.yes, "no": found.no}
        return {(side, each.price): each.quantity for side, levels in sides.items() for each in levels}

    async def trades(self, ticker: str) -> list[Row]:
        names = ("trade_id", "ticker", "yes_price", "count", "taker_outcome_side")
        return [row(each, *names) for each in await self.api.markets.list_trades(ticker=ticker)]

    async def candles(self, series: str, ticker: str, start: int, end: int) -> list[Row]:
        found = await self.api.markets.candlesticks(
            series, ticker, start_ts=start, end_ts=end, period_interval=1
        )
        return [(each.end_period_ts, each.yes_bid.close, each.yes_ask.close, each.volume) for each in found]

    async def orders(self) -> list[Row]:
        return [self._order(each) for each in await self.api.orders.list(limit=1000)]

    async def order(self, order_id: str) -> Row:
        return self._order(await self._do(self.api.orders.get(order_id)))

    def _order(self, found: Any) -> Row:
        names = ("order_id", "client_order_id", "ticker", "book_side", "status", "yes_price")
        counts = ("initial_count", "fill_count", "remaining_count")
        return (*row(found, *names, *counts), found.order_group_id or "", found.expiration_time)

    async def fills(self) -> list[Row]:
        names = ("fill_id", "order_id", "ticker", "book_side", "yes_price", "count", "fee_cost", "is_taker")
        return [row(each, *names) for each in await self.api.portfolio.fills(limit=1000)]

    async def positions(self) -> list[Row]:
        found = await self.api.portfolio.positions(count_filter="position", limit=1000)
        names = ("ticker", "position", "market_exposure", "fees_paid")
        return [row(each, *names) for each in found.market_positions]

    async def settlements(self) -> list[Row]:
        names = ("ticker", "event_ticker", "market_result", "yes_count", "no_count", "revenue", "value")
        return [row(each, *names) for each in await self.api.portfolio.settlements(limit=1000)]

    async def balance(self) -> Row:
        found = await self.api.portfolio.balance()
        return (found.balance_dollars, found.portfolio_value)


class Ours:
    """Our own client."""

    name = OURS

    def __init__(self, api: KalshiRest) -> None:
        self.api = api

    async def _do(self, call: Any) -> Any:
        try:
            return await call
        except OrderRejected as error:
            raise Refused(str(error)) from error

    async def place(self, order: Wanted) -> Row:
        placed = await self._do(self.api.orders.create(_ours(order)))
        return (*_placed(placed), None if placed.average_price is None else _dollars(placed.average_price))

    async def place_batch(self, orders: Sequence[Wanted]) -> list[Row]:
        done = await self._do(self.api.orders.create_batch([_ours(each) for each in orders]))
        return [_placed(each) if isinstance(each, Placed) else (None, None, None) for each in done]

    async def amend(self, order_id: str, ticker: str, side: str, price: str, count: str) -> Row:
        change = Amendment(order_id, ticker, BookSide(side), _micros(price), _centi(count))
        done = await self._do(self.api.orders.amend(change))
        return (done.order_id, _contracts(done.remaining), _contracts(done.filled))

    async def decrease(self, order_id: str, ticker: str, to: str) -> Row:
        done = await self._do(self.api.orders.decrease(order_id, ticker, to=_centi(to)))
        return (done.order_id, _contracts(done.remaining))

    async def cancel(self, order_id: str, ticker: str) -> Row:
        return _cancelled(await self._do(self.api.orders.cancel(order_id, ticker)))

    async def cancel_batch(self, chosen: Sequence[tuple[str, str]]) -> list[Row]:
        done = await self._do(self.api.orders.cancel_batch(chosen))
        return [
            _cancelled(each) if isinstance(each, Cancelled) else (order_id, Decimal(0))
            for each, (order_id, _) in zip(done, chosen, strict=True)
        ]

    async def cancel_all(self) -> None:
        await self._do(self.api.orders.cancel_all())

    async def create_group(self, limit: int) -> str:
        return await self._do(self.api.orders.create_group(limit * CONTRACT))

    async def limit_group(self, group: str, limit: int) -> None:
        await self._do(self.api.orders.limit_group(group, limit * CONTRACT))

    async def trigger_group(self, group: str) -> None:
        await self._do(self.api.orders.trigger_group(group))

    async def reset_group(self, group: str) -> None:
        await self._do(self.api.orders.reset_group(group))

    async def delete_group(self, group: str) -> None:
        await self._do(self.api.orders.delete_group(group))

    async def groups(self) -> list[Row]:
        return [(each.group_id, _contracts(each.limit)) for each in await self.api.orders.list_groups()]

    async def group_orders(self, group: str) -> list[str]:
        return await self.api.orders.get_group_orders(group)

    async def status(self) -> Row:
        found = await self.api.markets.get_status()
        return (found.active, found.trading)

    async def data_time(self) -> datetime:
        return await self.api.account.get_data_time()

    async def limits(self) -> Row:
        found = await self.api.learn_limits()
        buckets = (found.read.refill, found.read.capacity, found.write.refill, found.write.capacity)
        return (found.tier, *buckets, found.default_cost)

    async def market(self, ticker: str) -> Row:
        found = await self._do(self.api.markets.get_market(ticker))
        bid = found.top.bids[0].price if found.top.bids else 0
        ask = found.top.asks[0].price if found.top.asks else USD
        ranges = tuple(
            (_dollars(each.start), _dollars(each.end), _dollars(each.step)) for each in found.grid.ranges
        )
        facts = (found.ticker, found.event_ticker, found.status.value, _dollars(bid), _dollars(ask))
        return (*facts, found.shard, found.open_time, found.close_time, ranges)

    async def book(self, ticker: str) -> dict[tuple[str, Decimal], Decimal]:
        return _book(await self.api.markets.get_book(ticker))

    async def books(self, tickers: Sequence[str]) -> dict[str, dict[tuple[str, Decimal], Decimal]]:
        found = await self.api.markets.list_books(tickers)
        return {ticker: _book(each) for ticker, each in found.items()}

    async def trades(self, ticker: str) -> list[Row]:
        since = datetime(2020, 1, 1, tzinfo=UTC)
        return [
            (
                each.trade_id,
                each.ticker,
                _dollars(each.price),
                _contracts(each.count),
                each.taker_bought.value,
            )
            for each in await self.api.markets.list_trades(ticker, since)
        ]

    async def candles(self, series: str, ticker: str, start: int, end: int) -> list[Row]:
        times = (datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC))
        return [
            (
                int(each.ends_at.timestamp()),
                _dollars(each.bid_close),
                _dollars(each.ask_close),
                _contracts(each.volume),
            )
            for each in await self.api.markets.list_candles(series, ticker, *times, minutes=1)
        ]

    async def orders(self) -> list[Row]:
        return [self._order(each) for each in await self.api.account.list_orders()]

    async def order(self, order_id: str) -> Row:
        return self._order(await self._do(self.api.account.get_order(order_id)))

    def _order(self, found: Any) -> Row:
        facts = (found.order_id, found.client_order_id, found.ticker, found.book_side.value)
        counts = (found.initial, found.filled, found.remaining)
        told = (found.status.value, _dollars(found.yes_price), *map(_contracts, counts))
        return (*facts, *told, found.order_group_id, found.expires_at)

    async def fills(self) -> list[Row]:
        return [
            (
                *(each.fill_id, each.order_id, each.ticker, each.book_side.value, _dollars(each.yes_price)),
                *(_contracts(each.count), _dollars(each.fee), each.taker),
            )
            for each in await self.api.account.list_fills()
        ]

    async def positions(self) -> list[Row]:
        return [
            (each.ticker, _contracts(each.count), _dollars(each.exposure), _dollars(each.fees_paid))
            for each in await self.api.account.list_positions()
        ]

    async def settlements(self) -> list[Row]:
        return [
            (
                *(each.ticker, each.event_ticker, each.result.value),
                *(_contracts(max(each.count, 0)), _contracts(max(-each.count, 0))),
                *(each.revenue * 100 // USD, None if each.value is None else each.value * 100 // USD),
            )
            for each in await self.api.account.list_settlements()
        ]

    async def balance(self) -> Row:
        found = await self.api.account.get_balance()
        return (_dollars(found.cash), found.portfolio_value * 100 // USD)


def _ours(order: Wanted) -> NewOrder:
    return NewOrder(
        ticker=order.ticker,
        side=BookSide(order.side),
        yes_price=_micros(order.price),
        count=_centi(order.count),
        time_in_force=TimeInForce(order.lifetime),
        client_order_id=order.name,
        post_only=order.post_only,
        reduce_only=order.reduce_only,
        group_id=order.group,
        expires_at=None if order.expires is None else datetime.fromtimestamp(order.expires, UTC),
    )


def _placed(placed: Placed) -> Row:
    return (placed.order_id, _contracts(placed.filled), _contracts(placed.remaining))


def _cancelled(cancelled: Cancelled) -> Row:
    return (cancelled.order_id, _contracts(cancelled.reduced_by))


def _book(book: Any) -> dict[tuple[str, Decimal], Decimal]:
    found = {("yes", _dollars(each.price)): _contracts(each.count) for each in book.bids}
    return found | {("no", _dollars(USD - each.price)): _contracts(each.count) for each in book.asks}


def _dollars(amount: int) -> Decimal:
    return Decimal(amount) / USD


def _contracts(count: int | None) -> Decimal | None:
    return None if count is None else Decimal(count) / CONTRACT


def _micros(text: str) -> int:
    return int(Decimal(text) * USD)


def _centi(text: str) -> int:
    return int(Decimal(text) * CONTRACT)


@asynccontextmanager
async def clients(tap: Wiretap, key_id: str, key_file: Path) -> AsyncIterator[list[Trader]]:
    """All three at the same exchange with the same key."""
    async with AsyncExitStack() as stack:
        configuration = kalshi_python_async.Configuration(host=tap.url)
        configuration.api_key_id, configuration.private_key_pem = key_id, key_file.read_text()
        official = kalshi_python_async.KalshiClient(configuration)
        stack.push_async_callback(official.close)
        community = await stack.enter_async_context(
            AsyncKalshiClient(
                auth=KalshiAuth.from_key_path(key_id, str(key_file)), config=foreign_config(tap)
            )
        )
        rest = KalshiRest(our_http(tap, key_id, key_file))
        stack.push_async_callback(rest.close)
        await rest.learn_limits()
        yield [Official(official), Community(community), Ours(rest)]


def foreign_config(tap: Wiretap) -> KalshiConfig:
    socket = f"ws://127.0.0.1:{tap.port}/trade-api/ws/v2"
    return KalshiConfig(base_url=tap.url, ws_base_url=socket, allow_unknown_host=True)


def our_http(tap: Wiretap, key_id: str, key_file: Path) -> KalshiHttp:
    key = Credentials(Environment.EMBEDDED, Signer.from_file(key_id, key_file))
    return KalshiHttp(embedded(tap.port), key, clock=SystemClock())
