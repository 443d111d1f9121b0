"""Scripts of outages: read from text, or made up from a seed, and played on a fleet.

A script has one line per step: when, where, what. Blank lines and ``#`` comments are skipped::

    20s xai refuse
    30s openai/gpt-6.1-sol 503 probability=0.4
    45s xai clear
    1m  all 429 retry_after=2s
"""

from __future__ import annotations

import math
import re
from bisect import bisect
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, Protocol

from jurymast.domain.provider import ProviderName
from jurymast.lab.emulators.chance import lognormal, uniform
from jurymast.lab.emulators.faults import ALL, CLEAR, Fault, FaultSpec, parse_fault, parse_providers
from jurymast.ports import Clock

STEPS_MAX: Final = 10_000

_TIME: Final = re.compile(r"(\d+(?:\.\d+)?)(s|m|h)")
_UNIT_SECS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}
_OPTIONS: Final = ("probability", "retry_after")
_WORDS_MIN: Final = 3


class FaultSwitch(Protocol):
    """The part of a fleet that a script needs."""

    async def set_fault(
        self,
        provider: str,
        fault: str,
        *,
        model: str | None = None,
        probability: float = 1.0,
        retry_after: str | None = None,
    ) -> None: ...

    async def clear_faults(self, provider: str = ALL, model: str | None = None) -> None: ...


@dataclass(frozen=True, slots=True)
class OutageStep:
    """One change: ``fault`` None mends. ``provider`` is a provider's name or ``all``."""

    at_secs: float
    provider: str
    fault: Fault | None
    model: str | None = None
    probability: float = 1.0
    retry_after: str | None = None

    def __post_init__(self) -> None:
        names = parse_providers(self.provider)
        if self.fault is not None:
            FaultSpec(names[0], self.fault, self.model, self.probability, retry_after=self.retry_after)

    def __str__(self) -> str:
        place = f"{self.provider}/{self.model}" if self.model else self.provider
        words = [f"{self.at_secs:.15g}s", place, self.fault or CLEAR]
        if self.probability < 1.0:
            words.append(f"probability={self.probability:g}")
        if self.retry_after is not None:
            words.append(f"retry_after={self.retry_after}")
        return " ".join(words)


@dataclass(frozen=True, slots=True)
class OutageScript:
    """Steps in order of time, counted in seconds from the start."""

    steps: tuple[OutageStep, ...]

    def __post_init__(self) -> None:
        if len(self.steps) > STEPS_MAX:
            raise ValueError(f"a script of outages has at most {STEPS_MAX} steps")
        times = [step.at_secs for step in self.steps]
        if times != sorted(times):
            raise ValueError("the steps of a script of outages are in order of time")

    def __str__(self) -> str:
        return "\n".join(map(str, self.steps))


def parse_script(text: str) -> OutageScript:
    """Read a script. Raises ValueError naming the line."""
    steps = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            steps.append(_parse_step(words))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
    return OutageScript(tuple(sorted(steps, key=lambda step: step.at_secs)))


async def play(script: OutageScript, fleet: FaultSwitch, clock: Clock) -> None:
    """Carry out the script in ``clock``'s time, measured from now."""
    start = clock.monotonic()
    for step in script.steps:
        await clock.sleep(max(0.0, start + step.at_secs - clock.monotonic()))
        if step.fault is None:
            await fleet.clear_faults(step.provider, step.model)
        else:
            await fleet.set_fault(
                step.provider,
                step.fault,
                model=step.model,
                probability=step.probability,
                retry_after=step.retry_after,
            )


def _parse_step(words: list[str]) -> OutageStep:
    if len(words) < _WORDS_MIN:
        raise ValueError("a step is a time, a provider and a fault, as in: 20s xai refuse")
    time, place, word, *options = words
    provider, _, model = place.partition("/")
    given = dict(option.partition("=")[::2] for option in options)
    unknown = set(given) - set(_OPTIONS)
    if unknown:
        raise ValueError(f"unknown option {min(unknown)!r}; known are {', '.join(_OPTIONS)}")
    return OutageStep(
        at_secs=_parse_secs(time),
        provider=provider,
        fault=None if word == CLEAR else parse_fault(word),
        model=model or None,
        probability=float(given.get("probability", "1")),
        retry_after=given.get("retry_after"),
    )


def _parse_secs(text: str) -> float:
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(f"unknown time {text!r}; a time looks like 20s, 1.5m or 1h")
    return float(found[1]) * _UNIT_SECS[found[2]]


@dataclass(frozen=True, slots=True)
class Climate:
    """How a provider really fails: outages an hour, how long they last, share that hits one model only."""

    rate_per_hour: float
    median_minutes: float
    mean_minutes: float
    one_model_share: float


COMPRESSION: Final = 60.0
"""A real minute of outage is played as a second."""

QUIET_MEAN_SECS: Final = 45.0
"""Mean quiet time between outages: really some 65 h with three vendors, compressed 5,000 times."""

CLIMATES: Final[Mapping[ProviderName, Climate]] = {
    ProviderName.XAI: Climate(1 / 246, 44.0, 99.0, 0.20),
    ProviderName.OPENAI: Climate(1 / 246, 44.0, 99.0, 0.20),
    ProviderName.ANTHROPIC: Climate(1 / 140, 35.0, 231.0, 0.52),
    ProviderName.LOCAL: Climate(1 / 1_000, 10.0, 15.0, 0.0),
}
"""Fitted to the status pages of OpenAI and Anthropic, March 2023 to January 2025 (arXiv 2501.12469 and
FAILS). xAI publishes no archive and is taken for another OpenAI; the local server's numbers are a guess."""

EDGE_SHARE: Final = 0.05
"""Share of outages that take all three vendors at once, by a shared edge (assumption)."""

OUTAGE_SECS_MIN: Final = 5.0
OUTAGE_SECS_MAX: Final = 120.0
PARTIAL_SHARE: Final = 0.9
PARTIAL_PROBABILITIES: Final = (0.15, 0.4, 0.9)

_CLOUDS: Final = (ProviderName.XAI, ProviderName.OPENAI, ProviderName.ANTHROPIC)
_CLOUD_FAULTS: Final = (Fault.UNAVAILABLE, Fault.SERVER_ERROR, Fault.OVERLOADED, Fault.HANG, Fault.CUT)
_STEP_ROUNDING: Final = 3


def seeded_weather(
    seed: int, duration_secs: float, models: Mapping[ProviderName, tuple[str, ...]] | None = None
) -> OutageScript:
    """Plausible outages, one after another: mostly partial, mostly one provider, tens of seconds each.

    With ``models`` some of them hit one model only. Every outage ends within ``duration_secs``.
    """
    steps: list[OutageStep] = []
    now_secs = 0.0
    for serial in range(STEPS_MAX // (2 * len(_CLOUDS))):
        now_secs += -QUIET_MEAN_SECS * math.log(uniform(seed, "quiet", serial))
        places = _places(seed, serial, models or {})
        end_secs = now_secs + _outage_secs(seed, serial, places[0][0])
        if end_secs > duration_secs:
            break
        fault, probability = _kind(seed, serial, places)
        start, end = round(now_secs, _STEP_ROUNDING), round(end_secs, _STEP_ROUNDING)
        steps += [OutageStep(start, name, fault, model, probability) for name, model in places]
        steps += [OutageStep(end, name, None, model) for name, model in places]
        now_secs = end_secs
    return OutageScript(tuple(steps))


def _places(
    seed: int, serial: int, models: Mapping[ProviderName, tuple[str, ...]]
) -> tuple[tuple[ProviderName, str | None], ...]:
    if uniform(seed, "edge", serial) < EDGE_SHARE:
        return tuple((name, None) for name in _CLOUDS)
    names = tuple(CLIMATES)
    rates = tuple(accumulate(climate.rate_per_hour for climate in CLIMATES.values()))
    name = names[bisect(rates, uniform(seed, "provider", serial) * rates[-1], hi=len(names) - 1)]
    listed = models.get(name, ())
    if listed and uniform(seed, "one model", serial) < CLIMATES[name].one_model_share:
        return ((name, listed[int(uniform(seed, "which model", serial) * len(listed))]),)
    return ((name, None),)


def _outage_secs(seed: int, serial: int, provider: ProviderName) -> float:
    climate = CLIMATES[provider]
    sigma = math.sqrt(2 * math.log(climate.mean_minutes / climate.median_minutes))
    median_secs = climate.median_minutes * 60 / COMPRESSION
    drawn = lognormal(median_secs, sigma, seed, "outage", serial)
    return min(max(drawn, OUTAGE_SECS_MIN), OUTAGE_SECS_MAX)


def _kind(seed: int, serial: int, places: tuple[tuple[ProviderName, str | None], ...]) -> tuple[Fault, float]:
    if len(places) > 1:
        return Fault.HTML_502, 1.0
    name, model = places[0]
    whole = uniform(seed, "partial", serial) >= PARTIAL_SHARE
    if name is ProviderName.LOCAL or (whole and model is None):
        return Fault.REFUSE, 1.0
    fault = _CLOUD_FAULTS[int(uniform(seed, "fault", serial) * len(_CLOUD_FAULTS))]
    drawn = int(uniform(seed, "share", serial) * len(PARTIAL_PROBABILITIES))
    return fault, 1.0 if whole else PARTIAL_PROBABILITIES[drawn]
