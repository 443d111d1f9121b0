"""The detector and the ladder, visited whole."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from exploration import FLEET_AND_HANDS, JUDGED, MEMORY, ROUTE_ALONE, ROUTE_AMONG_OTHERS, Joint, explore

from jurymast.policy import illness, ladder
from jurymast.policy.detector import RouteHealth, isolate
from jurymast.policy.ladder import Ladder


@pytest.fixture
def short_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Records of an illness hold a few requests: the same machine, small enough to visit whole."""
    monkeypatch.setattr(illness, "COUNTED_MAX", MEMORY)
    illness.surprising.cache_clear()
    yield
    illness.surprising.cache_clear()


@pytest.fixture
def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """No failure is kept on record: two probes always close."""
    monkeypatch.setattr(illness.Illness, "failed", lambda _: illness.NEVER_ILL)


def test_a_route_that_is_all_there_is(no_memory: None) -> None:
    """Whatever befalls the only route, the rules of health and of modes hold, and NORMAL can be reached."""
    found = explore(Joint(RouteHealth(), Ladder(), able=0, small=False), ROUTE_ALONE)
    assert found.breaches == []
    assert found.states >= 20_000
    assert found.transitions == found.states * len(ROUTE_ALONE)


def test_a_route_among_others_with_a_memory(short_memory: None) -> None:
    """However sick a route has been, the rules hold, its record stays bounded, and answers bring it back."""
    found = explore(Joint(RouteHealth(), Ladder(), able=2), ROUTE_AMONG_OTHERS)
    assert found.breaches == []
    assert found.states >= 20_000
    assert found.transitions == found.states * len(ROUTE_AMONG_OTHERS)


def test_a_fleet_that_comes_and_goes() -> None:
    """Whoever is there and whatever hands demand, the rules hold, and NORMAL can be reached."""
    found = explore(Joint(RouteHealth(), Ladder()), FLEET_AND_HANDS)
    assert found.breaches == []
    assert found.states >= 10_000
    assert found.transitions == found.states * len(FLEET_AND_HANDS)


def test_every_judge_and_a_lift() -> None:
    """Wherever opinions, books, money and people send the mode, the rules hold, and NORMAL can be reached."""
    found = explore(Joint(isolate(RouteHealth(), ""), Ladder(), able=2, small=False), JUDGED)
    assert found.breaches == []
    assert found.states >= 4_000
    assert found.transitions == found.states * len(JUDGED)


def test_a_broken_rule_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ladder that rises by the clock alone does not get through."""
    monkeypatch.setattr(ladder, "_waits", lambda *_: [])
    found = explore(Joint(RouteHealth(), Ladder(), able=0, small=False), ROUTE_ALONE)
    assert any(breach.startswith("no rise without answers") for breach in found.breaches)
