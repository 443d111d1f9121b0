"""Limits of extra work: retries and hedges are earned, concurrency gives way to pushback."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurymast.policy.limits import (
    AT_ONCE_UNKNOWN,
    CUT_BY,
    HEDGE_EARNED,
    HEDGE_TOKENS,
    RETRY_EARNED,
    RETRY_FLOOR,
    RETRY_TOKENS,
    Allowance,
    Concurrency,
)


def spent(allowance: Allowance, tries: int) -> int:
    return sum(allowance.spend() for _ in range(tries))


def test_retries_stop_at_half_of_the_bucket() -> None:
    """Five repeats without an answer between them, then none: when answers are rare retries only do harm."""
    retries = Allowance(RETRY_TOKENS, RETRY_EARNED, RETRY_FLOOR)
    assert spent(retries, 50) == 5
    for _ in range(11):
        retries.earn()
    assert spent(retries, 50) == 1


def test_hedges_are_one_in_twenty() -> None:
    """Beyond the first four, a hedge for every twenty questions and no more."""
    hedges = Allowance(HEDGE_TOKENS, HEDGE_EARNED)
    sent = 0
    for _ in range(2_000):
        hedges.earn()
        sent += hedges.spend()
    assert sent == pytest.approx(2_000 * HEDGE_EARNED + HEDGE_TOKENS, abs=1)


@given(
    most=st.floats(1, 20),
    earned=st.floats(0, 1),
    floor_share=st.floats(0, 0.9),
    steps=st.lists(st.booleans(), max_size=100),
)
def test_an_allowance_stays_within_its_bounds(
    most: float, earned: float, floor_share: float, steps: list[bool]
) -> None:
    """Never above its bound, never below its floor, and what is spent was there or has been earned."""
    allowance, taken, given_back = Allowance(most, earned, most * floor_share), 0, 0
    for earns in steps:
        if earns:
            allowance.earn()
            given_back += 1
        else:
            taken += allowance.spend()
        assert most * floor_share - 1e-9 <= allowance.tokens <= most
    assert taken <= most * (1 - floor_share) + given_back * earned + 1e-9


def test_pushback_halves_what_is_under_way() -> None:
    """A route that pushes back at six requests gets three, however many its bound allows."""
    concurrency = Concurrency(most=8, allowed=8.0)
    concurrency.pushed_back(6)
    assert concurrency.allowed == 6 * CUT_BY
    concurrency.pushed_back(6)
    assert concurrency.allowed == 3 * CUT_BY


def test_what_has_never_been_too_much_doubles_with_each_round() -> None:
    """A few at first; without any pushback one more for every answer, until its bound."""
    concurrency, seen = Concurrency(most=16), []
    while concurrency.allowed < 16:
        seen.append(concurrency.allowed)
        for _ in range(int(concurrency.allowed)):
            concurrency.answered()
    assert seen == [AT_ONCE_UNKNOWN, 2 * AT_ONCE_UNKNOWN]
    assert Concurrency(most=2).allowed == 2


def test_answers_widen_by_one_per_round() -> None:
    """After a route has come back it works up from one at a time, one more for each full round."""
    concurrency, rounds = Concurrency(most=4), []
    concurrency.start_over()
    while concurrency.allowed < 4:
        for _ in range(int(concurrency.allowed)):
            concurrency.answered()
        rounds.append(int(concurrency.allowed))
    assert len(rounds) <= 6
    assert rounds[0] == 2
    concurrency.answered()
    assert concurrency.allowed == 4


@given(most=st.integers(1, 50), steps=st.lists(st.integers(-1, 50), max_size=60))
def test_a_route_gets_at_least_one_and_at_most_its_bound(most: int, steps: list[int]) -> None:
    """No pushback stops a route altogether, no answers exceed what its operator allows."""
    concurrency = Concurrency(most)
    for step in steps:
        if step < 0:
            concurrency.start_over()
        elif step == 0:
            concurrency.answered()
        else:
            before = concurrency.allowed
            concurrency.pushed_back(step)
            assert concurrency.allowed <= before
        assert 1 <= concurrency.allowed <= most
