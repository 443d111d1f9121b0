"""The one place where real things are chosen and put together."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from jurymast.app.config import Config
from jurymast.app.control import ControlFile
from jurymast.app.decision_log import DecisionLog
from jurymast.app.exchange import Venue, check_armed, open_exchange
from jurymast.app.heart import Heart
from jurymast.app.redaction import Redactor
from jurymast.app.restart import earlier_run, forecast_records, last_cycle, settled_forecasts
from jurymast.app.traces import Tracer
from jurymast.domain.errors import ConfigError, JournalUnwritable
from jurymast.domain.events import (
    ApiDrifted,
    Event,
    FaultInjected,
)
from jurymast.domain.money import USD, Micros
from jurymast.domain.provider import ProviderConfig, ProviderName
from jurymast.exchange.kalshi.exchange import KalshiExchange
from jurymast.exchange.kalshi.reading import Strange
from jurymast.exchange.paths import PricePath
from jurymast.exchange.questions import BundledEvidence, Question, load_bundle, load_questions
from jurymast.intelligence.assembly import connect
from jurymast.intelligence.enhanced_client import EnhancedAIClient
from jurymast.intelligence.fallback_manager import FallbackManager, FallbackSettings
from jurymast.journal.books import SqliteBooks
from jurymast.journal.sqlite import SqliteJournal
from jurymast.lab.emulators.fleet import EmulatorFleet
from jurymast.lab.rig import EMULATED_KEY
from jurymast.lab.world import QuestionOracle
from jurymast.policy.alert_signals import TOLD_BY
from jurymast.policy.exits import ExitSettings
from jurymast.policy.interlocks import order_cap
from jurymast.policy.records import ForecastRecords
from jurymast.policy.restart import NOTHING_EARLIER
from jurymast.policy.risk import RiskSettings
from jurymast.ports import Clock
from jurymast.trading.cycle import TradingCycle
from jurymast.trading.exits import Liquidator
from jurymast.trading.gateway import Gateway
from jurymast.trading.outcomes import Outcomes
from jurymast.trading.portfolio import BOOK_EVENTS, Portfolio
from jurymast.trading.reconcile import Reconciler
from jurymast.trading.recorder import Recorder
from jurymast.trading.settings import CycleSettings

DAY_SECS = 86_400.0
USD_MAX = 1_000_000 * USD
NEWS_MAX = 5_000


@dataclass(slots=True)
class Bot:
    """A whole bot, ready to run."""

    config: Config
    clock: Clock
    journal: SqliteJournal
    recorder: Recorder
    portfolio: Portfolio
    venue: Venue
    client: EnhancedAIClient
    cycle: TradingCycle
    gateway: Gateway
    control: ControlFile
    liquidator: Liquidator
    outcomes: Outcomes
    heart: Heart
    fleet: EmulatorFleet | None
    news: deque[Event]
    """What alerts may be made of, until they were; the oldest is lost when nobody takes it."""
    log: DecisionLog
    redact: Redactor
    order_cap: Micros | None
    """Of real money, by what the record has earned; None for play money."""
    tracer: Tracer

    @property
    def exchange(self) -> KalshiExchange:
        return self.venue.exchange

    @property
    def fallback(self) -> FallbackManager:
        return self.client.fallback_manager

    @property
    def simulated(self) -> tuple[str, ...]:
        """Which parts are not real, for every screen that shows their doings."""
        exchange = ("exchange",) if self.venue.simulated else ()
        return exchange if self.fleet is None else (*exchange, "providers")


@asynccontextmanager
async def build(
    config: Config,
    *,
    clock: Clock,
    watch: Callable[[Event], None] = lambda _: None,
    concurrency_max: int | None = None,
    ticking: bool = True,
    environ: Mapping[str, str] = os.environ,
    account: str = "",
) -> AsyncIterator[Bot]:
    """Put a bot together and take it apart again in order. ``watch`` sees every event.

    ``ticking`` off leaves it to the caller when the crowd of an embedded exchange acts. ``account`` is the
    name of the account of real money, as somebody has typed it.
    """
    check_armed(config, environ, account)
    prepare(config.data_dir)
    async with AsyncExitStack() as stack:
        journal = SqliteJournal.open(config.journal_path, clock=clock)
        stack.push_async_callback(journal.close)
        portfolio = Portfolio()
        portfolio.replay(recorded.event for recorded in journal.read(BOOK_EVENTS))
        heart = Heart(
            config.data_dir,
            clock,
            may_rest=lambda: bool(portfolio.open_intents),
            progress=lambda: cycle.cycles,
            quiet_secs=config.cycle_secs_max,
        )

        news: deque[Event] = deque(maxlen=NEWS_MAX)
        redact = Redactor(config)
        log = DecisionLog(config.log.file, clock, redact)
        tracer = Tracer(config.traces, clock, redact)

        def observe(event: Event) -> None:
            watch(event)
            heart.saw(event)
            log.saw(event)
            tracer.saw(event)
            if isinstance(event, TOLD_BY):
                news.append(event)

        recorder = Recorder(journal, portfolio, observe)

        def drifted(strange: Strange) -> None:
            recorder.emit(ApiDrifted(at=clock.utc_now(), **asdict(strange)))

        venue = await open_exchange(
            config,
            questions_of(config),
            clock=clock,
            environ=environ,
            stack=stack,
            tell=drifted,
            ticking=ticking,
            account=account,
        )
        exchange = venue.exchange
        fleet = None
        if config.lab.emulate:
            oracle = QuestionOracle(venue.questions, PricePath(venue.seed))
            fleet = await emulators(config, oracle, clock, recorder.emit, stack)
        records = forecast_records(config)
        providers = provider_configs(config, fleet)
        client = await stack.enter_async_context(
            judgement(config, providers, journal, records=records, clock=clock, emit=recorder.emit)
        )
        control = ControlFile(config.data_dir, clock)
        gateway = Gateway(exchange, recorder, portfolio, clock=clock, control=control, table=config.table)
        reconciler = Reconciler(exchange, recorder, portfolio, gateway, clock=clock)
        liquidator = Liquidator(exchange, portfolio, gateway, reconciler, clock=clock)
        cap = _order_cap(venue, journal)
        cycle = TradingCycle(
            exchange=exchange,
            judge=client,
            evidence=BundledEvidence(venue.questions),
            recorder=recorder,
            portfolio=portfolio,
            gateway=gateway,
            reconciler=reconciler,
            clock=clock,
            settings=cycle_settings(config, concurrency_max, cap),
            last=last_cycle(config),
        )
        yield Bot(
            config, clock, journal, recorder, portfolio, venue, client, cycle, gateway, control,
            liquidator, Outcomes(exchange, records, recorder, clock=clock), heart, fleet, news,
            log, redact, cap, tracer,
        )  # fmt: skip


@asynccontextmanager
async def judgement(
    config: Config,
    providers: Sequence[ProviderConfig],
    journal: SqliteJournal | None,
    *,
    records: ForecastRecords | None = None,
    clock: Clock,
    emit: Callable[[Event], None],
) -> AsyncIterator[EnhancedAIClient]:
    """The AI layer as configured, going on from what ``journal`` remembers; without one it begins anew.
    ``records`` are what models have said and what became of it, read from the journal where not handed in."""
    earlier = NOTHING_EARLIER if journal is None else earlier_run(journal, clock, config)
    if records is None and journal is not None:
        records = forecast_records(config)
    async with connect(
        providers,
        clock=clock,
        emit=emit,
        settings=fallback_settings(config),
        catalogue=config.catalogue,
        books=SqliteBooks.open(config.budget_path, config.caps, clock=clock, spent=earlier.spent),
        pace=config.budget.pace,
        strategy=config.budget.strategy,
        seed=config.bot.seed,
        earlier=earlier,
        table=config.table,
        records=records,
        second=config.quality.second,
        routing=config.routing.settings(config.quality.bankroll_usd),
    ) as client:
        yield client


def provider_configs(config: Config, fleet: EmulatorFleet | None) -> tuple[ProviderConfig, ...]:
    """The providers that can be asked, one configuration per instance. Raises ConfigError when none can.

    With emulators every enabled provider is pointed at its emulator, whatever keys are set: no request
    of a simulated run leaves this machine.
    """
    configs: list[ProviderConfig] = []
    catalogue = config.catalogue
    for name, section in config.providers.enabled().items():
        for settings in section.configs(name, catalogue):
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


async def emulators(
    config: Config,
    oracle: QuestionOracle,
    clock: Clock,
    emit: Callable[[Event], None],
    stack: AsyncExitStack,
) -> EmulatorFleet:
    """Emulated providers, served until ``stack`` ends; ``emit`` is told of faults that are injected."""

    def injected(provider: str, model: str | None, fault: str) -> None:
        emit(FaultInjected(at=clock.utc_now(), provider=provider, model=model, fault=fault))

    catalogue = config.catalogue
    fleet = EmulatorFleet(
        oracle,
        seed=config.bot.seed,
        latency_scale=config.lab.latency_scale,
        models={name: section.resolved(catalogue) for name, section in config.providers.enabled().items()},
        control_port=config.lab.control_port,
        on_change=injected,
    )
    await stack.enter_async_context(fleet)
    return fleet


def questions_of(config: Config) -> tuple[Question, ...]:
    """The bundled questions, or those of the configured file. Raises ConfigError."""
    return load_questions(config.exchange.questions) if config.exchange.questions else load_bundle()


def fallback_settings(config: Config) -> FallbackSettings:
    """What failover goes by."""
    return FallbackSettings(
        work=config.work,
        detector=config.detector,
        ladder=config.ladder_settings,
        probe_timeout_secs=config.failover.probe_timeout_secs,
        probe_idle_secs=config.failover.probe_idle_secs,
        shadow_secs=config.failover.shadow_secs,
        shadow_free_secs=config.failover.shadow_free_secs,
    )


def _order_cap(venue: Venue, journal: SqliteJournal) -> Micros | None:
    """What the record on real money allows for one order; play money has no such cap."""
    return order_cap(settled_forecasts(journal)) if venue.real_money else None


def cycle_settings(
    config: Config, concurrency_max: int | None = None, cap: Micros | None = None
) -> CycleSettings:
    """What a cycle goes by; ``cap`` limits an order beside the configuration."""
    trading = config.trading
    return CycleSettings(
        decision_deadline_secs=trading.decision_deadline_secs,
        decisions_max=trading.decisions_per_cycle,
        concurrency_max=concurrency_max or trading.concurrency,
        ask_again_secs=trading.ask_again_secs,
        table=config.table,
        secs_to_close_max=trading.days_to_close_max * DAY_SECS,
        risk=RiskSettings(
            order_cost_max=min(trading.order_cost_usd_max * USD, USD_MAX if cap is None else cap),
            orders_per_minute_max=trading.orders_per_minute_max,
        ),
        exits=ExitSettings(),
    )


def prepare(directory: Path) -> None:
    """Make the data directory. Raises JournalUnwritable."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise JournalUnwritable(
            f"the data directory {directory} can't be made: {error.strerror}. Nothing was started. "
            "Choose another with --data-dir, or mend its permissions."
        ) from error
