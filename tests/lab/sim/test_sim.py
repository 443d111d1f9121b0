"""The simulator: clean seeds, the same story every time, and rules that do notice when the core is broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from jurymast.domain.provider import Route
from jurymast.domain.status import EmergencyMode
from jurymast.lab.sim.invariants import Rules
from jurymast.lab.sim.run import run
from jurymast.lab.sim.scenario import Scenario
from jurymast.policy import choosing, failover
from jurymast.policy.facts import ModeMoved
from jurymast.policy.failover import Failover
from jurymast.policy.record import Record
from jurymast.policy.walk import Walk

YEARS = 0.02


def simulated(*arguments: str, **environ: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "jurymast", "sim", *arguments, "--json"],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def broken_rules(seeds: range) -> Counter[str]:
    return Counter(violation.rule for seed in seeds for violation in run(Scenario(seed, YEARS)).violations)


def test_the_command_reports_what_was_asked_for_and_is_the_same_in_every_process() -> None:
    """`jurymast sim --json` has every promised figure, breaks no rule, and one seed gives one trace."""
    arguments = ("--seeds", "4", "--years", str(YEARS), "--seed", "7")
    first = simulated(*arguments, PYTHONHASHSEED="1")
    second = simulated(*arguments, PYTHONHASHSEED="2")
    assert first["simulated"] is True
    assert first["violations"] == 0
    assert first["safe_outcomes"] == 1.0
    assert set(first["by_rung"]) == {"primary", "failover", "local"}
    assert first["outage_years_per_minute"] > 0
    assert 0.9 < first["availability"] <= 1.0
    assert first["trace_hash"] == second["trace_hash"]
    assert (
        simulated("--seeds", "4", "--years", str(YEARS), "--seed", "8")["trace_hash"] != first["trace_hash"]
    )


def test_a_day_of_total_trouble_is_safe() -> None:
    """With all clouds behind their edge down for hours on end nothing is unsafe and no rule is broken."""
    tally = run(Scenario(5, 0.004, edge_hours=2_000.0))
    assert not tally.violations
    assert tally.windows.decisions > 0
    assert sum(tally.windows.answered.values()) > 0


def test_a_span_without_any_trouble_is_told_as_such() -> None:
    """Nothing was met, nothing failed and nothing was proven."""
    facts = simulated("--seeds", "1", "--years", "0.001")
    assert (facts["incidents"], facts["parts"]["incidents"]["decisions"], facts["violations"]) == (0, 0, 0)
    assert facts["availability_at_least"] == 0.0


class TestTheRulesNotice:
    """Each break of the core is seen by the rule that stands for it."""

    def test_a_core_that_never_probes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without probes a first choice that is well again stays unused, and the modes never rise."""

        def never(core: Failover, now: float) -> list[Route]:
            core.step(now)
            return []

        monkeypatch.setattr(Failover, "due_probes", never)
        assert broken_rules(range(3))["liveness"]

    def test_a_core_without_failover(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A core that asks one route and gives up leaves well routes unasked."""
        ask: Callable[..., Record | None] = choosing.choose

        def only_one(walk: Walk, now: float, *, last: bool, hedge: bool = False) -> Record | None:
            return None if walk.asked else ask(walk, now, last=last, hedge=hedge)

        monkeypatch.setattr(failover, "choose", only_one)
        assert broken_rules(range(3))["surrender"]

    @pytest.mark.parametrize(("changes", "breaches"), [(3, 0), (5, 1)])
    def test_a_mode_that_rises_while_it_flaps(self, changes: int, breaches: int) -> None:
        """Four changes of course within the hour let nothing rise; a fall that goes on is one of them."""
        rules = Rules(0, "", 3, 1.0)
        normal, conservative, minimal = (
            EmergencyMode.NORMAL,
            EmergencyMode.CONSERVATIVE,
            EmergencyMode.MINIMAL,
        )
        course = [(normal, conservative), (conservative, normal), (normal, conservative)]
        course += [(conservative, normal), (normal, conservative)][: changes - 3]
        for at, (old, new) in enumerate([*course, (conservative, minimal)]):
            rules.mode_moved(ModeMoved(old, new, ""), 60.0 * at)
        assert not rules.violations
        rules.mode_moved(ModeMoved(minimal, conservative, ""), 1_000.0)
        assert len(rules.violations) == breaches
