"""Risk: the last word before the gateway, independent of how an order was made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_world import EQUITY, EVENT, TICKER, exposure_of, position_of, snapshot_of

from jurymast.domain.market import MarketSnapshot, MarketStatus, Side
from jurymast.domain.money import CENT, CONTRACT, USD, Centi, Micros, notional
from jurymast.domain.order import Action, OrderIntent, Purpose, TimeInForce
from jurymast.domain.portfolio import Exposure
from jurymast.domain.status import EmergencyMode, TradingState
from jurymast.policy import fees
from jurymast.policy.emergency import BASIS, TABLE
from jurymast.policy.risk import RiskReason, RiskSettings, Verdict, check

SETTINGS = RiskSettings()
NORMAL = EmergencyMode.NORMAL
MODES, STATES = list(EmergencyMode), list(TradingState)


def intent_of(
    purpose: Purpose = Purpose.ENTRY,
    *,
    side: Side = Side.YES,
    contracts: int = 100,
    limit_price: Micros = 50 * CENT,
    count: Centi | None = None,
) -> OrderIntent:
    return OrderIntent(
        client_order_id="jm-1",
        decision_id="d1",
        ticker=TICKER,
        event_ticker=EVENT,
        purpose=purpose,
        side=side,
        action=Action.BUY if purpose is Purpose.ENTRY else Action.SELL,
        count=contracts * CONTRACT if count is None else count,
        limit_price=limit_price,
        time_in_force=TimeInForce.GOOD_TILL_CANCELED,
        reason="",
    )


ENTRY, EXIT = intent_of(), intent_of(Purpose.EXIT)
HOLDING = exposure_of(positions={TICKER: position_of(100)})


def judge(
    intent: OrderIntent = ENTRY,
    snapshot: MarketSnapshot | None = None,
    exposure: Exposure | None = None,
    mode: EmergencyMode = NORMAL,
    state: TradingState = TradingState.ACTIVE,
    *,
    orders_last_minute: int = 0,
    settings: RiskSettings = SETTINGS,
) -> Verdict:
    return check(
        intent,
        snapshot or snapshot_of(),
        exposure or exposure_of(),
        TABLE[mode],
        state,
        settings,
        orders_last_minute=orders_last_minute,
    )


COST = notional(50 * CENT + fees.fee_per_contract(50 * CENT), 100 * CONTRACT)
"""What the entry costs at most: $51.75."""

REFUSED: list[tuple[RiskReason, dict[str, Any]]] = [
    (RiskReason.TRADING_HALTED, {"state": TradingState.HALTED}),
    (RiskReason.TRADING_HALTED, {"state": TradingState.HALTED, "intent": EXIT, "exposure": HOLDING}),
    (RiskReason.REDUCING_ONLY, {"state": TradingState.REDUCING}),
    (RiskReason.ENTRIES_STOPPED, {"mode": EmergencyMode.MINIMAL}),
    (RiskReason.ENTRIES_STOPPED, {"mode": EmergencyMode.SUSPENDED}),
    (RiskReason.MARKET_NOT_OPEN, {"snapshot": snapshot_of(status=MarketStatus.CLOSED)}),
    (
        RiskReason.MARKET_NOT_OPEN,
        {"snapshot": snapshot_of(status=MarketStatus.INACTIVE), "intent": EXIT, "exposure": HOLDING},
    ),
    (RiskReason.PRICE_INSANE, {"intent": intent_of(limit_price=52 * CENT + 1)}),
    (RiskReason.PRICE_INSANE, {"snapshot": snapshot_of(ask=None)}),
    (RiskReason.PRICE_INSANE, {"intent": intent_of(side=Side.NO, limit_price=54 * CENT + 1)}),
    (RiskReason.ORDER_PENDING, {"exposure": exposure_of(busy=frozenset({TICKER}))}),
    (RiskReason.ORDER_TOO_LARGE, {"settings": RiskSettings(order_cost_max=COST - 1)}),
    (RiskReason.ORDER_RATE, {"orders_last_minute": 60}),
    (RiskReason.CASH, {"exposure": exposure_of(cash=COST - 1)}),
    (RiskReason.MARKET_CAP, {"exposure": exposure_of(by_market={TICKER: 200 * USD - COST + 1})}),
    (RiskReason.EVENT_CAP, {"exposure": exposure_of(by_event={EVENT: 500 * USD - COST + 1})}),
    (RiskReason.GROSS_CAP, {"exposure": exposure_of(by_market={"OTHER": 6_000 * USD - COST + 1})}),
    (RiskReason.NOTHING_TO_REDUCE, {"intent": EXIT}),
    (
        RiskReason.NOTHING_TO_REDUCE,
        {"intent": EXIT, "exposure": exposure_of(positions={TICKER: position_of(-100)})},
    ),
    (
        RiskReason.NOTHING_TO_REDUCE,
        {"intent": intent_of(Purpose.EXIT, count=100 * CONTRACT + 1), "exposure": HOLDING},
    ),
]

ALLOWED: list[dict[str, Any]] = [
    {},
    {"mode": EmergencyMode.CONSERVATIVE},
    {"intent": intent_of(limit_price=52 * CENT)},
    {"intent": intent_of(side=Side.NO, limit_price=54 * CENT)},
    {"intent": intent_of(limit_price=1 * CENT)},
    {"exposure": exposure_of(busy=frozenset({"OTHER"}))},
    {"settings": RiskSettings(order_cost_max=COST)},
    {"orders_last_minute": 59},
    {"exposure": exposure_of(cash=COST)},
    {"exposure": exposure_of(by_market={TICKER: 200 * USD - COST})},
    {"exposure": exposure_of(by_event={EVENT: 500 * USD - COST})},
    {"exposure": exposure_of(by_market={"OTHER": 6_000 * USD - COST})},
    {"intent": EXIT, "exposure": HOLDING},
    {"intent": EXIT, "exposure": HOLDING, "orders_last_minute": 10_000},
    {"intent": intent_of(Purpose.EXIT, limit_price=1 * CENT), "exposure": HOLDING},
]


def test_every_reason_can_be_given() -> None:
    """No reason on the closed list is dead."""
    assert {reason for reason, _ in REFUSED} == set(RiskReason)


@pytest.mark.parametrize(("reason", "case"), REFUSED)
def test_an_order_beyond_a_limit_is_refused_with_its_reason(reason: RiskReason, case: dict[str, Any]) -> None:
    """A limit missed by the smallest step refuses the order, and the numbers are told."""
    verdict = judge(**case)
    assert not verdict.allowed
    assert verdict.reason is reason
    assert verdict.detail


@pytest.mark.parametrize("case", ALLOWED)
def test_an_order_at_its_limits_passes(case: dict[str, Any]) -> None:
    """Every limit is inclusive, and an allowance has no reason."""
    assert judge(**case) == Verdict(True)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("state", STATES)
def test_who_may_send_what(mode: EmergencyMode, state: TradingState) -> None:
    """Entries need ACTIVE and judgement; exits pass in every mode and every state but HALTED."""
    entry = judge(mode=mode, state=state)
    judgement = mode in {EmergencyMode.NORMAL, EmergencyMode.CONSERVATIVE}
    assert entry.allowed == (state is TradingState.ACTIVE and judgement)
    leaving = judge(EXIT, exposure=HOLDING, mode=mode, state=state)
    assert leaving.allowed == (state is not TradingState.HALTED)


def test_an_exit_passes_however_bad_the_books_are() -> None:
    """No cap, debt, pending order or burst keeps a position from being reduced."""
    ruined = exposure_of(
        equity=-5 * USD,
        cash=-5 * USD,
        positions={TICKER: position_of(100)},
        by_market={TICKER: 9_000 * USD},
        by_event={EVENT: 9_000 * USD},
        new_risk_hour=9_000 * USD,
        new_risk_day=9_000 * USD,
        busy=frozenset({TICKER}),
    )
    assert judge(EXIT, exposure=ruined, orders_last_minute=10**6).allowed


@given(
    held=st.integers(-300, 300).filter(bool),
    count=st.integers(1, 400),
    side=st.sampled_from(Side),
    mode=st.sampled_from(MODES),
    state=st.sampled_from(STATES),
)
def test_an_exit_never_exceeds_the_position(
    held: int, count: int, side: Side, mode: EmergencyMode, state: TradingState
) -> None:
    """Selling is allowed exactly up to what is held of that side."""
    exposure = exposure_of(positions={TICKER: position_of(held)})
    verdict = judge(intent_of(Purpose.EXIT, side=side, contracts=count), None, exposure, mode, state)
    holds = held if side is Side.YES else -held
    assert verdict.allowed == (count <= holds and state is not TradingState.HALTED)


@given(
    contracts=st.integers(1, 1_500),
    price=st.integers(1, 99),
    side=st.sampled_from(Side),
    equity=st.sampled_from([0, 500 * USD, EQUITY]),
    cash=st.integers(0, EQUITY),
    used=st.integers(0, EQUITY),
    mode=st.sampled_from(MODES),
)
def test_an_allowed_entry_leaves_every_cap_whole(
    contracts: int, price: int, side: Side, equity: Micros, cash: Micros, used: Micros, mode: EmergencyMode
) -> None:
    """However an entry was sized, after it nothing is beyond its limit, fee included."""
    exposure = exposure_of(equity=equity, cash=cash, by_market={TICKER: used}, by_event={EVENT: used})
    intent = intent_of(side=side, contracts=contracts, limit_price=price * CENT)
    if not judge(intent, exposure=exposure, mode=mode).allowed:
        return
    cost = notional(intent.limit_price, intent.count) + fees.fee(intent.limit_price, intent.count)
    rules = TABLE[mode]
    assert cost <= min(cash, SETTINGS.order_cost_max)
    assert used + cost <= equity * rules.market_cap_bp // BASIS
    assert used + cost <= equity * rules.event_cap_bp // BASIS
    assert intent.limit_price <= snapshot_of().book.offers(side)[0].price + SETTINGS.price_slack


@given(contracts=st.integers(1, 1_000), used=st.integers(0, 200 * USD), state=st.sampled_from(STATES))
def test_a_safer_mode_or_state_allows_no_more(contracts: int, used: Micros, state: TradingState) -> None:
    """What is refused in a mode is refused in every safer one, and the same holds for states."""
    exposure = exposure_of(by_market={TICKER: used})
    intent = intent_of(contracts=contracts)
    by_mode = [judge(intent, exposure=exposure, mode=mode, state=state).allowed for mode in MODES]
    assert by_mode == sorted(by_mode, reverse=True)
    by_state = [judge(intent, exposure=exposure, state=state).allowed for state in STATES]
    assert by_state == sorted(by_state, reverse=True)


@given(
    mode=st.sampled_from(MODES[EmergencyMode.MINIMAL.severity :]),
    state=st.sampled_from(STATES),
    price=st.integers(1, 99),
    orders=st.lists(
        st.tuples(st.sampled_from(Purpose), st.sampled_from(Side), st.integers(1, 300)), max_size=20
    ),
)
def test_without_judgement_what_can_be_lost_never_grows(
    mode: EmergencyMode, state: TradingState, price: int, orders: list[tuple[Purpose, Side, int]]
) -> None:
    """From MINIMAL on, any orders at any prices in any trading state only ever take risk off."""
    held = position_of(100)
    for purpose, side, contracts in orders:
        intent = intent_of(purpose, side=side, contracts=contracts, limit_price=price * CENT)
        exposure = exposure_of(positions={TICKER: held} if held.count else {})
        if judge(intent, exposure=exposure, mode=mode, state=state).allowed:
            assert purpose is Purpose.EXIT
            left = held.count - intent.count
            assert 0 <= left < held.count
            held = replace(held, count=left, cost=held.cost * left // held.count)
        assert held.max_loss <= position_of(100).max_loss
