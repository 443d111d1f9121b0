"""Cash that a resting order keeps back for its fees as a maker."""

from __future__ import annotations

from jurymast.domain.money import CENT, CONTRACT, Centi, Micros
from jurymast.policy.fees import FeeSchedule, fee


def slack(schedule: FeeSchedule, price: Micros, count: Centi) -> Micros:
    """What fees may take beyond the price, if every hundredth of a contract is matched and rounded alone.

    Nothing where makers pay nothing and prices are whole cents, as on most markets.
    """
    aligned = price % CENT == 0 and schedule.precision <= CENT // CONTRACT
    if not schedule.maker_millionths and aligned:
        return 0
    return fee(price, count, maker=True, schedule=schedule) + count * schedule.precision
