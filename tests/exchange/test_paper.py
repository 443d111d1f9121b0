"""The embedded exchange as the bot meets it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from paper_kit import CASH, START, buy, exchange, question, sell

from jurymast.domain.errors import ConfigError, ExchangeUnavailable, OrderRejected, OrderUnknown, SchemaDrift
from jurymast.domain.market import Book, MarketStatus, Side
from jurymast.domain.money import CENT, CONTRACT, PAYOUT, usd
from jurymast.domain.order import Action, OrderIntent, OrderStatus, TimeInForce
from jurymast.exchange.paper import END_OF_TIME, Fault, PaperExchange
from jurymast.exchange.questions import load_bundle
from jurymast.policy.fees import fee
from jurymast.testing.clock import FakeClock

GTC = TimeInForce.GOOD_TILL_CANCELED
FOK = TimeInForce.FILL_OR_KILL
LIFE_SECS = 30 * 86_400


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def paper(clock: FakeClock) -> PaperExchange:
    return exchange((question(), question("Q-2", outcome=False)), clock)


@pytest.fixture(autouse=True)
async def _closed(paper: PaperExchange) -> Any:
    yield
    await paper.close()


async def rejected(paper: PaperExchange, intent: OrderIntent) -> str:
    """The code with which an order is refused."""
    with pytest.raises(OrderRejected) as caught:
        await paper.place_order(intent)
    return caught.value.code


async def best(paper: PaperExchange, side: Side, ticker: str = "Q-1") -> int:
    return (await paper.get_snapshot(ticker)).book.offers(side)[0].price


async def test_time_runs_as_fast_as_told(clock: FakeClock) -> None:
    """At sixty times speed a second of the clock is a minute of the exchange."""
    paper = exchange((question(),), clock, speed=60)
    clock.advance(1)
    assert await paper.now() == START + timedelta(minutes=1)
    await paper.close()


async def test_time_ends_before_dates_do(clock: FakeClock) -> None:
    """However fast and long it runs, exchange time stops at a last day instead of failing."""
    paper = exchange((question(),), clock, speed=1_000_000)
    clock.advance(10**9)
    assert await paper.now() == END_OF_TIME
    await paper.close()


@pytest.mark.parametrize("changes", [{"speed": 0}, {"speed": float("nan")}, {"cash": -1}])
def test_impossible_settings_are_refused(changes: dict[str, Any]) -> None:
    """An exchange that stands still, runs at no speed at all or begins in debt does not start."""
    with pytest.raises(ConfigError):
        exchange((question(),), FakeClock(), **changes)


def test_it_says_that_it_is_simulated(paper: PaperExchange) -> None:
    """Nobody who reads its one line can take it for a real exchange."""
    assert paper.describe().startswith("SIMULATED exchange: 2 real questions")


async def test_markets_live_from_listing_to_resolution(clock: FakeClock) -> None:
    """A market is listed only while it trades; before and after, its snapshot says what it is."""
    late = question("Q-2", listed_at=START + timedelta(hours=1), outcome=False)
    paper = exchange((question(), late), clock)
    assert [s.ticker for s in await paper.list_snapshots()] == ["Q-1"]
    assert (await paper.get_snapshot("Q-2")).status is MarketStatus.INITIALIZED
    clock.advance(3_600)
    assert [s.ticker for s in await paper.list_snapshots()] == ["Q-1", "Q-2"]
    clock.advance(LIFE_SECS - 3_600)
    assert await paper.list_snapshots() == []
    ended = await paper.get_snapshot("Q-2")
    assert (ended.status, ended.result) == (MarketStatus.FINALIZED, Side.NO)
    assert not ended.book.bids
    assert not ended.book.asks
    await paper.close()


async def test_the_list_and_the_single_market_agree(paper: PaperExchange) -> None:
    """A market asked for alone shows what the list shows, and no result while it trades."""
    listed = await paper.list_snapshots()
    assert [await paper.get_snapshot(s.ticker) for s in listed] == listed
    assert all(s.result is None and s.as_of == START for s in listed)


async def test_the_whole_bundle_trades(clock: FakeClock) -> None:
    """A few weeks after the first listing most of that day's questions are open, each with a lawful book."""
    bundle = load_bundle()
    paper = exchange(bundle, clock, start=bundle[0].listed_at + timedelta(days=7))
    snapshots = await paper.list_snapshots()
    assert len(snapshots) == sum(q.listed_at == bundle[0].listed_at for q in bundle)
    assert all(s.book.bids or s.book.asks for s in snapshots)
    await paper.close()


async def test_a_purchase_takes_the_displayed_offer(paper: PaperExchange) -> None:
    """An order across the spread fills at the displayed price, pays the taker fee and makes a position."""
    price = await best(paper, Side.YES)
    order = await paper.place_order(buy(count=3 * CONTRACT))
    assert (order.status, order.filled) == (OrderStatus.EXECUTED, 300)
    (fill,) = await paper.list_fills()
    assert (fill.price, fill.count, fill.fee) == (price, 300, fee(price, 300))
    (position,) = await paper.list_positions()
    assert (position.count, position.cost) == (300, 3 * price + fill.fee)
    assert position.event_ticker == "EV-Q-1"
    assert (await paper.get_balance()).cash == CASH - position.cost


async def test_no_is_bought_at_the_complement(paper: PaperExchange) -> None:
    """NO costs $1 less the best YES bid, and the position counts below zero."""
    bid = (await paper.get_snapshot("Q-1")).book.bids[0].price
    await paper.place_order(buy(side=Side.NO, count=CONTRACT))
    (fill,) = await paper.list_fills()
    assert fill.price == PAYOUT - bid
    assert (await paper.list_positions())[0].count == -100


async def test_liquidity_taken_is_gone_for_the_step(paper: PaperExchange, clock: FakeClock) -> None:
    """What was taken shows in no book of the same step, and the next step brings a new book."""
    before = (await paper.get_snapshot("Q-1")).book
    await paper.place_order(buy(count=before.asks[0].count + CONTRACT))
    after = (await paper.get_snapshot("Q-1")).book
    assert after.asks[0].price == before.asks[1].price
    assert after.asks[0].count == before.asks[1].count - CONTRACT
    assert after.bids == before.bids
    assert (await paper.list_snapshots())[0].book == after
    clock.advance(60)
    assert len((await paper.get_snapshot("Q-1")).book.asks) == len(before.asks)


async def test_an_order_never_fills_past_its_limit(paper: PaperExchange) -> None:
    """An immediate order takes what its limit allows and gives the rest up."""
    book = (await paper.get_snapshot("Q-1")).book
    limit = book.asks[1].price
    within = book.asks[0].count + book.asks[1].count
    order = await paper.place_order(buy(count=within + CONTRACT, limit_price=limit))
    assert (order.status, order.filled) == (OrderStatus.CANCELED, within)
    assert max(fill.price for fill in await paper.list_fills()) == limit


async def test_an_immediate_order_without_a_match_ends_empty(paper: PaperExchange) -> None:
    """Nothing to take is an answer, not an error: the order ends cancelled with no fill."""
    order = await paper.place_order(buy(limit_price=CENT))
    assert (order.status, order.filled, order.remaining) == (OrderStatus.CANCELED, 0, 0)
    assert await paper.list_fills() == []


async def test_fill_or_kill_is_all_or_nothing_and_uses_its_id_up(paper: PaperExchange) -> None:
    """A killed order took nothing, and its id is spent as on the real exchange."""
    book = (await paper.get_snapshot("Q-1")).book
    total = sum(level.count for level in book.asks)
    intent = buy(count=total + 1, time_in_force=FOK)
    assert await rejected(paper, intent) == "fill_or_kill_insufficient_resting_volume"
    assert await rejected(paper, intent) == "order_already_exists"
    assert await paper.list_fills() == []
    killed = await paper.find_order(intent.client_order_id)
    assert killed is not None
    assert killed.status is OrderStatus.CANCELED
    order = await paper.place_order(buy(count=book.asks[0].count, time_in_force=FOK))
    assert order.status is OrderStatus.EXECUTED


async def test_a_client_order_id_works_once(paper: PaperExchange, clock: FakeClock) -> None:
    """The same intent sent again, even days later, is refused and changes nothing."""
    intent = buy()
    await paper.place_order(intent)
    clock.advance(5 * 86_400)
    assert await rejected(paper, intent) == "order_already_exists"
    assert len(await paper.list_fills()) == 1


async def test_a_resting_order_holds_its_collateral(paper: PaperExchange) -> None:
    """The rest of an order waits on the book, its cash is set aside, and cancelling frees it."""
    order = await paper.place_order(buy(limit_price=CENT, time_in_force=GTC))
    assert (order.status, order.remaining) == (OrderStatus.RESTING, 1_000)
    assert (await paper.get_balance()).cash == CASH - 10 * CENT
    assert await paper.list_open_orders() == [order]
    cancelled = await paper.cancel_order(order)
    assert cancelled.status is OrderStatus.CANCELED
    assert (await paper.get_balance()).cash == CASH
    assert await paper.list_open_orders() == []
    assert await paper.cancel_order(order) == cancelled


async def test_cancelling_a_filled_order_reports_how_it_ended(paper: PaperExchange) -> None:
    """A cancel that comes too late returns the executed order without error."""
    order = await paper.place_order(buy(count=CONTRACT))
    assert (await paper.cancel_order(order)).status is OrderStatus.EXECUTED


async def crossed(paper: PaperExchange, clock: FakeClock, limit: int) -> Book:
    """Wait until YES of Q-2 is offered well below ``limit``; the untouched book of that step.

    Q-2 does not happen, so that must come. A second exchange with the same seed looks ahead, so that
    ``paper`` itself is not asked meanwhile.
    """
    scout = exchange((question("Q-2", outcome=False),), clock, start=await paper.now())
    for _ in range(2_000):
        clock.advance(3_600)
        book = (await scout.get_snapshot("Q-2")).book
        if book.asks and book.asks[-1].price < limit:
            await scout.close()
            return book
    raise AssertionError("the price never came down that far")


async def test_a_resting_order_fills_at_its_limit_as_maker(paper: PaperExchange, clock: FakeClock) -> None:
    """When a later book lies below a resting bid it fills at its own price, without a fee."""
    limit = await best(paper, Side.YES, "Q-2") - CENT
    order = await paper.place_order(buy("Q-2", limit_price=limit, time_in_force=GTC, count=CONTRACT))
    assert await paper.list_fills() == []
    await crossed(paper, clock, limit)
    (fill,) = await paper.list_fills()
    assert (fill.order_id, fill.price, fill.fee) == (order.order_id, limit, 0)
    assert (await paper.get_balance()).cash == CASH - limit
    ended = await paper.find_order(order.client_order_id)
    assert ended is not None
    assert ended.status is OrderStatus.EXECUTED


async def test_the_better_price_fills_first(paper: PaperExchange, clock: FakeClock) -> None:
    """Of resting bids the higher is served before an earlier lower one, equal ones as they came."""
    ask = await best(paper, Side.YES, "Q-2")
    limits = [ask - 2 * CENT, ask - CENT, ask - 2 * CENT]
    low, high, late = [
        await paper.place_order(buy("Q-2", limit_price=limit, time_in_force=GTC, count=CONTRACT))
        for limit in limits
    ]
    await crossed(paper, clock, limits[0])
    served = [fill.order_id for fill in await paper.list_fills()]
    assert served == [high.order_id, low.order_id, late.order_id]


async def test_resting_orders_share_what_a_book_offers(paper: PaperExchange, clock: FakeClock) -> None:
    """Several orders together take no more than a book shows, and no more of it in the same step."""
    limit = await best(paper, Side.YES, "Q-2") - CENT
    for _ in range(3):
        await paper.place_order(buy("Q-2", limit_price=limit, time_in_force=GTC, count=40_000 * CONTRACT))
    book = await crossed(paper, clock, limit)
    offered = sum(level.count for level in book.asks)
    assert sum(fill.count for fill in await paper.list_fills()) == offered
    clock.advance(1)
    assert sum(fill.count for fill in await paper.list_fills()) == offered
    assert (await paper.get_snapshot("Q-2")).book.asks == ()
    clock.advance(59)
    assert sum(fill.count for fill in await paper.list_fills()) > offered


async def test_an_order_expires_in_exchange_time(paper: PaperExchange, clock: FakeClock) -> None:
    """At its expiry a resting order is cancelled, whoever looks, and does not fill."""
    order = await paper.place_order(
        buy(limit_price=CENT, time_in_force=GTC, expires_at=START + timedelta(seconds=90))
    )
    clock.advance(89)
    assert len(await paper.list_open_orders()) == 1
    clock.advance(1)
    assert await paper.list_open_orders() == []
    ended = await paper.find_order(order.client_order_id)
    assert ended is not None
    assert (ended.status, ended.filled) == (OrderStatus.CANCELED, 0)
    assert (await paper.get_balance()).cash == CASH


async def test_an_exit_sells_what_is_held_and_no_more(paper: PaperExchange) -> None:
    """An exit larger than the position closes it and ends; a further one finds nothing to sell."""
    await paper.place_order(buy(count=5 * CONTRACT))
    order = await paper.place_order(sell(count=8 * CONTRACT))
    assert (order.status, order.filled) == (OrderStatus.CANCELED, 500)
    assert await paper.list_positions() == []
    assert await rejected(paper, sell()) == "no_position"
    assert await rejected(paper, sell(side=Side.NO)) == "no_position"


async def test_a_resting_exit_never_opens_the_other_side(paper: PaperExchange, clock: FakeClock) -> None:
    """An exit that rests after its position is gone is cancelled instead of filled."""
    await paper.place_order(buy(count=5 * CONTRACT))
    resting = await paper.place_order(sell(count=5 * CONTRACT, limit_price=99 * CENT, time_in_force=GTC))
    await paper.place_order(sell(count=5 * CONTRACT))
    clock.advance(60)
    ended = await paper.find_order(resting.client_order_id)
    assert ended is not None
    assert (ended.status, ended.filled) == (OrderStatus.CANCELED, 0)
    assert await paper.list_positions() == []


async def test_buying_the_other_side_nets(paper: PaperExchange) -> None:
    """YES and NO in one market redeem each other for $1 a pair, so only the difference is held."""
    await paper.place_order(buy(count=5 * CONTRACT))
    await paper.place_order(buy(side=Side.NO, count=8 * CONTRACT))
    (position,) = await paper.list_positions()
    assert position.count == -300
    spent = sum(fill.price * fill.count // CONTRACT + fill.fee for fill in await paper.list_fills())
    assert (await paper.get_balance()).cash == CASH - spent + 5 * PAYOUT


async def test_what_is_not_paid_for_is_refused(clock: FakeClock) -> None:
    """An order needs cash for its fills, their fees and its rest; one micro-dollar short is refused."""
    probe = exchange((question(),), clock)
    price = await best(probe, Side.YES)
    cost = price * 3 + fee(price, 300)
    await probe.close()
    poor = exchange((question(),), clock, cash=cost - 1)
    assert await rejected(poor, buy(count=3 * CONTRACT)) == "insufficient_balance"
    assert (await poor.get_balance()).cash == cost - 1
    await poor.close()
    rich = exchange((question(),), clock, cash=cost)
    await rich.place_order(buy(count=3 * CONTRACT))
    assert (await rich.get_balance()).cash == 0
    await rich.close()


async def test_collateral_is_not_spent_twice(clock: FakeClock) -> None:
    """Cash behind a resting order can't pay for another one."""
    paper = exchange((question(), question("Q-2")), clock, cash=usd("1"))
    await paper.place_order(buy(limit_price=10 * CENT, time_in_force=GTC))
    assert await rejected(paper, buy("Q-2", limit_price=CENT, time_in_force=GTC)) == "insufficient_balance"
    await paper.close()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"ticker": "Q-9"}, "market_not_found"),
        ({"limit_price": 41 * CENT + 1}, "invalid_parameters"),
        ({"count": 100_000_001}, "invalid_parameters"),
        ({"client_order_id": "no.dots"}, "invalid_parameters"),
        ({"client_order_id": "x" * 65}, "invalid_parameters"),
        ({"client_order_id": ""}, "invalid_parameters"),
        ({"time_in_force": GTC, "expires_at": START}, "invalid_parameters"),
    ],
)
async def test_bad_orders_are_refused_by_name(
    paper: PaperExchange, changes: dict[str, Any], code: str
) -> None:
    """Each fault of an order has Kalshi's code, nothing is placed and the id is not used up."""
    intent = buy(**changes)
    assert await rejected(paper, intent) == code
    assert await paper.find_order(intent.client_order_id) is None
    assert (await paper.get_balance()).cash == CASH


async def test_closed_markets_take_no_orders(paper: PaperExchange, clock: FakeClock) -> None:
    """After its resolution, and before its listing, a market refuses orders."""
    late = exchange((question(listed_at=START + timedelta(days=1)),), clock)
    assert await rejected(late, buy()) == "market_closed"
    await late.close()
    clock.advance(LIFE_SECS)
    assert await rejected(paper, buy()) == "market_closed"


async def test_unknown_markets_and_orders_are_named(paper: PaperExchange, clock: FakeClock) -> None:
    """Asking for what was never here is answered with the exchange's own word."""
    with pytest.raises(OrderRejected, match="market_not_found"):
        await paper.get_snapshot("Q-9")
    other = exchange((question(),), clock)
    foreign = await other.place_order(buy())
    await other.close()
    with pytest.raises(OrderRejected, match="not_found"):
        await paper.cancel_order(foreign)
    assert await paper.find_order("never") is None


async def test_positions_pay_by_the_real_outcome(paper: PaperExchange, clock: FakeClock) -> None:
    """At resolution a winning contract pays $1 and a losing one nothing; resting orders end."""
    await paper.place_order(buy("Q-1", count=2 * CONTRACT))
    await paper.place_order(buy("Q-2", count=3 * CONTRACT))
    await paper.place_order(buy("Q-2", limit_price=CENT, time_in_force=GTC))
    clock.advance(60)
    cash = (await paper.get_balance()).cash + 10 * CENT
    clock.advance(LIFE_SECS)
    won, lost = await paper.list_settlements()
    assert (won.ticker, won.result, won.count, won.revenue) == ("Q-1", Side.YES, 200, 2 * PAYOUT)
    assert (lost.ticker, lost.result, lost.count, lost.revenue) == ("Q-2", Side.NO, 300, 0)
    assert won.at == START + timedelta(days=30)
    assert await paper.list_positions() == []
    assert await paper.list_open_orders() == []
    assert (await paper.get_balance()).cash == cash + 2 * PAYOUT
    assert await paper.list_settlements(after="Q-1") == [lost]


async def test_fills_can_be_asked_for_from_a_known_one(paper: PaperExchange) -> None:
    """Fills come in order, and after a known one only the later ones."""
    for _ in range(3):
        await paper.place_order(buy(count=CONTRACT))
    first, second, third = await paper.list_fills()
    assert first.fill_id < second.fill_id < third.fill_id
    assert await paper.list_fills(after=first.fill_id) == [second, third]
    assert await paper.list_fills(after=third.fill_id) == []


@pytest.mark.parametrize("unknown", ["F-00000099", "nonsense", "", "F-" + "9" * 30])
async def test_a_foreign_journal_is_noticed(paper: PaperExchange, unknown: str) -> None:
    """A fill or settlement that this exchange never reported can't be a place to go on from."""
    await paper.place_order(buy())
    with pytest.raises(SchemaDrift, match="another exchange file"):
        await paper.list_fills(after=unknown)
    with pytest.raises(SchemaDrift, match="another exchange file"):
        await paper.list_settlements(after="Q-1")


async def test_an_order_may_arrive_without_an_answer(paper: PaperExchange) -> None:
    """Told to accept and not answer, the exchange holds the order that the sender knows nothing of."""
    paper.inject("accept_then_timeout")
    intent = buy()
    with pytest.raises(OrderUnknown, match=intent.client_order_id):
        await paper.place_order(intent)
    found = await paper.find_order(intent.client_order_id)
    assert found is not None
    assert found.filled == 1_000
    with pytest.raises(OrderRejected, match="order_already_exists"):
        await paper.place_order(intent)


async def test_a_refusal_may_go_unheard_too(paper: PaperExchange) -> None:
    """An order that is refused while answers get lost is as unknown as one that was accepted."""
    paper.inject(Fault.ACCEPT_THEN_TIMEOUT)
    with pytest.raises(OrderUnknown):
        await paper.place_order(buy("Q-9"))


async def test_an_order_may_get_lost(paper: PaperExchange) -> None:
    """Told to lose an order, the exchange never has it, and the same id works afterwards."""
    paper.inject(Fault.REJECT_THEN_TIMEOUT)
    intent = buy()
    with pytest.raises(OrderUnknown):
        await paper.place_order(intent)
    assert await paper.find_order(intent.client_order_id) is None
    assert (await paper.place_order(intent)).status is OrderStatus.EXECUTED


async def test_reads_fail_as_often_as_told(paper: PaperExchange) -> None:
    """An unavailable exchange says so the given number of times and then answers again."""
    order = await paper.place_order(buy(limit_price=CENT, time_in_force=GTC))
    paper.inject(Fault.UNAVAILABLE, times=3)
    with pytest.raises(ExchangeUnavailable):
        await paper.now()
    with pytest.raises(ExchangeUnavailable):
        await paper.list_snapshots()
    with pytest.raises(ExchangeUnavailable):
        await paper.cancel_order(order)
    assert len(await paper.list_open_orders()) == 1


def test_an_unknown_fault_is_refused(paper: PaperExchange) -> None:
    """A drill with a misspelt fault fails instead of testing nothing."""
    with pytest.raises(ValueError, match="acept"):
        paper.inject("acept_then_timeout")


async def test_a_closed_exchange_answers_nothing(paper: PaperExchange) -> None:
    """After close every call says that the exchange is closed, and closing again is harmless."""
    await paper.close()
    await paper.close()
    with pytest.raises(ExchangeUnavailable, match="closed"):
        await paper.now()
    with pytest.raises(OrderUnknown, match="closed"):
        await paper.place_order(buy())


async def test_a_long_list_lets_others_run(clock: FakeClock) -> None:
    """While thousands of markets are quoted, other tasks of the program get their turns."""
    paper = exchange(tuple(question(f"Q-{n}") for n in range(2_000)), clock)
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(count_turns())
    assert len(await paper.list_snapshots()) == 2_000
    task.cancel()
    assert turns >= 5
    await paper.close()


async def test_a_sale_brings_its_price_less_the_fee(paper: PaperExchange) -> None:
    """Selling at the bid pays the displayed price less the taker fee."""
    await paper.place_order(buy(count=CONTRACT))
    cash = (await paper.get_balance()).cash
    bid = (await paper.get_snapshot("Q-1")).book.bids[0].price
    await paper.place_order(sell(count=CONTRACT))
    sold = (await paper.list_fills())[-1]
    assert (sold.action, sold.price, sold.fee) == (Action.SELL, bid, fee(bid, 100))
    assert (await paper.get_balance()).cash == cash + bid - sold.fee
