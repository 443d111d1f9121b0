"""The one call a trader makes. It never raises, and answers within its deadline."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final, TypeAlias, TypeVar

from jurymast.domain.decision import Abstain, AbstainReason, Attempt, Decision, Forecast, Rung
from jurymast.domain.events import (
    DecisionAbstained,
    DecisionMade,
    EmergencyShadowed,
    ShadowAnswered,
    TextCompleted,
)
from jurymast.domain.market import EvidenceItem, MarketSnapshot
from jurymast.domain.money import Micros
from jurymast.domain.provider import AIRequest, AIResponse, Message, ProviderName, Route, Tier
from jurymast.domain.status import EmergencyMode, SystemStatus
from jurymast.domain.value import value
from jurymast.intelligence.emergency import decision_id
from jurymast.intelligence.fallback_manager import Answered, Emit, FallbackManager, Unanswered
from jurymast.intelligence.ordering import Ordering, RoutingSettings
from jurymast.intelligence.prompts import forecast_request
from jurymast.intelligence.run import Relay
from jurymast.intelligence.second import SecondOpinions
from jurymast.intelligence.twins import Twins
from jurymast.intelligence.weighing import Weighing
from jurymast.policy.cached import rules_hash
from jurymast.policy.judges import Trading
from jurymast.policy.parsing import ModelAbstained, Rejected, parse_forecast
from jurymast.policy.records import ForecastRecords
from jurymast.policy.routing import RouteOrder
from jurymast.policy.second import SecondSettings
from jurymast.ports import Clock

_Belief: TypeAlias = Forecast | ModelAbstained
_NOBODY: Final = frozenset(
    {AbstainReason.ALL_PROVIDERS_FAILED, AbstainReason.NO_ROUTE, AbstainReason.AI_BUDGET_SPENT}
)
"""Nobody has answered: what was said before may still count."""
_Answer = TypeVar("_Answer", Decision, Abstain, Decision | Abstain)
_Outcome: TypeAlias = Answered[_Belief] | Unanswered


@value
class _Question:
    """What a decision is about, fixed before anyone is asked."""

    decision_id: str
    snapshot: MarketSnapshot
    market_price: Micros
    started: float
    rules_hash: str


class EnhancedAIClient:
    """Multi-provider judgement: ask, fail over, and when judgement is gone say so.

    Decisions and abstentions are reported through ``emit`` as they are made.
    """

    def __init__(
        self,
        fallback: FallbackManager,
        *,
        clock: Clock,
        emit: Emit,
        records: ForecastRecords | None = None,
        second: SecondSettings | None = None,
        routing: RoutingSettings | None = None,
        seed: int = 0,
    ) -> None:
        self.fallback_manager = fallback
        first = next(iter(fallback.core.health.records.values()))
        self.weighing = Weighing(records or ForecastRecords(), (first.route, first.spec.tier), emit)
        self._second = SecondOpinions(fallback, self.weighing, clock, emit, second or SecondSettings())
        self.ordering = Ordering(
            fallback, self.weighing.records, clock, emit, routing or RoutingSettings(), seed
        )
        self._twins = Twins(clock)
        self._clock = clock
        self._emit = emit
        self._shadowed_at = -math.inf

    async def get_trading_decision(
        self, snapshot: MarketSnapshot, evidence: tuple[EvidenceItem, ...] = (), *, deadline_secs: float
    ) -> Decision | Abstain:
        """A forecast of one market with its source and worth, or the reason why there is none."""
        question = _Question(
            decision_id=decision_id(snapshot),
            snapshot=snapshot,
            market_price=snapshot.book.mid if snapshot.book.two_sided else 0,
            started=self._clock.monotonic(),
            rules_hash=rules_hash(snapshot.market),
        )
        if not self.fallback_manager.rules.ask_ai:
            return self.get_emergency_decision(snapshot)
        try:
            answer = await self._answered(question, evidence, deadline_secs)
        except Exception as error:  # the trader must get an answer, whatever broke in here
            return self._abstained(question, AbstainReason.INTERNAL_ERROR, f"{type(error).__name__}: {error}")
        return answer if isinstance(answer, Abstain) else self._told(answer)

    async def _answered(
        self, question: _Question, evidence: tuple[EvidenceItem, ...], deadline_secs: float
    ) -> Decision | Abstain:
        """What whoever is asked says, or has just said of the very same question. Abstentions are told."""
        key = question.rules_hash, evidence
        twin = await self._twins.answer(key, question.snapshot, deadline_secs)
        if twin is not None:
            return self._emergency(twin, question.snapshot)
        begun = self._twins.begin(key)
        try:
            answer = await self._asked(question, evidence, deadline_secs)
            if isinstance(answer, Decision):
                if self._second.wanted:
                    left_secs = deadline_secs - (self._clock.monotonic() - question.started)
                    answer = await self._second.heard(answer, question.snapshot, evidence, left_secs)
                self._twins.keep(key, answer)
        finally:
            if begun:
                self._twins.end(key)
        return answer

    async def _asked(
        self, question: _Question, evidence: tuple[EvidenceItem, ...], deadline_secs: float
    ) -> Decision | Abstain:
        snapshot, source_ids = question.snapshot, {item.source_id for item in evidence}
        order = self.ordering.of(snapshot.market.category)
        outcome: _Outcome = await self.fallback_manager.get_fallback_decision(
            forecast_request(snapshot, evidence),
            lambda response: parse_forecast(response.content, source_ids),
            deadline_secs=deadline_secs - (self._clock.monotonic() - question.started),
            compare=partial(self._shadowed, question),
            market=snapshot.market.ticker,
            order=order,
        )
        return self._concluded(question, outcome, order)

    def get_emergency_decision(self, snapshot: MarketSnapshot) -> Decision | Abstain:
        """What is decided without any model: an opinion of before with its age, or a hold, and why."""
        return self._told(self._emergency(self.fallback_manager.get_emergency_decision(snapshot), snapshot))

    def recall(self, snapshot: MarketSnapshot) -> Decision | None:
        """A provider's opinion of before, as far as it still counts in the market as it is now."""
        kept = self._emergency(self.fallback_manager.get_emergency_decision(snapshot), snapshot)
        return kept if isinstance(kept, Decision) else None

    def _emergency(self, answer: Decision | Abstain, snapshot: MarketSnapshot) -> Decision | Abstain:
        """An opinion of before counts for what its model is worth now."""
        if isinstance(answer, Abstain):
            return answer
        return self.weighing.reweighed(answer, snapshot.market.category, self._first(None))

    def _first(self, order: RouteOrder | None) -> tuple[Route, Tier] | None:
        """Who is asked first when all are well, where that is not left to priority."""
        health = self.fallback_manager.core.health
        route = (order or health.order).first
        return None if route is None else (route, health.records[route].spec.tier)

    async def get_completion(
        self, prompt: str, *, max_output_tokens: int = 2_000, deadline_secs: float = 60.0
    ) -> str | None:
        """Plain text from whoever answers, or None. Never raises."""
        request = AIRequest((Message("user", prompt),), max_output_tokens=max_output_tokens)
        try:
            outcome = await self.complete(request, deadline_secs=deadline_secs)
        except Exception:  # documented: None on any failure; the causes are in the events
            return None
        return outcome.value if isinstance(outcome, Answered) else None

    async def complete(
        self,
        request: AIRequest,
        *,
        deadline_secs: float,
        validate: Callable[[AIResponse], str | Rejected] = lambda response: response.content,
        first: ProviderName | None = None,
        purpose: str = "completion",
        market: str | None = None,
        strategy: str = "",
        order: RouteOrder | None = None,
        relay: Relay | None = None,
    ) -> Answered[str] | Unanswered:
        """Text for any question, with who gave it and what it cost, or why there is none.

        ``validate`` may reject a text, which is a failure of whoever sent it; ``first`` is asked before the
        others while it is well; ``purpose`` and ``market`` are for the record. The rest is
        :meth:`FallbackManager.get_fallback_decision`'s.
        """
        started = self._clock.monotonic()
        outcome = await self.fallback_manager.get_fallback_decision(
            request,
            validate,
            deadline_secs=deadline_secs,
            market=market or "",
            strategy=strategy,
            first=first,
            order=order,
            relay=relay,
        )
        self._emit(
            TextCompleted(
                at=self._clock.utc_now(),
                ticker=market,
                purpose=purpose,
                route=outcome.route if isinstance(outcome, Answered) else None,
                detail=f"{outcome.reason}: {outcome.detail}"
                if isinstance(outcome, Unanswered)
                else "answered",
                secs=self._clock.monotonic() - started,
                attempts=outcome.attempts,
                asker=strategy,
            )
        )
        return outcome

    def get_system_status(self) -> SystemStatus:
        return self.fallback_manager.get_system_status()

    @property
    def mode(self) -> EmergencyMode:
        return self.fallback_manager.mode

    @property
    def size_share(self) -> float:
        return self.fallback_manager.size_share

    def note_trading(self, trading: Trading, now: datetime | None = None) -> None:
        """How well the trading rooms know what they do, at exchange time ``now``: evidence for the mode."""
        self.fallback_manager.note_trading(trading, now)

    def _concluded(
        self, question: _Question, outcome: _Outcome, order: RouteOrder | None
    ) -> Decision | Abstain:
        """What came of a question: an abstention, told already, or a decision that is yet to be."""
        if isinstance(outcome, Unanswered):
            if outcome.reason in _NOBODY:
                kept = self.fallback_manager.get_emergency_decision(
                    question.snapshot,
                    why=outcome.detail,
                    reason=outcome.reason,
                    attempts=outcome.attempts,
                    secs=self._clock.monotonic() - question.started,
                )
                answer = self._emergency(kept, question.snapshot)
                return self._told(answer) if isinstance(answer, Abstain) else answer
            return self._abstained(question, outcome.reason, outcome.detail, attempts=outcome.attempts)
        if isinstance(outcome.value, ModelAbstained):
            return self._abstained(
                question, AbstainReason.MODEL_ABSTAINED, outcome.value.reason, answered=outcome
            )
        market, served = question.snapshot.market, outcome.response.served_model
        swapped, now = outcome.response.swapped, self._clock.monotonic()
        weight, instead_of = self.weighing.weigh(
            outcome.route, served, outcome.tier, market.category, swapped=swapped, first=self._first(order)
        )
        mode = self.mode
        age_secs_max = self.fallback_manager.table[mode].forecast_age_secs_max
        decision = Decision(
            decision_id=question.decision_id,
            ticker=market.ticker,
            forecast=outcome.value,
            rung=outcome.rung,
            route=outcome.route,
            tier=outcome.tier,
            served_model=served,
            mode=mode,
            cost=outcome.cost,
            secs=now - question.started,
            market_price=question.market_price,
            as_of=question.snapshot.as_of,
            decided_at=self._clock.utc_now(),
            reason=_story(outcome),
            attempts=outcome.attempts,
            simulated=outcome.response.simulated,
            rules_hash=question.rules_hash,
            spread=question.snapshot.book.spread if question.snapshot.book.two_sided else 0,
            volume_24h=question.snapshot.volume_24h,
            weight=weight,
            instead_of=instead_of,
            beside=self.weighing.shadow_of(market.ticker, served, now, age_secs_max),
        )
        self.weighing.note(decision, question.snapshot, decision.decided_at)
        self._shadow(decision, question.snapshot)
        return decision

    def _shadowed(
        self, question: _Question, event: ShadowAnswered, response: AIResponse, ours: _Belief, theirs: _Belief
    ) -> ShadowAnswered:
        """A shadow's answer, put on record and kept for the next decision on its market."""
        event = replace(
            event,
            decision_id=question.decision_id,
            ticker=question.snapshot.ticker,
            difference_pct=_distance(ours, theirs),
            served_model=response.served_model,
        )
        if not isinstance(theirs, Forecast):
            return event
        tier = self.fallback_manager.providers.tier_served(response, event.route)
        percent, market = theirs.probability_pct, question.snapshot.market
        opinion = self.weighing.opinion(event.route, response.served_model, tier, percent, market.category)
        self.weighing.keep_shadow(market.ticker, self._clock.monotonic(), opinion)
        self.weighing.note_opinion(
            opinion, question.snapshot, question.market_price, event.at, simulated=response.simulated
        )
        return replace(event, probability_pct=percent)

    def _shadow(self, decision: Decision, snapshot: MarketSnapshot) -> None:
        """Now and then, what would have been decided without any provider: the last line, proven daily."""
        now, every_secs = self._clock.monotonic(), self.fallback_manager.settings.shadow_free_secs
        if not every_secs or now - self._shadowed_at < every_secs:
            return
        self._shadowed_at = now
        rule = self.fallback_manager.get_emergency_decision(snapshot)
        held = isinstance(rule, Abstain)
        difference = None if isinstance(rule, Abstain) else _distance(decision.forecast, rule.forecast)
        self._emit(
            EmergencyShadowed(
                at=decision.decided_at,
                decision_id=decision.decision_id,
                ticker=decision.ticker,
                held=held,
                detail=rule.detail if isinstance(rule, Abstain) else rule.reason,
                difference_pct=difference,
            )
        )

    def _told(self, answer: _Answer) -> _Answer:
        """Report an answer as it is given, and keep what a provider said."""
        event: DecisionMade | DecisionAbstained
        decision_id, ticker = answer.decision_id, answer.ticker
        # An answer that is used again keeps the time when it was given, and is told of now.
        at = self._clock.utc_now() if answer.rung is Rung.REUSED else answer.decided_at
        if isinstance(answer, Decision):
            event = DecisionMade(at=at, decision_id=decision_id, ticker=ticker, decision=answer)
        else:
            event = DecisionAbstained(at=at, decision_id=decision_id, ticker=ticker, abstain=answer)
        self.fallback_manager.remember(event)
        self._emit(event)
        return answer

    def _abstained(
        self,
        question: _Question,
        reason: AbstainReason,
        detail: str,
        *,
        attempts: tuple[Attempt, ...] = (),
        answered: Answered[_Belief] | None = None,
    ) -> Abstain:
        attempts = answered.attempts if answered else attempts
        abstain = Abstain(
            decision_id=question.decision_id,
            ticker=question.snapshot.ticker,
            reason=reason,
            detail=detail,
            mode=self.mode,
            cost=sum(attempt.cost for attempt in attempts),
            secs=self._clock.monotonic() - question.started,
            market_price=question.market_price,
            as_of=question.snapshot.as_of,
            decided_at=self._clock.utc_now(),
            attempts=attempts,
            rung=answered.rung if answered else Rung.EMERGENCY,
            route=answered.route if answered else None,
            served_model=answered.response.served_model if answered else "",
            simulated=answered.response.simulated if answered else False,
        )
        return self._told(abstain)


def _distance(one: _Belief, other: _Belief) -> int | None:
    """Percent between two forecasts; None when one of them is none."""
    if isinstance(one, Forecast) and isinstance(other, Forecast):
        return abs(one.probability_pct - other.probability_pct)
    return None


def _story(outcome: Answered[_Belief]) -> str:
    """In one line: who answered, and after whom."""
    failed = [
        f"{a.route} {a.failure or a.outcome}" for a in outcome.attempts if a.failure or a.outcome == "overdue"
    ]
    after = f" after {', '.join(failed)}" if failed else ""
    swapped = (
        f", served by {outcome.response.served_model} instead of {outcome.route.model}"
        if outcome.response.swapped
        else ""
    )
    return f"{outcome.route} answered ({outcome.rung}){after}{swapped}"
