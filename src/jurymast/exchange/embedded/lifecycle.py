"""The life of a market, in Kalshi's field words.

    initialized -> active <-> inactive      opened; one market halted and resumed
    active, inactive -> closed              its time is over, or it resolved early
    closed -> determined                    the result is known
    determined -> finalized                 positions are paid

Each step happens at a time of the listing unless somebody brings it forward. A market nobody touched
needs no record: its stage is a function of its listing and the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from jurymast.domain.money import CENT, PAYOUT, Micros
from jurymast.exchange.embedded.records import SECOND_US
from jurymast.policy.fees import DIRECT_MEMBER, FeeSchedule

DETERMINATION_US: Final = 60 * SECOND_US
"""From closing to the result."""
SETTLEMENT_US: Final = 300 * SECOND_US
"""From the result to the payout."""
OPEN_FILTER_LAG_US: Final = 30 * SECOND_US
"""How long lists still call a market open after it closed."""


class Stage(StrEnum):
    """Where a market is in its life."""

    INITIALIZED = "initialized"
    ACTIVE = "active"
    INACTIVE = "inactive"
    CLOSED = "closed"
    DETERMINED = "determined"
    FINALIZED = "finalized"


class Step(StrEnum):
    """What can happen to a market."""

    OPEN = "open"
    HALT = "halt"
    RESUME = "resume"
    CLOSE = "close"
    DETERMINE = "determine"
    SETTLE = "settle"


_TABLE: Final[Mapping[tuple[Stage, Step], Stage]] = {
    (Stage.INITIALIZED, Step.OPEN): Stage.ACTIVE,
    (Stage.INITIALIZED, Step.CLOSE): Stage.CLOSED,
    (Stage.ACTIVE, Step.HALT): Stage.INACTIVE,
    (Stage.INACTIVE, Step.RESUME): Stage.ACTIVE,
    (Stage.ACTIVE, Step.CLOSE): Stage.CLOSED,
    (Stage.INACTIVE, Step.CLOSE): Stage.CLOSED,
    (Stage.CLOSED, Step.DETERMINE): Stage.DETERMINED,
    (Stage.DETERMINED, Step.SETTLE): Stage.FINALIZED,
}
_LATER: Final = (Stage.CLOSED, Stage.DETERMINED, Stage.FINALIZED)


def after(stage: Stage, step: Step) -> Stage:
    """The stage that follows. Raises ValueError for a step the life of a market does not have."""
    try:
        return _TABLE[stage, step]
    except KeyError:
        raise ValueError(f"a market that is {stage} can't {step}") from None


def over(stage: Stage) -> bool:
    """Whether trading has ended for good."""
    return stage in _LATER


@dataclass(frozen=True, slots=True)
class Ticks:
    """Which prices a market takes: ``(start, end, step)`` in micro-dollars under Kalshi's name for it."""

    name: str
    ranges: tuple[tuple[Micros, Micros, Micros], ...]

    def takes(self, price: Micros) -> bool:
        if not 0 < price < PAYOUT:
            return False
        return any(start <= price <= end and (price - start) % step == 0 for start, end, step in self.ranges)


LINEAR_CENT: Final = Ticks("linear_cent", ((0, PAYOUT, CENT),))
DECI_CENT: Final = Ticks("deci_cent", ((0, PAYOUT, CENT // 10),))
TAPERED_DECI_CENT: Final = Ticks(
    "tapered_deci_cent",
    ((0, 10 * CENT, CENT // 10), (10 * CENT, 90 * CENT, CENT), (90 * CENT, PAYOUT, CENT // 10)),
)


@dataclass(frozen=True, slots=True)
class Listing:
    """What the exchange knows of a market before anybody trades. Nothing of the outcome shows on the wire."""

    ticker: str
    event_ticker: str
    series_ticker: str
    open_us: int
    close_us: int
    resolve_us: int
    outcome: bool
    shard: int = 0
    ticks: Ticks = LINEAR_CENT
    fees: FeeSchedule = DIRECT_MEMBER

    def due(self) -> tuple[tuple[int, Step], ...]:
        """The steps of an undisturbed life, in order."""
        end = min(self.close_us, self.resolve_us)
        return (
            (self.open_us, Step.OPEN),
            (end, Step.CLOSE),
            (end + DETERMINATION_US, Step.DETERMINE),
            (end + DETERMINATION_US + SETTLEMENT_US, Step.SETTLE),
        )

    def stage_at(self, now_us: int) -> Stage:
        """The stage of an undisturbed life."""
        stage = Stage.INITIALIZED
        for due_us, step in self.due():
            if due_us > now_us:
                break
            stage = after(stage, step)
        return stage
