"""The budget: what is spent and what may be spent never exceed the limit."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule
from jurymast.policy.budget import Budget, reserve, rolled, settle

from jurymast.domain.money import Micros

TODAY = date(2026, 3, 2)
AMOUNTS = st.integers(0, 120)


def reserved(budget: Budget, amount: Micros) -> Budget:
    after = reserve(budget, amount)
    assert after is not None
    return after


def test_the_worst_case_is_held_and_the_bill_is_booked() -> None:
    """A request holds what it may cost at most and gives the difference back."""
    budget = reserved(Budget(100, TODAY), 60)
    assert (budget.held, budget.spent, budget.left) == (60, 0, 40)
    budget = settle(budget, 60, 25)
    assert (budget.held, budget.spent, budget.left) == (0, 25, 75)


def test_what_may_yet_be_billed_is_neither_spent_nor_given_out() -> None:
    """Of a request given up on its way the likely cost is spent, the rest is kept back until midnight."""
    budget = settle(reserved(Budget(100, TODAY), 60), 60, 25, 35)
    assert (budget.spent, budget.uncertain, budget.held, budget.left) == (25, 35, 0, 40)
    assert reserve(budget, 41) is None
    assert rolled(budget, TODAY + timedelta(days=1)).left == 100


def test_what_does_not_fit_is_refused() -> None:
    """The last micro-dollar can be reserved, the one after it can't."""
    budget = reserved(Budget(100, TODAY), 100)
    assert reserve(budget, 1) is None
    assert reserve(Budget(100, TODAY), 101) is None


def test_zero_means_zero() -> None:
    """A limit of nothing lets free local models through and nothing else."""
    nothing = Budget(0, TODAY)
    assert reserve(nothing, 1) is None
    assert reserve(nothing, 0) == nothing


def test_free_requests_fit_even_when_too_much_was_spent() -> None:
    """A bill beyond its hold stops paid requests, not free ones."""
    over = settle(reserved(Budget(100, TODAY), 100), 100, 150)
    assert over.left == -50
    assert reserve(over, 1) is None
    assert reserve(over, 0) == over


def test_a_new_day_starts_anew_but_keeps_what_is_in_flight() -> None:
    """At midnight UTC spending is forgotten, holds are not."""
    budget = reserved(settle(reserved(Budget(100, TODAY), 50), 50, 40), 30)
    tomorrow = rolled(budget, TODAY + timedelta(days=1))
    assert (tomorrow.day, tomorrow.spent, tomorrow.held, tomorrow.left) == (
        TODAY + timedelta(days=1),
        0,
        30,
        70,
    )


def test_a_clock_that_goes_back_reopens_nothing() -> None:
    """Yesterday's date does not bring yesterday's or a second today's budget."""
    budget = settle(reserved(Budget(100, TODAY), 90), 90, 90)
    assert rolled(budget, TODAY - timedelta(days=1)) == budget
    assert rolled(budget, TODAY) == budget


@pytest.mark.parametrize(("held", "cost"), [(-1, 0), (61, 0), (60, -1)])
def test_a_wrong_settlement_is_an_error(held: Micros, cost: Micros) -> None:
    """Settling more than is held, or a negative bill, would make money out of nothing."""
    with pytest.raises(ValueError, match="can't settle"):
        settle(reserved(Budget(100, TODAY), 60), held, cost)


def test_a_bill_without_a_hold_is_booked() -> None:
    """A cost that was not reserved is spent all the same."""
    assert settle(Budget(100, TODAY), 0, 5) == Budget(100, TODAY, spent=5)


def test_a_reservation_is_not_negative() -> None:
    """A negative worst case is a bug of the caller, not a refund."""
    with pytest.raises(ValueError, match="negative"):
        reserve(Budget(100, TODAY), -1)


class AnyInterleaving(RuleBasedStateMachine):
    """Requests that overlap in any way, with bills up to what was held."""

    holds = Bundle("holds")

    @initialize(limit=AMOUNTS)
    def begin(self, limit: Micros) -> None:
        self.budget = Budget(limit, TODAY)
        self.open_holds: list[Micros] = []
        self.bills: Micros = 0

    @rule(target=holds, amount=AMOUNTS)
    def a_request_begins(self, amount: Micros) -> Micros | None:
        after = reserve(self.budget, amount)
        fits = self.bills + sum(self.open_holds) + amount <= self.budget.limit
        assert (after is not None) == fits
        if after is None:
            return None
        self.budget = after
        self.open_holds.append(amount)
        return amount

    @rule(held=consumes(holds), share=st.floats(0, 1))
    def a_request_ends(self, held: Micros | None, share: float) -> None:
        if held is None:
            return
        cost = int(held * share)
        self.budget = settle(self.budget, held, cost)
        self.open_holds.remove(held)
        self.bills += cost

    @rule(days=st.integers(-1, 1))
    def a_day_passes(self, days: int) -> None:
        self.budget = rolled(self.budget, self.budget.day + timedelta(days=days))
        if days > 0:
            self.bills = 0

    @invariant()
    def the_limit_holds(self) -> None:
        assert self.budget.spent + self.budget.held <= self.budget.limit
        assert (self.budget.spent, self.budget.held) == (self.bills, sum(self.open_holds))


TestAnyInterleaving = AnyInterleaving.TestCase
