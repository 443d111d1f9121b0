"""Kalshi's rate limits, kept on our side: token buckets for reads, writes and the balance.

A refused request costs a round trip and says nothing about when to come back, so we wait here instead. Where
one is refused all the same (others use the account, or the way there was uneven), its bucket counts as empty.
Sizes and prices are read from Kalshi at start; until then those of the basic tier hold. A share of the
write bucket is never spent on anything but cancels: a bot that has sent too much must still be able to
take it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from jurymast.exchange.kalshi.operations import Draw, Operation, route_key
from jurymast.ports import Clock

CANCEL_SHARE: Final = 0.3
"""Of the write bucket, kept for cancels."""
WAIT_SECS_MAX: Final = 5.0
"""Longer than this nobody waits for a token: by then the decision is stale."""
_BASIC_READ: Final = 200
_BASIC_WRITE: Final = 100
_DEFAULT_COST: Final = 10
BALANCES: Final = {"basic": 1, "advanced": 1, "unlimited": 1_000_000}
"""Reads of the balance a second, by tier. The last is none of Kalshi's but the embedded exchange's."""
BALANCES_ELSE: Final = 5
_SLACK_SECS: Final = 1e-6
"""A wait this short is none: it may be less than a clock can tell."""


@dataclass(frozen=True, slots=True)
class BucketSize:
    """What a bucket holds and how fast it fills, in tokens and tokens per second."""

    capacity: int
    refill: int

    def __post_init__(self) -> None:
        if self.capacity < 1 or self.refill < 1:
            raise ValueError("a token bucket holds and gains at least one token")


@dataclass(frozen=True, slots=True)
class Limits:
    """Rate limits of an account. ``costs`` by :func:`route_key`."""

    tier: str = "basic"
    read: BucketSize = BucketSize(_BASIC_READ, _BASIC_READ)
    write: BucketSize = BucketSize(_BASIC_WRITE, _BASIC_WRITE)
    balance: BucketSize = BucketSize(1, 1)
    """Reads of the balance, one token each, whatever the others cost."""
    default_cost: int = _DEFAULT_COST
    costs: Mapping[str, int] | None = None

    def cost(self, operation: Operation) -> int:
        """Tokens of one request, or of one item of a batch."""
        if operation.draw is Draw.BALANCE:
            return 1
        known = (self.costs or {}).get(route_key(operation.method, operation.path))
        if known is not None:
            return known
        if self.costs is None and operation.cost is not None:
            return operation.cost
        return self.default_cost


class BudgetSpent(Exception):
    """The tokens would come too late, or never; nothing was sent."""


@dataclass(slots=True)
class _Bucket:
    size: BucketSize
    tokens: float
    at: float

    def missing_secs(self, cost: int, floor: float, now: float) -> float:
        """Take ``cost`` if it leaves ``floor``, else say how long until it would."""
        self.tokens = min(self.size.capacity, self.tokens + (now - self.at) * self.size.refill)
        self.at = now
        missing_secs = (floor + cost - self.tokens) / self.size.refill
        if missing_secs > _SLACK_SECS:
            return missing_secs
        self.tokens -= cost
        return 0.0

    def empty(self, now: float) -> None:
        self.tokens, self.at = 0.0, now


class Budgets:
    """The buckets of one account. Waiting is bounded by ``wait_secs_max``."""

    def __init__(
        self, clock: Clock, limits: Limits | None = None, *, wait_secs_max: float = WAIT_SECS_MAX
    ) -> None:
        self._clock = clock
        self._wait_secs_max = wait_secs_max
        self.limits = limits or Limits()
        self._fill()

    def learn(self, limits: Limits) -> None:
        """Take over what Kalshi says about this account; buckets start full again."""
        self.limits = limits
        self._fill()

    async def take(self, operation: Operation, items: int = 1) -> None:
        """Wait for the tokens of one request. Raises BudgetSpent when that takes too long."""
        cost = self.limits.cost(operation) * items
        bucket = self._bucket(operation)
        floor = CANCEL_SHARE * bucket.size.capacity if operation.draw is Draw.WRITE else 0.0
        if cost + floor > bucket.size.capacity:
            raise BudgetSpent(f"{operation.name} costs {cost} tokens, more than its bucket ever holds")
        until = self._clock.monotonic() + self._wait_secs_max
        while missing_secs := bucket.missing_secs(cost, floor, self._clock.monotonic()):
            if self._clock.monotonic() + missing_secs > until:
                raise BudgetSpent(f"{operation.name} would wait {missing_secs:.1f} s for its rate limit")
            await self._clock.sleep(missing_secs)

    def refused(self, operation: Operation) -> None:
        """The exchange says that there were no tokens left: it knows better."""
        self._bucket(operation).empty(self._clock.monotonic())

    def _bucket(self, operation: Operation) -> _Bucket:
        return self._buckets[Draw.WRITE if operation.draw is Draw.CANCEL else operation.draw]

    def _fill(self) -> None:
        now = self._clock.monotonic()
        sizes = {
            Draw.READ: self.limits.read,
            Draw.WRITE: self.limits.write,
            Draw.BALANCE: self.limits.balance,
        }
        self._buckets = {draw: _Bucket(size, float(size.capacity), now) for draw, size in sizes.items()}
