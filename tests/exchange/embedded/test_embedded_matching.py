"""How the embedded exchange matches: price first, then time, and every way an order may end."""

from __future__ import annotations

import pytest
from engine_world import NOON_US, World, tried

from jurymast.domain.errors import OrderRejected
from jurymast.domain.money import CENT, CONTRACT, USD
from jurymast.exchange.embedded.commands import Amend, Cancel, CancelAll, Decrease, Pause, StepMarket
from jurymast.exchange.embedded.records import (
    SECOND_US,
    BookDelta,
    Fill,
    Lifetime,
    OrderChanged,
    Reason,
    SelfTrade,
    Status,
)

AT_ONCE = {"lifetime": Lifetime.IMMEDIATE_OR_CANCEL}
KILL = {"lifetime": Lifetime.FILL_OR_KILL}


def reasons(world: World) -> list[str]:
    """Why orders changed last, in order, since the events were taken."""
    return [
        event.order.reason.value for event in world.engine.take_events() if isinstance(event, OrderChanged)
    ]


def test_the_best_price_is_met_first_and_at_its_own_price() -> None:
    """A buyer gets the cheapest offers first, each at the price of the one who waited."""
    world = World()
    world.sell(world.bob, 52, 10)
    world.sell(world.bob, 50, 10)
    done = world.buy(world.ann, 55, 15)
    assert done.filled == 15 * CONTRACT
    assert done.yes_value == 10 * 50 * CENT + 5 * 52 * CENT
    assert world.book() == ([], [(48, 5)])


def test_at_one_price_the_first_is_met_first() -> None:
    """Two offers at one price: the earlier one is filled before the later one is touched."""
    world = World()
    early, late = world.sell(world.bob, 50, 10).order, world.sell(world.crowd, 50, 10).order
    world.buy(world.ann, 50, 12)
    assert (early.status, early.filled) == (Status.EXECUTED, 10 * CONTRACT)
    assert (late.status, late.remaining) == (Status.RESTING, 8 * CONTRACT)


def test_what_is_not_filled_at_once_rests_or_goes() -> None:
    """Good till cancelled rests its remainder, immediate or cancel drops it, fill or kill does nothing."""
    world = World()
    world.sell(world.bob, 50, 5)
    assert world.buy(world.ann, 50, 8, **AT_ONCE).removed == 3 * CONTRACT
    world.sell(world.bob, 50, 5)
    with pytest.raises(OrderRejected, match="fill_or_kill_insufficient_resting_volume"):
        world.buy(world.ann, 50, 8, **KILL)
    assert world.buy(world.ann, 50, 5, **KILL).filled == 5 * CONTRACT
    assert world.buy(world.ann, 50, 8).order.remaining == 8 * CONTRACT
    assert world.book() == ([(50, 8)], [])


def test_a_client_order_id_is_used_up_by_whatever_arrives_even_if_killed() -> None:
    """An id that was taken is refused ever after: a killed order uses its id up, a refused one does not."""
    world = World()
    with pytest.raises(OrderRejected, match="fill_or_kill"):
        world.buy(world.ann, 50, 1, client_order_id="twice", **KILL)
    with pytest.raises(OrderRejected, match="order_already_exists"):
        world.buy(world.ann, 50, 1, client_order_id="twice")
    with pytest.raises(OrderRejected, match="insufficient_balance"):
        world.buy(world.ann, 99, 5_000, client_order_id="dear")
    assert world.buy(world.ann, 50, 1, client_order_id="dear").order.status is Status.RESTING
    assert world.buy(world.bob, 40, 1, client_order_id="twice").order.status is Status.RESTING


def test_post_only_never_takes() -> None:
    """An order that may only make is refused when it would take; cancelled if the exchange is set so."""
    world = World()
    world.sell(world.bob, 50, 5)
    with pytest.raises(OrderRejected, match="post_only_cross"):
        world.buy(world.ann, 50, 5, post_only=True)
    assert world.buy(world.ann, 49, 5, post_only=True).order.remaining == 5 * CONTRACT
    other = World(post_only_rejects=False)
    other.sell(other.bob, 50, 5)
    order = other.buy(other.ann, 50, 5, post_only=True).order
    assert (order.status, order.reason, order.filled) == (Status.CANCELED, Reason.POST_ONLY_CROSS, 0)


def test_reduce_only_closes_and_never_opens() -> None:
    """A reducing order sells no more than is held, and nothing when nothing is held."""
    world = World()
    world.sell(world.bob, 50, 5)
    world.buy(world.ann, 50, 5)
    world.buy(world.bob, 40, 20)
    done = world.sell(world.ann, 40, 12, reduce_only=True, **AT_ONCE)
    assert (done.filled, world.position(world.ann)) == (5 * CONTRACT, 0)
    assert done.order.reason is Reason.REDUCE_ONLY
    again = world.sell(world.ann, 40, 12, reduce_only=True, **AT_ONCE)
    assert (again.filled, again.order.status) == (0, Status.CANCELED)
    assert tried_sell(world, reduce_only=True) == "invalid_parameters"


def tried_sell(world: World, **more: object) -> str:
    try:
        world.sell(world.ann, 40, 1, **more)
    except OrderRejected as refusal:
        return refusal.code
    return ""


def test_members_do_not_trade_with_themselves() -> None:
    """Where an order would meet one of its own member, the taker stops or the maker goes, as asked."""
    world = World()
    world.sell(world.ann, 50, 5)
    world.sell(world.bob, 51, 5)
    stopped = world.buy(world.ann, 51, 5, self_trade=SelfTrade.TAKER_AT_CROSS)
    assert (stopped.filled, stopped.order.reason) == (0, Reason.SELF_TRADE)
    going_on = world.buy(world.ann, 51, 5, self_trade=SelfTrade.MAKER)
    assert going_on.filled == 5 * CONTRACT
    assert world.book() == ([], [])
    assert world.position(world.ann) == 5 * CONTRACT


def test_subaccounts_of_one_member_are_one_member() -> None:
    """Self-trade prevention looks at the member, not at the subaccount."""
    world = World()
    second = world.member("ann", 100 * USD, subaccount=1)
    world.sell(second, 50, 5)
    assert world.buy(world.ann, 50, 5).filled == 0


def test_amending_down_or_in_time_keeps_the_place_and_up_or_in_price_loses_it() -> None:
    """Only a smaller size or another expiry leaves an order where it stands in the queue."""
    world = World()
    first, second = world.buy(world.ann, 50, 10).order, world.buy(world.bob, 50, 10).order
    book = world.engine.floor.market("PLAIN").book

    def amend(cents: int, contracts: int, expires_us: int | None = None) -> None:
        world.do(
            Amend(
                world.ann.number,
                first.number,
                "PLAIN",
                True,
                cents * CENT,
                contracts * CONTRACT,
                "",
                expires_us,
            )
        )

    amend(50, 6)
    assert (first.remaining, book.ahead_of(second)) == (6 * CONTRACT, 6 * CONTRACT)
    amend(50, 6, NOON_US + 60 * SECOND_US)
    assert book.ahead_of(first) == 0
    amend(50, 7)
    assert book.ahead_of(first) == 10 * CONTRACT
    amend(51, 7)
    assert (book.ahead_of(first), first.price) == (0, 51 * CENT)


def test_an_amended_order_that_crosses_takes() -> None:
    """Amended through the book, an order fills like a new one and its total counts what was filled."""
    world = World()
    order = world.buy(world.ann, 45, 10).order
    world.sell(world.bob, 50, 4)
    done = world.do(Amend(world.ann.number, order.number, "PLAIN", True, 50 * CENT, 10 * CONTRACT))
    assert (done.filled, order.remaining, order.filled) == (4 * CONTRACT, 6 * CONTRACT, 4 * CONTRACT)
    assert tried(world, Amend(world.ann.number, order.number, "PLAIN", True, 50 * CENT, 4 * CONTRACT)) == (
        "invalid_parameters"
    )


def test_an_amendment_that_cannot_be_paid_leaves_the_order_as_it_was() -> None:
    """A refused amendment changes neither the order nor its place."""
    world = World(cash=10 * USD)
    order, behind = world.buy(world.ann, 50, 10).order, world.buy(world.bob, 50, 10).order
    dear = Amend(world.ann.number, order.number, "PLAIN", True, 60 * CENT, 100 * CONTRACT)
    assert tried(world, dear) == "insufficient_balance"
    assert (order.price, order.remaining) == (50 * CENT, 10 * CONTRACT)
    assert world.engine.floor.market("PLAIN").book.ahead_of(behind) == 10 * CONTRACT


def test_decrease_and_cancel_say_what_they_took_off() -> None:
    """Decreasing keeps the order's place; cancelling what is gone already is not found."""
    world = World()
    order = world.buy(world.ann, 50, 10).order
    assert world.do(Decrease(world.ann.number, order.number, by=4 * CONTRACT)).removed == 4 * CONTRACT
    assert world.do(Decrease(world.ann.number, order.number, to=5 * CONTRACT)).removed == CONTRACT
    assert tried(world, Cancel(world.bob.number, order.number)) == "not_found"
    assert world.do(Cancel(world.ann.number, order.number)).removed == 5 * CONTRACT
    assert tried(world, Cancel(world.ann.number, order.number)) == "not_found"


def test_cancel_all_takes_everything_and_sweeps_the_next_minute() -> None:
    """After cancel-all nothing rests, and what is placed within a minute is swept away as well."""
    world = World()
    world.buy(world.ann, 50, 1)
    world.buy(world.ann, 40, 1, ticker="MAKER")
    theirs = world.buy(world.bob, 30, 1).order
    world.do(CancelAll("ann"))
    assert not world.engine.floor.open[world.ann.number]
    assert theirs.status is Status.RESTING
    world.later(59)
    swept = world.buy(world.ann, 50, 1).order
    assert swept.status is Status.RESTING
    world.later(0.1)
    assert swept.status is Status.CANCELED
    world.later(2)
    kept = world.buy(world.ann, 50, 1).order
    world.later(60)
    assert kept.status is Status.RESTING


def test_orders_expire_on_time() -> None:
    """An order with an expiry is gone from that moment on, and not a moment before."""
    world = World()
    order = world.buy(world.ann, 50, 1, expires_us=NOON_US + 30 * SECOND_US).order
    world.later(29.9)
    assert order.status is Status.RESTING
    world.engine.take_events()
    world.later(0.1)
    assert (order.status, reasons(world)) == (Status.CANCELED, ["ExpiryCancel"])
    assert tried_expired(world) == "invalid_parameters"


def tried_expired(world: World) -> str:
    try:
        world.buy(world.ann, 50, 1, expires_us=world.now_us)
    except OrderRejected as refusal:
        return refusal.code
    return ""


def test_a_trading_pause_allows_cancelling_and_an_exchange_pause_nothing() -> None:
    """Orders that asked for it go at a pause; others stay and can be cancelled, or not even that."""
    world = World()
    fragile = world.buy(world.ann, 50, 1, pause_cancel=True).order
    stays, also = world.buy(world.ann, 49, 1).order, world.buy(world.ann, 48, 1).order
    world.do(Pause(trading=True))
    assert (fragile.status, fragile.reason) == (Status.CANCELED, Reason.HALT)
    with pytest.raises(OrderRejected, match="trading_is_paused"):
        world.buy(world.ann, 50, 1)
    assert tried(world, Cancel(world.ann.number, stays.number)) == ""
    world.do(Pause(exchange=True))
    assert tried(world, Cancel(world.ann.number, also.number)) == "exchange_is_paused"
    world.do(Pause(trading=False, exchange=False))
    assert also.status is Status.RESTING


def test_a_halted_market_takes_no_orders_and_others_go_on() -> None:
    """One market can be halted and resumed; the rest of the exchange does not notice."""
    world = World()
    world.do(StepMarket("PLAIN", "halt"))
    with pytest.raises(OrderRejected, match="market_inactive"):
        world.buy(world.ann, 50, 1)
    assert world.buy(world.ann, 50, 1, ticker="MAKER").order.status is Status.RESTING
    world.do(StepMarket("PLAIN", "resume"))
    assert world.buy(world.ann, 50, 1).order.status is Status.RESTING


@pytest.mark.parametrize(
    "wrong",
    [
        {"client_order_id": "a.b"},
        {"client_order_id": "x" * 65},
        {"post_only": True, **AT_ONCE},
        {"expires_us": NOON_US + SECOND_US, **AT_ONCE},
        {"group": "og-nowhere"},
        {"ticker": "NOWHERE"},
    ],
)
def test_parameters_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    """What Kalshi refuses is refused, and leaves no trace."""
    world = World()
    with pytest.raises(OrderRejected):
        world.buy(world.ann, 50, 1, **wrong)
    assert world.engine.state.next_order == 1
    assert not world.engine.state.client_ids


def test_prices_must_be_ticks_of_the_market() -> None:
    """Half a cent is a price where the market's ticks say so, and none elsewhere."""
    world = World()
    with pytest.raises(OrderRejected, match="no tick"):
        world.buy(world.ann, 50.5, 1)
    assert world.buy(world.ann, 50.5, 1, ticker="FINE").order.status is Status.RESTING


def test_both_members_hear_of_a_fill_and_the_crowd_does_not() -> None:
    """A match is told to both members with its fee and the position after it; deltas are signed."""
    world = World()
    world.sell(world.crowd, 50, 5)
    world.sell(world.bob, 50, 5)
    world.engine.take_events()
    world.buy(world.ann, 50, 10)
    events = world.engine.take_events()
    fills = [event for event in events if isinstance(event, Fill)]
    assert [(fill.owner, fill.taker, fill.count) for fill in fills] == [
        (world.ann.number, True, 5 * CONTRACT),
        (world.bob.number, False, 5 * CONTRACT),
        (world.ann.number, True, 5 * CONTRACT),
    ]
    assert fills[-1].position == 10 * CONTRACT
    assert [event.delta for event in events if isinstance(event, BookDelta)] == [-5 * CONTRACT, -5 * CONTRACT]
