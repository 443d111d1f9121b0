"""The host's ensemble methods, for whoever decides: several models count by weight inside of the one decision
that it makes, and not by votes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from src.jurymast_adapter.decisions import converted, skip
from src.jurymast_adapter.types import TradingDecision


class Ensembles(ABC):
    """Adds them to a ``get_trading_decision``."""

    @abstractmethod
    async def get_trading_decision(
        self,
        market_data: dict[str, Any],
        portfolio_data: dict[str, Any],
        news_summary: str = "",
        ml_prediction: Any = None,
    ) -> TradingDecision | None: ...

    async def get_ensemble_decision(
        self,
        market_data: dict[str, Any],
        portfolio_data: dict[str, Any],
        news_summary: str = "",
        min_consensus_confidence: float = 0.6,
    ) -> TradingDecision | None:
        """The same decision; a BUY below ``min_consensus_confidence`` is a SKIP."""
        decision = await self.get_trading_decision(market_data, portfolio_data, news_summary)
        return at_least(decision, min_consensus_confidence)

    async def get_advanced_ensemble_decision(
        self,
        market_data: dict[str, Any],
        portfolio_data: dict[str, Any],
        news_summary: str = "",
        trade_value: float = 25.0,
        strategy: str | None = None,
        ensemble_config: Any = None,
    ) -> TradingDecision | None:
        """The same decision; ``trade_value`` in dollars is what a gradual move looks at."""
        data = {**market_data, "trade_value": trade_value}
        return await self.get_trading_decision(data, portfolio_data, news_summary)


def at_least(decision: TradingDecision | None, confidence: Any) -> TradingDecision | None:
    """The decision, or a SKIP where it is a BUY of less confidence."""
    if decision is None or decision.action != "BUY" or not isinstance(confidence, int | float):
        return decision
    if decision.confidence >= confidence:
        return decision
    why = f"confidence {decision.confidence:.2f} is below {confidence:.2f}: {decision.reasoning}"
    return converted(skip(why))
