"""Settings of what each mode may do, in people's units."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final

from jurymast.app.settings import REQUIRED, bounded, documented
from jurymast.domain.money import CENT, CONTRACT
from jurymast.domain.status import EmergencyMode
from jurymast.policy.emergency import EntryOrder, ExitRules, ModeRules

DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class ModeSection:
    """What one mode may do. See docs/policies/modes.md."""

    entries: bool = documented(REQUIRED, doc="whether new risk may be taken")
    ask_ai: bool = documented(REQUIRED, doc="whether models are asked; without, they are only probed")
    size_multiple: float = bounded(REQUIRED, low=0.0, high=4.0, unit="x", doc="of a quarter Kelly")
    mean_weight: bool = documented(REQUIRED, doc="a forecast's weight: its mean, or one deviation below")
    market_cap_bp: int = bounded(REQUIRED, low=0, high=10_000, unit="bp", doc="of equity, staked in a market")
    event_cap_bp: int = bounded(REQUIRED, low=0, high=10_000, unit="bp", doc="of equity, staked in an event")
    gross_cap_bp: int = bounded(REQUIRED, low=0, high=10_000, unit="bp", doc="of equity, staked in all")
    new_risk_hour_bp: int = bounded(REQUIRED, low=0, high=10_000, unit="bp", doc="of equity, new in an hour")
    new_risk_day_bp: int = bounded(REQUIRED, low=0, high=10_000, unit="bp", doc="of equity, new in a day")
    cached_hour_bp: int = bounded(REQUIRED, low=0, high=10_000, unit="bp", doc="of that, on cached opinions")
    cached_day_bp: int = bounded(REQUIRED, low=0, high=10_000, unit="bp", doc="of that, on cached opinions")
    min_edge_cents: float = bounded(REQUIRED, low=0.0, high=100.0, unit="c", doc="least edge after costs")
    min_edge_round_trips: float = bounded(
        REQUIRED, low=0.0, high=100.0, unit="x", doc="of the round trip's cost at the price, least edge"
    )
    min_confidence: float = bounded(REQUIRED, low=0.0, high=1.0, unit="", doc="least probability of an edge")
    spread_max_cents: float = bounded(REQUIRED, low=0.0, high=100.0, unit="c", doc="widest spread")
    depth_min: int = bounded(REQUIRED, low=0, high=10**9, unit="contracts", doc="on the best three levels")
    volume_min: int = bounded(REQUIRED, low=0, high=10**9, unit="contracts", doc="traded in 24 h")
    price_min_cents: float = bounded(REQUIRED, low=0.0, high=100.0, unit="c", doc="lowest price entered at")
    price_max_cents: float = bounded(REQUIRED, low=0.0, high=100.0, unit="c", doc="highest price entered at")
    secs_to_close_min: float = bounded(REQUIRED, low=0.0, high=365 * DAY, unit="s", doc="before the close")
    forecast_age_secs_max: float = bounded(REQUIRED, low=0.0, high=DAY, unit="s", doc="oldest forecast")
    cached_age_secs_max: float = bounded(
        REQUIRED, low=0.0, high=DAY, unit="s", doc="oldest cached opinion, in exchange time"
    )
    entry_order: EntryOrder = documented(REQUIRED, doc="limit, post_only_or_ioc or ioc")
    entry_ttl_secs: float = bounded(REQUIRED, low=0.0, high=DAY, unit="s", doc="life of a resting entry")
    keep_resting_entries: bool = documented(REQUIRED, doc="when the mode is entered")
    exits: ExitRules = documented(REQUIRED, doc="what may sell: model, rules, hard_cap or none")

    @classmethod
    def of(cls, rules: ModeRules) -> ModeSection:
        """A row in the settings' units."""
        return cls(
            **{
                each.name: value / scale if scale == CENT else value // scale if scale > 1 else value
                for each in dataclasses.fields(cls)
                for column, scale in (CELLS.get(each.name, (each.name, 1)),)
                for value in (getattr(rules, column),)
            }
        )

    def rules(self, mode: EmergencyMode) -> ModeRules:
        """The row as the rules want it."""
        values = {}
        for each in dataclasses.fields(self):
            column, scale = CELLS.get(each.name, (each.name, 1))
            value = getattr(self, each.name)
            values[column] = round(value * scale) if scale > 1 else value
        return ModeRules(**values, mode=mode)


CELLS: Final = {
    "min_edge_cents": ("min_edge", CENT),
    "spread_max_cents": ("spread_max", CENT),
    "price_min_cents": ("price_min", CENT),
    "price_max_cents": ("price_max", CENT),
    "depth_min": ("depth_min", CONTRACT),
    "volume_min": ("volume_min", CONTRACT),
}
"""Settings in other units than the rules: the column, and how much one of the setting is."""
