"""What each mode may do: one table, every row safer than the one above it.

``market``, ``event`` and ``gross`` caps are in basis points of equity, and bound what can be lost.
``min_edge`` applies after all costs, and so does its multiple of the round trip at the current price.
MINIMAL and SUSPENDED take no new risk: losing the model stops entries and sells nothing in panic.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from jurymast.domain.money import CENT, CONTRACT, Centi, Micros
from jurymast.domain.status import EmergencyMode

BASIS = 10_000


@dataclass(frozen=True, slots=True)
class ModeRules:
    """One row. Prices in micro-dollars, depth and volume in centi-contracts, times in seconds."""

    entries: bool
    ask_ai: bool
    size_multiple: float
    mean_weight: bool
    market_cap_bp: int
    event_cap_bp: int
    gross_cap_bp: int
    new_risk_hour_bp: int
    new_risk_day_bp: int
    min_edge: Micros
    min_edge_round_trips: float
    min_confidence: float
    spread_max: Micros
    depth_min: Centi
    volume_min: Centi
    price_min: Micros
    price_max: Micros
    secs_to_close_min: float
    entry_ttl_secs: float
    keep_resting_entries: bool
    take_profit: bool


_NO_NEW_RISK = ModeRules(
    entries=False, ask_ai=False, size_multiple=0.0, mean_weight=False,
    market_cap_bp=0, event_cap_bp=0, gross_cap_bp=0, new_risk_hour_bp=0, new_risk_day_bp=0,
    min_edge=100 * CENT, min_edge_round_trips=2.0, min_confidence=1.0,
    spread_max=0, depth_min=300 * CONTRACT, volume_min=5_000 * CONTRACT,
    price_min=15 * CENT, price_max=85 * CENT, secs_to_close_min=14_400.0,
    entry_ttl_secs=0.0, keep_resting_entries=False, take_profit=True,
)  # fmt: skip

TABLE: Mapping[EmergencyMode, ModeRules] = {
    EmergencyMode.NORMAL: ModeRules(
        entries=True, ask_ai=True, size_multiple=1.0, mean_weight=True,
        market_cap_bp=200, event_cap_bp=500, gross_cap_bp=6_000, new_risk_hour_bp=400, new_risk_day_bp=1_200,
        min_edge=2 * CENT, min_edge_round_trips=1.0, min_confidence=0.65,
        spread_max=4 * CENT, depth_min=50 * CONTRACT, volume_min=500 * CONTRACT,
        price_min=5 * CENT, price_max=95 * CENT, secs_to_close_min=600.0,
        entry_ttl_secs=120.0, keep_resting_entries=True, take_profit=True,
    ),
    EmergencyMode.CONSERVATIVE: ModeRules(
        entries=True, ask_ai=True, size_multiple=0.4, mean_weight=False,
        market_cap_bp=100, event_cap_bp=250, gross_cap_bp=4_000, new_risk_hour_bp=150, new_risk_day_bp=500,
        min_edge=4 * CENT, min_edge_round_trips=1.5, min_confidence=0.80,
        spread_max=3 * CENT, depth_min=150 * CONTRACT, volume_min=2_000 * CONTRACT,
        price_min=10 * CENT, price_max=90 * CENT, secs_to_close_min=3_600.0,
        entry_ttl_secs=60.0, keep_resting_entries=False, take_profit=True,
    ),
    EmergencyMode.CACHED: _NO_NEW_RISK,
    EmergencyMode.MINIMAL: _NO_NEW_RISK,
    EmergencyMode.SUSPENDED: replace(_NO_NEW_RISK, take_profit=False),
    EmergencyMode.KILLED: replace(_NO_NEW_RISK, take_profit=False),
}  # fmt: skip

_SAFER_IS_HIGHER = frozenset(
    {"min_edge", "min_edge_round_trips", "min_confidence", "depth_min", "volume_min", "price_min"}
    | {"secs_to_close_min"}
)


def looser_pairs(table: Mapping[EmergencyMode, ModeRules]) -> list[str]:
    """Where a safer mode allows more than a less safe one; empty for a sound table."""
    faults = []
    modes = sorted(table, key=lambda mode: mode.severity)
    for riskier, safer in itertools.pairwise(modes):
        for column in fields(ModeRules):
            above, below = getattr(table[riskier], column.name), getattr(table[safer], column.name)
            looser = below < above if column.name in _SAFER_IS_HIGHER else below > above
            if looser:
                faults.append(f"{column.name}: {safer} has {below}, looser than {riskier} with {above}")
    return faults
