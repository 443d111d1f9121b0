"""Order groups: a fill-rate breaker kept by the exchange.

A group counts the contracts its orders matched within a rolling window. The match that reaches the limit
stands; then the group is triggered: its orders are cancelled and new ones refused until it is reset. A
limit set at or below the current count triggers at once. It is no limit on positions.
"""

from __future__ import annotations

from typing import Final

import msgspec

from jurymast.domain.money import CONTRACT, Centi
from jurymast.exchange.embedded.records import SECOND_US

WINDOW_US: Final = 15 * SECOND_US
LIMIT_MAX: Final[Centi] = 1_000_000 * CONTRACT
GROUPS_MAX: Final = 100_000
"""Of one account."""


class Group(msgspec.Struct):
    """One group. ``matched`` are the matches of the window, oldest first."""

    name: str
    owner: int
    limit: Centi
    triggered: bool = False
    matched: list[tuple[int, Centi]] = []

    def count(self, now_us: int) -> Centi:
        """Contracts matched in the window that ends now."""
        since = now_us - WINDOW_US
        while self.matched and self.matched[0][0] <= since:
            del self.matched[0]
        return sum(count for _, count in self.matched)

    def match(self, count: Centi, now_us: int) -> bool:
        """Count a match; True when it reaches the limit."""
        self.matched.append((now_us, count))
        return self.count(now_us) >= self.limit

    def reset(self) -> None:
        self.triggered = False
        self.matched.clear()
