"""The learned router: weights by category that forget, and which route is worth a question in shadow.

A contextual bandit that never gambles with a decision. What it learns from are paired scores alone (a
forecast against the market's price on the same question, every model that was heard, in shadow or not) and
never profit and loss: below a thousand bets that is noise. Context is the market's category.

  - A forecast that was scored ``HALF_LIFE_EVENTS`` outcomes of its model ago counts half: models change.
  - The model's weight over all categories is the prior of its weight in one, and its tier the prior of that.
  - It acts on the mean less one deviation, as value does. It explores in shadow only: among routes that are
    due a shadow question anyway the one that might be best goes first (Thompson 1933); none becomes due by
    it.

Everything is a fold over the records, so it survives a restart. See docs/policies/routing.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from jurymast.domain.decision import ForecastRecord, Weight
from jurymast.domain.provider import Route, Tier
from jurymast.policy.quality import TIER_WEIGHTS
from jurymast.policy.records import ForecastRecords
from jurymast.policy.skill import Estimate, Outcome, fitted_weight

HALF_LIFE_EVENTS: Final = 200
"""Outcomes of a model after which one counts half."""
CATEGORY_SD: Final = 0.05
"""How far a model's weight in one category is expected to be from its weight in all."""


class LearnedWeights:
    """Discounted weights by model and category, refitted when a model's record has grown."""

    def __init__(self, records: ForecastRecords) -> None:
        self._records = records
        self._fits: dict[tuple[str, Tier, str], tuple[tuple[int, str], Weight]] = {}

    def weight(self, model: str, tier: Tier, category: str = "") -> Weight:
        """What a model counts for on a category now, recent outcomes first; a small model's is nothing."""
        known = self._records.weight(model, tier, category)
        if tier is Tier.SMALL or known.stopped:
            return known
        scored = self._records.scored(model)
        version = (len(scored), scored[-1][0].ticker if scored else "")
        key = (model, tier, category.casefold())
        if (kept := self._fits.get(key)) is None or kept[0] != version:
            kept = self._fits[key] = version, discounted(scored, TIER_WEIGHTS[tier], category)
        return kept[1]


def discounted(scored: list[tuple[ForecastRecord, Outcome]], prior: Weight, category: str = "") -> Weight:
    """The weight that a record shows, in order of resolution, where the old counts less."""
    shares = [0.5 ** ((len(scored) - 1 - place) / HALF_LIFE_EVENTS) for place in range(len(scored))]
    whole = fitted_weight(prior.mean, prior.sd, [outcome for _, outcome in scored], shares)
    own = [
        (outcome, share)
        for (record, outcome), share in zip(scored, shares, strict=True)
        if record.category.casefold() == category.casefold()
    ]
    if not category or not own:
        return _weight(whole)
    # What the whole record says of this category again is not counted twice: it only centres the prior.
    estimate = fitted_weight(
        whole.mean, (whole.sd**2 + CATEGORY_SD**2) ** 0.5, [each for each, _ in own], [s for _, s in own]
    )
    return Weight(estimate.mean, max(estimate.sd, whole.sd), whole.events)


def _weight(estimate: Estimate) -> Weight:
    return Weight(estimate.mean, estimate.sd, estimate.events)


def curiosity(weights: Mapping[Route, Weight], scores: Mapping[Route, float]) -> dict[Route, float]:
    """How far ahead each route is when shadow questions are dealt, 1 for the one that might be best, else 0.

    ``scores`` are a standard normal draw for each route, handed in. A known bad route draws low, an unknown
    one may draw high; a route that never can count (small, stopped) is no news.
    """
    drawn = {
        route: weight.mean + scores[route] * weight.sd
        for route, weight in weights.items()
        if weight.sd > 0.0 and not weight.stopped
    }
    if not drawn:
        return {}
    best = max(drawn, key=lambda route: (drawn[route], route))
    return {best: 1.0}
