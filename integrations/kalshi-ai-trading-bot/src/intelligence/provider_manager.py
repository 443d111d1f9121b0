"""The host's ``ProviderManager`` and its four providers over Jurymast."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from typing import Any, Final

from src.jurymast_adapter.asking import ASK_SECS, Text, ask
from src.jurymast_adapter.layer import Layer, LayerUnavailable
from src.jurymast_adapter.settings import handed_over, load
from src.jurymast_adapter.types import AIRequest, AIResponse, ProviderConfig, ProviderType

from jurymast.domain.errors import ConfigError, ProviderError
from jurymast.domain.money import USD
from jurymast.domain.provider import ProviderName
from jurymast.intelligence.enhanced_client import EnhancedAIClient
from jurymast.intelligence.providers.catalogue import default_catalogue

__all__ = [
    "AIRequest",
    "AIResponse",
    "AnthropicProvider",
    "BaseProvider",
    "LocalProvider",
    "OpenAIProvider",
    "ProviderManager",
    "ProviderType",
    "XAIProvider",
]

LIST_SECS: Final = 20.0
START_SECS: Final = 10.0
PER_TOKENS: Final = 1_000_000


class BaseProvider(ABC):
    """One provider by itself, with a layer of its own that starts with the first question."""

    def __init__(self, config: ProviderConfig) -> None:
        self.config = config
        self.logger = logging.getLogger(f"jurymast.adapter.{config.name}")
        self.client: Any = None
        self._layer = Layer(lambda: handed_over({config.name: config}, load()))

    @property
    @abstractmethod
    def kind(self) -> ProviderType:
        """Which of the four it is."""

    async def initialize(self) -> bool:
        """Whether it can be asked at all. Asks nobody."""
        try:
            await self._layer.call(_nothing, START_SECS)
        except (LayerUnavailable, TimeoutError) as error:
            self.logger.error("%s can't be used: %s", self.config.name, error)
            return False
        return True

    async def make_request(self, request: AIRequest) -> AIResponse:
        """Ask. Raises RuntimeError when there is no answer."""
        return _response(await _asked(self._layer, request, None), f"{self.config.name} has not answered")

    async def health_check(self) -> bool:
        """Whether a tiny question is answered."""
        name = ProviderName(self.config.name)
        try:
            found = await self._layer.call(
                lambda client: client.fallback_manager.check_provider_health(name), LIST_SECS
            )
        except (LayerUnavailable, TimeoutError):
            return False
        return found.is_healthy

    async def list_models(self) -> list[str]:
        """What it says it serves; what is configured when it says nothing."""
        return (await _models(self._layer)).get(self.config.name) or list(self.config.models)

    def calculate_cost(self, tokens: int, model: str) -> float:
        """Most that ``tokens`` cost, in dollars: all of them at the price of output. 0 for a local model."""
        if self.kind is ProviderType.LOCAL:
            return 0.0
        catalogue = default_catalogue()
        try:
            price = catalogue.price(catalogue.resolve(model)[0])
        except ConfigError:
            return tokens * self.config.cost_per_token
        return tokens * max(price.input, price.output) / PER_TOKENS / USD

    async def close(self) -> None:
        """Let go of it."""
        await self._layer.close()


class XAIProvider(BaseProvider):
    """xAI alone."""

    kind = ProviderType.XAI


class OpenAIProvider(BaseProvider):
    """OpenAI alone."""

    kind = ProviderType.OPENAI


class AnthropicProvider(BaseProvider):
    """Anthropic alone."""

    kind = ProviderType.ANTHROPIC


class LocalProvider(BaseProvider):
    """A local server alone."""

    kind = ProviderType.LOCAL


_CLASSES: Final[dict[ProviderType, type[BaseProvider]]] = {
    ProviderType.XAI: XAIProvider,
    ProviderType.OPENAI: OpenAIProvider,
    ProviderType.ANTHROPIC: AnthropicProvider,
    ProviderType.LOCAL: LocalProvider,
}


class ProviderManager:
    """All providers behind one ``make_request``. Raises ValueError for a provider of a fifth kind.

    Making one starts nothing. ``layer`` is shared by the clients of the host.
    """

    def __init__(self, providers: dict[str, ProviderConfig], *, layer: Layer | None = None) -> None:
        kinds = {name: ProviderType(name) for name in providers}
        self.providers = providers
        self.provider_clients = {name: _CLASSES[kind](providers[name]) for name, kind in kinds.items()}
        self.logger = logging.getLogger("jurymast.adapter")
        self._own = layer is None
        self._layer = layer or Layer(lambda: handed_over(providers, load()))

    async def initialize_all_providers(self) -> dict[str, bool]:
        """Start the layer; which of the configured providers can be asked. Asks none of them."""
        try:
            client = await self._layer.call(_itself, START_SECS)
        except (LayerUnavailable, TimeoutError) as error:
            self.logger.error("no provider can be used: %s", error)
            return dict.fromkeys(self.providers, False)
        usable = {name.value for name in client.fallback_manager.provider_statuses}
        return {name: name in usable for name in self.providers}

    async def make_request(
        self,
        request: AIRequest,
        preferred_provider: str | None = None,
        fallback_providers: list[str] | None = None,
    ) -> AIResponse:
        """Ask ``preferred_provider`` while it is well, else whoever is. Raises Exception when nobody
        answers."""
        first = None
        if preferred_provider in self.providers:
            first = ProviderName(preferred_provider)
        return _response(await _asked(self._layer, request, first), "All providers failed. Last error")

    async def health_check_all(self) -> dict[str, bool]:
        """Ask each provider a tiny question."""
        return {name: await self._well(name) for name in self.providers}

    async def _well(self, name: str) -> bool:
        wanted = ProviderName(name)
        try:
            found = await self._layer.call(
                lambda client: client.fallback_manager.check_provider_health(wanted), LIST_SECS
            )
        except (LayerUnavailable, TimeoutError):
            return False
        return found.is_healthy

    async def list_all_models(self) -> dict[str, list[str]]:
        """What each provider says it serves; nothing for one that does not say."""
        listed = await _models(self._layer)
        return {name: listed.get(name, []) for name in self.providers}

    def get_provider_stats(self) -> dict[str, dict[str, Any]]:
        """Counts per provider since the layer started. Cost in dollars, times in milliseconds."""
        totals = {name: _no_stats() for name in self.providers}
        client = self._layer.client
        if client is None:
            return totals
        for route, stats in list(client.fallback_manager.providers.stats.items()):
            row = totals.setdefault(route.provider.value, _no_stats())
            answered = stats.requests - stats.failures
            row["total_requests"] += stats.requests
            row["failed_requests"] += stats.failures
            row["successful_requests"] += answered
            row["total_tokens"] += stats.input_tokens + stats.output_tokens
            row["total_cost"] += stats.cost / USD
            row["avg_response_time"] = max(row["avg_response_time"], stats.mean_secs * 1_000)
        return totals

    def get_total_cost(self) -> float:
        """Dollars spent since the layer started, probes included."""
        client = self._layer.client
        return client.fallback_manager.providers.get_total_cost() / USD if client is not None else 0.0

    @property
    def request_stats(self) -> dict[str, dict[str, Any]]:
        """The same as :meth:`get_provider_stats`."""
        return self.get_provider_stats()

    @property
    def cost_tracker(self) -> dict[str, float]:
        """Dollars by provider."""
        return {name: stats["total_cost"] for name, stats in self.get_provider_stats().items()}

    async def close(self) -> None:
        """Give up what is this manager's own."""
        for provider in self.provider_clients.values():
            await provider.close()
        if self._own:
            await self._layer.close()


async def _nothing(_: EnhancedAIClient) -> None:
    return None


async def _itself(client: EnhancedAIClient) -> EnhancedAIClient:
    return client


async def _models(layer: Layer) -> dict[str, list[str]]:
    try:
        found = await layer.call(
            lambda client: client.fallback_manager.providers.list_all_models(), LIST_SECS * len(ProviderName)
        )
    except (LayerUnavailable, TimeoutError):
        return {}
    return {
        name.value: [info.model for info in listed]
        for name, listed in found.items()
        if not isinstance(listed, ProviderError)
    }


async def _asked(layer: Layer, request: AIRequest, first: ProviderName | None) -> Text:
    wants_json = True if request.response_format else None
    return await ask(
        layer, request.messages, max_tokens=request.max_tokens, first=first, purpose="request",
        json_wanted=wants_json, secs=ASK_SECS,
    )  # fmt: skip


def _response(text: Text, failed: str) -> AIResponse:
    if text.content is None:
        raise RuntimeError(f"{failed}: {text.why}")
    return AIResponse(
        content=text.content,
        model_used=text.model,
        provider=text.provider,
        tokens_used=text.tokens,
        cost_usd=text.cost_usd,
        response_time_ms=text.secs * 1_000,
        finish_reason=text.finish,
        metadata={"cost_includes_failed_attempts": True},
    )


def _no_stats() -> dict[str, Any]:
    return {
        "total_requests": 0,
        "successful_requests": 0,
        "failed_requests": 0,
        "total_tokens": 0,
        "total_cost": 0.0,
        "avg_response_time": 0.0,
    }
