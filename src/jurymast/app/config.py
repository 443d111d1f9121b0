"""Every setting of the bot, with its bounds and unit. Read by :mod:`jurymast.app.settings`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

from jurymast.app.alerts_config import AlertsSection
from jurymast.app.budgets import BudgetSection
from jurymast.app.gateway_config import GatewaySection
from jurymast.app.mode_settings import CELLS, ModeSection
from jurymast.app.models_config import ModelsSection, PriceSection, ProvidersSection, catalogue_of
from jurymast.app.quality import QualitySection
from jurymast.app.rollout_section import RolloutSection
from jurymast.app.routing import RoutingSection
from jurymast.app.settings import REQUIRED, bounded, documented
from jurymast.app.telegram_config import TelegramSection
from jurymast.app.trace_config import TracesSection
from jurymast.domain.money import usd
from jurymast.domain.provider import Secret
from jurymast.domain.status import EmergencyMode
from jurymast.exchange.embedded.server.limits import TIERS
from jurymast.exchange.kalshi.hosts import Environment
from jurymast.intelligence.providers.catalogue import Catalogue
from jurymast.policy.deadline import WorkSettings
from jurymast.policy.detector import DetectorSettings
from jurymast.policy.emergency import (
    TABLE,
    Looser,
    ModeRules,
    looser_pairs,
    risks_without_judgement,
)
from jurymast.policy.judges import JudgeSettings
from jurymast.policy.ladder import LadderSettings
from jurymast.policy.ledger import Cap

HOUR = 3_600.0
KEEP_DAYS_MIN = 30.0
DAY = 24 * HOUR
EXCHANGE_SECS_MAX = 120.0
"""What a cycle may spend with the exchange, its withdrawal included, before it counts as hanging."""


@dataclass(frozen=True, slots=True)
class BotSection:
    """The process itself."""

    data_dir: str = documented("jurymast-data", doc="of the journal, the embedded exchange, the halt latch")
    seed: int = bounded(0, low=0, high=2**31, unit="", doc="of every random choice, here and in the lab")
    cycle_secs: float = bounded(30.0, low=0.1, high=HOUR, unit="s", doc="from one cycle's start to the next")


@dataclass(frozen=True, slots=True)
class KeySection:
    """An API key of one environment: its id and its private half as PEM text."""

    id: str = documented(REQUIRED, doc="of the key, as the account's page shows it")
    private_key: Secret = documented(
        REQUIRED, doc='{ file = "PATH" } or { env = "NAME" }: Ed25519 or RSA, PEM'
    )


@dataclass(frozen=True, slots=True)
class ExchangeSection:
    """Where orders go. The embedded exchange is SIMULATED flow around real questions with real outcomes."""

    host: Environment = documented(
        Environment.EMBEDDED, doc="embedded, demo (Kalshi's, play money) or production (real money)"
    )
    live: bool = documented(False, doc="real money is meant; host production wants JURYMAST_LIVE=yes as well")
    account: str = documented("", doc="name of the account with real money, typed again as run --account")
    funded_usd_max: int = bounded(
        500, low=1, high=10_000_000, unit="USD", doc="real money in the account, all of which may be lost"
    )
    keys: dict[Environment, KeySection] = documented({}, doc="by host; a key goes to its own host only")
    series: tuple[str, ...] = documented((), doc="series to trade; empty for all")
    group_contracts_max: int = bounded(
        20_000,
        low=1,
        high=1_000_000,
        unit="contracts",
        doc="filled in 15 s before the exchange pulls all orders",
    )
    url: str = documented("", doc="of an embedded exchange that runs already; empty starts one")
    port: int = bounded(0, low=0, high=65_535, unit="", doc="of the one that is started; 0 takes a free one")
    tier: str = documented("prestige", doc="rate limits of the one that is started, in Kalshi's words")
    cash_usd: int = bounded(10_000, low=1, high=10_000_000, unit="USD", doc="play money at its first start")
    speed: float = bounded(1_800.0, low=0.1, high=100_000.0, unit="x", doc="its seconds per second")
    start: datetime = documented(datetime(2025, 12, 12, tzinfo=UTC), doc="its time at the first start")
    questions: str = documented("", doc="its file of questions, JSON lines; empty for the bundled ones")
    tape: str = documented("", doc="a tape it plays instead of questions, in the tape's own time")

    def __post_init__(self) -> None:
        if self.tier not in TIERS:
            raise ValueError(f"tier {self.tier!r} is none of {', '.join(TIERS)}")
        if self.url and self.host is not Environment.EMBEDDED:
            raise ValueError(
                f"url names an embedded exchange, but host is {self.host}: leave out one of them"
            )
        if self.tape and (self.url or self.questions or self.host is not Environment.EMBEDDED):
            raise ValueError("a tape is played by an exchange started here: no url, questions or other host")


@dataclass(frozen=True, slots=True)
class WatchdogSection:
    """The dead man's switch: a process that takes resting orders back when the bot falls silent."""

    enabled: bool = documented(True, doc="`run` starts one, where the exchange outlives the bot")
    silence_secs: float = bounded(
        30.0, low=5.0, high=HOUR, unit="s", doc="without a heartbeat, before it acts"
    )
    keys: dict[Environment, KeySection] = documented(
        {}, doc="by host; its own, so that it works when the bot's is revoked; empty takes the bot's"
    )
    hook: str = documented("", doc="command it runs as alert, with what it did as JSON on standard input")


@dataclass(frozen=True, slots=True)
class TradingSection:
    """One trading cycle."""

    decision_deadline_secs: float = bounded(
        60.0, low=1.0, high=600.0, unit="s", doc="for one decision, all told"
    )
    decisions_per_cycle: int = bounded(4, low=1, high=100, unit="", doc="markets put to a model in one cycle")
    concurrency: int = bounded(4, low=1, high=50, unit="", doc="questions under way at once")
    ask_again_secs: float = bounded(
        900.0, low=1.0, high=DAY, unit="s", doc="before a market is asked about again"
    )
    days_to_close_max: float = bounded(90.0, low=0.01, high=3_650.0, unit="d", doc="furthest close traded")
    order_cost_usd_max: int = bounded(500, low=1, high=1_000_000, unit="USD", doc="hard limit of one order")
    orders_per_minute_max: int = bounded(
        60, low=1, high=10_000, unit="/min", doc="hard limit of the order rate"
    )


@dataclass(frozen=True, slots=True)
class FailoverSection:
    """How providers are asked, judged sick and found well."""

    budget_usd_per_day: float = bounded(
        5.0, low=0.0, high=100_000.0, unit="USD", doc="hard limit in all; 0 means none; more in [budget]"
    )
    sends_max: int = bounded(3, low=1, high=10, unit="", doc="requests sent for one decision")
    attempt_secs_max: float = bounded(25.0, low=0.1, high=600.0, unit="s", doc="for one request")
    attempt_secs_min: float = bounded(2.0, low=0.05, high=600.0, unit="s", doc="below which none is sent")
    open_secs: float = bounded(
        15.0, low=0.1, high=HOUR, unit="s", doc="first wait before a sick route is probed"
    )
    open_secs_max: float = bounded(240.0, low=0.1, high=DAY, unit="s", doc="longest such wait")
    latch_probe_secs: float = bounded(
        3_600.0, low=1.0, high=DAY, unit="s", doc="wait after key, credit, model failures"
    )
    probe_timeout_secs: float = bounded(15.0, low=0.1, high=120.0, unit="s", doc="for one probe")
    probe_idle_secs: float = bounded(
        300.0, low=1.0, high=DAY, unit="s", doc="unasked routes are probed this often"
    )

    shadow_secs: float = bounded(
        HOUR,
        low=0.0,
        high=30 * DAY,
        unit="s",
        doc="without a real question, before one in shadow; 0 is never",
    )
    shadow_free_secs: float = bounded(
        300.0, low=0.0, high=30 * DAY, unit="s", doc="the same for small, free models"
    )
    hedge_secs_min: float = bounded(
        0.1, low=0.01, high=600.0, unit="s", doc="soonest a second provider is asked as well"
    )

    def __post_init__(self) -> None:
        if self.attempt_secs_min > self.attempt_secs_max:
            raise ValueError("attempt_secs_min is above attempt_secs_max: no request could be sent")
        if self.open_secs > self.open_secs_max:
            raise ValueError("open_secs is above open_secs_max")


@dataclass(frozen=True, slots=True)
class LadderSection:
    """When the mode changes. See docs/policies/modes.md."""

    thin_secs: float = bounded(
        60.0, low=0.0, high=DAY, unit="s", doc="with one able provider, before CONSERVATIVE"
    )
    cached_secs_max: float = bounded(
        900.0, low=0.0, high=DAY, unit="s", doc="without an answer, before CACHED becomes MINIMAL"
    )
    suspend_after_secs: float = bounded(
        4 * HOUR, low=1.0, high=30 * DAY, unit="s", doc="without any, before SUSPENDED"
    )
    dwell_secs: float = bounded(300.0, low=0.0, high=DAY, unit="s", doc="on a rung before rising")
    blind_dwell_secs: float = bounded(
        30.0, low=0.0, high=DAY, unit="s", doc="in MINIMAL, where no question is asked, before rising"
    )
    suspended_dwell_secs: float = bounded(
        900.0, low=0.0, high=DAY, unit="s", doc="in SUSPENDED, before rising"
    )
    successes_to_rise: int = bounded(3, low=1, high=1_000, unit="", doc="validated answers before rising")
    suspended_successes: int = bounded(
        10, low=1, high=1_000, unit="", doc="validated answers before SUSPENDED is left"
    )
    failed_decisions_max: int = bounded(3, low=1, high=1_000, unit="", doc="in a row, before MINIMAL")
    flap_changes: int = bounded(
        4, low=2, high=1_000, unit="", doc="changes in the window that count as flapping"
    )
    flap_window_secs: float = bounded(HOUR, low=1.0, high=DAY, unit="s", doc="window of the flap count")
    flap_hold_secs: float = bounded(
        HOUR, low=0.0, high=DAY, unit="s", doc="how long flapping holds the safer rung"
    )
    ramp_secs: float = bounded(
        1_800.0, low=0.0, high=DAY, unit="s", doc="of answered questions, before size is whole again"
    )
    budget_share_worrying: float = bounded(
        0.8, low=0.0, high=1.0, unit="x", doc="of the day's AI money spent, before CONSERVATIVE"
    )
    loss_day_pct_max: float = bounded(
        10.0, low=0.01, high=100.0, unit="%", doc="of equity lost on a day of the exchange, before SUSPENDED"
    )
    loss_share_worrying: float = bounded(0.5, low=0.01, high=1.0, unit="x", doc="of that, before MINIMAL")
    data_stale_secs_max: float = bounded(
        30.0, low=0.0, high=HOUR, unit="s", doc="without reading the exchange, before SUSPENDED"
    )
    clock_skew_secs_max: float = bounded(
        1.0, low=0.0, high=HOUR, unit="s", doc="that our clock may be off, before SUSPENDED"
    )
    unknown_secs_max: float = bounded(
        30.0, low=0.0, high=HOUR, unit="s", doc="with an order of unknown fate, before SUSPENDED"
    )
    order_rate_max: float = bounded(
        3.0, low=1.0, high=100.0, unit="x", doc="of trading.orders_per_minute_max, before KILLED"
    )
    hard_caps_max: float = bounded(
        2.0, low=1.0, high=100.0, unit="x", doc="of a market's hard cap held, before KILLED"
    )


@dataclass(frozen=True, slots=True)
class WebSection:
    """The web page that `run` serves. See docs/operate/web.md."""

    enabled: bool = documented(True, doc="serve it")
    host: str = documented(
        "127.0.0.1", doc="address; from any but this machine's own, looking needs the token"
    )
    port: int = bounded(8_780, low=0, high=65_535, unit="", doc="of the page; 0 takes a free one")
    names: tuple[str, ...] = documented((), doc="others it is reached by, say through a proxy")
    token: Secret = documented(
        Secret(), doc='{ env = "NAME" } or { file = "PATH" }; empty keeps one in the data directory'
    )


@dataclass(frozen=True, slots=True)
class JournalSection:
    """How long the journal keeps everything in one file. See docs/operate/service.md."""

    keep_days: float = bounded(
        400.0,
        low=0.0,
        high=36_500.0,
        unit="d",
        doc="older everyday rows go to a file of their month; 0 is never",
    )

    def __post_init__(self) -> None:
        if 0 < self.keep_days < KEEP_DAYS_MIN:
            raise ValueError(f"keep_days is below {KEEP_DAYS_MIN:g}: a start reads so far back")


@dataclass(frozen=True, slots=True)
class LogSection:
    """Decisions for whoever gathers logs. See docs/operate/metrics.md."""

    file: str = documented("", doc="a line of JSON for each decision, secrets masked; empty writes none")


@dataclass(frozen=True, slots=True)
class LabSection:
    """Emulated providers. Everything they say is SIMULATED."""

    emulate: bool = documented(False, doc="ask emulated providers instead of real ones")
    weather: bool = documented(False, doc="let the emulated providers fail by seeded outages")
    latency_scale: float = bounded(
        0.2, low=0.0, high=10.0, unit="x", doc="emulated latency against the measured"
    )
    control_port: int = bounded(
        8790, low=0, high=65_535, unit="", doc="of the fault control; 0 takes a free one"
    )


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration."""

    bot: BotSection = BotSection()
    exchange: ExchangeSection = ExchangeSection()
    watchdog: WatchdogSection = WatchdogSection()
    trading: TradingSection = TradingSection()
    failover: FailoverSection = FailoverSection()
    budget: BudgetSection = BudgetSection()
    ladder: LadderSection = LadderSection()
    modes: dict[EmergencyMode, ModeSection] = documented(
        {mode: ModeSection.of(row) for mode, row in TABLE.items()}, doc="what each mode may do"
    )
    web: WebSection = WebSection()
    gateway: GatewaySection = GatewaySection()
    alerts: AlertsSection = AlertsSection()
    telegram: TelegramSection = TelegramSection()
    journal: JournalSection = JournalSection()
    log: LogSection = LogSection()
    traces: TracesSection = TracesSection()
    quality: QualitySection = QualitySection()
    routing: RoutingSection = RoutingSection()
    lab: LabSection = LabSection()
    rollout: RolloutSection = RolloutSection()
    providers: ProvidersSection = ProvidersSection()
    models: ModelsSection = ModelsSection()
    prices: dict[str, PriceSection] = documented({}, doc="of models by id, before those that ship")

    def __post_init__(self) -> None:
        if self.trading.decision_deadline_secs < self.failover.attempt_secs_min:
            raise ValueError(
                "trading.decision_deadline_secs is below failover.attempt_secs_min: nobody could be asked"
            )
        catalogue_of(self.prices)
        if bold := risks_without_judgement(self.table):
            raise ValueError(f"modes.{bold[0]}.entries is true: without judgement no new risk may be taken")
        if looser := looser_pairs(self.table):
            named = {column: name for name, (column, _) in CELLS.items()}
            raise ValueError(
                "; ".join(self._looser(fault, named.get(fault.column, fault.column)) for fault in looser)
            )

    def _looser(self, fault: Looser, name: str) -> str:
        riskier, safer = (getattr(self.modes[mode], name) for mode in (fault.riskier, fault.safer))
        return (
            f"modes.{fault.safer}.{name} is {safer}, looser than modes.{fault.riskier}.{name} "
            f"with {riskier}: a safer mode may never be looser"
        )

    @property
    def table(self) -> dict[EmergencyMode, ModeRules]:
        """What each mode may do, as the rules want it."""
        return {mode: self.modes[mode].rules(mode) for mode in EmergencyMode}

    @property
    def catalogue(self) -> Catalogue:
        """Models and prices, the operator's before those that ship. A new one each time."""
        return catalogue_of(self.prices)

    @property
    def data_dir(self) -> Path:
        return Path(self.bot.data_dir)

    @property
    def journal_path(self) -> Path:
        return self.data_dir / "journal.db"

    @property
    def exchange_path(self) -> Path:
        return self.data_dir / "embedded-exchange.db"

    @property
    def cycle_secs_max(self) -> float:
        """How long a well bot may take from one finished cycle to the next, in seconds."""
        trading = self.trading
        rounds = -(-trading.decisions_per_cycle // trading.concurrency)
        return self.bot.cycle_secs + rounds * trading.decision_deadline_secs + EXCHANGE_SECS_MAX

    @property
    def preview_path(self) -> Path:
        return self.data_dir / "flatten-preview.json"

    @property
    def budget_path(self) -> Path:
        return Path(self.budget.file or self.data_dir / "budget.db")

    @property
    def caps(self) -> tuple[Cap, ...]:
        """Limits of AI money, the day's in all first."""
        return *self.budget.all_caps(usd(str(self.failover.budget_usd_per_day))), *self.gateway.caps

    @property
    def work(self) -> WorkSettings:
        return WorkSettings(
            attempt_secs_max=self.failover.attempt_secs_max,
            attempt_secs_min=self.failover.attempt_secs_min,
            sends_max=self.failover.sends_max,
            hedge_secs_min=self.failover.hedge_secs_min,
        )

    @property
    def detector(self) -> DetectorSettings:
        return DetectorSettings(
            open_secs=self.failover.open_secs,
            open_secs_max=self.failover.open_secs_max,
            latch_probe_secs=self.failover.latch_probe_secs,
        )

    @property
    def ladder_settings(self) -> LadderSettings:
        section = self.ladder
        return LadderSettings(
            thin_secs=section.thin_secs,
            suspend_after_secs=section.suspend_after_secs,
            dwell_secs=section.dwell_secs,
            blind_dwell_secs=section.blind_dwell_secs,
            successes_to_rise=section.successes_to_rise,
            failed_decisions_max=section.failed_decisions_max,
            flap_changes=section.flap_changes,
            flap_window_secs=section.flap_window_secs,
            flap_hold_secs=section.flap_hold_secs,
            cached_secs_max=section.cached_secs_max,
            suspended_dwell_secs=section.suspended_dwell_secs,
            suspended_successes=section.suspended_successes,
            ramp_secs=section.ramp_secs,
            judges=JudgeSettings(
                budget_share_worrying=section.budget_share_worrying,
                loss_day_bp_max=round(section.loss_day_pct_max * 100),
                loss_share_worrying=section.loss_share_worrying,
                data_stale_secs_max=section.data_stale_secs_max,
                clock_skew_secs_max=section.clock_skew_secs_max,
                unknown_secs_max=section.unknown_secs_max,
                order_rate_max=section.order_rate_max,
                hard_caps_max=section.hard_caps_max,
            ),
        )


def embedded_toml() -> str:
    """The configuration of a run without a configuration file."""
    return resources.files("jurymast.app").joinpath("embedded.toml").read_text(encoding="utf-8")
