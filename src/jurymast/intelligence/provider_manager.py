"""The providers, behind one ``make_request``: money reserved and settled, every request counted.

Which route to ask is not decided here: that is :mod:`jurymast.intelligence.fallback_manager`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from typing import Any

from jurymast.domain.errors import ConfigError, ProviderError
from jurymast.domain.money import Micros
from jurymast.domain.provider import (
    AIRequest,
    AIResponse,
    Billing,
    Failure,
    FailureKind,
    Format,
    ModelInfo,
    ProviderName,
    Route,
    Tier,
    Usage,
)
from jurymast.domain.status import BudgetReport, HealthCheckResult
from jurymast.intelligence.providers.anthropic import AnthropicProvider
from jurymast.intelligence.providers.base import PROBE
from jurymast.intelligence.providers.catalogue import Catalogue
from jurymast.intelligence.providers.local import LocalProvider
from jurymast.intelligence.providers.openai import OpenAIProvider
from jurymast.intelligence.providers.xai import XAIProvider
from jurymast.intelligence.purse import BudgetSpentError, Purse
from jurymast.policy import tokens
from jurymast.policy.ledger import Account, Hold, Payer
from jurymast.policy.routing import RouteSpec
from jurymast.ports import Clock, Provider, Tap

__all__ = [
    "AnthropicProvider",
    "BudgetSpentError",
    "LocalProvider",
    "OpenAIProvider",
    "ProviderManager",
    "RouteStats",
    "XAIProvider",
]

BUDGETS_TOLD_MAX = 50
LATENCY_SMOOTHING = 0.2
QUESTION_TOKENS = 800
ANSWER_TOKENS = 450
"""Of a question and an answer, before a route has told: medians of answers are 254 to 746 (arXiv
2512.16030)."""


@dataclass(slots=True)
class RouteStats:
    """Counts of one route since the start. Mean latency is exponentially weighted, in seconds."""

    requests: int = 0
    failures: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Micros = 0
    uncertain: Micros = 0
    """What attempts given up on their way may be billed beyond ``cost``."""
    mean_secs: float = 0.0
    answer_secs: float = 0.0
    """Time that the answers with ``output_tokens`` took in all."""

    def timed(self, secs: float) -> None:
        self.mean_secs += (secs - self.mean_secs) * (LATENCY_SMOOTHING if self.mean_secs else 1.0)


class ProviderManager:
    """Owns the providers of a bot.

    The worst case of a request is held out of ``purse`` before it is sent and settled by the bill, so its
    caps hold at any concurrency.
    """

    def __init__(
        self,
        providers: Iterable[Provider],
        *,
        clock: Clock,
        catalogue: Catalogue,
        purse: Purse,
    ) -> None:
        self._instances = {(p.name, p.config.instance): p for p in providers}
        self.providers: dict[ProviderName, Provider] = {}
        for provider in self._instances.values():
            self.providers.setdefault(provider.name, provider)
        self.catalogue = catalogue
        self.ratios = tokens.TokenRatios()
        self._tiers: dict[Route, Tier] = {}
        self.stats: dict[Route, RouteStats] = {route: RouteStats() for route in self.routes()}
        self._clock = clock
        self.purse = purse

    def routes(self) -> list[Route]:
        """Every way to an answer, by provider priority, order of models, and instance."""
        return [spec.route for spec in self.specs()]

    def specs(self) -> list[RouteSpec]:
        """The same with what routing needs to know of each."""
        specs = []
        for provider in self._instances.values():
            config = provider.config
            for model_rank, model in enumerate(config.models):
                route = Route(config.name, model, config.instance)
                specs.append(
                    RouteSpec(
                        route=route,
                        priority=config.priority,
                        model_rank=model_rank,
                        tier=self.tier(route),
                        edge=config.edge,
                        max_concurrent=config.max_concurrent,
                        weight=config.weight,
                        context_tokens=config.context_tokens or self.catalogue.context(model),
                    )
                )
        return sorted(specs, key=lambda spec: (spec.priority, spec.model_rank, spec.route))

    def tier_served(self, response: AIResponse, route: Route) -> Tier:
        """Tier of whoever really answered: never above that of the model asked, the lowest if unheard of."""
        asked = self.tier(route)
        if not response.swapped or route.provider is ProviderName.LOCAL:
            return asked
        try:
            served = self.catalogue.tier(response.served_model)
        except ConfigError:
            return Tier.SMALL
        return max(asked, served, key=list(Tier).index)

    def tier(self, route: Route) -> Tier:
        tier = self._tiers.get(route)
        if tier is None:
            small = route.provider is ProviderName.LOCAL
            tier = self._tiers[route] = Tier.SMALL if small else self.catalogue.tier(route.model)
        return tier

    @property
    def budget(self) -> Account:
        """The day's AI money in all, as last known."""
        return self.purse.day

    def budgets(self) -> tuple[BudgetReport, ...]:
        """Every cap that is in use, as last known, the whole day's first."""
        return tuple(
            BudgetReport(
                f"{account.name or account.cap.scope} a {account.cap.window}",
                account.limit, account.spent, account.uncertain, account.held, account.cap.hard,
            )
            for account in self.purse.books.accounts()[:BUDGETS_TOLD_MAX]
        )  # fmt: skip

    def worst_case(self, request: AIRequest, route: Route) -> Micros:
        """Most that a request can cost on a route, in micro-dollars."""
        return self._at(route).calculate_cost(tokens.bound(request), route.model)

    def expected(self, route: Route) -> Micros | None:
        """The expected bill of an answer on a route, in micro-dollars: by the mean of its answers so far,
        before any by what a question usually takes. None where no price is known."""
        stats = self._stats_of(route)
        answers = max(1, stats.requests - stats.failures)
        usage = Usage(QUESTION_TOKENS, ANSWER_TOKENS)
        if stats.output_tokens:
            usage = Usage(stats.input_tokens // answers, stats.output_tokens // answers)
        try:
            return self._at(route).calculate_cost(usage, route.model)
        except ConfigError:
            return None

    def given_up(self, request: AIRequest, route: Route, secs: float) -> tuple[Micros, Micros]:
        """What a request given up after ``secs`` has cost as far as is known, and may be billed beyond that.

        An estimate: the prompt, and as many tokens as the route's answers bring in that time. The two
        together are the worst case, for a vendor may go on by itself; before any answer that is all there
        is to say.
        """
        worst, stats = self.worst_case(request, route), self.stats[route]
        if not stats.answer_secs:
            return worst, 0
        came = math.ceil(stats.output_tokens * math.ceil(secs) / stats.answer_secs)
        usage = Usage(
            input=self.ratios.expected(route.provider, request), output=min(came, request.max_output_tokens)
        )
        likely = min(self._at(route).calculate_cost(usage, route.model), worst)
        return likely, worst - likely

    def hold(
        self,
        request: AIRequest,
        route: Route,
        *,
        market: str = "",
        strategy: str = "",
        wait_secs: float = 0.0,
    ) -> Awaitable[Hold]:
        """Set aside what a request may cost on a route, waiting up to ``wait_secs`` for others to give theirs
        back. To be handed to :meth:`make_request` at once. ``market`` and ``strategy`` are whose caps count;
        without a strategy it is this bot's own. Raises BudgetSpentError."""
        return self.purse.reserve(
            self._payer(route, market, strategy), self.worst_case(request, route), wait_secs
        )

    async def make_request(
        self,
        request: AIRequest,
        route: Route,
        *,
        timeout_secs: float,
        first_token_secs: float | None = None,
        hold: Hold | None = None,
        tap: Tap | None = None,
    ) -> AIResponse:
        """Ask one route once. Raises ProviderError, or BudgetSpentError before anything is sent.

        ``first_token_secs`` bounds the silence before a stream's first token. ``hold`` is what was set aside
        for this request, which is settled here; without one it is set aside now or not at all. ``tap`` hears
        a stream as it arrives.
        """
        provider = self._at(route)
        if hold is None:
            hold = await self.hold(request, route)
        held = hold.worst
        stats = self._stats_of(route)
        stats.requests += 1
        cost, uncertain = held, 0
        started = self._clock.monotonic()
        try:
            response = await provider.make_request(
                request,
                model=route.model,
                timeout_secs=timeout_secs,
                first_token_secs=first_token_secs,
                tap=tap,
            )
        except asyncio.CancelledError:
            # Given up after the send: it may be billed in full, so the rest of the hold stays kept back.
            cost, uncertain = self.given_up(request, route, self._clock.monotonic() - started)
            raise
        except ProviderError as error:
            stats.failures += 1
            cost = self._cost_of_failure(provider, route, error.failure, held)
            raise ProviderError(route, error.failure, cost) from error
        else:
            cost = response.cost
            stats.input_tokens += response.usage.input
            stats.output_tokens += response.usage.output
            stats.answer_secs += self._clock.monotonic() - started
            self.ratios.learn(route.provider, request, response.usage.input)
            return response
        finally:
            stats.cost += cost
            stats.uncertain += uncertain
            stats.timed(self._clock.monotonic() - started)
            self.purse.settle(hold, cost, uncertain)

    async def probe(self, route: Route, *, timeout_secs: float) -> HealthCheckResult:
        """Ask a route a tiny synthetic question. Never raises.

        Its worst case is held and settled like any other's; BUSY when the day's money does not cover it.
        """
        provider = self._at(route)
        try:
            hold = await self.hold(PROBE, route)
        except BudgetSpentError as spent:
            detail = f"not probed: {spent}"
            return HealthCheckResult(
                route.provider, False, 0.0, route.model, detail=detail, failure=FailureKind.BUSY
            )
        cost = hold.worst
        try:
            result = await provider.health_check(route.model, timeout_secs)
            cost = result.cost
            return result
        finally:
            self.purse.settle(hold, cost)
            self._stats_of(route).cost += cost

    def can_probe(self, route: Route) -> bool:
        """Whether the money covers the worst case of a probe. Free models always can be probed."""
        return self.purse.affords(self._payer(route), self.worst_case(PROBE, route))

    def at_ease(self, request: AIRequest, route: Route, market: str = "", strategy: str = "") -> bool:
        """Whether an optional request is no concern: it is free, or the day's money goes by its plan."""
        return self.purse.at_ease(self._payer(route, market, strategy), self.worst_case(request, route))

    async def health_check_all(self, timeout_secs: float = 15.0) -> dict[Route, HealthCheckResult]:
        """Probe every route, one after the other."""
        return {route: await self.probe(route, timeout_secs=timeout_secs) for route in self.routes()}

    async def list_all_models(
        self, timeout_secs: float = 15.0
    ) -> dict[ProviderName, tuple[ModelInfo, ...] | ProviderError]:
        """What each provider says it serves, or why it would not say."""
        models: dict[ProviderName, tuple[ModelInfo, ...] | ProviderError] = {}
        for provider, listed in await self.list_models(timeout_secs):
            models.setdefault(provider.name, listed)
        return models

    async def list_models(
        self, timeout_secs: float
    ) -> list[tuple[Provider, tuple[ModelInfo, ...] | ProviderError]]:
        """The same of every instance, all asked at once."""

        async def ask(provider: Provider) -> tuple[Provider, tuple[ModelInfo, ...] | ProviderError]:
            try:
                return provider, await provider.list_models(timeout_secs)
            except ProviderError as error:
                return provider, error

        return await asyncio.gather(*map(ask, self._instances.values()))

    def get_provider_stats(self) -> dict[str, dict[str, Any]]:
        """Counts per route, ready for JSON. Cost in micro-dollars, latency in seconds."""
        return {
            str(route): {
                "requests": stats.requests,
                "failures": stats.failures,
                "input_tokens": stats.input_tokens,
                "output_tokens": stats.output_tokens,
                "cost_micros": stats.cost,
                "uncertain_micros": stats.uncertain,
                "mean_secs": round(stats.mean_secs, 3),
            }
            for route, stats in self.stats.items()
        }

    def get_total_cost(self) -> Micros:
        """Everything spent on models since the start as far as is known, in micro-dollars."""
        return sum(stats.cost for stats in self.stats.values())

    async def close(self) -> None:
        for provider in self._instances.values():
            if (close := getattr(provider, "close", None)) is not None:
                await close()
        await self.purse.close()

    def formats(self) -> dict[Route, Format]:
        """In which format each route is asked."""
        return {route: self._at(route).format for route in self.routes()}

    def _payer(self, route: Route, market: str = "", strategy: str = "") -> Payer:
        return Payer(route.provider, route.model, market, strategy or self.purse.strategy)

    def _stats_of(self, route: Route) -> RouteStats:
        stats = self.stats.get(route)
        if stats is None:
            stats = self.stats[route] = RouteStats()
        return stats

    def _at(self, route: Route) -> Provider:
        return self._instances[route.provider, route.instance]

    @staticmethod
    def _cost_of_failure(provider: Provider, route: Route, failure: Failure, held: Micros) -> Micros:
        if failure.usage is not None:
            return provider.calculate_cost(failure.usage, route.model)
        return held if failure.billing in {Billing.UNKNOWN, Billing.BILLED} else 0
