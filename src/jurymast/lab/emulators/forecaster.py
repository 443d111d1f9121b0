"""The simulated forecaster: one opinion per model, market and day, as good as the model was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from jurymast.domain.decision import EvidenceQuality, ResolutionRisk
from jurymast.domain.probability import sigmoid
from jurymast.lab.emulators.chance import normal, uniform
from jurymast.lab.emulators.prompt import Prompt
from jurymast.lab.emulators.skill import DAILY_JITTER, Likeness, View, fit_view, likeness, skill_of
from jurymast.lab.oracle import Oracle

BAND_SHARE: Final = 0.5
"""Half width of the stated interval as a share of the true noise: models are overconfident (assumption)."""

CITED_MAX: Final = 3
_STRONG_EVIDENCE_ITEMS: Final = 3
_HIGH_RISK_BELOW: Final = 0.05
_MEDIUM_RISK_BELOW: Final = 0.25
_GUESS_LOW: Final = 0.35
_GUESS_WIDTH: Final = 0.30
_GUESS_BAND_PCT: Final = 25


@dataclass(frozen=True, slots=True)
class Belief:
    """A simulated opinion in whole percents, 1 <= low <= probability <= high <= 99."""

    probability_pct: int
    low_pct: int
    high_pct: int
    base_rate_pct: int
    evidence_quality: EvidenceQuality
    resolution_risk: ResolutionRisk
    cited: tuple[str, ...]


class Forecaster:
    """Gives beliefs that depend on the seed, the model, the market and the day, and on nothing else."""

    def __init__(self, oracle: Oracle, seed: int) -> None:
        self._oracle = oracle
        self._seed = seed
        self._views: dict[Likeness, View] = {}

    def view(self, model: str) -> View:
        """Noise and push of ``model``, fitted on first use."""
        like = likeness(model)
        if like not in self._views:
            target = skill_of(model).brier
            self._views[like] = fit_view(target, like.tier, self._oracle.calibration_sample())
        return self._views[like]

    def believe(self, model: str, prompt: Prompt) -> Belief:
        """The opinion of ``model``; a guess around one half where the oracle knows nothing."""
        log_odds = self._log_odds(model, prompt)
        if log_odds is None:
            return self._guess(prompt)
        log_odds = -log_odds if prompt.negated else log_odds
        band = max(BAND_SHARE * self.view(model).noise, DAILY_JITTER)
        probability = _percent(sigmoid(log_odds))
        return Belief(
            probability_pct=probability,
            low_pct=min(_percent(sigmoid(log_odds - band)), probability),
            high_pct=max(_percent(sigmoid(log_odds + band)), probability),
            base_rate_pct=_percent(sigmoid(log_odds / 2)),
            evidence_quality=_quality(len(prompt.source_ids)),
            resolution_risk=_risk(uniform(self._seed, "risk", prompt.ticker)),
            cited=prompt.source_ids[:CITED_MAX],
        )

    def _log_odds(self, model: str, prompt: Prompt) -> float | None:
        if prompt.ticker is None or prompt.as_of is None:
            return None
        market = self._oracle.log_odds(prompt.ticker, prompt.as_of)
        if market is None:
            return None
        view = self.view(model)
        outcome = self._oracle.outcome(prompt.ticker)
        direction = 0 if outcome is None else 2 * outcome - 1
        lasting = normal(self._seed, model, prompt.ticker)
        daily = normal(self._seed, model, prompt.ticker, prompt.as_of.date())
        return market + view.push * direction + view.noise * lasting + DAILY_JITTER * daily

    def _guess(self, prompt: Prompt) -> Belief:
        probability = _percent(_GUESS_LOW + _GUESS_WIDTH * uniform(self._seed, "guess", prompt.text))
        return Belief(
            probability_pct=probability,
            low_pct=probability - _GUESS_BAND_PCT,
            high_pct=probability + _GUESS_BAND_PCT,
            base_rate_pct=50,
            evidence_quality=EvidenceQuality.NONE,
            resolution_risk=ResolutionRisk.MEDIUM,
            cited=(),
        )


def _percent(probability: float) -> int:
    return min(max(round(100 * probability), 1), 99)


def _quality(items: int) -> EvidenceQuality:
    if items >= _STRONG_EVIDENCE_ITEMS:
        return EvidenceQuality.STRONG
    return EvidenceQuality.MIXED if items else EvidenceQuality.WEAK


def _risk(drawn: float) -> ResolutionRisk:
    if drawn < _HIGH_RISK_BELOW:
        return ResolutionRisk.HIGH
    return ResolutionRisk.MEDIUM if drawn < _MEDIUM_RISK_BELOW else ResolutionRisk.LOW
