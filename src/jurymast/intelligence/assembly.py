"""From provider configurations to the one call a trader makes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from jurymast.domain.money import Micros
from jurymast.domain.provider import ProviderConfig, ProviderName
from jurymast.domain.status import EmergencyMode
from jurymast.intelligence.enhanced_client import EnhancedAIClient
from jurymast.intelligence.fallback_manager import Emit, FallbackManager, FallbackSettings
from jurymast.intelligence.provider_manager import (
    AnthropicProvider,
    LocalProvider,
    OpenAIProvider,
    ProviderManager,
    XAIProvider,
)
from jurymast.intelligence.providers.catalogue import Catalogue
from jurymast.intelligence.providers.transport import AiohttpTransport
from jurymast.ports import Clock, Provider

PROVIDERS = {
    ProviderName.XAI: XAIProvider,
    ProviderName.OPENAI: OpenAIProvider,
    ProviderName.ANTHROPIC: AnthropicProvider,
    ProviderName.LOCAL: LocalProvider,
}


@asynccontextmanager
async def connect(
    configs: Mapping[ProviderName, ProviderConfig],
    *,
    clock: Clock,
    emit: Emit = lambda _: None,
    settings: FallbackSettings | None = None,
    budget_per_day: Micros,
    seed: int = 0,
    mode: EmergencyMode = EmergencyMode.NORMAL,
) -> AsyncIterator[EnhancedAIClient]:
    """The AI layer over these providers, on one transport; closed in order at the end.

    ``budget_per_day`` is a hard limit in micro-dollars; ``mode`` restores that of an earlier run.
    Raises ConfigError for a model without a known price.
    """
    transport, catalogue = AiohttpTransport(), Catalogue()
    try:
        providers: dict[ProviderName, Provider] = {
            name: PROVIDERS[name](config, transport, catalogue) for name, config in configs.items()
        }
        manager = ProviderManager(providers, clock=clock, catalogue=catalogue, budget_per_day=budget_per_day)
        fallback = FallbackManager(manager, clock=clock, emit=emit, settings=settings, seed=seed, mode=mode)
        yield EnhancedAIClient(fallback, clock=clock, emit=emit)
        await manager.close()
    finally:
        await transport.close()
