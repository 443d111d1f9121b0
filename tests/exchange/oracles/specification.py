# /// script
# requires-python = ">=3.13"
# dependencies = ["aiohttp", "cryptography", "jsonschema", "pyyaml"]
# ///
"""Hold every answer of the embedded exchange against Kalshi's specifications: URL KEY_ID KEY_FILE DIRECTORY.

DIRECTORY has ``openapi.yaml`` and ``asyncapi.yaml``; both come with the source distribution of kalshi-sdk
22.4.0 and are not ours to hand on. Ends with 0, or with everything that does not fit.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import yaml
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

PREFIX = "/trade-api/v2"
FRAMES = {
    "subscribed": "subscribedResponsePayload",
    "unsubscribed": "unsubscribedResponsePayload",
    "error": "errorResponsePayload",
    "orderbook_snapshot": "orderbookSnapshotPayload",
    "orderbook_delta": "orderbookDeltaPayload",
    "ticker": "tickerPayload",
    "trade": "tradePayload",
    "fill": "fillPayload",
    "user_order": "userOrderPayload",
    "market_position": "marketPositionPayload",
    "market_lifecycle_v2": "marketLifecycleV2Payload",
    "order_group_updates": "orderGroupUpdatesPayload",
}


def plain_schema(value: Any) -> Any:
    """OpenAPI 3.0 as JSON schema: ``nullable`` becomes a type, and enums of it allow null."""
    if isinstance(value, list):
        return [plain_schema(each) for each in value]
    if not isinstance(value, dict):
        return value
    made = {name: plain_schema(each) for name, each in value.items() if name not in {"nullable", "example"}}
    return {"anyOf": [made, {"type": "null"}]} if value.get("nullable") is True else made


class Specification:
    def __init__(self, directory: Path) -> None:
        rest = yaml.safe_load((directory / "openapi.yaml").read_text())
        socket = yaml.safe_load((directory / "asyncapi.yaml").read_text())
        self.paths = rest["paths"]
        self.rest = {"components": plain_schema(rest["components"])}
        self.socket = {"components": socket["components"]}
        self.wrong: list[str] = []
        self.operations: set[str] = set()
        self.frames: dict[str, int] = {}

    def check(self, method: str, template: str, status: int, body: Any) -> None:
        operation = self.paths[template][method.lower()]
        name = f"{method} {template} {status}"
        self.operations.add(f"{method} {template}")
        answer = operation["responses"].get(str(status))
        if answer is None:
            self.wrong.append(f"{name}: no such status in the specification")
            return
        content = answer.get("content", {}).get("application/json")
        if (
            content is None or status >= 400
        ):  # the errors' nesting is from recordings, not from the specification
            return
        self._hold(name, body, plain_schema(content["schema"]) | self.rest)

    def frame(self, frame: dict[str, Any]) -> None:
        kind = frame["type"]
        self.frames[kind] = self.frames.get(kind, 0) + 1
        name = FRAMES.get(kind)
        if kind == "ok":
            name = (
                "listSubscriptionsResponsePayload" if isinstance(frame["msg"], list) else "okResponsePayload"
            )
        if name is None:
            self.wrong.append(f"frame {kind}: not in the specification")
        else:
            self._hold(f"frame {kind}", frame, {"$ref": f"#/components/schemas/{name}"} | self.socket)

    def _hold(self, name: str, value: Any, schema: dict[str, Any]) -> None:
        for error in jsonschema.Draft202012Validator(schema).iter_errors(value):
            self.wrong.append(f"{name}: {'/'.join(map(str, error.absolute_path))}: {error.message[:200]}")


class Caller:
    def __init__(self, session: aiohttp.ClientSession, origin: str, key_id: str, pem: bytes) -> None:
        self._session, self._origin, self._key_id = session, origin, key_id
        self._key = serialization.load_pem_private_key(pem, password=None)

    def headers(self, method: str, path: str) -> dict[str, str]:
        now = str(int(time.time() * 1000))
        pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
        signature = self._key.sign(f"{now}{method}{path}".encode(), pss, hashes.SHA256())
        encoded = base64.b64encode(signature).decode()
        return {
            "KALSHI-ACCESS-KEY": self._key_id,
            "KALSHI-ACCESS-TIMESTAMP": now,
            "KALSHI-ACCESS-SIGNATURE": encoded,
        }

    async def call(self, method: str, path: str, query: dict[str, str], body: object) -> tuple[int, Any]:
        url = f"{self._origin}{PREFIX}{path}"
        headers = self.headers(method, PREFIX + path)
        async with self._session.request(method, url, params=query, json=body, headers=headers) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text else None

    def socket(self) -> Any:
        path = "/trade-api/ws/v2"
        return self._session.ws_connect(self._origin + path, headers=self.headers("GET", path))


class Walk:
    """Every operation served, once or more, with its answer held against the specification."""

    def __init__(self, caller: Caller, specification: Specification) -> None:
        self._caller, self._specification = caller, specification

    async def do(
        self,
        method: str,
        template: str,
        /,
        query: dict[str, str] | None = None,
        body: object = None,
        **parts: str,
    ) -> Any:
        path = re.sub(r"\{(\w+)\}", lambda found: parts[found[1]], template)
        status, answer = await self._caller.call(method, path, query or {}, body)
        self._specification.check(method, template, status, answer)
        return answer

    async def reads(self) -> dict[str, Any]:
        for path in (
            "/exchange/status",
            "/exchange/schedule",
            "/exchange/user_data_timestamp",
            "/historical/cutoff",
        ):
            await self.do("GET", path)
        for path in ("/account/limits", "/account/endpoint_costs", "/series"):
            await self.do("GET", path)
        await self.do("GET", "/events", {"limit": "200", "with_nested_markets": "true"})
        for status in ("unopened", "open", "closed", "settled"):
            await self.do("GET", "/markets", {"limit": "1000", "status": status})
        page = (await self.do("GET", "/markets", {"limit": "1000", "status": "open"}))["markets"]
        market: dict[str, Any] = next(
            each
            for each in page
            if float(each["yes_bid_dollars"]) > 0.1 and float(each["yes_ask_dollars"]) < 0.9
        )
        ticker, event = market["ticker"], market["event_ticker"]
        series = (await self.do("GET", "/events/{event_ticker}", event_ticker=event))["event"][
            "series_ticker"
        ]
        await self.do("GET", "/series/{series_ticker}", series_ticker=series)
        await self.do("GET", "/markets/{ticker}", ticker=ticker)
        await self.do("GET", "/markets/{ticker}/orderbook", {"depth": "2"}, ticker=ticker)
        await self.do("GET", "/markets/orderbooks", {"tickers": ticker})
        return market | {"series_ticker": series}

    async def candles(self, market: dict[str, Any]) -> None:
        now = int(time.time())
        times = {"start_ts": str(now - 7200), "end_ts": str(now + 60), "period_interval": "1"}
        template = "/series/{series_ticker}/markets/{ticker}/candlesticks"
        await self.do("GET", template, times, series_ticker=market["series_ticker"], ticker=market["ticker"])
        await self.do("GET", "/markets/candlesticks", times | {"market_tickers": market["ticker"]})

    async def orders(self, ticker: str) -> None:
        orders, one = "/portfolio/events/orders", "/portfolio/events/orders/{order_id}"
        made = await self.do(
            "POST", orders, body=new_order(ticker, "s-1", "0.0200", expiration_time=4102444800)
        )
        number = made["order_id"]
        amended = {"ticker": ticker, "side": "bid", "price": "0.0300", "count": "4", "expiration_time": 0}
        await self.do("POST", f"{one}/amend", body=amended, order_id=number)
        await self.do(
            "POST", f"{one}/decrease", body={"reduce_by": "1.00", "market_ticker": ticker}, order_id=number
        )
        await self.do("GET", "/portfolio/orders/{order_id}", order_id=number)
        await self.do("GET", "/portfolio/orders/{order_id}/queue_position", order_id=number)
        await self.do("GET", "/portfolio/orders/queue_positions")
        await self.do("DELETE", one, {"market_ticker": ticker}, order_id=number)
        await self.do("DELETE", one, {"market_ticker": ticker}, order_id=number)
        at_once = {"time_in_force": "immediate_or_cancel"}
        await self.do("POST", orders, body=new_order(ticker, "s-2", "0.9900", **at_once))
        await self.do("POST", orders, body=new_order(ticker, "s-2", "0.9900", **at_once))
        batch = {"orders": [new_order(ticker, f"s-{n}", "0.0100") for n in (3, 3, 4)]}
        rows = (await self.do("POST", f"{orders}/batched", body=batch))["orders"]
        gone = [{"order_id": row["order_id"], "market_ticker": ticker} for row in rows if "order_id" in row]
        await self.do("DELETE", f"{orders}/batched", body={"orders": [*gone[:1], *gone[:1]]})
        await self.do("DELETE", orders)
        for path in ("orders", "fills", "positions", "balance", "summary/total_resting_order_value"):
            await self.do("GET", f"/portfolio/{path}")

    async def groups(self) -> None:
        root, one = "/portfolio/order_groups", "/portfolio/order_groups/{order_group_id}"
        group = (await self.do("POST", f"{root}/create", body={"contracts_limit": 10}))["order_group_id"]
        await self.do("PUT", f"{one}/limit", body={"contracts_limit_fp": "20.00"}, order_group_id=group)
        await self.do("PUT", f"{one}/trigger", body={}, order_group_id=group)
        await self.do("PUT", f"{one}/reset", body={}, order_group_id=group)
        await self.do("GET", one, order_group_id=group)
        await self.do("GET", root)
        await self.do("DELETE", one, order_group_id=group)

    async def money(self, ticker: str, origin: str) -> None:
        await self.do("POST", "/portfolio/subaccounts", body={})
        await self.do("GET", "/portfolio/subaccounts/balances")
        sides = {"source": "event_contract", "destination": "event_contract", "amount": 10_000}
        await self.do(
            "POST", "/portfolio/intra_exchange_instance_transfer", body=sides | {"destination_subaccount": 1}
        )
        async with aiohttp.request("POST", f"{origin}/control/markets/{ticker}/settle?result=yes") as answer:
            answer.raise_for_status()
        await self.do("GET", "/portfolio/settlements")
        await self.do("GET", "/portfolio/positions", {"settlement_status": "all"})
        await self.do("GET", "/markets/{ticker}", ticker=ticker)
        await self.do("GET", "/markets/trades", {"ticker": ticker})


def new_order(ticker: str, name: str, price: str, **more: object) -> dict[str, object]:
    order = {"ticker": ticker, "client_order_id": name, "side": "bid", "count": "5", "price": price}
    rules = {"time_in_force": "good_till_canceled", "self_trade_prevention_type": "taker_at_cross"}
    return order | rules | more


async def listen(caller: Caller, specification: Specification, ticker: str, done: asyncio.Event) -> None:
    async with caller.socket() as socket:
        watched = {"market_ticker": ticker}
        for number, (channels, params) in enumerate(
            (
                (["orderbook_delta", "ticker", "trade"], watched | {"send_initial_snapshot": True}),
                (
                    ["fill", "user_orders", "market_positions", "market_lifecycle_v2", "order_group_updates"],
                    {},
                ),
                (["nonsense"], {}),
            )
        ):
            command = {"id": number + 1, "cmd": "subscribe", "params": {"channels": channels} | params}
            await socket.send_json(command)
        for action in ("get_snapshot", "delete_markets", "add_markets"):
            params = {"sids": [1], "market_tickers": [ticker], "action": action}
            await socket.send_json({"id": 9, "cmd": "update_subscription", "params": params})
        await socket.send_json({"id": 10, "cmd": "list_subscriptions"})
        while True:
            try:
                specification.frame(json.loads((await socket.receive(timeout=0.7)).data))
            except TimeoutError:
                if done.is_set():
                    return


async def main(url: str, key_id: str, key_file: str, directory: str) -> None:
    specification, origin = Specification(Path(directory)), url.removesuffix(PREFIX)
    async with aiohttp.ClientSession() as session:
        caller = Caller(session, origin, key_id, Path(key_file).read_bytes())
        walk, done = Walk(caller, specification), asyncio.Event()
        market = await walk.reads()
        listener = asyncio.create_task(listen(caller, specification, market["ticker"], done))
        await asyncio.sleep(0.3)
        await walk.orders(market["ticker"])
        await walk.groups()
        await walk.money(market["ticker"], origin)
        await walk.candles(market)
        done.set()
        await listener
    print(f"{len(specification.operations)} operations, frames {specification.frames}")
    print("\n".join(dict.fromkeys(specification.wrong)) or "everything fits")
    sys.exit(1 if specification.wrong else 0)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5]))
