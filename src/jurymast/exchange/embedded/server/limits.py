"""Rate limits: token buckets by tier, one for reads and one for writes, and one for the balance.

Tokens a second and costs are those of the documentation as read on 2026-10-07; a bot should read them
from ``/account/limits`` and ``/account/endpoint_costs`` instead of knowing them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

API: Final = "/trade-api/v2"
DEFAULT_COST: Final = 10
LIGHT_COST: Final = 2
LIGHT: Final = (
    ("DELETE", "/portfolio/events/orders"),
    ("DELETE", "/portfolio/events/orders/{order_id}"),
    ("DELETE", "/portfolio/events/orders/batched"),
    ("GET", "/portfolio/orders/{order_id}"),
)
"""Operations that cost less; a batch is billed for each of its items."""
BALANCE: Final = "/portfolio/balance"
UNLIMITED: Final = "unlimited"
"""None of Kalshi's: for programs whose time does not pass by itself, and would wait for tokens for ever."""


@dataclass(frozen=True, slots=True)
class Tier:
    """Tokens a second, and how many seconds' worth a bucket holds."""

    name: str
    read: int
    write: int
    read_secs: int = 1
    write_secs: int = 3
    balances: int = 5


TIERS: Final = {
    tier.name: tier
    for tier in (
        Tier("basic", 200, 100, read_secs=3, write_secs=1, balances=1),
        Tier("advanced", 300, 300, read_secs=3, balances=1),
        Tier("expert", 600, 600),
        Tier("premier", 1_200, 1_200),
        Tier("paragon", 2_400, 2_400),
        Tier("prime", 4_800, 4_800),
        Tier("prestige", 12_000, 9_600),
        Tier(UNLIMITED, 10**9, 10**9, balances=10**9),
    )
}


class Bucket:
    """Tokens that come back with time; ``now`` is monotonic seconds."""

    __slots__ = ("_at", "_level", "capacity", "rate")

    def __init__(self, rate: float, capacity: float, now: float) -> None:
        self.rate, self.capacity = rate, capacity
        self._level, self._at = capacity, now

    def take(self, cost: float, now: float) -> bool:
        """Take ``cost`` tokens if they are there."""
        self._level = min(self.capacity, self._level + (now - self._at) * self.rate)
        self._at = now
        if cost > self._level:
            return False
        self._level -= cost
        return True


class Buckets:
    """The three buckets of one caller."""

    def __init__(self, tier: Tier, now: float) -> None:
        self._read = Bucket(tier.read, tier.read * tier.read_secs, now)
        self._write = Bucket(tier.write, tier.write * tier.write_secs, now)
        self._balance = Bucket(tier.balances, tier.balances, now)

    def admit(self, method: str, path: str, items: int, now: float) -> bool:
        """Whether a request may pass. ``path`` is the route's template below the prefix."""
        if path == BALANCE:
            return self._balance.take(1, now)
        cost = LIGHT_COST if (method, path) in LIGHT else DEFAULT_COST
        return (self._read if method == "GET" else self._write).take(cost * items, now)
