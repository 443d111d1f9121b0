"""What the policies came to, with intervals, for programs and for people.

Intervals are 95 % by bootstrap over whole events, the seeds as they are: other questions of the same kind.
They do not know whether the SIMULATED part is like the world.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from jurymast.domain.money import USD
from jurymast.domain.probability import brier, clamp
from jurymast.exchange.questions import Question
from jurymast.lab.score.models import CHAIN, ask
from jurymast.lab.score.policies import WEIGHTED, Result, fold_of, learn, pairs_of, results_of

BINS: Final = 10
RESAMPLES: Final = 1_000
TAIL: Final = 0.025
MEASURES: Final = ("brier", "log_loss", "profit_usd")


@dataclass(slots=True)
class Bin:
    """Of a reliability table: how many forecasts, their mean, and how many came true."""

    count: int = 0
    said: float = 0.0
    came: int = 0


@dataclass(slots=True)
class Tally:
    """One policy over every question and seed. Sums by event: each measure, and how many questions."""

    by_event: dict[str, list[float]] = field(default_factory=dict)
    bins: list[Bin] = field(default_factory=lambda: [Bin() for _ in range(BINS)])
    cost: int = 0
    staked: int = 0
    trades: int = 0
    count: int = 0

    def add(self, event: str, yes: bool, result: Result) -> None:
        sums = self.by_event.setdefault(event, [0.0] * (len(MEASURES) + 1))
        for place, value in enumerate((*losses(result.probability, yes), result.profit / USD, 1.0)):
            sums[place] += value
        place = min(int(result.probability * BINS), BINS - 1)
        into = self.bins[place]
        into.count, into.said, into.came = into.count + 1, into.said + result.probability, into.came + yes
        self.cost, self.staked = self.cost + result.cost, self.staked + result.staked
        self.trades, self.count = self.trades + (result.staked > 0), self.count + 1

    @property
    def calibration_error(self) -> float:
        """ECE: how far forecasts are from what came, by bins of a tenth, weighted by their counts."""
        return sum(abs(each.said - each.came) for each in self.bins) / self.count if self.count else 0.0


def losses(probability: float, yes: bool) -> tuple[float, float]:
    """Brier score and log loss of a probability of YES; log loss within 1 % of certainty."""
    bounded = clamp(probability)
    return brier(probability, yes), -math.log(bounded if yes else 1.0 - bounded)


def play(
    questions: Sequence[Question], seeds: Iterable[int], out: float
) -> tuple[dict[str, Tally], dict[str, tuple[Tally, Tally]]]:
    """Every policy over every question and seed; naive beside weighted failover by case."""
    tallies: dict[str, Tally] = {}
    cases: dict[str, tuple[Tally, Tally]] = {}
    for seed in seeds:
        asked = ask(questions, seed)
        learned = learn(asked)
        for each in asked:
            event = each.question.event_ticker
            theirs = learned[fold_of(event)]
            for name, result in results_of(each, theirs, seed, out).items():
                tallies.setdefault(name, Tally()).add(event, each.yes, result)
            for pair in pairs_of(each, theirs, seed, out):
                naive, weighted = cases.setdefault(pair.case, (Tally(), Tally()))
                naive.add(event, each.yes, pair.naive)
                weighted.add(event, each.yes, pair.weighted)
    return tallies, dict(sorted(cases.items(), key=lambda case: case[0].startswith("only")))


class Resampled:
    """Draws whole events with replacement: the same draws for everything that is compared."""

    def __init__(self, events: Sequence[str]) -> None:
        random = Random("bootstrap")
        self._events = list(events)
        self._draws = [Counter(random.choices(self._events, k=len(events))) for _ in range(RESAMPLES)]

    def interval(
        self, sums: Mapping[str, Sequence[float]], place: int, *, total: float = 0.0
    ) -> dict[str, Any]:
        """Mean of a measure over questions with its 95 % interval; over ``total`` seeds its sum, if given."""

        def value(weights: Mapping[str, int]) -> float | None:
            found = [(weights[event], row) for event, row in sums.items() if weights.get(event)]
            count = total or sum(weight * row[-1] for weight, row in found)
            return sum(weight * row[place] for weight, row in found) / count if count else None

        mean = value(dict.fromkeys(self._events, 1))
        drawn = sorted(each for each in map(value, self._draws) if each is not None)
        if mean is None or len(self._events) < 2 or not drawn:
            return {"mean": mean, "low": None, "high": None}
        low, high = drawn[int(TAIL * len(drawn))], drawn[int((1 - TAIL) * len(drawn))]
        return {"mean": mean, "low": low, "high": high}


def figures(questions: Sequence[Question], *, seed: int, seeds: int, out: float) -> dict[str, Any]:
    """Everything measured, ready for JSON. Money in dollars; profit is a seed's, of all questions."""
    tallies, cases = play(questions, range(seed, seed + seeds), out)
    resampled = Resampled(sorted({question.event_ticker for question in questions}))
    return {
        "simulated": True,
        "questions": len(questions),
        "events": len({question.event_ticker for question in questions}),
        "seed": seed,
        "seeds": seeds,
        "out": out,
        "chain": [str(route) for route in CHAIN],
        "policies": {name: _policy(tally, resampled, seeds) for name, tally in tallies.items()},
        "naive_less_weighted": {
            case: _ahead(naive, weighted, resampled, seeds) for case, (naive, weighted) in cases.items()
        },
    }


def _policy(tally: Tally, resampled: Resampled, seeds: int) -> dict[str, Any]:
    return {
        "brier": resampled.interval(tally.by_event, 0),
        "log_loss": resampled.interval(tally.by_event, 1),
        "ece": tally.calibration_error,
        "profit_usd": resampled.interval(tally.by_event, 2, total=seeds),
        "staked_usd": tally.staked / USD / seeds,
        "trades": tally.trades / seeds,
        "cost_usd_per_decision": tally.cost / USD / tally.count,
        "reliability": [
            {"said": each.said / each.count, "came": each.came / each.count, "count": each.count}
            for each in tally.bins
            if each.count
        ],
    }


def _ahead(naive: Tally, weighted: Tally, resampled: Resampled, seeds: int) -> dict[str, Any]:
    """By how much the naive one loses more: losses naive less weighted, profit weighted less naive."""
    differences = {
        event: [
            row[0] - weighted.by_event[event][0],
            row[1] - weighted.by_event[event][1],
            weighted.by_event[event][2] - row[2],
            row[3],
        ]
        for event, row in naive.by_event.items()
    }
    return {
        "share": naive.count / seeds,
        "brier": resampled.interval(differences, 0),
        "log_loss": resampled.interval(differences, 1),
        "profit_usd": resampled.interval(differences, 2, total=seeds),
        "staked_usd": {"naive": naive.staked / USD / seeds, "weighted": weighted.staked / USD / seeds},
    }


def table(facts: Mapping[str, Any]) -> str:
    """The same for a person."""
    lines = [
        f"{facts['questions']} questions of {facts['events']} events: real prices and outcomes, models and "
        "books SIMULATED.",
        f"{facts['seeds']} seeds from {facts['seed']}; each model out for {facts['out']:.0%} of the "
        "questions; 95 % intervals over events.",
        "",
        _row("policy", "Brier", "log loss", "profit $", "ECE  trades  staked $  $/decision"),
    ]
    for name, its in facts["policies"].items():
        rest = (
            f"{its['ece']:.3f}{its['trades']:>7.0f}{its['staked_usd']:>10,.0f}"
            f"{its['cost_usd_per_decision']:>12.4f}"
        )
        lines.append(_row(name, *_ranges(its, ""), rest))
    lines += [
        "",
        "What naive failover loses more than weighted failover; above 0 weighted is ahead:",
        _row("case", "Brier", "log loss", "profit $", "staked $ naive, weighted"),
    ]
    for case, its in facts["naive_less_weighted"].items():
        staked = f"{its['staked_usd']['naive']:>11,.0f}{its['staked_usd']['weighted']:>10,.0f}"
        lines.append(_row(f"{case} ({its['share']:.0f})", *_ranges(its, "+"), staked))
    lines += ["", f"Reliability of {WEIGHTED}: said, came, how many"]
    for row in facts["policies"][WEIGHTED]["reliability"]:
        bar = "#" * round(40 * row["came"])
        lines.append(f"  {row['said']:>5.0%} {row['came']:>5.0%} {row['count']:>7,}  {bar}")
    return "\n".join(lines)


def _ranges(its: Mapping[str, Any], sign: str) -> tuple[str, str, str]:
    return (
        ranged(its["brier"], f"{sign}.3f"),
        ranged(its["log_loss"], f"{sign}.3f"),
        ranged(its["profit_usd"], "+,.0f"),
    )


def _row(name: str, brier_text: str, log_text: str, profit: str, rest: str) -> str:
    return f"{name:<34}{brier_text:>24}{log_text:>24}{profit:>26}  {rest}"


def ranged(of: Mapping[str, float | None], form: str) -> str:
    """A mean with its interval; one event has none."""
    mean, low, high = of["mean"], of["low"], of["high"]
    if mean is None:
        return "-"
    return f"{mean:{form}}" if low is None or high is None else f"{mean:{form}} ({low:{form}}..{high:{form}})"
