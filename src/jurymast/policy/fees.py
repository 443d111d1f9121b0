"""What Kalshi takes per execution.

    model fee = rate * multiplier * C * P * (1 - P)        C contracts at P dollars

The rate is 0.07 for the taker; makers pay 0.0175 only on series that charge them, otherwise nothing. The
multiplier is the series', or the event's where it overrides. Settlement is free.

Rounding. The model fee is rounded up, today to the micro-dollar. Then the balance is rounded down to the
precision of the account: $0.0001 for direct members, $0.01 for everybody else. What that takes beyond the
fee is carried within the order, from taker to maker executions too, and given back in whole units of the
precision; no execution's fee is negative. Equal fills can therefore cost differently: compare per order,
never per fill.

The rounding has changed before, so a schedule has the date from which it holds, and the ``fee_cost`` of a
real fill is the record. Kalshi's documentation gives today's rule; the one before is what 33 recorded
fills of 8 to 20 August 2026 agree with to the last digit.

:func:`fee` is the estimate that rules weigh: the model fee rounded up to the precision. It equals the
charge wherever price times count is a multiple of the precision: any count at whole cents for direct
members, whole contracts at whole cents otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

from jurymast.domain.money import CENT, CONTRACT, PAYOUT, Centi, Micros

_MILLION: Final = 1_000_000
_MAKER_MILLIONTHS: Final = 17_500


@dataclass(frozen=True, slots=True)
class FeeSchedule:
    """A rule of fees as last checked. Rates and multiplier in millionths, precisions in micro-dollars.

    ``precision`` is that of the account's balance, ``model_precision`` that of the fee before it.
    """

    checked_on: date
    precision: Micros
    taker_millionths: int = 70_000
    maker_millionths: int = 0
    multiplier_millionths: int = _MILLION
    model_precision: Micros = 1
    valid_from: date = date(2026, 9, 1)

    def __post_init__(self) -> None:
        if min(self.precision, self.model_precision) < 1:
            raise ValueError("the precision of a fee is at least one micro-dollar")
        if min(self.taker_millionths, self.maker_millionths, self.multiplier_millionths) < 0:
            raise ValueError("a fee rate is not negative")

    def rate(self, *, maker: bool) -> int:
        """Millionths of millionths of C x P x (1 - P)."""
        return (self.maker_millionths if maker else self.taker_millionths) * self.multiplier_millionths

    def for_series(self, fee_type: str, multiplier_millionths: int = _MILLION) -> FeeSchedule:
        """This rule as a series or an event applies it. Raises ValueError for a type without formula."""
        try:
            maker_millionths = _MAKER_RATES[fee_type]
        except KeyError:
            raise ValueError(f"fee type {fee_type!r} has no known formula; nothing is assumed") from None
        return replace(self, maker_millionths=maker_millionths, multiplier_millionths=multiplier_millionths)


_MAKER_RATES: Final = {
    "quadratic": 0,
    "quadratic_with_maker_fees": _MAKER_MILLIONTHS,
    "quadratic_with_combo_maker_fees": _MAKER_MILLIONTHS,
}

DIRECT_MEMBER: Final = FeeSchedule(checked_on=date(2026, 10, 7), precision=100)
"""Direct members on a series without maker fees."""
DIRECT_MEMBER_MAKER_FEES: Final = DIRECT_MEMBER.for_series("quadratic_with_maker_fees")
"""Direct members on a series of type ``quadratic_with_maker_fees``."""
THROUGH_BROKER: Final = FeeSchedule(checked_on=date(2026, 10, 7), precision=CENT)
"""Everybody else."""
DIRECT_MEMBER_AUGUST: Final = FeeSchedule(
    checked_on=date(2026, 8, 20), precision=100, model_precision=100, valid_from=date(2026, 8, 8)
)
"""Direct members until the rounding changed; when in August or September it did is not known to the day."""
DIRECT_MEMBER_RULES: Final = (DIRECT_MEMBER_AUGUST, DIRECT_MEMBER)


@dataclass(frozen=True, slots=True)
class Charge:
    """What one execution costs, and what its order carries on to the next one."""

    fee: Micros
    carried: Micros


def schedule_on(day: date, rules: Sequence[FeeSchedule] = DIRECT_MEMBER_RULES) -> FeeSchedule:
    """The rule that held on a day: the latest begun by then. Raises ValueError before the first."""
    begun = [rule for rule in rules if rule.valid_from <= day]
    if not begun:
        raise ValueError(f"no rule of fees is known for {day}")
    return max(begun, key=lambda rule: rule.valid_from)


def charge(
    price: Micros,
    count: Centi,
    flow: Micros,
    *,
    carried: Micros = 0,
    maker: bool = False,
    schedule: FeeSchedule = DIRECT_MEMBER,
) -> Charge:
    """The exact fee of one execution. ``flow`` is the cash it moves without fee, negative when it is paid.

    ``carried`` is what the order carried on from its executions before. Raises ValueError as :func:`fee`.
    """
    model = _rounded_up(price, count, schedule.rate(maker=maker), schedule.model_precision)
    rounding = (flow - model) % schedule.precision
    carried += rounding
    back = min(carried, model + rounding) // schedule.precision * schedule.precision
    return Charge(model + rounding - back, carried - back)


def fee(price: Micros, count: Centi, *, maker: bool = False, schedule: FeeSchedule = DIRECT_MEMBER) -> Micros:
    """Fee of one execution in micro-dollars, rounded up. ``price`` may be in the terms of either side.

    Raises ValueError for a price outside [$0, $1] or a negative count.
    """
    return _rounded_up(price, count, schedule.rate(maker=maker), schedule.precision)


def resting_reserve(schedule: FeeSchedule, price: Micros, count: Centi) -> Micros:
    """What fees may take beyond the price of a resting order, if every hundredth of a contract is matched
    and rounded alone.

    Nothing where makers pay nothing and prices are whole cents, as on most markets.
    """
    aligned = price % CENT == 0 and schedule.precision <= CENT // CONTRACT
    if not schedule.maker_millionths and aligned:
        return 0
    return fee(price, count, maker=True, schedule=schedule) + count * schedule.precision


def fee_per_contract(price: Micros, *, schedule: FeeSchedule = DIRECT_MEMBER) -> Micros:
    """Taker fee of one contract in micro-dollars, rounded up: what an edge has to earn first."""
    return fee(price, CONTRACT, schedule=schedule)


def _rounded_up(price: Micros, count: Centi, rate: int, precision: Micros) -> Micros:
    if not 0 <= price <= PAYOUT:
        raise ValueError(f"a price of {price} micro-dollars is not between $0 and $1")
    if count < 0:
        raise ValueError(f"a count of {count} centi-contracts is negative")
    unit = _MILLION * _MILLION * CONTRACT * PAYOUT * precision
    return -(-rate * count * price * (PAYOUT - price) // unit) * precision
