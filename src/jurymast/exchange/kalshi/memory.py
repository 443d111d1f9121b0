"""What one run has learnt about its orders, so that the wire's gaps can be closed.

Lists of fills don't tell the client order id, and nothing tells whether an ``ask`` was meant as selling
YES or as buying NO. All of it is a convenience: after a restart it is empty, and the exchange is asked.
Bounded, the oldest forgotten first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

from jurymast.domain.order import Fill, Order, OrderIntent
from jurymast.exchange.kalshi.account import KalshiFill, KalshiOrder, expressed

KEPT_MAX: Final = 20_000
OVERLAP: Final = timedelta(seconds=60)
"""By default: shards and replicas may show an older row later than a newer one."""

Value = TypeVar("Value")
Row = TypeVar("Row")


class Recent(Generic[Value]):
    """The last values by name."""

    def __init__(self, kept_max: int = KEPT_MAX) -> None:
        self._values: OrderedDict[str, Value] = OrderedDict()
        self._kept_max = kept_max

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def get(self, name: str) -> Value | None:
        return self._values.get(name)

    def put(self, name: str, value: Value) -> None:
        self._values[name] = value
        self._values.move_to_end(name)
        if len(self._values) > self._kept_max:
            self._values.popitem(last=False)

    def drop(self, name: str) -> None:
        self._values.pop(name, None)


@dataclass(frozen=True, slots=True)
class Sent:
    """An order that left, and when by exchange time."""

    intent: OrderIntent
    at: datetime


class OrderMemory:
    """Orders of this run by their two ids."""

    def __init__(self) -> None:
        self.sent: Recent[Sent] = Recent()
        self._order_ids: Recent[str] = Recent()
        self._client_ids: Recent[str] = Recent()

    def saw(self, order_id: str, client_order_id: str) -> None:
        """``client_order_id`` is empty for an order placed by hand."""
        if client_order_id:
            self._order_ids.put(client_order_id, order_id)
        self._client_ids.put(order_id, client_order_id)

    def order_id(self, client_order_id: str) -> str | None:
        return self._order_ids.get(client_order_id)

    def knows(self, order_id: str) -> bool:
        """Whether the client order id of this order is known."""
        return order_id in self._client_ids

    def order(self, found: KalshiOrder) -> Order:
        """In the terms of its intent where that is known."""
        sent = self.sent.get(found.client_order_id)
        order = found.order
        return order if sent is None else expressed(order, sent.intent.side, sent.intent.action)

    def fill(self, found: KalshiFill) -> Fill:
        """With its client order id and in the terms of its intent, where they are known."""
        client_order_id = found.client_order_id or self._client_ids.get(found.order_id) or ""
        fill = found.fill(client_order_id)
        sent = self.sent.get(client_order_id)
        if sent is None or sent.intent.side is fill.side:
            return fill
        intent = sent.intent
        return replace(fill, side=intent.side, action=intent.action, price=found.price_of(intent.side))


class Feed(Generic[Row]):
    """Rows told since the last known one, in order of time, none of them twice and none of them lost.

    Rows that show up late, with a time up to ``overlap`` before the last known one, are told when they show
    up. Of a known row that this run has not told, say of the life before, ``overlap`` is counted back too:
    who asks keeps ids and passes over what it knows.
    """

    def __init__(self, overlap: timedelta = OVERLAP) -> None:
        self._overlap = overlap
        self._told: Recent[datetime] = Recent()

    def since(self, after: str | None) -> datetime | None:
        """From when to ask. None is from the beginning: ``after`` is not known to this run."""
        at = None if after is None else self._told.get(after)
        return None if at is None else at - self._overlap

    def news(self, rows: Iterable[tuple[str, datetime, Row]], after: str | None) -> list[Row]:
        """Rows (id, time, row) that come after ``after`` or have not been told yet."""
        unique = {row_id: (at, row) for row_id, at, row in rows}
        ordered = sorted(unique.items(), key=lambda each: (each[1][0], each[0]))
        ids = [row_id for row_id, _ in ordered]
        place = -1
        if after is not None and after in unique:
            place = ids.index(after)
            horizon = unique[after][0] - self._overlap
            for row_id, (at, _) in ordered[:place]:
                if at < horizon:
                    self._told.put(row_id, at)
        fresh = [
            row
            for index, (row_id, (_, row)) in enumerate(ordered)
            if index > place or (row_id != after and row_id not in self._told)
        ]
        for row_id, (at, _) in ordered:
            self._told.put(row_id, at)
        return fresh
