"""What Kalshi takes per execution.

    fee = rate * C * P * (1 - P)        C contracts at P dollars

The rate is 0.07 for the taker; makers pay 0.0175 only on series that charge them, otherwise nothing. The
amount is rounded up to the micro-dollar and then to the precision of the account: $0.0001 for direct
members, $0.01 for everybody else. Settlement is free. The rounding has changed before (in September
2026), so it is a schedule with a date, and the ``fee_cost`` of a real fill is the record.

Kalshi rounds the balance, not the fee, and gives rounding back within one order. The two agree wherever
the price times the count is itself a multiple of the precision: any count at whole cents for direct
members, whole contracts at whole cents otherwise. Without the give-back this is what it costs at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final

from jurymast.domain.money import CENT, CONTRACT, PAYOUT, Centi, Micros

_MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class FeeSchedule:
    """A rule of fees as last checked. Rates in millionths, ``precision`` in micro-dollars."""

    checked_on: date
    precision: Micros
    taker_millionths: int = 70_000
    maker_millionths: int = 0

    def __post_init__(self) -> None:
        if self.precision < 1:
            raise ValueError("the precision of a fee is at least one micro-dollar")
        if min(self.taker_millionths, self.maker_millionths) < 0:
            raise ValueError("a fee rate is not negative")


DIRECT_MEMBER: Final = FeeSchedule(checked_on=date(2026, 10, 7), precision=100)
"""Direct members on a series without maker fees."""
DIRECT_MEMBER_MAKER_FEES: Final = FeeSchedule(
    checked_on=date(2026, 10, 7), precision=100, maker_millionths=17_500
)
"""Direct members on a series of type ``quadratic_with_maker_fees``."""
THROUGH_BROKER: Final = FeeSchedule(checked_on=date(2026, 10, 7), precision=CENT)
"""Everybody else."""


def fee(price: Micros, count: Centi, *, maker: bool = False, schedule: FeeSchedule = DIRECT_MEMBER) -> Micros:
    """Fee of one execution in micro-dollars, rounded up. ``price`` may be in the terms of either side.

    Raises ValueError for a price outside [$0, $1] or a negative count.
    """
    if not 0 <= price <= PAYOUT:
        raise ValueError(f"a price of {price} micro-dollars is not between $0 and $1")
    if count < 0:
        raise ValueError(f"a count of {count} centi-contracts is negative")
    rate = schedule.maker_millionths if maker else schedule.taker_millionths
    exact = rate * count * price * (PAYOUT - price)
    unit = _MILLION * CONTRACT * PAYOUT * schedule.precision
    return -(-exact // unit) * schedule.precision


def fee_per_contract(price: Micros, *, schedule: FeeSchedule = DIRECT_MEMBER) -> Micros:
    """Taker fee of one contract in micro-dollars, rounded up: what an edge has to earn first."""
    return fee(price, CONTRACT, schedule=schedule)
