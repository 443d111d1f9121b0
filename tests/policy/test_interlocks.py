"""Before real money: every gate by itself, and a size that grows only with a proven record."""

from __future__ import annotations

import itertools
import random
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurymast.domain.money import USD
from jurymast.policy.interlocks import (
    STEPS,
    Findings,
    Gate,
    SettledForecast,
    Words,
    order_cap,
    unfit,
    unsaid,
)

SAID = Words(
    live=True,
    word="yes",
    words=frozenset({"yes", "key-1"}),
    account="savings",
    typed_account="savings",
    emulated=False,
)
FOUND = Findings((), (), 400 * USD, 500 * USD)
SHUT_WORDS = {
    Gate.CONFIG: {"live": False},
    Gate.ENVIRONMENT: {"word": "no"},
    Gate.ACCOUNT: {"typed_account": "saving"},
    Gate.JUDGES: {"emulated": True},
}
SHUT_FINDINGS = {
    Gate.DOCTOR: {"ailments": ("clock: 40 s off",)},
    Gate.BOOKS: {"differences": ("T: ours 1, exchange 2",)},
    Gate.FUNDED: {"worth": 501 * USD},
}


def test_all_said_and_found_well_opens_every_gate() -> None:
    """With every word and a clean look nothing is in the way."""
    assert unsaid(SAID) == ()
    assert unfit(FOUND) == ()


@pytest.mark.parametrize("shut", [c for n in range(1, 5) for c in itertools.combinations(SHUT_WORDS, n)])
def test_every_missing_word_shuts_its_own_gate(shut: tuple[Gate, ...]) -> None:
    """Any combination of missing words is refused with exactly those gates, each with a cure."""
    said = replace(SAID, **{k: v for gate in shut for k, v in SHUT_WORDS[gate].items()})
    assert {refused.gate for refused in unsaid(said)} == set(shut)
    assert all(refused.cure for refused in unsaid(said))


@pytest.mark.parametrize("shut", [c for n in range(1, 4) for c in itertools.combinations(SHUT_FINDINGS, n)])
def test_every_bad_finding_shuts_its_own_gate(shut: tuple[Gate, ...]) -> None:
    """The same for what a look has shown."""
    found = replace(FOUND, **{k: v for gate in shut for k, v in SHUT_FINDINGS[gate].items()})
    assert {refused.gate for refused in unfit(found)} == set(shut)
    assert all(refused.cure for refused in unfit(found))


def test_an_account_without_a_name_can_not_be_typed() -> None:
    """Two empty names are not the same name."""
    assert [r.gate for r in unsaid(replace(SAID, account="", typed_account=""))] == [Gate.ACCOUNT]


def test_every_gate_is_somebodys() -> None:
    """No gate of the list is forgotten by both looks."""
    assert {*SHUT_WORDS, *SHUT_FINDINGS} == set(Gate)
    assert {f.name for f in fields(Words)} >= {"live", "word", "typed_account"}


def record(settled: int, skill: float, seed: int = 1) -> list[SettledForecast]:
    """Forecasts that lie ``skill`` of the way from a market at chance to the truth of a loaded coin."""
    dice = random.Random(seed)
    made = []
    for _ in range(settled):
        chance = dice.choice([0.15, 0.85])
        made.append(SettledForecast(0.5 + skill * (chance - 0.5), 0.5, dice.random() < chance))
    return made


@pytest.mark.parametrize(("settled", "cap"), [(n, c) for n, c in STEPS if n])
def test_a_proven_record_grows_the_cap_step_by_step(settled: int, cap: int) -> None:
    """Skill that chance does not explain opens the step of its count, and the one before not earlier."""
    good = record(settled, 1.0)
    assert order_cap(good) == cap
    assert order_cap(good[:-1]) < cap


@given(st.integers(0, 2_000), st.sampled_from([0.0, -0.5, -1.0]))
def test_without_skill_no_count_grows_it(settled: int, skill: float) -> None:
    """A long record that is no better than the market, or worse, stays at the first step."""
    assert order_cap(record(settled, skill)) == STEPS[0][1]


def test_a_handful_of_lucky_forecasts_is_no_record() -> None:
    """Few forecasts, however good, are the first step."""
    assert order_cap([SettledForecast(0.99, 0.5, True)] * 49) == STEPS[0][1]
