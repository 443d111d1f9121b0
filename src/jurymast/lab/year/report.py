"""What the policies came to, with intervals, for programs and for people. Everything in it is SIMULATED.

Two intervals, both 95 % by bootstrap. Over *seeds*: other luck of paths, forecasts and outages with these
questions. Over *questions*: other questions of the same kind, by whole events of the bundle, the seeds as
they are. Neither knows whether the SIMULATED part is like the world.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Final

from jurymast.domain.money import USD
from jurymast.domain.status import EmergencyMode
from jurymast.lab.year.policies import JURYMAST
from jurymast.lab.year.replay import Lived, Outcome

RESAMPLES: Final = 2_000
TAIL: Final = 0.025
HOUR_SECS: Final = 3_600.0


def interval(values: Sequence[float], *, total: bool = False) -> dict[str, float | None]:
    """Mean of some values, or their sum, with its 95 % interval by bootstrap; one value has none."""
    random = Random("bootstrap")
    n = len(values)
    of = 1 if total else n
    mean = sum(values) / of if n else 0.0
    if n < 2:
        return {"mean": mean, "low": None, "high": None}
    drawn = sorted(sum(random.choices(values, k=n)) / of for _ in range(RESAMPLES))
    return {"mean": mean, "low": drawn[int(TAIL * RESAMPLES)], "high": drawn[int((1 - TAIL) * RESAMPLES)]}


def figures(lives: Sequence[Lived]) -> dict[str, Any]:
    """Everything measured, ready for JSON: dollars, shares of one, hours. Profit and counts are a year's."""
    scenario = lives[0].scenario
    years = scenario.years
    by_name = {name: [life.outcomes[name] for life in lives] for name in lives[0].outcomes}
    ours = by_name[JURYMAST.name]
    return {
        "simulated": True,
        "seeds": len(lives),
        "seed": scenario.seed,
        "years": years,
        "outages": scenario.outages,
        "longer": scenario.longer,
        "hours_in_mode": {
            str(mode): sum(life.secs_in.get(mode, 0.0) for life in lives) / HOUR_SECS / years / len(lives)
            for mode in EmergencyMode
        },
        "times_blind": sum(life.blind for life in lives) / years / len(lives),
        "violations": sum(life.violations for life in lives),
        "imbalance_micros": max(each.imbalance for life in lives for each in life.outcomes.values()),
        "policies": {name: _policy(theirs, years) for name, theirs in by_name.items()},
        "jurymast_ahead_of": {
            name: _ahead(ours, theirs, years) for name, theirs in by_name.items() if theirs is not ours
        },
    }


def _policy(outcomes: Sequence[Outcome], years: float) -> dict[str, Any]:
    pnl = [each.pnl / USD / years for each in outcomes]
    drawdowns = [_drawdown(each) for each in outcomes]
    days = [_worst_day(each) for each in outcomes]
    return {
        "pnl_usd": interval(pnl),
        "return": interval([each.pnl / each.start / years for each in outcomes]),
        "lowest_pnl_usd": min(pnl),
        "highest_pnl_usd": max(pnl),
        "seeds_at_a_loss": sum(each < 0 for each in pnl),
        "largest_drawdown": {"mean": sum(drawdowns) / len(drawdowns), "worst": max(drawdowns)},
        "worst_day": {"mean": sum(days) / len(days), "worst": min(days)},
        "entries": sum(sum(each.earned.entries.values()) for each in outcomes) / len(outcomes) / years,
        "exits": sum(each.earned.exits for each in outcomes) / len(outcomes) / years,
        "settled": sum(each.earned.settled for each in outcomes) / len(outcomes) / years,
        "by_mode": {
            str(mode): {
                "pnl_usd": interval([each.earned.by_mode[mode] / USD / years for each in outcomes]),
                "entries": sum(each.earned.entries[mode] for each in outcomes) / len(outcomes) / years,
            }
            for mode in EmergencyMode
        },
    }


def _ahead(ours: Sequence[Outcome], theirs: Sequence[Outcome], years: float) -> dict[str, Any]:
    paired = list(zip(ours, theirs, strict=True))
    ahead = [(our.pnl - their.pnl) / USD / years for our, their in paired]
    by_event: Counter[str] = Counter()
    for our, their in paired:
        by_event.update(our.earned.by_event)
        by_event.subtract(their.earned.by_event)
    of_events = [by_event[event] / USD / years / len(paired) for event in sorted(by_event)]
    return {
        "pnl_usd": interval(ahead),
        "over_questions": interval(of_events, total=True),
        "seeds_ahead": sum(each > 0 for each in ahead),
        "seeds_behind": sum(each < 0 for each in ahead),
    }


def _drawdown(outcome: Outcome) -> float:
    """The largest fall from a peak of the midnights, as a share of the peak."""
    peak, largest = outcome.start, 0.0
    for equity in outcome.equities:
        peak = max(peak, equity)
        largest = max(largest, (peak - equity) / peak)
    return largest


def _worst_day(outcome: Outcome) -> float:
    """The smallest change from one midnight to the next, as a share of the first."""
    pairs = zip([outcome.start, *outcome.equities], outcome.equities, strict=False)
    return min((after / before - 1.0 for before, after in pairs if before > 0), default=0.0)


def table(facts: Mapping[str, Any]) -> str:
    """The same for a person."""
    policies, modes = facts["policies"], facts["hours_in_mode"]
    hours = ", ".join(f"{mode} {held:.1f} h" for mode, held in modes.items() if held and mode != "normal")
    lines = [
        f"A year with outages, SIMULATED: {facts['seeds']} seeds of {facts['years']:g} years from seed "
        f"{facts['seed']},",
        f"outages {facts['outages']} times as often and {facts['longer']:g} times as long as recorded.",
        f"In a year {hours or 'no mode but normal'}; questions stopped {facts['times_blind']:.0f} times.",
        "",
        f"{'$ a year on $10,000':<24}{'profit':>9}{'95 % over seeds':>20}{'drawdown':>10}{'worst day':>11}"
        f"{'entries':>9}{'lost in':>9}",
    ]
    for name, its in policies.items():
        lines.append(
            f"{name:<24}{its['pnl_usd']['mean']:>+9,.0f}{_range(its['pnl_usd']):>20}"
            f"{its['largest_drawdown']['mean']:>10.1%}{its['worst_day']['mean']:>11.1%}"
            f"{its['entries']:>9,.0f}{its['seeds_at_a_loss']:>9}"
        )
    lines += ["", "Profit by the mode in which a position was opened (entries):"]
    shown = [mode for mode in modes if any(its["by_mode"][mode]["entries"] for its in policies.values())]
    lines.append(f"{'':<24}" + "".join(f"{mode:>22}" for mode in shown))
    for name, its in policies.items():
        cells = [its["by_mode"][mode] for mode in shown]
        texts = [f"{cell['pnl_usd']['mean']:+,.0f} ({cell['entries']:,.0f})" for cell in cells]
        lines.append(f"{name:<24}" + "".join(f"{text:>22}" for text in texts))
    lines += [
        "",
        f"{'jurymast is ahead of':<24}{'by':>9}{'over seeds':>20}{'over questions':>20}{'in seeds':>12}",
    ]
    for name, ahead in facts["jurymast_ahead_of"].items():
        lines.append(
            f"  {name:<22}{ahead['pnl_usd']['mean']:>+9,.0f}{_range(ahead['pnl_usd']):>20}"
            f"{_range(ahead['over_questions']):>20}{ahead['seeds_ahead']:>6} of {facts['seeds']}"
        )
    if facts["violations"]:
        lines.append(f"The failover core broke {facts['violations']} rules of the simulator: a defect.")
    return "\n".join(lines)


def _range(of: Mapping[str, float | None]) -> str:
    low, high = of["low"], of["high"]
    return "one value" if low is None or high is None else f"{low:+,.0f} .. {high:+,.0f}"
