# /// script
# requires-python = ">=3.13"
# dependencies = ["kalshi_python_async==3.34.0"]
# ///
"""Trade on the embedded exchange with Kalshi's own SDK, unmodified.

Run: python official_sdk.py URL KEY_ID KEY_FILE.

Prints one line for each thing done and ends with 0, or with the first thing that did not hold.
"""

from __future__ import annotations

import asyncio
import sys
import urllib.request
from pathlib import Path
from typing import Any

import kalshi_python_async as kalshi

GOOD_TILL = {"time_in_force": "good_till_canceled", "self_trade_prevention_type": "taker_at_cross"}
AT_ONCE = GOOD_TILL | {"time_in_force": "immediate_or_cancel"}


def said(what: str, holds: object) -> None:
    print(f"{'ok' if holds else 'WRONG'}  {what}")
    if not holds:
        raise SystemExit(1)


async def find_market(client: Any) -> Any:
    """An open market with both sides on offer and room below the bid."""
    page = await client.get_markets(status="open", limit=200)
    for market in page.markets:
        if float(market.yes_bid_dollars) > 0.1 and float(market.yes_ask_dollars) < 0.9:
            return market
    raise SystemExit("no market to trade in")


async def order(client: Any, ticker: str, name: str, side: str, price: str, **more: object) -> Any:
    facts = {"ticker": ticker, "client_order_id": name, "side": side, "count": "5.00", "price": price}
    return await client.create_order_v2(**facts | GOOD_TILL | more)


async def refused(call: Any) -> tuple[int, str]:
    try:
        await call
    except kalshi.ApiException as error:
        return error.status, str(error.body)
    return 200, ""


async def markets(client: Any) -> str:
    said("exchange status", (await client.get_exchange_status()).trading_active)
    said("schedule", (await client.get_exchange_schedule()).schedule.standard_hours)
    market = await find_market(client)
    ticker = market.ticker
    said("market", (await client.get_market(ticker)).market.status == "active")
    said("event", (await client.get_event(market.event_ticker)).event.series_ticker)
    said(
        "events with markets", (await client.get_events(limit=3, with_nested_markets=True)).events[0].markets
    )
    series = (await client.get_series_list()).series
    said("series", series)
    book = (await client.get_market_orderbook(ticker)).orderbook_fp
    said("book, best last", book.yes_dollars[-1][0] == market.yes_bid_dollars)
    said("books", len((await client.get_market_orderbooks(tickers=[ticker])).orderbooks) == 1)
    return str(ticker)


async def trading(client: Any, ticker: str) -> None:
    await client.get_balance()
    rest = await order(client, ticker, "rest-1", "bid", "0.0200", post_only=True, cancel_order_on_pause=True)
    said("an order rests", (rest.fill_count, rest.remaining_count) == ("0.00", "5.00"))
    amended = await client.amend_order_v2(
        rest.order_id,
        ticker=ticker,
        side="bid",
        price="0.0300",
        count="4.00",
        updated_client_order_id="rest-2",
    )
    said("amend", amended.remaining_count == "4.00" and amended.client_order_id == "rest-2")
    said("read back", (await client.get_order(rest.order_id)).order.yes_price_dollars == "0.0300")
    said("queue", (await client.get_order_queue_position(rest.order_id)).queue_position_fp)
    less = await client.decrease_order_v2(rest.order_id, reduce_by="1.00", market_ticker=ticker)
    said("decrease", less.remaining_count == "3.00")
    said(
        "listed",
        [each.order_id for each in (await client.get_orders(status="resting")).orders] == [rest.order_id],
    )
    gone = await client.cancel_order_v2(rest.order_id, market_ticker=ticker)
    said("cancel", gone.reduced_by == "3.00")
    status, _ = await refused(client.cancel_order_v2(rest.order_id, market_ticker=ticker))
    said("cancel again is 404", status == 404)
    status, body = await refused(order(client, ticker, "rest-1", "bid", "0.0200"))
    said("a used id is 409", status == 409 and "order_already_exists" in body)
    taken = await order(client, ticker, "take-1", "bid", "0.9900", **AT_ONCE)
    said("a taker fills", taken.fill_count == "5.00" and float(taken.average_fee_paid) > 0)
    said("fill", (await client.get_fills(order_id=taken.order_id)).fills[0].is_taker)
    held = (await client.get_positions(ticker=ticker)).market_positions[0]
    said("position", held.position_fp == "5.00")
    status, body = await refused(
        order(client, ticker, "kill-1", "bid", "0.0100", **AT_ONCE | {"time_in_force": "fill_or_kill"})
    )
    said("a killed order is 409", status == 409 and "fill_or_kill_insufficient_resting_volume" in body)
    batch = [
        {"ticker": ticker, "client_order_id": f"b-{n}", "side": "bid", "count": "1", "price": f"0.0{n}"}
        | GOOD_TILL
        for n in (1, 2)
    ]
    made = (await client.batch_create_orders_v2(orders=batch)).orders
    said("batch", len({each.order_id for each in made}) == 2)
    await client.cancel_all_orders()
    said("cancel all", not (await client.get_orders(status="resting")).orders)


async def groups(client: Any) -> None:
    group = (await client.create_order_group(contracts_limit=100)).order_group_id
    await client.update_order_group_limit(group, contracts_limit=50)
    said("group", (await client.get_order_group(group)).contracts_limit_fp == "50.00")
    await client.trigger_order_group(group)
    await client.reset_order_group(group)
    said("groups", len((await client.get_order_groups()).order_groups) == 1)
    await client.delete_order_group(group)


async def settlement(client: Any, ticker: str, url: str) -> None:
    control = url.partition("/trade-api")[0] + f"/control/markets/{ticker}/settle?result=yes"
    request = urllib.request.Request(control, method="POST")
    await asyncio.to_thread(urllib.request.urlopen, request)
    paid = (await client.get_settlements(ticker=ticker)).settlements[0]
    said("settlement", (paid.market_result, paid.revenue, paid.yes_count_fp) == ("yes", 500, "5.00"))
    said("settled market", (await client.get_market(ticker)).market.result == "yes")
    said("trades", (await client.get_trades(ticker=ticker)).trades)
    said("limits", (await client.get_account_api_limits()).usage_tier)
    said("costs", (await client.get_account_endpoint_costs()).default_cost == 10)


async def main(url: str, key_id: str, key_file: str) -> None:
    configuration = kalshi.Configuration(host=url)
    configuration.api_key_id, configuration.private_key_pem = key_id, Path(key_file).read_text()
    client = kalshi.KalshiClient(configuration)
    try:
        ticker = await markets(client)
        await trading(client, ticker)
        await groups(client)
        await settlement(client, ticker, url)
    finally:
        await client.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
