"""The host's ``OpenAIClient`` over Jurymast's failover. OpenAI is asked first while it is well, so that a
critic is another than the forecaster; when it is not, whoever is answers."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

from src.clients.xai_client import XAIClient
from src.jurymast_adapter.asking import ask
from src.jurymast_adapter.layer import Layer, offer_key, shared
from src.jurymast_adapter.settings import host_settings
from src.jurymast_adapter.types import SizedDecision as TradingDecision

from jurymast.domain.provider import ProviderName

__all__ = ["MarketAnalysis", "OpenAIClient", "TradingDecision"]

settings = host_settings()
"""The host's own, for callers that look for it here."""


@dataclass
class MarketAnalysis:
    """An analysis in words. Nothing of the host makes one any more."""

    market_id: str = ""
    analysis: str = ""
    sentiment: str = "neutral"
    confidence: float = 0.0
    key_factors: list[str] = field(default_factory=list)
    recommendations: list[str] = field(default_factory=list)


class OpenAIClient:
    """Questions and decisions through the failover, OpenAI first. ``layer`` is for tests."""

    def __init__(self, api_key: str | None = None, *, layer: Layer | None = None) -> None:
        offer_key(ProviderName.OPENAI, api_key)
        api, trading = getattr(settings, "api", None), getattr(settings, "trading", None)
        self.api_key = api_key or getattr(api, "openai_api_key", "")
        self.base_url = getattr(api, "openai_base_url", "")
        self.client = None
        self.primary_model = "gpt-5.2"
        self.fallback_model = "gpt-4"
        self.temperature = getattr(trading, "ai_temperature", 0)
        self.max_tokens = getattr(trading, "ai_max_tokens", 8_000)
        self.total_cost = 0.0
        self.request_count = 0
        self.logger = logging.getLogger("jurymast.adapter")
        self._layer = layer or shared()

    async def get_trading_decision(
        self, market_data: dict[str, Any], portfolio_data: dict[str, Any], news_summary: str = ""
    ) -> TradingDecision:
        """A decision with a size in percent of the balance. Never raises but for cancellation."""
        asking = XAIClient(layer=self._layer)
        found = await asking.get_trading_decision(market_data, portfolio_data, news_summary)
        if found is None:  # it never is; the signature is the host's
            raise RuntimeError("no decision was given")
        price = None if found.limit_price is None else found.limit_price / 100
        return TradingDecision(
            found.action, found.side, found.confidence, found.reasoning or "",
            found.position_size_pct or 0.0, max_price=price,
        )  # fmt: skip

    async def _make_completion_request(
        self,
        messages: list[dict[str, Any]],
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        response_format: dict[str, Any] | None = None,
        max_retries: int = 3,
    ) -> tuple[str, float]:
        """Text and what it cost in dollars. Raises RuntimeError when nobody answers."""
        found = await ask(
            self._layer, messages, max_tokens=max_tokens or self.max_tokens, first=ProviderName.OPENAI,
            purpose="messages", json_wanted=True if response_format else None,
        )  # fmt: skip
        self.request_count += 1
        self.total_cost += found.cost_usd
        if found.content is None:
            raise RuntimeError(f"nobody has answered: {found.why}")
        return found.content, found.cost_usd

    async def close(self) -> None:
        """The layer is everybody's and goes on."""
