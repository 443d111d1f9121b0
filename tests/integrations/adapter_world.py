"""The adapter over emulated providers, as the host would run it: its own thread, real sockets, a real
journal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from host_answers import ANSWER, Sure
from src.intelligence.enhanced_client import EnhancedAIClient
from src.intelligence.fallback_manager import FallbackManager
from src.jurymast_adapter import settings
from src.jurymast_adapter.layer import Layer

from jurymast.domain.events import Event
from jurymast.domain.provider import ProviderName
from jurymast.journal.queries import JournalReader
from jurymast.lab.emulators import answers
from jurymast.lab.emulators.fleet import EmulatorFleet

MODELS = {ProviderName.XAI: ("grok-4.7",), ProviderName.OPENAI: ("gpt-6.1-sol",)}
CLIENT_SECS = 30.0
MARKET = {
    "title": "Will it happen?",
    "ticker": "HAPPEN-1",
    "rules": "Resolves YES when it happens.",
    "category": "weather",
    "yes_price": 0.60,
    "no_price": 0.40,
    "volume": 5_000,
    "days_to_expiry": 7,
}
PORTFOLIO = {"balance": 1_000}


def market(ticker: str, **changes: Any) -> dict[str, Any]:
    return {**MARKET, "ticker": ticker, "title": f"Will {ticker} happen?", **changes}


@dataclass
class World:
    """A layer over a fleet, and the clients of one host. ``environ`` is what the layer reads at its start."""

    fleet: EmulatorFleet
    environ: dict[str, str]
    data_dir: Path
    layer: Layer = field(init=False)

    def __post_init__(self) -> None:
        self.layer = Layer(lambda: settings.load(self.environ))

    def client(self, db: Any = None, **more: Any) -> EnhancedAIClient:
        return EnhancedAIClient(db_manager=db, layer=self.layer, **more)

    def manager(self, client: EnhancedAIClient) -> FallbackManager:
        assert client.fallback_manager is not None
        return client.fallback_manager

    async def until(self, holds: Callable[[], Any]) -> Any:
        """Wait for what comes by itself, at most as long as a person would."""
        ends = time.monotonic() + CLIENT_SECS
        while not (found := holds()):
            assert time.monotonic() < ends, "it has not come"
            await asyncio.sleep(0.02)
        return found

    def events(self, *kinds: type[Event]) -> list[Any]:
        path = self.data_dir / "journal.db"
        if not path.exists():
            return []
        with JournalReader(path) as journal:
            return [row.event for row in journal.events(kinds or None, limit=10_000)]


@asynccontextmanager
async def world(
    tmp_path: Path,
    monkeypatch: Any,
    *,
    providers: tuple[ProviderName, ...] = (ProviderName.XAI, ProviderName.OPENAI),
    oracle: Any = None,
    **environ: str,
) -> AsyncIterator[World]:
    """Emulators that answer at once, believe what ``oracle`` sees, and speak the host's JSON in free
    texts."""
    monkeypatch.setattr(answers, "PLAIN_ANSWER", ANSWER)
    async with EmulatorFleet(oracle or Sure(), latency_scale=0.0, models=MODELS) as fleet:
        variables = {"JURYMAST_BOT__DATA_DIR": str(tmp_path / "data"), "JURYMAST_CONFIG": ""}
        for name in providers:
            upper = name.upper()
            variables[f"{upper}_API_KEY"] = f"{name}-key"
            variables[f"JURYMAST_PROVIDERS__{upper}__BASE_URL"] = fleet.base_urls[name]
            variables[f"JURYMAST_PROVIDERS__{upper}__MODELS"] = ",".join(MODELS[name])
        found = World(fleet, {**variables, **environ}, tmp_path / "data")
        try:
            yield found
        finally:
            await found.layer.close()


@contextmanager
def heartbeat() -> Iterator[list[float]]:
    """Gaps between the beats of the running loop, in seconds: a loop that is held up misses some."""
    gaps: list[float] = []

    async def beat() -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.005)
            gaps.append(time.monotonic() - last)
            last = time.monotonic()

    task = asyncio.ensure_future(beat())
    try:
        yield gaps
    finally:
        task.cancel()
