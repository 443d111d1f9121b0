"""What the bot's own record says of its models: real decisions, scored when their markets resolved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jurymast.domain.decision import ForecastRecord, Weight
from jurymast.domain.events import CanaryFinished, DecisionMade, ForecastNoted, ForecastScored, OpinionStopped
from jurymast.domain.money import USD
from jurymast.domain.probability import brier
from jurymast.journal.queries import JournalReader
from jurymast.policy.records import ForecastRecords
from jurymast.policy.skill import Estimate, Outcome, brier_gain, log_gain, per_event, shrunk_skill


def scored(path: Path) -> dict[str, Any]:
    """Every model of a journal, ready for JSON. Gains are over the market's price: above 0 it was beaten."""
    records, scored_of = ForecastRecords(), dict[str, dict[str, tuple[ForecastRecord, bool]]]()
    cost, decisions, last = 0, 0, dict[str, ForecastRecord]()
    with JournalReader(path) as reader:
        for row in reader.scan([ForecastNoted, ForecastScored, OpinionStopped, CanaryFinished, DecisionMade]):
            match event := row.event:
                case DecisionMade(decision=decision):
                    cost, decisions = cost + decision.cost, decisions + 1
                    continue
                case ForecastScored(record=record, yes=yes) if yes is not None:
                    scored_of.setdefault(record.model, {}).setdefault(record.ticker, (record, yes))
                    last[record.model] = record
                case CanaryFinished(changed=True, served=model):
                    scored_of.pop(model, None)  # it answers otherwise now: its record begins anew
                case _:
                    pass
            records.apply(event)
    return {
        "decisions": decisions,
        "cost_usd_per_decision": cost / USD / decisions if decisions else None,
        "pending": sum(map(len, records.pending.values())),
        "models": {
            model: _model(records, last[model], list(theirs.values()))
            for model, theirs in sorted(scored_of.items())
        },
    }


def _model(
    records: ForecastRecords, last: ForecastRecord, theirs: list[tuple[ForecastRecord, bool]]
) -> dict[str, Any]:
    outcomes = records.outcomes(last.model)
    said = [
        Outcome(outcome.event, record.calibrated, outcome.market, outcome.yes, record.weight)
        for (record, _), outcome in zip(theirs[-len(outcomes) :], outcomes, strict=True)
    ]
    gains = per_event(said, (log_gain(each, each.weight) for each in said))
    brier_gains = per_event(said, (brier_gain(each, each.weight) for each in said)).values()
    weight: Weight = records.weight(last.model, last.tier)
    skill: Estimate = shrunk_skill(list(gains.values()))
    count = len(theirs)
    return {
        "simulated": last.simulated,
        "tier": str(last.tier),
        "forecasts": count,
        "events": len(gains),
        "brier": sum(brier(record.probability_pct / 100, yes) for record, yes in theirs) / count,
        "market_brier": sum(brier(each.market, each.yes) for each in outcomes) / len(outcomes),
        "blend_brier": sum(brier(each.blended(each.weight), each.yes) for each in said) / len(said),
        "brier_gain": sum(brier_gains) / len(gains),
        "log_gain": {"mean": skill.mean, "sd": skill.sd},
        "weight": {"mean": weight.mean, "sd": weight.sd, "events": weight.events},
        "harm": records.harm(last.model),
        "stopped": weight.stopped,
    }


def table(facts: Mapping[str, Any]) -> str:
    """The same for a person."""
    price = facts["cost_usd_per_decision"]
    told = "no decision yet" if price is None else f"{facts['decisions']} decisions at ${price:.4f}"
    lines = [f"{told}; {facts['pending']} forecasts wait for their markets"]
    if not facts["models"]:
        return "\n".join([*lines, "no market with a forecast has resolved yet"])
    lines += [
        f"{'model':<28}{'forecasts':>10}{'events':>8}{'Brier':>8}{'market':>8}{'blend':>8}{'log gain':>18}"
        f"{'weight':>14}{'harm':>7}"
    ]
    for model, its in facts["models"].items():
        marked = " SIMULATED" if its["simulated"] else ""
        gain, weight = its["log_gain"], its["weight"]
        spread = "" if math.isinf(gain["sd"]) else f"+-{gain['sd']:.4f}"
        lines.append(
            f"{model:<28}{its['forecasts']:>10}{its['events']:>8}{its['brier']:>8.3f}{its['market_brier']:>8.3f}"
            f"{its['blend_brier']:>8.3f}{gain['mean']:>+10.4f}{spread:>8}"
            f"{weight['mean']:>8.2f}+-{weight['sd']:.2f}{its['harm']:>7.1f}{marked}"
            + (f"  STOPPED: {its['stopped']}" if its["stopped"] else "")
        )
    return "\n".join(lines)
