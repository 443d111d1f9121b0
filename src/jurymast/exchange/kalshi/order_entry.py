"""Orders and order groups: everything that changes something at Kalshi.

Cancels name the market. Without it they go to shard 0, and an order on another shard answers "not found",
which looks like success.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from jurymast.domain.errors import OrderUnknown, SchemaDrift
from jurymast.domain.money import CONTRACT, Centi
from jurymast.exchange.kalshi import account, operations
from jurymast.exchange.kalshi.http import KalshiHttp, Query
from jurymast.exchange.kalshi.orders import (
    Amendment,
    Cancelled,
    Changed,
    NewOrder,
    Placed,
    check_whole,
    read_cancelled,
    read_changed,
    read_item_refusal,
    read_placed,
)
from jurymast.exchange.kalshi.reading import Drift, Record
from jurymast.exchange.kalshi.refusals import Refusal
from jurymast.exchange.kalshi.units import count_text

BATCH_MAX: Final = 100
GROUP_LIMIT_MAX: Final = 1_000_000
"""Contracts in any 15 seconds."""

Answer = TypeVar("Answer")


class OrderEntry:
    """Sends each request once. Every method raises OrderRejected when nothing was done and OrderUnknown
    when that can't be told, an answer we can't read included."""

    def __init__(self, http: KalshiHttp, drift: Drift, subaccount: int | None) -> None:
        self._call = http.call
        self._drift = drift
        self._subaccount = subaccount

    async def create(self, order: NewOrder) -> Placed:
        answer = await self._call(operations.CREATE, body={**order.body(), **self._ours()})
        return _understood(answer, lambda record: _placed(record, order))

    async def create_batch(self, new: Sequence[NewOrder]) -> list[Placed | Refusal]:
        """One result per order, in their order. Billed per item."""
        _check_batch(len(new))
        body = {"orders": [{**order.body(), **self._ours()} for order in new]}
        answer = await self._call(operations.CREATE_BATCH, body=body, items=len(new))

        def read(record: Record) -> list[Placed | Refusal]:
            results = zip(_results(record, len(new)), new, strict=True)
            return [read_item_refusal(each) or _placed(each, order) for each, order in results]

        return _understood(answer, read)

    async def amend(self, change: Amendment) -> Changed:
        """Change price, count or expiry."""
        answer = await self._call(operations.AMEND, change.order_id, query=self._ours(), body=change.body())
        return _understood(answer, read_changed)

    async def decrease(self, order_id: str, ticker: str, *, to: Centi) -> Changed:
        """Leave only ``to`` resting; keeps the place in the queue."""
        body = {"reduce_to": count_text(to), "market_ticker": ticker}
        answer = await self._call(operations.DECREASE, order_id, query=self._ours(), body=body)
        return _understood(answer, read_changed)

    async def cancel(self, order_id: str, ticker: str) -> Cancelled:
        """Take back what rests. OrderRejected with a code of not found is not yet proof that it is gone."""
        query: Query = {**self._ours(), "market_ticker": ticker}
        return _understood(await self._call(operations.CANCEL, order_id, query=query), read_cancelled)

    async def cancel_batch(self, chosen: Sequence[tuple[str, str]]) -> list[Cancelled | Refusal]:
        """Take back several, given as order id and ticker. One result each, in their order."""
        _check_batch(len(chosen))
        named = [
            {"order_id": order_id, "market_ticker": ticker, **self._ours()} for order_id, ticker in chosen
        ]
        answer = await self._call(operations.CANCEL_BATCH, body={"orders": named}, items=len(chosen))

        def read(record: Record) -> list[Cancelled | Refusal]:
            return [read_item_refusal(each) or read_cancelled(each) for each in _results(record, len(chosen))]

        return _understood(answer, read)

    async def cancel_all(self) -> None:
        """Cancel every resting order on every shard, of all subaccounts unless one is set.

        Orders placed within the next minute may be cancelled too: place none, then verify by listing.
        """
        await self._call(operations.CANCEL_ALL, query=self._ours())

    async def list_groups(self) -> list[account.OrderGroup]:
        answer = await self._call(operations.GROUPS, query=self._ours())
        values = answer.items("order_groups") if answer.has("order_groups") else []
        return [account.read_group(Record(answer.operation, each), self._drift) for each in values]

    async def get_group_orders(self, group_id: str) -> list[str]:
        """Ids of the orders in a group."""
        answer = await self._call(operations.GROUP, group_id, query=self._ours())
        return [order_id for order_id in answer.items("orders") if isinstance(order_id, str)]

    async def create_group(self, limit: Centi, *, shard: int | None = None) -> str:
        """A group whose orders may together fill ``limit`` in 15 s; its id. A group lives on one shard."""
        body = {**_limit(limit), **self._ours()} | ({} if shard is None else {"exchange_index": shard})
        answer = await self._call(operations.GROUP_CREATE, body=body)
        return _understood(answer, lambda record: record.text("order_group_id"))

    async def limit_group(self, group_id: str, limit: Centi, *, shard: int | None = None) -> None:
        """Set another limit. One below what filled just now triggers the group at once."""
        await self._call(operations.GROUP_LIMIT, group_id, query=self._on(shard), body=_limit(limit))

    async def trigger_group(self, group_id: str, *, shard: int | None = None) -> None:
        """Cancel every order of the group and refuse new ones until it is reset."""
        await self._call(operations.GROUP_TRIGGER, group_id, query=self._on(shard), body={})

    async def reset_group(self, group_id: str, *, shard: int | None = None) -> None:
        """Let a triggered group take orders again."""
        await self._call(operations.GROUP_RESET, group_id, query=self._on(shard), body={})

    async def delete_group(self, group_id: str, *, shard: int | None = None) -> None:
        """Cancel every order of the group and remove it for good."""
        await self._call(operations.GROUP_DELETE, group_id, query=self._on(shard))

    def _ours(self) -> dict[str, int]:
        return {} if self._subaccount is None else {"subaccount": self._subaccount}

    def _on(self, shard: int | None) -> Query:
        return {**self._ours(), "exchange_index": shard}


def _placed(record: Record, order: NewOrder) -> Placed:
    placed = read_placed(record)
    check_whole(order.count, placed)
    return placed


def _understood(answer: Record, read: Callable[[Record], Answer]) -> Answer:
    """What a success says. It was done: if we can't read it, what became of it has to be asked for."""
    try:
        return read(answer)
    except SchemaDrift as drift:
        raise OrderUnknown(f"{drift}; it was done, but what became of it must be asked for") from None


def _results(record: Record, expected: int) -> list[Record]:
    found = record.items("orders")
    if len(found) != expected:
        raise SchemaDrift(f"{record.operation}: {len(found)} results for {expected} orders")
    return [Record(record.operation, each) for each in found]


def _check_batch(size: int) -> None:
    if not 0 < size <= BATCH_MAX:
        raise ValueError(f"a batch holds 1 to {BATCH_MAX} orders, not {size}")


def _limit(limit: Centi) -> dict[str, str]:
    if not CONTRACT <= limit <= GROUP_LIMIT_MAX * CONTRACT:
        raise ValueError(f"an order group is limited to 1 to {GROUP_LIMIT_MAX} contracts, not {limit} centi")
    return {"contracts_limit_fp": count_text(limit)}
