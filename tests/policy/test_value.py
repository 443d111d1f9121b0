"""Routes by value: health first, the small behind all others, no price no question, priority where equal."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_world import PLACES, spec_of

from jurymast.domain.decision import Weight
from jurymast.domain.money import USD
from jurymast.domain.provider import ProviderName, Route, Tier
from jurymast.domain.status import RouteState
from jurymast.policy.detector import RouteHealth
from jurymast.policy.ledger import Account, Cap, Ledger, Payer
from jurymast.policy.pacer import Pace
from jurymast.policy.quality import TIER_WEIGHTS
from jurymast.policy.routing import Candidate, RouteOrder, rank
from jurymast.policy.value import SHADOW_MAX, Standing, growth, order_of, placed, shadow_price, values

XAI, OPENAI, ANTHROPIC, LOCAL = ProviderName
BANKROLL = 2_000 * USD
PRIOR = TIER_WEIGHTS[Tier.STRONG]
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)

STANDINGS = st.lists(
    st.builds(
        Standing,
        spec=st.builds(
            lambda provider, model, tier, priority: spec_of(
                provider, f"m{model}", tier=tier, priority=priority
            ),
            st.sampled_from(ProviderName),
            st.integers(0, 2),
            st.sampled_from(Tier),
            st.integers(0, 3),
        ),
        weight=st.builds(
            Weight,
            st.floats(-0.2, 1.0),
            st.floats(0.0, 0.3),
            st.integers(0, 500),
            stopped=st.sampled_from(["", "harm"]),
        ),
        cost=st.none() | st.integers(0, 1_000_000),
        late_share=st.floats(0.0, 1.0),
    ),
    max_size=8,
    unique_by=lambda each: each.spec.route,
)


@given(standings=STANDINGS, shadow=st.floats(0.0, SHADOW_MAX), data=st.data())
def test_the_order_is_total_and_the_same_whoever_lists_the_routes(
    standings: list[Standing], shadow: float, data: st.DataObject
) -> None:
    """Each route has one place; small ones stand behind all others, and no price is no place."""
    found = placed(standings, BANKROLL, shadow)
    assert placed(data.draw(st.permutations(standings)), BANKROLL, shadow) == found
    assert sorted(each.route for each in found) == sorted(each.spec.route for each in standings)
    by_route = {each.spec.route: each for each in standings}
    assert {each.route for each in found if each.refused} == {
        r for r, s in by_route.items() if s.cost is None
    }
    asked = [by_route[each.route] for each in found if not each.refused]
    assert [each.spec.tier is Tier.SMALL for each in asked] == sorted(
        s.spec.tier is Tier.SMALL for s in asked
    )
    worth = values(standings, BANKROLL, shadow)
    totals = [worth[each.spec.route].total for each in asked if each.spec.tier is not Tier.SMALL]
    assert totals == sorted(totals, reverse=True)


@given(
    states=st.lists(st.sampled_from(RouteState), min_size=4, max_size=4),
    suspects=st.lists(st.booleans(), min_size=4, max_size=4),
    places=st.permutations([0, 1, 2, 3]),
    refused=st.none() | st.sampled_from(ProviderName),
)
def test_health_comes_before_any_value(
    states: list[RouteState], suspects: list[bool], places: list[int], refused: ProviderName | None
) -> None:
    """However much a sick route is worth, every one in better health is asked before it."""
    specs = [spec_of(name) for name in ProviderName]
    candidates = [
        Candidate(spec, RouteHealth(state, reason="said so"), edge_suspect=suspect)
        for spec, state, suspect in zip(specs, states, suspects, strict=True)
    ]
    out = {} if refused is None else {spec_of(refused).route: "its price is not known"}
    order = RouteOrder({s.route: p for s, p in zip(specs, places, strict=True)}, out)
    plan = rank(candidates, order=order)
    keys = [(PLACES[c.health.state] or c.edge_suspect, order.places[c.spec.route]) for c in plan.routes]
    assert keys == sorted(keys)
    assert all(c.spec.route not in out for c in plan.routes)
    assert len(plan.routes) + len(plan.skipped) == len(specs)


def standing(
    provider: ProviderName, weight: Weight = PRIOR, cost: int | None = 4_000, *, late: float = 0.0
) -> Standing:
    tier = Tier.SMALL if provider is LOCAL else Tier.STRONG
    return Standing(spec_of(provider, tier=tier), weight, cost, late)


def first(*standings: Standing, shadow: float = 0.0) -> ProviderName:
    return placed(standings, BANKROLL, shadow)[0].route.provider


def test_equal_values_leave_it_to_priority() -> None:
    """Nothing known, same price: the operator's order."""
    found = placed([standing(ANTHROPIC), standing(OPENAI), standing(XAI)], BANKROLL, 0.0)
    assert [each.route.provider for each in found] == [XAI, OPENAI, ANTHROPIC]


def test_what_is_known_beats_priority_and_price() -> None:
    """A model that has shown more, beyond doubt, is first although it is dearer."""
    shown = Weight(0.25, 0.03, 400)
    assert first(standing(XAI), standing(OPENAI, shown, 40_000)) is OPENAI


def test_of_equal_models_the_cheaper_is_first_and_the_late_one_last() -> None:
    """Price and the risk of a time-out are terms of their own."""
    assert first(standing(XAI, cost=20_000), standing(OPENAI)) is OPENAI
    assert first(standing(XAI, late=0.3), standing(OPENAI)) is OPENAI


def test_a_dear_model_gives_way_when_the_day_is_ahead_of_its_plan() -> None:
    """The shadow price of the budget turns the order."""
    good, dear = Weight(0.21, 0.10), standing(XAI)
    better = Standing(spec_of(OPENAI, tier=Tier.STRONG), good, 12_000)
    assert first(dear, better) is OPENAI
    assert first(dear, better, shadow=20.0) is XAI


def test_a_small_model_is_last_though_it_costs_nothing() -> None:
    """Even where all others are worth less than nothing: it can't open risk."""
    poor = Weight(0.0, 0.01, 500)
    found = placed([standing(LOCAL, cost=0), standing(XAI, poor, 900_000)], BANKROLL, 0.0)
    assert [each.route.provider for each in found] == [XAI, LOCAL]
    assert "small" in found[1].reason


def test_no_price_is_refused_and_says_so() -> None:
    """What is not priced can't be weighed, nor limited."""
    found = placed([standing(XAI, cost=None), standing(OPENAI)], BANKROLL, 0.0)
    assert (found[0].route.provider, found[1].refused) == (OPENAI, True)
    assert "price" in order_of(found).refused[Route(XAI, "m0")]


@given(weights=st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)))
def test_growth_rises_with_the_weight_and_is_never_negative(weights: tuple[float, float]) -> None:
    """More knowledge is worth more; none, or a stopped model's, is worth nothing."""
    low, high = (growth(Weight(each, 0.0), Tier.STRONG) for each in sorted(weights))
    assert 0.0 <= low <= high
    assert growth(Weight(max(weights), 0.0), Tier.SMALL) == 0.0
    assert growth(Weight(max(weights), 0.0, stopped="harm"), Tier.STRONG) == 0.0


def test_a_model_that_repeats_the_market_is_worth_less_the_longer_it_does() -> None:
    """A record that has taught nothing tells that there is nothing to learn from."""
    silent = [growth(Weight(0.2, 0.1, events), Tier.STRONG) for events in (0, 20, 200)]
    assert silent[0] > silent[1] > silent[2]


@pytest.mark.parametrize(("spent", "least", "most"), [(0, 0.0, 0.0), (5 * USD, 5.0, SHADOW_MAX)])
def test_money_has_a_shadow_price_only_ahead_of_the_plan(spent: int, least: float, most: float) -> None:
    """None while the day goes by its plan; at noon all of it spent is dear."""
    assert least <= shadow_price(Pace(), _day(5 * USD, spent), NOON) <= most


def test_without_any_money_it_is_as_dear_as_it_gets() -> None:
    """A budget of zero leaves the free ones."""
    assert shadow_price(Pace(), _day(0, 0), NOON) == SHADOW_MAX


def _day(limit: int, spent: int) -> Account:
    ledger = Ledger([Cap(limit)], NOON)
    if spent:
        hold = ledger.reserve(Payer("xai"), spent, NOON)
        ledger.settle(hold, spent, 0, NOON)  # type: ignore[arg-type]  # it fits
    return ledger.accounts(NOON)[0]
