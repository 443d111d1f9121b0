"""The figures of a simulation, for programs and for people. Everything in it is SIMULATED."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from jurymast.domain.decision import Rung
from jurymast.lab.sim.tally import (
    YEAR_SECS,
    Part,
    Tally,
    availability,
    availability_at_least,
    composed,
    mean_and_margin,
)

VIOLATIONS_SHOWN: Final = 10
MINUTE_SECS: Final = 60.0


def figures(tally: Tally) -> dict[str, Any]:
    """Everything measured, ready for JSON. Shares are of one, times in seconds, money in micro-dollars."""
    windows = tally.windows
    mean, margin = mean_and_margin(tally.per_seed)
    return {
        "simulated": True,
        "seeds": tally.seeds,
        "years": round(tally.years, 3),
        "incidents": tally.incidents,
        "availability": availability(tally),
        "availability_at_least": availability_at_least(tally),
        "availability_mean_of_seeds": mean,
        "availability_margin": margin,
        "safe_outcomes": 1.0 if all(_told(part) for part in _parts(tally)) else 0.0,
        "by_rung": {
            str(rung): composed(tally, _of_rung(rung)) for rung in (Rung.PRIMARY, Rung.FAILOVER, Rung.LOCAL)
        },
        "p50_secs": _all_times(tally, 0.50),
        "p95_secs": _all_times(tally, 0.95),
        "p99_secs": _all_times(tally, 0.99),
        "p50_incident_secs": windows.latency.quantile(0.50),
        "p99_incident_secs": windows.latency.quantile(0.99),
        "waste_per_incident_decision": _per(windows.wasted, windows.decisions),
        "sends_per_decision": composed(tally, lambda part: _per(part.sends, part.decisions)),
        "sends_per_incident_decision": _per(windows.sends, windows.decisions),
        "hedge_share_of_sends": _of_all(tally, "hedges", "sends"),
        "hedge_share_of_spend": _of_all(tally, "hedge_cost", "cost"),
        "hedge_bill_share_of_spend": _of_all(tally, "hedge_bill", "cost"),
        "uncertain_share_of_spend": _of_all(tally, "uncertain", "cost"),
        "probe_share_of_spend": _of_all(tally, "probe_cost", "cost"),
        "shadow_share_of_spend": _of_all(tally, "shadow_cost", "cost"),
        "overspent_micros": tally.overspent,
        "detect_total": _found(tally, total=True),
        "detect_partial": _found(tally, total=False),
        "not_detected": tally.not_found,
        "fail_back_p50_secs": tally.failed_back.quantile(0.50),
        "fail_back_p95_secs": tally.failed_back.quantile(0.95),
        "false_opens_per_10k": 1e4
        * _per(sum(part.false_opens for part in _parts(tally)), sum(part.sends for part in _parts(tally))),
        "flaps": tally.flaps,
        "mode_changes": tally.mode_changes,
        "restarts": tally.restarts,
        "lost_to_restarts": tally.lost_to_restarts,
        "parts": {
            name: {
                "share_of_time": part.secs / (tally.years * YEAR_SECS),
                "decisions": part.decisions,
                "missed": part.decisions - part.usable,
                "abstained": {str(reason): count for reason, count in sorted(part.abstained.items())},
                "by_hand": part.by_hand,
                "probes": part.probes,
                "shadows": part.shadows,
            }
            for name, part in zip(("incidents", "settling", "quiet_sample"), _parts(tally), strict=True)
        },
        "violations": len(tally.violations),
        "violation_list": [
            {"rule": v.rule, "seed": v.seed, "at_secs": v.at, "detail": v.detail, "command": v.command}
            for v in tally.violations
        ],
        "trace_hash": tally.trace_hash,
        "cpu_secs": round(tally.cpu_secs, 3),
        "outage_years_per_minute": round(MINUTE_SECS * tally.years / tally.cpu_secs, 2)
        if tally.cpu_secs
        else None,
    }


def table(facts: dict[str, Any], title: str) -> str:
    """The same for a person."""
    rung, parts = facts["by_rung"], facts["parts"]
    lost = sum(part["missed"] for part in parts.values())
    rows = [
        (
            "valid decisions in time",
            f"{_percent(facts['availability'])}, surely {_percent(facts['availability_at_least'])}",
        ),
        (
            "  by first, other, local",
            ", ".join(_percent(rung[name]) for name in ("primary", "failover", "local")),
        ),
        ("safe outcomes", _percent(facts["safe_outcomes"])),
        ("decisions simulated, missed", f"{sum(part['decisions'] for part in parts.values()):,}, {lost:,}"),
        ("latency p50, p95, p99", _secs(facts, "p50_secs", "p95_secs", "p99_secs")),
        ("  in and around incidents p50, p99", _secs(facts, "p50_incident_secs", "p99_incident_secs")),
        ("wasted sends per incident decision", f"{facts['waste_per_incident_decision']:.4f}"),
        (
            "sends per decision",
            f"{facts['sends_per_decision']:.3f}, "
            f"around incidents {facts['sends_per_incident_decision']:.3f}",
        ),
        ("spend on hedges, probes, shadows", ", ".join(
            _percent(facts[f"{name}_share_of_spend"], 1) for name in ("hedge", "probe", "shadow"))),
        ("a total outage is found after", _detection(facts["detect_total"])),
        ("one of 40 % and more", _detection(facts["detect_partial"])),
        ("used again after p50, p95", _secs(facts, "fail_back_p50_secs", "fail_back_p95_secs")),
        ("false openings per 10,000 sends", f"{facts['false_opens_per_10k']:.2f}"),
        (
            "flaps, mode changes a year",
            f"{facts['flaps'] / facts['years']:.0f}, {facts['mode_changes'] / facts['years']:.0f}",
        ),
        ("violations", str(facts["violations"])),
        ("trace hash", facts["trace_hash"]),
        ("outage-years a minute", f"{facts['outage_years_per_minute']}"),
    ]  # fmt: skip
    width = max(len(name) for name, _ in rows)
    lines = [f"{title}, SIMULATED", *(f"  {name:<{width}}  {value}" for name, value in rows)]
    lines += [
        f"{_percent(parts['incidents']['share_of_time'], 1)} of the time lies in or around incidents and "
        f"{_percent(parts['settling']['share_of_time'], 1)} is spent until all is well again; both "
        "are simulated whole. "
        f"The rest is quiet and skipped: it is taken to be like its sample of "
        f"{parts['quiet_sample']['decisions']:,} decisions."
    ]
    for violation in facts["violation_list"][:VIOLATIONS_SHOWN]:
        lines.append(f"{violation['rule']} at {violation['at_secs']} s: {violation['detail']}")
        lines.append(f"    {violation['command']}")
    return "\n".join(lines)


def _parts(tally: Tally) -> tuple[Part, Part, Part]:
    return tally.windows, tally.settling, tally.quiet


def _told(part: Part) -> bool:
    """Whether every question had an answer or a reason."""
    return part.decisions == part.usable + sum(part.abstained.values())


def _per(count: float, of: float) -> float:
    return count / of if of else 0.0


def _of_rung(rung: Rung) -> Callable[[Part], float]:
    return lambda part: _per(part.answered[rung], part.decisions)


def _of_all(tally: Tally, what: str, of: str) -> float:
    """A ratio of two sums over all time, skipped time included."""
    above = composed(tally, lambda part: _per(getattr(part, what), part.decisions))
    below = composed(tally, lambda part: _per(getattr(part, of), part.decisions))
    return _per(above, below)


def _share_below(secs: float, part: Part) -> float:
    return part.latency.share_below(secs)


def _all_times(tally: Tally, share: float) -> float | None:
    """Quantile over all time: the quiet sample stands for what was skipped."""
    low, high = 0.01, 600.0
    if not tally.quiet.latency.number and not tally.windows.latency.number:
        return None
    while high / low > 1.005:
        middle = (low * high) ** 0.5
        if composed(tally, partial(_share_below, middle)) < share:
            low = middle
        else:
            high = middle
    return round(high, 2)


def _found(tally: Tally, *, total: bool) -> dict[str, Any]:
    times = tally.found_total if total else tally.found_partial
    counted = tally.found_total_decisions if total else tally.found_partial_decisions
    ordered = sorted(counted.elements())
    return {
        "number": len(ordered),
        "p50_secs": times.quantile(0.50),
        "p95_secs": times.quantile(0.95),
        "mean_decisions": _per(sum(ordered), len(ordered)),
        "p95_decisions": ordered[int(0.95 * (len(ordered) - 1))] if ordered else None,
    }


def _percent(share: float, digits: int = 4) -> str:
    return f"{100 * share:.{digits}f} %"


def _secs(facts: dict[str, Any], *names: str) -> str:
    return ", ".join(f"{facts[name]:.1f} s" if facts[name] is not None else "-" for name in names)


def _detection(found: dict[str, Any]) -> str:
    if not found["number"]:
        return "none met"
    return (
        f"{found['mean_decisions']:.1f} decisions, p95 {found['p95_decisions']}; "
        f"{found['p50_secs']:.0f} s, p95 {found['p95_secs']:.0f} s (of {found['number']})"
    )
