"""The detector and the ladder, visited whole."""

from __future__ import annotations

import pytest
from exploration import FLEET_AND_HANDS, JUDGED, ROUTE_ALONE, Joint, explore

from jurymast.policy import ladder
from jurymast.policy.detector import RouteHealth, isolate
from jurymast.policy.ladder import Ladder


@pytest.mark.parametrize(
    ("start", "moves", "states_min"),
    [
        (Joint(RouteHealth(), Ladder(), able=0, small=False), ROUTE_ALONE, 20_000),
        (Joint(RouteHealth(), Ladder()), FLEET_AND_HANDS, 10_000),
        (Joint(isolate(RouteHealth(), ""), Ladder(), able=2, small=False), JUDGED, 4_000),
    ],
    ids=["a_route_that_is_all_there_is", "a_fleet_that_comes_and_goes", "every_judge_and_a_lift"],
)
def test_no_state_breaks_a_rule_or_has_no_way_back(
    start: Joint, moves: frozenset[str], states_min: int
) -> None:
    """In every state that can be reached the rules of health and of modes hold, and NORMAL can be reached."""
    found = explore(start, moves)
    assert found.breaches == []
    assert found.states >= states_min
    assert found.transitions == found.states * len(moves)


def test_a_broken_rule_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ladder that rises by the clock alone does not get through."""
    monkeypatch.setattr(ladder, "_waits", lambda *_: [])
    found = explore(Joint(RouteHealth(), Ladder(), able=0, small=False), ROUTE_ALONE)
    assert any(breach.startswith("no rise without answers") for breach in found.breaches)
