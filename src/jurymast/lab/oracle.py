"""What a simulated forecaster may know about the world it forecasts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol


class Oracle(Protocol):
    """Prices and outcomes of the markets on the embedded exchange.

    Only the lab holds one: the bot itself never sees an outcome before it happens.
    """

    def log_odds(self, ticker: str, as_of: datetime) -> float | None:
        """The market's own log-odds of YES at ``as_of`` (UTC), None when the ticker is unknown."""
        ...

    def outcome(self, ticker: str) -> bool | None:
        """Whether the market resolves YES, None when that is unknown."""
        ...

    def calibration_sample(self) -> Sequence[tuple[float, bool]]:
        """Pairs of market log-odds and outcome, to fit how much worse than the market a model is."""
        ...
