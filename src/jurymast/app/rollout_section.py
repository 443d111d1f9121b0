"""Settings of the move from another decision maker."""

from __future__ import annotations

from dataclasses import dataclass

from jurymast.app.settings import bounded, documented
from jurymast.domain.money import usd
from jurymast.policy.rollout import Limits, Scope

DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class RolloutSection:
    """Taking over from another bot's AI layer by phases. See docs/operate/migration.md."""

    share_pct: int = bounded(10, low=1, high=100, unit="%", doc="of the markets, with which GRADUAL begins")
    categories: tuple[str, ...] = documented((), doc="that may be ours in GRADUAL; empty for all")
    value_usd_max: float = bounded(
        0.0,
        low=0.0,
        high=1_000_000.0,
        unit="USD",
        doc="at risk on a market that is ours in GRADUAL; 0 is any",
    )
    beside_pct: int = bounded(10, low=0, high=100, unit="%", doc="of the markets TUNED still compares")
    window: int = bounded(200, low=10, high=10_000, unit="", doc="latest comparisons that count")
    count_min: int = bounded(20, low=5, high=10_000, unit="", doc="comparisons before a step back by rule")
    error_share_max: float = bounded(0.10, low=0.0, high=1.0, unit="", doc="of markets without our answer")
    opposite_share_max: float = bounded(
        0.15, low=0.0, high=1.0, unit="", doc="of markets with opposite sides"
    )
    slower_max: float = bounded(3.0, low=1.0, high=100.0, unit="x", doc="of their time, 95th percentile")
    secs_floor: float = bounded(10.0, low=0.1, high=600.0, unit="s", doc="below which no time is too long")
    dearer_max: float = bounded(3.0, low=1.0, high=100.0, unit="x", doc="of their cost, where known")
    cost_usd_floor: float = bounded(0.05, low=0.0, high=100.0, unit="USD", doc="below which none is too high")
    compared_min: int = bounded(50, low=1, high=100_000, unit="", doc="comparisons before a step on")
    secs_min: float = bounded(DAY, low=0.0, high=365 * DAY, unit="s", doc="in a phase before a step on")

    @property
    def scope(self) -> Scope:
        """What may be ours, as the rule wants it."""
        categories = frozenset(name.strip().lower() for name in self.categories)
        return Scope(categories, usd(str(self.value_usd_max)), self.beside_pct)

    @property
    def limits(self) -> Limits:
        """When to go on and back, as the rule wants it."""
        return Limits(
            window=self.window,
            count_min=self.count_min,
            error_share_max=self.error_share_max,
            opposite_share_max=self.opposite_share_max,
            slower_max=self.slower_max,
            secs_floor=self.secs_floor,
            dearer_max=self.dearer_max,
            cost_floor=usd(str(self.cost_usd_floor)),
            compared_min=self.compared_min,
            secs_min=self.secs_min,
        )
