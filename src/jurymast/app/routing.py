"""Settings of the order in which healthy routes are asked."""

from __future__ import annotations

from dataclasses import dataclass

from jurymast.app.settings import bounded, documented
from jurymast.domain.money import USD
from jurymast.intelligence.ordering import RoutingSettings
from jurymast.policy.value import RankBy

HOUR = 3_600.0


@dataclass(frozen=True, slots=True)
class RoutingSection:
    """Who is asked first among those that are well. See docs/policies/routing.md."""

    by: RankBy = documented(
        RankBy.PRIORITY,
        doc="priority, value (worth less cost) or learned (value, by category, and forgetting)",
    )
    look_secs: float = bounded(
        60.0, low=0.1, high=HOUR, unit="s", doc="between two looks at what routes are worth; not by priority"
    )

    def settings(self, bankroll_usd: int) -> RoutingSettings:
        """As the AI layer wants them; ``quality.bankroll_usd`` is what growth is reckoned on."""
        return RoutingSettings(self.by, bankroll_usd * USD, self.look_secs)
