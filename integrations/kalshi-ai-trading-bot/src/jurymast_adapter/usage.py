"""The day's AI money as the host's tracker shows it, fed by our budget."""

from __future__ import annotations

import pickle
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from src.jurymast_adapter.layer import Layer
from src.jurymast_adapter.types import DailyUsageTracker

from jurymast.domain.errors import JurymastError
from jurymast.domain.money import USD
from jurymast.domain.provider import ProviderName

USAGE_FILE: Final = "logs/daily_ai_usage.pkl"


def tracker(layer: Layer, besides_usd: float = 0.0) -> DailyUsageTracker:
    """Today's figures. ``besides_usd`` was spent by somebody else and told to a client.

    It is exhausted when the budget is used up and nobody is left who costs nothing: a host that hears so
    waits for the next day.
    """
    now = datetime.now()
    spent, limit, requests, exhausted = besides_usd, _limit(layer), 0, False
    client = layer.client
    if client is not None:
        manager = client.fallback_manager.providers
        budget = manager.budget
        spent += budget.taken / USD
        limit = budget.limit / USD
        requests = sum(stats.requests for stats in list(manager.stats.values()))
        free = ProviderName.LOCAL in client.fallback_manager.provider_statuses
        exhausted = spent >= limit and not free
    return DailyUsageTracker(
        date=now.strftime("%Y-%m-%d"),
        total_cost=spent,
        request_count=requests,
        daily_limit=limit,
        is_exhausted=exhausted,
        last_exhausted_time=now if exhausted else None,
    )


def keep(found: DailyUsageTracker, path: str = USAGE_FILE) -> None:
    """Leave it where the host's own tools look for it. A full disk is no reason to fail."""
    with suppress(OSError, pickle.PicklingError):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(pickle.dumps(found))


def _limit(layer: Layer) -> float:
    try:
        return layer.setup.config.failover.budget_usd_per_day
    except JurymastError:
        return DailyUsageTracker("").daily_limit
