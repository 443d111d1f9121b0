"""The port over Kalshi: orders are protected and never lost, silence and emptiness are no answers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import kalshi_server as sent
import pytest
from kalshi_server import NOW, KalshiServer, cuts, refuses, rest_to

from jurymast.domain.errors import ExchangeUnavailable, OrderRejected, OrderUnknown, SchemaDrift
from jurymast.domain.market import MarketStatus, Side
from jurymast.domain.money import CENT, CONTRACT, usd
from jurymast.domain.order import Action, Order, OrderIntent, OrderStatus, Purpose, TimeInForce
from jurymast.exchange.kalshi.exchange import KalshiExchange, KalshiSettings
from jurymast.testing.clock import FakeClock

TICKER = "KXRAIN-26NOV-T1"
CREATE = "POST /portfolio/events/orders"
CANCEL = "DELETE /portfolio/events/orders/id-jm-1"
READ = "GET /portfolio/orders/id-jm-1"
LIST = "GET /portfolio/orders"
FRESH = "GET /exchange/user_data_timestamp"
ENTRY = OrderIntent(
    client_order_id="jm-1",
    decision_id="d1",
    ticker=TICKER,
    event_ticker="KXRAIN-26NOV",
    purpose=Purpose.ENTRY,
    side=Side.YES,
    action=Action.BUY,
    count=10 * CONTRACT,
    limit_price=42 * CENT,
    time_in_force=TimeInForce.GOOD_TILL_CANCELED,
    reason="test",
)
EXIT = replace(
    ENTRY,
    purpose=Purpose.EXIT,
    action=Action.SELL,
    time_in_force=TimeInForce.IMMEDIATE_OR_CANCEL,
)


def placed(filled: str = "0.00", remaining: str = "10.00") -> tuple[int, dict[str, Any]]:
    created_ms = int(NOW.timestamp() * 1000)
    return 201, {
        "order_id": "id-jm-1",
        "fill_count": filled,
        "remaining_count": remaining,
        "ts_ms": created_ms,
    }


def listed(name: str, *items: Any) -> dict[str, Any]:
    return {name: list(items), "cursor": "", "event_positions": []}


def as_of(secs: float) -> dict[str, str]:
    return {"as_of_time": (NOW + timedelta(seconds=secs)).isoformat()}


def kalshi() -> KalshiServer:
    """A server with one market, a group maker and an account that is up to date."""
    server = KalshiServer().on(f"GET /markets/{TICKER}", {"market": sent.market()})
    server.on("POST /portfolio/order_groups/create", (201, {"order_group_id": "g1", "subaccount": 0}))
    return server.on(FRESH, as_of(0)).on(LIST, listed("orders")).on(CREATE, placed())


def exchange_at(
    server: KalshiServer, clock: FakeClock | None = None, **settings: Any
) -> tuple[KalshiExchange, FakeClock]:
    clock = clock or FakeClock(NOW)
    rest = rest_to(server, clock)
    return KalshiExchange(rest, clock=clock, settings=KalshiSettings(**settings)), clock


def resting(order_id: str = "id-jm-1", **changes: Any) -> Order:
    order = Order(
        order_id=order_id,
        client_order_id="jm-1",
        ticker=TICKER,
        side=Side.YES,
        action=Action.BUY,
        limit_price=42 * CENT,
        count=10 * CONTRACT,
        filled=0,
        status=OrderStatus.RESTING,
        created_at=NOW,
    )
    return replace(order, **changes)


async def test_an_entry_rests_under_every_protection() -> None:
    """An entry carries an expiry even if it named none, a group on its market's shard, cancel on pause."""
    async with kalshi() as server:
        exchange, _ = exchange_at(server)
        order = await exchange.place_order(ENTRY)
        await exchange.place_order(replace(ENTRY, client_order_id="jm-2"))
        await exchange.close()
    body = server.requests(CREATE)[0].body
    assert body["expiration_time"] == int(NOW.timestamp()) + 120
    assert (body["order_group_id"], body["cancel_order_on_pause"]) == ("g1", True)
    assert body["self_trade_prevention_type"] == "taker_at_cross"
    (group,) = server.requests("POST /portfolio/order_groups/create")
    assert group.body == {"contracts_limit_fp": "1000.00", "exchange_index": 2}
    assert order == resting(expires_at=NOW + timedelta(seconds=120))
    assert exchange.order_groups == {2: "g1"}


async def test_an_exit_can_only_reduce() -> None:
    """Selling YES is an ask, immediate-or-cancel and reduce-only; the answer is told as the sale it is."""
    async with kalshi().on(CREATE, placed("4.00", "0.00")) as server:
        exchange, _ = exchange_at(server)
        order = await exchange.place_order(EXIT)
        with pytest.raises(OrderRejected, match="reduce_only"):
            await exchange.place_order(replace(EXIT, time_in_force=TimeInForce.GOOD_TILL_CANCELED))
        await exchange.close()
    (create,) = server.requests(CREATE)
    assert (create.body["side"], create.body["price"], create.body["reduce_only"]) == ("ask", "0.4200", True)
    assert "expiration_time" not in create.body
    assert "order_group_id" not in create.body
    assert (order.side, order.action, order.filled) == (Side.YES, Action.SELL, 400)
    assert order.status is OrderStatus.CANCELED


@pytest.mark.parametrize(
    ("side", "action", "book_side", "price"),
    [
        (Side.YES, Action.BUY, "bid", "0.4200"),
        (Side.NO, Action.BUY, "ask", "0.5800"),
        (Side.YES, Action.SELL, "ask", "0.4200"),
        (Side.NO, Action.SELL, "bid", "0.5800"),
    ],
)
async def test_four_trades_are_two_sides_of_one_book(
    side: Side, action: Action, book_side: str, price: str
) -> None:
    """Buying NO at q is an ask at 1 - q, selling NO at q a bid at 1 - q."""
    base = ENTRY if action is Action.BUY else EXIT
    async with kalshi().on(CREATE, placed("10.00", "0.00")) as server:
        exchange, _ = exchange_at(server)
        order = await exchange.place_order(replace(base, side=side))
        await exchange.close()
    body = server.requests(CREATE)[0].body
    assert (body["side"], body["price"]) == (book_side, price)
    assert (order.side, order.action, order.limit_price) == (side, action, 42 * CENT)
    assert order.status is OrderStatus.EXECUTED


async def test_a_price_off_the_grid_is_asked_about_then_refused() -> None:
    """Ticks can change while a market trades: the market is read again before a price is refused."""
    finer = sent.market(price_ranges=[{"start": "0.0000", "end": "1.0000", "step": "0.0010"}])
    cents = {"market": sent.market()}
    async with kalshi().on(f"GET /markets/{TICKER}", cents, cents, {"market": finer}) as server:
        exchange, _ = exchange_at(server)
        with pytest.raises(OrderRejected, match="nearest are 420000 and 430000"):
            await exchange.place_order(replace(ENTRY, limit_price=usd("0.4250")))
        assert server.times(CREATE) == 0
        await exchange.place_order(replace(ENTRY, limit_price=usd("0.4250")))
        await exchange.close()
    assert server.requests(CREATE)[0].body["price"] == "0.4250"


async def test_an_order_that_could_not_be_prepared_was_not_sent() -> None:
    """When the market or the group can't be had, the order is refused, and no id is used up."""
    async with kalshi().on(f"GET /markets/{TICKER}", refuses(500, "internal_error")) as server:
        exchange, _ = exchange_at(server)
        with pytest.raises(OrderRejected) as refused:
            await exchange.place_order(ENTRY)
        assert refused.value.code == "not_sent"
        server.on(f"GET /markets/{TICKER}", {"market": sent.market()})
        server.on("POST /portfolio/order_groups/create", cuts)
        with pytest.raises(OrderRejected) as refused:
            await exchange.place_order(ENTRY)
        await exchange.close()
    assert refused.value.code == "not_sent"
    assert server.times(CREATE) == 0


async def test_a_group_that_is_gone_is_made_anew() -> None:
    """When Kalshi finds something missing for an order, the next one gets a new group."""
    async with kalshi().on(CREATE, refuses(404, "not_found"), placed()) as server:
        exchange, _ = exchange_at(server)
        with pytest.raises(OrderRejected):
            await exchange.place_order(ENTRY)
        await exchange.place_order(ENTRY)
        await exchange.close()
    assert server.times("POST /portfolio/order_groups/create") == 2


async def test_an_accepted_order_without_answer_is_found_by_its_id() -> None:
    """Accepted, then silence: the order is unknown, never sent again, and found by its own id."""
    async with (
        kalshi().on(CREATE, cuts).on(LIST, listed("orders", sent.order("other"), sent.order())) as server
    ):
        server.on(READ, {"order": sent.order()})
        exchange, _ = exchange_at(server)
        with pytest.raises(OrderUnknown):
            await exchange.place_order(ENTRY)
        found = await exchange.find_order("jm-1")
        await exchange.close()
    assert found == resting(expires_at=NOW + timedelta(seconds=120))
    assert server.times(CREATE) == 1
    assert server.requests(LIST)[0].query["ticker"] == TICKER


async def test_not_there_yet_is_not_the_same_as_not_there() -> None:
    """Only when an order can't arrive any more does a search that finds nothing mean that it is not there."""
    async with kalshi().on(CREATE, cuts) as server:
        exchange, clock = exchange_at(server)
        with pytest.raises(OrderUnknown):
            await exchange.place_order(ENTRY)
        with pytest.raises(ExchangeUnavailable, match="may still arrive"):
            await exchange.find_order("jm-1")
        clock.advance(30)
        server.on(FRESH, as_of(9.9))
        with pytest.raises(ExchangeUnavailable, match="may still arrive"):
            await exchange.find_order("jm-1")
        server.on(FRESH, as_of(10))
        assert await exchange.find_order("jm-1") is None
        await exchange.close()


async def test_after_a_restart_an_order_may_still_be_on_its_way() -> None:
    """A run that did not send the order itself waits as long before it believes that there is none."""
    async with kalshi() as server:
        exchange, clock = exchange_at(server)
        with pytest.raises(ExchangeUnavailable, match="may still arrive"):
            await exchange.find_order("jm-1")
        clock.advance(11)
        server.on(FRESH, as_of(11))
        assert await exchange.find_order("jm-1") is None
        await exchange.close()


async def test_a_known_order_is_read_by_its_own_id() -> None:
    """Once an order is known it is read alone, whatever lists show."""
    ended = sent.order(status="executed", fill_count_fp="10.00", remaining_count_fp="0.00")
    async with kalshi().on(READ, {"order": ended}) as server:
        exchange, _ = exchange_at(server)
        await exchange.place_order(ENTRY)
        found = await exchange.find_order("jm-1")
        server.on(READ, refuses(404, "not_found"))
        with pytest.raises(ExchangeUnavailable, match="does not show it"):
            await exchange.find_order("jm-1")
        await exchange.close()
    assert found is not None
    assert found.status is OrderStatus.EXECUTED
    assert server.times(LIST) == 0


async def test_reads_wait_for_our_last_write() -> None:
    """Kalshi's view of the account lags: reads wait until it knows of our last order, then say so or fail."""
    async with (
        kalshi().on(READ, {"order": sent.order()}).on(FRESH, as_of(-1), as_of(-0.5), as_of(0)) as server
    ):
        exchange, clock = exchange_at(server)
        await exchange.place_order(ENTRY)
        await exchange.find_order("jm-1")
        assert server.times(FRESH) == 3
        server.on(FRESH, as_of(-1))
        before = clock.monotonic()
        with pytest.raises(ExchangeUnavailable, match="before our last order"):
            await exchange.list_open_orders()
        assert 3 <= clock.monotonic() - before <= 4
        await exchange.close()


async def test_old_data_is_no_data() -> None:
    """An account told as of long ago is not compared with our books."""
    async with kalshi().on(FRESH, as_of(-61)) as server:
        exchange, _ = exchange_at(server)
        for read in (
            exchange.list_positions,
            exchange.list_open_orders,
            exchange.get_balance,
            exchange.list_fills,
        ):
            with pytest.raises(ExchangeUnavailable, match="60 s ago"):
                await read()
        await exchange.close()


async def test_a_cancel_names_the_market_and_tells_what_filled() -> None:
    """What was taken back is what had not filled; the market is named so that the right shard is asked."""
    answer = {"order_id": "id-jm-1", "reduced_by": "7.00", "ts_ms": int(NOW.timestamp() * 1000)}
    async with kalshi().on(CANCEL, answer) as server:
        exchange, _ = exchange_at(server)
        ended = await exchange.cancel_order(resting())
        server.on(CANCEL, {**answer, "reduced_by": "11.00"})
        with pytest.raises(OrderUnknown, match="more was cancelled"):
            await exchange.cancel_order(resting())
        await exchange.close()
    assert ended == resting(filled=300, status=OrderStatus.CANCELED)
    assert server.requests(CANCEL)[0].query == {"market_ticker": TICKER}


@pytest.mark.parametrize("answer", [refuses(404, "not_found"), refuses(503, "down"), cuts])
async def test_a_cancel_that_finds_nothing_is_confirmed_by_a_read(answer: Any) -> None:
    """ "Not found" and silence count as gone only when a read shows the order ended."""
    executed = sent.order(status="executed", fill_count_fp="10.00", remaining_count_fp="0.00")
    async with kalshi().on(CANCEL, answer).on(READ, {"order": executed}) as server:
        exchange, _ = exchange_at(server)
        ended = await exchange.cancel_order(resting())
        assert (ended.status, ended.filled) == (OrderStatus.EXECUTED, 10 * CONTRACT)
        server.on(READ, {"order": sent.order()})
        with pytest.raises(OrderUnknown, match="still rests"):
            await exchange.cancel_order(resting())
        server.on(READ, {"order": sent.order(status="hibernating")})
        with pytest.raises(SchemaDrift, match="may be open"):
            await exchange.cancel_order(resting())
        server.on(READ, refuses(404, "not_found"))
        with pytest.raises(OrderRejected):
            await exchange.cancel_order(resting())
        await exchange.close()


async def test_a_paused_exchange_refuses_a_cancel() -> None:
    """Other refusals of a cancel are told as they are, without a read."""
    async with kalshi().on(CANCEL, refuses(409, "exchange_is_paused")) as server:
        exchange, _ = exchange_at(server)
        with pytest.raises(OrderRejected, match="not even cancels"):
            await exchange.cancel_order(resting())
        await exchange.close()
    assert server.times(READ) == 0


async def test_open_orders_leave_none_out() -> None:
    """An order with a status nobody knows counts as open; one placed by hand is listed too."""
    odd = sent.order("jm-9", status="hibernating")
    by_hand = sent.order("", order_id="hand", book_side="ask", outcome_side="no")
    async with kalshi().on(LIST, listed("orders", sent.order(), odd, by_hand)) as server:
        exchange, _ = exchange_at(server)
        orders = await exchange.list_open_orders()
        await exchange.close()
    assert [order.order_id for order in orders] == ["id-jm-1", "id-jm-9", "hand"]
    assert orders[2].side is Side.NO
    assert server.requests(LIST)[0].query["status"] == "resting"


async def test_fills_are_a_set_in_order_of_time() -> None:
    """Fills come oldest first, each once, with the client order id and in the terms of their intent."""
    second = sent.fill("f2", created_time="2026-11-02T15:00:01Z", book_side="ask", outcome_side="no")
    async with kalshi().on("GET /portfolio/fills", listed("fills", second, sent.fill("f1"))) as server:
        exchange, _ = exchange_at(server)
        await exchange.place_order(EXIT)
        fills = await exchange.list_fills()
        again = await exchange.list_fills()
        await exchange.close()
    assert [fill.fill_id for fill in fills] == ["f1", "f2"]
    assert fills == again
    assert [fill.client_order_id for fill in fills] == ["jm-1", "jm-1"]
    assert (fills[1].side, fills[1].action, fills[1].price) == (Side.YES, Action.SELL, 42 * CENT)
    assert fills[0].fee == usd("0.0427")


async def test_a_fill_that_shows_up_late_is_not_lost() -> None:
    """After a known fill only news is told, and a fill with an earlier time is news when it appears."""
    first = sent.fill("f1", created_time="2026-11-02T15:00:01Z")
    late = sent.fill("f0", created_time="2026-11-02T15:00:00Z")
    new = sent.fill("f2", created_time="2026-11-02T15:00:02Z")
    async with kalshi().on("GET /portfolio/fills", listed("fills", first)) as server:
        exchange, _ = exchange_at(server)
        await exchange.list_fills()
        assert await exchange.list_fills("f1") == []
        server.on("GET /portfolio/fills", listed("fills", new, first, late))
        told = await exchange.list_fills("f1")
        assert [fill.fill_id for fill in told] == ["f0", "f2"]
        assert [fill.fill_id for fill in await exchange.list_fills("f0")] == ["f1", "f2"]
        assert await exchange.list_fills("f2") == []
        await exchange.close()
    asked = [each.query.get("min_ts") for each in server.requests("GET /portfolio/fills")]
    assert asked[:2] == [None, str(int(NOW.timestamp()) + 1 - 60)]


async def test_positions_are_signed_and_know_their_event() -> None:
    """A NO holding is negative, costs what it cost with fees, and names its event."""
    server = kalshi().on("GET /portfolio/positions", listed("market_positions", sent.position()))
    async with server.on("GET /markets", listed("markets", sent.market())):
        exchange, _ = exchange_at(server)
        (position,) = await exchange.list_positions()
        await exchange.close()
    assert (position.count, position.event_ticker) == (-300, "KXRAIN-26NOV")
    assert position.cost == usd("1.7912")
    assert server.requests("GET /markets")[0].query["tickers"] == TICKER


async def test_an_empty_list_is_doubted_when_the_balance_values_positions() -> None:
    """No positions although the portfolio is worth something: the books stay, and the doubt is said."""
    server = kalshi().on("GET /portfolio/positions", listed("market_positions"))
    async with server.on("GET /portfolio/balance", sent.balance(portfolio_cents=174), sent.balance()):
        exchange, _ = exchange_at(server)
        with pytest.raises(ExchangeUnavailable, match="values them at 1740000"):
            await exchange.list_positions()
        assert await exchange.list_positions() == []
        await exchange.close()


@pytest.mark.parametrize("reason", ["fill", "settlement", None])
async def test_positions_do_not_vanish_without_a_reason(reason: str | None) -> None:
    """What was held before is gone only if a fill or a payout explains it."""
    server = kalshi().on(
        "GET /portfolio/positions", listed("market_positions", sent.position()), listed("market_positions")
    )
    server.on("GET /markets", listed("markets", sent.market())).on("GET /portfolio/balance", sent.balance())
    server.on("GET /portfolio/fills", listed("fills", *([sent.fill()] if reason == "fill" else [])))
    paid = [sent.settlement()] if reason == "settlement" else []
    server.on("GET /portfolio/settlements", listed("settlements", *paid))
    async with server:
        exchange, _ = exchange_at(server)
        await exchange.list_positions()
        if reason is None:
            with pytest.raises(ExchangeUnavailable, match=f"held {TICKER} before"):
                await exchange.list_positions()
        else:
            assert await exchange.list_positions() == []
            assert await exchange.list_positions() == []
        await exchange.close()


async def test_settlements_come_once_and_in_order() -> None:
    """Payouts are told in order of time, from the one after the last known."""
    early = sent.settlement("A-1", settled_time="2026-11-02T14:00:00Z")
    rows = listed("settlements", sent.settlement("B-1"), early)
    async with kalshi().on("GET /portfolio/settlements", rows) as server:
        exchange, _ = exchange_at(server)
        assert [each.ticker for each in await exchange.list_settlements()] == ["A-1", "B-1"]
        assert [each.ticker for each in await exchange.list_settlements("A-1")] == ["B-1"]
        assert await exchange.list_settlements("B-1") == []
        await exchange.close()


async def test_collateral_is_taken_off_where_kalshi_does_not() -> None:
    """Whether the balance has resting orders taken off is a setting, since nobody documents it."""
    async with kalshi().on("GET /portfolio/balance", sent.balance("100.0000")) as server:
        server.on(LIST, listed("orders", sent.order()))
        exchange, clock = exchange_at(server)
        assert (await exchange.get_balance()).cash == usd(100)
        await exchange.close()
        exchange, _ = exchange_at(server, clock, balance_excludes_resting=False)
        assert (await exchange.get_balance()).cash == usd("95.80")
        await exchange.close()


async def test_snapshots_of_what_trades() -> None:
    """Only active markets are listed, with category and best levels; one market alone has its whole book."""
    halted = sent.market("KXRAIN-26NOV-T2", status="inactive")
    rain = {"events": [sent.event(sent.market(), halted)], "cursor": ""}
    snow = {"events": [sent.event(sent.market("KXSNOW-26NOV-T1"), category="Winter")], "cursor": ""}
    book = {"orderbook_fp": {"yes_dollars": [["0.4000", "1.00"], ["0.4200", "2.00"]], "no_dollars": []}}
    server = kalshi().on("GET /events", rain, snow).on(f"GET /markets/{TICKER}/orderbook", book)
    server.on("GET /markets/KXRAIN-26NOV-T2", {"market": halted})
    async with server:
        exchange, clock = exchange_at(server, series=("KXRAIN", "KXSNOW"))
        snapshots = await exchange.list_snapshots()
        whole = await exchange.get_snapshot(TICKER)
        still = await exchange.get_snapshot("KXRAIN-26NOV-T2")
        with pytest.raises(OrderRejected):
            await exchange.get_snapshot("KXNONE-1")
        assert await exchange.now() == clock.utc_now()
        assert "embedded" in exchange.describe()
        await exchange.close()
    assert [snapshot.ticker for snapshot in snapshots] == [TICKER, "KXSNOW-26NOV-T1"]
    assert [each.query["series_ticker"] for each in server.requests("GET /events")] == ["KXRAIN", "KXSNOW"]
    assert snapshots[0].market.category == whole.market.category == "Climate"
    assert snapshots[0].as_of == NOW
    assert len(whole.book.bids) == 2
    assert (still.status, still.book.bids) == (MarketStatus.INACTIVE, ())


@pytest.mark.parametrize("name", ["resting_ttl_secs", "arrival_secs", "catch_up_secs", "stale_secs_max"])
def test_times_are_above_nothing(name: str) -> None:
    """Settings that would switch a protection off are refused."""
    with pytest.raises(ValueError, match="above 0"):
        KalshiSettings(**{name: 0.0})
