"""Keeps answers coming: runs the failover core on an event loop, probes providers, reports every change.

What to do is decided in :mod:`jurymast.policy.failover`; this gives its commands to the providers, its
alarms to the loop, and its facts to the journal as events.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Generic, TypeAlias

from jurymast.domain.decision import Abstain, AbstainReason, Attempt, Decision, Rung
from jurymast.domain.events import (
    DecisionAbstained,
    DecisionMade,
    Event,
    ModelSwapped,
    ProbeSent,
    ShadowAnswered,
)
from jurymast.domain.market import MarketSnapshot
from jurymast.domain.money import Micros
from jurymast.domain.provider import (
    AIRequest,
    AIResponse,
    Failure,
    FailureKind,
    ProviderName,
    Route,
    Tier,
)
from jurymast.domain.status import (
    EmergencyMode,
    FailoverEvent,
    HealthCheckResult,
    ProviderStatus,
    SystemStatus,
)
from jurymast.domain.value import value
from jurymast.intelligence.alarms import Alarms
from jurymast.intelligence.beside import ask_beside
from jurymast.intelligence.emergency import emergency_answer
from jurymast.intelligence.means import Means
from jurymast.intelligence.provider_manager import ProviderManager
from jurymast.intelligence.reports import report_of
from jurymast.intelligence.run import Relay, Run, Validate, Value
from jurymast.intelligence.telling import event_of
from jurymast.policy import ladder as ladders
from jurymast.policy.cached import Opinions
from jurymast.policy.demands import OVERRIDE_SECS_MAX
from jurymast.policy.emergency import TABLE, ModeRules
from jurymast.policy.facts import ActiveMoved
from jurymast.policy.failover import Failover, FailoverSettings
from jurymast.policy.health import prompt_class
from jurymast.policy.judges import Trading
from jurymast.policy.record import Record
from jurymast.policy.restart import NOTHING_EARLIER, Earlier
from jurymast.policy.routing import RouteOrder
from jurymast.ports import Clock

__all__ = ["Answered", "FallbackManager", "FallbackSettings", "Unanswered"]

FAILOVERS_KEPT = 100
NOT_LISTED = Failure(FailureKind.MODEL_GONE, "model not listed")
_UNANSWERED = frozenset({AbstainReason.ALL_PROVIDERS_FAILED, AbstainReason.NO_ROUTE})
"""Ends that tell of the providers; a refusal of content and spent money do not."""
FallbackSettings = FailoverSettings

Emit = Callable[[Event], None]
Compare: TypeAlias = Callable[[ShadowAnswered, AIResponse, Value, Value], ShadowAnswered]
"""The bare event, the shadow's response, the answer that counted, the shadow's."""


@value
class Answered(Generic[Value]):
    """A validated answer and where it came from. ``cost`` includes the attempts beside and before it."""

    value: Value
    response: AIResponse
    route: Route
    tier: Tier
    rung: Rung
    cost: Micros
    attempts: tuple[Attempt, ...]


@value
class Unanswered:
    """No usable answer, and every cause."""

    reason: AbstainReason
    detail: str
    cost: Micros
    attempts: tuple[Attempt, ...]


class FallbackManager:
    """Continuous health of every provider, failover within a deadline, emergency modes.

    ``emit`` receives every change as an event. ``earlier`` is what the run before left.
    """

    def __init__(
        self,
        providers: ProviderManager,
        *,
        clock: Clock,
        emit: Emit,
        settings: FallbackSettings | None = None,
        seed: int = 0,
        earlier: Earlier = NOTHING_EARLIER,
        table: Mapping[EmergencyMode, ModeRules] = TABLE,
    ) -> None:
        self.table = table
        self.opinions = Opinions(earlier.opinions)
        self.settings = settings or FallbackSettings()
        self.failover_history: deque[FailoverEvent] = deque(maxlen=FAILOVERS_KEPT)
        self._providers = providers
        self._clock = clock
        self._emit = emit
        self._probing: set[Route] = set()
        self._alarms = Alarms()
        self._shadows: set[asyncio.Task[None]] = set()
        self._override = (EmergencyMode.NORMAL, float("-inf"))
        self._first = providers.routes()[0].provider
        self._means = Means(self.opinions, self.table[EmergencyMode.CACHED].cached_age_secs_max)
        self.core = Failover(
            providers.specs(),
            settings=self.settings,
            now=clock.monotonic(),
            dice=random.Random(seed).random,
            earlier=earlier,
        )

    # Asking

    async def get_fallback_decision(
        self,
        request: AIRequest,
        validate: Validate[Value],
        *,
        deadline_secs: float,
        compare: Compare[Value] | None = None,
        market: str = "",
        strategy: str = "",
        first: ProviderName | None = None,
        order: RouteOrder | None = None,
        relay: Relay | None = None,
    ) -> Answered[Value] | Unanswered:
        """Ask until a route gives an answer that ``validate`` accepts, or time and sends run out.

        ``market`` and ``strategy`` are whose caps of AI money count, ``order`` is this question's own among
        equals in health, ``first`` is asked before all while well, ``relay`` hears a streamed answer. With
        ``compare`` an idle route may be asked too; it completes what is told by reading the two answers.
        """
        walk = self.core.begin(
            self._clock.monotonic(),
            deadline_secs,
            prompt_class=prompt_class(request.size_bytes),
            tokens=self._tokens_of(request),
            quote=lambda route, secs: self._providers.given_up(request, route, secs),
            first=first,
            order=order,
        )
        run = Run(
            self.core, self._providers, self._clock, self._report, self._alarms,
            walk=walk, request=request, validate=validate, market=market, strategy=strategy, relay=relay,
        )  # fmt: skip
        await run.ended()
        if (end := walk.ended) is None:  # pragma: no cover (a walk that stopped without an end is a defect)
            raise RuntimeError("a decision stopped without an end")
        self._means.ended(self._clock.monotonic(), answered=end.reason not in _UNANSWERED)
        attempts = tuple(walk.attempts)
        if run.refused is not None and (end.record is None or end.record.spec.tier is Tier.SMALL):
            self._means.unaffordable(run.refused)
        if end.record is None or run.value is None or run.response is None:
            reason = end.reason or AbstainReason.INTERNAL_ERROR
            return Unanswered(reason, end.detail, walk.cost, attempts)
        route = end.record.route
        tier = self._providers.tier_served(run.response, route)
        self._note_who_answered(run.response, route)
        rung = (
            Rung.LOCAL
            if end.record.spec.tier is Tier.SMALL
            else Rung.PRIMARY
            if route.provider is self.first_of(order)
            else Rung.FAILOVER
        )
        answered = Answered(run.value, run.response, route, tier, rung, walk.cost, attempts)
        if compare is not None:
            self._shadow(request, validate, compare, answered, market)
        return answered

    def first_of(self, order: RouteOrder | None = None) -> ProviderName:
        """Whose answer is no stand-in's: the first in the order that is in force, all being well."""
        first = (order or self.core.health.order).first
        return self._first if first is None else first.provider

    def _tokens_of(self, request: AIRequest) -> int:
        """About what a prompt with its answer takes, wherever it is asked; 0 where every model holds it
        anyway: a token has a byte at least."""
        if request.size_bytes + request.max_output_tokens <= self.core.holds_least:
            return 0
        return self._providers.ratios.expected_anywhere(request) + request.max_output_tokens

    def _note_who_answered(self, response: AIResponse, route: Route) -> None:
        """Tell of another model than before, and let the mode know before anything rests on the answer."""
        cause, before = self._means.swapped, self._means.answered_by(response, route)
        if before is not None:
            served = response.served_model
            self._emit(ModelSwapped(at=self._clock.utc_now(), route=route, before=before, served=served))
        if self._means.swapped != cause:
            self._note_means()
            self._report()

    def _shadow(
        self,
        request: AIRequest,
        validate: Validate[Value],
        compare: Compare[Value],
        answered: Answered[Value],
        market: str,
    ) -> None:
        """Start a shadow question if a route is due one and the day's money is no concern."""
        record = self.core.shadow(self._clock.monotonic())
        if record is None or not self._providers.at_ease(request, record.route, market):
            return
        task = asyncio.create_task(self._ask_in_shadow(request, validate, compare, answered, record, market))
        self._shadows.add(task)
        task.add_done_callback(self._shadows.discard)

    async def _ask_in_shadow(
        self,
        request: AIRequest,
        validate: Validate[Value],
        compare: Compare[Value],
        answered: Answered[Value],
        record: Record,
        market: str,
    ) -> None:
        heard = await ask_beside(
            self._providers, self.core, self._clock, record, request, validate,
            self.settings.work.attempt_secs_max, market,
        )  # fmt: skip
        if heard is None:
            return
        event = ShadowAnswered(
            at=self._clock.utc_now(), route=record.route, beside=answered.route,
            detail=str(heard.failure) if heard.failure else "answered",
            difference_pct=None, secs=heard.secs, cost=heard.cost,
            estimated=heard.estimated, ticker=market or None,
        )  # fmt: skip
        if heard.response is not None and heard.value is not None:
            event = compare(event, heard.response, answered.value, heard.value)
        self._emit(event)
        self._report()

    @property
    def providers(self) -> ProviderManager:
        """Who is asked, and what it costs."""
        return self._providers

    async def close(self) -> None:
        """Stop what runs beside the decisions."""
        shadows = list(self._shadows)
        for task in shadows:
            task.cancel()
        await asyncio.gather(*shadows, return_exceptions=True)
        self._alarms.close()

    # Health

    async def check_provider_health(self, name: ProviderName) -> HealthCheckResult:
        """Probe a provider's routes now; the first healthy result, else the last."""
        result = HealthCheckResult(name, is_healthy=False, secs=0.0, detail="no such provider configured")
        for record in self.core.health.of(name):
            result = await self.probe(record.route)
            if result.is_healthy:
                break
        return result

    async def check_recovery(self) -> bool:
        """Probe every route for which a probe would tell something; whether any came back.

        Call it every second or so, off the decision path: it also lets time pass for the mode ladder.
        """
        before = self.core.health.capacity(self._clock.monotonic()).total
        self._note_means()
        due = self.core.due_probes(self._clock.monotonic())
        self._report()
        killed = self.mode is EmergencyMode.KILLED  # a person decides what leaves the house
        due = [] if killed else due
        asked = [r for r in due if r not in self._probing and self._providers.can_probe(r)]
        self._probing.update(asked)  # before anything waits: another caller may be here next
        await asyncio.gather(*(self.probe(route) for route in asked))
        return self.core.health.capacity(self._clock.monotonic()).total > before

    def _note_means(self) -> None:
        """What judgement has left to think with: evidence for the mode."""
        now = self._clock.monotonic()
        thinking = self._means.thinking(now, self._clock.utc_now(), self._providers.purse)
        self.core.told(thinking, now)

    async def probe(self, route: Route) -> HealthCheckResult:
        """Ask a route a tiny synthetic question now, whatever is believed of it."""
        self._probing.add(route)
        timeout_secs = self.core.probe_timeout(route)
        try:
            result = await self._providers.probe(route, timeout_secs=timeout_secs)
        finally:
            self._probing.discard(route)
        self._emit(
            ProbeSent(
                at=self._clock.utc_now(), route=route, healthy=result.is_healthy,
                detail=result.detail, cost=result.cost, estimated=result.estimated,
            )
        )  # fmt: skip
        failure = None
        if not result.is_healthy:
            kind, words = result.failure or FailureKind.MALFORMED, result.detail
            failure = result.cause or Failure(kind, words, retry_after_secs=result.retry_after_secs)
        self.core.probed(route, self._clock.monotonic(), failure)
        self._report()
        return result

    def drop_unlisted(self, route: Route) -> None:
        """Latch a model that its vendor's list does not have: as good as a probe that says it is gone."""
        self.core.probed(route, self._clock.monotonic(), NOT_LISTED)
        self._report()

    def doubt(self, served: str, why: str) -> None:
        """A model is not what it was under its name, or (no ``why``) it is trusted to be again."""
        self._means.doubt(served, why)

    # Modes and control by hand

    @property
    def mode(self) -> EmergencyMode:
        """How far our judgement can be trusted now, or a person trusts it: see :meth:`override_mode`."""
        mode, until = self._override
        if self._clock.monotonic() >= until:
            return self.core.ladder.mode
        return ladders.overridden(self.core.ladder, mode, self.settings.ladder)

    def override_mode(self, mode: EmergencyMode, duration: timedelta) -> None:
        """Act as in ``mode`` although providers call for a safer one, for at most an hour; no time ends it.
        What money, loss, data, orders or a demand call for stays above it, and so does KILLED."""
        secs = min(duration.total_seconds(), OVERRIDE_SECS_MAX)
        self._override = (mode, self._clock.monotonic() + secs)

    @property
    def size_share(self) -> float:
        """Share of the mode's size that entries are made at: judgement that is back earns it again."""
        return self.core.size_share

    def enable_emergency_mode(
        self,
        reason: str,
        duration: timedelta | None = None,
        mode: EmergencyMode = EmergencyMode.CONSERVATIVE,
    ) -> None:
        """Demand at least ``mode`` by hand, for ``duration`` or until taken back. Never makes it riskier."""
        now = self._clock.monotonic()
        until = now + duration.total_seconds() if duration is not None else float("inf")
        self.core.force_mode(mode, reason, now, until)
        self._report()

    def disable_emergency_mode(self, reason: str = "") -> None:
        """Take the demand back. The way up is climbed rung by rung on evidence, as ever.

        KILLED is ended, into SUSPENDED, only with a ``reason``.
        """
        now = self._clock.monotonic()
        self.core.release_mode(now)
        if reason.strip():
            self.core.lift(reason, now)
        self._report()

    @property
    def rules(self) -> ModeRules:
        """What the mode as it is now allows."""
        return self.table[self.mode]

    def get_emergency_decision(
        self,
        snapshot: MarketSnapshot,
        *,
        why: str = "",
        reason: AbstainReason = AbstainReason.EMERGENCY_MODE,
        attempts: tuple[Attempt, ...] = (),
        secs: float = 0.0,
    ) -> Decision | Abstain:
        """What is decided without any provider: an opinion of before with its age, or a typed hold.

        Never raises. ``why`` defaults to the mode and its reason; ``attempts`` were made before.
        """
        return emergency_answer(
            snapshot,
            self.opinions,
            self.rules,
            mode=self.mode,
            why=why or f"mode {self.mode}: {self.core.ladder.reason}",
            now=self._clock.utc_now(),
            reason=reason,
            attempts=attempts,
            secs=secs,
        )

    def remember(self, event: DecisionMade | DecisionAbstained) -> None:
        """Keep what a provider has said of a market; what was said without one is none of it."""
        self.opinions.apply(event)
        source = event.decision if isinstance(event, DecisionMade) else event.abstain
        self._means.exchange_at = source.as_of

    def note_trading(self, trading: Trading, now: datetime | None = None) -> None:
        """How well the trading rooms know what they do, once a cycle: evidence for the mode.

        ``now`` is exchange time, when it is known.
        """
        self._means.exchange_at = now or self._means.exchange_at
        self._note_means()
        self.core.told(trading, self._clock.monotonic())
        self._report()

    async def initiate_failover(
        self, from_provider: ProviderName, to_provider: ProviderName, reason: str
    ) -> bool:
        """Ask ``to_provider`` first from now on, if it can be used; says whether it can."""
        done = self.core.fail_over(from_provider, to_provider, reason)
        self._report()
        return done

    def isolate_provider(self, name: ProviderName, reason: str) -> None:
        """Take a provider out by hand until :meth:`restore_provider`."""
        self.core.health.isolate(name, reason)
        self.core.step(self._clock.monotonic())
        self._report()

    def restore_provider(self, name: ProviderName) -> None:
        """Put a provider back that was isolated or latched: it is probed at once."""
        self.core.health.restore(name, self._clock.monotonic())
        self._report()

    # Reports

    def get_available_providers(self) -> list[ProviderName]:
        """Providers that are believed to answer, in the order in which they would be asked."""
        plan = self.core.health.plan(self._clock.monotonic())
        return list(dict.fromkeys(c.spec.route.provider for c in plan.routes if c.health.usable))

    def get_best_provider(self) -> ProviderName | None:
        """Who would be asked first, if anyone is believed to answer."""
        return next(iter(self.get_available_providers()), None)

    def get_system_status(self) -> SystemStatus:
        """The whole AI layer, as it stands."""
        now = self._clock.monotonic()
        ladder = self.core.ladder
        waits = ladders.why_not_higher(ladder, now, self.settings.ladder)
        suffix = "" if self.mode is EmergencyMode.NORMAL else f" (waits for: {waits})"
        return SystemStatus(
            mode=self.mode,
            mode_reason=ladder.reason + suffix,
            providers=self.provider_statuses,
            routes=tuple(
                report_of(record, self._providers.stats[record.route], now)
                for record in self.core.health.records.values()
            ),
            active_route=self.core.active,
            cost=self._providers.get_total_cost(),
            last_failover=self.failover_history[-1] if self.failover_history else None,
            manual_until=self._manual_until(now),
            budgets=self._providers.budgets(),
        )

    @property
    def provider_statuses(self) -> dict[ProviderName, ProviderStatus]:
        return dict(self.core.health.statuses)

    def _manual_until(self, now: float) -> datetime | None:
        left_secs = self.core.ladder.manual_until - now
        if self.core.ladder.manual is EmergencyMode.NORMAL or left_secs == float("inf"):
            return None
        return self._clock.utc_now() + timedelta(seconds=left_secs)

    def _report(self) -> None:
        """Tell what the core has found out since the last time."""
        facts = self.core.facts
        if not facts:
            return
        at = self._clock.utc_now()
        while facts:
            fact = facts.pop(0)
            if isinstance(fact, ActiveMoved):
                self.failover_history.append(FailoverEvent(at, fact.old, fact.new, fact.reason))
            self._emit(event_of(fact, at))
