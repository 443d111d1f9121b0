"""How long a route takes to answer, learned from its answers, robust against stalls.

Kept is a histogram of logarithmic buckets in which old samples fade: by count (some two hundred matter)
and by time (half as much an hour later). Quantiles are those of a lognormal through the histogram's
median and its 90th percentile: up to a tenth of stalled requests so leaves the 99th percentile where the
healthy ones put it, which is what a hedge needs. With few samples the estimate is widened, by so much that
one answer in a hundred takes longer whatever their number (:data:`WIDENING`).
Exact samples would cost a sort per decision; a t-digest more code for no better tail at these counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

FASTEST_SECS: Final = 0.001
_PER_E_FOLD: Final = 7
"""Buckets per factor e: each is 15 % wide."""
_BUCKETS: Final = 96
SAMPLES_THAT_MATTER: Final = 200.0
HALF_LIFE_SECS: Final = 3_600.0
SAMPLES_MIN: Final = 3
"""Below so many samples the prior answers."""
SAMPLES_SURE: Final = 8
"""From so many that still count, a route's own spread replaces the prior one."""
SIGMA_MIN: Final = 0.2
WIDENING: Final = 4.0
"""Over the number of samples, what a spread is widened by: quantiles of few may lie together by chance."""
_REFRESH: Final = 8
_RESCALE_AT: Final = 1e12
BEYOND_MIN: Final = 1e-6
"""No tail is known further than so."""

Z50: Final = 0.0
Z90: Final = 1.2816
Z95: Final = 1.6449
Z99: Final = 2.3263


@dataclass(slots=True)
class Latency:
    """Estimates of one route for one class of prompts. ``prior_secs`` is the median before any sample."""

    prior_secs: float
    prior_sigma: float = 0.5
    samples: int = 0
    effective: float = 0.0
    """Samples that still count: old ones fade, so a route that is seldom asked is never known well."""
    _weights: list[float] = field(default_factory=list)
    _increment: float = 1.0
    _last_at: float = -math.inf
    _log_median: float = 0.0
    _sigma: float = 0.0
    _stale: int = 0
    q95_secs: float = 0.0
    q99_secs: float = 0.0

    def __post_init__(self) -> None:
        self._log_median, self._sigma = math.log(self.prior_secs), self.prior_sigma
        self._settle()

    def add(self, secs: float, now: float) -> None:
        """One answer took ``secs``; for one that was given up on, how long it had been waited for."""
        if not self._weights:
            self._weights = [0.0] * _BUCKETS
        elif now > self._last_at:
            self._increment *= 2.0 ** min((now - self._last_at) / HALF_LIFE_SECS, 30.0)
        self._last_at = now
        self._increment *= 1.0 + 1.0 / SAMPLES_THAT_MATTER
        place = int(math.log(secs / FASTEST_SECS) * _PER_E_FOLD) if secs > FASTEST_SECS else 0
        self._weights[place if place < _BUCKETS else _BUCKETS - 1] += self._increment
        self.samples += 1
        self._stale += 1
        if self._stale >= _REFRESH or self.samples <= 2 * _REFRESH:
            self._refresh()
        if self._increment > _RESCALE_AT:
            self._weights = [weight / self._increment for weight in self._weights]
            self._increment = 1.0

    @property
    def known(self) -> bool:
        """Whether its own spread is known, and not only that of others."""
        return self.effective >= SAMPLES_SURE

    def quantile(self, z: float) -> float:
        """Seconds within which an answer comes with the probability of the normal score ``z``."""
        return math.exp(self._log_median + z * self._sigma)

    def share_beyond(self, secs: float) -> float:
        """Share of answers that are expected to take longer than so many seconds, ``BEYOND_MIN`` to 1."""
        score = (math.log(max(secs, FASTEST_SECS)) - self._log_median) / self._sigma
        return max(0.5 * math.erfc(score / math.sqrt(2.0)), BEYOND_MIN)

    def _refresh(self) -> None:
        self._stale = 0
        if self.samples < SAMPLES_MIN:
            return
        self.effective = sum(self._weights) / self._increment
        low, high = self._log_quantile(0.5), self._log_quantile(0.9)
        least = SIGMA_MIN if self.known else self.prior_sigma
        sigma = max((high - low) / Z90, least)
        self._log_median = low
        self._sigma = sigma * (1.0 + WIDENING / self.effective)
        self._settle()

    def _settle(self) -> None:
        self.q95_secs, self.q99_secs = self.quantile(Z95), self.quantile(Z99)

    def _log_quantile(self, share: float) -> float:
        """Logarithm of a quantile of the histogram, at the upper end of its bucket."""
        target = share * sum(self._weights)
        seen = 0.0
        for place, weight in enumerate(self._weights):
            seen += weight
            if seen >= target:
                return math.log(FASTEST_SECS) + (place + 1) / _PER_E_FOLD
        return math.log(FASTEST_SECS) + _BUCKETS / _PER_E_FOLD
