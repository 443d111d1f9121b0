"""What was said before: an edge that fades, void once the market has moved, never more than a fresh one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from jurymast.domain.decision import (
    Abstain,
    AbstainReason,
    Decision,
    EvidenceQuality,
    Forecast,
    ResolutionRisk,
    Rung,
)
from jurymast.domain.events import DecisionAbstained, DecisionMade
from jurymast.domain.market import Book, Level, Market, MarketSnapshot, MarketStatus
from jurymast.domain.money import CENT, CONTRACT, USD
from jurymast.domain.portfolio import Exposure
from jurymast.domain.provider import ProviderName, Route, Tier
from jurymast.domain.status import EmergencyMode
from jurymast.policy.cached import (
    OPINIONS_MAX,
    Opinions,
    Void,
    VoidReason,
    carried,
    faded,
    half_life_secs,
    rules_hash,
)
from jurymast.policy.emergency import TABLE, row_for
from jurymast.policy.quality import TIER_WEIGHTS
from jurymast.policy.sizing import Sized, belief_of, size

T0 = datetime(2026, 3, 2, 12, tzinfo=UTC)
MARKET = Market("T-1", "T", "Politics", "Will it?", "If it does.", T0, T0 + timedelta(days=10))
ROUTE = Route(ProviderName.XAI, "grok-4.3")
RICH = Exposure(10_000 * USD, 10_000 * USD, {}, {}, {})
AGE_SECS_MAX = TABLE[EmergencyMode.CACHED].cached_age_secs_max


def snapshot(mid_cents: int = 50, *, minutes: float = 0.0, spread_cents: int = 2, market: Market = MARKET,
             volume: int = 10_000) -> MarketSnapshot:  # fmt: skip
    bid = (mid_cents * CENT) - spread_cents * CENT // 2
    many = 100_000 * CONTRACT
    book = Book((Level(bid, many),), (Level(bid + spread_cents * CENT, many),))
    at = T0 + timedelta(minutes=minutes)
    return MarketSnapshot(market, MarketStatus.ACTIVE, book, volume * CONTRACT, at)


def opinion(pct: int = 80, at: MarketSnapshot | None = None, *, half: int = 3, tier: Tier = Tier.STRONG,
            rung: Rung = Rung.PRIMARY) -> Decision:  # fmt: skip
    then = at or snapshot()
    low, high = max(1, pct - half), min(99, pct + half)
    return Decision(
        decision_id="d1", ticker=then.ticker,
        forecast=Forecast(pct, low, high, 50, EvidenceQuality.STRONG, ResolutionRisk.LOW, (), ""),
        rung=rung, route=ROUTE, tier=tier, served_model=ROUTE.model, mode=EmergencyMode.NORMAL, cost=0,
        secs=1.0, market_price=then.book.mid, as_of=then.as_of, decided_at=then.as_of, reason="",
        rules_hash=rules_hash(then.market), spread=then.book.spread, volume_24h=then.volume_24h,
    )  # fmt: skip


def made(decision: Decision) -> DecisionMade:
    return DecisionMade(at=T0, decision_id=decision.decision_id, ticker=decision.ticker, decision=decision)


def again(kept: Decision, now: MarketSnapshot, age_secs_max: float = AGE_SECS_MAX) -> Decision | None:
    left = carried(kept, now, age_secs_max)
    return None if isinstance(left, Void) else replace(kept, rung=Rung.CACHED, cached=left)


def test_half_of_an_edge_is_left_after_a_half_life() -> None:
    """Six hours, or a quarter of what was left to the close."""
    assert half_life_secs(MARKET, T0) == 6 * 3_600.0
    assert half_life_secs(replace(MARKET, close_time=T0 + timedelta(hours=8)), T0) == 2 * 3_600.0
    kept = again(opinion(), snapshot(minutes=120))
    assert kept is not None
    assert kept.cached is not None
    assert kept.cached.share == pytest.approx(2 ** (-1 / 3))


@pytest.mark.parametrize(
    ("category", "hours", "reused"),
    [("Sports", 3, False), ("Sports", 9, True), ("Crypto", 20, False), ("Crypto", 30, True),
     ("Economics", 1.9, False), ("Economics", 3, True), ("Politics", 1.9, True)],
)  # fmt: skip
def test_what_is_decided_in_minutes_is_never_judged_by_an_old_opinion(
    category: str, hours: float, reused: bool
) -> None:
    """Games in play, brackets that settle today and releases within two hours have no half-life."""
    market = replace(MARKET, category=category, close_time=T0 + timedelta(hours=hours))
    assert (half_life_secs(market, T0) > 0) == reused


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (snapshot(minutes=121), VoidReason.TOO_OLD),
        (snapshot(minutes=-1), VoidReason.FROM_THE_FUTURE),
        (snapshot(58, minutes=5), VoidReason.PRICE_MOVED),
        (snapshot(42, minutes=5), VoidReason.PRICE_MOVED),
        (snapshot(minutes=5, spread_cents=6), VoidReason.SPREAD_DOUBLED),
        (snapshot(minutes=30, volume=12_000), VoidReason.VOLUME_JUMPED),
        (snapshot(market=replace(MARKET, rules="If it does twice.")), VoidReason.RULES_CHANGED),
        (snapshot(market=replace(MARKET, close_time=T0 + timedelta(days=9))), VoidReason.RULES_CHANGED),
    ],
)
def test_an_opinion_is_void_once_the_world_has_moved(now: MarketSnapshot, reason: VoidReason) -> None:
    """Age, price, spread, volume and rules each void it; the same market a little later does not."""
    left = carried(opinion(), now, AGE_SECS_MAX)
    assert isinstance(left, Void)
    assert left.reason is reason
    assert again(opinion(), snapshot(52, minutes=5)) is not None


def test_a_close_that_comes_near_shortens_an_opinions_life() -> None:
    """No opinion is older than half its half-life, by the time that is left now."""
    market = replace(MARKET, close_time=T0 + timedelta(hours=6))
    then, now = snapshot(market=market), snapshot(market=market, minutes=50)
    left = carried(opinion(at=then), now, AGE_SECS_MAX)
    assert isinstance(left, Void)
    assert left.reason is VoidReason.TOO_OLD


def test_only_what_providers_said_is_kept_and_the_last_word_counts() -> None:
    """Neither an emergency answer nor a small model replaces an opinion; a model that abstains ends it."""
    opinions = Opinions()
    opinions.apply(made(opinion(80)))
    cached = again(opinion(60), snapshot(minutes=1))
    assert cached is not None
    opinions.apply(made(cached))
    opinions.apply(made(opinion(10, tier=Tier.SMALL, rung=Rung.LOCAL)))
    for reason in AbstainReason:
        if reason is not AbstainReason.MODEL_ABSTAINED:
            opinions.apply(abstained(reason))
    assert [kept.forecast.probability_pct for kept in opinions.all()] == [80]
    opinions.apply(made(opinion(70)))
    assert [kept.forecast.probability_pct for kept in opinions.all()] == [70]
    opinions.apply(abstained(AbstainReason.MODEL_ABSTAINED))
    assert opinions.of("T-1") is None


def abstained(reason: AbstainReason) -> DecisionAbstained:
    abstain = Abstain("d2", "T-1", reason, "", EmergencyMode.MINIMAL, 0, 0.0, 0, T0, T0)
    return DecisionAbstained(at=T0, decision_id="d2", ticker="T-1", abstain=abstain)


def test_the_store_is_bounded_and_counts_what_is_usable() -> None:
    """The oldest goes first; old ones and those of no weight do not count."""
    opinions = Opinions()
    for number in range(OPINIONS_MAX + 5):
        opinions.apply(made(replace(opinion(), ticker=f"T-{number}")))
    assert len(opinions) == OPINIONS_MAX
    assert (opinions.of("T-4"), opinions.of("T-5") is None) == (None, False)
    assert opinions.usable(T0 + timedelta(hours=2), AGE_SECS_MAX) == OPINIONS_MAX
    assert opinions.usable(T0 + timedelta(hours=2, seconds=1), AGE_SECS_MAX) == 0
    assert Opinions([opinion(tier=Tier.MID)]).usable(T0, AGE_SECS_MAX) == 1
    assert Opinions([opinion(tier=Tier.SMALL)]).usable(T0, AGE_SECS_MAX) == 0


MIDS = st.integers(6, 94)
AGES = st.floats(0.0, 119.0)


@given(then=MIDS, now=MIDS, pct=st.integers(1, 99), half=st.integers(0, 30), minutes=AGES)
def test_a_stale_belief_lies_between_the_market_and_the_fresh_one_and_is_no_surer(
    then: int, now: int, pct: int, half: int, minutes: float
) -> None:
    """On any path of the price, gate or no gate: the increment only shrinks and the error only grows."""
    kept = again(opinion(pct, snapshot(then), half=half), snapshot(then, minutes=minutes))
    assert kept is not None
    here, weight = snapshot(now, minutes=minutes), TIER_WEIGHTS[Tier.STRONG].lower
    stale, fresh = (
        faded(kept, here, weight),
        belief_of(opinion(pct, half=half), here, TABLE[EmergencyMode.CACHED]),
    )
    low, high = sorted((here.book.mid / 1_000_000, fresh.probability))
    assert low - 1e-12 <= stale.probability <= high + 1e-12
    assert stale.error >= fresh.error


@given(
    then=MIDS, now=MIDS, pct=st.integers(1, 99), half=st.integers(0, 10), minutes=AGES,
    mode=st.sampled_from(EmergencyMode), spread=st.integers(1, 4),
)  # fmt: skip
def test_a_stale_forecast_never_sizes_above_a_fresh_one(
    then: int, now: int, pct: int, half: int, minutes: float, mode: EmergencyMode, spread: int
) -> None:
    """At any age, on any path and in any mode, what is risked on an old opinion is at most what the same
    forecast given now may risk in that mode where models are asked, or the least safe such mode."""
    kept = again(opinion(pct, snapshot(then), half=half), snapshot(then, minutes=minutes))
    assert kept is not None
    here = snapshot(now, minutes=minutes, spread_cents=spread)
    stale = size(kept, here, RICH, row_for(TABLE, mode, cached=True))
    if not isinstance(stale, Sized):
        return
    asking = EmergencyMode.NORMAL if mode is EmergencyMode.NORMAL else EmergencyMode.CONSERVATIVE
    fresh = size(opinion(pct, half=half), here, RICH, TABLE[asking])
    assert isinstance(fresh, Sized)
    assert (stale.side, stale.limit_price) == (fresh.side, fresh.limit_price)
    assert stale.count <= fresh.count


@given(then=MIDS, pct=st.integers(1, 99), minutes=AGES, later=AGES)
def test_an_opinion_only_ever_loses_worth_with_age(then: int, pct: int, minutes: float, later: float) -> None:
    """In a market that stands still the belief comes nearer to the market with every minute."""
    assume(minutes <= later)
    weight, beliefs = TIER_WEIGHTS[Tier.STRONG].lower, []
    for age in (minutes, later):
        here = snapshot(then, minutes=age)
        kept = again(opinion(pct, snapshot(then)), here)
        assert kept is not None
        beliefs.append(faded(kept, here, weight))
    young, old = beliefs
    mid = then / 100
    assert abs(old.probability - mid) <= abs(young.probability - mid) + 1e-12
    assert old.error >= young.error - 1e-12


@given(
    pct=st.integers(1, 99), half=st.integers(0, 20), mid=MIDS, spread=st.integers(1, 5),
    cached=st.booleans(), minutes=AGES, share=st.sampled_from([0.25, 0.5, 1.0]),
)  # fmt: skip
def test_accepted_risk_never_grows_along_the_ladder(
    pct: int, half: int, mid: int, spread: int, cached: bool, minutes: float, share: float
) -> None:
    """The same decision risks at most as much in every safer mode, and from MINIMAL on nothing."""
    here = snapshot(mid, minutes=minutes, spread_cents=spread)
    decision: Decision | None = opinion(pct, snapshot(mid), half=half)
    assert decision is not None
    decision = again(decision, snapshot(mid, minutes=minutes)) if cached else decision
    assert decision is not None
    risks = []
    for mode in EmergencyMode:
        row = row_for(TABLE, mode, cached=cached)
        sized = size(decision, here, RICH, replace(row, size_multiple=row.size_multiple * share))
        risks.append(sized.count * sized.limit_price if isinstance(sized, Sized) else 0)
        if not isinstance(sized, Sized):
            continue
        assert mode.severity < EmergencyMode.MINIMAL.severity
    assert risks == sorted(risks, reverse=True)
