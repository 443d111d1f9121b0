"""The benchmarks of failover and budget: bookkeeping by hand, and the plumbing once."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from jurymast.lab.emulators.faults import parse_fault

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
GUARD_SECS = 120.0
BROKEN_AT, MENDED_AT = 110.0, 150.0


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    """Imports modules of the benchmarks, which are scripts beside each other and no package."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def told(load: Any, answers: list[dict[str, Any]], arrivals: dict[str, list[list[Any]]]) -> Any:
    """A story that began at 100 s, with the primary broken from 110 to 150 s."""
    scenarios: ModuleType = load("scenarios")
    spell = {"provider": "xai", "model": None, "fault": "503", "start": BROKEN_AT, "end": MENDED_AT}
    empty = {"input_tokens": 0, "output_tokens": 0}
    book = {
        "arrivals": {name: arrivals.get(name, []) for name in scenarios.EVERYBODY},
        "ledger": dict.fromkeys(scenarios.EVERYBODY, empty),
        "spells": [spell],
    }
    story = scenarios.Scenario("S", "a story", "decisions", (), ())
    return load("tally").Told(story, scenarios.decisions(1.0), 100.0, answers, book, [])


def answer(serial: int, at: float, outcome: str = "valid") -> dict[str, Any]:
    return {"serial": serial, "at": at, "secs": 4.0, "outcome": outcome, "detail": ""}


def test_wasted_requests_detection_and_return_are_read_off_what_providers_saw(load: Any) -> None:
    """Requests to a broken route, the first way round it and the first way back count as they happened."""
    answers = [answer(0, 101), answer(1, 112), answer(2, 120), answer(3, 130), answer(4, 153), answer(5, 160)]
    arrivals = {
        "xai": [[101, "grok-4.3", 0], [112, "grok-4.3", 1], [125, "grok-4.3", None], [160, "grok-4.3", 5]],
        "openai": [[113, "m", 1], [120, "m", 2], [130, "m", 3], [153, "m", 4]],
    }
    tally = load("tally").Tally()
    tally.add(told(load, answers, arrivals))
    assert (tally.asked, tally.valid, tally.asked_in_all) == (3, 3, 6)
    assert (tally.sends_to_sick, tally.probes_to_sick) == ([1], [1])
    assert (tally.detect_secs, tally.failback_secs) == ([10.0], [10.0])
    assert (tally.requests, tally.requests_to_others) == (8, 4)


def test_a_decision_without_a_valid_answer_counts_as_the_whole_deadline(load: Any) -> None:
    """Failing fast does not make a client look fast."""
    tally = load("tally").Tally()
    tally.add(told(load, [answer(0, 115, "failed"), answer(1, 116, "bad"), answer(2, 117)], {}))
    assert tally.secs == [60.0, 60.0, 4.0]
    assert (tally.valid, tally.failed, tally.bad) == (1, 1, 1)


def test_an_unbroken_row_of_successes_leaves_room_for_doubt(load: Any) -> None:
    """The interval of a share is Wilson's, which does not close when all of a few trials succeed."""
    low, high = load("tally").wilson(10, 10)
    assert (round(low, 3), round(high, 3)) == (0.722, 1.0)
    assert load("tally").wilson(0, 0) == (0.0, 1.0)


def test_every_scenario_can_be_played(load: Any) -> None:
    """Names are unique, faults are known to the emulators, and something breaks in every story."""
    scenarios = load("scenarios")
    for short in (True, False):
        known = scenarios.outages(scenarios.SHORT if short else scenarios.Phases())
        known += [*scenarios.first_answers(), *scenarios.crowds()]
        assert len({scenario.name for scenario in known}) == len(known)
        for scenario in known:
            faults = {step.fault for step in scenario.steps} - {scenarios.MENDED}
            assert faults - scenarios.MILD
            for fault in faults - scenarios.CONDITIONS:
                parse_fault(fault)


def test_an_unknown_scenario_is_refused_with_the_list(load: Any) -> None:
    """A misspelled name says which there are instead of measuring nothing."""
    with pytest.raises(ValueError, match=r"no scenario S99; there are S1, "):
        load("scenarios").chosen(short=True, only=frozenset({"S99"}))


def test_one_scenario_runs_with_our_own_client_and_no_rival_installed() -> None:
    """The benchmark plays a fault to our client in processes of their own and reports it as SIMULATED."""
    command = [
        sys.executable,
        str(BENCHMARKS / "failover.py"),
        "--short",
        "--only",
        "S1",
        "--clients",
        "jurymast",
    ]
    done = subprocess.run(
        [*command, "--json"], capture_output=True, text=True, timeout=GUARD_SECS, check=True
    )
    run = json.loads(done.stdout)
    assert run["benchmark"] == "failover"
    assert run["simulated"] is True
    facts = run["scenarios"]["S1"]["clients"]["jurymast"]
    assert facts["asked_in_all"] == 40
    assert facts["valid"] > 0
    assert sum(facts["sends_to_sick"]) > 0
    assert facts["requests_to_others"] > 0


def test_the_budget_holds_in_its_benchmark_and_the_rivals_break_theirs() -> None:
    """Ten and fifty at once, processes, kills: overshoot for those who check and record, none for us."""
    command = [sys.executable, str(BENCHMARKS / "budget.py"), "--quick", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=GUARD_SECS, check=True)
    run = json.loads(done.stdout)
    assert run["simulated"] is True
    for way, found in run["bills"].items():
        assert max(found["ours"]) <= run["limit"], way
        if "killed" not in way:  # what the dead held is gone for the day
            assert min(found["ours"]) > run["limit"] // 2, "it is spent, too"
    assert min(run["bills"]["50 at once"]["record"]) > run["limit"]
    assert min(run["bills"]["50 at once"]["mean"]) > run["limit"]
