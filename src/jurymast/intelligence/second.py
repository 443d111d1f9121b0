"""Buys opinions beside one that is there already: another model's, and the model's own of the negation.

The other model is the one whose opinion counts most: where a cheap model is asked first, a stronger one is
asked after it, and only where a trade may come of it. That is a cascade, by what an answer is worth and not
by how hard the question looks.

After the decision and before it is told, within the same deadline. What goes wrong with it changes nothing:
the decision stands as it was. What comes of it is evidence of the routes like any shadow question.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from jurymast.domain.decision import Decision, Forecast, Opinion
from jurymast.domain.events import SecondOpinionGiven
from jurymast.domain.market import EvidenceItem, MarketSnapshot
from jurymast.domain.money import Micros
from jurymast.domain.provider import AIRequest, AIResponse, Route
from jurymast.intelligence.beside import Beside, ask_beside
from jurymast.intelligence.fallback_manager import Emit, FallbackManager
from jurymast.intelligence.prompts import forecast_request
from jurymast.intelligence.weighing import Weighing
from jurymast.policy.emergency import ModeRules
from jurymast.policy.parsing import ModelAbstained, Rejected, parse_forecast
from jurymast.policy.quality import weight_of
from jurymast.policy.record import Record
from jurymast.policy.second import SecondSettings, worth, worth_negating
from jurymast.ports import Clock

_Answer = Forecast | ModelAbstained


class SecondOpinions:
    """Asks at most one other model and one negation a decision."""

    def __init__(
        self,
        fallback: FallbackManager,
        weighing: Weighing,
        clock: Clock,
        emit: Emit,
        settings: SecondSettings,
    ) -> None:
        self._fallback = fallback
        self._weighing = weighing
        self._clock = clock
        self._emit = emit
        self._settings = settings

    @property
    def wanted(self) -> bool:
        """Whether anybody is asked beside at all."""
        return self._settings.second or self._settings.negate

    async def heard(
        self,
        decision: Decision,
        snapshot: MarketSnapshot,
        evidence: tuple[EvidenceItem, ...],
        left_secs: float,
    ) -> Decision:
        """The decision with what others say beside it, where that is worth its price."""
        settings = self._settings
        if decision.cached is not None or left_secs < settings.secs_min:
            return decision
        rules = self._fallback.rules
        timeout_secs = min(left_secs, self._fallback.settings.work.attempt_secs_max)
        negate = settings.negate and worth_negating(decision, snapshot, rules, settings)
        if not settings.second and not negate:
            return decision
        other, negated = await asyncio.gather(
            self._other(decision, snapshot, evidence, timeout_secs, rules) if settings.second else _nothing(),
            self._negation(decision, snapshot, evidence, timeout_secs) if negate else _nothing(),
        )
        if other is not None:
            beside = tuple(each for each in decision.beside if each.model != other.model)
            decision = replace(decision, beside=(*beside, other))
        return decision if negated is None else replace(decision, negated_pct=negated)

    async def _other(
        self,
        decision: Decision,
        snapshot: MarketSnapshot,
        evidence: tuple[EvidenceItem, ...],
        timeout_secs: float,
        rules: ModeRules,
    ) -> Opinion | None:
        """Another model's opinion of the same question."""
        request, value = (
            forecast_request(snapshot, evidence),
            worth(decision, snapshot, rules, self._settings),
        )
        record = self._another(decision, request, value, snapshot.market.category)
        if record is None:
            return None
        answer = await self._ask(record, request, evidence, timeout_secs, decision.ticker)
        self._tell(decision, record.route, answer, value, negated=False)
        if answer is None or answer.response is None or not isinstance(answer.value, Forecast):
            return None
        response, category = answer.response, snapshot.market.category
        tier = self._fallback.providers.tier_served(response, record.route)
        percent = answer.value.probability_pct
        opinion = self._weighing.opinion(record.route, response.served_model, tier, percent, category)
        self._weighing.note_opinion(
            opinion, snapshot, decision.market_price, self._clock.utc_now(), simulated=response.simulated
        )
        return opinion

    async def _negation(
        self,
        decision: Decision,
        snapshot: MarketSnapshot,
        evidence: tuple[EvidenceItem, ...],
        timeout_secs: float,
    ) -> int | None:
        """What the same model gives the negated question."""
        record = self._fallback.core.health.records.get(decision.route)
        request = forecast_request(snapshot, evidence, negated=True)
        if record is None or not self._fallback.providers.at_ease(request, decision.route, decision.ticker):
            return None
        answer = await self._ask(record, request, evidence, timeout_secs, decision.ticker)
        self._tell(decision, record.route, answer, 0, negated=True)
        if answer is None or answer.response is None or not isinstance(answer.value, Forecast):
            return None
        if answer.response.served_model != decision.served_model:
            return None  # two models: no test of either
        return answer.value.probability_pct

    def _another(self, decision: Decision, request: AIRequest, value: Micros, category: str) -> Record | None:
        """Of the well routes whose opinion is worth more than it costs the one that counts most; among equals
        the first in the order of routes. Of the provider that has answered only what counts for more."""
        providers, health = self._fallback.providers, self._fallback.core.health
        best, most = None, 0.0
        for candidate in health.plan(self._clock.monotonic()).routes:
            route, tier = candidate.spec.route, candidate.spec.tier
            counts = self._weighing.opinion(route, route.model, tier, 50, category).weight.used
            floor = weight_of(decision).used if route.provider is decision.provider else 0.0
            if not candidate.health.usable or counts <= max(most, floor):
                continue
            affordable = value > providers.worst_case(request, route)
            if affordable and providers.at_ease(request, route, decision.ticker):
                best, most = health.records[route], counts
        return best

    async def _ask(
        self,
        record: Record,
        request: AIRequest,
        evidence: tuple[EvidenceItem, ...],
        timeout_secs: float,
        market: str,
    ) -> Beside[_Answer] | None:
        source_ids = {item.source_id for item in evidence}

        def validate(response: AIResponse) -> _Answer | Rejected:
            return parse_forecast(response.content, source_ids)

        fallback = self._fallback
        return await ask_beside(
            fallback.providers, fallback.core, self._clock, record, request, validate, timeout_secs, market
        )

    def _tell(
        self,
        decision: Decision,
        route: Route,
        answer: Beside[_Answer] | None,
        value: Micros,
        *,
        negated: bool,
    ) -> None:
        if answer is None:
            return  # not sent: the day's money does not cover it
        said = answer.value.probability_pct if isinstance(answer.value, Forecast) else None
        detail = str(answer.failure) if answer.failure else "answered" if said is not None else "abstained"
        self._emit(
            SecondOpinionGiven(
                at=self._clock.utc_now(),
                decision_id=decision.decision_id,
                ticker=decision.ticker,
                route=route,
                negated=negated,
                probability_pct=said,
                detail=detail,
                worth=value,
                secs=answer.secs,
                cost=answer.cost,
                estimated=answer.estimated,
            )
        )


async def _nothing() -> None:
    """Nobody is asked."""
