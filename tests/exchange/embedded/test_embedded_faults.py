"""Faults on command: each does what its line says, and can be mended."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from server_world import ORDERS, Socket, serving

from jurymast.exchange.embedded.server.faults import Fault, Faults, FaultSpec
from jurymast.exchange.embedded.server.site import WireSettings

AT_ONCE = {"time_in_force": "immediate_or_cancel"}
PATIENCE_SECS = 0.2


async def test_an_accepted_order_whose_answer_never_comes_is_there() -> None:
    """The caller hears nothing and the order rests: only asking tells."""
    async with serving() as served:
        served.server.control.set_fault("accept_then_timeout", times=1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(served.order("0.0200", "lost"), PATIENCE_SECS)
        _, there = await served.call("GET", "/portfolio/orders")
        assert [order["client_order_id"] for order in there["orders"]] == ["lost"]
        assert (await served.order("0.0200", "lost"))[0] == 409


async def test_a_rejected_order_whose_answer_never_comes_is_not_there() -> None:
    """The caller hears just as little, and there is no order."""
    async with serving() as served:
        served.server.control.set_fault("reject_then_timeout", times=1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(served.order("0.0200", "lost"), PATIENCE_SECS)
        _, there = await served.call("GET", "/portfolio/orders")
        assert there["orders"] == []
        assert (await served.order("0.0200", "lost"))[0] == 201


async def test_a_silent_connection_breaks_in_the_end() -> None:
    """A caller with all the patience in the world gets a broken connection, not an answer."""
    async with serving(settings=WireSettings(hold_secs=0.01)) as served:
        served.server.control.set_fault(Fault.ACCEPT_THEN_TIMEOUT, times=1)
        with pytest.raises(aiohttp.ClientError):
            await served.order("0.0200", "lost")


async def test_an_accepted_order_may_be_answered_with_a_server_error() -> None:
    """A 5xx says nothing about what became of a write; reads are not touched by it."""
    async with serving() as served:
        served.server.control.set_fault("accept_then_5xx", value=504)
        status, _ = await served.order("0.0200", "a-1")
        assert status == 504
        status, there = await served.call("GET", "/portfolio/orders")
        assert (status, len(there["orders"])) == (200, 1)


@pytest.mark.parametrize(
    ("fault", "status"), [("unavailable", 503), ("429", 429), ("410", 410), ("clock_skew", 401)]
)
async def test_faults_of_the_edge_answer_for_the_exchange(fault: str, status: int) -> None:
    """While it lasts every such request fails with its status, and mended all is well."""
    async with serving() as served:
        code, _ = await served.control("POST", "/faults", {"fault": fault})
        assert code == 200
        assert (await served.call("DELETE", ORDERS))[0] == status
        await served.control("DELETE", f"/faults/{fault}")
        assert (await served.call("DELETE", ORDERS))[0] == 204


async def test_reads_can_lag_and_say_how_far() -> None:
    """With a read lag the portfolio is that of some seconds ago, all of it at once, and its time says so."""
    async with serving() as served:
        await served.order("0.0200", "before")
        served.server.control.set_fault("stale_rest", value=5)
        _, made = await served.order("0.9900", "after", **AT_ONCE)
        assert made["fill_count"] == "5.00"
        _, orders = await served.call("GET", "/portfolio/orders")
        _, fills = await served.call("GET", "/portfolio/fills")
        assert [order["client_order_id"] for order in orders["orders"]] == ["before"]
        assert fills["fills"] == []
        _, stamp = await served.call("GET", "/exchange/user_data_timestamp")
        served.clock.advance(5.0)
        _, orders = await served.call("GET", "/portfolio/orders")
        _, positions = await served.call("GET", "/portfolio/positions")
        assert len(orders["orders"]) == 2
        assert positions["market_positions"][0]["position_fp"] == "5.00"
        _, later = await served.call("GET", "/exchange/user_data_timestamp")
        assert stamp["as_of_time"] < later["as_of_time"]
        served.server.control.clear("stale_rest")
        assert served.server.site.view.lag_secs == 0.0


async def test_answers_can_be_damaged() -> None:
    """A required field goes missing, or holds a word nobody has heard of."""
    async with serving() as served:
        served.server.control.set_fault("missing_field", value="price_ranges", times=1)
        _, market = await served.call("GET", f"/markets/{served.ticker()}")
        assert "price_ranges" not in market["market"]
        served.server.control.set_fault("unknown_enum", times=1)
        _, market = await served.call("GET", f"/markets/{served.ticker()}")
        assert market["market"]["status"] not in {"active", "closed", "finalized"}
        _, market = await served.call("GET", f"/markets/{served.ticker()}")
        assert market["market"]["status"] == "active"


async def test_pauses_and_halts_are_seen_and_end() -> None:
    """A pause shows in the status, refuses what it should, and ends when it is mended or its time is over."""
    async with serving() as served:
        await served.control("POST", "/faults", {"fault": "trading_pause", "for_secs": 30})
        _, status = await served.call("GET", "/exchange/status")
        assert (status["exchange_active"], status["trading_active"]) == (True, False)
        assert (await served.order("0.0200", "a-1"))[1]["error"]["code"] == "trading_is_paused"
        served.clock.advance(30.0)
        served.server.control.lapse()
        assert (await served.order("0.0200", "a-1"))[0] == 201
        await served.control("POST", "/faults", {"fault": "exchange_pause"})
        assert (await served.call("DELETE", ORDERS))[1]["error"]["code"] == "exchange_is_paused"
        await served.control("DELETE", "/faults")
        await served.control("POST", "/faults", {"fault": "market_halt", "ticker": served.ticker()})
        _, market = await served.call("GET", "/markets", status="paused")
        assert len(market["markets"]) == 1
        ticker = market["markets"][0]["ticker"]
        assert (await served.order("0.0200", "a-2", ticker=ticker))[1]["error"]["code"] == "market_inactive"
        await served.control("DELETE", "/faults/market_halt")
        assert (await served.order("0.0200", "a-2", ticker=ticker))[0] == 201


async def seqs(fault: str, **more: object) -> list[int]:
    """Numbers of the frames that arrive for six changes of a book while a fault strikes once."""
    async with serving() as served, served.socket() as stream:
        socket = Socket(stream)
        await socket.tell("subscribe", channels=["orderbook_delta"], market_ticker=served.ticker())
        await socket.frames(2)
        served.server.control.set_fault(fault, times=1, **more)
        for number in range(8):
            await served.order("0.0200", f"a-{number}")
        found = []
        while not found or found[-1] != 9:
            found.append((await socket.frame())["seq"])
        return found


async def test_frames_get_lost_doubled_and_out_of_order() -> None:
    """Whatever happens to a frame, its number tells."""
    assert await seqs("ws_missing") == [3, 4, 5, 6, 7, 8, 9]
    assert await seqs("ws_doubled") == [2, 2, 3, 4, 5, 6, 7, 8, 9]
    assert await seqs("ws_reordered") == [3, 2, 4, 5, 6, 7, 8, 9]
    assert await seqs("ws_gap") == [7, 8, 9]


async def test_connections_break_and_are_refused() -> None:
    """A broken connection ends without a goodbye; then new ones may be refused for a while."""
    async with serving() as served:
        async with served.socket() as stream:
            socket = Socket(stream)
            await socket.tell("subscribe", channels=["orderbook_delta"], market_ticker=served.ticker())
            await socket.frames(2)
            served.server.control.set_fault("ws_disconnect", times=1)
            await served.order("0.0200", "a-1")
            message = await stream.receive(timeout=5.0)
            assert message.type in {
                aiohttp.WSMsgType.CLOSED,
                aiohttp.WSMsgType.CLOSE,
                aiohttp.WSMsgType.ERROR,
            }
        served.server.control.set_fault("ws_refuse", times=1)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await served.socket()
        assert refused.value.status == 503
        async with served.socket():
            pass


@pytest.mark.parametrize("code", [10, 25])
async def test_a_subscription_can_end_with_an_error(code: int) -> None:
    """Errors 10 and 25 are terminal: the subscription is gone and has to be made again."""
    async with serving() as served, served.socket() as stream:
        socket = Socket(stream)
        await socket.tell("subscribe", channels=["user_orders"])
        sid = (await socket.frame())["msg"]["sid"]
        served.server.control.set_fault("ws_error", value=code, times=1)
        await served.order("0.0200", "a-1")
        error = await socket.frame()
        assert (error["type"], error["sid"], error["msg"]["code"]) == ("error", sid, code)
        await socket.tell("list_subscriptions")
        assert (await socket.frame())["msg"] == []


async def test_slow_books_come_late_but_come() -> None:
    """A slow book delays reads and frames without losing any."""
    async with serving() as served, served.socket() as stream:
        socket = Socket(stream)
        await socket.tell("subscribe", channels=["orderbook_delta"], market_ticker=served.ticker())
        await socket.frames(2)
        served.server.control.set_fault("slow_book", value=0.02)
        assert (await served.call("GET", f"/markets/{served.ticker()}/orderbook"))[0] == 200
        await served.order("0.0200", "a-1")
        assert (await socket.frame())["seq"] == 2


def test_chance_is_seeded() -> None:
    """With the same seed the same requests fail, about as often as was asked."""

    def struck(seed: int) -> list[bool]:
        faults = Faults(seed)
        faults.add(FaultSpec(Fault.STORM_429, probability=0.3))
        return [faults.strikes(Fault.STORM_429) is not None for _ in range(1_000)]

    assert struck(1) == struck(1) != struck(2)
    assert 250 < sum(struck(1)) < 350


async def test_the_desk_lists_refuses_and_explains() -> None:
    """The control desk says what is in force, what there is, and what was wrong with an order to it."""
    async with serving() as served:
        _, listed = await served.control(
            "POST", "/faults", {"fault": "429", "probability": 0.5, "for_secs": 9}
        )
        assert listed["faults"][0] | {"value": None, "ticker": None, "times": None} == listed["faults"][0]
        assert (listed["simulated"], listed["faults"][0]["secs_left"]) == (True, 9.0)
        for wrong in (
            {"fault": "earthquake"},
            {"fault": "429", "probability": 0},
            {"fault": "market_halt"},
            {"x": 1},
        ):
            status, answer = await served.control("POST", "/faults", wrong)
            assert status == 400
            assert set(answer["faults"]) == {fault.value for fault in Fault}
        async with served.session.get(served.server.control_url) as answer:
            guide = await answer.text()
        assert "SIMULATED" in guide
        assert all(fault.value in guide for fault in Fault)


async def test_the_books_balance_and_can_be_asked() -> None:
    """The desk tells the exchange's time and whether anything is wrong with its books."""
    async with serving() as served:
        await served.order("0.9900", "a-1", **AT_ONCE)
        await served.control("POST", "/deposit", {"usd": 50})
        _, state = await served.control("GET", "/state")
        assert (state["simulated"], state["wrong"]) == (True, [])
        assert (await served.control("POST", "/deposit", {"usd": -1_000_000}))[0] == 400
