"""Sizing: what a forecast deserves, under every cap, smaller in every safer mode."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from policy_world import EQUITY, EVENT, TICKER, decision_of, exposure_of, mirrored, position_of, snapshot_of

from jurymast.domain.decision import Decision
from jurymast.domain.market import Book, Level, MarketSnapshot, Side
from jurymast.domain.money import CENT, CONTRACT, PAYOUT, USD, notional
from jurymast.domain.portfolio import Exposure
from jurymast.domain.provider import Tier
from jurymast.domain.status import EmergencyMode
from jurymast.policy import fees
from jurymast.policy.emergency import BASIS, TABLE
from jurymast.policy.quality import blend
from jurymast.policy.sizing import DEPTH_SHARE, KELLY_SHARE, Declined, Sized, belief_of, size

NORMAL = TABLE[EmergencyMode.NORMAL]
CONSERVATIVE = TABLE[EmergencyMode.CONSERVATIVE]


@st.composite
def books(draw: st.DrawFn) -> MarketSnapshot:
    """Two-sided markets with prices in tenths of a cent."""
    bid = draw(st.integers(2, 97)) * CENT + draw(st.sampled_from([0, 1_000, 5_000]))
    ask = bid + draw(st.integers(1, 20)) * 2_000
    assume(ask < PAYOUT)
    return snapshot_of(bid, ask, count=draw(st.integers(1, 20_000)) * 50)


@st.composite
def decisions(draw: st.DrawFn) -> Decision:
    low, middle, high = sorted(draw(st.tuples(*[st.integers(1, 99)] * 3)))
    return decision_of(middle, low, high, tier=draw(st.sampled_from([Tier.STRONG, Tier.MID])))


MONEY = st.integers(0, 2 * EQUITY)
EXPOSURES = st.builds(
    exposure_of,
    equity=st.sampled_from([0, 50 * USD, EQUITY, 100 * EQUITY]),
    cash=MONEY,
    by_market=st.builds(lambda own, other: {TICKER: own, "OTHER": other}, MONEY, MONEY) | st.just({}),
    by_event=st.builds(lambda own: {EVENT: own}, MONEY) | st.just({}),
    new_risk_hour=st.just(0) | MONEY,
    new_risk_day=st.just(0) | MONEY,
)
PLAIN = exposure_of()


def sized(decision: Decision, snapshot: MarketSnapshot, exposure: Exposure = PLAIN) -> Sized:
    entry = size(decision, snapshot, exposure, NORMAL)
    assert isinstance(entry, Sized), entry
    return entry


def refused(
    decision: Decision,
    snapshot: MarketSnapshot,
    exposure: Exposure = PLAIN,
    mode: EmergencyMode = EmergencyMode.NORMAL,
) -> Declined:
    declined = size(decision, snapshot, exposure, TABLE[mode])
    assert isinstance(declined, Declined), declined
    return declined


def test_a_worked_example() -> None:
    """A model that says 90 % of a market at 48/50 c moves us to 60 %: eight cents of edge, a full cap."""
    entry = sized(decision_of(90), snapshot_of(count=10_000 * CONTRACT))
    assert (entry.side, entry.limit_price) == (Side.YES, 50 * CENT)
    assert entry.belief.probability == pytest.approx(0.6005, abs=1e-4)
    assert entry.edge == round(entry.belief.probability * PAYOUT) - 50 * CENT - fees.fee_per_contract(
        50 * CENT
    )
    d, a, s = entry.edge / PAYOUT, 0.5175, max(entry.belief.error, 0.03)
    stake = KELLY_SHARE * d / (1 - a) * d**2 / (d**2 + s**2) * EQUITY
    assert stake > 0.02 * EQUITY
    assert entry.detail.endswith("size by market cap [normal: market_cap_bp]")
    assert entry.capped_by == "market cap"
    assert entry.count == int(0.02 * EQUITY / (a * USD)) * CONTRACT
    assert entry.detail.startswith("yes at 50c, we believe 60.0%")


def test_kelly_decides_when_no_cap_does() -> None:
    """A small edge in a deep market is sized by the formula, rounded down to whole contracts."""
    rules = replace(
        NORMAL, market_cap_bp=5_000, event_cap_bp=5_000, new_risk_hour_bp=5_000, new_risk_day_bp=5_000
    )
    entry = size(decision_of(86), snapshot_of(count=10**9), PLAIN, rules)
    assert isinstance(entry, Sized)
    assert entry.capped_by == "kelly"
    d, a, s = entry.edge / PAYOUT, 0.5175, max(entry.belief.error, 0.03)
    stake = 0.25 * d / (1 - a) * d**2 / (d**2 + s**2) * EQUITY
    assert entry.count == int(stake / (a * USD)) * CONTRACT


@pytest.mark.parametrize(
    ("name", "exposure"),
    [
        ("market cap", exposure_of(by_market={TICKER: 150 * USD})),
        ("event cap", exposure_of(by_event={EVENT: 450 * USD})),
        ("gross cap", exposure_of(by_market={"OTHER": 5_950 * USD})),
        ("hourly new risk", exposure_of(new_risk_hour=350 * USD)),
        ("daily new risk", exposure_of(new_risk_day=1_150 * USD)),
        ("cash", exposure_of(cash=50 * USD)),
    ],
)
def test_every_cap_leaves_what_is_left_of_it(name: str, exposure: Exposure) -> None:
    """With fifty dollars left under a cap the entry costs at most that, and says which cap it was."""
    entry = sized(decision_of(90), snapshot_of(), exposure)
    assert entry.capped_by == name
    assert entry.count == 96 * CONTRACT, "96 contracts at 51.75c are $49.68"


def test_depth_caps_the_size() -> None:
    """At most a tenth of what the best three levels show is taken."""
    entry = sized(decision_of(90), snapshot_of(count=200 * CONTRACT))
    assert (entry.capped_by, entry.count) == ("visible depth", 20 * CONTRACT)


@pytest.mark.parametrize("mode", [EmergencyMode.MINIMAL, EmergencyMode.SUSPENDED])
def test_no_entry_without_judgement(mode: EmergencyMode) -> None:
    """Where the mode takes no new risk the best forecast is not sized."""
    assert refused(decision_of(99), snapshot_of(), mode=mode).reason == "entries_stopped"


@given(probability=st.integers(1, 99), snapshot=books(), exposure=EXPOSURES)
def test_a_small_model_never_opens_risk(
    probability: int, snapshot: MarketSnapshot, exposure: Exposure
) -> None:
    """Whatever a small model says, in any market: it may only veto."""
    decision = decision_of(probability, tier=Tier.SMALL)
    for mode in (EmergencyMode.NORMAL, EmergencyMode.CONSERVATIVE):
        assert refused(decision, snapshot, exposure, mode).reason == "may_not_open_risk"


def test_a_middling_model_opens_nothing_when_judgement_is_weak() -> None:
    """In CONSERVATIVE the weight of a mid tier is its mean less one deviation, which is nothing."""
    decision = decision_of(99, tier=Tier.MID)
    assert isinstance(size(decision, snapshot_of(), PLAIN, NORMAL), Sized)
    declined = refused(decision, snapshot_of(), mode=EmergencyMode.CONSERVATIVE)
    assert declined.reason == "edge_too_small"


def test_an_agreeing_model_is_no_reason_to_trade() -> None:
    """Without a difference to the price there is only cost."""
    declined = refused(decision_of(49), snapshot_of())
    assert (declined.gate, declined.reason) == ("edge", "edge_too_small")


@pytest.mark.parametrize("mode", [EmergencyMode.NORMAL, EmergencyMode.CONSERVATIVE])
@pytest.mark.parametrize(("bid", "ask"), [(48, 50), (48, 52), (20, 21), (80, 84), (5, 6)])
def test_the_gates_of_an_edge(mode: EmergencyMode, bid: int, ask: int) -> None:
    """An edge must pay for half a round trip as often as the mode says, and be likely enough to be real."""
    snapshot, rules, gates = snapshot_of(bid * CENT, ask * CENT), TABLE[mode], set()
    for percent in range(1, 100):
        decision = decision_of(percent, 1, 99)
        belief = belief_of(decision, snapshot, rules)
        yes, no = belief.probability * PAYOUT - ask * CENT, bid * CENT - belief.probability * PAYOUT
        price = ask * CENT if yes > no else PAYOUT - bid * CENT
        fee = fees.fee_per_contract(price)
        edge = round(max(yes, no)) - fee
        needed = max(rules.min_edge, rules.min_edge_round_trips * ((ask - bid) * CENT + 2 * fee))
        confidence = NormalDist().cdf(edge / PAYOUT / max(belief.error, 0.03))
        entry = size(decision, snapshot, PLAIN, rules)
        reason = entry.reason if isinstance(entry, Declined) else "sized"
        gates.add(reason)
        if abs(edge - needed) > 2:
            assert (reason == "edge_too_small") == (edge < needed)
        if edge > needed + 2:
            assert (reason == "too_uncertain") == (confidence < rules.min_confidence)
    assert "edge_too_small" in gates


def test_a_refusal_says_its_numbers() -> None:
    """The edge, what it needed, the market and our belief stand in the reason, in cents and percent."""
    assert refused(decision_of(60), snapshot_of()).detail == (
        "-0.5c after costs on yes, needs 5.5c (market 49.0% yes, we believe 51.2%, weight 0.20+-0.10, "
        "its tier's prior) [normal: min_edge_round_trips]"
    )
    assert refused(decision_of(30), snapshot_of()).detail == (
        "1.3c after costs on no, needs 5.5c (market 49.0% yes, we believe 45.0%, weight 0.20+-0.10, "
        "its tier's prior) [normal: min_edge_round_trips]"
    )


def test_an_entry_says_its_numbers() -> None:
    """A NO is told in the terms of NO."""
    assert sized(decision_of(8), snapshot_of()).detail == (
        "no at 52c, we believe 62.7%, edge 9.0c after costs, weight 0.20+-0.10, its tier's prior, "
        "size by visible depth [normal]"
    )


def test_one_contract_is_a_trade() -> None:
    """The smallest order is one whole contract."""
    for cash, count in ((51 * CENT + 7_499, 0), (51 * CENT + 7_500, 1), (103 * CENT + 4_999, 1)):
        entry = size(decision_of(90), snapshot_of(), exposure_of(cash=cash), NORMAL)
        assert (entry.count if isinstance(entry, Sized) else 0) == count * CONTRACT


def test_doubt_is_a_reason_not_to_trade() -> None:
    """An edge that is small beside its own error is declined although it is large enough."""
    doubtful, cheap = decision_of(55, 1, 99), snapshot_of(20 * CENT, 21 * CENT)
    declined = refused(doubtful, cheap)
    assert declined.reason == "too_uncertain"
    ours = belief_of(doubtful, cheap, NORMAL).probability
    assert declined.detail.endswith(f"needs 65% (we believe {ours:.1%}) [normal: min_confidence]")
    assert isinstance(size(decision_of(55, 50, 60), cheap, PLAIN, NORMAL), Sized)


def test_the_other_side_of_a_position_is_not_bought() -> None:
    """A change of mind is for the exits; buying against ourselves only pays fees."""
    holding_no = exposure_of(positions={TICKER: position_of(-100)})
    assert refused(decision_of(90), snapshot_of(), holding_no).reason == "opposite_side"
    holding_yes = exposure_of(positions={TICKER: position_of(100)})
    assert sized(decision_of(90), snapshot_of(), holding_yes).side is Side.YES


def test_less_than_a_contract_is_no_trade() -> None:
    """When a cap leaves cents, nothing is sent, and the cap is named."""
    declined = refused(decision_of(90), snapshot_of(), exposure_of(cash=50 * CENT))
    assert (declined.reason, declined.detail) == (
        "too_small",
        "cash allows $0.50, a contract is $0.52 [normal]; weight 0.20+-0.10, its tier's prior",
    )
    overdrawn = refused(decision_of(90), snapshot_of(), exposure_of(cash=-5 * USD))
    assert overdrawn.reason == "too_small"


@given(
    decision=decisions(), snapshot=books(), exposure=EXPOSURES, mode=st.sampled_from(list(EmergencyMode)[:2])
)
def test_no_size_exceeds_any_cap(
    decision: Decision, snapshot: MarketSnapshot, exposure: Exposure, mode: EmergencyMode
) -> None:
    """An entry, fees included, fits under every cap at once, in whole contracts and on the better side."""
    rules = TABLE[mode]
    entry = size(decision, snapshot, exposure, rules)
    if isinstance(entry, Declined):
        return
    assert type(entry.count) is int
    assert entry.count >= CONTRACT
    assert entry.count % CONTRACT == 0
    best = snapshot.book.offers(entry.side)[0]
    assert entry.limit_price == best.price
    cost = notional(entry.limit_price, entry.count) + fees.fee(entry.limit_price, entry.count)

    def cap(basis_points: int) -> int:
        return exposure.equity * basis_points // BASIS

    assert exposure.by_market.get(TICKER, 0) + cost <= cap(rules.market_cap_bp)
    assert exposure.by_event.get(EVENT, 0) + cost <= cap(rules.event_cap_bp)
    assert exposure.gross + cost <= cap(rules.gross_cap_bp)
    assert exposure.new_risk_hour + cost <= cap(rules.new_risk_hour_bp)
    assert exposure.new_risk_day + cost <= cap(rules.new_risk_day_bp)
    assert cost <= exposure.cash
    assert entry.count * DEPTH_SHARE <= best.count
    assert cost <= KELLY_SHARE * rules.size_multiple * exposure.equity
    ours = entry.belief.probability if entry.side is Side.YES else 1 - entry.belief.probability
    assert entry.edge >= rules.min_edge
    assert ours * PAYOUT - best.price - fees.fee_per_contract(best.price) == pytest.approx(entry.edge, abs=1)


@given(decision=decisions(), snapshot=books())
def test_the_side_is_the_one_the_model_thinks_too_cheap(decision: Decision, snapshot: MarketSnapshot) -> None:
    """YES is bought only from a model above the market, NO only from one below."""
    entry = size(decision, snapshot, PLAIN, NORMAL)
    if isinstance(entry, Sized):
        above = decision.forecast.probability * PAYOUT > snapshot.book.mid
        assert entry.side is (Side.YES if above else Side.NO)


@given(decision=decisions(), snapshot=books(), exposure=EXPOSURES)
def test_a_safer_mode_never_sizes_larger(
    decision: Decision, snapshot: MarketSnapshot, exposure: Exposure
) -> None:
    """For the same forecast, market and portfolio the size falls or stays along the modes."""
    counts = []
    for mode in EmergencyMode:
        entry = size(decision, snapshot, exposure, TABLE[mode])
        counts.append(entry.count if isinstance(entry, Sized) else 0)
    assert counts == sorted(counts, reverse=True)


@given(decision=decisions(), snapshot=books())
def test_more_exposure_never_sizes_larger(decision: Decision, snapshot: MarketSnapshot) -> None:
    """What is at stake already only takes away."""
    counts = []
    for used in (0, 50 * USD, 150 * USD, 200 * USD):
        entry = size(decision, snapshot, exposure_of(by_market={TICKER: used}), NORMAL)
        counts.append(entry.count if isinstance(entry, Sized) else 0)
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 0


@given(decision=decisions(), snapshot=books(), mode=st.sampled_from(list(EmergencyMode)[:2]))
def test_yes_and_no_are_sized_alike(
    decision: Decision, snapshot: MarketSnapshot, mode: EmergencyMode
) -> None:
    """The market asked the other way round gets the same entry on the other side."""
    forecast = decision.forecast
    opposite = replace(
        decision,
        forecast=replace(
            forecast,
            probability_pct=100 - forecast.probability_pct,
            low_pct=100 - forecast.high_pct,
            high_pct=100 - forecast.low_pct,
        ),
    )
    straight = size(decision, snapshot, PLAIN, TABLE[mode])
    turned = size(opposite, mirrored(snapshot), PLAIN, TABLE[mode])
    if isinstance(straight, Sized) and isinstance(turned, Sized):
        assert turned.side is straight.side.opposite
        assert turned.limit_price == straight.limit_price
        assert turned.edge == pytest.approx(straight.edge, abs=1)
        assert turned.count == pytest.approx(straight.count, abs=CONTRACT)
    else:
        assert isinstance(straight, Declined) == isinstance(turned, Declined)


def test_belief_is_the_market_moved_by_the_tier() -> None:
    """In NORMAL the mean weight counts, in CONSERVATIVE the lower one: the same forecast moves us less."""
    decision, snapshot = decision_of(90), snapshot_of()
    normal, conservative = (
        belief_of(decision, snapshot, TABLE[mode]).probability for mode in list(EmergencyMode)[:2]
    )
    assert 0.49 < conservative < normal < 0.90
    narrow_below = decision_of(90, 60, 92)
    assert belief_of(narrow_below, snapshot, NORMAL) == blend(0.49, 0.90, 0.60, 0.92, 0.20)


def test_depth_is_read_on_the_side_that_is_bought() -> None:
    """NO is bought from the bids: a deep ask does not help."""
    book = Book((Level(48 * CENT, 100 * CONTRACT),), (Level(50 * CENT, 10_000 * CONTRACT),))
    entry = sized(decision_of(10), replace(snapshot_of(), book=book))
    assert (entry.side, entry.limit_price) == (Side.NO, 52 * CENT)
    assert (entry.capped_by, entry.count) == ("visible depth", 10 * CONTRACT)
