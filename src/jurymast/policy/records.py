"""What every model has said and what became of it: a fold over the journal, bounded, and what follows.

Rules
  - A model is who really answered. Another id, new or swapped in, begins at its tier's prior with no record;
    so does one of which a canary has found that it answers otherwise than before.
  - A market counts once for each model, by the first forecast: asking often proves nothing.
  - A model's weight is that of its record, calibrated by category; see :mod:`.skill` and :mod:`.calibration`.
  - A model that has done harm beyond doubt counts for nothing until somebody trusts it again by name.
  - SIMULATED forecasts teach about SIMULATED models only: the ids of one run are not mixed with another's.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from jurymast.domain.decision import ForecastRecord, Weight
from jurymast.domain.events import CanaryFinished, Event, ForecastNoted, ForecastScored, OpinionStopped
from jurymast.domain.money import PAYOUT
from jurymast.domain.provider import Tier, same_model
from jurymast.policy.calibration import IDENTITY, Line, by_category
from jurymast.policy.quality import TIER_WEIGHTS
from jurymast.policy.skill import HARM_MAX, Outcome, fitted_weight, harm

PENDING_MAX: Final = 5_000
"""Markets with a forecast that have not resolved yet; the oldest goes first."""
SCORED_MAX: Final = 1_000
"""Resolved forecasts kept of a model; the oldest goes first. A fit over them takes 0.02 s."""
MODELS_MAX: Final = 64
"""Models with a record; the one that was heard of longest ago goes first."""


class ForecastRecords:
    """Forecasts and their outcomes, by model. ``trusted`` are models that are never stopped."""

    def __init__(self, *, trusted: Collection[str] = ()) -> None:
        self._trusted = frozenset(trusted)
        self._pending: dict[str, dict[str, ForecastRecord]] = {}
        self._scored: dict[str, dict[str, tuple[ForecastRecord, Outcome]]] = {}
        self._stopped: dict[str, str] = {}
        self._fits: dict[tuple[str, Tier], tuple[Weight, Line, dict[str, Line]]] = {}

    def apply(self, event: Event) -> None:
        """Fold one fact; twice is once. What is not about forecasts changes nothing."""
        match event:
            case ForecastNoted(record=record) if self.is_new(record.ticker, record.model):
                self._pending.setdefault(record.ticker, {})[record.model] = record
                if len(self._pending) > PENDING_MAX:
                    del self._pending[next(iter(self._pending))]
            case ForecastScored(record=record, yes=yes):
                self._resolved(record, yes)
            case CanaryFinished(changed=True, served=model):
                self._forget(model)
            case OpinionStopped(model=model, reason=reason):
                self._stopped[model] = reason
            case _:
                pass

    def is_new(self, ticker: str, model: str) -> bool:
        """Whether this is the model's first forecast of a market that is not known to have resolved."""
        pending = model in self._pending.get(ticker, ())
        return not pending and ticker not in self._scored.get(model, ())

    @property
    def pending(self) -> dict[str, tuple[ForecastRecord, ...]]:
        """Forecasts whose market has not resolved, by ticker, the oldest first."""
        return {ticker: tuple(records.values()) for ticker, records in self._pending.items()}

    @property
    def models(self) -> tuple[str, ...]:
        """Models with a resolved forecast."""
        return tuple(self._scored)

    def outcomes(self, model: str) -> list[Outcome]:
        """A model's resolved forecasts, in order of resolution, at the weights that were in force."""
        return [outcome for _, outcome in self._scored.get(model, {}).values()]

    def scored(self, model: str) -> list[tuple[ForecastRecord, Outcome]]:
        """The same with what was noted of each."""
        return list(self._scored.get(model, {}).values())

    def serving(self, model: str) -> str:
        """The id under which a configured model was scored last, for vendors serve dated ones."""
        return next((known for known in reversed(self._scored) if same_model(known, model)), model)

    def weight(self, model: str, tier: Tier, category: str = "") -> Weight:
        """What a model's opinion on a category counts for now; a small model's is nothing."""
        prior = TIER_WEIGHTS[tier]
        if tier is Tier.SMALL:
            return prior
        stopped = "" if model in self._trusted else self._stopped.get(model, "")
        weight, whole, lines = self._fit(model, tier)
        line = lines.get(category.casefold(), whole) if lines else whole
        if line is IDENTITY and not stopped:
            return weight
        return Weight(weight.mean, weight.sd, weight.events, line.shift, line.slope, stopped)

    def harmful(self) -> list[tuple[str, float]]:
        """Models whose harm is beyond doubt and that are not stopped yet, with the evidence."""
        found = []
        for model in self._scored.keys() - self._stopped.keys() - self._trusted:
            evidence = self.harm(model)
            if evidence >= HARM_MAX:
                found.append((model, evidence))
        return sorted(found)

    def harm(self, model: str) -> float:
        """Evidence that the opinions of a model, as they counted when given, have hurt."""
        return harm(
            Outcome(outcome.event, record.calibrated, outcome.market, outcome.yes, record.weight)
            for record, outcome in self._scored.get(model, {}).values()
        )

    def _forget(self, model: str) -> None:
        """It answers otherwise under the same name: what it has shown was shown by another."""
        self._scored.pop(model, None)
        self._fits = {key: fit for key, fit in self._fits.items() if key[0] != model}
        for ticker, theirs in list(self._pending.items()):
            theirs.pop(model, None)
            if not theirs:
                del self._pending[ticker]

    def _resolved(self, record: ForecastRecord, yes: bool | None) -> None:
        models = self._pending.get(record.ticker, {})
        models.pop(record.model, None)
        if not models:
            self._pending.pop(record.ticker, None)
        if (
            yes is None
            or not 0 < record.market_price < PAYOUT
            or not self.is_new(record.ticker, record.model)
        ):
            return
        theirs = self._scored.pop(record.model, {})
        theirs[record.ticker] = record, outcome_of(record, yes)
        if len(theirs) > SCORED_MAX:
            del theirs[next(iter(theirs))]
        self._scored[record.model] = theirs
        if len(self._scored) > MODELS_MAX:
            del self._scored[next(iter(self._scored))]
        self._fits = {key: fit for key, fit in self._fits.items() if key[0] != record.model}

    def _fit(self, model: str, tier: Tier) -> tuple[Weight, Line, dict[str, Line]]:
        key = model, tier
        if key not in self._fits:
            self._fits[key] = fitted(list(self._scored.get(model, {}).values()), TIER_WEIGHTS[tier])
        return self._fits[key]


def outcome_of(record: ForecastRecord, yes: bool) -> Outcome:
    """A resolved forecast as the estimators want it."""
    return Outcome(
        record.event_ticker, record.probability_pct / 100, record.market_price / PAYOUT, yes, record.weight
    )


def fitted(
    scored: list[tuple[ForecastRecord, Outcome]], prior: Weight
) -> tuple[Weight, Line, dict[str, Line]]:
    """Weight and calibration of one model by its record: first what it means, then what that is worth."""
    if not scored:
        return prior, IDENTITY, {}
    whole, lines = by_category([(record.category.casefold(), outcome) for record, outcome in scored])
    meant = [
        Outcome(
            outcome.event,
            lines[record.category.casefold()].calibrated(outcome.forecast),
            outcome.market,
            outcome.yes,
        )
        for record, outcome in scored
    ]
    estimate = fitted_weight(prior.mean, prior.sd, meant)
    return Weight(estimate.mean, estimate.sd, estimate.events), whole, lines
