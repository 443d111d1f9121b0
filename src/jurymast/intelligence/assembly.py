"""From provider configurations to the one call a trader makes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

from jurymast.domain.money import Micros
from jurymast.domain.provider import ProviderConfig, ProviderName
from jurymast.domain.status import EmergencyMode
from jurymast.intelligence.enhanced_client import EnhancedAIClient
from jurymast.intelligence.fallback_manager import Emit, FallbackManager, FallbackSettings
from jurymast.intelligence.ordering import RoutingSettings
from jurymast.intelligence.provider_manager import (
    AnthropicProvider,
    LocalProvider,
    OpenAIProvider,
    ProviderManager,
    XAIProvider,
)
from jurymast.intelligence.providers.catalogue import Catalogue
from jurymast.intelligence.providers.transport import AiohttpTransport
from jurymast.intelligence.purse import MemoryBooks, Purse
from jurymast.policy.emergency import TABLE, ModeRules
from jurymast.policy.ledger import Cap
from jurymast.policy.pacer import Pace
from jurymast.policy.records import ForecastRecords
from jurymast.policy.restart import NOTHING_EARLIER, Earlier
from jurymast.policy.second import SecondSettings
from jurymast.ports import Books, Clock

PROVIDERS = {
    ProviderName.XAI: XAIProvider,
    ProviderName.OPENAI: OpenAIProvider,
    ProviderName.ANTHROPIC: AnthropicProvider,
    ProviderName.LOCAL: LocalProvider,
}


@asynccontextmanager
async def connect(
    configs: Iterable[ProviderConfig],
    *,
    clock: Clock,
    emit: Emit = lambda _: None,
    settings: FallbackSettings | None = None,
    budget_per_day: Micros = 0,
    books: Books | None = None,
    pace: Pace | None = None,
    strategy: str = "",
    seed: int = 0,
    earlier: Earlier = NOTHING_EARLIER,
    table: Mapping[EmergencyMode, ModeRules] = TABLE,
    records: ForecastRecords | None = None,
    second: SecondSettings | None = None,
    catalogue: Catalogue | None = None,
    routing: RoutingSettings | None = None,
) -> AsyncIterator[EnhancedAIClient]:
    """The AI layer over these providers, on one transport; closed in order at the end.

    ``budget_per_day`` is a hard limit in micro-dollars, kept in memory; ``books`` take its place where there
    are several caps, or a file to keep them in. ``strategy`` is the name caps know this caller by.
    ``earlier`` is what the run before left; ``table`` is what each mode allows,
    ``records`` what models have shown to be worth, ``second`` when others are asked too,
    ``catalogue`` the prices, without one those that ship, ``routing`` what orders healthy routes.
    Raises ConfigError for a model without a known price.
    """
    transport, catalogue = AiohttpTransport(), catalogue or Catalogue()
    try:
        providers = [PROVIDERS[config.name](config, transport, catalogue) for config in configs]
        if books is None:
            books = MemoryBooks([Cap(budget_per_day)], clock, earlier.spent)
        purse = Purse(books, clock=clock, pace=pace, strategy=strategy, emit=emit)
        manager = ProviderManager(providers, clock=clock, catalogue=catalogue, purse=purse)
        fallback = FallbackManager(
            manager, clock=clock, emit=emit, settings=settings, seed=seed, earlier=earlier, table=table
        )
        try:
            yield EnhancedAIClient(
                fallback, clock=clock, emit=emit, records=records, second=second, routing=routing, seed=seed
            )
        finally:
            await fallback.close()
            await manager.close()
    finally:
        await transport.close()
