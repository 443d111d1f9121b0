"""The embedded exchange's websocket: numbers, snapshots, deltas, errors."""

from __future__ import annotations

import aiohttp
import pytest
from server_world import WAIT_SECS, Served, Socket, serving

from jurymast.domain.money import CONTRACT, PAYOUT
from jurymast.exchange.embedded.commands import Place
from jurymast.exchange.embedded.server.gate import SOCKET_PATH
from jurymast.exchange.embedded.server.site import WireSettings

AT_ONCE = {"time_in_force": "immediate_or_cancel"}


def book_of(snapshot: dict[str, object], *, yes_price: bool = False) -> dict[tuple[str, str], int]:
    """Levels of a snapshot by side and price, in hundredths of a contract."""
    msg = snapshot["msg"]
    return {
        (side, price): round(float(size) * 100)
        for side in ("yes", "no")
        for price, size in msg.get(f"{side}_dollars_fp", [])
    }


def apply(book: dict[tuple[str, str], int], delta: dict[str, object]) -> None:
    msg = delta["msg"]
    level = (msg["side"], msg["price_dollars"])
    book[level] = book.get(level, 0) + round(float(msg["delta_fp"]) * 100)
    if not book[level]:
        del book[level]


async def test_snapshot_and_deltas_make_the_book() -> None:
    """Whoever applies the deltas to the snapshot has the exchange's book, and the numbers have no gap."""
    async with serving(speed=600.0) as served, served.socket() as stream:
        socket, ticker = Socket(stream), served.ticker()
        await socket.tell("subscribe", channels=["orderbook_delta"], market_ticker=ticker)
        subscribed, snapshot = await socket.frames(2)
        assert (subscribed["type"], subscribed["msg"]["channel"]) == ("subscribed", "orderbook_delta")
        book, seq, clock = book_of(snapshot), snapshot["seq"], snapshot["msg"]["clock"]
        assert seq == 1
        for _ in range(12):
            served.clock.advance(30.0)
            served.exchange.tick()
        await served.order("0.0200", "mine")
        mine = None
        while mine is None:
            delta = await socket.frame()
            assert (delta["seq"], delta["sid"]) == (seq + 1, subscribed["msg"]["sid"])
            assert delta["msg"]["clock"] >= clock
            seq, clock = delta["seq"], delta["msg"]["clock"]
            apply(book, delta)
            mine = delta["msg"].get("client_order_id")
        assert mine == "mine"
        yes, no = served.exchange.depth(ticker)
        sizes = sorted(count for _, count in yes + no)
        assert sorted(book.values()) == sizes
        assert seq > 10


async def test_sides_without_levels_have_no_key_and_can_be_priced_in_yes() -> None:
    """An empty side is missing; with use_yes_price the asks come at the price of YES, best still last."""
    async with serving() as served, served.socket() as stream:
        socket, ticker = Socket(stream), served.ticker()
        await socket.tell("subscribe", channels=["orderbook_delta"], market_ticker=ticker, use_yes_price=True)
        snapshot = await socket.until("orderbook_snapshot")
        best_ask = float(snapshot["msg"]["no_dollars_fp"][-1][0])
        _, no = served.exchange.depth(ticker)
        assert best_ask == (PAYOUT - no[-1][0]) / PAYOUT
        await served.control("POST", f"/markets/{ticker}/close")
        await socket.tell("update_subscription", sid=1, action="get_snapshot", market_tickers=[ticker])
        empty = await socket.until("orderbook_snapshot")
        assert not {"yes_dollars_fp", "no_dollars_fp"} & set(empty["msg"])


async def test_ok_frames_count_and_each_added_market_gets_its_snapshot() -> None:
    """Every update is confirmed once, with a number of the subscription; then come the new books."""
    async with serving() as served, served.socket() as stream:
        socket, first, second = Socket(stream), served.ticker(), served.ticker(nth=1)
        await socket.tell("subscribe", channels=["orderbook_delta"], market_tickers=[first])
        subscribed, _ = await socket.frames(2)
        sid = subscribed["msg"]["sid"]
        number = await socket.tell(
            "update_subscription", sids=[sid], action="add_markets", market_tickers=[second]
        )
        confirmed, snapshot = await socket.frames(2)
        assert (confirmed["type"], confirmed["id"], confirmed["seq"]) == ("ok", number, 2)
        assert confirmed["msg"]["market_tickers"] == sorted([first, second])
        assert (snapshot["msg"]["market_ticker"], snapshot["seq"]) == (second, 3)
        await socket.tell("update_subscription", sid=sid, action="delete_markets", market_tickers=[first])
        assert (await socket.frame())["msg"]["market_tickers"] == [second]
        await socket.tell("list_subscriptions")
        assert (await socket.frame())["msg"] == [{"channel": "orderbook_delta", "sid": sid}]
        await socket.tell("unsubscribe", sids=[sid])
        gone = await socket.frame()
        assert (gone["type"], gone["sid"], gone["seq"]) == ("unsubscribed", sid, 5)


async def test_a_member_hears_of_orders_fills_positions_and_groups() -> None:
    """One order told on every channel of the member's own; reasons in the exchange's words."""
    async with serving() as served, served.socket() as stream:
        socket = Socket(stream)
        channels = ["fill", "user_orders", "market_positions", "order_group_updates", "trade", "ticker"]
        await socket.tell("subscribe", channels=channels)
        await socket.frames(len(channels))
        status, group = await served.call("POST", "/portfolio/order_groups/create", {"contracts_limit": 3})
        assert (status, (await socket.frame())["msg"]["event_type"]) == (201, "created")
        _, made = await served.order("0.9900", "a-1", order_group_id=group["order_group_id"], **AT_ONCE)
        served.exchange.execute(_crowd_sells_to(served))
        seen = {frame["type"]: frame["msg"] for frame in await socket.frames(6)}
        assert seen["fill"]["order_id"] == made["order_id"]
        assert seen["fill"]["post_position_fp"] == "5.00"
        assert seen["market_position"]["position_fp"] == "5.00"
        assert seen["user_order"]["last_update_reason"] == "Trade"
        assert seen["trade"]["taker_book_side"] == "bid"
        assert seen["order_group_updates"]["event_type"] == "triggered"


def _crowd_sells_to(served: Served) -> Place:
    """Somebody else's order, far from the market: nothing of it may reach the member's own channels."""
    return Place(0, served.ticker(), True, 10_000, CONTRACT)


async def test_the_life_of_every_market_is_told() -> None:
    """Halts, early closes, results and payouts come on one channel without being asked for by ticker."""
    async with serving() as served, served.socket() as stream:
        socket, ticker = Socket(stream), served.ticker()
        await socket.tell("subscribe", channels=["market_lifecycle_v2"])
        await socket.frame()
        for step in ("halt", "resume", "settle?result=yes"):
            await served.control("POST", f"/markets/{ticker}/{step}")
        told = [frame["msg"] for frame in await socket.frames(5)]
        assert [msg["event_type"] for msg in told] == [
            "deactivated",
            "activated",
            "close_date_updated",
            "determined",
            "settled",
        ]
        assert (told[0]["is_deactivated"], told[3]["result"]) == (True, "yes")
        served.clock.advance(400 * 86_400.0)
        served.exchange.refresh()
        others = await socket.frame()
        assert others["msg"]["market_ticker"] != ticker
        assert others["seq"] == 6


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ({"cmd": "subscribe"}, 2),
        ({"cmd": "subscribe", "params": {}}, 3),
        ({"cmd": "unsubscribe", "params": {}}, 4),
        ({"cmd": "sing", "params": {}}, 5),
        ({"cmd": "unsubscribe", "params": {"sids": [99]}}, 7),
        ({"cmd": "subscribe", "params": {"channels": ["weather"]}}, 8),
        ({"cmd": "subscribe", "params": {"channels": ["trade"], "market_ticker": "NO-SUCH"}}, 11),
        ({"cmd": "update_subscription", "params": {"sids": [1, 2]}}, 12),
        ({"cmd": "update_subscription", "params": {"sid": 1, "action": "x", "market_ticker": "T"}}, 13),
        ({"cmd": "subscribe", "params": {"channels": ["orderbook_delta"]}}, 14),
        ({"cmd": "update_subscription", "params": {"sid": 1}}, 15),
        ({"cmd": "subscribe", "params": {"channels": ["trade"], "market_tickers": ["A", "B", "C"]}}, 26),
    ],
)
async def test_commands_that_make_no_sense_get_their_number(command: dict[str, object], code: int) -> None:
    """Each mistake is answered with the error code of the documentation and the command's id."""
    settings = WireSettings(markets_per_subscription=2)
    async with serving(settings=settings) as served, served.socket() as stream:
        socket = Socket(stream)
        await socket.tell("subscribe", channels=["fill"])
        await socket.frame()
        await stream.send_json({"id": 7, **command})
        answer = await socket.frame()
        assert (answer["type"], answer["id"], answer["msg"]["code"]) == ("error", 7, code)


async def test_a_flood_of_commands_is_refused() -> None:
    """More than fifty commands a second are one too many, with error 27; nonsense is error 1."""
    async with serving() as served, served.socket() as stream:
        socket = Socket(stream)
        await stream.send_str("what?")
        assert (await socket.frame())["msg"]["code"] == 1
        for _ in range(51):
            await socket.tell("list_subscriptions")
        answers = await socket.frames(51)
        assert [each["type"] for each in answers] == ["ok"] * 50 + ["error"]
        assert answers[-1]["msg"]["code"] == 27


async def test_the_handshake_must_be_signed() -> None:
    """Without a signature, or with one for another path, there is no connection."""
    async with serving() as served:
        for headers in ({}, served.headers("GET", SOCKET_PATH + "x"), served.headers("POST", SOCKET_PATH)):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await served.session.ws_connect(served.server.socket_url, headers=headers)
            assert refused.value.status == 401


async def test_the_server_pings() -> None:
    """A ping with the body "heartbeat" comes as often as it was set to."""
    settings = WireSettings(ping_secs=0.01)
    async with serving(settings=settings) as served:
        headers = served.headers("GET", SOCKET_PATH)
        async with served.session.ws_connect(
            served.server.socket_url, headers=headers, autoping=False
        ) as stream:
            message = await stream.receive(timeout=WAIT_SECS)
            assert (message.type, message.data) == (aiohttp.WSMsgType.PING, b"heartbeat")


async def test_markets_are_watched_while_somebody_looks() -> None:
    """A subscription makes a market live, and its end lets it sleep again."""
    async with serving() as served:
        ticker = served.ticker()
        async with served.socket() as stream:
            await Socket(stream).tell("subscribe", channels=["orderbook_delta"], market_ticker=ticker)
            await Socket(stream).frame()
            assert served.exchange.engine.state.markets[ticker].watched
        async with served.socket() as stream:  # the first one's end has been dealt with by then
            await Socket(stream).tell("list_subscriptions")
            await Socket(stream).frame()
        assert not served.exchange.engine.state.markets[ticker].watched
