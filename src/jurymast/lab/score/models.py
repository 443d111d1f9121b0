"""What SIMULATED models say of each question, and what it costs to ask them.

The models are the emulators' (see :mod:`jurymast.lab.emulators.skill`): as good as ForecastBench measured the
model each resembles, and no better. Their noise is fitted on the bundled questions, whatever questions are
scored. A first choice that is strong and what it fails over to: mid, small, and a small local model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from jurymast.domain.decision import Decision, Forecast, Rung, Weight
from jurymast.domain.market import Book, Level, MarketSnapshot, MarketStatus
from jurymast.domain.money import CENT, CONTRACT, Micros
from jurymast.domain.probability import from_price, logit
from jurymast.domain.provider import ProviderName, Route, Tier, Usage
from jurymast.domain.status import EmergencyMode
from jurymast.exchange.questions import Question, as_market, load_bundle
from jurymast.intelligence.prompts import forecast_request
from jurymast.intelligence.providers.catalogue import default_catalogue
from jurymast.lab.emulators.forecaster import Forecaster
from jurymast.lab.emulators.prompt import Prompt
from jurymast.policy.tokens import BYTES_PER_TOKEN_BEFORE

CHAIN: Final = (
    Route(ProviderName.XAI, "grok-4.7"),
    Route(ProviderName.OPENAI, "gpt-6.1-terra"),
    Route(ProviderName.ANTHROPIC, "claude-haiku-5-5"),
    Route(ProviderName.LOCAL, "llama3.1:8b"),
)
"""Who is asked, in this order."""
ANSWER_TOKENS: Final = 450
"""Of one answer: without long reasoning medians are 254 to 746 (KalshiBench, arXiv 2512.16030)."""
HALF_SPREAD: Final = 1 * CENT
DEPTH: Final = 5_000 * CONTRACT
VOLUME: Final = 100_000 * CONTRACT


@dataclass(frozen=True, slots=True)
class Said:
    """One model's forecast of one question, and its price in micro-dollars."""

    route: Route
    tier: Tier
    forecast: Forecast
    cost: Micros


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as the models and the exchange have it; the book around the crowd's price is SIMULATED."""

    question: Question
    snapshot: MarketSnapshot
    said: tuple[Said, ...]

    @property
    def market(self) -> float:
        return from_price(self.snapshot.book.mid)

    @property
    def yes(self) -> bool:
        return self.question.outcome


class _Oracle:
    """What the emulators know: price and outcome of what is scored, fitted on the bundle."""

    def __init__(self, questions: Sequence[Question]) -> None:
        self._questions = {question.ticker: question for question in questions}

    def log_odds(self, ticker: str, as_of: datetime) -> float | None:  # noqa: ARG002 (they have one price)
        question = self._questions.get(ticker)
        return None if question is None else logit(question.crowd_probability)

    def outcome(self, ticker: str) -> bool | None:
        question = self._questions.get(ticker)
        return None if question is None else question.outcome

    def calibration_sample(self) -> Sequence[tuple[float, bool]]:
        return [(logit(each.crowd_probability), each.outcome) for each in load_bundle()]


def ask(questions: Sequence[Question], seed: int, chain: Sequence[Route] = CHAIN) -> list[Asked]:
    """Put every question to every model of the chain."""
    forecaster = Forecaster(_Oracle(questions), seed)
    asked = []
    for question in questions:
        snapshot = snapshot_of(question)
        size_bytes = forecast_request(snapshot, ()).size_bytes
        usage = Usage(input=int(size_bytes / BYTES_PER_TOKEN_BEFORE), output=ANSWER_TOKENS)
        prompt = Prompt("", question.ticker, question.listed_at)
        said = tuple(_said(forecaster, route, prompt, usage) for route in chain)
        asked.append(Asked(question, snapshot, said))
    return asked


def snapshot_of(question: Question) -> MarketSnapshot:
    """The question as a market: a cent either side of the crowd's price, deep and busy."""
    mid = min(max(round(question.crowd_probability * 100), 2), 98) * CENT
    return MarketSnapshot(
        market=as_market(question),
        status=MarketStatus.ACTIVE,
        book=Book((Level(mid - HALF_SPREAD, DEPTH),), (Level(mid + HALF_SPREAD, DEPTH),)),
        volume_24h=VOLUME,
        as_of=question.listed_at,
    )


def decision_on(
    asked: Asked,
    said: Said,
    *,
    weight: Weight | None,
    instead_of: Weight | None = None,
    tier: Tier | None = None,
) -> Decision:
    """What the bot would have in hand if ``said`` had answered."""
    return Decision(
        decision_id=asked.question.ticker,
        ticker=asked.question.ticker,
        forecast=said.forecast,
        rung=Rung.PRIMARY if instead_of is None else Rung.FAILOVER,
        route=said.route,
        tier=tier or said.tier,
        served_model=said.route.model,
        mode=EmergencyMode.NORMAL,
        cost=said.cost,
        secs=0.0,
        market_price=asked.snapshot.book.mid,
        as_of=asked.snapshot.as_of,
        decided_at=asked.snapshot.as_of,
        reason="SIMULATED",
        simulated=True,
        weight=weight,
        instead_of=instead_of,
    )


def _said(forecaster: Forecaster, route: Route, prompt: Prompt, usage: Usage) -> Said:
    belief = forecaster.believe(route.model, prompt)
    forecast = Forecast(
        belief.probability_pct, belief.low_pct, belief.high_pct, belief.base_rate_pct,
        belief.evidence_quality, belief.resolution_risk, (), "",
    )  # fmt: skip
    local = route.provider is ProviderName.LOCAL
    price = None if local else default_catalogue().price(route.model)
    return Said(
        route,
        Tier.SMALL if price is None else price.tier,
        forecast,
        0 if price is None else price.cost(usage),
    )
