"""Beliefs, decisions and abstentions.

A model gives a :class:`Forecast`: beliefs, no orders. Code turns it into a :class:`Decision`, which
carries where it came from and what it cost, or into an :class:`Abstain` with a reason. Nothing else
comes out of the AI layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from jurymast.domain.money import Centi, Micros
from jurymast.domain.provider import FailureKind, ProviderName, Route, Tier
from jurymast.domain.status import EmergencyMode
from jurymast.domain.value import value
from jurymast.domain.word import Word


class EvidenceQuality(Word):
    """The model's own grade of the evidence it was given."""

    NONE = "none"
    WEAK = "weak"
    MIXED = "mixed"
    STRONG = "strong"


class ResolutionRisk(Word):
    """How likely the rules surprise a reasonable reader."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@value
class CitedFact:
    """A fact the model relies on, with the evidence item it came from."""

    fact: str
    date: str
    source_id: str


@value
class Forecast:
    """Validated beliefs of one model: integer percents with 1 <= low <= probability <= high <= 99."""

    probability_pct: int
    low_pct: int
    high_pct: int
    base_rate_pct: int
    evidence_quality: EvidenceQuality
    resolution_risk: ResolutionRisk
    key_evidence: tuple[CitedFact, ...]
    would_change_mind: str

    def __post_init__(self) -> None:
        if not 1 <= self.low_pct <= self.probability_pct <= self.high_pct <= 99:
            raise ValueError(
                "forecast out of order: "
                f"1 <= {self.low_pct} <= {self.probability_pct} <= {self.high_pct} <= 99"
            )

    @property
    def probability(self) -> float:
        return self.probability_pct / 100


class Rung(Word):
    """How far down the ladder of judgement a decision came from."""

    PRIMARY = "primary"
    FAILOVER = "failover"
    LOCAL = "local"
    REUSED = "reused"
    """The first choice's answer to the very same question about another market, moments ago."""
    CACHED = "cached"
    EMERGENCY = "emergency"


class AbstainReason(Word):
    """Why there is no decision. Closed list."""

    MODEL_ABSTAINED = "model_abstained"
    ALL_PROVIDERS_FAILED = "all_providers_failed"
    EMERGENCY_MODE = "emergency_mode"
    NO_ROUTE = "no_route"
    AI_BUDGET_SPENT = "ai_budget_spent"
    CONTENT_FILTER = "content_filter"
    INTERNAL_ERROR = "internal_error"


@value
class Attempt:
    """One send to one route, or one route skipped with its reason.

    ``cost`` is what it cost as far as is known. ``estimated`` says that no vendor has told it: of an attempt
    given up on its way it is the likely cost, and ``uncertain`` what may be billed beyond that at most; of
    one that failed without a word of its tokens it is the worst case. It began ``after_secs`` of the walk;
    tokens are those of an answer, 0 where nobody has counted.
    """

    route: Route
    outcome: str
    detail: str = ""
    secs: float = 0.0
    cost: Micros = 0
    failure: FailureKind | None = None
    sent: bool = True
    uncertain: Micros = 0
    estimated: bool = False
    after_secs: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class CachedFrom:
    """Where an opinion comes from that is used again: the decision, its market then, and what is left of it.

    ``market_price`` is the mid of YES then, ``share`` what its edge has faded to by ``half_life_secs``.
    """

    decision_id: str
    as_of: datetime
    market_price: Micros
    age_secs: float
    half_life_secs: float
    share: float


@value
class Weight:
    """What a model's disagreement with the market counts for: mean and standard deviation of its increment.

    ``events`` is how many resolved ones it was learned from, 0 for a tier's prior. ``shift`` and ``slope``
    calibrate what the model says, in log-odds. ``stopped`` says why it counts for nothing, when it does.
    """

    mean: float
    sd: float
    events: int = 0
    shift: float = 0.0
    slope: float = 1.0
    stopped: str = ""

    @property
    def used(self) -> float:
        """The weight while judgement is sound: never negative, nobody bets against a model."""
        return 0.0 if self.stopped else max(0.0, self.mean)

    @property
    def lower(self) -> float:
        """The mean less one standard deviation, never negative: the weight when judgement is weak."""
        return 0.0 if self.stopped else max(0.0, self.mean - self.sd)

    def __str__(self) -> str:
        source = f"of {self.events} resolved events" if self.events else "its tier's prior"
        return f"stopped: {self.stopped}" if self.stopped else f"{self.mean:.2f}+-{self.sd:.2f}, {source}"


@dataclass(frozen=True, slots=True)
class Opinion:
    """What another model has said of the same market. ``weight`` is its own."""

    route: Route
    model: str
    tier: Tier
    probability_pct: int
    weight: Weight


@dataclass(frozen=True, slots=True)
class ForecastRecord:
    """One model's first forecast of a market, as it is scored when the market resolves.

    ``model`` is who really answered. ``market_price`` is the mid of YES then, ``weight`` what the forecast
    counted for, ``calibrated`` the probability that it was taken to mean. Times are exchange time.
    """

    ticker: str
    event_ticker: str
    category: str
    provider: ProviderName
    model: str
    tier: Tier
    probability_pct: int
    market_price: Micros
    weight: float
    calibrated: float
    as_of: datetime
    closes_at: datetime
    shadow: bool = False
    simulated: bool = False


@value
class Decision:
    """A usable forecast, who gave it and what it is worth.

    ``rules_hash``, ``spread`` and ``volume_24h`` are of the market as it was asked about: an opinion that is
    used again is void when they have changed. ``cached`` is set when it is one. ``weight`` is what the model
    has shown to be worth, None leaves it to its tier's prior; ``instead_of`` is the weight of the one that is
    asked first, where it was another. ``beside`` are other models' opinions of the same question, and
    ``negated_pct`` is what the model itself gives the negated one.
    """

    decision_id: str
    ticker: str
    forecast: Forecast
    rung: Rung
    route: Route
    tier: Tier
    served_model: str
    mode: EmergencyMode
    cost: Micros
    secs: float
    market_price: Micros
    as_of: datetime
    decided_at: datetime
    reason: str
    attempts: tuple[Attempt, ...] = ()
    simulated: bool = False
    rules_hash: str = ""
    spread: Micros = 0
    volume_24h: Centi = 0
    cached: CachedFrom | None = None
    weight: Weight | None = None
    instead_of: Weight | None = None
    beside: tuple[Opinion, ...] = ()
    negated_pct: int | None = None

    @property
    def provider(self) -> ProviderName:
        return self.route.provider

    def age_secs(self, now: datetime) -> float:
        """Seconds since it was decided, by the bot's own clock."""
        return (now - self.decided_at).total_seconds()


@dataclass(frozen=True, slots=True)
class Abstain:
    """The explicit answer "no decision", with its reason and what it cost to find out."""

    decision_id: str
    ticker: str
    reason: AbstainReason
    detail: str
    mode: EmergencyMode
    cost: Micros
    secs: float
    market_price: Micros
    as_of: datetime
    decided_at: datetime
    attempts: tuple[Attempt, ...] = ()
    rung: Rung = Rung.EMERGENCY
    route: Route | None = None
    served_model: str = ""
    simulated: bool = False
