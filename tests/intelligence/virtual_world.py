"""Providers in memory with a tempo and moods, under the real FallbackManager in virtual time. SIMULATED."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from jurymast.domain.errors import ProviderError
from jurymast.domain.events import Event
from jurymast.domain.money import USD, Micros
from jurymast.domain.provider import (
    AIRequest,
    AIResponse,
    Billing,
    Failure,
    FailureKind,
    Format,
    Message,
    ModelInfo,
    ProviderConfig,
    ProviderName,
    Route,
    Usage,
)
from jurymast.domain.status import HealthCheckResult
from jurymast.intelligence.fallback_manager import Answered, FallbackManager, FallbackSettings, Unanswered
from jurymast.intelligence.provider_manager import ProviderManager
from jurymast.intelligence.providers.catalogue import Catalogue
from jurymast.intelligence.purse import MemoryBooks, Purse
from jurymast.policy.failures import BILLING
from jurymast.policy.ledger import Cap
from jurymast.policy.parsing import Rejected
from jurymast.testing.loop import LoopClock

MODELS = {
    ProviderName.XAI: "grok-4.3",
    ProviderName.OPENAI: "gpt-6.1-terra",
    ProviderName.ANTHROPIC: "claude-sonnet-5-5",
    ProviderName.LOCAL: "llama3.1:8b",
}
QUESTION = AIRequest(messages=(Message("user", "Will it rain?"),), max_output_tokens=400)
SILENCE = math.inf
Turn: TypeAlias = float | Failure | str
"""What one request meets: seconds to a good answer, a failure at once, or a text as the answer."""


def failing(kind: FailureKind, retry_after_secs: float | None = None) -> Callable[[], Turn]:
    failure = Failure(kind, kind.value, BILLING[kind], retry_after_secs=retry_after_secs)
    return lambda: failure


def taking(secs: float) -> Callable[[], Turn]:
    return lambda: secs


def lognormal(median_secs: float, sigma: float, seed: int) -> Callable[[], Turn]:
    chance = random.Random(seed)
    return lambda: chance.lognormvariate(math.log(median_secs), sigma)


class MemoryProvider:
    """``ports.Provider`` without a network: ``mood`` says what each request meets, probes included."""

    def __init__(self, config: ProviderConfig, mood: Callable[[], Turn]) -> None:
        self.config = config
        self.mood = mood
        self.probe_mood: Callable[[], Turn] | None = None
        self.asked_at: list[float] = []
        self.probed_at: list[float] = []
        self.under_way = 0
        self.probes_under_way_most = 0
        self._probes_under_way = 0

    @property
    def format(self) -> Format:
        return Format.CHAT

    @property
    def name(self) -> ProviderName:
        return self.config.name

    async def make_request(
        self,
        request: AIRequest,
        *,
        model: str,
        timeout_secs: float,
        first_token_secs: float | None = None,
        tap: object = None,
    ) -> AIResponse:
        loop = asyncio.get_running_loop()
        self.asked_at.append(loop.time())
        self.under_way += 1
        try:
            return await self._meet(self.mood(), model, timeout_secs)
        finally:
            self.under_way -= 1

    async def _meet(self, turn: Turn, model: str, timeout_secs: float) -> AIResponse:
        if isinstance(turn, Failure):
            await asyncio.sleep(0)  # no wire fails before the loop has turned once
            raise ProviderError(Route(self.name, model), turn)
        secs = turn if isinstance(turn, float | int) else 0.1
        await asyncio.sleep(min(secs, timeout_secs))
        if secs >= timeout_secs:
            late = Failure(FailureKind.TIMEOUT, f"no answer in {timeout_secs:.1f} s", Billing.UNKNOWN)
            raise ProviderError(Route(self.name, model), late)
        text = turn if isinstance(turn, str) else "yes"
        usage = Usage(input=20, output=5)
        cost = self.calculate_cost(usage, model)
        return AIResponse(text, self.name, model, model, usage, cost, secs, simulated=True)

    async def health_check(self, model: str, timeout_secs: float) -> HealthCheckResult:
        loop = asyncio.get_running_loop()
        self.probed_at.append(began := loop.time())
        self._probes_under_way += 1
        self.probes_under_way_most = max(self.probes_under_way_most, self._probes_under_way)
        try:
            await self._meet((self.probe_mood or self.mood)(), model, timeout_secs)
        except ProviderError as error:
            failure = error.failure
            return HealthCheckResult(
                self.name, False, loop.time() - began, model, failure.detail, failure.kind,
                retry_after_secs=failure.retry_after_secs,
            )  # fmt: skip
        finally:
            self._probes_under_way -= 1
        return HealthCheckResult(self.name, True, loop.time() - began, model, cost=1)

    async def list_models(self, timeout_secs: float) -> tuple[ModelInfo, ...]:
        return tuple(ModelInfo(model) for model in self.config.models)

    def calculate_cost(self, usage: Usage, model: str) -> Micros:
        return usage.input + usage.output


@dataclass(slots=True)
class VirtualWorld:
    """A fleet in memory and the manager over it. Make it inside the loop."""

    providers: dict[ProviderName, MemoryProvider]
    manager: FallbackManager
    money: ProviderManager
    events: list[Event] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    """Of every question asked so far, by the caller's watch."""
    outcomes: list[Answered[str] | Unanswered] = field(default_factory=list)

    def __getitem__(self, name: ProviderName) -> MemoryProvider:
        return self.providers[name]

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def limits_set(self) -> int:
        """Time limits that somebody still waits for, on the manager's timer and on the loop."""
        alarms = self.manager._alarms
        scheduled = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined] # to see leaks
        others = [timer for timer in scheduled if not timer.cancelled() and timer is not alarms._handle]
        return len(alarms) + len(others)

    @property
    def sends(self) -> int:
        return sum(len(provider.asked_at) for provider in self.providers.values())

    async def ask(
        self, deadline_secs: float = 60.0, request: AIRequest = QUESTION
    ) -> Answered[str] | Unanswered:
        """One question; only "yes" and what begins with it is an answer."""
        began = self.now
        outcome = await self.manager.get_fallback_decision(request, validated, deadline_secs=deadline_secs)
        self.latencies.append(self.now - began)
        self.outcomes.append(outcome)
        return outcome

    async def ask_each(self, count: int, every_secs: float, deadline_secs: float = 60.0) -> None:
        """So many questions, one after the other, at a pace (slower when answers take longer)."""
        for _ in range(count):
            began = self.now
            await self.ask(deadline_secs)
            await asyncio.sleep(max(0.0, began + every_secs - self.now))

    async def ask_at_once(self, count: int, workers: int, deadline_secs: float = 60.0) -> None:
        """So many questions by callers who each ask again as soon as they have an answer."""
        left = iter(range(count))

        async def worker() -> None:
            for _ in left:
                await self.ask(deadline_secs)

        await asyncio.gather(*(worker() for _ in range(workers)))

    async def ask_at_rate(self, per_sec: float, secs: float, deadline_secs: float = 60.0) -> None:
        """Questions that arrive at a rate, whatever became of those before."""
        asking = []
        for _ in range(int(per_sec * secs)):
            asking.append(asyncio.create_task(self.ask(deadline_secs)))
            await asyncio.sleep(1 / per_sec)
        await asyncio.gather(*asking)

    async def look_after(self, secs: float) -> None:
        """What a supervisor does beside the questions: probes and the passing of time, every second."""
        until = self.now + secs
        while self.now < until:
            await self.manager.check_recovery()
            await asyncio.sleep(1.0)

    def answered_by(self) -> list[ProviderName | None]:
        return [o.route.provider if isinstance(o, Answered) else None for o in self.outcomes]

    def told(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


def validated(response: AIResponse) -> str | Rejected:
    return response.content if response.content.startswith("yes") else Rejected("says neither yes nor no")


def world(
    moods: dict[ProviderName, Callable[[], Turn]],
    *,
    settings: FallbackSettings | None = None,
    budget_per_day: Micros = 1_000 * USD,
    max_concurrent: int = 8,
    seed: int = 0,
) -> VirtualWorld:
    """Providers by the order of ``moods``, the first asked first."""
    clock, events = LoopClock(), list[Event]()
    providers = {
        name: MemoryProvider(config_of(name, priority, max_concurrent), mood)
        for priority, (name, mood) in enumerate(moods.items(), start=1)
    }
    money = manager_over(providers.values(), budget_per_day)
    manager = FallbackManager(money, clock=clock, emit=events.append, settings=settings, seed=seed)
    return VirtualWorld(providers, manager, money, events)


def manager_over(providers: Iterable[MemoryProvider], budget_per_day: Micros) -> ProviderManager:
    clock = LoopClock()
    purse = Purse(MemoryBooks([Cap(budget_per_day)], clock), clock=clock)
    return ProviderManager(providers, clock=clock, catalogue=Catalogue(), purse=purse)


def config_of(name: ProviderName, priority: int, max_concurrent: int = 8) -> ProviderConfig:
    return ProviderConfig(
        name, "http://127.0.0.1:9/v1", (MODELS[name],), priority,
        max_concurrent=max_concurrent, simulated=True,
        edge="loopback" if name is ProviderName.LOCAL else "internet",
    )  # fmt: skip


def percentile(values: Iterable[float], share: float) -> float:
    """The value that this share of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
