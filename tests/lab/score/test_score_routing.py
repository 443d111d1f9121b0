"""Routers held against each other: the same luck for all, the same figures for the same seed. SIMULATED."""

from __future__ import annotations

from typing import Any

import pytest

from jurymast.domain.provider import ProviderName
from jurymast.exchange.questions import load_bundle
from jurymast.lab.score.routing import WORLDS, figures, play, table
from jurymast.policy.value import RankBy

FEW = load_bundle()[::6]


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    return figures(FEW, seed=1, seeds=1)


def test_the_same_seed_gives_the_same_figures(facts: dict[str, Any]) -> None:
    """To the last digit, draws of curiosity included."""
    assert figures(FEW, seed=1, seeds=1) == facts


def test_priority_is_ahead_of_itself_by_nothing(facts: dict[str, Any]) -> None:
    """What is compared is paired; the others keep their own place in every world."""
    assert facts["simulated"] is True
    for world in WORLDS:
        its = facts["worlds"][world.name]
        assert its["priority"]["ahead"]["log_loss"]["mean"] == 0.0
        assert its["priority"]["first"] == {str(world.chain[0]): 1.0}
    assert "SIMULATED" in table(facts)


def test_value_puts_the_strong_model_first_in_a_list_that_is_the_wrong_way_round() -> None:
    """By its tier alone at first; the small and the free one are never first in any world."""
    played = play(WORLDS[1], FEW, 1)
    outcome, _ = played[RankBy.VALUE]
    assert max(outcome.firsts, key=outcome.firsts.__getitem__).provider is ProviderName.XAI
    for world in WORLDS:
        for each, _ in play(world, FEW, 2).values():
            assert ProviderName.LOCAL not in {route.provider for route in each.firsts}


def test_every_router_has_as_many_shadow_questions() -> None:
    """Learning is not bought with more of them: what was put on record differs by outages at most."""
    heard = [len(router.records.pending) for _, router in play(WORLDS[0], FEW, 3).values()]
    assert max(heard) - min(heard) <= 2
