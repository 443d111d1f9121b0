"""The caller's old client: what ours is compared with, and the second step of the flow.

It is what a caller hands over, or, while a move is under way, the host's own module as the installer has
kept it.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from src.jurymast_adapter.decisions import Refused, as_fields, checked
from src.jurymast_adapter.types import TradingDecision

from jurymast.domain.market import Side
from jurymast.domain.money import USD
from jurymast.domain.rollout import Verdict

KEPT_MODULE: Final = "src.clients.xai_client_before_jurymast"
KEPT_CLASS: Final = "XAIClient"
_log = logging.getLogger("jurymast.adapter")


@dataclass(frozen=True, slots=True)
class Heard:
    """What an old client said: a decision that may be acted on, or why there is none."""

    decision: TradingDecision | None
    why: str = ""
    secs: float = 0.0
    cost_usd: float | None = None

    @property
    def verdict(self) -> Verdict:
        """The same for the comparison."""
        cost = None if self.cost_usd is None else round(self.cost_usd * USD)
        if self.decision is None:
            return Verdict(None, self.secs, cost, self.why)
        return Verdict(bought(self.decision), self.secs, cost)


def bought(decision: TradingDecision) -> Side | None:
    """The side a decision buys, None for a SKIP."""
    return Side(decision.side.lower()) if decision.action == "BUY" else None


def kept(db_manager: Any, kalshi_client: Any) -> Any:
    """The host's own client as it was before, or None. Its making is its own: whatever it needs may be
    missing."""
    try:
        module = importlib.import_module(KEPT_MODULE)
        return getattr(module, KEPT_CLASS)(db_manager=db_manager, kalshi_client=kalshi_client)
    except ModuleNotFoundError as error:
        if error.name != KEPT_MODULE:
            _log.warning("the old client can't be used: %s", error)
    except Exception as error:
        _log.warning("the old client can't be used: %s", error)
    return None


async def ask_old(
    client: Any,
    market_data: Mapping[str, Any],
    portfolio_data: Any,
    news_summary: str,
    ml_prediction: Any,
    secs: float,
) -> Heard:
    """Ask an old client, for at most ``secs``, and read what it says as strictly as everything else. Never
    raises but for cancellation."""
    started, spent = time.monotonic(), _spent(client)

    def heard(decision: TradingDecision | None, why: str = "") -> Heard:
        after = _spent(client)
        cost = None if spent is None or after is None else max(after - spent, 0.0)
        return Heard(decision, why, time.monotonic() - started, cost)

    if secs <= 0:
        return heard(None, "no time was left for the old client")
    try:
        asking = client.get_trading_decision(market_data, portfolio_data, news_summary, ml_prediction)
        if not inspect.isawaitable(asking):
            return heard(None, "the old client gave nothing that can be awaited")
        async with asyncio.timeout(secs):
            found = await asking
    except TimeoutError:
        return heard(None, f"the old client took longer than {secs:.1f} s")
    except Exception as error:  # whatever it raises is an answer that it has none
        return heard(None, f"the old client failed: {type(error).__name__}: {error}"[:500])
    if found is None:
        return heard(None, "the old client gave no decision")
    read = checked(as_fields(found))
    if isinstance(read, Refused):
        return heard(None, f"the old client's decision was refused: {read.reason}")
    return heard(read)


def _spent(client: Any) -> float | None:
    found = getattr(client, "total_cost", None)
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None
