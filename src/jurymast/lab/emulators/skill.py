"""How good a simulated model is: measured skill, turned into noise around the market's opinion.

A simulated answer is ``L = L_market + push * (2y - 1) + noise * Z`` in log-odds, y the outcome and Z a
standard normal. ``noise`` makes the expected Brier score over a calibration sample equal the one that
ForecastBench measured for the model (``model_skill.csv``, see ``ATTRIBUTION.md``). ``push`` is what the
model knows beyond the market: with ``push = weight * noise^2 / 2`` the log-likelihood ratio of the answer
is exactly ``weight * (L - L_market)``, so a trader who gives the model that weight makes the best of it.

Raw Brier scores of different rounds were not measured on the same questions, and no current model id
is in the table: LIKENESSES below is an ASSUMPTION about which measured model each resembles.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.resources import files
from statistics import NormalDist
from typing import Final

from jurymast.domain.probability import CEILING, logit
from jurymast.domain.provider import Tier

WEIGHTS: Final[Mapping[Tier, float]] = {Tier.STRONG: 0.20, Tier.MID: 0.10, Tier.SMALL: 0.0}
"""Best weight of a model's opinion against the market's, by tier (an assumption, from ensembles of
language models with market prices: arXiv 2511.07678 and its like find gains only in small doses)."""

DAILY_JITTER: Final = 0.1
"""Log-odds by which an opinion wanders from day to day without news (assumption)."""

NOISE_WITHOUT_SAMPLE: Final = 1.0
NOISE_MAX: Final = 12.0
_NOISE_STEP: Final = 0.5
_BISECTIONS: Final = 12
_WEIGHT_SHARES: Final = (1.0, 0.5, 0.25, 0.0)
_BUCKETS_PER_UNIT: Final = 10
_NODES: Final = tuple(NormalDist().inv_cdf((i + 0.5) / 32) for i in range(32))
_SUREST: Final = logit(CEILING)


@dataclass(frozen=True, slots=True)
class MeasuredSkill:
    """One row of ForecastBench: Brier score on market questions and how many there were."""

    model: str
    questions: int
    brier: float


@dataclass(frozen=True, slots=True)
class Likeness:
    """Which measured model a simulated one takes its skill from, and its tier."""

    measured: str
    tier: Tier


LIKENESSES: Final[Mapping[str, Likeness]] = {
    "grok-4.7": Likeness("grok-4.20-beta-0309-reasoning", Tier.STRONG),
    "grok-4.3": Likeness("grok-4.3", Tier.MID),
    "grok": Likeness("grok-4.3", Tier.MID),
    "gpt-6.1-sol": Likeness("gpt-5.5-2026-04-23", Tier.STRONG),
    "gpt-6.1-terra": Likeness("gpt-5-mini-2025-08-07", Tier.MID),
    "gpt-6-luna": Likeness("gpt-5-nano-2025-08-07", Tier.SMALL),
    "gpt": Likeness("gpt-5-mini-2025-08-07", Tier.MID),
    "claude-opus-5-5": Likeness("claude-opus-4-1-20250805", Tier.STRONG),
    "claude-sonnet-5-5": Likeness("claude-sonnet-4-5-20250929-1024", Tier.STRONG),
    "claude-haiku-5-5": Likeness("claude-haiku-4-5-20251001-1024", Tier.SMALL),
    "claude": Likeness("claude-sonnet-4-6-1024", Tier.MID),
    "llama2": Likeness("llama-2-70b-chat-hf", Tier.SMALL),
    "llama": Likeness("llama-3-8b-chat-hf-scratchpad", Tier.SMALL),
    "mistral": Likeness("mixtral-8x7b-instruct-v0.1", Tier.SMALL),
    "qwen": Likeness("qwen1.5-110b-chat", Tier.SMALL),
}
"""Model id, or the longest beginning of it, to the closest measured model. ASSUMPTION, see above."""

_ANY_OTHER: Final = Likeness("llama-3-8b-chat-hf-scratchpad", Tier.SMALL)


@cache
def measured_skills() -> Mapping[str, MeasuredSkill]:
    """The shipped table, by model."""
    text = files("jurymast.lab.emulators").joinpath("model_skill.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return {
        row["model"]: MeasuredSkill(row["model"], int(row["market_questions"]), float(row["market_brier"]))
        for row in rows
    }


@cache
def likeness(model: str) -> Likeness:
    """The measured model that ``model`` is taken to resemble; a small one when nothing is like it."""
    beginnings = [known for known in LIKENESSES if model.startswith(known)]
    return LIKENESSES[max(beginnings, key=len)] if beginnings else _ANY_OTHER


def skill_of(model: str) -> MeasuredSkill:
    """Measured skill that the simulated ``model`` is given."""
    return measured_skills()[likeness(model).measured]


@dataclass(frozen=True, slots=True)
class View:
    """How a model sees the world: log-odds of noise and of push towards the truth."""

    noise: float
    push: float

    @property
    def weight(self) -> float:
        """Best weight of this opinion against the market's."""
        return 2 * self.push / self.noise**2 if self.noise else 0.0


def fit_view(target_brier: float, tier: Tier, sample: Sequence[tuple[float, bool]]) -> View:
    """The view whose expected Brier score over ``sample`` is ``target_brier``.

    Where the market itself is no better than the target, the model just repeats it. Where the tier's
    weight would make the model better than it was measured whatever the noise, it is halved until it
    does not: the measurement wins over the assumption, and what the model knows beyond the market,
    ``(weight * noise / 2)^2``, stays small.
    """
    if not sample:
        return View(NOISE_WITHOUT_SAMPLE, WEIGHTS[tier] * NOISE_WITHOUT_SAMPLE**2 / 2)
    expected = _expected_brier(sample)
    for share in _WEIGHT_SHARES:
        weight = share * WEIGHTS[tier]
        noise = _rising_root(partial(_excess, expected, weight, target_brier))
        if noise is not None:
            return View(noise, weight * noise**2 / 2)
    return View(NOISE_MAX, 0.0)


def _excess(
    expected: Callable[[float, float], float], weight: float, target_brier: float, noise: float
) -> float:
    return expected(noise, weight * noise**2 / 2) - target_brier


def _expected_brier(sample: Sequence[tuple[float, bool]]) -> Callable[[float, float], float]:
    """Mean Brier score as a function of noise and push.

    A NO at log-odds x is a YES at -x, so only the log-odds given to what happened matter; they are
    counted in buckets, which makes the fit as fast for ten thousand questions as for a hundred.
    """
    truthward = Counter(
        round((log_odds if outcome else -log_odds) * _BUCKETS_PER_UNIT) for log_odds, outcome in sample
    )

    def mean(noise: float, push: float) -> float:
        spread = math.hypot(noise, DAILY_JITTER)
        total = 0.0
        for bucket, count in truthward.items():
            centre = bucket / _BUCKETS_PER_UNIT + push
            total += count * sum(_miss(centre + spread * node) for node in _NODES)
        return total / (len(sample) * len(_NODES))

    return mean


def _miss(log_odds: float) -> float:
    """Brier score of an answer that gives what happens these log-odds, no surer than 1 % and 99 %."""
    bounded = min(max(log_odds, -_SUREST), _SUREST)
    return (1.0 + math.exp(bounded)) ** -2


def _rising_root(excess: Callable[[float], float]) -> float | None:
    """The smallest noise at which ``excess`` reaches zero from below, None if it never does."""
    if excess(0.0) >= 0:
        return 0.0
    low = 0.0
    while low < NOISE_MAX:
        high = low + _NOISE_STEP
        if excess(high) >= 0:
            for _ in range(_BISECTIONS):
                middle = (low + high) / 2
                low, high = (low, middle) if excess(middle) >= 0 else (middle, high)
            return high
        low = high
    return None
