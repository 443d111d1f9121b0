"""Writes: orders of API V2, order groups, transfers, subaccounts.

What the old API took is answered 410. ``exchange_index`` is judged as documented: without a market ticker
and without an index a cancel or decrease goes to shard 0, and an order on another shard is "not found"
there although it rests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

import msgspec
from aiohttp import web

from jurymast.domain.errors import OrderRejected
from jurymast.domain.money import CONTRACT, Centi, Micros
from jurymast.exchange.embedded.accounts import Account
from jurymast.exchange.embedded.commands import (
    Amend,
    Cancel,
    CancelAll,
    ChangeGroup,
    CreateGroup,
    Decrease,
    OpenAccount,
    Place,
    Transfer,
)
from jurymast.exchange.embedded.exchange import USER
from jurymast.exchange.embedded.execution import Execution
from jurymast.exchange.embedded.groups import Group
from jurymast.exchange.embedded.records import SECOND_US, Lifetime, SelfTrade
from jurymast.exchange.embedded.server.replies import Query, body_of, error_body, reply
from jurymast.exchange.embedded.server.shapes import Json
from jurymast.exchange.embedded.server.site import Site
from jurymast.exchange.embedded.server.wire import (
    count_of,
    dollars,
    fp,
    milliseconds,
    order_id,
    order_number,
    price_of,
)

T = TypeVar("T")

CENTICENT: Micros = 100
"""Transfers are stated in hundredths of a cent."""


class CreateBody(msgspec.Struct):
    """Body of a new order."""

    ticker: str
    side: Literal["bid", "ask"]
    count: str
    price: str
    time_in_force: Lifetime
    self_trade_prevention_type: SelfTrade
    client_order_id: str | None = None
    expiration_time: int | None = None
    post_only: bool | None = None
    reduce_only: bool | None = None
    cancel_order_on_pause: bool | None = None
    subaccount: int | None = None
    order_group_id: str | None = None
    exchange_index: int | None = None


class AmendBody(msgspec.Struct):
    """Body of an amendment; ``count`` is filled plus what shall rest."""

    ticker: str
    side: Literal["bid", "ask"]
    price: str
    count: str
    client_order_id: str | None = None
    updated_client_order_id: str | None = None
    expiration_time: int | None = None
    exchange_index: int | None = None


class DecreaseBody(msgspec.Struct):
    """Body of a decrease; exactly one of the first two."""

    reduce_by: str | None = None
    reduce_to: str | None = None
    exchange_index: int | None = None
    market_ticker: str | None = None


class CreateBatch(msgspec.Struct):
    """Several new orders; each stands for itself."""

    orders: list[CreateBody]


class CancelBody(msgspec.Struct):
    """One order to cancel in a batch."""

    order_id: str
    subaccount: int | None = None
    market_ticker: str | None = None
    exchange_index: int | None = None


class CancelBatch(msgspec.Struct):
    """Several orders to cancel; each stands for itself."""

    orders: list[CancelBody]


class GroupBody(msgspec.Struct):
    """Limit of an order group, in whole contracts or as text."""

    contracts_limit: int | None = None
    contracts_limit_fp: str | None = None
    subaccount: int | None = None

    def limit(self) -> Centi:
        """Raises OrderRejected when there is none, or two that differ."""
        given = set()
        if self.contracts_limit is not None:
            given.add(self.contracts_limit * CONTRACT)
        if self.contracts_limit_fp is not None:
            given.add(count_of(self.contracts_limit_fp, "contracts_limit_fp"))
        if len(given) != 1:
            raise OrderRejected("invalid_parameters", "contracts_limit or contracts_limit_fp, and the same")
        return given.pop()


class TransferBody(msgspec.Struct):
    """Money from shard to shard or subaccount to subaccount; ``amount`` in hundredths of a cent."""

    source: str
    destination: str
    amount: int
    source_exchange_shard: int = 0
    destination_exchange_shard: int = 0
    source_subaccount: int = 0
    destination_subaccount: int = 0


class Trading:
    """Handlers of writes."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def create(self, request: web.Request) -> web.Response:
        return reply(self._place(body_of(await request.read(), CreateBody)), 201)

    async def create_batch(self, request: web.Request) -> web.Response:
        batch = body_of(await request.read(), CreateBatch)
        rows = [
            _attempt(self._place, order, {"client_order_id": order.client_order_id or ""})
            for order in batch.orders
        ]
        return reply({"orders": rows}, 201)

    async def amend(self, request: web.Request) -> web.Response:
        body = body_of(await request.read(), AmendBody)
        account = self._account(Query(request).optional("subaccount"))
        self._check_shard(body.ticker, body.exchange_index)
        number = order_number(request.match_info["order_id"])
        order = self._site.exchange.engine.floor.open[account.number].get(number)
        if order is None or order.ticker != body.ticker:
            raise OrderRejected("not_found", "there is no such order that rests in this market")
        if body.client_order_id not in {None, "", order.client_order_id}:
            raise OrderRejected("invalid_parameters", "client_order_id is not the order's")
        before = order.remaining
        expires = body.expiration_time
        done = self._execution(
            Amend(
                owner=account.number,
                order=number,
                ticker=body.ticker,
                bid=body.side == "bid",
                price=price_of(body.price),
                count=count_of(body.count, "count"),
                client_order_id=body.updated_client_order_id or "",
                expires_us=None if expires is None else expires * SECOND_US,
            )
        )
        shape = self._stamped(done)
        if done.filled or done.order.remaining != before:
            shape |= {"remaining_count": fp(done.order.remaining), "fill_count": fp(done.filled)} | _averages(
                done
            )
        return reply(shape)

    async def decrease(self, request: web.Request) -> web.Response:
        body = body_of(await request.read(), DecreaseBody)
        account = self._account(Query(request).optional("subaccount"))
        number = self._routed(
            request.match_info["order_id"], account, body.market_ticker, body.exchange_index
        )
        done = self._execution(
            Decrease(
                owner=account.number,
                order=number,
                by=None if body.reduce_by is None else count_of(body.reduce_by, "reduce_by"),
                to=None if body.reduce_to is None else count_of(body.reduce_to, "reduce_to"),
            )
        )
        return reply(self._stamped(done) | {"remaining_count": fp(done.order.remaining)})

    async def cancel(self, request: web.Request) -> web.Response:
        query = Query(request)
        body = CancelBody(
            request.match_info["order_id"],
            query.optional("subaccount"),
            query.text("market_ticker") or None,
            query.optional("exchange_index"),
        )
        return reply(self._cancel(body))

    async def cancel_batch(self, request: web.Request) -> web.Response:
        batch = body_of(await request.read(), CancelBatch)
        rows = [
            _attempt(self._cancel, each, {"order_id": each.order_id, "reduced_by": fp(0)})
            for each in batch.orders
        ]
        return reply({"orders": rows})

    async def cancel_all(self, request: web.Request) -> web.Response:
        self._site.exchange.execute(CancelAll(USER, Query(request).optional("subaccount")))
        return web.Response(status=204)

    async def old_api(self, _: web.Request) -> web.Response:
        raise OrderRejected("deprecated_v1_order_endpoint", "use /portfolio/events/orders")

    async def create_group(self, request: web.Request) -> web.Response:
        body = body_of(await request.read(), GroupBody)
        account = self._account(body.subaccount)
        group = self._site.exchange.execute(CreateGroup(account.number, body.limit()))
        assert isinstance(group, Group)  # noqa: S101 (creating a group gives the group)
        shape = {"order_group_id": group.name, "subaccount": account.subaccount, "exchange_index": 0}
        return reply(shape, 201)

    async def reset_group(self, request: web.Request) -> web.Response:
        return self._change_group(request, "reset")

    async def trigger_group(self, request: web.Request) -> web.Response:
        return self._change_group(request, "trigger")

    async def delete_group(self, request: web.Request) -> web.Response:
        return self._change_group(request, "delete")

    async def limit_group(self, request: web.Request) -> web.Response:
        return self._change_group(request, "limit", body_of(await request.read(), GroupBody).limit())

    async def transfer(self, request: web.Request) -> web.Response:
        body = body_of(await request.read(), TransferBody)
        shards = self._site.exchange.engine.state.shards
        if {body.source, body.destination} != {"event_contract"}:
            raise OrderRejected("invalid_parameters", "only event contracts are traded here")
        if not 0 <= min(body.source_exchange_shard, body.destination_exchange_shard) < shards:
            raise OrderRejected("invalid_parameters", f"shards are 0 to {shards - 1}")
        if max(body.source_exchange_shard, body.destination_exchange_shard) >= shards:
            raise OrderRejected("invalid_parameters", f"shards are 0 to {shards - 1}")
        giver, taker = self._account(body.source_subaccount), self._account(body.destination_subaccount)
        self._site.exchange.execute(
            Transfer(
                owner=giver.number,
                shard=body.source_exchange_shard,
                to_owner=taker.number,
                to_shard=body.destination_exchange_shard,
                amount=body.amount * CENTICENT,
            )
        )
        return reply({"transfer_id": order_id(self._site.exchange.engine.state.clock)})

    async def create_subaccount(self, _: web.Request) -> web.Response:
        accounts = self._site.exchange.engine.state.accounts
        number = 1 + max(account.subaccount for account in accounts if account.user == USER)
        self._site.exchange.execute(OpenAccount(USER, number))
        return reply({"subaccount_number": number}, 201)

    def _place(self, body: CreateBody) -> Json:
        account = self._account(body.subaccount)
        self._check_shard(body.ticker, body.exchange_index)
        done = self._execution(
            Place(
                owner=account.number,
                ticker=body.ticker,
                bid=body.side == "bid",
                price=price_of(body.price),
                count=count_of(body.count, "count"),
                lifetime=body.time_in_force,
                client_order_id=body.client_order_id or "",
                expires_us=None if body.expiration_time is None else body.expiration_time * SECOND_US,
                post_only=bool(body.post_only),
                reduce_only=bool(body.reduce_only),
                self_trade=body.self_trade_prevention_type,
                pause_cancel=bool(body.cancel_order_on_pause),
                group=body.order_group_id or "",
            )
        )
        counts = {"fill_count": fp(done.filled), "remaining_count": fp(done.order.remaining)}
        return self._stamped(done) | counts | _averages(done)

    def _cancel(self, body: CancelBody) -> Json:
        account = self._account(body.subaccount)
        number = self._routed(body.order_id, account, body.market_ticker, body.exchange_index)
        done = self._execution(Cancel(account.number, number))
        return self._stamped(done) | {"reduced_by": fp(done.removed)}

    def _change_group(self, request: web.Request, what: str, limit: Centi = 0) -> web.Response:
        account = self._account(Query(request).optional("subaccount"))
        name = request.match_info["order_group_id"]
        self._site.exchange.execute(ChangeGroup(account.number, name, what, limit))
        return reply({})

    def _execution(self, command: Place | Amend | Decrease | Cancel) -> Execution:
        done = self._site.exchange.execute(command)
        assert isinstance(done, Execution)  # noqa: S101 (commands about orders give executions)
        return done

    def _stamped(self, done: Execution) -> Json:
        return {
            "order_id": order_id(done.order.number),
            "client_order_id": done.order.client_order_id,
            "ts_ms": milliseconds(self._site.exchange.engine.state.now_us),
        }

    def _account(self, subaccount: int | None) -> Account:
        for account in self._site.exchange.engine.state.accounts:
            if (account.user, account.subaccount) == (USER, subaccount or 0):
                return account
        raise OrderRejected("invalid_parameters", f"there is no subaccount {subaccount}")

    def _check_shard(self, ticker: str, index: int | None) -> None:
        """An index that is given must be the market's."""
        shard = self._site.exchange.engine.floor.listing(ticker).shard
        if index not in {None, -1, shard}:
            raise OrderRejected("market_not_found", f"{ticker} is not on exchange_index {index}")

    def _routed(self, text: str, account: Account, ticker: str | None, index: int | None) -> int:
        """The number of a resting order on the shard that the request goes to."""
        number = order_number(text)
        if index == -1 and ticker is None:
            raise OrderRejected("invalid_parameters", "auto-routing needs market_ticker")
        listing_of = self._site.exchange.engine.floor.listing
        shard = listing_of(ticker).shard if ticker is not None and index in {None, -1} else index or 0
        order = self._site.exchange.engine.floor.open[account.number].get(number)
        if order is None or listing_of(order.ticker).shard != shard:
            raise OrderRejected("not_found", f"no order {text} rests on exchange_index {shard}")
        return number


def _averages(done: Execution) -> Json:
    """Per contract and rounded to the micro-dollar; only when something was filled."""
    if not done.filled:
        return {}
    return {
        "average_fill_price": dollars(done.yes_value * CONTRACT // done.filled),
        "average_fee_paid": dollars(done.fees * CONTRACT // done.filled),
    }


def _attempt(deed: Callable[[T], Json], item: T, otherwise: Json) -> Json:
    """One item of a batch: its answer, or its error in place."""
    try:
        return deed(item)
    except OrderRejected as error:
        return otherwise | {"error": error_body(error)}
