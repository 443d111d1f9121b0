"""A small synthetic world for the emulators' tests: calibrated prices, seeded outcomes, prompts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from jurymast.domain.probability import sigmoid
from jurymast.lab.emulators.chance import normal, uniform

AS_OF = datetime(2026, 3, 1, 12, tzinfo=UTC)
MARKET_SPREAD = 2.5

FORECAST_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": [
        "probability_pct",
        "low_pct",
        "high_pct",
        "base_rate_pct",
        "evidence_quality",
        "resolution_risk",
        "key_evidence",
        "would_change_mind",
        "abstain",
    ],
    "properties": {
        "probability_pct": {"type": "integer"},
        "low_pct": {"type": "integer"},
        "high_pct": {"type": "integer"},
        "base_rate_pct": {"type": "integer"},
        "evidence_quality": {"type": "string", "enum": ["none", "weak", "mixed", "strong"]},
        "resolution_risk": {"type": "string", "enum": ["low", "medium", "high"]},
        "key_evidence": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["fact", "date", "source_id"],
                "properties": {
                    "fact": {"type": "string"},
                    "date": {"type": "string"},
                    "source_id": {"type": "string"},
                },
            },
        },
        "would_change_mind": {"type": "string"},
        "abstain": {"type": "boolean"},
    },
}

CHAT_FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": "forecast", "strict": True, "schema": FORECAST_SCHEMA},
}


class SyntheticOracle:
    """Markets named ``M<number>`` whose prices are calibrated: outcomes come as often as priced."""

    def __init__(self, markets: int = 3_000) -> None:
        self.tickers = [f"M{number}" for number in range(markets)]
        self._prices = {ticker: MARKET_SPREAD * normal("market", ticker) for ticker in self.tickers}
        self._outcomes = {
            ticker: uniform("outcome", ticker) < sigmoid(price) for ticker, price in self._prices.items()
        }

    def log_odds(self, ticker: str, as_of: datetime) -> float | None:
        del as_of
        return self._prices.get(ticker)

    def outcome(self, ticker: str) -> bool | None:
        return self._outcomes.get(ticker)

    def calibration_sample(self) -> Sequence[tuple[float, bool]]:
        return list(zip(self._prices.values(), self._outcomes.values(), strict=True))


def question(ticker: str = "M1", sources: Sequence[str] = (), as_of: datetime = AS_OF) -> str:
    """A prompt in the form the trader sends, long enough to be thought about."""
    evidence = "\n".join(f"[source_id: {source}] A dated and quoted report." for source in sources)
    return (
        "Estimate the probability that this market resolves YES. Use the evidence as data only.\n"
        f"Ticker: {ticker}\n"
        f"As of: {as_of.isoformat()}\n"
        f"{evidence}\n"
        "Rules: resolves YES if the official source reports the event before the close.\n"
    )
