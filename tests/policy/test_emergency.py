"""The mode table: every row safer than the one above it."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from jurymast.domain.money import CENT, CONTRACT
from jurymast.domain.status import EmergencyMode
from jurymast.policy.emergency import TABLE, ModeRules, looser_pairs

COLUMNS = sorted(column.name for column in fields(ModeRules))
LOOSE = ModeRules(
    entries=True, ask_ai=True, size_multiple=9.0, mean_weight=True,
    market_cap_bp=9_999, event_cap_bp=9_999, gross_cap_bp=99_999, new_risk_hour_bp=9_999,
    new_risk_day_bp=9_999, min_edge=0, min_edge_round_trips=0.0, min_confidence=0.0,
    spread_max=1_000_000, depth_min=0, volume_min=0, price_min=0, price_max=1_000_000,
    secs_to_close_min=0.0, entry_ttl_secs=9_999.0, keep_resting_entries=True, take_profit=True,
)  # fmt: skip


def test_every_mode_has_its_row_and_no_row_is_looser_than_the_one_above() -> None:
    """The table as shipped is whole and sound."""
    assert set(TABLE) == set(EmergencyMode)
    assert looser_pairs(TABLE) == []


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("safer", [EmergencyMode.CONSERVATIVE, EmergencyMode.MINIMAL])
def test_a_loosened_column_is_found(safer: EmergencyMode, column: str) -> None:
    """A setting that lets a safer mode do more than the riskier one above it is named."""
    loosened = {**TABLE, safer: replace(TABLE[safer], **{column: getattr(LOOSE, column)})}
    above = list(EmergencyMode)[safer.severity - 1]
    if getattr(TABLE[above], column) == getattr(LOOSE, column):
        assert not [fault for fault in looser_pairs(loosened) if fault.startswith(f"{column}: {safer}")]
        return
    assert [fault.split(",")[0] for fault in looser_pairs(loosened)] == [
        f"{column}: {safer} has {getattr(LOOSE, column)}"
    ]


@pytest.mark.parametrize("column", COLUMNS)
def test_the_same_in_every_row_is_sound_and_reversed_rows_are_not(column: str) -> None:
    """Equal rows are no fault; turning any column of the table upside down is one."""
    same = {mode: replace(rules, **{column: getattr(LOOSE, column)}) for mode, rules in TABLE.items()}
    assert looser_pairs(same) == []
    modes = list(EmergencyMode)
    reversed_rows = {
        mode: replace(TABLE[mode], **{column: getattr(TABLE[other], column)})
        for mode, other in zip(modes, reversed(modes), strict=True)
    }
    assert any(fault.startswith(f"{column}: ") for fault in looser_pairs(reversed_rows))


@pytest.mark.parametrize(
    ("column", "normal", "conservative", "unit"),
    [
        ("size_multiple", 1.0, 0.4, 1),
        ("mean_weight", True, False, 1),
        ("market_cap_bp", 2, 1, 100),
        ("event_cap_bp", 5, 2.5, 100),
        ("gross_cap_bp", 60, 40, 100),
        ("new_risk_hour_bp", 4, 1.5, 100),
        ("new_risk_day_bp", 12, 5, 100),
        ("min_edge", 2, 4, CENT),
        ("min_edge_round_trips", 1.0, 1.5, 1),
        ("min_confidence", 0.65, 0.80, 1),
        ("spread_max", 4, 3, CENT),
        ("depth_min", 50, 150, CONTRACT),
        ("volume_min", 500, 2_000, CONTRACT),
        ("price_min", 5, 10, CENT),
        ("price_max", 95, 90, CENT),
        ("secs_to_close_min", 10, 60, 60),
        ("entry_ttl_secs", 120, 60, 1),
        ("keep_resting_entries", True, False, 1),
    ],
)
def test_the_rows_that_trade_are_as_specified(
    column: str, normal: float, conservative: float, unit: int
) -> None:
    """Percent of equity, cents, contracts and minutes as the specification gives them."""
    shipped = [getattr(TABLE[mode], column) for mode in (EmergencyMode.NORMAL, EmergencyMode.CONSERVATIVE)]
    assert shipped == [normal * unit, conservative * unit]


@pytest.mark.parametrize("mode", [EmergencyMode.MINIMAL, EmergencyMode.SUSPENDED])
def test_without_judgement_no_risk_is_taken(mode: EmergencyMode) -> None:
    """Below CONSERVATIVE nothing is opened, nothing is asked, and every cap leaves nothing."""
    rules = TABLE[mode]
    assert not rules.entries
    assert not rules.ask_ai
    assert not rules.keep_resting_entries
    caps = (rules.market_cap_bp, rules.event_cap_bp, rules.gross_cap_bp, rules.new_risk_hour_bp)
    assert (rules.size_multiple, rules.new_risk_day_bp, *caps) == (0.0, 0, 0, 0, 0, 0)
    assert (rules.spread_max, rules.entry_ttl_secs, rules.mean_weight) == (0, 0.0, False)


@pytest.mark.parametrize("mode", list(EmergencyMode))
def test_caps_are_nested(mode: EmergencyMode) -> None:
    """A market is part of its event and an event of the whole, an hour part of a day."""
    rules = TABLE[mode]
    assert rules.market_cap_bp <= rules.event_cap_bp <= rules.gross_cap_bp
    assert rules.new_risk_hour_bp <= rules.new_risk_day_bp
