"""What emulated models answer to the free prompts of a Kalshi AI Trading Bot, and what they believe.
SIMULATED.

The bot's prompts ask for JSON in words, each with fields of its own; one object with all of them serves
every one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

PROBABILITY = 0.97
ANSWER = json.dumps(
    {
        "probability": PROBABILITY,
        "predicted_probability": PROBABILITY,
        "confidence": 0.85,
        "stability": 0.8,
        "volatility_factors": "SIMULATED",
        "action": "BUY",
        "side": "YES",
        "evidence": ["SIMULATED"],
        "key_factors": ["SIMULATED"],
        "risks": ["SIMULATED"],
        "reasoning": "SIMULATED",
        "approved": True,
        "agreement_score": 0.9,
        "critique": "SIMULATED",
        "final_recommendation": "APPROVE",
    }
)


class Sure:
    """``lab.oracle.Oracle`` of a world in which every market resolves YES and models see it coming."""

    def __init__(self, log_odds: float = 3.5) -> None:
        self._log_odds = log_odds

    def log_odds(self, ticker: str, as_of: datetime) -> float | None:  # noqa: ARG002 (sure of every market)
        return self._log_odds

    def outcome(self, ticker: str) -> bool | None:  # noqa: ARG002 (the same)
        return self._log_odds > 0

    def calibration_sample(self) -> Sequence[tuple[float, bool]]:
        return ()
