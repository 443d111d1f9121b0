"""Which parts of the years are simulated: every incident with a margin, and a sample of the quiet time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Final

from jurymast.lab.sim.faults import Incident

BEFORE_SECS: Final = 600.0
AFTER_SECS: Final = 900.0
"""Simulated beyond an incident's end at least; then on until all routes are well again."""
QUIET_SECS: Final = 7_200.0
QUIET_PER_YEAR: Final = 18
"""Windows sampled from quiet time: some 0.4 % of it, a tenth of what is simulated."""


@dataclass(frozen=True, slots=True)
class Window:
    """A part of world time, in seconds."""

    start: float
    end: float
    quiet: bool = False


def windows(incidents: Iterable[Incident], secs: float, quiet: int, random: Random) -> tuple[Window, ...]:
    """The windows of a schedule in order, with up to ``quiet`` samples of the time between."""
    merged: list[Window] = []
    for incident in sorted(incidents, key=lambda i: i.start):
        start, end = max(0.0, incident.start - BEFORE_SECS), min(incident.end, secs) + AFTER_SECS
        if merged and start <= merged[-1].end:
            merged[-1] = Window(merged[-1].start, max(merged[-1].end, end))
        else:
            merged.append(Window(start, end))
    bounds = [0.0, *(at for window in merged for at in (window.start, window.end)), secs]
    gaps = [(a, b) for a, b in zip(bounds[::2], bounds[1::2], strict=True) if b - a > 2 * QUIET_SECS]
    if gaps:
        chosen = sorted(random.sample(range(len(gaps)), min(quiet, len(gaps))))
        for start, end in (gaps[i] for i in chosen):
            at = random.uniform(start + QUIET_SECS / 2, end - QUIET_SECS)
            merged.append(Window(at, at + QUIET_SECS, quiet=True))
    return tuple(sorted(merged, key=lambda window: window.start))
