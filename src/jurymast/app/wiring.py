"""The one place where real things are chosen and put together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from jurymast.app.config import Config
from jurymast.domain.errors import ConfigError, JournalUnwritable
from jurymast.domain.events import (
    DecisionAbstained,
    DecisionMade,
    Event,
    FaultInjected,
    ModeChanged,
    ProbeSent,
    RouteChanged,
    ShadowAnswered,
)
from jurymast.domain.money import Micros
from jurymast.domain.provider import ProviderConfig, ProviderName, Route
from jurymast.domain.status import EmergencyMode
from jurymast.exchange.paper import PaperExchange
from jurymast.exchange.paths import PricePath
from jurymast.exchange.questions import BundledEvidence, Question, load_bundle, load_questions
from jurymast.intelligence.assembly import connect
from jurymast.intelligence.enhanced_client import EnhancedAIClient
from jurymast.intelligence.fallback_manager import FallbackManager, FallbackSettings
from jurymast.journal.queries import JournalReader
from jurymast.journal.sqlite import SqliteJournal
from jurymast.lab.emulators.fleet import EmulatorFleet
from jurymast.lab.rig import EMULATED_KEY
from jurymast.lab.world import QuestionOracle
from jurymast.policy.detector import RouteHealth, revive
from jurymast.policy.exits import ExitSettings
from jurymast.policy.restart import Earlier
from jurymast.policy.risk import RiskSettings
from jurymast.ports import Clock
from jurymast.trading.cycle import CycleSettings, TradingCycle
from jurymast.trading.gateway import Gateway
from jurymast.trading.portfolio import BOOK_EVENTS, Portfolio
from jurymast.trading.reconcile import Reconciler
from jurymast.trading.recorder import Recorder

DAY_SECS = 86_400.0


@dataclass(slots=True)
class Bot:
    """A whole bot, ready to run."""

    config: Config
    clock: Clock
    journal: SqliteJournal
    recorder: Recorder
    portfolio: Portfolio
    exchange: PaperExchange
    client: EnhancedAIClient
    cycle: TradingCycle
    fleet: EmulatorFleet | None

    @property
    def fallback(self) -> FallbackManager:
        return self.client.fallback_manager

    @property
    def simulated(self) -> tuple[str, ...]:
        """Which parts are not real, for every screen that shows their doings."""
        return ("exchange", "providers") if self.fleet is not None else ("exchange",)


@asynccontextmanager
async def build(
    config: Config,
    *,
    clock: Clock,
    watch: Callable[[Event], None] = lambda _: None,
    concurrency_max: int | None = None,
) -> AsyncIterator[Bot]:
    """Put a bot together and take it apart again in order. ``watch`` sees every event."""
    _prepare(config.data_dir)
    questions = _questions(config)
    async with AsyncExitStack() as stack:
        journal = SqliteJournal.open(config.journal_path, clock=clock)
        stack.push_async_callback(journal.close)
        portfolio = Portfolio()
        portfolio.replay(recorded.event for recorded in journal.read(BOOK_EVENTS))
        recorder = Recorder(journal, portfolio, watch)
        exchange = PaperExchange(
            questions,
            database=config.exchange_path,
            clock=clock,
            seed=config.bot.seed,
            start=config.exchange.start,
            speed=config.exchange.speed,
            cash=config.exchange.cash_usd * 1_000_000,
        )
        stack.push_async_callback(exchange.close)
        fleet = await _emulators(config, questions, clock, recorder, stack) if config.lab.emulate else None
        client = await stack.enter_async_context(
            connect(
                provider_configs(config, fleet),
                clock=clock,
                emit=recorder.emit,
                settings=_fallback_settings(config),
                budget_per_day=config.budget_per_day,
                seed=config.bot.seed,
                earlier=_earlier(journal, clock, config),
            )
        )
        gateway = Gateway(exchange, recorder, portfolio, clock=clock, halt_file=config.halt_path)
        cycle = TradingCycle(
            exchange=exchange,
            judge=client,
            evidence=BundledEvidence(questions),
            recorder=recorder,
            portfolio=portfolio,
            gateway=gateway,
            reconciler=Reconciler(exchange, recorder, portfolio, gateway, clock=clock),
            clock=clock,
            settings=_cycle_settings(config, concurrency_max),
        )
        yield Bot(config, clock, journal, recorder, portfolio, exchange, client, cycle, fleet)


def provider_configs(config: Config, fleet: EmulatorFleet | None) -> tuple[ProviderConfig, ...]:
    """The providers that can be asked, one configuration per instance. Raises ConfigError when none can.

    With emulators every enabled provider is pointed at its emulator, whatever keys are set: no request
    of a simulated run leaves this machine.
    """
    configs: list[ProviderConfig] = []
    for name, section in config.providers.enabled().items():
        for settings in section.configs(name):
            if fleet is not None:
                url = fleet.base_urls[name]
                configs.append(replace(settings, base_url=url, api_key=EMULATED_KEY, simulated=True))
            elif name is ProviderName.LOCAL or settings.api_key:
                configs.append(settings)
    if not configs:
        raise ConfigError(
            "no provider can be asked: none is enabled with a key. Set one under [providers], e.g. "
            'api_key = { env = "XAI_API_KEY" }, or set [lab] emulate = true.'
        )
    return tuple(configs)


async def _emulators(
    config: Config,
    questions: tuple[Question, ...],
    clock: Clock,
    recorder: Recorder,
    stack: AsyncExitStack,
) -> EmulatorFleet:
    def injected(provider: str, model: str | None, fault: str) -> None:
        recorder.emit(FaultInjected(at=clock.utc_now(), provider=provider, model=model, fault=fault))

    fleet = EmulatorFleet(
        QuestionOracle(questions, PricePath(config.bot.seed)),
        seed=config.bot.seed,
        latency_scale=config.lab.latency_scale,
        models={name: section.models for name, section in config.providers.enabled().items()},
        control_port=config.lab.control_port,
        on_change=injected,
    )
    await stack.enter_async_context(fleet)
    return fleet


def _questions(config: Config) -> tuple[Question, ...]:
    return load_questions(config.exchange.questions) if config.exchange.questions else load_bundle()


def _fallback_settings(config: Config) -> FallbackSettings:
    return FallbackSettings(
        work=config.work,
        detector=config.detector,
        ladder=config.ladder_settings,
        probe_timeout_secs=config.failover.probe_timeout_secs,
        probe_idle_secs=config.failover.probe_idle_secs,
        shadow_secs=config.failover.shadow_secs,
        shadow_free_secs=config.failover.shadow_free_secs,
    )


def _cycle_settings(config: Config, concurrency_max: int | None) -> CycleSettings:
    trading = config.trading
    return CycleSettings(
        decision_deadline_secs=trading.decision_deadline_secs,
        decisions_max=trading.decisions_per_cycle,
        concurrency_max=concurrency_max or trading.concurrency,
        ask_again_secs=trading.ask_again_secs,
        forecast_age_secs_max=trading.forecast_age_secs_max,
        secs_to_close_max=trading.days_to_close_max * DAY_SECS,
        risk=RiskSettings(
            order_cost_max=trading.order_cost_usd_max * 1_000_000,
            orders_per_minute_max=trading.orders_per_minute_max,
        ),
        exits=ExitSettings(),
    )


def _earlier(journal: SqliteJournal, clock: Clock, config: Config) -> Earlier:
    """What the run before left: a restart is no evidence that judgement is better, nor new money."""
    now, wall = clock.monotonic(), clock.utc_now()
    healths: dict[Route, RouteHealth] = {}
    for recorded in journal.read((RouteChanged,)):
        if isinstance(event := recorded.event, RouteChanged):
            healths[event.route] = revive(event.new, event.reason, now, config.detector)
    with JournalReader(config.journal_path) as reader:
        last = reader.last(ModeChanged)
        window = timedelta(seconds=config.ladder.flap_window_secs)
        changes = [recorded.event.at for recorded in reader.since(wall - window, (ModeChanged,))]
        midnight = wall.replace(hour=0, minute=0, second=0, microsecond=0)
        paid = reader.since(midnight, _PAID)
    return Earlier(
        mode=last.new if last is not None else EmergencyMode.NORMAL,
        mode_changes=tuple(now - (wall - at).total_seconds() for at in reversed(changes)),
        healths=healths,
        spent=sum(_cost(recorded.event) for recorded in paid),
    )


_PAID: Final = (DecisionMade, DecisionAbstained, ProbeSent, ShadowAnswered)


def _cost(event: Event) -> Micros:
    """AI money an event tells of, in micro-dollars."""
    match event:
        case DecisionMade():
            return event.decision.cost
        case DecisionAbstained():
            return event.abstain.cost
        case ProbeSent() | ShadowAnswered():
            return event.cost
        case _:
            return 0


def _prepare(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise JournalUnwritable(
            f"the data directory {directory} can't be made: {error.strerror}. Nothing was started. "
            "Choose another with --data-dir, or mend its permissions."
        ) from error
