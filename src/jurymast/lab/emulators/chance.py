"""Chance drawn from hashes: the same key always gives the same number, whatever was drawn before.

A shared generator would make one provider's answers depend on how often another was asked.
"""

from __future__ import annotations

import math
from hashlib import blake2b
from statistics import NormalDist
from typing import Final

_STANDARD_NORMAL: Final = NormalDist()
_STEPS: Final = 2**53


def _digest(key: tuple[object, ...]) -> bytes:
    return blake2b("\x1f".join(str(part) for part in key).encode(), digest_size=16).digest()


def uniform(*key: object) -> float:
    """A number in the open interval (0, 1)."""
    drawn = int.from_bytes(_digest(key)[:8], "big") >> 11
    return (drawn + 0.5) / _STEPS


def normal(*key: object) -> float:
    """A standard normal number."""
    return _STANDARD_NORMAL.inv_cdf(uniform(*key))


def lognormal(median: float, sigma: float, *key: object) -> float:
    """A positive number whose logarithm is normal around ``log(median)``."""
    return median * math.exp(sigma * normal(*key))


def token(*key: object) -> str:
    """Sixteen bytes as hexadecimal text, for identifiers."""
    return _digest(key).hex()
