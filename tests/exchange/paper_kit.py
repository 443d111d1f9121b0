"""Questions, intents and exchanges in the shape the tests of this room need."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from jurymast.domain.money import CENT, usd
from jurymast.domain.order import Action, OrderIntent, Purpose
from jurymast.exchange.paper import PaperExchange
from jurymast.exchange.questions import Question
from jurymast.testing.clock import FakeClock
from order_world import order_intent

START = datetime(2025, 11, 3, tzinfo=UTC)
CASH = usd(100_000)


def question(ticker: str = "Q-1", **changes: Any) -> Question:
    """A market in the middle of its price range that lives for thirty days from START."""
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


def exchange(
    questions: tuple[Question, ...],
    clock: FakeClock,
    database: Path | str = ":memory:",
    **changes: Any,
) -> PaperExchange:
    """An exchange whose time runs as fast as the clock's."""
    fields: dict[str, Any] = {"seed": 7, "start": START, "speed": 1.0, "cash": CASH}
    return PaperExchange(questions, database=database, clock=clock, **(fields | changes))


def buy(ticker: str = "Q-1", **changes: Any) -> OrderIntent:
    """An order for ten YES contracts at any price, not resting, with an id of its own."""
    return order_intent(ticker, **changes)


def sell(ticker: str = "Q-1", **changes: Any) -> OrderIntent:
    """An exit from ten YES contracts at any price."""
    fields = {"purpose": Purpose.EXIT, "action": Action.SELL, "limit_price": CENT}
    return buy(ticker, **(fields | changes))
