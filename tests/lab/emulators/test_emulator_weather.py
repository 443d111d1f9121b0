from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jurymast.domain.provider import ProviderName
from jurymast.lab.emulators.faults import ALL, Fault
from jurymast.lab.emulators.fleet import DEFAULT_MODELS
from jurymast.lab.emulators.weather import (
    OUTAGE_SECS_MAX,
    OUTAGE_SECS_MIN,
    OutageScript,
    OutageStep,
    parse_script,
    play,
    seeded_weather,
)

SCRIPT = """
# a bad minute
20s xai refuse
45s xai clear
30s openai/gpt-6.1-sol 503 probability=0.4   # one model, partly
1m  all 429 retry_after=2s
1.5m all clear
"""


class StepClock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 100.0

    def utc_now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.now)

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, secs: float) -> None:
        self.now += secs


class NotedSwitch:
    """Writes down what a script does, and when."""

    def __init__(self, clock: StepClock) -> None:
        self.clock = clock
        self.done: list[tuple[Any, ...]] = []

    async def set_fault(
        self,
        provider: str,
        fault: str,
        *,
        model: str | None = None,
        probability: float = 1.0,
        retry_after: str | None = None,
    ) -> None:
        self.done.append((self.clock.now, provider, model, fault, probability, retry_after))
        self.clock.now += 1.0

    async def clear_faults(self, provider: str = ALL, model: str | None = None) -> None:
        self.done.append((self.clock.now, provider, model, "clear"))


def test_script_is_read_in_order_of_time() -> None:
    """Lines become steps sorted by time, comments and blanks are skipped."""
    script = parse_script(SCRIPT)
    assert [step.at_secs for step in script.steps] == [20, 30, 45, 60, 90]
    assert script.steps[1] == OutageStep(30.0, "openai", Fault.UNAVAILABLE, "gpt-6.1-sol", 0.4)
    assert script.steps[3] == OutageStep(60.0, ALL, Fault.RATE_LIMITED, retry_after="2s")
    assert script.steps[4].fault is None


def test_script_written_and_read_is_the_same() -> None:
    """What a script prints is what it was read from, seeded weather included."""
    for script in (parse_script(SCRIPT), seeded_weather(3, 3_600, DEFAULT_MODELS)):
        assert parse_script(str(script)) == script


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("20s xai", "a step is a time"),
        ("20 xai refuse", "unknown time"),
        ("20s gemini refuse", "unknown provider"),
        ("20s xai explode", "known are refuse"),
        ("20s xai 503 loudness=3", "unknown option"),
        ("20s xai 503 probability=2", "share of requests"),
        ("20s xai/grok-4.7 refuse", "whole port"),
    ],
)
def test_mistakes_name_their_line(line: str, words: str) -> None:
    """A wrong line is refused with its number and the reason."""
    with pytest.raises(ValueError, match=rf"line 2: .*{words}"):
        parse_script(f"# heading\n{line}\n")


def test_steps_must_be_in_order() -> None:
    """A script made by hand is checked too."""
    late, early = OutageStep(2.0, "xai", None), OutageStep(1.0, "xai", None)
    with pytest.raises(ValueError, match="in order"):
        OutageScript((late, early))


async def test_play_keeps_to_the_script() -> None:
    """Steps happen at their times even when carrying them out takes time."""
    clock = StepClock()
    switch = NotedSwitch(clock)
    await play(parse_script(SCRIPT), switch, clock)
    assert switch.done == [
        (120.0, "xai", None, "refuse", 1.0, None),
        (130.0, "openai", "gpt-6.1-sol", "503", 0.4, None),
        (145.0, "xai", None, "clear"),
        (160.0, "all", None, "429", 1.0, "2s"),
        (190.0, "all", None, "clear"),
    ]


def test_weather_comes_again_with_its_seed() -> None:
    """A seed is a weather; another seed is another."""
    assert seeded_weather(1, 3_600) == seeded_weather(1, 3_600)
    assert seeded_weather(1, 3_600) != seeded_weather(2, 3_600)
    assert seeded_weather(1, 0.0).steps == ()


def test_weather_is_plausible() -> None:
    """Over many hours outages are tens of seconds, mostly partial, mostly of one provider, and all end."""
    steps = [step for seed in range(20) for step in seeded_weather(seed, 3_600, DEFAULT_MODELS).steps]
    begun = [step for step in steps if step.fault is not None]
    assert len(begun) * 2 == len(steps)
    assert len(begun) > 200
    assert {step.provider for step in begun} == set(ProviderName)
    partial = [step for step in begun if step.probability < 1.0]
    assert len(partial) > len(begun) / 2
    one_model = [step for step in begun if step.model is not None]
    assert len(begun) / 10 < len(one_model) < len(begun) / 2
    edge = [step for step in begun if step.fault is Fault.HTML_502]
    assert 0 < len(edge) < len(begun) / 3


def test_weather_never_overlaps_itself() -> None:
    """Every outage is over before the next begins, so that mending one never mends another."""
    for seed in range(20):
        down: dict[tuple[str, str | None], float] = {}
        for step in seeded_weather(seed, 3_600, DEFAULT_MODELS).steps:
            place = (step.provider, step.model)
            if step.fault is None:
                secs = step.at_secs - down.pop(place)
                assert OUTAGE_SECS_MIN - 0.01 <= secs <= OUTAGE_SECS_MAX + 0.01
            else:
                assert place not in down
                assert all(at_secs == step.at_secs for at_secs in down.values())
                down[place] = step.at_secs
        assert down == {}
