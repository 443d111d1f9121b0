"""SIMULATED price of a question between its real crowd price and its real outcome.

Only the two ends are real: the crowd's probability at listing and what happened. Between them the
fundamental log-odds follow the posterior of a Bayesian who watches a noisy signal of the outcome get
clearer (Brody, Hughston and Macrina, "Information-based asset pricing", 2008). With the outcome
``sign`` = +1 or -1, the elapsed share of life ``s`` and the information ``v = RATE * s / (1 - s)``

    L(s) = L(0) + sign * v / 2 + W(v),   W(v) = sqrt(RATE) * B(s) / (1 - s)

where W is a Brownian motion in v and B a Brownian bridge on [0, 1]. Averaged over outcomes drawn from
the crowd's probability the price sigmoid(L) stays where it began: knowing the crowd price alone earns
nothing. B is built by Levy's midpoint construction from hashed normals, so that any instant costs the
same few hashes, needs no memory and is the same in every run with the same seed.

The quoted log-odds add a mispricing that wanders around zero within hours: the edge, and the trap.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from statistics import NormalDist
from struct import unpack
from typing import Final

from jurymast.domain.probability import logit
from jurymast.exchange.questions import Question

RATE: Final = 1.5
"""Information (log-odds squared) gathered by half-time."""
LOG_ODDS_LIMIT: Final = 12.0
"""Beyond this a price is 0 or 1 for every purpose."""
NOISE_CELL_SECS: Final = 6 * 3600.0
"""The mispricing forgets half of itself in about half of this."""
NOISE_SD_MIN: Final = 0.15
NOISE_SD_MAX: Final = 0.25
_BLOCKS: Final = 3
_LEVELS: Final = 5
"""Midpoints go 15 levels deep, minutes in a life of months; below them the bridge is straight."""
_WORDS: Final = 32
"""Sixteen-bit words in one hash: a tree of five levels has 31 nodes."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class PricePath:
    """The path of every question under one seed: a pure function of seed, ticker and time."""

    __slots__ = ("_seed",)

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def fundamental(self, question: Question, at: datetime) -> float:
        """Log-odds of what is known at ``at`` (UTC), without mispricing; SIMULATED."""
        start = logit(question.crowd_probability)
        life = (question.resolves_at - question.listed_at).total_seconds()
        share = (at - question.listed_at).total_seconds() / life
        if share <= 0.0:
            return _limited(start)
        if share >= 1.0:
            return LOG_ODDS_LIMIT if question.outcome else -LOG_ODDS_LIMIT
        drift = RATE * share / 2.0 if question.outcome else -RATE * share / 2.0
        bridge = _bridge(f"{self._seed}|{question.ticker}|path|", share)
        return _limited(start + (drift + math.sqrt(RATE) * bridge) / (1.0 - share))

    def log_odds(self, question: Question, at: datetime) -> float:
        """Log-odds the market quotes at ``at`` (UTC): the fundamental and its mispricing; SIMULATED."""
        return self.fundamental(question, at) + self.mispricing(question, at)

    def mispricing(self, question: Question, at: datetime) -> float:
        """Quoted less fundamental log-odds: mean 0, standard deviation 0.15 to 0.25 by question.

        Independent normals sit six hours apart and are blended so that the variance is the same at
        every instant.
        """
        prefix = f"{self._seed}|{question.ticker}|noise|"
        position = (at - _EPOCH).total_seconds() / NOISE_CELL_SECS
        cell = math.floor(position)
        angle = (position - cell) * math.pi / 2.0
        blend = math.cos(angle) * _normal(prefix, cell) + math.sin(angle) * _normal(prefix, cell + 1)
        return _noise_sd(prefix) * blend


def _limited(log_odds: float) -> float:
    return min(max(log_odds, -LOG_ODDS_LIMIT), LOG_ODDS_LIMIT)


def _bridge(prefix: str, share: float) -> float:
    """A standard Brownian bridge on [0, 1] at ``share``.

    Each block of five levels takes the normals of its 31 midpoints from one hash; the next block's
    hash is named by the interval the walk has reached.
    """
    left = right = 0.0
    spread = 0.5
    index = 1
    for _ in range(_BLOCKS):
        words = _words(f"{prefix}{index}")
        node = 1
        for _ in range(_LEVELS):
            middle = (left + right) / 2.0 + spread * _normal_of(words[node])
            spread *= _HALF_ROOT
            share *= 2.0
            node *= 2
            if share >= 1.0:
                share -= 1.0
                node += 1
                left = middle
            else:
                right = middle
        index = index * _WORDS + node - _WORDS
    return left + (right - left) * share


_HALF_ROOT: Final = math.sqrt(0.5)
"""A midpoint of an interval of length h has standard deviation sqrt(h) / 2."""


def _normal(prefix: str, index: int) -> float:
    block, place = divmod(index, _WORDS)
    return _normal_of(_words(f"{prefix}{block}")[place])


@lru_cache(maxsize=8_192)
def _noise_sd(prefix: str) -> float:
    share = _words(f"{prefix}sd")[0] / 65_536
    return NOISE_SD_MIN + (NOISE_SD_MAX - NOISE_SD_MIN) * share


def _words(name: str) -> tuple[int, ...]:
    """32 independent 16-bit words, the same for the same name everywhere."""
    return unpack("<32H", blake2b(name.encode()).digest())


def _quantiles(count: int) -> tuple[float, ...]:
    """Midpoint quantiles of the normal, scaled to variance 1 exactly."""
    normal = NormalDist()
    raw = [normal.inv_cdf((place + 0.5) / count) for place in range(count)]
    scale = math.sqrt(count / math.fsum(value * value for value in raw))
    return tuple(value * scale for value in raw)


_TABLE: Final = _quantiles(4_096)


def _normal_of(word: int) -> float:
    return _TABLE[word >> 4]
