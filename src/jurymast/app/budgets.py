"""Settings of the AI budget: caps, the pace of a day, the file. See docs/policies/budget.md."""

from __future__ import annotations

from dataclasses import dataclass

from jurymast.app.settings import REQUIRED, bounded, documented
from jurymast.domain.money import Micros, usd
from jurymast.policy.ledger import Cap, Scope, Window
from jurymast.policy.pacer import Pace


@dataclass(frozen=True, slots=True)
class CapSection:
    """One limit beside the day's in all, under a name of your choice."""

    limit_usd: float = bounded(REQUIRED, low=0.0, high=1_000_000.0, unit="USD", doc="0 means none")
    window: Window = documented(Window.DAY, doc="minute, hour, day or month, in UTC")
    scope: Scope = documented(Scope.ALL, doc="all, provider, model, market or strategy")
    of: str = documented("", doc="which one; empty gives each such a cap of its own")
    hard: bool = documented(True, doc="refuses what does not fit; otherwise it is only said, once a window")

    def __post_init__(self) -> None:
        if self.of and self.scope is Scope.ALL:
            raise ValueError("a cap on all is of nobody: leave out of, or name the scope")
        usd(str(self.limit_usd))

    def cap(self) -> Cap:
        return Cap(usd(str(self.limit_usd)), self.window, self.scope, self.of, self.hard)


@dataclass(frozen=True, slots=True)
class BudgetSection:
    """What may be spent on models beside failover.budget_usd_per_day, and when."""

    file: str = documented(
        "", doc="bots that name the same share one budget; empty for budget.db in the data directory"
    )
    strategy: str = documented("", doc="name that caps of scope strategy know this bot by")
    reserve_share: float = bounded(
        0.0, low=0.0, high=1.0, unit="x", doc="of the day's money, kept for certain hours"
    )
    reserve_from_hour: int = bounded(0, low=0, high=23, unit="h", doc="UTC, when these begin")
    reserve_until_hour: int = bounded(24, low=1, high=24, unit="h", doc="UTC, when these end")
    caps: dict[str, CapSection] = documented({}, doc="further limits, by name")

    def __post_init__(self) -> None:
        _ = self.pace

    @property
    def pace(self) -> Pace:
        return Pace(self.reserve_share, self.reserve_from_hour, self.reserve_until_hour)

    def all_caps(self, per_day: Micros) -> tuple[Cap, ...]:
        """Every cap, the day's in all first."""
        pace = self.pace
        day = Cap(per_day, kept=pace.kept(per_day), kept_until_hour=pace.from_hour)
        return day, *(section.cap() for section in self.caps.values())
