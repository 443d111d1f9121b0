"""The bot's own books: a fold that repetition does not change and the exchange overrules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jurymast.domain.events import (
    Event,
    OrderChanged,
    OrderFilled,
    OrderIntended,
    OrderRefused,
    OrderUnresolved,
    PositionSettled,
    RunStopped,
)
from jurymast.domain.market import Book, Level, Market, MarketSnapshot, MarketStatus, Side
from jurymast.domain.money import CENT, CONTRACT, PAYOUT, USD, Centi, Micros, notional
from jurymast.domain.order import (
    Action,
    Fill,
    Order,
    OrderIntent,
    OrderStatus,
    Position,
    Purpose,
    Settlement,
    TimeInForce,
)
from jurymast.policy import fees
from jurymast.trading import portfolio as books
from jurymast.trading.portfolio import Portfolio

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
TICKER, EVENT = "RAIN-NYC", "RAIN"


def intent_of(
    number: int = 1,
    *,
    ticker: str = TICKER,
    side: Side = Side.YES,
    action: Action = Action.BUY,
    contracts: int = 100,
    price: Micros = 50 * CENT,
) -> OrderIntent:
    return OrderIntent(
        client_order_id=f"jm-{number}",
        decision_id=f"d{number}",
        ticker=ticker,
        event_ticker=EVENT,
        purpose=Purpose.ENTRY if action is Action.BUY else Purpose.EXIT,
        side=side,
        action=action,
        count=contracts * CONTRACT,
        limit_price=price,
        time_in_force=TimeInForce.GOOD_TILL_CANCELED,
        reason="",
    )


def order_of(intent: OrderIntent, status: OrderStatus = OrderStatus.RESTING, filled: int = 0) -> Order:
    return Order(
        order_id=f"O-{intent.client_order_id}",
        client_order_id=intent.client_order_id,
        ticker=intent.ticker,
        side=intent.side,
        action=intent.action,
        limit_price=intent.limit_price,
        count=intent.count,
        filled=filled * CONTRACT,
        status=status,
        created_at=NOW,
    )


def intended(intent: OrderIntent) -> OrderIntended:
    return OrderIntended(at=NOW, intent=intent)


def changed(intent: OrderIntent, status: OrderStatus = OrderStatus.RESTING, filled: int = 0) -> OrderChanged:
    return OrderChanged(at=NOW, order=order_of(intent, status, filled))


def filled(
    number: int,
    contracts: int = 100,
    price: Micros = 50 * CENT,
    *,
    side: Side = Side.YES,
    action: Action = Action.BUY,
    fee: Micros = 0,
    at: datetime = NOW,
    count: Centi | None = None,
    ticker: str = TICKER,
) -> OrderFilled:
    return OrderFilled(
        at=at,
        fill=Fill(
            fill_id=f"F-{number}",
            order_id="O-1",
            client_order_id="jm-1",
            ticker=ticker,
            side=side,
            action=action,
            price=price,
            count=contracts * CONTRACT if count is None else count,
            fee=fee,
            at=at,
        ),
    )


def settled(result: Side, count: Centi, revenue: Micros, pnl: Micros) -> PositionSettled:
    return PositionSettled(at=NOW, settlement=Settlement(TICKER, result, count, revenue, NOW), pnl=pnl)


def after(*events: Event) -> Portfolio:
    portfolio = Portfolio()
    portfolio.replay(events)
    return portfolio


def facts(portfolio: Portfolio) -> dict[str, Any]:
    """All that the books say."""
    named = {name: value for name, value in vars(portfolio).items() if not name.startswith("_")}
    return named | {"exposure": portfolio.exposure(1_000 * USD, NOW)}


def snapshot_of(bid: Micros | None, ask: Micros | None, ticker: str = TICKER) -> MarketSnapshot:
    market = Market(ticker, EVENT, "Climate", "Rain?", "", NOW, NOW + timedelta(days=1))
    bids = () if bid is None else (Level(bid, 100),)
    asks = () if ask is None else (Level(ask, 100),)
    return MarketSnapshot(market, MarketStatus.ACTIVE, Book(bids, asks), 0, NOW)


# Fills


def test_buying_adds_cost_with_its_fee() -> None:
    """Two buys make one position that has cost both, fees included, and nothing is realised."""
    portfolio = after(filled(1, 100, 50 * CENT, fee=2 * USD), filled(2, 50, 40 * CENT, fee=USD))
    assert portfolio.positions == {TICKER: Position(TICKER, TICKER, 150 * CONTRACT, 73 * USD)}
    assert (portfolio.realized_pnl, portfolio.fees_paid) == (0, 3 * USD)
    assert (portfolio.fills_seen, portfolio.last_fill_id) == (2, "F-2")


def test_selling_realises_the_share_that_leaves() -> None:
    """Selling a quarter takes a quarter of the cost and realises the difference, fee taken off."""
    portfolio = after(
        filled(1, 100, 50 * CENT, fee=2 * USD), filled(2, 25, 60 * CENT, action=Action.SELL, fee=USD)
    )
    assert portfolio.positions[TICKER].count == 75 * CONTRACT
    assert portfolio.positions[TICKER].cost == 39 * USD
    assert portfolio.realized_pnl == 15 * USD - USD - 13 * USD


def test_selling_all_closes_the_position() -> None:
    """A position that is gone leaves no row and no cost behind."""
    portfolio = after(filled(1, 100), filled(2, 100, 60 * CENT, action=Action.SELL))
    assert portfolio.positions == {}
    assert portfolio.realized_pnl == 10 * USD


def test_a_no_position_is_negative_and_sold_as_no() -> None:
    """Contracts of NO count below zero; selling them brings the position back to nothing."""
    bought = filled(1, 100, 30 * CENT, side=Side.NO)
    assert after(bought).positions[TICKER].count == -100 * CONTRACT
    portfolio = after(bought, filled(2, 40, 50 * CENT, side=Side.NO, action=Action.SELL))
    assert portfolio.positions[TICKER].count == -60 * CONTRACT
    assert portfolio.positions[TICKER].cost == 18 * USD
    assert portfolio.realized_pnl == 8 * USD


def test_buying_the_other_side_closes_pairs_at_a_dollar() -> None:
    """A NO bought against a YES is a pair, which the exchange redeems: profit is realised, risk is gone."""
    portfolio = after(filled(1, 100, 40 * CENT), filled(2, 30, 50 * CENT, side=Side.NO))
    assert portfolio.positions[TICKER] == Position(TICKER, TICKER, 70 * CONTRACT, 28 * USD)
    assert portfolio.realized_pnl == 3 * USD
    flat = after(filled(1, 100, 40 * CENT), filled(2, 100, 50 * CENT, side=Side.NO))
    assert (flat.positions, flat.realized_pnl) == ({}, 10 * USD)
    turned = after(filled(1, 100, 40 * CENT), filled(2, 150, 50 * CENT, side=Side.NO, fee=3 * USD))
    assert turned.positions[TICKER] == Position(TICKER, TICKER, -50 * CONTRACT, 26 * USD)
    assert turned.realized_pnl == 8 * USD


def test_selling_what_is_not_held_makes_no_position() -> None:
    """Where the exchange knows of contracts that we do not, its positions are taken over, none made up."""
    assert after(filled(1, 100, action=Action.SELL)).positions == {}
    assert after(filled(1, 100), filled(2, 150, 60 * CENT, action=Action.SELL)).positions == {}
    wrong_side = after(filled(1, 100), filled(2, 50, side=Side.NO, action=Action.SELL))
    assert wrong_side.positions[TICKER].count == 100 * CONTRACT


def test_a_fill_counts_once() -> None:
    """Fills are a set: the same one reported twice changes nothing the second time."""
    once, twice = after(filled(1, fee=USD)), after(filled(1, fee=USD), filled(1, fee=USD))
    assert facts(once) == facts(twice)
    assert once.knows_fill("F-1")
    assert not once.knows_fill("F-2")


def test_memory_of_fills_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the newest ids are kept, and all of those are recognised."""
    monkeypatch.setattr(books, "IDS_KEPT", 3)
    portfolio = after(*(filled(number, 1) for number in (1, 2, 3, 3, 2, 4, 5)))
    assert [portfolio.knows_fill(f"F-{number}") for number in range(1, 6)] == [False, False, True, True, True]


FILLS = st.lists(
    st.builds(
        filled,
        number=st.integers(1, 12),
        contracts=st.integers(1, 300),
        price=st.integers(1, 99).map(lambda cents: cents * CENT),
        side=st.sampled_from(Side),
        action=st.sampled_from(Action),
        fee=st.integers(0, 100).map(lambda steps: steps * 100),
    ),
    max_size=15,
)


@given(fills=FILLS)
def test_no_dollar_appears_or_vanishes(fills: list[OrderFilled]) -> None:
    """What was paid and not yet realised is the cost of what is held, whatever was bought and sold."""
    portfolio, paid = Portfolio(), 0
    for event in fills:
        fill = event.fill
        held = portfolio.positions.get(TICKER)
        held_of_side = held.size if held and held.side is fill.side else 0
        if portfolio.knows_fill(fill.fill_id) or (fill.action is Action.SELL and held_of_side < fill.count):
            continue
        held_of_other = held.size if held and held.side is not fill.side else 0
        value = notional(fill.price, fill.count)
        if fill.action is Action.BUY:
            paid += value + fill.fee - notional(PAYOUT, min(held_of_other, fill.count))
        else:
            paid += fill.fee - value
        portfolio.apply(event)
        cost = sum(position.cost for position in portfolio.positions.values())
        assert cost == paid + portfolio.realized_pnl
        assert all(position.count for position in portfolio.positions.values())


# Payouts


def test_a_payout_closes_the_position_once() -> None:
    """A settled market is no longer held, and its profit is counted once however often it is told."""
    payout = settled(Side.YES, 100 * CONTRACT, 100 * USD, 50 * USD)
    portfolio = after(filled(1), payout, payout)
    assert (portfolio.positions, portfolio.realized_pnl) == ({}, 50 * USD)
    assert portfolio.last_settled == TICKER


def test_a_payout_of_nothing_held_is_no_profit() -> None:
    """A payout for contracts we did not know of is the exchange's cash, not our result."""
    portfolio = after(settled(Side.YES, 100, USD, USD))
    assert (portfolio.realized_pnl, portfolio.last_settled) == (0, TICKER)


# Orders


def test_the_life_of_an_order() -> None:
    """From the intent to the end of the order its market is busy; it is counted once."""
    intent = intent_of()
    steps = [
        intended(intent),
        changed(intent),
        changed(intent, filled=40),
        changed(intent, OrderStatus.EXECUTED, 100),
    ]
    portfolio, busy = Portfolio(), []
    for event in steps:
        portfolio.apply(event)
        busy.append(TICKER in portfolio.exposure(USD, NOW).busy)
    assert busy == [True, True, True, False]
    assert portfolio.orders_placed == 1
    assert portfolio.event_of(TICKER) == EVENT


def test_a_refused_intent_leaves_nothing() -> None:
    """What the exchange said no to is neither busy nor at stake, and its id may be used again."""
    intent = intent_of()
    portfolio = after(intended(intent), OrderRefused(at=NOW, client_order_id="jm-1", code="x", detail=""))
    assert (portfolio.open_intents, portfolio.orders_placed) == ({}, 0)
    assert portfolio.exposure(USD, NOW).gross == 0
    portfolio.apply(intended(intent))
    assert "jm-1" in portfolio.open_intents


@pytest.mark.parametrize("end", [OrderStatus.RESTING, OrderStatus.EXECUTED, OrderStatus.CANCELED])
def test_an_unknown_fate_is_kept_until_it_is_known(end: OrderStatus) -> None:
    """A market stays busy while nobody knows whether its order exists, and not longer."""
    intent = intent_of()
    unknown = OrderUnresolved(at=NOW, client_order_id="jm-1", detail="no answer")
    portfolio = after(intended(intent), unknown)
    assert portfolio.unresolved == {"jm-1"}
    assert TICKER in portfolio.exposure(USD, NOW).busy
    portfolio.apply(changed(intent, end))
    assert portfolio.unresolved == set()
    assert (TICKER in portfolio.exposure(USD, NOW).busy) == end.open


def test_an_ended_order_does_not_come_back() -> None:
    """Told again of an order that has ended, the books stay as they are: no market is blocked for ever."""
    intent = intent_of()
    unknown = OrderUnresolved(at=NOW, client_order_id="jm-1", detail="no answer")
    story: list[Event] = [intended(intent), unknown, changed(intent, OrderStatus.CANCELED)]
    portfolio = after(*story)
    before = facts(portfolio)
    for event in story:
        portfolio.apply(event)
        assert facts(portfolio) == before


def test_an_order_that_is_not_ours_is_left_alone() -> None:
    """Orders placed by hand on the same account are not managed."""
    portfolio = after(changed(intent_of()))
    assert (portfolio.orders, portfolio.orders_placed) == ({}, 0)


# Exposure


def test_resting_entries_are_at_stake() -> None:
    """An entry counts in full, fee included, from its intent on; what has filled moves to the position."""
    intent = intent_of()
    at_stake = notional(50 * CENT + fees.fee_per_contract(50 * CENT), 100 * CONTRACT)
    for events in ([intended(intent)], [intended(intent), changed(intent)]):
        exposure = after(*events).exposure(1_000 * USD, NOW)
        assert exposure.by_market == {TICKER: at_stake}
        assert exposure.by_event == {EVENT: at_stake}
        assert (exposure.new_risk_hour, exposure.new_risk_day) == (at_stake, at_stake)
    partly = after(intended(intent), changed(intent, filled=40), filled(1, 40, fee=7_000))
    rest = notional(50 * CENT + fees.fee_per_contract(50 * CENT), 60 * CONTRACT)
    assert partly.exposure(USD, NOW).by_market == {TICKER: 20 * USD + 7_000 + rest}


def test_resting_exits_are_not_at_stake() -> None:
    """An exit makes its market busy and adds no risk."""
    leaving = intent_of(2, action=Action.SELL)
    exposure = after(filled(1, 100), intended(leaving), changed(leaving)).exposure(USD, NOW)
    assert exposure.by_market == {TICKER: 50 * USD}
    assert exposure.busy == {TICKER}


def test_markets_of_one_event_add_up() -> None:
    """What can be lost on one event is the sum over its markets."""
    events = [intended(intent_of(number, ticker=f"RAIN-{number}")) for number in (1, 2)]
    exposure = after(*events, filled(9, 10, ticker="SNOW")).exposure(USD, NOW)
    assert exposure.by_event == {
        EVENT: exposure.by_market["RAIN-1"] + exposure.by_market["RAIN-2"],
        "SNOW": 5 * USD,
    }
    assert exposure.gross == sum(exposure.by_market.values())


def test_new_risk_is_forgotten_after_an_hour_and_a_day() -> None:
    """Entries count against the hour and the day in which they were filled, by exchange time."""
    portfolio = after(
        filled(1, 10, at=NOW - timedelta(hours=24)),
        filled(2, 20, at=NOW - timedelta(hours=1)),
        filled(3, 40, at=NOW),
        filled(4, 5, at=NOW, action=Action.SELL),
    )
    exposure = portfolio.exposure(USD, NOW)
    assert (exposure.new_risk_hour, exposure.new_risk_day) == (30 * USD, 35 * USD)
    later = portfolio.exposure(USD, NOW + timedelta(seconds=1))
    assert (later.new_risk_hour, later.new_risk_day) == (20 * USD, 30 * USD)


def test_equity_counts_what_could_be_had() -> None:
    """Cash, the money behind resting entries, positions at their bid; without a bid they are worthless."""
    intent = intent_of()
    portfolio = after(
        filled(1, 100), filled(2, 50, side=Side.NO, ticker="SNOW"), intended(intent), changed(intent)
    )
    portfolio.cash = 100 * USD
    snapshots = {TICKER: snapshot_of(45 * CENT, 50 * CENT), "SNOW": snapshot_of(60 * CENT, 70 * CENT, "SNOW")}
    assert portfolio.value(snapshots) == 100 * USD + 50 * USD + 45 * USD + 15 * USD
    assert portfolio.value({TICKER: snapshot_of(None, 50 * CENT)}) == 150 * USD
    assert portfolio.value({}) == 150 * USD


# The exchange wins


def test_the_exchange_wins() -> None:
    """Its positions and cash replace ours, and every difference is named."""
    portfolio = after(filled(1, 100), filled(2, 10, ticker="GONE"))
    theirs = [
        Position(TICKER, EVENT, 80 * CONTRACT, 41 * USD),
        Position("NEW", "NEW", -5 * CONTRACT, 2 * USD),
    ]
    differences = portfolio.correct(theirs, 77 * USD)
    assert differences == [
        "GONE: ours 10, exchange 0",
        "NEW: ours 0, exchange -5",
        f"{TICKER}: ours 100, exchange 80",
    ]
    assert list(portfolio.positions.values()) == sorted(theirs, key=lambda p: p.ticker != TICKER)
    assert portfolio.cash == 77 * USD
    assert portfolio.event_of(TICKER) == EVENT
    assert portfolio.correct(theirs, 77 * USD) == []


def test_looking_for_differences_changes_nothing() -> None:
    """The books can be compared before it is decided whom to believe."""
    portfolio = after(filled(1, 100))
    before = facts(portfolio)
    assert portfolio.differences([]) == [f"{TICKER}: ours 100, exchange 0"]
    assert portfolio.differences([Position(TICKER, EVENT, 100 * CONTRACT, 1)]) == []
    assert facts(portfolio) == before


def test_agreement_keeps_our_cost() -> None:
    """Where the counts agree our own cost stands: the exchange's may leave fees out."""
    portfolio = after(filled(1, 100, fee=USD))
    assert portfolio.correct([Position(TICKER, EVENT, 100 * CONTRACT, 50 * USD)], 0) == []
    assert portfolio.positions[TICKER].cost == 51 * USD


# Repetition

ORDER_STORIES = st.sampled_from(
    [
        ["intended", "resting", "executed"],
        ["intended", "resting", "canceled"],
        ["intended", "executed"],
        ["intended", "unknown", "executed"],
        ["intended", "unknown", "resting"],
        ["intended", "unknown", "refused"],
        ["intended", "refused"],
        ["intended", "resting"],
        ["intended", "unknown"],
        ["intended"],
    ]
)


@st.composite
def journals(draw: st.DrawFn) -> list[Event]:
    """What a journal holds after some orders, fills and payouts, in an order that can happen."""
    stories: list[list[Event]] = []
    for number in range(draw(st.integers(0, 4))):
        intent = intent_of(number, ticker=draw(st.sampled_from([TICKER, "SNOW"])))
        ends = {
            "intended": intended(intent),
            "unknown": OrderUnresolved(at=NOW, client_order_id=intent.client_order_id, detail=""),
            "refused": OrderRefused(at=NOW, client_order_id=intent.client_order_id, code="", detail=""),
            "resting": changed(intent),
            "executed": changed(intent, OrderStatus.EXECUTED, 100),
            "canceled": changed(intent, OrderStatus.CANCELED),
        }
        stories.append([ends[step] for step in draw(ORDER_STORIES)])
    stories.append(list(draw(FILLS)))
    journal: list[Event] = [RunStopped(at=NOW, reason="earlier run")]
    while stories := [story for story in stories if story]:
        journal.append(draw(st.sampled_from(stories)).pop(0))
    if draw(st.booleans()):
        journal.append(settled(Side.YES, 100, USD, USD))
    return journal


@settings(max_examples=150)
@given(journal=journals(), data=st.data())
def test_replaying_a_prefix_twice_changes_nothing(journal: list[Event], data: st.DataObject) -> None:
    """A restart that reads the same journal again arrives at the same books."""
    prefix = journal[: data.draw(st.integers(0, len(journal)))]
    portfolio = after(*prefix)
    before = facts(portfolio)
    portfolio.replay(prefix)
    assert facts(portfolio) == before


@settings(max_examples=150)
@given(journal=journals(), data=st.data())
def test_a_replay_and_a_live_feed_may_overlap(journal: list[Event], data: st.DataObject) -> None:
    """Events that arrive live and are then read once more count once."""
    start = data.draw(st.integers(0, len(journal)))
    overlapping = after(*journal, *journal[start:])
    assert facts(overlapping) == facts(after(*journal))


@given(journal=journals())
def test_folding_in_parts_is_folding_at_once(journal: list[Event]) -> None:
    """The books depend on what happened, not on how it was read."""
    portfolio = Portfolio()
    for event in journal:
        portfolio.apply(event)
    assert facts(portfolio) == facts(after(*journal))


def test_other_events_change_nothing() -> None:
    """Facts that are not about orders leave the books alone, and the books name those that are."""
    portfolio = after(RunStopped(at=NOW, reason="done"))
    assert facts(portfolio) == facts(Portfolio())
    assert RunStopped not in books.BOOK_EVENTS
    assert {type(event) for event in (intended(intent_of()), changed(intent_of()), filled(1))} <= set(
        books.BOOK_EVENTS
    )
