"""The host's ``EnhancedAIClient`` over Jurymast.

Models are asked, failures fail over within one deadline, emergencies stop entries, and the status says what
is. The flow of a decision is :mod:`src.jurymast_adapter.flow`.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from src.clients.openai_client import OpenAIClient
from src.clients.xai_client import XAIClient, predictor
from src.intelligence.fallback_manager import FallbackManager, ProviderConfig
from src.intelligence.provider_manager import ProviderManager
from src.jurymast_adapter.decisions import converted, skip
from src.jurymast_adapter.ensembles import Ensembles
from src.jurymast_adapter.flow import Flow, Question
from src.jurymast_adapter.layer import Layer, LayerUnavailable, shared
from src.jurymast_adapter.settings import shown
from src.jurymast_adapter.types import DailyUsageTracker, EnhancedConfig, TradingDecision

from jurymast.domain.errors import JurymastError

__all__ = ["EnhancedAIClient", "EnhancedConfig", "TradingDecision"]

_open: set[int] = set()
"""Clients that use the shared layer: it ends with the last of them."""


class EnhancedAIClient(Ensembles):
    """The one client a trader needs.

    Making one touches neither the network nor a loop, needs no key, and takes a mock for everything.
    ``legacy`` is the caller's old client: the second step of the flow, and the one that is compared while a
    move is under way.
    """

    def __init__(
        self,
        db_manager: Any = None,
        kalshi_client: Any = None,
        config: EnhancedConfig | None = None,
        *,
        legacy: Any = None,
        layer: Layer | None = None,
    ) -> None:
        self.db_manager = db_manager
        self.kalshi_client = kalshi_client
        self.config = config if config is not None else EnhancedConfig()
        self.logger = logging.getLogger("jurymast.adapter")
        self._layer = layer or shared()
        self._xai_client: Any = XAIClient(
            db_manager=db_manager, kalshi_client=kalshi_client, layer=self._layer
        )
        self.openai_client: Any = OpenAIClient(layer=self._layer)
        self.providers = self._create_provider_configs()
        multi = bool(self.config.enable_multi_provider)
        self.provider_manager = ProviderManager(self.providers, layer=self._layer) if multi else None
        self.fallback_manager = (
            FallbackManager(db_manager, self.providers, layer=self._layer) if multi else None
        )
        self.last_health_check: datetime | None = None
        self.emergency_decisions_cache: dict[str, Any] = {}
        self.performance_metrics: dict[str, Any] = {}
        self._predictor: Any = None
        self._flow = Flow(self._layer, self._ask_manager)
        self._flow.handed = legacy
        _open.add(id(self))

    # Clients that others unwrap

    @property
    def xai_client(self) -> Any:
        """A facade that asks through the failover; another client that a caller sets in its place is its old
        one."""
        return self._xai_client

    @xai_client.setter
    def xai_client(self, client: Any) -> None:
        self._xai_client = client
        self._flow.handed = None if isinstance(client, XAIClient) else client

    @property
    def ml_predictor(self) -> Any:
        """The host's price predictor."""
        if isinstance(self._xai_client, XAIClient):
            return self._xai_client.ml_predictor
        found = getattr(self._xai_client, "ml_predictor", None)
        if found is None:
            found = self._predictor = self._predictor or predictor(self.kalshi_client)
        return found

    @property
    def daily_tracker(self) -> DailyUsageTracker:
        """The day's AI money: what our budget says. The host's brake looks here."""
        return XAIClient(layer=self._layer).daily_tracker

    # Decisions

    async def get_trading_decision(
        self,
        market_data: dict[str, Any],
        portfolio_data: dict[str, Any],
        news_summary: str = "",
        ml_prediction: Any = None,
    ) -> TradingDecision | None:
        """A decision within the deadline: BUY, or SKIP with its reason. Never raises, never None."""
        question = Question(market_data, portfolio_data, news_summary, ml_prediction)
        try:
            return await self._flow.decide(
                question,
                enhanced=self._should_use_enhanced_system(),
                hosts=lambda: (self.db_manager, self.kalshi_client),
            )
        except Exception as error:  # the trader must get an answer, whatever broke in here
            self.logger.exception("a decision broke")
            return converted(skip(f"no trade: {type(error).__name__}: {error}"))

    async def get_completion(
        self,
        prompt: str,
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        strategy: str | None = None,
        query_type: str | None = None,
        market_id: str | None = None,
        log_query: bool = True,
    ) -> str | None:
        """Text from whoever answers, None when nobody does. Never raises."""
        asking = XAIClient(layer=self._layer)
        return await asking.get_completion(
            prompt, max_tokens, temperature, strategy or "unknown", query_type or "completion", market_id
        )

    async def _ask_manager(self, **question: Any) -> dict[str, Any] | None:
        """Whatever manager there is at this moment: callers put their own in its place."""
        if self.fallback_manager is None:
            return None
        return await self.fallback_manager.get_fallback_decision(**question)

    def _should_use_enhanced_system(self) -> bool:
        """Whether the providers are asked at all."""
        return bool(self.config.enable_multi_provider) and self.fallback_manager is not None

    async def _get_enhanced_trading_decision(
        self,
        market_data: dict[str, Any],
        portfolio_data: dict[str, Any],
        news_summary: str,
        ml_prediction: Any,
    ) -> TradingDecision | None:
        """The providers alone, whatever the phase."""
        data = {**market_data, "news_summary": news_summary} if news_summary else dict(market_data)
        if self.fallback_manager is None:
            return None
        answer = await self.fallback_manager.get_fallback_decision(
            market_data=data, portfolio_data=portfolio_data, timeout=self._flow.secs
        )
        return converted(answer)

    async def _get_legacy_trading_decision(
        self,
        market_data: dict[str, Any],
        portfolio_data: dict[str, Any],
        news_summary: str,
        ml_prediction: Any,
    ) -> TradingDecision | None:
        """The caller's old client alone; SKIP when there is none."""
        question = Question(market_data, portfolio_data, news_summary, ml_prediction)
        hosts = (self.db_manager, self.kalshi_client)
        return await self._flow.decide(question, enhanced=False, hosts=lambda: hosts)

    def _convert_to_trading_decision(
        self,
        decision_data: dict[str, Any],
        market_data: dict[str, Any],
    ) -> TradingDecision | None:
        """A manager's answer as a decision, read strictly: what may not be acted on is a SKIP that says
        why."""
        return converted(decision_data)

    def _prepare_trading_prompt(
        self,
        market_data: dict[str, Any],
        portfolio_data: dict[str, Any],
        news_summary: str,
        ml_prediction: Any,
    ) -> str:
        """What models are asked about this market: price-blind. Empty for a market that can't be asked
        about."""
        from datetime import UTC

        from src.jurymast_adapter import markets

        from jurymast.intelligence.prompts import forecast_request

        now = datetime.now(UTC)
        try:
            snapshot = markets.snapshot(market_data, now)
        except markets.Unusable:
            return ""
        return forecast_request(snapshot, markets.evidence(news_summary, now)).messages[-1].content

    # Health and status

    def _create_provider_configs(self) -> dict[str, ProviderConfig]:
        """The providers that can be asked, from our settings and the host's."""
        try:
            return shown(self._layer.setup)
        except JurymastError as error:
            self.logger.error("no provider is configured: %s", error)
            return {}

    async def _initialize_providers(self) -> None:
        """Start the layer now rather than with the first question."""
        if self.provider_manager is not None:
            await self.provider_manager.initialize_all_providers()

    async def _start_health_monitoring(self) -> None:
        """The layer watches by itself; this looks once."""
        await self._check_system_health()

    async def _check_system_health(self) -> None:
        """Ask every provider a tiny question now."""
        if self.fallback_manager is None:
            return
        for name in self.providers:
            await self.fallback_manager.check_provider_health(name)
        self.last_health_check = datetime.now()

    async def get_system_status(self) -> dict[str, Any]:
        """What is, in the host's words, and who decides and why."""
        if self.fallback_manager is None:
            return {"mode": "legacy", "multi_provider": False, **self._who_decides()}
        try:
            status = await self.fallback_manager.get_system_status()
            checked_at = self.last_health_check or _latest(self.fallback_manager.last_health_check)
            manager = self.provider_manager
            return {
                "mode": status.mode,
                "multi_provider": True,
                "healthy_providers": status.healthy_providers,
                "total_providers": status.total_providers,
                "degradation_level": status.degradation_level,
                "emergency_mode_active": status.emergency_mode_active,
                "last_health_check": checked_at.isoformat() if checked_at else None,
                "health_metrics": self.fallback_manager.get_health_metrics(),
                "provider_stats": manager.get_provider_stats() if manager is not None else {},
                "total_cost": manager.get_total_cost() if manager is not None else 0.0,
                "judgement_mode": status.judgement_mode,
                "judgement_reason": status.judgement_reason,
                **self._who_decides(),
            }
        except Exception as error:  # a status that breaks must say so, not break its reader
            return {"mode": "error", "error": f"{type(error).__name__}: {error}"}

    def _who_decides(self) -> dict[str, Any]:
        rollout, deciding = self._layer.rollout(), self._flow.deciding
        return {
            "decided_by": deciding.by,
            "decided_because": deciding.why,
            "rollout_phase": rollout.phase.value,
            "rollout_reason": rollout.reason,
            "layer_failure": self._layer.failure,
            "record": self._layer.trouble,
        }

    async def enable_emergency_mode(self, reason: str, duration_minutes: int = 60) -> None:
        """Ask nobody and take no new risk for a while."""
        if self.fallback_manager is not None:
            await self.fallback_manager.enable_emergency_mode(reason, duration_minutes)

    async def disable_emergency_mode(self) -> None:
        """Take it back."""
        if self.fallback_manager is not None:
            await self.fallback_manager.disable_emergency_mode()

    async def get_emergency_decision(
        self, market_data: dict[str, Any], portfolio_data: dict[str, Any]
    ) -> TradingDecision | None:
        """What is decided without any provider."""
        if self.fallback_manager is None:
            return converted(skip("[EMERGENCY] no trade: the multi-provider layer is off"))
        found = await self.fallback_manager.get_emergency_decision(market_data, portfolio_data)
        return TradingDecision(found.action, found.side, found.confidence, reasoning=found.reasoning)

    async def check_recovery(self) -> bool:
        """Whether somebody answers again; an emergency is ended by it."""
        return True if self.fallback_manager is None else await self.fallback_manager.check_recovery()

    async def close(self) -> None:
        """Give up what runs beside; the shared layer ends with the last client that uses it. Never raises."""
        await self._flow.close()
        _open.discard(id(self))
        try:
            if not _open or self._layer is not shared():
                await self._layer.close()
        except (LayerUnavailable, RuntimeError) as error:
            self.logger.warning("the layer did not close in order: %s", error)


def _latest(checks: dict[str, datetime]) -> datetime | None:
    return max(checks.values(), default=None)
