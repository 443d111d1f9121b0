"""The host's ``FallbackManager`` over Jurymast: same names, same signatures, decisions that somebody has
made.

What differs from the module it replaces: models are asked; health is evidence; ``get_fallback_decision``
never returns None and never takes longer than its time; an emergency stops entries and keeps fading
opinions.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from src.jurymast_adapter import markets
from src.jurymast_adapter.asking import MARGIN_SECS
from src.jurymast_adapter.decisions import Answer, held, judged, skip
from src.jurymast_adapter.host_db import HostDatabase
from src.jurymast_adapter.layer import Layer, LayerUnavailable
from src.jurymast_adapter.settings import handed_over, load
from src.jurymast_adapter.types import (
    EmergencyDecision,
    EmergencyMode,
    FailoverEvent,
    HealthCheckResult,
    ProviderConfig,
    ProviderStatus,
    SystemStatus,
)

from jurymast.domain.decision import Abstain, Decision
from jurymast.domain.events import Event, FailedOver, ProbeSent, ProviderChanged
from jurymast.domain.market import MarketSnapshot
from jurymast.domain.provider import ProviderName
from jurymast.domain.status import EmergencyMode as Judgement
from jurymast.intelligence.enhanced_client import EnhancedAIClient

__all__ = [
    "EmergencyDecision",
    "EmergencyMode",
    "FailoverEvent",
    "FallbackManager",
    "HealthCheckResult",
    "ProviderConfig",
    "ProviderStatus",
    "SystemStatus",
]

DECISION_SECS: Final = 30.0
HEALTH_SECS: Final = 20.0
FAILOVERS_KEPT: Final = 100
TIMES_KEPT: Final = 100
EMERGENCY: Final = "[EMERGENCY]"
NO_ANSWER: Final = frozenset(
    {"layer", "all_providers_failed", "no_route", "emergency_mode", "internal_error"}
)
"""Ends after which a caller's old client may still be asked. A spent budget, a refusal of content and a
model that can't tell are none: they are answers."""


class FallbackManager:
    """Failover, health and emergencies. Making one touches neither the network nor a loop.

    ``layer`` is shared by the clients of the host; without one the given providers get a layer of their own.
    """

    def __init__(
        self, db_manager: Any, providers: dict[str, ProviderConfig], *, layer: Layer | None = None
    ) -> None:
        self.db_manager = db_manager
        self.providers = providers
        self.provider_status = dict.fromkeys(providers, ProviderStatus.UNKNOWN)
        self.provider_health: dict[str, HealthCheckResult] = {}
        self.last_health_check: dict[str, datetime] = {}
        self.failover_history: deque[FailoverEvent] = deque(maxlen=FAILOVERS_KEPT)
        self.current_primary_provider: str | None = None
        self.emergency_mode: EmergencyMode | None = None
        self.emergency_reason: str | None = None
        self.emergency_until: datetime | None = None
        self.cached_decisions: dict[str, dict[str, Any]] = {}
        self.cache_max_age_hours = 24
        self.health_metrics: dict[str, dict[str, Any]] = {name: _no_metrics() for name in providers}
        self.http_client = None
        self.logger = logging.getLogger("jurymast.adapter")
        self._own = layer is None
        self._layer = layer or Layer(lambda: handed_over(providers, load()))
        self._layer.listen(self)
        self._database = HostDatabase(db_manager) if db_manager is not None else None
        if self._database is not None:
            self._layer.listen(self._database)

    # Providers

    async def get_available_providers(self) -> list[ProviderConfig]:
        """Providers that are believed to answer, by priority."""
        well = {ProviderStatus.HEALTHY, ProviderStatus.DEGRADED}
        found = [config for name, config in self.providers.items() if self.provider_status.get(name) in well]
        return sorted(found, key=lambda config: config.priority)

    async def get_best_provider(self) -> ProviderConfig | None:
        """The first of them, or None."""
        return next(iter(await self.get_available_providers()), None)

    async def check_provider_health(self, provider_name: str) -> HealthCheckResult:
        """Ask a provider now. One explicit check decides what its status is, at once."""
        if provider_name not in self.providers:
            return HealthCheckResult(provider_name, False, f"Provider {provider_name} not configured")
        try:
            result = await self._check_provider_health_internal(provider_name)
        except Exception as error:  # a check that breaks is a check that failed
            result = HealthCheckResult(provider_name, False, f"{type(error).__name__}: {error}")
        self.provider_health[provider_name] = result
        self.last_health_check[provider_name] = datetime.now()
        self._set_status(
            provider_name, ProviderStatus.HEALTHY if result.is_healthy else ProviderStatus.UNHEALTHY
        )
        self._measure(provider_name, result.is_healthy, result.response_time, result.error_message)
        return result

    async def _check_provider_health_internal(self, provider_name: str) -> HealthCheckResult:
        """A tiny question to the provider, asked the way real ones are."""
        name = ProviderName(provider_name)
        try:
            found = await self._layer.call(
                lambda client: client.fallback_manager.check_provider_health(name), HEALTH_SECS
            )
        except (LayerUnavailable, TimeoutError) as error:
            return HealthCheckResult(provider_name, False, str(error) or f"no answer in {HEALTH_SECS:g} s")
        detail = None if found.is_healthy else found.detail
        return HealthCheckResult(provider_name, found.is_healthy, detail, found.secs * 1_000)

    async def initiate_failover(self, from_provider: str, to_provider: str, reason: str) -> bool:
        """Ask ``to_provider`` first from now on, if a check finds it well."""
        target = await self.check_provider_health(to_provider)
        if not target.is_healthy:
            self.logger.error("no failover to %s: %s", to_provider, target.error_message)
            return False
        try:
            source, wanted = ProviderName(from_provider), ProviderName(to_provider)
            if self._layer.client is not None:
                await self._layer.call(
                    lambda client: client.fallback_manager.initiate_failover(source, wanted, reason),
                    HEALTH_SECS,
                )
        except (ValueError, LayerUnavailable, TimeoutError) as error:
            self.logger.error("no failover to %s: %s", to_provider, error)
            return False
        self._failed_over(from_provider, to_provider, reason, target.response_time)
        return True

    def get_failover_history(self, limit: int = 10) -> list[FailoverEvent]:
        """The latest failovers, oldest first."""
        return list(self.failover_history)[-limit:] if limit > 0 else []

    def get_health_metrics(self) -> dict[str, dict[str, Any]]:
        """What is known of each provider, response times in milliseconds."""
        return dict(self.health_metrics)

    def set_cached_decisions(self, decisions: dict[str, dict[str, Any]]) -> None:
        """Kept for callers that look at them. No risk is taken on them: an opinion that may count again comes
        from a provider, with its age and price, and is kept by Jurymast itself."""
        self.cached_decisions.update(decisions)

    # Emergencies

    async def enable_emergency_mode(
        self,
        reason: str,
        duration_minutes: int = 60,
        mode: EmergencyMode = EmergencyMode.CONSERVATIVE,
    ) -> None:
        """Ask nobody and take no new risk for ``duration_minutes``."""
        self.emergency_mode, self.emergency_reason = mode, reason
        self.emergency_until = datetime.now() + timedelta(minutes=float(duration_minutes))
        self.logger.critical("emergency mode %s for %s min: %s", mode.value, duration_minutes, reason)

    async def disable_emergency_mode(self) -> None:
        """Take it back."""
        self.emergency_mode = self.emergency_reason = self.emergency_until = None

    @property
    def _emergency_active(self) -> bool:
        if self.emergency_mode is None:
            return False
        return self.emergency_until is None or datetime.now() < self.emergency_until

    async def check_recovery(self) -> bool:
        """Whether somebody answers again; an emergency is ended by it."""
        if self.emergency_mode is None:
            return True
        for name in self.providers:
            if (await self.check_provider_health(name)).is_healthy:
                await self.disable_emergency_mode()
                return True
        return False

    async def get_emergency_decision(
        self, market_data: dict[str, Any], portfolio_data: dict[str, Any]
    ) -> EmergencyDecision:
        """What is decided without any provider: an opinion of before as far as it still counts, else SKIP."""
        answer = await self._without_providers(market_data, portfolio_data)
        reasoning = f"{EMERGENCY} {answer['reasoning']}"
        cached = bool(answer.get("cached"))
        return EmergencyDecision(
            answer["action"], answer["side"], answer["confidence"], reasoning,
            cached, datetime.now() if cached else None,
        )  # fmt: skip

    async def _without_providers(self, market_data: Mapping[str, Any], portfolio_data: Any) -> Answer:
        why = self.emergency_reason or "no provider is asked"
        if self._layer.client is None or self.emergency_mode in {
            EmergencyMode.MINIMAL,
            EmergencyMode.SUSPENDED,
        }:
            return skip(f"no trade: {why}", provider="emergency")

        async def asked(client: EnhancedAIClient) -> Answer:
            snapshot = markets.snapshot(market_data, datetime.now(UTC))
            return self._answer(client, client.get_emergency_decision(snapshot), snapshot, portfolio_data)

        try:
            answer = await self._layer.call(asked, HEALTH_SECS)
        except (markets.Unusable, LayerUnavailable, TimeoutError) as error:
            return skip(f"no trade: {why}; {error}", provider="emergency")
        return {**answer, "provider": "emergency", "fallback_level": "emergency"}

    # Decisions

    async def get_fallback_decision(
        self,
        market_data: dict[str, Any],
        portfolio_data: dict[str, Any],
        timeout: float = DECISION_SECS,
    ) -> dict[str, Any] | None:
        """A decision within ``timeout`` seconds, from whoever answers; SKIP with its reason when nobody does.

        ``market_data`` may hold ``news_summary``. Keys: action, side, confidence, reasoning, provider,
        fallback_level, limit_price, and more that are ours. Never raises.
        """
        if barred := self._layer.barred():
            return skip(f"no trade: {barred}", provider="operator", demanded=True)
        if self._emergency_active:
            answer = await self._without_providers(market_data, portfolio_data)
            return {**answer, "reasoning": f"{EMERGENCY} {answer['reasoning']}", "demanded": True}
        try:
            return await self._decide(market_data, portfolio_data, timeout)
        except markets.Unusable as error:
            return skip(f"no trade: {error}", abstained="unusable_market")
        except (LayerUnavailable, TimeoutError) as error:
            why = str(error) or f"no decision within {timeout:g} s"
            return skip(f"no trade: {why}", provider="emergency", abstained="layer")
        except Exception as error:  # the trader must get an answer, whatever broke in here
            self.logger.exception("a decision broke")
            why = f"{type(error).__name__}: {error}"
            return skip(f"no trade: {why}", provider="emergency", abstained="internal_error")

    async def _decide(self, market_data: Mapping[str, Any], portfolio_data: Any, timeout: float) -> Answer:
        now = datetime.now(UTC)
        snapshot = markets.snapshot(market_data, now)
        evidence = markets.evidence(market_data.get("news_summary"), now)

        async def asked(client: EnhancedAIClient) -> Answer:
            deadline_secs = max(timeout - MARGIN_SECS, MARGIN_SECS)
            found = await client.get_trading_decision(snapshot, evidence, deadline_secs=deadline_secs)
            return self._answer(client, found, snapshot, portfolio_data)

        return await self._layer.call(asked, timeout)

    def _answer(
        self,
        client: EnhancedAIClient,
        found: Decision | Abstain,
        snapshot: MarketSnapshot,
        portfolio_data: Any,
    ) -> Answer:
        if isinstance(found, Abstain):
            answer = held(found)
            return answer | {"provider": "emergency"} if answer["abstained"] in NO_ANSWER else answer
        balance = markets.balance(portfolio_data)
        table = client.fallback_manager.table
        return judged(found, snapshot, balance, table, size_share=client.size_share)

    # Status

    async def get_system_status(self) -> SystemStatus:
        """The providers as they are, and our own mode with its reason."""
        client = self._layer.client
        healthy = sum(status is ProviderStatus.HEALTHY for status in self.provider_status.values())
        unknown = sum(status is ProviderStatus.UNKNOWN for status in self.provider_status.values())
        total = len(self.providers)
        judgement = client.mode if client is not None else Judgement.NORMAL
        reason = client.get_system_status().mode_reason if client is not None else self._layer.failure
        active = self._emergency_active
        if (
            active
            or judgement.severity >= Judgement.CACHED.severity
            or (healthy == 0 and unknown < max(total, 1))
        ):
            mode = "emergency"
        elif healthy + unknown < total or judgement is not Judgement.NORMAL or self._layer.failure:
            mode = "degraded"
        else:
            mode = "normal"
        return SystemStatus(
            mode=mode,
            healthy_providers=healthy,
            total_providers=total,
            degradation_level=1.0 - (healthy + unknown) / total if total else 1.0,
            emergency_mode_active=active,
            emergency_reason=self.emergency_reason,
            emergency_until=self.emergency_until,
            last_failover=self.failover_history[-1] if self.failover_history else None,
            judgement_mode=judgement.value,
            judgement_reason=reason,
        )

    async def close(self) -> None:
        """Give up the layer, if it is this manager's own."""
        if self._own:
            await self._layer.close()

    # What the layer tells, on its own thread

    def heard(self, event: Event) -> None:
        """Follow what traffic and probes show."""
        match event:
            case ProviderChanged():
                self._set_status(event.provider.value, ProviderStatus(event.new.value))
            case ProbeSent():
                error = None if event.healthy else event.detail
                self._measure(event.route.provider.value, event.healthy, None, error)
            case FailedOver():
                source, target = event.from_route, event.to_route
                self._failed_over(
                    source.provider.value if source else "none",
                    target.provider.value if target else "none",
                    event.reason,
                    0.0,
                )
            case _:
                pass

    async def drain(self) -> None:
        """Nothing waits here."""
        await asyncio.sleep(0)

    def _set_status(self, name: str, status: ProviderStatus) -> None:
        if name in self.providers:
            self.provider_status[name] = status

    def _failed_over(self, source: str, target: str, reason: str, millis: float) -> None:
        self.current_primary_provider = None if target == "none" else target
        self.failover_history.append(FailoverEvent(datetime.now(), source, target, reason, millis))

    def _measure(self, name: str, healthy: bool, millis: float | None, error: str | None) -> None:
        metrics = self.health_metrics.setdefault(name, _no_metrics())
        metrics["last_check"] = datetime.now()
        metrics["checks"] += 1
        metrics["error_count"] += not healthy
        metrics["success_rate"] = 1 - metrics["error_count"] / metrics["checks"]
        metrics["uptime_percentage"] = 100 * metrics["success_rate"]
        if millis is not None:
            metrics["response_times"].append(millis)
        if error:
            metrics["last_error"] = error


def _no_metrics() -> dict[str, Any]:
    return {
        "last_check": None,
        "response_times": deque(maxlen=TIMES_KEPT),
        "success_rate": 0.0,
        "error_count": 0,
        "last_error": None,
        "uptime_percentage": 100.0,
        "checks": 0,
    }
