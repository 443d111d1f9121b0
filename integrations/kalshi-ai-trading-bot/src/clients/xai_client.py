"""The host's ``XAIClient`` over Jurymast's failover: whoever holds one can't go past it to xAI alone.

It needs no key of xAI's, touches neither the network nor a loop when it is made, and shares providers,
health and budget with every other client of the process.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from src.jurymast_adapter.asking import Text, ask, object_in
from src.jurymast_adapter.decisions import Refused, checked, converted
from src.jurymast_adapter.ensembles import Ensembles
from src.jurymast_adapter.layer import Layer, offer_key, shared
from src.jurymast_adapter.settings import host_settings
from src.jurymast_adapter.types import DailyUsageTracker, TradingDecision
from src.jurymast_adapter.usage import USAGE_FILE, keep, tracker

from jurymast.domain.provider import ProviderName

__all__ = ["DailyUsageTracker", "TradingDecision", "XAIClient"]

settings = host_settings()
"""The host's own, for callers that look for it here."""
SEARCH_SECS: Final = 14.0
SEARCH_TOKENS: Final = 600
FROM_MEMORY: Final = "[from a model's memory, no live search]"
NO_NEWS: Final = "No news: nobody could be asked. Judge from the market's own rules."


class XAIClient(Ensembles):
    """Questions and decisions through the failover. ``layer`` is for tests; the process shares one."""

    first: ProviderName | None = None
    """Who is asked before the others; None leaves it to priority and health."""

    def __init__(
        self,
        api_key: str | None = None,
        db_manager: Any = None,
        kalshi_client: Any = None,
        *,
        layer: Layer | None = None,
    ) -> None:
        offer_key(ProviderName.XAI, api_key)
        trading = getattr(settings, "trading", None)
        self.api_key = api_key or getattr(getattr(settings, "api", None), "xai_api_key", "")
        self.db_manager = db_manager
        self.kalshi_client = kalshi_client
        self.client = None
        self.primary_model = getattr(trading, "primary_model", "")
        self.fallback_model = getattr(trading, "fallback_model", "")
        self.temperature = getattr(trading, "ai_temperature", 0)
        self.max_tokens = getattr(trading, "ai_max_tokens", 8_000)
        self.total_cost = 0.0
        self.request_count = 0
        self.usage_file = USAGE_FILE
        self.is_api_exhausted = False
        self.api_exhausted_until = None
        self.logger = logging.getLogger("jurymast.adapter")
        self._layer = layer or shared()
        self._besides_usd = 0.0
        self._predictor: Any = None

    @property
    def ml_predictor(self) -> Any:
        """The host's price predictor, made when it is first wanted."""
        if self._predictor is None:
            self._predictor = predictor(self.kalshi_client)
        return self._predictor

    @property
    def daily_tracker(self) -> DailyUsageTracker:
        """The day's AI money: what our budget says."""
        return tracker(self._layer, self._besides_usd)

    async def get_trading_decision(
        self,
        market_data: dict[str, Any],
        portfolio_data: dict[str, Any],
        news_summary: str = "",
        ml_prediction: Any = None,
    ) -> TradingDecision | None:
        """A decision of whoever answers; SKIP with its reason otherwise. Never raises, never None: one of the
        host's paths takes None for consent."""
        from src.intelligence.fallback_manager import FallbackManager

        manager = FallbackManager(None, {}, layer=self._layer)
        answer = await manager.get_fallback_decision(
            {**market_data, "news_summary": news_summary}, portfolio_data
        )
        return converted(answer)

    async def get_completion(
        self,
        prompt: str,
        max_tokens: int | None = None,
        temperature: float | None = None,
        strategy: str = "unknown",
        query_type: str = "completion",
        market_id: str | None = None,
    ) -> str | None:
        """Text from whoever answers, None when nobody does."""
        messages = [{"role": "user", "content": prompt}]
        found = await self._ask(messages, max_tokens, purpose=f"{strategy}: {query_type}", market=market_id)
        return found.content

    async def _make_completion_request(
        self,
        messages: list[dict[str, Any]],
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        max_retries: int = 3,
    ) -> tuple[str | None, float]:
        """Text and what it cost in dollars; None when nobody answers, with what trying cost."""
        found = await self._ask(messages, max_tokens, purpose="messages")
        return found.content, found.cost_usd

    async def search(self, query: str, max_length: int = 300) -> str:
        """What a model remembers of ``query``, and said to be that: the wires here have no live search."""
        prompt = (
            f"In at most {max_length} characters: what dated facts do you know about the question below? "
            f"You have no live search. Give no prices and no forecast. Say 'nothing known' if so.\n\n{query}"
        )
        messages = [{"role": "user", "content": prompt}]
        found = await self._ask(messages, SEARCH_TOKENS, purpose="search", secs=SEARCH_SECS)
        return (
            f"{FROM_MEMORY} {found.content.strip()[:max_length]}" if found.content else NO_NEWS[:max_length]
        )

    async def _ask(self, messages: Any, max_tokens: Any, *, purpose: str, **more: Any) -> Text:
        found = await ask(
            self._layer,
            messages,
            max_tokens=max_tokens or self.max_tokens,
            first=self.first,
            purpose=purpose,
            **more,
        )
        self.request_count += 1
        self.total_cost += found.cost_usd
        if found.content is None:
            self.logger.warning("no answer to %s: %s", purpose, found.why)
        return found

    async def _check_daily_limits(self) -> bool:
        """Whether there is AI money left today."""
        return not self.daily_tracker.is_exhausted

    def _update_daily_cost(self, cost: float) -> None:
        """Count what somebody else has spent, in dollars, and leave the tracker where the host looks for
        it."""
        self._besides_usd += max(cost, 0.0)
        keep(self.daily_tracker, self.usage_file)

    def _parse_trading_decision(self, response_text: str) -> TradingDecision | None:
        """A decision from text, strictly; None when it holds none that may be acted on."""
        found = checked(object_in(response_text))
        if isinstance(found, Refused):
            self.logger.warning("a decision was refused: %s", found.reason)
            return None
        return found

    async def close(self) -> None:
        """Leave the tracker behind. The layer is everybody's and goes on."""
        keep(self.daily_tracker, self.usage_file)


def predictor(kalshi_client: Any) -> Any:
    """The host's price predictor; one that predicts nothing where the host has none."""
    try:
        from src.strategies.ml_predictions import MLPricePredictor

        hours = getattr(getattr(settings, "trading", None), "ml_lookback_hours", 168)
        return MLPricePredictor(kalshi_client, lookback_hours=hours if isinstance(hours, int) else 168)
    except Exception:  # the host's own module, whatever its import or its making needs
        return NoPredictor()


class NoPredictor:
    """Predicts nothing."""

    async def get_prediction(self, market_id: str) -> None:
        """None."""

    def format_for_prompt(self, prediction: Any) -> str:
        """Nothing."""
        return ""
