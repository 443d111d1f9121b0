"""One seed from start to end: its world, its windows, its figures."""

from __future__ import annotations

import gc
import math
import time
from random import Random
from typing import Final

from jurymast.domain.money import USD, Micros
from jurymast.lab.sim import interference
from jurymast.lab.sim.climate import YEAR_SECS, made_up
from jurymast.lab.sim.faults import Schedule
from jurymast.lab.sim.invariants import Rules
from jurymast.lab.sim.places import Layout, places
from jurymast.lab.sim.rivals import drive
from jurymast.lab.sim.scenario import Scenario
from jurymast.lab.sim.shell import Shell
from jurymast.lab.sim.tally import Tally, availability
from jurymast.lab.sim.trace import replayed
from jurymast.lab.sim.windows import QUIET_PER_YEAR, Window, windows
from jurymast.lab.sim.world import World

SETTLE_SECS_MAX: Final = 4 * 3_600.0
"""A window is drawn out so much until every route is well again: a latch is probed every hour."""
BUDGETS: Final[tuple[Micros, ...]] = (100 * USD, 100 * USD, 100 * USD, 5 * USD)
"""One seed in four has a tight day."""


def run(scenario: Scenario) -> Tally:
    """Simulate one seed."""
    started = time.process_time()
    collecting = gc.isenabled()
    gc.disable()  # nothing here refers in circles; the collector would take a tenth of the time
    try:
        tally = _run(scenario)
    finally:
        if collecting:
            gc.enable()
    tally.cpu_secs = time.process_time() - started
    return tally


def _run(scenario: Scenario) -> Tally:
    _, schedule, world = build(scenario)
    random = Random(f"windows {scenario.seed}")
    years = schedule.secs / YEAR_SECS
    found = windows(world.incidents, schedule.secs, round(QUIET_PER_YEAR * years), random)
    tally = Tally(years=years, seeds=1)
    if scenario.policy == "jurymast":
        _jurymast(scenario, world, found, tally)
    else:
        drive(scenario, world, found, tally)
    tally.per_seed.append(availability(tally))
    return tally


def build(scenario: Scenario) -> tuple[Layout, Schedule, World]:
    """The world of a scenario. Without a trace a seed has its own layout (swarm testing)."""
    random = Random(f"layout {scenario.seed}")
    if scenario.trace is not None:
        layout = Layout(scenario.clouds)
        schedule = replayed(scenario.trace, scenario.seed, scenario.clouds, edge_hours=scenario.edge_hours)
    else:
        models, keys = random.choices(((1, 1), (2, 1), (1, 2)), (8, 1, 1))[0]
        layout = Layout(scenario.clouds, models, keys, local_slots=random.choice((1, 2)))
        schedule = made_up(
            scenario.seed,
            scenario.years,
            scenario.clouds,
            models=layout.models,
            edge_hours=scenario.edge_hours,
        )
    world = World(
        places(layout),
        schedule,
        Random(f"requests {scenario.seed}"),
        sticky=scenario.sticky,
        base_rate=0.0 if scenario.trace is not None else 0.001,
    )
    return layout, schedule, world


def _jurymast(scenario: Scenario, world: World, found: tuple[Window, ...], tally: Tally) -> None:
    rules = Rules(scenario.seed, scenario.command, scenario.settings.work.sends_max, scenario.per_minute)
    budget = 1_000 * USD
    hands: Random | None = None
    if scenario.trace is None:
        hands = Random(f"hands {scenario.seed}")
        budget = hands.choice(BUDGETS) * max(1, round(scenario.per_minute))
    shell = Shell(
        world,
        Random(f"dice {scenario.seed}"),
        rules,
        tally,
        settings=scenario.settings,
        budget_per_day=budget,
        every_second=scenario.every_second,
    )
    arrivals = Random(f"arrivals {scenario.seed}")
    spacing_secs = 60.0 / scenario.per_minute
    for place, window in enumerate(found, start=1):
        next_start = found[place].start if place < len(found) else math.inf
        simulate(shell, window, next_start, arrivals, spacing_secs, hands)
    tally.violations.extend(rules.violations)
    tally.trace_hash = shell.trace_hash


def simulate(
    shell: Shell,
    window: Window,
    next_start: float,
    arrivals: Random,
    spacing_secs: float,
    hands: Random | None,
) -> None:
    """Let questions come through a window and on until all is well, then let everything end."""
    at = shell.now + shell.world.offset
    if window.start > at:
        shell.world.offset += window.start - at
        shell.till.look_again()
    if hands is not None and not window.quiet:
        interference.arrange(shell, window, hands)
    closing = window.end - shell.world.offset
    last = min(closing + SETTLE_SECS_MAX, next_start - shell.world.offset)
    coming = [True]

    def arrive(now: float) -> None:
        if now >= closing:
            shell.counts_for(shell.tally.settling)
            if window.quiet or shell.settled or now >= last:
                coming[0] = False
                return
        shell.at(now + spacing_secs * (0.5 + arrivals.random()), arrive)
        shell.decide(now)

    shell.counts_for(shell.tally.quiet if window.quiet else shell.tally.windows)
    shell.at(shell.now, arrive)
    while coming[0] or not shell.idle:
        shell.step()
    shell.rules.idle(shell.core, shell.now)
    shell.counts_for(shell.tally.settling)
