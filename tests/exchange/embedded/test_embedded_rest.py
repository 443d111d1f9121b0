"""The embedded exchange's REST: Kalshi's shapes, words, codes and limits on a real socket."""

from __future__ import annotations

import pytest
from server_world import ORDERS, Served, serving

from jurymast.exchange.embedded.server.limits import API, TIERS, Bucket, Buckets
from jurymast.exchange.embedded.server.site import WireSettings

KILL = {"time_in_force": "fill_or_kill"}
AT_ONCE = {"time_in_force": "immediate_or_cancel"}


def code(answer: tuple[int, dict[str, dict[str, str]]]) -> tuple[int, str]:
    return answer[0], answer[1]["error"]["code"]


async def test_an_order_goes_through_its_life() -> None:
    """Created with 201, read, amended, decreased, cancelled; cancelled again it is not found."""
    async with serving() as served:
        status, made = await served.order("0.0200", "a-1", expiration_time=4_102_444_800)
        assert (status, made["fill_count"], made["remaining_count"]) == (201, "0.00", "5.00")
        assert "average_fill_price" not in made
        order, path = made["order_id"], f"{ORDERS}/{made['order_id']}"
        change = {
            "ticker": served.ticker(),
            "side": "bid",
            "price": "0.03",
            "count": "4",
            "expiration_time": 0,
        }
        status, amended = await served.call("POST", f"{path}/amend", change)
        assert (status, amended["remaining_count"], amended["fill_count"]) == (200, "4.00", "0.00")
        _, read = await served.call("GET", f"/portfolio/orders/{order}")
        assert read["order"]["yes_price_dollars"] == "0.0300"
        assert read["order"]["expiration_time"] is None
        _, less = await served.call("POST", f"{path}/decrease", {"reduce_to": "1.00"})
        assert less["remaining_count"] == "1.00"
        _, gone = await served.call("DELETE", path)
        assert gone["reduced_by"] == "1.00"
        assert code(await served.call("DELETE", path)) == (404, "not_found")


async def test_a_fill_shows_everywhere() -> None:
    """A taker's answer, fills, position, order and balance tell the same story."""
    async with serving() as served:
        status, made = await served.order("0.9900", "a-1", **AT_ONCE)
        assert (status, made["fill_count"]) == (201, "5.00")
        _, fills = await served.call("GET", "/portfolio/fills", order_id=made["order_id"])
        assert sum(float(fill["count_fp"]) for fill in fills["fills"]) == 5
        fees = sum(float(fill["fee_cost"]) for fill in fills["fills"])
        assert fees == pytest.approx(5 * float(made["average_fee_paid"]), abs=1e-5)
        _, held = await served.call("GET", "/portfolio/positions")
        assert [each["position_fp"] for each in held["market_positions"]] == ["5.00"]
        _, read = await served.call("GET", f"/portfolio/orders/{made['order_id']}")
        order = read["order"]
        assert (order["status"], order["fill_count_fp"], order["remaining_count_fp"]) == (
            "executed",
            "5.00",
            "0.00",
        )
        _, cash = await served.call("GET", "/portfolio/balance")
        spent = float(order["taker_fill_cost_dollars"]) + fees
        assert float(cash["balance_dollars"]) == pytest.approx(10_000 - spent)
        _, tape = await served.call("GET", "/markets/trades", ticker=served.ticker())
        assert sum(float(each["count_fp"]) for each in tape["trades"]) == 5


async def test_refusals_carry_kalshis_codes() -> None:
    """Each refusal has its status and its code in a nested body."""
    async with serving() as served:
        await served.order("0.0200", "a-1")
        assert code(await served.order("0.0200", "a-1")) == (409, "order_already_exists")
        assert code(await served.order("0.0200", "a-2", **KILL)) == (
            409,
            "fill_or_kill_insufficient_resting_volume",
        )
        assert code(await served.order("0.0200", "a-2")) == (409, "order_already_exists")
        assert code(await served.order("0.0200", "a.3")) == (400, "invalid_parameters")
        assert code(await served.order("0.02001", "a-3")) == (400, "invalid_parameters")
        assert code(await served.order("0.0200", "a-3", side="buy")) == (400, "invalid_parameters")
        assert code(await served.order("0.0200", "a-3", reduce_only=True)) == (400, "invalid_parameters")
        assert code(await served.order("0.9900", "a-3", count="100000")) == (400, "insufficient_balance")
        assert code(await served.order("0.0200", "a-3", ticker="NO-SUCH")) == (404, "market_not_found")
        assert code(await served.call("GET", "/markets", status="finalized")) == (400, "bad_request")
        assert code(await served.call("GET", "/nowhere")) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/portfolio/orders"),
        ("POST", "/portfolio/orders/batched"),
        ("DELETE", "/portfolio/orders/x"),
        ("POST", "/portfolio/orders/x/amend"),
    ],
)
async def test_the_old_api_is_gone(method: str, path: str) -> None:
    """Orders of the first API are answered 410 with its code."""
    async with serving() as served:
        assert code(await served.call(method, path, {})) == (410, "deprecated_v1_order_endpoint")


async def test_batches_answer_item_by_item() -> None:
    """One bad item does not spoil the others; each carries its own answer or error."""
    async with serving() as served:
        base = {
            "ticker": served.ticker(),
            "side": "bid",
            "count": "1",
            "price": "0.0100",
            "time_in_force": "good_till_canceled",
            "self_trade_prevention_type": "maker",
        }
        orders = [base | {"client_order_id": name} for name in ("b-1", "b-1", "b-2")]
        status, made = await served.call("POST", f"{ORDERS}/batched", {"orders": orders})
        assert status == 201
        assert [row.get("error", {}).get("code") for row in made["orders"]] == [
            None,
            "order_already_exists",
            None,
        ]
        first = {"order_id": made["orders"][0]["order_id"]}
        status, gone = await served.call("DELETE", f"{ORDERS}/batched", {"orders": [first, first]})
        assert [row["reduced_by"] for row in gone["orders"]] == ["1.00", "0.00"]
        assert gone["orders"][1]["error"]["code"] == "not_found"


async def test_cancel_all_answers_with_nothing_and_leaves_nothing() -> None:
    """Cancel-all is 204 without a body; afterwards nothing rests."""
    async with serving() as served:
        await served.order("0.0200", "a-1")
        assert await served.call("DELETE", ORDERS) == (204, None)
        _, left = await served.call("GET", "/portfolio/orders", status="resting")
        assert left == {"orders": [], "cursor": ""}


async def test_a_cancel_without_a_route_misses_orders_on_other_shards() -> None:
    """Without the market's ticker a cancel goes to shard 0: an order elsewhere is not found there."""
    async with serving(shards=2) as served:
        ticker = served.ticker(shard=1)
        _, made = await served.order("0.0100", "a-1", ticker=ticker)
        path = f"{ORDERS}/{made['order_id']}"
        assert code(await served.call("DELETE", path)) == (404, "not_found")
        assert code(await served.call("DELETE", path, exchange_index=-1)) == (400, "invalid_parameters")
        status, _ = await served.call("DELETE", path, market_ticker=ticker)
        assert status == 200
        wrong = await served.order("0.0100", "a-2", ticker=ticker, exchange_index=0)
        assert code(wrong) == (404, "market_not_found")


async def test_money_moves_between_shards() -> None:
    """A transfer takes cash from one shard to another, and the breakdown says so."""
    async with serving(shards=2) as served:
        body = {"source": "event_contract", "destination": "event_contract", "amount": 1_000_000}
        path = "/portfolio/intra_exchange_instance_transfer"
        status, _ = await served.call("POST", path, body | {"destination_exchange_shard": 1})
        assert status == 200
        _, cash = await served.call("GET", "/portfolio/balance")
        assert [row["balance"] for row in cash["balance_breakdown"]] == ["9900.0000", "10100.0000"]
        assert code(await served.call("POST", path, body | {"destination_exchange_shard": 9}))[0] == 400


async def test_books_are_bids_only_with_the_best_level_last() -> None:
    """Both sides of a book ascend, and the market's best prices are their last levels."""
    async with serving() as served:
        ticker = served.ticker()
        _, book = await served.call("GET", f"/markets/{ticker}/orderbook")
        sides = book["orderbook_fp"]
        for side in ("yes_dollars", "no_dollars"):
            prices = [price for price, _ in sides[side]]
            assert prices == sorted(prices)
        _, market = await served.call("GET", f"/markets/{ticker}")
        assert market["market"]["yes_bid_dollars"] == sides["yes_dollars"][-1][0]
        assert market["market"]["no_bid_dollars"] == sides["no_dollars"][-1][0]
        _, cut = await served.call("GET", f"/markets/{ticker}/orderbook", depth=1)
        assert cut["orderbook_fp"]["yes_dollars"] == sides["yes_dollars"][-1:]
        _, several = await served.call("GET", "/markets/orderbooks", tickers=ticker)
        assert several["orderbooks"] == [{"ticker": ticker, "orderbook_fp": sides}]


async def test_the_displayed_book_is_the_book_one_trades_on() -> None:
    """A market that nobody touched shows what an order then meets, level for level."""
    async with serving() as served:
        before = served.exchange.depth(served.ticker())
        await served.order("0.0100", "a-1")
        yes, no = served.exchange.depth(served.ticker())
        assert [level for level in yes if level[0] != 10_000] == [
            level for level in before[0] if level[0] != 10_000
        ]
        assert no == before[1]


async def test_pages_add_up_to_the_whole() -> None:
    """Following cursors visits every market once, whatever the page size; filters narrow it."""
    async with serving() as served:
        seen, cursor = [], ""
        while True:
            _, page = await served.call("GET", "/markets", limit=7, cursor=cursor)
            seen += [market["ticker"] for market in page["markets"]]
            cursor = page["cursor"]
            if not cursor:
                break
        assert len(seen) == len(set(seen)) == len(served.exchange.catalogue)
        _, some = await served.call("GET", "/markets", tickers=f"{seen[3]},{seen[1]},NO-SUCH")
        assert [market["ticker"] for market in some["markets"]] == [seen[1], seen[3]]
        counts = {}
        for status in ("unopened", "open", "closed", "settled"):
            _, page = await served.call("GET", "/markets", limit=1_000, status=status)
            counts[status] = len(page["markets"])
        assert sum(counts.values()) == len(seen)
        assert code(await served.call("GET", "/markets", cursor="!")) == (400, "bad_request")


async def test_pages_of_orders_do_not_shift_when_new_ones_come() -> None:
    """An order placed between two pages is not in the second one, and none comes twice."""
    async with serving() as served:
        for number in range(5):
            await served.order(f"0.0{number + 1}", f"a-{number}")
        _, first = await served.call("GET", "/portfolio/orders", limit=2)
        await served.order("0.0900", "late")
        _, second = await served.call("GET", "/portfolio/orders", limit=2, cursor=first["cursor"])
        names = [order["client_order_id"] for page in (first, second) for order in page["orders"]]
        assert names == ["a-4", "a-3", "a-2", "a-1"]


async def test_an_outcome_shows_only_when_it_is_determined() -> None:
    """Nothing on the wire tells how a question ends before its market is determined."""
    async with serving() as served:
        ticker = served.ticker()
        _, open_market = await served.call("GET", f"/markets/{ticker}")
        assert (open_market["market"]["result"], open_market["market"]["status"]) == ("", "active")
        await served.order("0.9900", "a-1", **AT_ONCE)
        await served.control("POST", f"/markets/{ticker}/close")
        _, closed = await served.call("GET", f"/markets/{ticker}")
        assert (closed["market"]["result"], closed["market"]["status"]) == ("", "closed")
        await served.control("POST", f"/markets/{ticker}/settle?result=no")
        _, settled = await served.call("GET", f"/markets/{ticker}")
        assert (settled["market"]["result"], settled["market"]["settlement_value_dollars"]) == (
            "no",
            "0.0000",
        )
        _, paid = await served.call("GET", "/portfolio/settlements")
        assert [(row["market_result"], row["revenue"]) for row in paid["settlements"]] == [("no", 0)]
        _, left = await served.call("GET", "/portfolio/positions")
        assert left["market_positions"] == []


async def test_candles_come_from_prints_and_quotes() -> None:
    """A candle has the minute's prints and the quotes at its ends; a minute without prints has no price."""
    async with serving() as served:
        ticker = served.ticker()
        series = (await served.call("GET", f"/events/{served.exchange.catalogue.find(ticker).event_ticker}"))[
            1
        ]
        await served.order("0.9900", "a-1", **AT_ONCE)
        now = int(served.exchange.now().timestamp())
        served.clock.advance(180)
        path = f"/series/{series['event']['series_ticker']}/markets/{ticker}/candlesticks"
        status, body = await served.call("GET", path, start_ts=now - 60, end_ts=now + 150, period_interval=1)
        assert status == 200
        volumes = [row["volume_fp"] for row in body["candlesticks"]]
        assert sorted(volumes)[-1] == "5.00"
        traded = next(row for row in body["candlesticks"] if row["volume_fp"] == "5.00")
        assert (
            traded["price"]["low_dollars"]
            <= traded["price"]["mean_dollars"]
            <= traded["price"]["high_dollars"]
        )
        quiet = next(row for row in body["candlesticks"] if row["volume_fp"] == "0.00")
        assert "open_dollars" not in quiet["price"]
        bad = await served.call("GET", path, start_ts=now, end_ts=now, period_interval=7)
        assert code(bad) == (400, "bad_request")


async def test_requests_must_be_signed_by_the_key_and_in_time() -> None:
    """No key, a foreign signature and a clock that is off are three ways to 401; market data is public."""
    async with serving() as served:
        path = "/portfolio/orders"
        assert code(await served.send("GET", path, None, {})) == (401, "authentication_error")
        foreign = served.headers("GET", API + "/portfolio/fills")
        assert code(await served.send("GET", path, None, foreign)) == (401, "authentication_error")
        assert code(await served.call("GET", path, skew_secs=-61)) == (401, "header_timestamp_expired")
        assert code(await served.call("GET", path, skew_secs=61)) == (401, "header_timestamp_expired")
        assert (await served.call("GET", path, skew_secs=-9))[0] == 200
        assert (await served.send("GET", "/markets", None, {}, limit=1))[0] == 200


async def test_too_many_requests_are_told_so_and_nothing_more() -> None:
    """Ten creates a second on the basic tier; then a bare 429 without a word of when to come back."""
    async with serving() as served:
        headers = served.headers("DELETE", API + f"{ORDERS}/x")
        url = served.server.rest_url + f"{ORDERS}/x"
        statuses = []
        for _ in range(51):
            async with served.session.delete(url, headers=headers) as answer:
                statuses.append(answer.status)
                last = await answer.json()
                assert "Retry-After" not in answer.headers
        assert statuses == [404] * 50 + [429]
        assert last == {"error": "too many requests"}
        balance = [
            (await served.send("GET", "/portfolio/balance", None, _signed(served)))[0] for _ in range(2)
        ]
        assert balance == [200, 429]


def _signed(served: Served) -> dict[str, str]:
    return served.headers("GET", API + "/portfolio/balance")


def test_buckets_refill_with_time_and_hold_so_much() -> None:
    """A bucket holds its burst, gives it out once, and fills at its rate."""
    bucket = Bucket(rate=100, capacity=100, now=0.0)
    assert [bucket.take(40, 0.0) for _ in range(3)] == [True, True, False]
    assert bucket.take(40, 0.2)
    assert not bucket.take(101, 100.0)
    buckets = Buckets(TIERS["basic"], 0.0)
    assert buckets.admit("POST", "/portfolio/events/orders/batched", 10, 0.0)
    assert not buckets.admit("POST", ORDERS, 1, 0.0)
    assert buckets.admit("GET", "/markets", 1, 0.0)


async def test_limits_and_costs_are_told() -> None:
    """A client can read its tier, its buckets and what each operation costs."""
    async with serving(settings=WireSettings(tier="advanced")) as served:
        _, limits = await served.call("GET", "/account/limits")
        assert (limits["usage_tier"], limits["write"]) == (
            "advanced",
            {"refill_rate": 300, "bucket_capacity": 900},
        )
        _, costs = await served.call("GET", "/account/endpoint_costs")
        light = {(row["method"], row["path"]): row["cost"] for row in costs["endpoint_costs"]}
        assert light["DELETE", f"{API}{ORDERS}/{{order_id}}"] == 2


async def test_unknown_behaviour_can_be_switched() -> None:
    """What Kalshi does not document is a setting: collateral in the balance, fields that are fading away."""
    settings = WireSettings(balance_excludes_resting=False, legacy_fields=False)
    async with serving(settings=settings) as served:
        _, made = await served.order("0.0200", "a-1")
        _, cash = await served.call("GET", "/portfolio/balance")
        assert cash["balance_dollars"] == "10000.0000"
        _, read = await served.call("GET", f"/portfolio/orders/{made['order_id']}")
        assert "side" not in read["order"]
    async with serving() as served:
        _, made = await served.order("0.0200", "a-1")
        _, cash = await served.call("GET", "/portfolio/balance")
        assert cash["balance_dollars"] == "9999.9000"
        _, read = await served.call("GET", f"/portfolio/orders/{made['order_id']}")
        assert read["order"]["side"] == "yes"
