"""The operations of Trade API v2 that the bot uses: paths, what they draw on, how they are told apart.

One table, so that a change of the API is a change of one file. Only V2 orders are here: V1 answers 410.
Moving money (transfers between shards and accounts) is left out on purpose: the bot's key has no business
with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from jurymast.exchange.kalshi.hosts import REST_PREFIX


class Draw(StrEnum):
    """Which token bucket a request draws on. CANCEL is the write bucket with its reserve."""

    READ = "read"
    WRITE = "write"
    CANCEL = "cancel"
    BALANCE = "balance"

    @property
    def changes(self) -> bool:
        """Whether an answer that never came may have changed something."""
        return self in {Draw.WRITE, Draw.CANCEL}


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the API. ``path`` has ``{}`` for ids; ``cost`` holds until the real one is read."""

    name: str
    method: str
    path: str
    draw: Draw = Draw.READ
    cost: int | None = None


_ORDERS: Final = "/portfolio/events/orders"
_GROUPS: Final = "/portfolio/order_groups"

STATUS: Final = Operation("GetExchangeStatus", "GET", "/exchange/status")
SCHEDULE: Final = Operation("GetExchangeSchedule", "GET", "/exchange/schedule")
USER_DATA_TIMESTAMP: Final = Operation("GetUserDataTimestamp", "GET", "/exchange/user_data_timestamp")
EVENTS: Final = Operation("GetEvents", "GET", "/events")
MARKETS: Final = Operation("GetMarkets", "GET", "/markets")
MARKET: Final = Operation("GetMarket", "GET", "/markets/{}")
SERIES: Final = Operation("GetSeries", "GET", "/series/{}")
BOOK: Final = Operation("GetMarketOrderbook", "GET", "/markets/{}/orderbook")
BOOKS: Final = Operation("GetMarketOrderbooks", "GET", "/markets/orderbooks")
TRADES: Final = Operation("GetTrades", "GET", "/markets/trades")
CANDLES: Final = Operation("GetMarketCandlesticks", "GET", "/series/{}/markets/{}/candlesticks")
CUTOFF: Final = Operation("GetHistoricalCutoff", "GET", "/historical/cutoff")
LIMITS: Final = Operation("GetAccountApiLimits", "GET", "/account/limits")
COSTS: Final = Operation("GetAccountEndpointCosts", "GET", "/account/endpoint_costs")

ORDERS: Final = Operation("GetOrders", "GET", "/portfolio/orders")
ORDER: Final = Operation("GetOrder", "GET", "/portfolio/orders/{}", cost=2)
FILLS: Final = Operation("GetFills", "GET", "/portfolio/fills")
POSITIONS: Final = Operation("GetPositions", "GET", "/portfolio/positions")
SETTLEMENTS: Final = Operation("GetSettlements", "GET", "/portfolio/settlements")
BALANCE: Final = Operation("GetBalance", "GET", "/portfolio/balance", Draw.BALANCE)

CREATE: Final = Operation("CreateOrderV2", "POST", _ORDERS, Draw.WRITE)
CREATE_BATCH: Final = Operation("BatchCreateOrdersV2", "POST", f"{_ORDERS}/batched", Draw.WRITE)
AMEND: Final = Operation("AmendOrderV2", "POST", f"{_ORDERS}/{{}}/amend", Draw.WRITE)
DECREASE: Final = Operation("DecreaseOrderV2", "POST", f"{_ORDERS}/{{}}/decrease", Draw.WRITE)
CANCEL: Final = Operation("CancelOrderV2", "DELETE", f"{_ORDERS}/{{}}", Draw.CANCEL, cost=2)
CANCEL_BATCH: Final = Operation("BatchCancelOrdersV2", "DELETE", f"{_ORDERS}/batched", Draw.CANCEL, cost=2)
CANCEL_ALL: Final = Operation("CancelAllOrders", "DELETE", _ORDERS, Draw.CANCEL, cost=2)

GROUPS: Final = Operation("GetOrderGroups", "GET", _GROUPS)
GROUP: Final = Operation("GetOrderGroup", "GET", f"{_GROUPS}/{{}}")
GROUP_CREATE: Final = Operation("CreateOrderGroup", "POST", f"{_GROUPS}/create", Draw.WRITE)
GROUP_LIMIT: Final = Operation("UpdateOrderGroupLimit", "PUT", f"{_GROUPS}/{{}}/limit", Draw.WRITE)
GROUP_RESET: Final = Operation("ResetOrderGroup", "PUT", f"{_GROUPS}/{{}}/reset", Draw.WRITE)
GROUP_TRIGGER: Final = Operation("TriggerOrderGroup", "PUT", f"{_GROUPS}/{{}}/trigger", Draw.CANCEL)
GROUP_DELETE: Final = Operation("DeleteOrderGroup", "DELETE", f"{_GROUPS}/{{}}", Draw.CANCEL)


def route_key(method: str, path: str) -> str:
    """One spelling for a route however its ids are written: ``{order_id}``, ``:order_id`` or ``{}``."""
    bare = path.removeprefix(REST_PREFIX).rstrip("/")
    return f"{method.upper()} {re.sub(r'{[^}]*}|:[a-z_]+', '{}', bare)}"
