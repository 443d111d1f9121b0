"""The day's AI money: reserve the worst case, settle by the bill.

Invariant: spent + uncertain + held <= limit, at any concurrency, because a reservation is one step with no
wait in it. A limit of zero means zero. What a failed attempt may have cost stays spent until known better; of
one that was given up on its way the likely cost is spent, and what it may cost beyond that is uncertain: no
longer reported as spent, and not given out again either.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date

from jurymast.domain.money import Micros


@dataclass(frozen=True, slots=True)
class Budget:
    """Micro-dollars of one UTC day."""

    limit: Micros
    day: date
    spent: Micros = 0
    held: Micros = 0
    uncertain: Micros = 0

    @property
    def left(self) -> Micros:
        return self.limit - self.spent - self.uncertain - self.held


def rolled(budget: Budget, today: date) -> Budget:
    """The budget of ``today``: spending starts anew, what is in flight stays held."""
    return budget if budget.day >= today else replace(budget, day=today, spent=0, uncertain=0)


def reserve(budget: Budget, amount: Micros) -> Budget | None:
    """Hold ``amount`` (>= 0), or None when it does not fit. Free requests always fit."""
    if amount < 0:
        raise ValueError("a reservation is not negative")
    if amount > max(budget.left, 0):
        return None
    return Budget(budget.limit, budget.day, budget.spent, budget.held + amount, budget.uncertain)


def settle(budget: Budget, held: Micros, cost: Micros, uncertain: Micros = 0) -> Budget:
    """Give back a hold, book what it cost and keep back what it may cost beyond that (all >= 0).

    Raises ValueError for more than is held: a hold settled twice would open the budget again.
    """
    if not 0 <= held <= budget.held or cost < 0 or uncertain < 0:
        raise ValueError(f"can't settle {held} of {budget.held} held at a cost of {cost}")
    spent, uncertain = budget.spent + cost, budget.uncertain + uncertain
    return Budget(budget.limit, budget.day, spent, budget.held - held, uncertain)
