"""The AI layer over emulated providers, for drills, validators, examples and tests. SIMULATED."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from jurymast.domain.decision import Abstain, Decision
from jurymast.domain.events import Event
from jurymast.domain.market import MarketSnapshot, MarketStatus
from jurymast.domain.money import CONTRACT, USD, Micros
from jurymast.domain.provider import ProviderConfig, ProviderName, Secret
from jurymast.domain.status import EmergencyMode
from jurymast.exchange.books import BookMaker, step_at
from jurymast.exchange.paths import PricePath
from jurymast.exchange.questions import BundledEvidence, Question, as_market, load_bundle
from jurymast.intelligence.assembly import connect
from jurymast.intelligence.enhanced_client import EnhancedAIClient
from jurymast.intelligence.fallback_manager import FallbackManager, FallbackSettings
from jurymast.intelligence.ordering import RoutingSettings
from jurymast.lab.emulators.fleet import EmulatorFleet
from jurymast.lab.world import QuestionOracle
from jurymast.policy.deadline import WorkSettings
from jurymast.policy.detector import DetectorSettings
from jurymast.policy.ladder import LadderSettings
from jurymast.policy.records import ForecastRecords
from jurymast.policy.second import SecondSettings
from jurymast.ports import Books, Clock
from jurymast.testing.clock import FakeClock

EMULATED_KEY = Secret("emulated")
MODELS = {
    ProviderName.XAI: ("grok-4.3",),
    ProviderName.OPENAI: ("gpt-6.1-terra",),
    ProviderName.ANTHROPIC: ("claude-sonnet-5-5",),
    ProviderName.LOCAL: ("llama3.1:8b",),
}
QUICK = FallbackSettings(
    work=WorkSettings(attempt_secs_max=1.0, attempt_secs_min=0.1, hedge_secs_min=0.3),
    detector=DetectorSettings(),
    ladder=LadderSettings(),
    probe_timeout_secs=1.0,
    shadow_secs=0.0,
    shadow_free_secs=0.0,
)
"""Real rules and policy times, with network time-outs short enough for a rig of instant answers."""


@dataclass(slots=True)
class Rig:
    """A running AI layer and the means to break it. Time is virtual; the network is real."""

    fleet: EmulatorFleet
    client: EnhancedAIClient
    clock: FakeClock
    questions: tuple[Question, ...]
    events: list[Event] = field(default_factory=list)
    _asked: int = 0

    @property
    def fallback(self) -> FallbackManager:
        return self.client.fallback_manager

    async def ask(self, deadline_secs: float = 10.0) -> Decision | Abstain:
        """Put the next bundled question to the AI layer."""
        snapshot = self.snapshot(self._asked)
        self._asked += 1
        evidence = await BundledEvidence(self.questions).evidence_for(snapshot.market, snapshot.as_of)
        return await self.client.get_trading_decision(snapshot, evidence, deadline_secs=deadline_secs)

    def snapshot(self, index: int) -> MarketSnapshot:
        """A bundled question as a market, a day after it was listed."""
        question = self.questions[index % len(self.questions)]
        at = question.listed_at + timedelta(days=1)
        book = BookMaker(0).book(question, step_at(at))
        return MarketSnapshot(as_market(question), MarketStatus.ACTIVE, book, 10_000 * CONTRACT, at)

    async def pass_time(self, secs: float, *, step_secs: float = 5.0) -> None:
        """Let virtual time pass with recovery probes running, as a supervisor would."""
        until = self.clock.monotonic() + secs
        while self.clock.monotonic() < until:
            self.clock.advance(min(step_secs, until - self.clock.monotonic()))
            await self.fallback.check_recovery()

    async def until_mode(self, mode: EmergencyMode, *, secs_max: float = 3_600.0) -> float:
        """Let time pass until a mode is reached; the virtual seconds it took. Raises TimeoutError."""
        started = self.clock.monotonic()
        while self.fallback.mode is not mode:
            if self.clock.monotonic() - started > secs_max:
                raise TimeoutError(f"mode {mode} was not reached in {secs_max:.0f} s")
            await self.pass_time(5.0)
            await self.ask()
        return self.clock.monotonic() - started


@asynccontextmanager
async def rig(
    *,
    seed: int = 0,
    providers: Sequence[ProviderName] = tuple(ProviderName),
    settings: FallbackSettings = QUICK,
    budget_per_day: Micros = 100 * USD,
    books: Callable[[Clock], Books] | None = None,
    latency_scale: float = 0.0,
    stream: bool = True,
    second: SecondSettings | None = None,
    routing: RoutingSettings | None = None,
    records: ForecastRecords | None = None,
) -> AsyncIterator[Rig]:
    """Start emulators and an AI layer over ``providers``, in the order of their default priority."""
    questions = load_bundle()
    clock = FakeClock()
    events: list[Event] = []
    oracle = QuestionOracle(questions, PricePath(seed))
    async with EmulatorFleet(oracle, seed=seed, latency_scale=latency_scale, models=MODELS) as fleet:
        configs = [
            ProviderConfig(
                name=name,
                base_url=fleet.base_urls[name],
                models=MODELS[name],
                priority=list(ProviderName).index(name) + 1,
                api_key=EMULATED_KEY,
                stream=stream,
                simulated=True,
                edge="loopback" if name is ProviderName.LOCAL else "internet",
            )
            for name in providers
        ]
        async with connect(
            configs,
            clock=clock,
            emit=events.append,
            settings=settings,
            budget_per_day=budget_per_day,
            books=books(clock) if books is not None else None,
            seed=seed,
            second=second,
            routing=routing,
            records=records,
        ) as client:
            yield Rig(fleet, client, clock, questions, events)
