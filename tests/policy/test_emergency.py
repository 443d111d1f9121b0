"""The mode table: every row safer than the one above it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jurymast.domain.money import CENT, CONTRACT
from jurymast.domain.status import EmergencyMode
from jurymast.policy.emergency import (
    COLUMNS,
    TABLE,
    EntryOrder,
    ExitRules,
    ModeRules,
    looser_pairs,
    risks_without_judgement,
    row_for,
)

LOOSE = ModeRules(
    entries=True, ask_ai=True, size_multiple=9.0, mean_weight=True,
    market_cap_bp=9_999, event_cap_bp=9_999, gross_cap_bp=99_999, new_risk_hour_bp=9_999,
    new_risk_day_bp=9_999, cached_hour_bp=9_999, cached_day_bp=9_999,
    min_edge=0, min_edge_round_trips=0.0, min_confidence=0.0,
    spread_max=1_000_000, depth_min=0, volume_min=0, price_min=0, price_max=1_000_000,
    secs_to_close_min=0.0, forecast_age_secs_max=99_999.0, cached_age_secs_max=99_999.0,
    entry_order=EntryOrder.LIMIT, entry_ttl_secs=9_999.0, keep_resting_entries=True, exits=ExitRules.MODEL,
)  # fmt: skip


def test_every_mode_has_its_row_and_no_row_is_looser_than_the_one_above() -> None:
    """The table as shipped is whole and sound."""
    assert set(TABLE) == set(EmergencyMode)
    assert looser_pairs(TABLE) == []


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("safer", list(EmergencyMode)[1:])
def test_a_loosened_column_is_found(safer: EmergencyMode, column: str) -> None:
    """A setting that lets a safer mode do more than the riskier one above it is named."""
    loosened = {**TABLE, safer: replace(TABLE[safer], **{column: getattr(LOOSE, column)})}
    above = list(EmergencyMode)[safer.severity - 1]
    found = [fault for fault in looser_pairs(loosened) if fault.safer is safer]
    if getattr(TABLE[above], column) == getattr(LOOSE, column):
        assert found == []
        return
    (fault,) = found
    assert fault == (column, above, safer, getattr(TABLE[above], column), getattr(LOOSE, column))
    assert str(fault).startswith(
        f"{column}: {safer} has {fault.below}, looser than {above} with {fault.above}"
    )


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
    assert any(fault.column == column for fault in looser_pairs(reversed_rows))


@pytest.mark.parametrize(
    ("column", "normal", "conservative", "cached", "unit"),
    [
        ("entries", True, True, True, 1),
        ("ask_ai", True, True, False, 1),
        ("size_multiple", 1.0, 0.4, 0.15, 1),
        ("mean_weight", True, False, False, 1),
        ("market_cap_bp", 2, 1, 0.25, 100),
        ("event_cap_bp", 5, 2.5, 0.75, 100),
        ("gross_cap_bp", 60, 40, 40, 100),
        ("new_risk_hour_bp", 4, 1.5, 1.5, 100),
        ("new_risk_day_bp", 12, 5, 5, 100),
        ("cached_hour_bp", 0.5, 0.5, 0.5, 100),
        ("cached_day_bp", 1, 1, 1, 100),
        ("min_edge", 2, 4, 5, CENT),
        ("min_edge_round_trips", 1.0, 1.5, 2.0, 1),
        ("min_confidence", 0.65, 0.80, 0.90, 1),
        ("spread_max", 4, 3, 2, CENT),
        ("depth_min", 50, 150, 300, CONTRACT),
        ("volume_min", 500, 2_000, 5_000, CONTRACT),
        ("price_min", 5, 10, 15, CENT),
        ("price_max", 95, 90, 85, CENT),
        ("secs_to_close_min", 10, 60, 240, 60),
        ("forecast_age_secs_max", 15, 15, 0, 60),
        ("cached_age_secs_max", 2, 2, 2, 3_600),
        ("entry_ttl_secs", 120, 60, 0, 1),
        ("keep_resting_entries", True, False, False, 1),
    ],
)
def test_the_rows_that_trade_are_as_specified(
    column: str, normal: float, conservative: float, cached: float, unit: int
) -> None:
    """Percent of equity, cents, contracts and minutes as the specification gives them."""
    shipped = [getattr(TABLE[mode], column) for mode in list(EmergencyMode)[:3]]
    assert shipped == [normal * unit, conservative * unit, cached * unit]


def test_orders_and_exits_of_every_mode() -> None:
    """What may stand at the exchange and what may sell, from NORMAL to KILLED."""
    limit, either, at_once = EntryOrder.LIMIT, EntryOrder.POST_ONLY_OR_IOC, EntryOrder.IOC
    assert [row.entry_order for row in TABLE.values()] == [limit, either, *[at_once] * 4]
    model, rules, cap = ExitRules.MODEL, ExitRules.RULES, ExitRules.HARD_CAP
    assert [row.exits for row in TABLE.values()] == [model, model, rules, rules, cap, ExitRules.NONE]
    ages = [row.cached_age_secs_max for row in TABLE.values()]
    assert ages == [7_200.0] * 4 + [0.0] * 2, "in MINIMAL an opinion may still reduce, later nothing may"


def test_an_opinion_that_was_cached_brings_its_own_row() -> None:
    """In a better mode too it is judged by the row of CACHED; in a safer one by that."""
    for mode in EmergencyMode:
        assert row_for(TABLE, mode, cached=False).mode is mode
        assert row_for(TABLE, mode, cached=True).mode is mode.safest(EmergencyMode.CACHED)


def test_no_table_takes_risk_without_judgement() -> None:
    """Entries in MINIMAL are a fault of their own, though CACHED has them too."""
    bold = {**TABLE, EmergencyMode.MINIMAL: replace(TABLE[EmergencyMode.MINIMAL], entries=True)}
    assert risks_without_judgement(TABLE) == []
    assert risks_without_judgement(bold) == [EmergencyMode.MINIMAL]


@pytest.mark.parametrize("mode", list(EmergencyMode)[3:])
def test_without_judgement_no_risk_is_taken(mode: EmergencyMode) -> None:
    """Below CACHED nothing is opened, nothing is asked, and every cap leaves nothing."""
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
    assert rules.cached_hour_bp <= rules.cached_day_bp <= rules.new_risk_day_bp
