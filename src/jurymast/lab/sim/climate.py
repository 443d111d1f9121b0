"""Years of trouble made up from a seed: incidents as status pages record them, and troubles of one's own.

Fitted to the status pages of OpenAI and Anthropic, March 2023 to January 2025 (arXiv 2501.12469 and FAILS):
how often, how long, how often one model only (``CLIMATES``, shared with the emulators' weather), how severe,
how much more often in American working hours, how often again within a day. The rest (a shared edge, credit
and keys, rate limits, slowness, silent wrong answers) has no public record and is ASSUMPTION; each seed
meets a random subset of it (swarm testing), so that rare combinations meet.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from jurymast.domain.provider import ProviderName
from jurymast.lab.emulators.weather import CLIMATES, Climate
from jurymast.lab.sim.faults import FAST, HANGING, Incident, Schedule
from jurymast.lab.sim.places import CLOUDS, MODELS

HOUR_SECS: Final = 3_600.0
DAY_SECS: Final = 24 * HOUR_SECS
WEEK_SECS: Final = 7 * DAY_SECS
YEAR_SECS: Final = 365.25 * DAY_SECS

BUSY_FACTOR: Final = 3.2
"""Incidents start so many times more often from 13:30 to 20:00 UTC, Monday to Friday."""
BUSY_FROM_SECS, BUSY_TO_SECS, BUSY_DAYS = 13.5 * HOUR_SECS, 20 * HOUR_SECS, 5
RELAPSE_SHARE: Final = 0.09
"""Incidents followed by a further one within a day, beyond chance: in all twice as often as chance."""
INCIDENT_SECS_MIN: Final = 60.0
INCIDENT_SECS_MAX: Final = 4 * DAY_SECS
HANG_SHARE: Final = 0.3
"""Share of failures that hang (assumption of the reference table of baselines)."""
EDGE_MEDIAN_SECS: Final = 1_800.0
EDGE_SIGMA: Final = 1.0


@dataclass(frozen=True, slots=True)
class Severity:
    """Shares of incidents by the rate at which requests fail."""

    rates: tuple[float, ...]
    shares: tuple[float, ...]


SEVERITIES: Final = {
    0.20: Severity((1.0, 0.9, 0.4, 0.15, 0.08), (0.10, 0.03, 0.10, 0.40, 0.37)),
    0.52: Severity((1.0, 0.9, 0.4, 0.15, 0.08), (0.06, 0.00, 0.05, 0.33, 0.56)),
    0.0: Severity((1.0,), (1.0,)),
}
"""By ``one_model_share`` of the climate: OpenAI's mean rate over its incidents is .24, Anthropic's .15."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """One kind of trouble beside the recorded incidents: how often a year and provider, how long and hard."""

    name: str
    per_year: float
    median_secs: float
    rates: tuple[float, ...]
    harms: tuple[str, ...]
    slow: float = 1.0
    whole: bool = False
    """Every model of the provider, always."""


TROUBLES: Final = (
    Trouble("quota", 2, 3 * HOUR_SECS, (1.0,), ("quota",), whole=True),
    Trouble("auth", 1, HOUR_SECS, (1.0,), ("auth",), whole=True),
    Trouble("gone", 1, 2 * HOUR_SECS, (1.0,), ("gone",)),
    Trouble("spurious", 4, 13 * 60, (0.3, 1.0), ("gone", "400", "auth")),
    Trouble("limits", 6, 1_800, (0.5, 1.0), ("429", "429_2s", "429_120s", "429_1h")),
    Trouble("storms", 6, 30, (1.0,), ("529", "503")),
    Trouble("malformed", 2, 1_800, (0.3, 1.0), ("malformed", "empty", "html")),
    Trouble("invalid", 1, 12 * HOUR_SECS, (0.05, 0.3), ("invalid", "truncated")),
    Trouble("truncated", 1, HOUR_SECS, (1.0,), ("truncated",)),
    Trouble("cuts", 4, 1_800, (0.3, 0.8), ("cut", "stall")),
    Trouble("slow", 4, 1_800, (0.0,), (), slow=3.0),
    Trouble("crawl", 2, 1_800, (0.0,), (), slow=10.0),
    Trouble("refusals", 2, 1_800, (0.05,), ("refusal",)),
)
TROUBLE_SHARE: Final = 0.5
"""Each seed meets a kind of trouble with this probability."""
SPILL_SHARE: Final = 0.25
SPILL_SLOW: Final = 3.0
"""While one provider is wholly down, another is slowed so much in this share of cases."""
TROUBLE_SIGMA: Final = 0.7


def made_up(seed: int, years: float, clouds: int, *, models: int = 1, edge_hours: float = 4.0) -> Schedule:
    """A schedule for so many years. For ``edge_hours`` a year all clouds fail at once behind their edge."""
    random = Random(f"climate {seed}")
    secs = years * YEAR_SECS
    fast = tuple(sorted(random.sample(FAST, random.randint(2, len(FAST)))))
    hanging = tuple(sorted(random.sample(HANGING, random.randint(1, len(HANGING)))))
    met = [trouble for trouble in TROUBLES if random.random() < TROUBLE_SHARE]
    incidents: list[Incident] = []
    for name in (*CLOUDS[clouds], ProviderName.LOCAL):
        incidents += _recorded(random, name, secs, _mixed(fast, hanging), models, CLOUDS[clouds])
        if name is not ProviderName.LOCAL:
            for trouble in met:
                incidents += _troubled(random, name, secs, trouble, models)
    incidents += shared_edge(random, CLOUDS[clouds], secs, edge_hours)
    return Schedule(secs, tuple(sorted(incidents, key=lambda i: (i.start, i.end, i.hits))))


def shared_edge(
    random: Random, clouds: tuple[ProviderName, ...], secs: float, hours_per_year: float
) -> Iterator[Incident]:
    """Outages of what all clouds stand behind: error pages and lost connections."""
    mean_secs = EDGE_MEDIAN_SECS * math.exp(EDGE_SIGMA**2 / 2)
    per_sec = hours_per_year * HOUR_SECS / mean_secs / YEAR_SECS
    for start in _starts(random, per_sec, secs):
        length = _lognormal(random, EDGE_MEDIAN_SECS, EDGE_SIGMA)
        yield Incident(
            start, start + length, tuple((name, None) for name in clouds), 1.0, ("html", "refuse", "no_route")
        )


def _recorded(
    random: Random,
    name: ProviderName,
    secs: float,
    harms: tuple[str, ...],
    models: int,
    clouds: tuple[ProviderName, ...],
) -> Iterator[Incident]:
    climate = CLIMATES[name]
    per_sec = climate.rate_per_hour / HOUR_SECS / (1 + RELAPSE_SHARE)
    for start in _starts(random, per_sec, secs):
        first = _incident(random, name, start, climate, harms, models)
        yield first
        if first.rate == 1.0 and random.random() < SPILL_SHARE:
            other = random.choice(clouds)
            if other is not name:
                yield Incident(first.start, first.end, ((other, None),), 0.0, slow=SPILL_SLOW)
        if random.random() < RELAPSE_SHARE:
            yield _incident(random, name, first.end + random.random() * DAY_SECS, climate, harms, models)


def _incident(
    random: Random, name: ProviderName, start: float, climate: Climate, harms: tuple[str, ...], models: int
) -> Incident:
    sigma = math.sqrt(2 * math.log(climate.mean_minutes / climate.median_minutes))
    length = _lognormal(random, climate.median_minutes * 60, sigma)
    severity = SEVERITIES[climate.one_model_share]
    rate = random.choices(severity.rates, severity.shares)[0]
    model = MODELS[name][0] if models > 1 and random.random() < climate.one_model_share else None
    harms = ("refuse",) if name is ProviderName.LOCAL else harms
    return Incident(start, start + length, ((name, model),), rate, harms)


def _troubled(
    random: Random, name: ProviderName, secs: float, trouble: Trouble, models: int
) -> Iterator[Incident]:
    for start in _starts(random, trouble.per_year / YEAR_SECS, secs):
        length = _lognormal(random, trouble.median_secs, TROUBLE_SIGMA)
        model = None if trouble.whole or models == 1 else random.choice((None, MODELS[name][0]))
        times = random.randint(4, 20) if trouble.name == "storms" else 1
        rate, harm = random.choice(trouble.rates), trouble.harms
        if trouble.name == "spurious":
            harm = (random.choice(harm),)
        for turn in range(times):
            begin = start + turn * 3 * length
            yield Incident(begin, begin + length, ((name, model),), rate, harm, trouble.slow)


def _mixed(fast: tuple[str, ...], hanging: tuple[str, ...]) -> tuple[str, ...]:
    """Harms of which a HANG_SHARE hang, however many of each there are."""
    hangs, quick = round(HANG_SHARE * 10), 10 - round(HANG_SHARE * 10)
    scale = len(fast) * len(hanging)
    return fast * (quick * scale // len(fast)) + hanging * (hangs * scale // len(hanging))


def _starts(random: Random, per_sec: float, secs: float) -> Iterator[float]:
    """Times at which something starts: a Poisson process with the rhythm of the week, at this mean rate."""
    busy = BUSY_DAYS * (BUSY_TO_SECS - BUSY_FROM_SECS) / WEEK_SECS
    quiet_rate = per_sec / (1 + busy * (BUSY_FACTOR - 1))
    now = 0.0
    while per_sec > 0:
        now += random.expovariate(quiet_rate * BUSY_FACTOR)
        if now >= secs:
            return
        if _is_busy(now) or random.random() < 1 / BUSY_FACTOR:
            yield now


def _is_busy(now: float) -> bool:
    return now % WEEK_SECS < BUSY_DAYS * DAY_SECS and BUSY_FROM_SECS <= now % DAY_SECS < BUSY_TO_SECS


def _lognormal(random: Random, median: float, sigma: float) -> float:
    return min(max(median * math.exp(sigma * random.gauss(0, 1)), INCIDENT_SECS_MIN / 2), INCIDENT_SECS_MAX)
