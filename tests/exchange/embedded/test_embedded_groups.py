"""Order groups of the embedded exchange: a breaker on the rate of fills."""

from __future__ import annotations

import pytest
from engine_world import World, tried

from jurymast.domain.errors import OrderRejected
from jurymast.domain.money import CONTRACT
from jurymast.exchange.embedded.commands import ChangeGroup, CreateGroup
from jurymast.exchange.embedded.groups import Group
from jurymast.exchange.embedded.records import GroupChanged, Status


def grouped(world: World, contracts: int) -> str:
    group = world.do(CreateGroup(world.ann.number, contracts * CONTRACT))
    assert isinstance(group, Group)
    return group.name


def test_reaching_the_limit_cancels_the_group_and_refuses_more_until_reset() -> None:
    """The match that reaches the limit stands; then every order of the group goes and none is taken."""
    world = World()
    name = grouped(world, 10)
    rest = world.buy(world.ann, 20, 5, group=name).order
    other = world.buy(world.ann, 19, 5).order
    world.sell(world.bob, 50, 20)
    assert world.buy(world.ann, 50, 12, group=name).filled == 12 * CONTRACT
    assert (rest.status, other.status) == (Status.CANCELED, Status.RESTING)
    with pytest.raises(OrderRejected, match="order_group_triggered"):
        world.buy(world.ann, 50, 1, group=name)
    world.do(ChangeGroup(world.ann.number, name, "reset"))
    assert world.buy(world.ann, 50, 1, group=name).filled == CONTRACT


def test_the_window_rolls() -> None:
    """Matches count for fifteen seconds and no longer."""
    world = World()
    name = grouped(world, 10)
    world.sell(world.bob, 50, 50)
    world.buy(world.ann, 50, 9, group=name)
    world.later(15)
    world.buy(world.ann, 50, 9, group=name)
    assert not world.engine.state.groups[name].triggered
    world.later(14.9)
    world.buy(world.ann, 50, 1, group=name)
    assert world.engine.state.groups[name].triggered


def test_fills_of_resting_orders_count_too_and_the_taker_gets_all_it_met() -> None:
    """A maker's group is triggered only after the order that filled it is done; the book is not crossed."""
    world = World()
    name = grouped(world, 5)
    world.sell(world.ann, 50, 5, group=name)
    second = world.sell(world.ann, 51, 5, group=name).order
    third = world.sell(world.ann, 52, 5, group=name).order
    assert world.buy(world.bob, 51, 8).filled == 8 * CONTRACT
    assert (second.filled, second.status, third.status) == (3 * CONTRACT, Status.CANCELED, Status.CANCELED)


def test_a_limit_below_what_was_matched_triggers_at_once() -> None:
    """Lowering the limit is a brake: below the current count it cancels everything."""
    world = World()
    name = grouped(world, 100)
    world.sell(world.bob, 50, 20)
    rest = world.buy(world.ann, 50, 25, group=name).order
    world.engine.take_events()
    world.do(ChangeGroup(world.ann.number, name, "limit", 10 * CONTRACT))
    told = [event.what for event in world.engine.take_events() if isinstance(event, GroupChanged)]
    assert told == ["limit_updated", "triggered"]
    assert rest.status is Status.CANCELED


def test_groups_belong_to_their_account() -> None:
    """Nobody triggers, resets or deletes another member's group; a deleted one takes its orders along."""
    world = World()
    name = grouped(world, 10)
    rest = world.buy(world.ann, 20, 5, group=name).order
    assert tried(world, ChangeGroup(world.bob.number, name, "trigger")) == "not_found"
    assert tried(world, ChangeGroup(world.ann.number, name, "bake")) == "invalid_parameters"
    assert tried(world, CreateGroup(world.ann.number, CONTRACT - 1)) == "invalid_parameters"
    world.do(ChangeGroup(world.ann.number, name, "delete"))
    assert rest.status is Status.CANCELED
    assert tried(world, ChangeGroup(world.ann.number, name, "reset")) == "not_found"
