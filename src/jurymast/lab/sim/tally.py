"""Figures of simulated years: counted while they run, added up over seeds, composed over skipped time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Final

from jurymast.domain.money import Micros

_PER_E_FOLD: Final = 50
"""Buckets of a histogram are 2 % wide."""
_FLOOR_SECS: Final = 0.01
Z95: Final = 1.96
NONE_SEEN: Final = 3.0
"""With nothing seen in n trials the rate is below 3/n at 95 % confidence."""


@dataclass(slots=True)
class Times:
    """Durations in logarithmic buckets: quantiles to 2 %."""

    counts: Counter[int] = field(default_factory=Counter)

    def add(self, secs: float) -> None:
        self.counts[int(math.log(max(secs, _FLOOR_SECS) / _FLOOR_SECS) * _PER_E_FOLD)] += 1

    def merge(self, other: Times) -> None:
        self.counts.update(other.counts)

    @property
    def number(self) -> int:
        return sum(self.counts.values())

    def share_below(self, secs: float) -> float:
        bound = int(math.log(max(secs, _FLOOR_SECS) / _FLOOR_SECS) * _PER_E_FOLD)
        number = self.number
        return (
            sum(count for place, count in self.counts.items() if place <= bound) / number if number else 1.0
        )

    def quantile(self, share: float) -> float | None:
        """Seconds, or None when nothing was counted."""
        target, seen = share * self.number, 0
        for place in sorted(self.counts):
            seen += self.counts[place]
            if seen >= target:
                return round(_FLOOR_SECS * math.exp((place + 0.5) / _PER_E_FOLD), 3)
        return None


@dataclass(slots=True)
class Part:
    """One part of the time: in and around incidents, or quiet. Money in micro-dollars."""

    secs: float = 0.0
    decisions: int = 0
    answered: Counter[str] = field(default_factory=Counter)
    """By rung."""
    abstained: Counter[str] = field(default_factory=Counter)
    """By reason."""
    by_hand: int = 0
    """Questions that a person's own demand for a safe mode kept from being asked; no decisions."""
    latency: Times = field(default_factory=Times)
    sends: int = 0
    wasted: int = 0
    """Sends to a route that did them harm."""
    hedges: int = 0
    retries: int = 0
    shadows: int = 0
    probes: int = 0
    cost: Micros = 0
    hedge_cost: Micros = 0
    """Of losers, as estimated when they were given up; the rest of their worst case is uncertain."""
    hedge_bill: Micros = 0
    """What the simulated provider bills for them."""
    uncertain: Micros = 0
    probe_cost: Micros = 0
    shadow_cost: Micros = 0
    false_opens: int = 0

    def gave_up(self, cost: Micros, uncertain: Micros, bill: Micros) -> None:
        """A loser was given up on its way."""
        self.cost += cost
        self.hedge_cost += cost
        self.hedge_bill += bill
        self.uncertain += uncertain

    @property
    def usable(self) -> int:
        return sum(self.answered.values())

    def merge(self, other: Part) -> None:
        for slot in fields(self):
            mine, theirs = getattr(self, slot.name), getattr(other, slot.name)
            if isinstance(mine, Times):
                mine.merge(theirs)
            elif isinstance(mine, Counter):
                mine.update(theirs)
            else:
                setattr(self, slot.name, mine + theirs)


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that was broken, and the command that shows it again. ``at`` in seconds of the core's clock."""

    rule: str
    seed: int
    at: float
    detail: str
    command: str


VIOLATIONS_MAX: Final = 100
"""Kept of one seed; more only say the same."""


@dataclass(slots=True)
class Tally:
    """Everything counted of some seeds. Seconds are of simulated time unless ``wall_secs``."""

    years: float = 0.0
    seeds: int = 0
    windows: Part = field(default_factory=Part)
    settling: Part = field(default_factory=Part)
    """After a window, until every route is well again."""
    quiet: Part = field(default_factory=Part)
    incidents: int = 0
    found_total: Times = field(default_factory=Times)
    found_total_decisions: Counter[int] = field(default_factory=Counter)
    found_partial: Times = field(default_factory=Times)
    found_partial_decisions: Counter[int] = field(default_factory=Counter)
    not_found: int = 0
    """Incidents of 40 % and more on the route in use that ended before it was left."""
    failed_back: Times = field(default_factory=Times)
    flaps: int = 0
    mode_changes: int = 0
    restarts: int = 0
    lost_to_restarts: int = 0
    overspent: Micros = 0
    violations: list[Violation] = field(default_factory=list)
    trace_hash: str = ""
    per_seed: list[float] = field(default_factory=list)
    """Availability of each seed."""
    cpu_secs: float = 0.0

    def merge(self, other: Tally) -> None:
        """Add another seed's figures. Hashes are chained by the caller."""
        for slot in fields(self):
            mine, theirs = getattr(self, slot.name), getattr(other, slot.name)
            if isinstance(mine, Part | Times):
                mine.merge(theirs)
            elif isinstance(mine, Counter):
                mine.update(theirs)
            elif isinstance(mine, list):
                mine.extend(theirs)
            elif slot.name != "trace_hash":
                setattr(self, slot.name, mine + theirs)


Rate = Callable[[Part], float]


def composed(tally: Tally, rate: Rate, *, of_quiet: float | None = None) -> float:
    """A rate over all time from those of its parts, weighted by their length; skipped time is quiet."""
    total = tally.years * YEAR_SECS
    shares = [(part, min(1.0, part.secs / total)) for part in (tally.windows, tally.settling)]
    seen = min(1.0, sum(share for _, share in shares))
    quiet = rate(tally.quiet) if of_quiet is None else of_quiet
    return sum(rate(part) * share for part, share in shares) + quiet * (1.0 - seen)


def availability(tally: Tally) -> float:
    """Share of all decisions with a valid answer in time."""
    return composed(tally, usable_share)


def availability_at_least(tally: Tally) -> float:
    """The same if quiet time is as bad as its sample still allows (95 %)."""
    quiet = tally.quiet
    missed = quiet.decisions - quiet.usable
    worst = missed + Z95 * math.sqrt(missed) if missed else NONE_SEEN
    of_quiet = 1.0 - min(1.0, worst / quiet.decisions) if quiet.decisions else 0.0
    return composed(tally, usable_share, of_quiet=of_quiet)


def mean_and_margin(values: Iterable[float]) -> tuple[float, float]:
    """Mean over seeds with half the width of its 95 % interval."""
    values = list(values)
    n = len(values)
    mean = sum(values) / n if n else 0.0
    if n < 2:
        return mean, 0.0
    variance = sum((value - mean) ** 2 for value in values) / (n - 1)
    return mean, Z95 * math.sqrt(variance / n)


def usable_share(part: Part) -> float:
    """Share of the questions of a part that got a decision."""
    return part.usable / part.decisions if part.decisions else 1.0


YEAR_SECS: Final = 365.25 * 86_400.0
