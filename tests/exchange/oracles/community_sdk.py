# /// script
# requires-python = ">=3.13"
# dependencies = ["kalshi-sdk==22.4.0"]
# ///
"""Trade on the embedded exchange with kalshi-sdk, unmodified, REST and websocket: URL KEY_ID KEY_FILE.

Prints one line for each thing done and ends with 0, or with the first thing that did not hold.
"""

from __future__ import annotations

import asyncio
import sys
import urllib.request
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

from kalshi import AsyncKalshiClient, KalshiAuth, KalshiConfig
from kalshi.errors import KalshiError
from kalshi.models import AmendOrderV2Request, CreateOrderV2Request, DecreaseOrderV2Request
from kalshi.ws import KalshiWebSocket

WAIT_SECS = 10.0


def said(what: str, holds: object) -> None:
    print(f"{'ok' if holds else 'WRONG'}  {what}")
    if not holds:
        raise SystemExit(1)


def order(ticker: str, name: str, side: str, price: str, **more: object) -> CreateOrderV2Request:
    facts: dict[str, Any] = {
        "ticker": ticker,
        "client_order_id": name,
        "side": side,
        "count": "5.00",
        "price": price,
        "time_in_force": "good_till_canceled",
        "self_trade_prevention_type": "maker",
    }
    return CreateOrderV2Request(**facts | more)


async def following(stream: AsyncIterator[Any]) -> Any:
    return await asyncio.wait_for(anext(aiter(stream)), WAIT_SECS)


async def find_market(client: AsyncKalshiClient) -> Any:
    """The last suitable market, so that runs after another oracle's find it untouched."""
    page = await client.markets.list(status="open", limit=300)
    for market in reversed(list(page)):
        if market.yes_bid > Decimal("0.1") and market.yes_ask < Decimal("0.9"):
            return market
    raise SystemExit("no market to trade in")


async def trading(client: AsyncKalshiClient, ticker: str, book: Any, fills: Any, orders: Any) -> None:
    api = client.orders
    rest = await api.create_v2(request=order(ticker, "c-rest", "bid", "0.0200", post_only=True))
    said("an order rests", rest.remaining_count == 5)
    delta = await following(book)
    said("ws: delta of my order", (delta.type, delta.msg.client_order_id) == ("orderbook_delta", "c-rest"))
    said("ws: user order", (await following(orders)).msg.order_id == rest.order_id)
    amend = AmendOrderV2Request(ticker=ticker, side="bid", price="0.0300", count="4.00")
    said("amend", (await api.amend_v2(rest.order_id, request=amend)).remaining_count == 4)
    less = DecreaseOrderV2Request(reduce_to="2.00", market_ticker=ticker)
    said("decrease", (await api.decrease_v2(rest.order_id, request=less)).remaining_count == 2)
    said("cancel", (await api.cancel_v2(rest.order_id, market_ticker=ticker)).reduced_by == 2)
    taken = await api.create_v2(
        request=order(ticker, "c-take", "ask", "0.0100", time_in_force="immediate_or_cancel")
    )
    said("a taker fills", taken.fill_count == 5)
    fill = (await following(fills)).msg
    said("ws: fill", (fill.order_id, fill.post_position) == (taken.order_id, Decimal("-5.00")))
    said("fills", len(list(await client.portfolio.fills(order_id=taken.order_id))) >= 1)
    held = await client.portfolio.positions(ticker=ticker)
    said("position", held.market_positions[0].position == Decimal("-5.00"))
    try:
        await api.create_v2(request=order(ticker, "c-take", "ask", "0.0100"))
    except KalshiError as error:
        said("a used id is refused", "order_already_exists" in str(error) or "409" in str(error))
    else:
        said("a used id is refused", False)
    await api.cancel_all_v2()
    said("cancel all", not list(await api.list(status="resting")))


async def main(url: str, key_id: str, key_file: str) -> None:
    socket = url.replace("http://", "ws://").replace("/trade-api/v2", "/trade-api/ws/v2")
    config = KalshiConfig(base_url=url, ws_base_url=socket, allow_unknown_host=True)
    auth = KalshiAuth.from_key_path(key_id, key_file)
    async with AsyncKalshiClient(auth=auth, config=config) as client:
        said("exchange status", (await client.exchange.status()).trading_active)
        market = await find_market(client)
        said("event", (await client.events.get(market.event_ticker)) is not None)
        said("book", (await client.markets.orderbook(market.ticker)).yes)
        said("balance", (await client.portfolio.balance()).balance)
        async with KalshiWebSocket(auth=auth, config=config).connect() as session:
            book = await session.subscribe_orderbook_delta(tickers=[market.ticker])
            levels = list((await following(book)).msg.yes)  # before it subscribes again, or it is lost
            said("ws: snapshot, best last", levels and levels == sorted(levels))
            fills, orders = await session.subscribe_fill(), await session.subscribe_user_orders()
            lives = await session.subscribe_market_lifecycle()
            await trading(client, market.ticker, book, fills, orders)
            control = url.partition("/trade-api")[0] + f"/control/markets/{market.ticker}/settle?result=no"
            await asyncio.to_thread(urllib.request.urlopen, urllib.request.Request(control, method="POST"))
            life = await following(lives)
            while life.msg.market_ticker != market.ticker or life.msg.event_type != "settled":
                life = await following(lives)
            said("ws: settled", life.msg.settled_ts)
        paid = list(await client.portfolio.settlements(ticker=market.ticker))
        said("settlement", len(paid) == 1 and paid[0].market_result == "no")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
