"""Exits: what is sold, why, and how much; two of the three rules need no model."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_world import EQUITY, mirrored, position_of, snapshot_of

from jurymast.domain.market import MarketStatus
from jurymast.domain.money import CENT, CONTRACT, USD, Micros
from jurymast.domain.order import Position
from jurymast.policy.exits import ExitPlan, ExitReason, ExitSettings, exit_for
from jurymast.policy.quality import Belief

SETTINGS = ExitSettings()
CAP = EQUITY * SETTINGS.hard_market_cap_bp // 10_000


def plan_for(
    position: Position, bid: Micros = 60 * CENT, belief: float | None = None, *, equity: Micros = EQUITY
) -> ExitPlan | None:
    """The exit in a market whose YES bid is ``bid``."""
    opinion = None if belief is None else Belief(belief, 0.02)
    return exit_for(position, snapshot_of(bid, bid + CENT), equity, SETTINGS, opinion)


def test_losing_the_model_sells_nothing() -> None:
    """Without a belief a position within its cap is held to settlement, however its price has fallen."""
    for bid in (1, 20, 50, 96):
        assert plan_for(position_of(), bid * CENT) is None


@pytest.mark.parametrize("belief", [None, 0.99])
def test_profit_is_taken_at_97_cents(belief: float | None) -> None:
    """With three cents left to win the whole position goes, whatever a model believes."""
    assert plan_for(position_of(), 97 * CENT - 100, belief) is None
    plan = plan_for(position_of(), 97 * CENT, belief)
    assert plan is not None
    assert (plan.reason, plan.count, plan.limit_price) == (
        ExitReason.TAKE_PROFIT,
        100 * CONTRACT,
        97 * CENT,
    )


def test_a_no_position_is_sold_in_the_terms_of_no() -> None:
    """An offer of YES at 2 c is a bid for NO at 98 c."""
    plan = exit_for(position_of(-100), snapshot_of(1 * CENT, 2 * CENT), EQUITY, SETTINGS)
    assert plan is not None
    assert (plan.reason, plan.limit_price) == (ExitReason.TAKE_PROFIT, 98 * CENT)


def test_a_breached_cap_is_trimmed_not_dumped() -> None:
    """At $500 at stake and a cap of $400 a fifth is sold."""
    plan = plan_for(position_of(1_000, 500 * USD))
    assert plan is not None
    assert (plan.reason, plan.count) == (ExitReason.CAP_BREACH, 200 * CONTRACT)
    assert plan.detail == "500.00 dollars at stake, hard cap 400.00"
    assert plan_for(position_of(1_000, CAP)) is None


@given(size=st.integers(1, 100_000), cost=st.integers(1, 2_000 * USD), equity=st.integers(0, EQUITY))
def test_what_is_left_after_a_trim_is_within_the_cap(size: int, cost: Micros, equity: Micros) -> None:
    """A trim sells enough at once, whole contracts where it can, and never more than is held."""
    position = replace(position_of(), count=size, cost=cost)
    plan = plan_for(position, equity=equity)
    cap = equity * SETTINGS.hard_market_cap_bp // 10_000
    if cost <= cap:
        assert plan is None
        return
    assert plan is not None
    assert plan.reason is ExitReason.CAP_BREACH
    assert 0 < plan.count <= size
    assert plan.count % CONTRACT == 0 or plan.count == size
    assert cost - cost * plan.count // size <= cap
    if plan.count > CONTRACT:
        one_less = plan.count - CONTRACT
        assert cost - cost * one_less // size > cap, "no more is sold than the cap asks for"


def test_a_reversed_opinion_sells_when_the_bid_pays_clearly_more() -> None:
    """The position goes when the bid, fee taken off, is three cents above what we believe it is worth."""
    net = 60 * CENT - 16_800
    assert plan_for(position_of(), 60 * CENT, (net - 3 * CENT + 100) / USD) is None
    plan = plan_for(position_of(), 60 * CENT, (net - 3 * CENT) / USD)
    assert plan is not None
    assert (plan.reason, plan.count, plan.limit_price) == (ExitReason.REVERSED, 100 * CONTRACT, 60 * CENT)
    assert plan.detail == "the bid nets 58.32c, we believe 55c"


@given(bid=st.integers(1, 95), belief=st.floats(0.01, 0.99))
def test_a_no_position_reverses_as_a_yes_position_does(bid: int, belief: float) -> None:
    """Asked the other way round, the same opinion sells the same position."""
    snapshot = snapshot_of(bid * CENT, (bid + 1) * CENT)
    yes = exit_for(position_of(100), snapshot, EQUITY, SETTINGS, Belief(belief, 0.02))
    no = exit_for(position_of(-100), mirrored(snapshot), EQUITY, SETTINGS, Belief(1 - belief, 0.02))
    assert yes == no


@pytest.mark.parametrize("bid", [10, 60, 96])
def test_no_reversal_without_a_belief(bid: int) -> None:
    """Only a live model can change our mind."""
    assert plan_for(position_of(), bid * CENT) is None
    plan = plan_for(position_of(), bid * CENT, 0.01)
    assert plan is not None
    assert plan.reason is ExitReason.REVERSED


def test_the_first_rule_that_says_sell_names_the_reason() -> None:
    """Profit goes before the cap and the cap before an opinion."""
    large = position_of(1_000, 600 * USD)
    reasons = [plan.reason for bid in (98, 60) if (plan := plan_for(large, bid * CENT, 0.01))]
    assert reasons == [ExitReason.TAKE_PROFIT, ExitReason.CAP_BREACH]


@pytest.mark.parametrize("status", [status for status in MarketStatus if status is not MarketStatus.ACTIVE])
def test_nothing_is_sold_where_nothing_trades(status: MarketStatus) -> None:
    """A market that is not open has no bid worth the name."""
    assert exit_for(position_of(9_000, 900 * USD), snapshot_of(status=status), EQUITY, SETTINGS) is None


def test_nothing_is_sold_into_an_empty_book() -> None:
    """Without a bid there is no price, and none is made up."""
    large = position_of(9_000, 900 * USD)
    assert exit_for(large, snapshot_of(bid=None), EQUITY, SETTINGS) is None
    short = position_of(-9_000, 900 * USD)
    assert exit_for(short, snapshot_of(ask=None), EQUITY, SETTINGS) is None
    assert exit_for(short, snapshot_of(bid=None), EQUITY, SETTINGS) is not None
