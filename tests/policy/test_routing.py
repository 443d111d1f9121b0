"""Routing: who is asked, in which order, and why others are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_world import PLACES, candidate_of

from jurymast.domain.provider import ProviderName
from jurymast.domain.status import ProviderStatus, RouteState
from jurymast.policy.detector import RouteHealth, isolate
from jurymast.policy.routing import Candidate, Skipped, provider_status, rank

XAI, OPENAI = ProviderName.XAI, ProviderName.OPENAI
ANTHROPIC, LOCAL = ProviderName.ANTHROPIC, ProviderName.LOCAL
ASKABLE = frozenset({RouteState.HEALTHY, RouteState.SUSPECT, RouteState.HALF_OPEN, RouteState.OPEN})

CANDIDATES = st.lists(
    st.builds(
        candidate_of,
        provider=st.sampled_from(ProviderName),
        state=st.sampled_from(RouteState),
        model=st.sampled_from(["m0", "m1", "m2"]),
        priority=st.integers(0, 2),
        instance=st.sampled_from(["", "east"]),
        held_secs=st.sampled_from([0.0, 0.0, 7.0]),
        edge_suspect=st.booleans(),
    ),
    max_size=12,
    unique_by=lambda c: c.spec.route,
)


def order(*candidates: Candidate, preferred: ProviderName | None = None) -> list[str]:
    return [str(c.spec.route) for c in rank(candidates, preferred=preferred).routes]


def skipped(*candidates: Candidate) -> dict[str, str]:
    return {str(s.route): s.reason for s in rank(candidates).skipped}


def test_health_goes_before_priority_and_priority_before_model() -> None:
    """Usable routes by priority and model, then half-open ones, then an open one."""
    assert order(
        candidate_of(XAI, RouteState.OPEN),
        candidate_of(LOCAL),
        candidate_of(OPENAI, RouteState.HALF_OPEN),
        candidate_of(ANTHROPIC, model="m1"),
        candidate_of(ANTHROPIC),
    ) == ["anthropic/m0", "anthropic/m1", "local/m0", "openai/m0", "xai/m0"]


def test_instances_of_one_model_come_one_after_the_other() -> None:
    """A provider with two keys offers its first model by both before its second by either."""
    assert order(
        candidate_of(XAI, model="m1", instance="east"),
        candidate_of(XAI, instance="west"),
        candidate_of(XAI, model="m1", instance="west"),
        candidate_of(XAI, instance="east"),
    ) == ["xai/m0@east", "xai/m0@west", "xai/m1@east", "xai/m1@west"]


def test_a_suspect_route_keeps_its_place() -> None:
    """One failure does not reorder: without traffic the route could never clear itself."""
    routes = order(candidate_of(OPENAI), candidate_of(XAI, RouteState.SUSPECT))
    assert routes == ["xai/m0", "openai/m0"]


def test_a_suspect_edge_puts_its_routes_behind_the_others() -> None:
    """When the way to several providers is in doubt, whoever is reached by another way is asked first."""
    assert order(
        candidate_of(XAI, edge_suspect=True),
        candidate_of(OPENAI, RouteState.HALF_OPEN, edge_suspect=True),
        candidate_of(LOCAL),
    ) == ["local/m0", "xai/m0", "openai/m0"]


def test_a_preferred_provider_leads_its_equals_only() -> None:
    """A failover by hand moves a provider ahead of equals in health, not ahead of healthier ones."""
    well = (candidate_of(XAI), candidate_of(OPENAI), candidate_of(ANTHROPIC))
    assert order(*well, preferred=ANTHROPIC)[0] == "anthropic/m0"
    sick = (candidate_of(XAI), candidate_of(ANTHROPIC, RouteState.OPEN))
    assert order(*sick, preferred=ANTHROPIC) == ["xai/m0", "anthropic/m0"]


def test_the_last_open_route_is_still_asked() -> None:
    """When everything is sick the best of it is asked once: nobody is banned from answering."""
    sick = (candidate_of(OPENAI, RouteState.OPEN), candidate_of(XAI, RouteState.OPEN))
    assert order(*sick) == ["xai/m0"]
    assert skipped(*sick) == {"openai/m0": "open: said so"}


def test_a_rate_limited_route_is_left_out_while_another_can_answer() -> None:
    """It asked for time: it gets it, with the seconds on record, as long as somebody else is well."""
    limited = candidate_of(XAI, held_secs=12.4)
    assert order(limited, candidate_of(OPENAI)) == ["openai/m0"]
    assert skipped(limited, candidate_of(OPENAI)) == {"xai/m0": "rate limited for 12 s more"}


def test_rate_limited_routes_are_asked_when_nobody_else_is_left() -> None:
    """Limited everywhere: the first by priority is asked rather than nobody."""
    limited = (candidate_of(OPENAI, held_secs=3.0), candidate_of(XAI, held_secs=9.0))
    assert order(*limited) == ["xai/m0", "openai/m0"]
    assert skipped(*limited) == {}


@pytest.mark.parametrize("state", [RouteState.OPEN, RouteState.HALF_OPEN])
def test_a_sick_route_does_not_keep_a_rate_limited_one_out(state: RouteState) -> None:
    """Only a route that is believed to answer lets another be left alone."""
    limited, sick = candidate_of(XAI, held_secs=2.0), candidate_of(OPENAI, state)
    assert sorted(order(limited, sick)) == ["openai/m0", "xai/m0"]


@pytest.mark.parametrize("state", [RouteState.LATCHED, RouteState.ISOLATED])
def test_routes_that_asking_can_not_mend_are_left_out_with_their_reason(state: RouteState) -> None:
    """A refused key and a route taken out by hand are named, even when they are the last."""
    plan = rank([candidate_of(XAI, state, reason="key refused")])
    assert plan.routes == ()
    assert plan.skipped == (Skipped(candidate_of(XAI).spec.route, f"{state}: key refused"),)


@given(candidates=CANDIDATES, preferred=st.sampled_from([None, *ProviderName]))
def test_every_candidate_is_planned_or_skipped(
    candidates: list[Candidate], preferred: ProviderName | None
) -> None:
    """No route is lost or asked twice, none latched or isolated is asked, at most one open."""
    plan = rank(candidates, preferred=preferred)
    planned, left_out = [c.spec.route for c in plan.routes], [s.route for s in plan.skipped]
    assert sorted(planned + left_out) == sorted(c.spec.route for c in candidates)
    assert all(s.reason for s in plan.skipped)
    states = [c.health.state for c in plan.routes]
    assert set(states) <= ASKABLE
    assert states.count(RouteState.OPEN) <= 1
    well = [c for c in candidates if c.health.usable]
    if any(not c.held_secs for c in well):
        assert not any(c.held_secs for c in plan.routes), "somebody else can answer"
    assert {c.spec.route for c in well if not c.held_secs} <= set(planned)
    assert bool(plan.routes) == any(c.health.state in ASKABLE for c in candidates), "nobody is banned"


@given(candidates=CANDIDATES, preferred=st.sampled_from([None, *ProviderName]))
def test_the_order_is_health_then_preference_then_priority(
    candidates: list[Candidate], preferred: ProviderName | None
) -> None:
    """Whatever the mixture, nobody stands before one who is better in what counts first."""
    free = [c for c in rank(candidates, preferred=preferred).routes if not c.held_secs]
    keys = [
        (PLACES[c.health.state] or c.edge_suspect, c.spec.route.provider is not preferred, c.spec.priority)
        for c in free
    ]
    assert keys == sorted(keys)


@given(candidates=CANDIDATES, data=st.data())
def test_the_plan_does_not_depend_on_the_order_of_the_candidates(
    candidates: list[Candidate], data: st.DataObject
) -> None:
    """The same facts make the same plan, whoever lists them."""
    shuffled = data.draw(st.permutations(candidates))
    assert rank(shuffled).routes == rank(candidates).routes


@pytest.mark.parametrize(
    ("states", "status"),
    [
        ([RouteState.HEALTHY], ProviderStatus.HEALTHY),
        ([RouteState.HEALTHY, RouteState.HEALTHY], ProviderStatus.HEALTHY),
        ([RouteState.HEALTHY, RouteState.OPEN], ProviderStatus.DEGRADED),
        ([RouteState.SUSPECT], ProviderStatus.DEGRADED),
        ([RouteState.OPEN, RouteState.HALF_OPEN], ProviderStatus.UNHEALTHY),
        ([RouteState.LATCHED], ProviderStatus.UNHEALTHY),
        ([RouteState.ISOLATED], ProviderStatus.UNHEALTHY),
    ],
)
def test_a_provider_is_what_its_routes_are(states: list[RouteState], status: ProviderStatus) -> None:
    """All healthy is healthy, some usable is degraded, none usable is unhealthy."""
    assert provider_status((RouteHealth(state) for state in states), seen=True) is status


def test_a_provider_that_was_never_asked_is_unknown_unless_taken_out() -> None:
    """Nothing is claimed about a provider before its first reply, but isolation by hand is a fact."""
    assert provider_status([RouteHealth(), RouteHealth()], seen=False) is ProviderStatus.UNKNOWN
    assert provider_status([isolate(RouteHealth(), "by hand")], seen=False) is ProviderStatus.UNHEALTHY
