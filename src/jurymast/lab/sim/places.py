"""The routes of a simulated world, with how long they take and what they charge. ASSUMPTIONS throughout.

Latency is lognormal with a median of 6 s (xAI, OpenAI), 7 s (Anthropic) and 12 s (a small local model), sigma
0.5: a forecast of a few hundred tokens after a prompt of a few thousand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from jurymast.domain.money import Micros
from jurymast.domain.provider import ProviderName, Route, Tier, Usage
from jurymast.intelligence.providers.catalogue import default_catalogue
from jurymast.policy.routing import RouteSpec

MEDIAN_SECS: Final = {
    ProviderName.XAI: 6.0,
    ProviderName.OPENAI: 6.0,
    ProviderName.ANTHROPIC: 7.0,
    ProviderName.LOCAL: 12.0,
}
SIGMA: Final = 0.5
MODELS: Final = {
    ProviderName.XAI: ("grok-4.3", "grok-4.5"),
    ProviderName.OPENAI: ("gpt-6.1-terra", "gpt-6.1-sol"),
    ProviderName.ANTHROPIC: ("claude-sonnet-5-5", "claude-haiku-5-5"),
    ProviderName.LOCAL: ("llama3.1:8b",),
}
CLOUDS: Final = {
    2: (ProviderName.OPENAI, ProviderName.ANTHROPIC),
    3: (ProviderName.XAI, ProviderName.OPENAI, ProviderName.ANTHROPIC),
}
TYPICAL: Final = Usage(input=2_500, output=600)
WORST: Final = Usage(input=12_000, output=2_000)
PROBE: Final = Usage(input=80, output=16)


@dataclass(frozen=True, slots=True)
class Place:
    """One route of the world. Money in micro-dollars; ``slots`` is what it does at once, 0 unbounded."""

    index: int
    spec: RouteSpec
    median_secs: float
    sigma: float
    typical: Micros
    worst: Micros
    probe: Micros
    prompt: Micros
    """What a typical prompt costs, whatever comes back."""
    slots: int = 0

    @property
    def route(self) -> Route:
        return self.spec.route

    def given_up(self, secs: float) -> tuple[Micros, Micros]:
        """Estimate of what a request given up after ``secs`` has cost, and what it may cost beyond that.

        A typical answer's tokens come evenly over the median time.
        """
        cost = min(self.worst, self.prompt + int((self.typical - self.prompt) * secs / self.median_secs))
        return cost, self.worst - cost

    @property
    def streams_first_token(self) -> bool:
        """Whether its silence before the first token is bounded when nothing is said about it."""
        return self.spec.tier is not Tier.SMALL


@dataclass(frozen=True, slots=True)
class Layout:
    """How many of what there is. ``models`` and ``keys`` are per cloud provider."""

    clouds: int = 3
    models: int = 1
    keys: int = 1
    local_slots: int = 1


def places(layout: Layout) -> tuple[Place, ...]:
    """The routes of a layout, in order of priority: clouds, each model and key of theirs, then local."""
    found: list[Place] = []
    for priority, name in enumerate((*CLOUDS[layout.clouds], ProviderName.LOCAL), start=1):
        local = name is ProviderName.LOCAL
        for rank, model in enumerate(MODELS[name][: 1 if local else layout.models]):
            for key in range(1 if local else layout.keys):
                route = Route(name, model, f"key-{key + 1}" if layout.keys > 1 and not local else "")
                found.append(_place(len(found), route, priority, rank, layout))
    return tuple(found)


def _place(index: int, route: Route, priority: int, rank: int, layout: Layout) -> Place:
    catalogue = default_catalogue()
    local = route.provider is ProviderName.LOCAL
    spec = RouteSpec(
        route,
        priority,
        rank,
        tier=Tier.SMALL if local else catalogue.tier(route.model),
        edge="this machine" if local else "internet",
        max_concurrent=layout.local_slots if local else 8,
    )
    price = catalogue.price(route.model).cost if not local else _nothing
    costs = price(TYPICAL), price(WORST), price(PROBE), price(Usage(TYPICAL.input, 0))
    slots = layout.local_slots if local else 0
    return Place(index, spec, MEDIAN_SECS[route.provider], SIGMA, *costs, slots)


def _nothing(_: Usage) -> Micros:
    return 0
