"""What people may demand: safer at any time, riskier with a reason and an end, and never out of KILLED."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurymast.domain.provider import ProviderName
from jurymast.domain.status import EmergencyMode, TradingState
from jurymast.policy import demands
from jurymast.policy.demands import (
    NONE,
    OVERRIDE_SECS_MAX,
    BarReason,
    Demand,
    Demands,
    ModeDemand,
    StateDemand,
    bar,
    sentences,
    with_mode,
    with_state,
)
from jurymast.policy.emergency import TABLE
from jurymast.testing.clock import START

NORMAL = EmergencyMode.NORMAL
Floors = st.sampled_from([TradingState.REDUCING, TradingState.HALTED])
Reasons = st.sampled_from(["", "why"])


def mode(name: EmergencyMode, reason: str = "", **changes: object) -> ModeDemand:
    facts: dict[str, object] = {"reason": reason, "at": START, "mode": name}
    return ModeDemand(**(facts | changes))  # type: ignore[arg-type] # by name


@given(Floors, Floors, Reasons)
def test_a_milder_state_needs_a_reason_and_a_safer_one_nothing(
    held: TradingState, wanted: TradingState, reason: str
) -> None:
    """Whatever floor is held, a safer one is taken at once; a milder one is refused without a reason."""
    old = with_state(NONE, StateDemand("first", START, floor=held))
    if wanted.severity < held.severity and not reason:
        with pytest.raises(ValueError, match="--reason"):
            with_state(old, StateDemand(reason, START, floor=wanted))
    else:
        assert with_state(old, StateDemand(reason, START, floor=wanted)).floor is wanted


@given(st.sampled_from(EmergencyMode), st.sampled_from(EmergencyMode), Reasons)
def test_a_milder_mode_needs_a_reason_and_a_safer_one_nothing(
    held: EmergencyMode, wanted: EmergencyMode, reason: str
) -> None:
    """The same for modes; out of KILLED leads no demand for another mode at all."""
    old = with_mode(NONE, mode(held))
    milder = wanted.severity < held.severity
    if milder and (not reason or held.name == demands.KILLED):
        with pytest.raises(ValueError, match="reason"):
            with_mode(old, mode(wanted, reason))
    else:
        assert with_mode(old, mode(wanted, reason)).mode_floor is wanted


@given(st.floats(1.0, 4 * OVERRIDE_SECS_MAX), Reasons)
def test_an_override_has_a_reason_and_ends_within_the_hour(secs: float, reason: str) -> None:
    """A mode in spite of the evidence that is longer than an hour, or unexplained, does not exist."""
    until = START + timedelta(seconds=secs)
    if reason and secs <= OVERRIDE_SECS_MAX:
        held = with_mode(NONE, mode(NORMAL, reason, until=until, override=True))
        assert held.in_force(until - timedelta(milliseconds=1)).override is not None
        assert held.in_force(until).override is None
    else:
        with pytest.raises(ValueError, match="evidence"):
            mode(NORMAL, reason, until=until, override=True)


def test_an_override_without_an_end_does_not_exist() -> None:
    """Riskier for good can't be demanded."""
    with pytest.raises(ValueError, match="60 minutes"):
        mode(NORMAL, "why", override=True)


def test_an_override_does_not_open_a_floor() -> None:
    """A floor that a person has set stays above an override, which is refused below it."""
    old = with_mode(NONE, mode(EmergencyMode.SUSPENDED))
    until = START + timedelta(minutes=5)
    with pytest.raises(ValueError, match="take that back"):
        with_mode(old, mode(EmergencyMode.CONSERVATIVE, "why", until=until, override=True))


@given(Floors, st.sampled_from(EmergencyMode), st.booleans())
def test_the_door_bars_by_the_strictest_demand(
    floor: TradingState, least: EmergencyMode, adds_risk: bool
) -> None:
    """A halt bars all, a pause and a mode without entries bar what adds risk, exits pass."""
    held = with_mode(with_state(NONE, StateDemand("x", START, floor=floor)), mode(least))
    barred = bar(held, adds_risk=adds_risk, mode_takes_entries=TABLE[least].entries)
    if floor is TradingState.HALTED:
        assert barred is not None
        assert barred[0] is BarReason.TRADING_HALTED
    elif adds_risk:
        assert barred is not None
        assert barred[0] is BarReason.REDUCING_ONLY
    else:
        assert barred is None


@given(st.sampled_from(EmergencyMode))
def test_a_mode_alone_bars_entries_when_it_takes_none(least: EmergencyMode) -> None:
    """With only a mode demanded, entries pass exactly where its row takes them."""
    barred = bar(with_mode(NONE, mode(least)), adds_risk=True, mode_takes_entries=TABLE[least].entries)
    assert (barred is None) == TABLE[least].entries


def test_a_sale_by_rule_goes_on_under_a_pause() -> None:
    """Pausing a bot that works its positions down does not stop that."""
    old = with_state(NONE, StateDemand("", START, work_down=True))
    held = with_state(old, StateDemand("", START)).state
    assert held is not None
    assert held.work_down


def test_what_has_lapsed_is_not_in_force_and_the_rest_is_told_with_its_time() -> None:
    """Every demand is a sentence with its reason and countdown, until its end."""
    soon = START + timedelta(minutes=30)
    held = Demands(
        mode=mode(EmergencyMode.MINIMAL, "storm", until=soon),
        isolated={ProviderName.XAI: Demand("bills", START)},
    )
    assert sentences(held, START) == (
        "mode MINIMAL or safer, 1800 s left (storm)",
        "xai isolated (bills)",
    )
    assert sentences(held.in_force(soon), soon) == ("xai isolated (bills)",)
