"""What each mode may do: one table, every row safer than the one above it.

Caps are in basis points of equity and bound what can be lost. ``min_edge`` applies after all costs, and so
does its multiple of the round trip at the current price. ``cached`` caps count new risk taken on
opinions that were cached, which are judged by the row of CACHED in any mode. From MINIMAL on no new risk is
taken, whatever the settings say: losing the model stops entries and sells nothing in panic.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Final, NamedTuple

from jurymast.domain.money import CENT, CONTRACT, Centi, Micros
from jurymast.domain.status import EmergencyMode

BASIS = 10_000


class EntryOrder(StrEnum):
    """How an entry may stand at the exchange, freest first."""

    LIMIT = "limit"
    """Takes what is offered; what remains rests for the row's lifetime."""
    POST_ONLY_OR_IOC = "post_only_or_ioc"
    """Takes at once or rests, never both: an entry that crosses is immediate or cancelled."""
    IOC = "ioc"
    """Takes at once what is offered, and nothing rests."""


class ExitRules(StrEnum):
    """What may sell a position, most first."""

    MODEL = "model"
    """A live model's view, and all rules."""
    RULES = "rules"
    """Profit taken, the hard cap, and an opinion that is cached."""
    HARD_CAP = "hard_cap"
    NONE = "none"
    """The operator alone."""


@dataclass(frozen=True, slots=True)
class ModeRules:
    """One row. Prices in micro-dollars, depth and volume in centi-contracts, times in seconds.

    ``secs_to_close_min``, ``entry_ttl_secs`` and ``forecast_age_secs_max`` count for what models say now,
    ``cached_age_secs_max`` (exchange time) for what they have said before; 0 is never.
    """

    entries: bool
    ask_ai: bool
    size_multiple: float
    mean_weight: bool
    market_cap_bp: int
    event_cap_bp: int
    gross_cap_bp: int
    new_risk_hour_bp: int
    new_risk_day_bp: int
    cached_hour_bp: int
    cached_day_bp: int
    min_edge: Micros
    min_edge_round_trips: float
    min_confidence: float
    spread_max: Micros
    depth_min: Centi
    volume_min: Centi
    price_min: Micros
    price_max: Micros
    secs_to_close_min: float
    forecast_age_secs_max: float
    cached_age_secs_max: float
    entry_order: EntryOrder
    entry_ttl_secs: float
    keep_resting_entries: bool
    exits: ExitRules
    mode: EmergencyMode = EmergencyMode.NORMAL
    """Whose row this is. No column: see :meth:`at`."""

    def at(self, column: str) -> str:
        """How reasons name a cell of the table."""
        return f"[{self.mode}: {column}]"


COLUMNS: Final = tuple(each.name for each in fields(ModeRules) if each.name != "mode")

_NO_NEW_RISK = ModeRules(
    entries=False, ask_ai=False, size_multiple=0.0, mean_weight=False,
    market_cap_bp=0, event_cap_bp=0, gross_cap_bp=0, new_risk_hour_bp=0, new_risk_day_bp=0,
    cached_hour_bp=0, cached_day_bp=0,
    min_edge=100 * CENT, min_edge_round_trips=2.0, min_confidence=1.0,
    spread_max=0, depth_min=300 * CONTRACT, volume_min=5_000 * CONTRACT,
    price_min=15 * CENT, price_max=85 * CENT, secs_to_close_min=14_400.0,
    forecast_age_secs_max=0.0, cached_age_secs_max=7_200.0,
    entry_order=EntryOrder.IOC, entry_ttl_secs=0.0, keep_resting_entries=False, exits=ExitRules.RULES,
)  # fmt: skip

_ROWS: Final = {
    EmergencyMode.NORMAL: ModeRules(
        entries=True, ask_ai=True, size_multiple=1.0, mean_weight=True,
        market_cap_bp=200, event_cap_bp=500, gross_cap_bp=6_000, new_risk_hour_bp=400, new_risk_day_bp=1_200,
        cached_hour_bp=50, cached_day_bp=100,
        min_edge=2 * CENT, min_edge_round_trips=1.0, min_confidence=0.65,
        spread_max=4 * CENT, depth_min=50 * CONTRACT, volume_min=500 * CONTRACT,
        price_min=5 * CENT, price_max=95 * CENT, secs_to_close_min=600.0,
        forecast_age_secs_max=900.0, cached_age_secs_max=7_200.0,
        entry_order=EntryOrder.LIMIT, entry_ttl_secs=120.0, keep_resting_entries=True, exits=ExitRules.MODEL,
    ),
    EmergencyMode.CONSERVATIVE: ModeRules(
        entries=True, ask_ai=True, size_multiple=0.4, mean_weight=False,
        market_cap_bp=100, event_cap_bp=250, gross_cap_bp=4_000, new_risk_hour_bp=150, new_risk_day_bp=500,
        cached_hour_bp=50, cached_day_bp=100,
        min_edge=4 * CENT, min_edge_round_trips=1.5, min_confidence=0.80,
        spread_max=3 * CENT, depth_min=150 * CONTRACT, volume_min=2_000 * CONTRACT,
        price_min=10 * CENT, price_max=90 * CENT, secs_to_close_min=3_600.0,
        forecast_age_secs_max=900.0, cached_age_secs_max=7_200.0,
        entry_order=EntryOrder.POST_ONLY_OR_IOC, entry_ttl_secs=60.0, keep_resting_entries=False,
        exits=ExitRules.MODEL,
    ),
    EmergencyMode.CACHED: ModeRules(
        entries=True, ask_ai=False, size_multiple=0.15, mean_weight=False,
        market_cap_bp=25, event_cap_bp=75, gross_cap_bp=4_000, new_risk_hour_bp=150, new_risk_day_bp=500,
        cached_hour_bp=50, cached_day_bp=100,
        min_edge=5 * CENT, min_edge_round_trips=2.0, min_confidence=0.90,
        spread_max=2 * CENT, depth_min=300 * CONTRACT, volume_min=5_000 * CONTRACT,
        price_min=15 * CENT, price_max=85 * CENT, secs_to_close_min=14_400.0,
        forecast_age_secs_max=0.0, cached_age_secs_max=7_200.0,
        entry_order=EntryOrder.IOC, entry_ttl_secs=0.0, keep_resting_entries=False, exits=ExitRules.RULES,
    ),
    EmergencyMode.MINIMAL: _NO_NEW_RISK,
    EmergencyMode.SUSPENDED: replace(_NO_NEW_RISK, cached_age_secs_max=0.0, exits=ExitRules.HARD_CAP),
    EmergencyMode.KILLED: replace(_NO_NEW_RISK, cached_age_secs_max=0.0, exits=ExitRules.NONE),
}  # fmt: skip
TABLE: Final[Mapping[EmergencyMode, ModeRules]] = {
    mode: replace(row, mode=mode) for mode, row in _ROWS.items()
}

_SAFER_IS_HIGHER: Final = frozenset(
    {"min_edge", "min_edge_round_trips", "min_confidence", "depth_min", "volume_min", "price_min"}
    | {"secs_to_close_min"}
)
_NO_RISK_FROM: Final = EmergencyMode.MINIMAL


class Looser(NamedTuple):
    """A column in which a safer mode allows more than the next riskier one, with both values."""

    column: str
    riskier: EmergencyMode
    safer: EmergencyMode
    above: object
    below: object

    def __str__(self) -> str:
        return (
            f"{self.column}: {self.safer} has {self.below}, looser than {self.riskier} with {self.above}: "
            "a safer mode may never be looser"
        )


def looser_pairs(table: Mapping[EmergencyMode, ModeRules]) -> list[Looser]:
    """Where a safer mode allows more than a less safe one; empty for a sound table."""
    faults = []
    modes = sorted(table, key=lambda mode: mode.severity)
    for riskier, safer in itertools.pairwise(modes):
        for column in COLUMNS:
            above, below = getattr(table[riskier], column), getattr(table[safer], column)
            freedom = _rank(below) - _rank(above)
            if (-freedom if column in _SAFER_IS_HIGHER else freedom) > 0:
                faults.append(Looser(column, riskier, safer, above, below))
    return faults


def row_for(table: Mapping[EmergencyMode, ModeRules], mode: EmergencyMode, *, cached: bool) -> ModeRules:
    """The row that judges a decision; that of an opinion that was cached is never freer than CACHED."""
    return table[mode.safest(EmergencyMode.CACHED) if cached else mode]


def risks_without_judgement(table: Mapping[EmergencyMode, ModeRules]) -> list[EmergencyMode]:
    """Modes without usable judgement that a table lets enter all the same; empty for a sound table."""
    return [mode for mode, row in table.items() if mode.severity >= _NO_RISK_FROM.severity and row.entries]


def _rank(value: bool | float | StrEnum) -> float:
    """A number that grows with what is allowed."""
    return -list(type(value)).index(value) if isinstance(value, StrEnum) else value
