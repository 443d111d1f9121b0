"""Requests are signed, sent once, kept within limits, and their failures mean what they mean for money."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import kalshi_server as sent
import pytest
from aiohttp import web
from kalshi_server import NOW, KalshiServer, cuts, hangs, http_to, refuses, rest_to, skewed

from jurymast.domain.errors import (
    ConfigError,
    ExchangeUnavailable,
    OrderRejected,
    OrderUnknown,
    SchemaDrift,
)
from jurymast.domain.money import CENT, CONTRACT, usd
from jurymast.domain.order import TimeInForce
from jurymast.exchange.kalshi import hosts, operations
from jurymast.exchange.kalshi.account import BookSide
from jurymast.exchange.kalshi.budget import BucketSize, Budgets, BudgetSpent, Limits
from jurymast.exchange.kalshi.hosts import Credentials, Environment, Host
from jurymast.exchange.kalshi.http import KalshiHttp
from jurymast.exchange.kalshi.markets import MarketFilter
from jurymast.exchange.kalshi.operations import route_key
from jurymast.exchange.kalshi.orders import Amendment, Cancelled, NewOrder, Placed
from jurymast.exchange.kalshi.paging import Pages
from jurymast.exchange.kalshi.reading import Drift
from jurymast.exchange.kalshi.refusals import NOT_SENT, TOO_MANY, Refusal, refusal_of
from jurymast.exchange.kalshi.rest import KalshiRest
from jurymast.exchange.kalshi.signing import Signer, generate_pem
from jurymast.testing.clock import FakeClock

CREATE = "POST /portfolio/events/orders"
PLACED = (
    201,
    {
        "order_id": "o1",
        "client_order_id": "jm-1",
        "fill_count": "4.00",
        "remaining_count": "6.00",
        "average_fill_price": "0.420000",
        "average_fee_paid": "0.017100",
        "ts_ms": 1_793_631_600_123,
    },
)
ORDER = NewOrder(
    ticker="KXRAIN-26NOV-T1",
    side=BookSide.BID,
    yes_price=42 * CENT,
    count=10 * CONTRACT,
    time_in_force=TimeInForce.GOOD_TILL_CANCELED,
    client_order_id="jm-1",
    expires_at=NOW + timedelta(seconds=120.9),
    group_id="g1",
)


async def test_an_order_carries_every_protection() -> None:
    """A resting order is sent with its expiry, its group, self-trade prevention and cancel on pause."""
    async with KalshiServer().on(CREATE, PLACED) as server:
        rest = rest_to(server)
        placed = await rest.orders.create(ORDER)
        await rest.close()
    assert server.asked[0].body == {
        "ticker": "KXRAIN-26NOV-T1",
        "client_order_id": "jm-1",
        "side": "bid",
        "count": "10.00",
        "price": "0.4200",
        "time_in_force": "good_till_canceled",
        "self_trade_prevention_type": "taker_at_cross",
        "post_only": False,
        "reduce_only": False,
        "cancel_order_on_pause": True,
        "expiration_time": 1_793_631_720,
        "order_group_id": "g1",
    }
    assert (placed.filled, placed.remaining, placed.average_fee) == (400, 600, usd("0.0171"))
    assert placed.at == datetime(2026, 11, 2, 15, 0, 0, 123_000, tzinfo=UTC)


@pytest.mark.parametrize(
    "changes",
    [
        {"client_order_id": "has.dot"},
        {"client_order_id": ""},
        {"client_order_id": "x" * 65},
        {"yes_price": 0},
        {"yes_price": usd(1)},
        {"count": 0},
        {"reduce_only": True},
        {"time_in_force": TimeInForce.IMMEDIATE_OR_CANCEL},
        {"time_in_force": TimeInForce.FILL_OR_KILL, "expires_at": None, "post_only": True},
    ],
)
def test_what_kalshi_refuses_is_not_sent(changes: dict[str, Any]) -> None:
    """Combinations that use up an id for nothing are refused before they leave."""
    fields = {name: getattr(ORDER, name) for name in NewOrder.__dataclass_fields__}
    with pytest.raises(ValueError, match=r"client_order_id|price|reduce_only|rest"):
        NewOrder(**{**fields, **changes})


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (refuses(400, "invalid_parameters"), "invalid_parameters"),
        (refuses(400, "insufficient_balance"), "insufficient_balance"),
        (refuses(401, "authentication_error"), "authentication_error"),
        (refuses(404, "market_not_found"), "market_not_found"),
        (refuses(409, "order_already_exists"), "order_already_exists"),
        (
            refuses(409, "fill_or_kill_insufficient_resting_volume"),
            "fill_or_kill_insufficient_resting_volume",
        ),
        (refuses(409, "trading_is_paused"), "trading_is_paused"),
        (refuses(409, "exchange_is_paused"), "exchange_is_paused"),
        (refuses(409, "a_code_of_tomorrow"), "a_code_of_tomorrow"),
        (refuses(410, "deprecated_v1_order_endpoint"), "deprecated_v1_order_endpoint"),
        ((429, {"error": "too many requests"}), TOO_MANY),
        ((400, {"code": "bad_request", "message": "flat shape"}), "bad_request"),
    ],
)
async def test_a_refusal_in_kalshis_words_placed_nothing(answer: Any, code: str) -> None:
    """A refusal is told by its code, and the order is known not to exist."""
    async with KalshiServer().on(CREATE, answer) as server:
        rest = rest_to(server)
        with pytest.raises(OrderRejected) as refused:
            await rest.orders.create(ORDER)
        await rest.close()
    assert refused.value.code == code
    assert server.times(CREATE) == 1


async def web_page(_: web.Request) -> web.Response:
    return web.Response(status=403, text="<html>blocked</html>", content_type="text/html")


async def friendly_page(_: web.Request) -> web.Response:
    return web.Response(text="<html>thank you</html>", content_type="text/html")


@pytest.mark.parametrize(
    "answer",
    [
        friendly_page,
        refuses(500, "internal_error"),
        refuses(503, "service_unavailable"),
        refuses(503, "exchange_is_paused"),
        web_page,
        (302, {}),
        (200, {"error": {"code": "oops"}}),
        (201, {}),
        (201, {**PLACED[1], "fill_count": "9.00"}),
        (201, {**PLACED[1], "fill_count": 4}),
        cuts,
        hangs,
    ],
)
async def test_a_write_without_a_clear_answer_is_unknown_and_never_repeated(answer: Any) -> None:
    """A server error, a cut, silence or an answer we can't read leaves the order unknown, sent once."""
    async with KalshiServer().on(CREATE, answer) as server:
        rest = rest_to(server, total_secs=0.3 if answer is hangs else 5.0)
        with pytest.raises(OrderUnknown):
            await rest.orders.create(ORDER)
        await rest.close()
    assert server.times(CREATE) == 1


async def test_a_redirect_is_not_followed() -> None:
    """An order is not carried to another address, whoever asks for it."""

    async def elsewhere(_: web.Request) -> web.Response:
        return web.Response(status=307, headers={"location": "/trade-api/v2/elsewhere"})

    async with KalshiServer().on(CREATE, elsewhere).on("POST /elsewhere", PLACED) as server:
        rest = rest_to(server)
        with pytest.raises(OrderUnknown):
            await rest.orders.create(ORDER)
        await rest.close()
    assert server.times("POST /elsewhere") == server.refused == 0


async def test_without_a_connection_nothing_was_placed() -> None:
    """When nobody listens no byte has left, so the order is known not to exist."""
    async with KalshiServer() as server:
        rest = rest_to(server)
    with pytest.raises(OrderRejected) as refused:
        await rest.orders.create(ORDER)
    assert refused.value.code == NOT_SENT
    with pytest.raises(ExchangeUnavailable, match="GetBalance"):
        await rest.account.get_balance()
    await rest.close()


async def test_a_kept_connection_that_died_repeats_nothing() -> None:
    """A change sent on a connection that turns out to be dead is not sent again behind our back."""
    cancel, reset = "DELETE /portfolio/events/orders/o1", "PUT /portfolio/order_groups/g/reset"
    server = KalshiServer().on("GET /exchange/status", ok_status()).on(cancel, cuts).on(reset, cuts)
    async with server:
        rest = rest_to(server)
        await rest.markets.get_status()
        with pytest.raises(OrderUnknown):
            await rest.orders.cancel("o1", "KXRAIN-26NOV-T1")
        await rest.markets.get_status()
        with pytest.raises(OrderUnknown):
            await rest.orders.reset_group("g")
        await rest.close()
    assert server.times(cancel) == server.times(reset) == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refuses(404, "not_found"), OrderRejected),
        (refuses(410, "deprecated"), SchemaDrift),
        (refuses(500, "internal_error"), ExchangeUnavailable),
        (refuses(400, "bad_request"), ExchangeUnavailable),
        ((429, {"error": "too many requests"}), ExchangeUnavailable),
        ((200, {"balance": "many"}), SchemaDrift),
        (web_page, ExchangeUnavailable),
        (cuts, ExchangeUnavailable),
        (hangs, ExchangeUnavailable),
    ],
)
async def test_a_read_that_failed_says_so(answer: Any, error: type[Exception]) -> None:
    """A read either gives an answer or raises; it never gives an empty one."""
    async with KalshiServer().on("GET /portfolio/balance", answer) as server:
        rest = rest_to(server, total_secs=0.3 if answer is hangs else 5.0)
        with pytest.raises(error):
            await rest.account.get_balance()
        await rest.close()


TOO_SOON = (429, {"error": "too many requests"})


@pytest.mark.parametrize("again", [TOO_SOON, None], ids=["still too soon", "let through"])
async def test_a_read_that_came_too_soon_is_put_once_more(again: Any) -> None:
    """The balance's bucket counts as empty after a 429: a second later the read is put again, once."""
    balance = {"balance": 12_34, "portfolio_value": 0}
    async with KalshiServer().on("GET /portfolio/balance", TOO_SOON, again or balance) as server:
        clock = FakeClock(NOW)
        rest = rest_to(server, clock)
        if again is None:
            assert (await rest.account.get_balance()).cash == usd("12.34")
        else:
            with pytest.raises(ExchangeUnavailable, match="too_many_requests"):
                await rest.account.get_balance()
        await rest.close()
    assert server.times("GET /portfolio/balance") == 2
    assert clock.monotonic() >= 1.0


async def test_a_cancel_that_came_too_soon_is_put_once_more_and_an_order_is_not() -> None:
    """Nothing was done: what takes risk away is repeated, what adds it waits for a fresh price."""
    cancel = "DELETE /portfolio/events/orders/o1"
    gone = {"order_id": "o1", "reduced_by": "6.00", "ts_ms": 1_793_631_600_123}
    async with KalshiServer().on(cancel, TOO_SOON, gone).on(CREATE, TOO_SOON) as server:
        rest = rest_to(server)
        assert (await rest.orders.cancel("o1", "KXRAIN-26NOV-T1")).reduced_by == 600
        with pytest.raises(OrderRejected, match=TOO_MANY):
            await rest.orders.create(ORDER)
        await rest.close()
    assert (server.times(cancel), server.times(CREATE)) == (2, 1)


async def test_a_clock_that_is_off_is_corrected_once() -> None:
    """A refused timestamp is measured against the reply's date; the same request is then accepted."""
    theirs = NOW + timedelta(seconds=90)
    async with KalshiServer().on(CREATE, skewed(theirs, PLACED[1])) as server:
        rest = rest_to(server)
        await rest.orders.create(ORDER)
        assert server.times(CREATE) == 2
        await rest.orders.create(ORDER)
        await rest.close()
    assert server.times(CREATE) == 3
    assert abs(rest.http.skew - timedelta(seconds=90)) < timedelta(seconds=1)


async def test_a_clock_that_can_not_be_corrected_is_no_loop() -> None:
    """When the corrected time is refused as well the request fails, after two sends, with the cure."""

    async def refuse(_: web.Request) -> web.Response:
        return sent.refusal(401, "header_timestamp_expired")

    async with KalshiServer().on(CREATE, refuse) as server:
        rest = rest_to(server)
        with pytest.raises(OrderRejected, match="clock is off"):
            await rest.orders.create(ORDER)
        await rest.close()
    assert server.times(CREATE) == 2


async def test_signatures_leave_the_query_out_and_hold_for_every_method() -> None:
    """The server, which checks every signature, refuses none of ours."""
    ts = {"order_id": "o1", "reduced_by": "1.00", "ts_ms": 1}
    server = KalshiServer()
    server.on("GET /portfolio/orders", {"orders": [], "cursor": ""})
    server.on("DELETE /portfolio/events/orders/o1", ts)
    server.on("PUT /portfolio/order_groups/g/trigger", {})
    async with server:
        rest = rest_to(server)
        await rest.account.list_orders(ticker="KXRAIN-26NOV-T1", status="resting")
        await rest.orders.cancel("o1", "KXRAIN-26NOV-T1")
        await rest.orders.trigger_group("g", shard=2)
        await rest.close()
    assert server.refused == 0
    assert server.asked[1].query == {"market_ticker": "KXRAIN-26NOV-T1"}
    assert server.asked[2].query == {"exchange_index": "2"}


async def test_a_key_is_refused_at_another_environment() -> None:
    """A key made for one environment is not even shown to another."""
    signer = Signer(sent.KEY_ID, generate_pem())
    async with KalshiServer() as server:
        for environment in (Environment.PRODUCTION, Environment.DEMO):
            with pytest.raises(ConfigError, match="nothing was sent"):
                KalshiHttp(server.host, Credentials(environment, signer), clock=FakeClock())
    with pytest.raises(ConfigError, match="production"):
        KalshiHttp(hosts.PRODUCTION, Credentials(Environment.DEMO, signer), clock=FakeClock())
    assert server.asked == []
    assert server.refused == 0


def test_real_environments_are_spoken_to_over_tls() -> None:
    """A host of a real environment without TLS is refused; the embedded one is on this machine."""
    with pytest.raises(ConfigError, match="TLS"):
        Host(Environment.DEMO, "http://external-api.demo.kalshi.co", "wss://x")
    assert hosts.embedded(8_000).rest_origin == "http://127.0.0.1:8000"


def page(name: str, items: list[Any], cursor: str) -> dict[str, Any]:
    return {name: items, "cursor": cursor}


async def test_pages_are_followed_to_the_end() -> None:
    """Every page is read, each with the cursor of the one before, until the cursor is empty."""
    server = KalshiServer().on(
        "GET /portfolio/orders",
        page("orders", [sent.order("a")], "c1"),
        page("orders", [sent.order("b")], "c2"),
        page("orders", [sent.order("c")], ""),
    )
    async with server:
        rest = rest_to(server)
        orders = await rest.account.list_orders(since=NOW)
        await rest.close()
    assert [each.client_order_id for each in orders] == ["a", "b", "c"]
    assert [each.query.get("cursor") for each in server.asked] == [None, "c1", "c2"]
    assert {each.query["min_ts"] for each in server.asked} == {"1793631600"}


async def test_pages_have_a_bound() -> None:
    """A list without end, or one that runs in a circle, is refused: half a list is not the whole."""
    turns = iter(range(100))

    async def endless(_: web.Request) -> web.Response:
        return web.json_response(page("orders", [], f"c{next(turns)}"))

    async with KalshiServer().on("GET /portfolio/orders", endless) as server:
        http = http_to(server)
        rest = KalshiRest(http, pages=Pages(http, Drift(), pages_max=3))
        with pytest.raises(ExchangeUnavailable, match="more than 3 pages"):
            await rest.account.list_orders()
        assert server.times("GET /portfolio/orders") == 3
        server.on("GET /portfolio/orders", page("orders", [], "same"))
        with pytest.raises(SchemaDrift, match="same page"):
            await rest.account.list_orders()
        await rest.close()


async def test_strange_markets_are_left_out_of_events() -> None:
    """Events come with the markets that can be read; the filter speaks the words of filters."""
    strange = sent.market("KXRAIN-26NOV-T2", status="entangled")
    events = page("events", [sent.event(sent.market(), strange, new_field=1)], "")
    async with KalshiServer().on("GET /events", events) as server:
        rest = rest_to(server)
        (event,) = await rest.markets.list_events(status=MarketFilter.OPEN)
        await rest.close()
    assert [market.ticker for market in event.markets] == ["KXRAIN-26NOV-T1"]
    assert server.asked[0].query["status"] == "open"
    assert rest.drift.counts == {"GetEvents.markets.unreadable": 1, "GetEvents.new_field": 1}


async def test_a_strange_order_fails_the_list() -> None:
    """Money depends on every order of ours: one that can't be read is not left out."""
    orders = page("orders", [sent.order("a"), sent.order("b", book_side="sideways")], "")
    async with KalshiServer().on("GET /portfolio/orders", orders) as server:
        rest = rest_to(server)
        with pytest.raises(SchemaDrift, match="book_side"):
            await rest.account.list_orders()
        await rest.close()


async def test_batches_tell_each_result() -> None:
    """A batch gives one result per order, placed or refused, in the order they were sent."""
    refused = {"order_id": None, "error": {"code": "insufficient_balance", "message": "poor"}}
    cancelled = [
        {"order_id": "o1", "reduced_by": "2.00", "ts_ms": 1},
        {"order_id": "o2", "reduced_by": "0.00", "error": {"code": "not_found", "message": ""}},
    ]
    server = KalshiServer().on(
        "POST /portfolio/events/orders/batched", (201, {"orders": [PLACED[1], refused]})
    )
    server.on("DELETE /portfolio/events/orders/batched", {"orders": cancelled})
    async with server:
        rest = rest_to(server)
        placed = await rest.orders.create_batch([ORDER, ORDER])
        ended = await rest.orders.cancel_batch([("o1", "KXRAIN-26NOV-T1"), ("o2", "KXRAIN-26NOV-T1")])
        server.on("POST /portfolio/events/orders/batched", (201, {"orders": [PLACED[1]]}))
        with pytest.raises(OrderUnknown, match="1 results for 2"):
            await rest.orders.create_batch([ORDER, ORDER])
        await rest.close()
    assert isinstance(placed[0], Placed)
    assert placed[1] == Refusal("insufficient_balance", "poor")
    assert isinstance(ended[0], Cancelled)
    assert ended[1] == Refusal("not_found", "")
    assert server.asked[1].body["orders"][0] == {"order_id": "o1", "market_ticker": "KXRAIN-26NOV-T1"}


async def test_orders_are_amended_and_decreased() -> None:
    """An amendment sends price and count with the new expiry; a decrease names the market."""
    server = KalshiServer().on("POST /portfolio/events/orders/o1/amend", {"order_id": "o1", "ts_ms": 1})
    server.on(
        "POST /portfolio/events/orders/o1/decrease",
        {"order_id": "o1", "remaining_count": "3.00", "ts_ms": 1},
    )
    async with server:
        rest = rest_to(server)
        change = Amendment("o1", "KXRAIN-26NOV-T1", BookSide.ASK, 42 * CENT, 10 * CONTRACT, NOW)
        assert (await rest.orders.amend(change)).remaining is None
        assert (await rest.orders.decrease("o1", "KXRAIN-26NOV-T1", to=300)).remaining == 300
        await rest.close()
    assert server.asked[0].body == {
        "ticker": "KXRAIN-26NOV-T1",
        "side": "ask",
        "price": "0.4200",
        "count": "10.00",
        "expiration_time": 1_793_631_600,
    }
    assert server.asked[1].body == {"reduce_to": "3.00", "market_ticker": "KXRAIN-26NOV-T1"}


async def test_cancel_all_has_no_answer_to_read() -> None:
    """An empty 204 is success."""

    async def nothing(_: web.Request) -> web.Response:
        return web.Response(status=204)

    async with KalshiServer().on("DELETE /portfolio/events/orders", nothing) as server:
        rest = rest_to(server)
        await rest.orders.cancel_all()
        await rest.close()
    assert server.times("DELETE /portfolio/events/orders") == 1


async def test_order_groups_live_their_life() -> None:
    """A group is made with a limit on its shard, limited further, triggered, reset, listed and deleted."""
    server = KalshiServer().on(
        "POST /portfolio/order_groups/create", (201, {"order_group_id": "g1", "subaccount": 0})
    )
    groups = [{"id": "g1", "contracts_limit_fp": "50.00", "is_auto_cancel_enabled": True}]
    server.on("GET /portfolio/order_groups", {"order_groups": groups})
    server.on("GET /portfolio/order_groups/g1", {"is_auto_cancel_enabled": True, "orders": ["o1"]})
    for route in ("PUT /portfolio/order_groups/g1/limit", "PUT /portfolio/order_groups/g1/trigger"):
        server.on(route, {})
    server.on("PUT /portfolio/order_groups/g1/reset", {}).on("DELETE /portfolio/order_groups/g1", {})
    async with server:
        rest = rest_to(server)
        assert await rest.orders.create_group(50 * CONTRACT, shard=2) == "g1"
        await rest.orders.limit_group("g1", 5 * CONTRACT, shard=2)
        await rest.orders.trigger_group("g1", shard=2)
        await rest.orders.reset_group("g1", shard=2)
        assert [group.limit for group in await rest.orders.list_groups()] == [50 * CONTRACT]
        assert await rest.orders.get_group_orders("g1") == ["o1"]
        await rest.orders.delete_group("g1", shard=2)
        with pytest.raises(ValueError, match="limited to"):
            await rest.orders.create_group(0)
        await rest.close()
    assert server.asked[0].body == {"contracts_limit_fp": "50.00", "exchange_index": 2}
    assert server.asked[1].body == {"contracts_limit_fp": "5.00"}


LIMITS = {
    "usage_tier": "advanced",
    "read": {"refill_rate": 300, "bucket_capacity": 900},
    "write": {"refill_rate": 100, "bucket_capacity": 100},
    "grants": [],
}
COSTS = {
    "default_cost": 10,
    "endpoint_costs": [
        {"method": "DELETE", "path": "/trade-api/v2/portfolio/events/orders/{order_id}", "cost": 2},
        {"method": "get", "path": "/portfolio/orders/:order_id", "cost": 3},
    ],
}


async def test_limits_are_read_not_assumed() -> None:
    """Bucket sizes and prices are those that Kalshi tells for this account."""
    server = KalshiServer().on("GET /account/limits", LIMITS).on("GET /account/endpoint_costs", COSTS)
    async with server:
        rest = rest_to(server)
        limits = await rest.learn_limits()
        await rest.close()
    assert limits.tier == "advanced"
    assert limits.read == BucketSize(900, 300)
    assert limits.cost(operations.CANCEL) == 2
    assert limits.cost(operations.ORDER) == 3
    assert limits.cost(operations.CREATE) == limits.cost(operations.CANCEL_BATCH) == 10
    assert rest.http.budgets.limits is limits
    assert Limits().cost(operations.CANCEL) == 2


def test_a_route_has_one_spelling() -> None:
    """However ids are written in a route, it is the same route."""
    assert (
        route_key("delete", "/trade-api/v2/a/{order_id}/b/")
        == route_key("DELETE", "/a/:id/b")
        == "DELETE /a/{}/b"
    )


async def test_a_share_of_writes_is_kept_for_cancels() -> None:
    """When creates have drawn all they may, they wait; a cancel goes at once."""
    clock = FakeClock()
    budgets = Budgets(clock)
    for _ in range(7):
        await budgets.take(operations.CREATE)
    assert clock.monotonic() == 0.0
    for _ in range(15):
        await budgets.take(operations.CANCEL)
    assert clock.monotonic() == 0.0
    await budgets.take(operations.CREATE)
    assert clock.monotonic() == pytest.approx(0.4)


async def test_waiting_for_a_token_is_bounded() -> None:
    """An order that would have to wait longer than it is worth isn't sent, and says why."""
    clock = FakeClock()
    budgets = Budgets(clock, wait_secs_max=0.05)
    for _ in range(7):
        await budgets.take(operations.CREATE)
    with pytest.raises(BudgetSpent, match="would wait"):
        await budgets.take(operations.CREATE)
    with pytest.raises(BudgetSpent, match="ever holds"):
        await budgets.take(operations.CREATE_BATCH, items=100)


async def test_the_balance_has_its_own_bucket() -> None:
    """Asking for the balance draws on nothing else, and at most once a second."""
    clock = FakeClock()
    budgets = Budgets(clock, Limits(costs={"GET /portfolio/balance": 10}))
    for _ in range(20):
        await budgets.take(operations.ORDERS)
    await budgets.take(operations.BALANCE)
    assert clock.monotonic() == 0.0
    await budgets.take(operations.BALANCE)
    assert clock.monotonic() == pytest.approx(1.0)


async def test_a_spent_budget_is_a_refusal_without_a_request() -> None:
    """What can't be paid for is refused here: nothing was placed, nothing was asked."""
    async with KalshiServer().on(CREATE, PLACED) as server:
        http = http_to(server)
        http.budgets.learn(Limits(read=BucketSize(5, 1), write=BucketSize(5, 1)))
        rest = KalshiRest(http)
        with pytest.raises(OrderRejected, match="nothing was sent"):
            await rest.orders.create(ORDER)
        with pytest.raises(ExchangeUnavailable, match="ask later"):
            await rest.account.list_orders()
        await rest.close()
    assert server.asked == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"error":{"code":"bad_request","message":"m"}}', "bad_request"),
        (b'{"code":"bad_request","message":"m"}', "bad_request"),
        (b'{"error":"too many requests"}', "too_many_requests"),
        (b"<html>", ""),
        (b"[]", ""),
        (b'{"error":{"code":7}}', ""),
        (b'{"error":null}', ""),
    ],
)
def test_errors_come_in_three_shapes(body: bytes, code: str) -> None:
    """A code is found nested, flat or as bare words; what has none is not Kalshi's."""
    assert refusal_of(400, body).code == code


async def test_an_answer_has_a_size() -> None:
    """A body without end is cut off and is no answer."""

    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(600):
            await response.write(b" " * 65_536)
        return response

    async with KalshiServer().on("GET /portfolio/balance", flood) as server:
        rest = rest_to(server)
        with pytest.raises(ExchangeUnavailable, match="larger than"):
            await rest.account.get_balance()
        await rest.close()


def ok_status() -> dict[str, Any]:
    return {"exchange_active": True, "trading_active": True}


async def test_market_data_has_its_shapes() -> None:
    """Books, trades, candles, windows, fees and the archive's border are read in our units."""
    book = {"yes_dollars": [["0.4200", "1.00"]], "no_dollars": []}
    trade = {
        "trade_id": "t",
        "ticker": "A",
        "count_fp": "0.50",
        "yes_price_dollars": "0.4200",
        "no_price_dollars": "0.5800",
        "taker_outcome_side": "no",
        "taker_book_side": "ask",
        "created_time": "2026-11-02T15:00:00Z",
        "is_block_trade": False,
    }
    candle = {
        "end_period_ts": 1_793_631_600,
        "yes_bid": {"close_dollars": "0.4100"},
        "yes_ask": {"close_dollars": "0.4300"},
        "price": {"close_dollars": None},
        "volume_fp": "0.00",
        "open_interest_fp": "1.00",
    }
    windows = [{"start_datetime": "2026-11-05T08:00:00Z", "end_datetime": "2026-11-05T10:00:00Z"}]
    server = KalshiServer().on(
        "GET /markets/orderbooks", {"orderbooks": [{"ticker": "A", "orderbook_fp": book}]}
    )
    server.on("GET /markets/trades", page("trades", [trade], ""))
    server.on("GET /series/KXA/markets/A/candlesticks", {"ticker": "A", "candlesticks": [candle]})
    server.on("GET /exchange/schedule", {"schedule": {"standard_hours": [], "maintenance_windows": windows}})
    server.on("GET /historical/cutoff", {"orders_updated_ts": "2026-08-01T00:00:00Z"})
    server.on("GET /series/KXA", {"series": {"fee_type": "quadratic", "fee_multiplier": 0.5}})
    async with server:
        rest = rest_to(server)
        assert (await rest.markets.list_books(["A"]))["A"].bids[0].price == 42 * CENT
        assert (await rest.markets.list_trades("A", NOW))[0].count == 50
        (read,) = await rest.markets.list_candles("KXA", "A", NOW, NOW)
        assert (read.bid_close, read.trade_close, read.ends_at) == (41 * CENT, None, NOW)
        assert (await rest.markets.list_maintenance())[0][1] == datetime(2026, 11, 5, 10, tzinfo=UTC)
        assert (await rest.markets.get_history_cutoff()).month == 8
        assert (await rest.markets.get_series_fee("KXA")).multiplier_millionths == 500_000
        with pytest.raises(ValueError, match="at most 100"):
            await rest.markets.list_books(["A"] * 101)
        await rest.close()
