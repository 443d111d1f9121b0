"""Bounds on extra work: how many requests a route gets at once, how many are repeated or doubled.

Retries, hedges and probes are what turns a provider's trouble into an outage of one's own (metastable
failures, OSDI 2022), so each is paid from an allowance that real answers fill.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

RETRY_TOKENS: Final = 10.0
RETRY_EARNED: Final = 0.1
RETRY_FLOOR: Final = 5.0
"""Half of the bucket is never spent (gRPC A6): when answers are rare, retries stop."""
HEDGE_TOKENS: Final = 4.0
HEDGE_EARNED: Final = 0.05
"""One hedge for twenty requests."""
CUT_BY: Final = 0.5
AT_ONCE_UNKNOWN: Final = 4
"""Requests that a route gets at once before any answer: if it is dead, so many find out together."""


@dataclass(slots=True)
class Allowance:
    """A bucket of tokens that work fills and extra work empties. Starts full."""

    most: float
    earned: float
    floor: float = 0.0
    tokens: float = -1.0

    def __post_init__(self) -> None:
        if self.tokens < 0:
            self.tokens = self.most

    def earn(self) -> None:
        if self.tokens < self.most:
            self.tokens = min(self.most, self.tokens + self.earned)

    def spend(self) -> bool:
        """Take one token if the floor allows it."""
        if self.tokens - 1.0 < self.floor:
            return False
        self.tokens -= 1.0
        return True


@dataclass(slots=True)
class Concurrency:
    """Requests a route gets at once: a few at first, doubled by each round of answers (slow start); halved by
    pushback, and from then on grown by one per round (AIMD)."""

    most: int
    allowed: float = 0.0
    warned: bool = False
    """Whether it has ever been too much."""

    def __post_init__(self) -> None:
        self.allowed = self.allowed or float(min(self.most, AT_ONCE_UNKNOWN))

    def pushed_back(self, in_flight: int) -> None:
        """The route said it is overloaded with so many under way."""
        self.allowed, self.warned = max(1.0, min(self.allowed, float(in_flight)) * CUT_BY), True

    def start_over(self) -> None:
        """A route that comes back from an outage begins with one at a time."""
        self.allowed, self.warned = 1.0, True

    def answered(self) -> None:
        if self.allowed < self.most:
            grown = 1.0 / self.allowed if self.warned else 1.0
            self.allowed = min(float(self.most), self.allowed + grown)
