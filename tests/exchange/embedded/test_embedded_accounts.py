"""Cash, collateral and payouts of the embedded exchange: to the micro-dollar."""

from __future__ import annotations

import pytest
from engine_world import HOUR_US, NOON_US, World, tried

from jurymast.domain.errors import OrderRejected
from jurymast.domain.money import CENT, CONTRACT, USD
from jurymast.exchange.embedded.commands import Cancel, StepMarket, Transfer
from jurymast.exchange.embedded.lifecycle import Stage, Step, after
from jurymast.exchange.embedded.records import Lifetime, MarketChanged, Payout, Status
from jurymast.policy.fees import fee

AT_ONCE = {"lifetime": Lifetime.IMMEDIATE_OR_CANCEL}


def test_resting_orders_hold_what_they_may_cost() -> None:
    """A bid holds its price, an ask the price of NO, and cancelling gives it back."""
    world = World()
    bid = world.buy(world.ann, 30, 10).order
    assert world.ann.available(0) == 1_000 * USD - 3 * USD
    world.sell(world.ann, 60, 10)
    assert world.ann.available(0) == 1_000 * USD - 7 * USD
    world.do(Cancel(world.ann.number, bid.number))
    assert world.ann.available(0) == 1_000 * USD - 4 * USD


def test_selling_what_is_held_needs_no_cash() -> None:
    """Closing takes no collateral; what goes beyond it takes what closing does not bring in."""
    world = World(cash=6 * USD)
    world.sell(world.bob, 50, 10)
    world.buy(world.ann, 50, 10)
    spent = 5 * USD + fee(50 * CENT, 10 * CONTRACT)
    assert world.ann.available(0) == 6 * USD - spent
    world.sell(world.ann, 60, 10)
    assert world.ann.available(0) == 6 * USD - spent
    world.sell(world.ann, 70, 22)
    assert world.ann.available(0) == 6 * USD - spent - 60 * CENT


def test_a_pair_is_redeemed_at_once() -> None:
    """Buying NO while holding YES brings the dollar back: what is left is the spread and the fees."""
    world = World()
    world.sell(world.bob, 50, 10)
    world.buy(world.ann, 50, 10)
    world.buy(world.bob, 55, 10)
    world.sell(world.ann, 55, 10, **AT_ONCE)
    fees = fee(50 * CENT, 10 * CONTRACT) + fee(55 * CENT, 10 * CONTRACT)
    assert world.ann.cash[0] == 1_000 * USD + 50 * CENT - fees
    stake = world.ann.stakes["PLAIN"]
    assert (stake.count, stake.cost, stake.realized, stake.fees) == (0, 0, 50 * CENT, fees)
    assert world.engine.state.markets["PLAIN"].pairs == 0


def test_an_order_that_cannot_be_paid_is_refused_whole() -> None:
    """Cash on another shard does not help, and the fee counts as well."""
    world = World(cash=5 * USD)
    world.sell(world.crowd, 50, 100)
    with pytest.raises(OrderRejected, match="insufficient_balance"):
        world.buy(world.ann, 50, 10, **AT_ONCE)
    assert world.buy(world.ann, 50, 9, **AT_ONCE).filled == 9 * CONTRACT
    world.do(Transfer(world.ann.number, 1, world.ann.number, 0, 4 * USD))
    assert world.buy(world.ann, 50, 8, **AT_ONCE).filled == 8 * CONTRACT
    assert tried(world, Transfer(world.ann.number, 1, world.ann.number, 0, 4 * USD)) == "insufficient_balance"


def test_makers_pay_where_the_series_says_so() -> None:
    """On a series with maker fees both pay, elsewhere the taker alone."""
    world = World()
    for ticker, maker_pays in (("PLAIN", False), ("MAKER", True)):
        maker = world.sell(world.bob, 50, 10, ticker=ticker).order
        taker = world.buy(world.ann, 50, 10, ticker=ticker).order
        assert taker.taker_fees == fee(50 * CENT, 10 * CONTRACT)
        assert (maker.maker_fees > 0) is maker_pays


def test_rounding_is_given_back_within_an_order() -> None:
    """An order filled in many small parts pays no more than a unit over the fee of the whole."""
    world = World()
    world.sell(world.bob, 50.1, 3, ticker="FINE")
    for _ in range(150):
        world.buy(world.ann, 50.1, 0.02, ticker="FINE", **AT_ONCE)
    maker = world.engine.state.orders[1]
    assert maker.filled == 3 * CONTRACT
    taken = world.ann.stakes["FINE"].fees
    assert taken >= fee(501 * CENT // 10, 3 * CONTRACT)
    whole = World()
    whole.sell(whole.crowd, 50.1, 1.5, ticker="FINE")
    order = whole.buy(whole.ann, 50.1, 3, ticker="FINE").order
    for _ in range(75):
        whole.sell(whole.crowd, 50.1, 0.02, ticker="FINE", **AT_ONCE)
    assert order.filled == 3 * CONTRACT
    assert order.maker_fees < 75 * 100


def test_settlement_pays_the_winning_side_and_empties_the_pot() -> None:
    """Each winning contract pays a dollar, the loser nothing; the record says what it had cost."""
    world = World()
    world.sell(world.bob, 40, 10)
    world.buy(world.ann, 40, 10)
    resting = world.buy(world.ann, 10, 1).order
    world.engine.take_events()
    world.later(3 * 3_600)
    market = world.engine.floor.market("PLAIN").state
    assert (market.stage, market.yes, market.pairs) == (Stage.FINALIZED, True, 0)
    events = world.engine.take_events()
    told = [event.what for event in events if isinstance(event, MarketChanged) and event.ticker == "PLAIN"]
    assert told == ["close_date_updated", "determined", "settled"]
    payouts = [
        (event.owner, event.count, event.cost, event.revenue) for event in events if isinstance(event, Payout)
    ]
    assert payouts == [
        (world.ann.number, 10 * CONTRACT, 4 * USD, 10 * USD),
        (world.bob.number, -10 * CONTRACT, 6 * USD, 0),
    ]
    assert resting.status is Status.CANCELED
    assert world.ann.held == [0, 0]
    with pytest.raises(OrderRejected, match="market_closed"):
        world.buy(world.ann, 50, 1)


def test_a_market_can_be_settled_early_and_against_its_question() -> None:
    """An operator may close and settle a market now, either way; its close time moves to now."""
    world = World()
    world.sell(world.bob, 40, 10)
    world.buy(world.ann, 40, 10)
    world.do(StepMarket("PLAIN", "settle", yes=False))
    market = world.engine.floor.market("PLAIN").state
    assert (market.stage, market.yes, market.end_us) == (Stage.FINALIZED, False, NOON_US)
    assert world.engine.state.payouts[0].revenue == 0
    assert tried(world, StepMarket("PLAIN", "settle")) == "invalid_parameters"
    assert tried(world, StepMarket("PLAIN", "levitate")) == "invalid_parameters"


def test_a_market_lives_by_the_table() -> None:
    """Steps that a market's life does not have are refused, and leave the stage alone."""
    possible = {(stage, step) for stage in Stage for step in Step if _can(stage, step)}
    assert len(possible) == 8
    assert not _can(Stage.FINALIZED, Step.OPEN)
    assert not _can(Stage.CLOSED, Step.RESUME)


def _can(stage: Stage, step: Step) -> bool:
    try:
        after(stage, step)
    except ValueError:
        return False
    return True


def test_a_market_nobody_touched_is_where_its_listing_says() -> None:
    """Without a record of its own a market opens, closes and pays by the clock."""
    world = World()
    listing = world.engine.floor.listing("PLAIN")
    assert listing.stage_at(NOON_US - 2 * HOUR_US) is Stage.INITIALIZED
    assert listing.stage_at(NOON_US) is Stage.ACTIVE
    assert listing.stage_at(NOON_US + 2 * HOUR_US) is Stage.CLOSED
    assert listing.stage_at(NOON_US + 3 * HOUR_US) is Stage.FINALIZED
