"""Our client at the embedded exchange, over real sockets, under every fault there is.

After each fault what we believe is what the exchange has, or we are told that it is in doubt: never less
than that, and never an order twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from server_world import WAIT_SECS, Served, serving

from jurymast.domain.errors import (
    ExchangeError,
    ExchangeUnavailable,
    OrderRejected,
    OrderUnknown,
    SchemaDrift,
)
from jurymast.domain.market import MarketStatus, Side
from jurymast.domain.money import CENT, CONTRACT, PAYOUT
from jurymast.domain.order import Action, Order, OrderIntent, OrderStatus, Purpose, TimeInForce
from jurymast.exchange.embedded.invariants import broken
from jurymast.exchange.embedded.server.faults import Fault
from jurymast.exchange.embedded.server.site import WireSettings
from jurymast.exchange.embedded.server.wire import fill_id
from jurymast.exchange.kalshi.exchange import KalshiExchange, KalshiSettings
from jurymast.exchange.kalshi.hosts import Credentials, Environment, embedded
from jurymast.exchange.kalshi.http import KalshiHttp
from jurymast.exchange.kalshi.listener import Listener
from jurymast.exchange.kalshi.rest import KalshiRest
from jurymast.exchange.kalshi.stream import KalshiStream

HOLD_SECS = 0.05
"""So long a silent server keeps the connection; then it breaks, and our client knows as little as before."""


@dataclass
class Desk:
    """A served exchange and our client at it."""

    served: Served
    exchange: KalshiExchange
    listener: Listener
    stream: KalshiStream

    @property
    def ticker(self) -> str:
        return self.served.ticker()

    def intent(self, name: str, cents: int = 2, **more: Any) -> OrderIntent:
        """Buys five YES and rests, unless told otherwise."""
        intent = OrderIntent(
            client_order_id=name,
            decision_id="d-1",
            ticker=self.ticker,
            event_ticker="EV",
            purpose=Purpose.ENTRY,
            side=Side.YES,
            action=Action.BUY,
            count=5 * CONTRACT,
            limit_price=cents * CENT,
            time_in_force=TimeInForce.GOOD_TILL_CANCELED,
            reason="test",
        )
        return replace(intent, **more)

    async def rest(self, name: str, cents: int = 2) -> Order:
        return await self.exchange.place_order(self.intent(name, cents))

    async def take(self, name: str) -> Order:
        at_once = self.intent(name, 99, time_in_force=TimeInForce.IMMEDIATE_OR_CANCEL)
        return await self.exchange.place_order(at_once)

    def fault(self, fault: str, **more: Any) -> None:
        self.served.server.control.set_fault(fault, **more)

    def mend(self) -> None:
        self.served.server.control.clear()

    def truth(self) -> dict[str, Any]:
        """What the exchange has of ours, from its own books."""
        engine, member = self.served.exchange.engine, self.served.exchange.member
        assert broken(engine) == []
        return {
            "orders": {
                order.client_order_id: (order.filled, order.remaining)
                for order in engine.floor.open[member.number].values()
            },
            "fills": {fill_id(fill.number) for fill in engine.state.fills},
            "positions": {ticker: stake.count for ticker, stake in member.stakes.items() if stake.count},
            "cash": member.available(0),
        }

    async def view(self) -> dict[str, Any]:
        """What our client says we have."""
        return {
            "orders": {
                order.client_order_id: (order.filled, order.count - order.filled)
                for order in await self.exchange.list_open_orders()
            },
            "fills": {fill.fill_id for fill in await self.fresh().list_fills()},
            "positions": {each.ticker: each.count for each in await self.exchange.list_positions()},
            "cash": (await self.exchange.get_balance()).cash,
        }

    def fresh(self) -> KalshiExchange:
        """Another run of the bot, which has been told nothing yet."""
        return KalshiExchange(self.exchange.rest, clock=self.served.clock)


@asynccontextmanager
async def trading(**settings: Any) -> AsyncIterator[Desk]:
    """A desk whose order group is there already, with one order that rests and a position."""
    async with serving(settings=WireSettings(hold_secs=HOLD_SECS)) as served:
        key = Credentials(Environment.EMBEDDED, served.signer)
        http = KalshiHttp(embedded(served.server.port), key, clock=served.clock, total_secs=WAIT_SECS)
        stream = KalshiStream(http, clock=served.clock, backoff_secs=0.01)
        listener = Listener(stream)
        exchange = KalshiExchange(
            KalshiRest(http), clock=served.clock, settings=KalshiSettings(**settings), listener=listener
        )
        desk = Desk(served, exchange, listener, stream)
        try:
            await desk.rest("first", 3)
            await desk.take("held")
            assert await desk.view() == desk.truth()
            yield desk
        finally:
            await exchange.close()


@pytest.mark.parametrize("fault", ["accept_then_timeout", "accept_then_5xx"])
async def test_an_order_whose_answer_is_lost_is_found(fault: str) -> None:
    """It is in doubt until asked for, then it is there, once; the same id is never taken twice."""
    async with trading() as desk:
        desk.fault(fault, times=1)
        with pytest.raises(OrderUnknown):
            await desk.rest("lost")
        found = await desk.exchange.find_order("lost")
        assert found is not None
        assert (found.status, found.count, found.side) == (OrderStatus.RESTING, 5 * CONTRACT, Side.YES)
        with pytest.raises(OrderRejected, match="order_already_exists"):
            await desk.rest("lost")
        assert await desk.view() == desk.truth()
        assert set(desk.truth()["orders"]) == {"first", "lost"}


@pytest.mark.parametrize("fault", ["accept_then_timeout", "accept_then_5xx"])
async def test_a_fill_whose_answer_is_lost_is_found(fault: str) -> None:
    """An order that filled at once and was never answered shows with its fills and its position."""
    async with trading() as desk:
        desk.fault(fault, times=1)
        with pytest.raises(OrderUnknown):
            await desk.take("lost")
        found = await desk.exchange.find_order("lost")
        assert found is not None
        assert (found.status, found.filled) == (OrderStatus.EXECUTED, 5 * CONTRACT)
        fills = [fill for fill in await desk.exchange.list_fills() if fill.client_order_id == "lost"]
        assert sum(fill.count for fill in fills) == 5 * CONTRACT
        assert await desk.view() == desk.truth()


async def test_an_order_that_never_arrived_is_in_doubt_until_it_can_t_any_more() -> None:
    """Silence is no answer: for ten seconds nobody knows, and after them the order is not there."""
    async with trading() as desk:
        desk.fault("reject_then_timeout", times=1)
        with pytest.raises(OrderUnknown):
            await desk.rest("never")
        with pytest.raises(ExchangeUnavailable, match="may still arrive"):
            await desk.exchange.find_order("never")
        desk.served.clock.advance(11.0)
        assert await desk.exchange.find_order("never") is None
        assert await desk.view() == desk.truth()


@pytest.mark.parametrize("fault", ["accept_then_timeout", "accept_then_5xx"])
async def test_a_cancel_whose_answer_is_lost_is_looked_up(fault: str) -> None:
    """The order is told as it ended: a read has shown that it rests no more."""
    async with trading() as desk:
        order = await desk.rest("gone")
        desk.fault(fault, times=1)
        ended = await desk.exchange.cancel_order(order)
        assert (ended.status, ended.filled) == (OrderStatus.CANCELED, 0)
        assert await desk.view() == desk.truth()


async def test_a_cancel_that_never_arrived_is_not_believed() -> None:
    """The order still rests, and that is what is said."""
    async with trading() as desk:
        order = await desk.rest("stays")
        desk.fault("reject_then_timeout", times=1)
        with pytest.raises(OrderUnknown, match="still rests"):
            await desk.exchange.cancel_order(order)
        assert await desk.view() == desk.truth()
        assert (await desk.exchange.cancel_order(order)).status is OrderStatus.CANCELED


async def test_a_longer_life_whose_answer_is_lost_shows_in_the_order() -> None:
    """Extending is in doubt, and asking for the order tells until when it lives."""
    async with trading() as desk:
        order = await desk.rest("longer")
        until = (await desk.exchange.now() + timedelta(minutes=10)).replace(microsecond=0)
        desk.fault("accept_then_5xx", times=1)
        with pytest.raises(OrderUnknown):
            await desk.exchange.extend_order(order, until)
        found = await desk.exchange.find_order("longer")
        assert found is not None
        assert found.expires_at == until
        assert await desk.view() == desk.truth()


READS: dict[str, Callable[[Desk], Awaitable[Any]]] = {
    "orders": lambda desk: desk.exchange.list_open_orders(),
    "fills": lambda desk: desk.exchange.list_fills(),
    "positions": lambda desk: desk.exchange.list_positions(),
    "settlements": lambda desk: desk.exchange.list_settlements(),
    "balance": lambda desk: desk.exchange.get_balance(),
    "markets": lambda desk: desk.exchange.list_snapshots(),
    "market": lambda desk: desk.exchange.get_snapshot(desk.ticker),
    "find": lambda desk: desk.exchange.find_order("first"),
}


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("fault", ["unavailable", "429", "clock_skew"])
async def test_a_read_without_answer_says_so(fault: str, read: str) -> None:
    """Nothing is made up in place of an answer, and when all is well again it is the truth."""
    async with trading() as desk:
        desk.fault(fault, value=45 if fault == "clock_skew" else None)
        if fault == "clock_skew":
            await READS[read](desk)  # the clock is set by the refusal, and the request sent once more
        else:
            with pytest.raises(ExchangeUnavailable):
                await READS[read](desk)
        desk.mend()
        assert await desk.view() == desk.truth()


async def test_a_write_refused_at_the_edge_placed_nothing() -> None:
    """429 and 410 are refusals; a 503 is a doubt, which ends with the order not being there."""
    async with trading() as desk:
        for fault, code in (("429", "too_many_requests"), ("410", "deprecated_v1_order_endpoint")):
            desk.fault(fault, times=1)
            with pytest.raises(OrderRejected, match=code):
                await desk.rest(f"edge-{fault}")
        desk.fault("unavailable", times=1)
        with pytest.raises(OrderUnknown):
            await desk.rest("edge-503")
        desk.served.clock.advance(11.0)
        assert await desk.exchange.find_order("edge-503") is None
        assert await desk.view() == desk.truth()
        assert set(desk.truth()["orders"]) == {"first"}


async def test_an_old_api_is_not_read_on() -> None:
    """410 on a read of orders means that we speak an API that is gone."""
    async with trading() as desk:
        desk.fault("410")
        with pytest.raises(SchemaDrift, match="gone"):
            await desk.exchange.list_open_orders()
        desk.mend()
        assert await desk.view() == desk.truth()


async def test_stale_reads_are_waited_for_or_refused() -> None:
    """A second of lag is waited out; five are said, rather than an order missed."""
    async with trading() as desk:
        desk.fault("stale_rest", value=1)
        desk.served.clock.advance(0.01)
        await desk.take("lagging")
        assert await desk.view() == desk.truth()
        desk.fault("stale_rest", value=30)
        desk.served.clock.advance(0.01)
        await desk.rest("further")
        for read in ("orders", "fills", "positions", "balance", "find"):
            with pytest.raises(ExchangeUnavailable, match="before our last order"):
                await READS[read](desk)
        desk.served.clock.advance(31.0)
        assert await desk.view() == desk.truth()


@pytest.mark.parametrize(
    ("field", "read"),
    [
        ("remaining_count_fp", "orders"),
        ("book_side", "orders"),
        ("count_fp", "fills"),
        ("fee_cost", "fills"),
        ("position_fp", "positions"),
        ("balance", "balance"),
        ("as_of_time", "orders"),
        ("yes_dollars", "market"),
        ("price_ranges", "market"),
        ("status", "market"),
        ("order_id", "find"),
    ],
)
async def test_a_missing_field_is_no_default(field: str, read: str) -> None:
    """What money depends on is there, or nothing is said; the next whole answer is the truth."""
    async with trading() as desk:
        desk.fault("missing_field", value=field)
        with pytest.raises(SchemaDrift, match=field):
            await READS[read](desk)
        desk.mend()
        assert await desk.view() == desk.truth()


@pytest.mark.parametrize("field", ["remaining_count", "fill_count", "order_id", "ts_ms"])
async def test_a_placed_order_with_a_damaged_answer_is_in_doubt(field: str) -> None:
    """It was done: what became of it is asked for, not guessed."""
    async with trading() as desk:
        desk.fault("missing_field", value=field, times=1)
        with pytest.raises(OrderUnknown):
            await desk.rest("damaged")
        found = await desk.exchange.find_order("damaged")
        assert found is not None
        assert found.status is OrderStatus.RESTING
        assert await desk.view() == desk.truth()


async def test_a_cancelled_order_with_a_damaged_answer_is_looked_up() -> None:
    """How much was taken back was not said: the order is read."""
    async with trading() as desk:
        order = await desk.rest("damaged")
        desk.fault("missing_field", value="reduced_by", times=1)
        assert (await desk.exchange.cancel_order(order)).status is OrderStatus.CANCELED
        assert await desk.view() == desk.truth()


async def test_unknown_words_are_not_guessed() -> None:
    """An order of unknown status counts as open, an unknown side is refused, a strange market fails alone."""
    async with trading() as desk:
        desk.fault("unknown_enum", value="status", times=1)
        assert [order.client_order_id for order in await desk.exchange.list_open_orders()] == ["first"]
        desk.fault("unknown_enum", value="status", times=1)
        with pytest.raises(SchemaDrift, match="may be open"):
            await desk.exchange.find_order("first")
        desk.fault("unknown_enum", value="book_side", times=1)
        with pytest.raises(SchemaDrift, match="book_side"):
            await desk.exchange.list_open_orders()
        whole = {each.ticker for each in await desk.exchange.list_snapshots()}
        desk.fault("unknown_enum", value="status", times=1)
        assert len(whole - {each.ticker for each in await desk.exchange.list_snapshots()}) == 1
        assert await desk.view() == desk.truth()


async def test_a_trading_pause_refuses_orders_and_pulls_ours() -> None:
    """Nothing is placed, cancelling works, and what asked to be cancelled is gone in our view as well."""
    async with trading() as desk:
        desk.fault("trading_pause")
        with pytest.raises(OrderRejected, match="trading_is_paused"):
            await desk.rest("paused")
        assert await desk.view() == desk.truth()
        assert desk.truth()["orders"] == {}
        status = await desk.exchange.rest.markets.get_status()
        assert (status.active, status.trading) == (True, False)
        desk.mend()
        await desk.rest("resumed")
        assert await desk.view() == desk.truth()


async def test_an_exchange_pause_refuses_even_cancels() -> None:
    """Refused in so many words, nothing changed, and reads go on; what the pause pulled is told as pulled."""
    async with trading() as desk:
        await desk.served.order("0.0200", "by-hand")
        mine, by_hand = await desk.exchange.find_order("first"), await desk.exchange.find_order("by-hand")
        assert mine is not None
        assert by_hand is not None
        desk.fault("exchange_pause")
        for call in (desk.rest("paused"), desk.exchange.cancel_order(by_hand)):
            with pytest.raises(OrderRejected, match="exchange_is_paused"):
                await call
        assert (await desk.exchange.cancel_order(mine)).status is OrderStatus.CANCELED
        assert await desk.view() == desk.truth()
        assert set(desk.truth()["orders"]) == {"by-hand"}
        assert not (await desk.exchange.rest.markets.get_status()).active
        desk.mend()
        assert await desk.view() == desk.truth()


async def test_a_halted_market_takes_nothing() -> None:
    """The market shows as inactive without prices, our order in it is pulled, and others trade on."""
    async with trading() as desk:
        desk.fault("market_halt", ticker=desk.ticker)
        with pytest.raises(OrderRejected, match="market_inactive"):
            await desk.rest("halted")
        snapshot = await desk.exchange.get_snapshot(desk.ticker)
        assert (snapshot.status, snapshot.book.bids) == (MarketStatus.INACTIVE, ())
        assert desk.ticker not in {each.ticker for each in await desk.exchange.list_snapshots()}
        other = desk.served.ticker(nth=1)
        await desk.exchange.place_order(desk.intent("other", ticker=other))
        assert await desk.view() == desk.truth()
        desk.mend()
        await desk.rest("again")
        assert await desk.view() == desk.truth()


async def test_a_slow_book_is_late_or_none() -> None:
    """A book within our patience is the book; one beyond it is no answer."""
    async with trading() as desk:
        desk.fault("slow_book", value=0.02, times=1)
        assert (await desk.exchange.get_snapshot(desk.ticker)).book.bids
        desk.fault("slow_book", value=2 * WAIT_SECS, times=1)
        desk.exchange.rest.http._total_secs = 0.2
        with pytest.raises(ExchangeUnavailable):
            await desk.exchange.get_snapshot(desk.ticker)


@asynccontextmanager
async def listening(desk: Desk) -> AsyncIterator[None]:
    """Our stream at work, with the book of the market at stake."""
    await desk.exchange.list_open_orders()  # from here on the market is followed
    task = asyncio.create_task(desk.listener.run())
    try:
        await book_settles(desk)
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def shown(desk: Desk) -> tuple[dict[int, int], dict[int, int]]:
    yes, no = desk.served.exchange.depth(desk.ticker)
    return dict(yes), {PAYOUT - price: count for price, count in no}


def heard(desk: Desk) -> tuple[dict[int, int], dict[int, int]] | None:
    book = desk.listener.book(desk.ticker)
    if book is None:
        return None
    return {each.price: each.count for each in book.bids}, {each.price: each.count for each in book.asks}


async def book_settles(desk: Desk) -> None:
    """Until our book is the exchange's again. In between it may be late by frames under way, or none."""
    async with asyncio.timeout(WAIT_SECS):
        while heard(desk) != shown(desk):
            await asyncio.sleep(0.01)
            desk.served.clock.advance(0.1)


@pytest.mark.parametrize(
    ("fault", "value"),
    [
        ("ws_missing", None),
        ("ws_doubled", None),
        ("ws_reordered", None),
        ("ws_gap", None),
        ("ws_disconnect", None),
        ("ws_error", 10),
        ("ws_error", 25),
        ("slow_book", 0.05),
    ],
)
async def test_a_book_is_right_again_after_every_fault_of_the_wire(fault: str, value: float | None) -> None:
    """Frames lost, doubled, late or cut off: the live book ends up as the exchange's, ours included."""
    async with trading() as desk, listening(desk):
        desk.fault(fault, value=value, times=1)
        for number in range(8):
            await desk.rest(f"w-{number}", 3 + number % 4)
        await book_settles(desk)
        assert not any(
            each.fault.value.startswith("ws") for each in desk.served.server.control.faults.active()
        )
        assert await desk.view() == desk.truth()


async def test_a_storm_of_disconnects_loses_nothing() -> None:
    """Connections that break again and again, and are refused in between: every break is news, and in the
    end fills, orders and books are the exchange's."""
    async with trading() as desk, listening(desk):
        desk.fault("ws_disconnect", probability=0.5, times=6)
        desk.fault("ws_refuse", times=3)
        for number in range(20):
            await desk.take(f"s-{number}") if number % 3 == 0 else await desk.rest(f"s-{number}", 3)
            await asyncio.sleep(0.01)
        desk.mend()
        await desk.rest("after", 4)
        await book_settles(desk)
        assert desk.listener.lost >= 1
        await asyncio.wait_for(desk.exchange.news(), WAIT_SECS)
        assert await desk.view() == desk.truth()


async def test_news_of_a_fill_comes_while_books_are_broken() -> None:
    """Our own fills are told on channels of their own: a gap among the books does not silence them."""
    async with trading() as desk, listening(desk):
        desk.fault("ws_gap", times=1)
        with suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                while True:
                    await desk.exchange.news()
        await desk.take("told")
        await asyncio.wait_for(desk.exchange.news(), WAIT_SECS)
        assert await desk.view() == desk.truth()


async def test_a_handshake_with_a_wrong_clock_is_made_good() -> None:
    """The first refusal sets our clock, and the next connection is taken."""
    async with trading() as desk:
        desk.fault("clock_skew", value=45)
        async with listening(desk):
            assert heard(desk) == shown(desk)
        desk.mend()
        assert await desk.view() == desk.truth()


FAULTS_AT_RANDOM = (
    Fault.ACCEPT_THEN_TIMEOUT,
    Fault.ACCEPT_THEN_5XX,
    Fault.REJECT_THEN_TIMEOUT,
    Fault.UNAVAILABLE,
    Fault.STORM_429,
    Fault.MISSING_FIELD,
    Fault.UNKNOWN_ENUM,
)


async def test_everything_at_once_leaves_no_order_unaccounted_for() -> None:
    """Thirty orders in a bad hour: each is placed, refused or in doubt, and every doubt ends in the truth."""
    async with trading() as desk:
        for fault in FAULTS_AT_RANDOM:
            desk.fault(fault.value, probability=0.12)
        told: dict[str, str] = {}
        for number in range(30):
            name = f"r-{number}"
            try:
                await desk.rest(name, 3 + number % 5)
                told[name] = "placed"
            except OrderRejected:
                told[name] = "refused"
            except OrderUnknown:
                told[name] = "unknown"
        assert set(told.values()) == {"placed", "refused", "unknown"}
        desk.mend()
        desk.served.clock.advance(11.0)
        resting = desk.truth()["orders"]
        for name, what in told.items():
            found = await desk.exchange.find_order(name)
            assert (found is not None) == (name in resting), name
            if what != "unknown":
                assert (name in resting) == (what == "placed"), name
        assert await desk.view() == desk.truth()


def test_every_fault_is_met_here() -> None:
    """No fault can be commanded that our client has not been held against."""
    met = set(FAULTS_AT_RANDOM) | {
        Fault.GONE_410,
        Fault.STALE_REST,
        Fault.SLOW_BOOK,
        Fault.CLOCK_SKEW,
        Fault.WS_MISSING,
        Fault.WS_DOUBLED,
        Fault.WS_REORDERED,
        Fault.WS_GAP,
        Fault.WS_DISCONNECT,
        Fault.WS_REFUSE,
        Fault.WS_ERROR,
        Fault.TRADING_PAUSE,
        Fault.EXCHANGE_PAUSE,
        Fault.MARKET_HALT,
    }
    assert met == set(Fault)


def test_doubt_is_always_an_error_of_the_exchange() -> None:
    """Whatever goes wrong with the exchange can be caught as one."""
    assert all(
        issubclass(each, ExchangeError)
        for each in (ExchangeUnavailable, OrderRejected, OrderUnknown, SchemaDrift)
    )
