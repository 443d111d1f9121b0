"""Routing: who is asked, in which order, and why others are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurymast.domain.provider import ProviderName, Route, Tier
from jurymast.domain.status import ProviderStatus, RouteState
from jurymast.policy.detector import RouteHealth, isolate
from jurymast.policy.routing import Candidate, provider_status, rank

XAI, OPENAI = ProviderName.XAI, ProviderName.OPENAI
ANTHROPIC, LOCAL = ProviderName.ANTHROPIC, ProviderName.LOCAL
ASKABLE = frozenset({RouteState.HEALTHY, RouteState.SUSPECT, RouteState.HALF_OPEN, RouteState.OPEN})


def candidate(
    provider: ProviderName,
    state: RouteState = RouteState.HEALTHY,
    *,
    model: str = "m0",
    priority: int | None = None,
    reason: str = "said so",
) -> Candidate:
    return Candidate(
        Route(provider, model),
        priority=list(ProviderName).index(provider) if priority is None else priority,
        model_rank=int(model[1:]),
        tier=Tier.STRONG,
        health=RouteHealth(state, last_seen_at=0.0, reason=reason),
    )


CANDIDATES = st.lists(
    st.builds(
        candidate,
        provider=st.sampled_from(ProviderName),
        state=st.sampled_from(RouteState),
        model=st.sampled_from(["m0", "m1", "m2"]),
        priority=st.integers(0, 2),
    ),
    max_size=12,
    unique_by=lambda c: c.route,
)


def order(*candidates: Candidate, preferred: ProviderName | None = None) -> list[str]:
    return [str(c.route) for c in rank(candidates, preferred=preferred).routes]


def test_health_goes_before_priority_and_priority_before_model() -> None:
    """Usable routes by priority and model, then half-open ones, then an open one."""
    assert order(
        candidate(XAI, RouteState.OPEN),
        candidate(LOCAL),
        candidate(OPENAI, RouteState.HALF_OPEN),
        candidate(ANTHROPIC, model="m1"),
        candidate(ANTHROPIC),
    ) == ["anthropic/m0", "anthropic/m1", "local/m0", "openai/m0", "xai/m0"]


def test_a_suspect_route_keeps_its_place() -> None:
    """One failure does not reorder: without traffic the route could never clear itself."""
    assert order(candidate(OPENAI), candidate(XAI, RouteState.SUSPECT)) == ["xai/m0", "openai/m0"]


def test_a_preferred_provider_leads_its_equals_only() -> None:
    """A failover by hand moves a provider ahead of equals in health, not ahead of healthier ones."""
    well = (candidate(XAI), candidate(OPENAI), candidate(ANTHROPIC))
    assert order(*well, preferred=ANTHROPIC)[0] == "anthropic/m0"
    sick = (candidate(XAI), candidate(ANTHROPIC, RouteState.OPEN))
    assert order(*sick, preferred=ANTHROPIC) == ["xai/m0", "anthropic/m0"]


def test_the_last_open_route_is_still_asked() -> None:
    """When everything is sick the best of it is asked once: nobody is banned from answering."""
    plan = rank([candidate(OPENAI, RouteState.OPEN), candidate(XAI, RouteState.OPEN)])
    assert [str(c.route) for c in plan.routes] == ["xai/m0"]
    assert [(str(s.route), s.reason) for s in plan.skipped] == [("openai/m0", "open: said so")]


@pytest.mark.parametrize("state", [RouteState.LATCHED, RouteState.ISOLATED])
def test_routes_that_asking_can_not_mend_are_left_out_with_their_reason(state: RouteState) -> None:
    """A refused key and a route taken out by hand are named, even when they are the last."""
    plan = rank([candidate(XAI, state, reason="key refused")])
    assert plan.routes == ()
    assert [s.reason for s in plan.skipped] == [f"{state}: key refused"]


@given(candidates=CANDIDATES, preferred=st.sampled_from([None, *ProviderName]))
def test_every_candidate_is_planned_or_skipped(
    candidates: list[Candidate], preferred: ProviderName | None
) -> None:
    """No route is lost or asked twice, none latched or isolated is asked, at most one open."""
    plan = rank(candidates, preferred=preferred)
    planned, skipped = [c.route for c in plan.routes], [s.route for s in plan.skipped]
    assert sorted(planned + skipped) == sorted(c.route for c in candidates)
    assert all(s.reason for s in plan.skipped)
    states = [c.health.state for c in plan.routes]
    assert set(states) <= ASKABLE
    assert states.count(RouteState.OPEN) == any(c.health.state is RouteState.OPEN for c in candidates)
    assert RouteState.OPEN not in states[:-1]
    for left, right in zip(plan.routes, plan.routes[1:], strict=False):
        usable = left.health.usable, right.health.usable
        assert usable != (False, True)
        favoured = left.route.provider is preferred, right.route.provider is preferred
        if usable == (True, True) and favoured[0] == favoured[1]:
            assert (left.priority, left.model_rank) <= (right.priority, right.model_rank)


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
    assert provider_status(RouteHealth(state, last_seen_at=0.0) for state in states) is status


def test_a_provider_that_was_never_asked_is_unknown_unless_taken_out() -> None:
    """Nothing is claimed about a provider before its first reply, but isolation by hand is a fact."""
    assert provider_status([RouteHealth(), RouteHealth()]) is ProviderStatus.UNKNOWN
    assert provider_status([isolate(RouteHealth(), "by hand")]) is ProviderStatus.UNHEALTHY
