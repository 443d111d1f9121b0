"""The books of the embedded exchange balance after everything that can happen to them."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from engine_world import LISTINGS, Chance, World, tried

from jurymast.domain.money import CENT, CONTRACT, USD
from jurymast.exchange.embedded.commands import Place
from jurymast.exchange.embedded.engine import Engine
from jurymast.exchange.embedded.floor import State
from jurymast.exchange.embedded.invariants import broken
from jurymast.exchange.embedded.records import SECOND_US

COMMANDS = 250


@pytest.mark.parametrize("seed", range(24))
def test_random_trading_never_loses_a_micro_dollar(seed: int) -> None:
    """Whatever members do, in whatever order: money is conserved, nobody is in debt, no book is crossed."""
    world = World(cash=[15, 60, 300, 3_000][seed % 4] * USD)
    chance, outcomes = Chance(seed, world), Counter[str]()
    for number in range(COMMANDS):
        outcomes[tried(world, chance.step() if number % 60 == 59 else chance.command())] += 1
        assert broken(world.engine) == []
        world.now_us += [0, 1_000, SECOND_US, 10 * SECOND_US][number % 4]
    world.later(10 * 3_600)
    assert broken(world.engine) == []
    assert not any(market.pairs for market in world.engine.state.markets.values())
    assert outcomes[""] > COMMANDS // 5


@pytest.mark.parametrize("seed", range(6))
def test_the_state_is_all_there_is(seed: int) -> None:
    """An engine made from the written-down state goes on exactly as the one that wrote it."""
    world = World(cash=300 * USD)
    chance = Chance(seed, world)
    for _ in range(COMMANDS // 2):
        tried(world, chance.command())
        world.now_us += SECOND_US // 2
    body = msgspec.msgpack.encode(world.engine.state)
    twin = Engine(LISTINGS.get, msgspec.msgpack.decode(body, type=State))
    assert broken(twin) == []
    for number in range(COMMANDS // 2):
        command = chance.step() if number % 30 == 29 else chance.command()
        first = tried(world, command)
        other = World.__new__(World)
        other.engine, other.now_us = twin, world.now_us
        assert tried(other, command) == first
        world.now_us += SECOND_US // 2
    assert msgspec.msgpack.encode(twin.state) == msgspec.msgpack.encode(world.engine.state)


def traded() -> World:
    world = World()
    world.sell(world.bob, 60, 10)
    world.buy(world.ann, 60, 5)
    world.buy(world.ann, 40, 5)
    assert broken(world.engine) == []
    return world


def steal(world: World) -> None:
    world.ann.cash[0] += 1


def conjure(world: World) -> None:
    world.ann.stakes["PLAIN"].count += CONTRACT


def forget_collateral(world: World) -> None:
    world.ann.held[0] -= CENT


def hide(world: World) -> None:
    world.engine.floor.open[world.ann.number].clear()


def cross(world: World) -> None:
    order = next(iter(world.engine.floor.open[world.ann.number].values()))
    book = world.engine.floor.market("PLAIN").book
    book.yes.levels[61 * CENT] = book.yes.levels.pop(order.price)
    book.yes.prices[:] = [61 * CENT]


def overdraw(world: World) -> None:
    world.engine.state.deposited -= 2_000 * USD
    world.ann.cash[0] -= 2_000 * USD


@pytest.mark.parametrize("wrong", [steal, conjure, forget_collateral, hide, cross, overdraw])
def test_the_checker_finds_what_is_wrong(wrong: object) -> None:
    """Every kind of damage to the books is noticed."""
    world = traded()
    wrong(world)
    assert broken(world.engine)


def test_thousands_of_orders_leave_the_books_balanced() -> None:
    """A long run of matching through one market keeps everything in step."""
    world = World(cash=10_000_000 * USD)
    for number in range(4_000):
        price = 45 + number * 7 % 11
        owner = (world.ann, world.bob, world.crowd)[number % 3].number
        world.do(Place(owner, "PLAIN", number % 2 == 0, price * CENT, (1 + number % 9) * CONTRACT))
    assert world.engine.state.next_trade > 1_000
    assert broken(world.engine) == []
