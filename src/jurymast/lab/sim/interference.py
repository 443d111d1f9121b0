"""What people and machines do to a bot while providers fail: rarely, at random, all of it allowed."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Final, TypeAlias

from jurymast.domain.provider import ProviderName
from jurymast.domain.status import EmergencyMode
from jurymast.lab.sim.shell import Shell
from jurymast.lab.sim.windows import Window

Act: TypeAlias = Callable[[Shell, Random, float], None]

PER_HOUR: Final = 0.1
HOLD_SECS: Final = (600.0, 5_400.0)
"""For how long a person holds something by hand."""
JUMP_SECS: Final = 3_600.0
MENDING_SECS: Final = 600.0
MENDED_SHARE: Final = 0.5
"""Share of accounts that are put back by hand once they are mended; the rest is found by the slow probe."""
ACCOUNT_HARMS: Final = frozenset({"quota", "auth", "gone"})


def arrange(shell: Shell, window: Window, random: Random) -> None:
    """Interfere with a window now and then."""
    length = window.end - window.start
    for _ in range(_poisson(random, PER_HOUR * length / 3_600.0)):
        at = shell.now + random.random() * length
        act = random.choice(_ACTS)
        seed = random.random()
        shell.at(at, partial(_act, act, shell, seed))
    for incident in shell.world.incidents:
        mended = window.start <= incident.end < window.end and ACCOUNT_HARMS & set(incident.harms)
        if mended and random.random() < MENDED_SHARE:
            name = incident.hits[0][0]
            at = incident.end - shell.world.offset + random.random() * MENDING_SECS
            shell.at(max(at, shell.now), partial(_put_back, shell, name))


def _act(act: Act, shell: Shell, seed: float, now: float) -> None:
    act(shell, Random(seed), now)


def _isolate(shell: Shell, random: Random, now: float) -> None:
    name = random.choice(shell.world.places).route.provider
    shell.core.health.isolate(name, "SIMULATED by hand")
    shell.core.step(now)
    shell.interfered(now)
    shell.at(now + random.uniform(*HOLD_SECS), partial(_put_back, shell, name))


def _put_back(shell: Shell, name: ProviderName, now: float) -> None:
    shell.core.health.restore(name, now)
    shell.interfered(now)


def _force(shell: Shell, random: Random, now: float) -> None:
    mode = random.choice(list(EmergencyMode)[1:-1])
    until = now + random.uniform(*HOLD_SECS)
    if random.random() < 0.5:
        shell.core.force_mode(mode, "SIMULATED by hand", now, until)
    else:
        shell.core.force_mode(mode, "SIMULATED by hand", now)
        shell.at(until, lambda at: _release(shell, at))
    shell.interfered(now)


def _release(shell: Shell, now: float) -> None:
    shell.core.release_mode(now)
    shell.interfered(now)


def _prefer(shell: Shell, random: Random, now: float) -> None:
    source, target = random.choice(shell.world.places), random.choice(shell.world.places)
    shell.core.fail_over(source.route.provider, target.route.provider, "SIMULATED by hand")
    shell.interfered(now)
    shell.at(now + random.uniform(*HOLD_SECS), lambda at: _prefer_none(shell, at))


def _prefer_none(shell: Shell, now: float) -> None:
    shell.core.health.prefer(None)
    shell.interfered(now)


def _restart(shell: Shell, _: Random, now: float) -> None:
    shell.restart(now)


def _jump(shell: Shell, random: Random, _now: float) -> None:
    """Wall time jumps by up to an hour either way; monotonic time does not."""
    shell.till.wall_jump_secs = random.uniform(-JUMP_SECS, JUMP_SECS)
    shell.till.look_again()


_ACTS: Final = (_isolate, _force, _prefer, _restart, _restart, _jump, _jump)


def _poisson(random: Random, mean: float) -> int:
    count, at = 0, random.expovariate(1.0) if mean else math.inf
    while at < mean:
        count += 1
        at += random.expovariate(1.0)
    return count
