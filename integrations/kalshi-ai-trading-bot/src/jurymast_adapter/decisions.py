"""From our decisions to the host's, and the gate through which every decision of anybody goes.

A model gives a belief. Side and action are code's: :mod:`jurymast.policy.sizing`, with the mode's row and the
weight of whoever answered. ``confidence`` is our probability that the chosen side wins, which is how the host
uses it; without a BUY it is 0, because one of the host's paths buys on confidence alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from src.jurymast_adapter.types import TradingDecision

from jurymast.domain.decision import Abstain, Decision
from jurymast.domain.market import MarketSnapshot, Side
from jurymast.domain.money import CENT, CONTRACT, USD, Micros
from jurymast.domain.portfolio import Exposure
from jurymast.domain.status import EmergencyMode
from jurymast.policy.emergency import ModeRules, row_for
from jurymast.policy.sizing import Declined, Sized, size

REASON_CHARS_MAX: Final = 1_000
NOMINAL_BALANCE: Final[Micros] = 1_000 * USD
"""Where the host tells no balance: whether there is an edge does not depend on it, and the host sizes."""

Answer = dict[str, Any]
"""A decision as the host's manager gives it: action, side, confidence, reasoning, provider, fallback_level
and more."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A decision that no caller may act on, and why."""

    reason: str


def skip(reason: str, *, provider: str = "none", level: str = "emergency", **more: Any) -> Answer:
    """Leave the market alone, and why."""
    return {
        "action": "SKIP",
        "side": "YES",
        "confidence": 0.0,
        "reasoning": reason[:REASON_CHARS_MAX],
        "provider": provider,
        "fallback_level": level,
        "limit_price": None,
        **more,
    }


def judged(
    decision: Decision,
    snapshot: MarketSnapshot,
    balance: Micros,
    table: Mapping[EmergencyMode, ModeRules],
    *,
    size_share: float = 1.0,
) -> Answer:
    """What our rules make of a forecast: a side to buy up to a price, or nothing."""
    rules = row_for(table, decision.mode, cached=decision.cached is not None)
    equity = balance or NOMINAL_BALANCE
    exposure = Exposure(equity=equity, cash=equity, positions={}, by_market={}, by_event={})
    found = size(decision, snapshot, exposure, rules)
    level = "emergency" if decision.cached is not None else "provider"
    facts: dict[str, Any] = {
        "cost_usd": decision.cost / USD,
        "probability": decision.forecast.probability,
        "model": decision.served_model,
        "decision_id": decision.decision_id,
        "size_share": size_share,
        "cached": decision.cached is not None,
    }
    said = (
        f"{decision.forecast.probability_pct}% YES ({decision.forecast.low_pct}-{decision.forecast.high_pct})"
    )
    story = f"{said}; {decision.reason}"
    if isinstance(found, Declined):
        return skip(
            f"{story}; no trade: {found.reason}: {found.detail}",
            provider=str(decision.provider), level=level, **facts,
        )  # fmt: skip
    stake = found.count * found.limit_price // CONTRACT
    facts["position_size_pct"] = round(100 * size_share * stake / equity, 4)
    return _buy(found, story, provider=str(decision.provider), level=level, facts=facts)


def _buy(found: Sized, story: str, *, provider: str, level: str, facts: dict[str, Any]) -> Answer:
    ours = found.belief.probability if found.side is Side.YES else 1 - found.belief.probability
    return {
        "action": "BUY",
        "side": found.side.upper(),
        "confidence": round(ours, 4),
        "reasoning": f"{story}; {found.detail}"[:REASON_CHARS_MAX],
        "provider": provider,
        "fallback_level": level,
        "limit_price": min(99, max(1, -(-found.limit_price // CENT))),
        **facts,
    }


def held(abstain: Abstain) -> Answer:
    """An abstention for the host. ``abstained`` is its reason from the closed list."""
    route = abstain.route
    return skip(
        f"{abstain.reason}: {abstain.detail}",
        provider=str(route.provider) if route is not None else "none",
        level="provider" if route is not None else "emergency",
        abstained=str(abstain.reason),
        cost_usd=abstain.cost / USD,
        decision_id=abstain.decision_id,
    )


_ACTIONS: Final = {
    "BUY": ("BUY", None),
    "BUY_YES": ("BUY", "YES"),
    "BUY YES": ("BUY", "YES"),
    "BUY_NO": ("BUY", "NO"),
    "BUY NO": ("BUY", "NO"),
    "SKIP": ("SKIP", None),
    "HOLD": ("SKIP", None),
    "PASS": ("SKIP", None),
}


def checked(data: Any) -> TradingDecision | Refused:
    """A decision in the host's words, read strictly. Nothing is repaired and nothing guessed: "BUY_NO" is NO,
    a BUY without a side is none, 85 is no confidence."""
    if not isinstance(data, Mapping):
        return Refused("it is no table of fields")
    action, side = _action(data.get("action"), data.get("side"))
    if isinstance(action, Refused):
        return action
    reasoning = data.get("reasoning")
    reasoning = reasoning if isinstance(reasoning, str) else "no reason was given"
    if action == "SKIP":
        return TradingDecision("SKIP", side, 0.0, None, reasoning)
    confidence = data.get("confidence")
    if not _real(confidence) or not 0 <= confidence <= 1:
        return Refused(f"confidence {confidence!r:.40} is no share from 0 to 1")
    cents: dict[str, int | None] = {}
    for name in ("limit_price", "stop_loss_cents", "take_profit_cents"):
        value = data.get(name)
        if value is not None and (not _real(value) or not 1 <= value <= 99 or value != int(value)):
            return Refused(f"{name} {value!r:.40} is no whole price from 1 to 99 cents")
        cents[name] = None if value is None else int(value)
    share = data.get("position_size_pct")
    return TradingDecision(
        "BUY", side, float(confidence), reasoning=reasoning,
        position_size_pct=float(share) if _real(share) else None, **cents,
    )  # fmt: skip


def _action(action: Any, side: Any) -> tuple[Any, str]:
    known = _ACTIONS.get(action.strip().upper()) if isinstance(action, str) else None
    if known is None:
        return Refused(f"action {action!r:.40} is none of BUY, BUY_YES, BUY_NO, SKIP"), "YES"
    meant, implied = known
    named = side.strip().upper() if isinstance(side, str) else None
    if meant == "SKIP":
        return meant, named if named in {"YES", "NO"} else "YES"
    if named is None and implied is not None:
        named = implied
    if named not in {"YES", "NO"}:
        return Refused(f"side {side!r:.40} is neither YES nor NO"), "YES"
    if implied is not None and named != implied:
        return Refused(f"action {action!r} and side {side!r} contradict each other"), "YES"
    return meant, named


def _real(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def as_fields(decision: Any) -> Any:
    """A decision object of anybody as the fields that :func:`checked` reads."""
    if isinstance(decision, Mapping):
        return decision
    names = (
        "action",
        "side",
        "confidence",
        "limit_price",
        "reasoning",
        "stop_loss_cents",
        "take_profit_cents",
    )
    return {name: getattr(decision, name, None) for name in names}


def converted(answer: Any) -> TradingDecision:
    """A manager's answer as the host's decision, with the provider in capitals before its reason."""
    found = checked(answer)
    if isinstance(found, Refused):
        found = TradingDecision("SKIP", "YES", 0.0, None, f"refused: {found.reason}")
    provider = answer.get("provider") if isinstance(answer, dict) else None
    found.reasoning = f"[{str(provider or 'none').upper()}] {found.reasoning}"
    return found
