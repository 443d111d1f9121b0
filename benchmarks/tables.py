"""The tables of ``failover.py``: a row for each scenario, a column for each client."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any, TypeAlias

from measure import show
from rivals import TITLES

Facts: TypeAlias = dict[str, Any]
_GROUPS = {"outages": "while broken", "crowds": "while broken, crowds"}


def show_all(run: Facts) -> None:
    """Print everything that a run measured, as Markdown."""
    print(
        f"SIMULATED providers. Time compressed {run['scale']}:1, in crowds {run['crowd_scale']:g}:1. "
        f"Seed {run['seed']}, rounds {run['rounds']}; s are story seconds; "
        f"not installed and skipped: {', '.join(run['skipped']) or 'none'}."
    )
    for group, when in _GROUPS.items():
        _table(f"Valid decisions in time {when}, % (95 % interval)", run, group, _valid)
        _table(f"p50 / p99 s to a valid decision {when}; a missed one is the deadline", run, group, _secs)
        _table("Requests of decisions to sick routes (+ probes), a round", run, group, _wasted)
        _table(
            "s to the first decision that avoids them / to the first back on the primary", run, group, _times
        )
        _table("Requests a decision / spend as a multiple of the oracle's, whole run", run, group, _work)
        _table("Unusable answers handed over as success", run, group, lambda facts: str(facts["bad"] or "-"))
    _table("s to the first valid answer (requests the primary saw for it)", run, "first answers", _first)


def _table(title: str, run: Facts, group: str, cell: Callable[[Facts], str]) -> None:
    rows = {name: row for name, row in run["scenarios"].items() if row["group"] == group}
    if not rows:
        return
    clients = list(next(iter(rows.values()))["clients"])
    columns = ["scenario", *(TITLES[client] for client in clients)]
    show(
        title,
        columns,
        [
            [f"{name} {row['title']}", *(cell(row["clients"][client]) for client in clients)]
            for name, row in rows.items()
        ],
    )


def _valid(facts: Facts) -> str:
    if not facts["asked"]:
        return "-"
    share, low, high = (100 * facts[key] for key in ("valid_share", "valid_share_low", "valid_share_high"))
    return f"{share:.0f} ({low:.0f}..{high:.0f})"


def _secs(facts: Facts) -> str:
    if facts["p50_secs"] is None:
        return "-"
    places = 1 if facts["p50_secs"] >= 1 else 2
    return f"{facts['p50_secs']:.{places}f} / {facts['p99_secs']:.{places}f}"


def _wasted(facts: Facts) -> str:
    if not facts["sends_to_sick"]:
        return "-"
    probes = statistics.mean(facts["probes_to_sick"])
    return f"{statistics.mean(facts['sends_to_sick']):.0f}" + (f" (+{probes:.0f})" if probes else "")


def _times(facts: Facts) -> str:
    return " / ".join(
        f"{statistics.mean(facts[key]):.1f}" if facts[key] else "-"
        for key in ("detect_secs", "failback_secs")
    )


def _work(facts: Facts) -> str:
    dearer = facts["spend_of_oracle"]
    times = "-" if dearer is None else f"{dearer:.2f}"
    return f"{facts['requests'] / max(facts['asked_in_all'], 1):.2f} / {times}"


def _first(facts: Facts) -> str:
    if not facts["valid"]:
        return "none"
    seen = f"{statistics.mean(facts['sends_to_sick']):.0f}" if facts["sends_to_sick"] else "-"
    return f"{facts['p50_secs']:.1f} ({seen})"
