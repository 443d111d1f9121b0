"""Questions for tests of every room that lists or trades them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from jurymast.exchange.questions import Question

START = datetime(2025, 11, 3, tzinfo=UTC)


def question(ticker: str = "Q-1", **changes: Any) -> Question:
    """A market in the middle of its price range that lives for thirty days from START and resolves YES."""
    fields: dict[str, Any] = {
        "ticker": ticker,
        "source": "polymarket",
        "source_id": ticker.lower(),
        "title": "Will it happen?",
        "background": "",
        "rules": "YES if it happens.",
        "url": "",
        "category": "world",
        "listed_at": START,
        "close_time": START + timedelta(days=60),
        "resolves_at": START + timedelta(days=30),
        "crowd_probability": 0.5,
        "outcome": True,
    }
    return Question(**(fields | changes))
