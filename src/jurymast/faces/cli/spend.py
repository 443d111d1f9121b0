"""``spend``: what AI money went for, and what is left of each budget."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click

from jurymast.faces.cli.options import DATA_DIR, data_dir_option, json_option

BY: Final = ("provider", "model", "market", "rung", "purpose", "client", "day")
UNITS: Final = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def _moment(_context: click.Context, _option: click.Parameter, text: str | None) -> datetime | None:
    """A date, a time, or an age, as a moment."""
    if text is None:
        return None
    count, unit = text[:-1], UNITS.get(text[-1:])
    try:
        if unit is not None and count.isdigit():
            return datetime.now(UTC) - int(count) * unit
        at = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        examples = "no date (2026-11-29), time (2026-11-29T12:00Z) or age (90m, 24h, 7d)"
        raise click.BadParameter(f"{text!r} is {examples}") from error
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


@click.command()
@click.option("--since", callback=_moment, help="Date or time (UTC), or age: 90m, 24h, 7d.  [default: today]")
@click.option("--by", type=click.Choice(BY), default="provider", show_default=True)
@click.option(
    "--budget-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the budget is kept, if not in the data directory.",
)
@data_dir_option
@json_option
def spend(
    since: datetime | None, by: str, budget_file: Path | None, data_dir: Path | None, as_json: bool
) -> None:
    """What was spent on models, for what, and what is left of each budget; works on a dead bot too.

    \b
    Examples:
      jurymast spend
      jurymast spend --since 7d --by day
      jurymast spend --since 2026-11-01 --by market --json

    KNOWN is what vendors have told, ESTIMATED our own figure where they have not, UNCERTAIN what may be
    billed beyond that at most.
    """
    directory = data_dir or Path(DATA_DIR)
    now = datetime.now(UTC)
    since = since or now.replace(hour=0, minute=0, second=0, microsecond=0)
    facts = spend_facts(directory, budget_file or directory / "budget.db", since, now, by)
    click.echo(json.dumps(facts) if as_json else spend_text(facts))


def spend_facts(
    directory: Path, budget_file: Path, since: datetime, now: datetime, by: str
) -> dict[str, Any]:
    """Everything, ready for JSON. Money in micro-dollars."""
    from jurymast.domain.errors import JournalError
    from jurymast.domain.events import RunStarted
    from jurymast.journal.budget_file import read_accounts
    from jurymast.journal.queries import JournalReader
    from jurymast.policy.spending import KINDS, Total, spending

    def told(total: Total) -> dict[str, int]:
        return {
            "requests": total.requests,
            "cost_micros": total.cost,
            "known_micros": total.known,
            "estimated_micros": total.estimated,
            "uncertain_micros": total.uncertain,
        }

    with JournalReader(directory / "journal.db") as journal:
        started = journal.last(RunStarted)
        rows = journal.scan(KINDS, after_seq=journal.seq_before(since))
        folded = spending((row.event for row in rows if row.event.at >= since), by)
    try:
        accounts, trouble = read_accounts(budget_file, now), ""
    except JournalError as error:
        accounts, trouble = [], str(error)
    return {
        "since": since.isoformat(),
        "simulated": list(started.simulated) if started else [],
        "total": told(folded.total),
        "by": by,
        "groups": {name: told(total) for name, total in sorted(folded.groups.items())},
        "purposes": {name: told(total) for name, total in sorted(folded.purposes.items())},
        "decisions": folded.decisions,
        "used_decisions": folded.used,
        "per_decision_micros": folded.per_decision,
        "per_used_decision_micros": folded.per_used_decision,
        "budgets": [
            {
                "window": account.cap.window.value,
                "since": account.start.isoformat(),
                "scope": account.cap.scope.value,
                "of": account.name,
                "hard": account.cap.hard,
                "limit_micros": account.limit,
                "spent_micros": account.spent,
                "uncertain_micros": account.uncertain,
                "held_micros": account.held,
                "left_micros": account.left,
            }
            for account in accounts
        ],
        "budget_trouble": trouble,
    }


def spend_text(facts: dict[str, Any]) -> str:
    """The facts for people, in dollars."""
    head = f"{'':24} {'requests':>8} {'known':>12} {'estimated':>12} {'uncertain':>12}"
    marked = f"   SIMULATED {', '.join(facts['simulated'])}" if facts["simulated"] else ""
    lines = [f"AI money since {facts['since'][:16]} UTC{marked}", head]
    lines += [_row(f"by {facts['by']} {name}", total) for name, total in facts["groups"].items()]
    lines += [_row(f"for {name.replace('_', ' ')}", total) for name, total in facts["purposes"].items()]
    lines.append(_row("in all", facts["total"]))
    for name, count in (("decision", facts["decisions"]), ("used_decision", facts["used_decisions"])):
        each = facts[f"per_{name}_micros"]
        cost = "" if each is None else f", {_usd(each)} each, all told"
        lines.append(f"{name.replace('_', ' ')}s: {count}{cost}")
    lines += ["", f"{'budget':24} {'limit':>12} {'spent':>12} {'uncertain':>12} {'held':>12} {'left':>12}"]
    for row in facts["budgets"]:
        name = f"{row['window']}, {row['of'] or row['scope']}{'' if row['hard'] else ' (soft)'}"
        cells = (row[f"{cell}_micros"] for cell in ("limit", "spent", "uncertain", "held", "left"))
        lines.append(f"{name:24} " + " ".join(f"{_usd(cell):>12}" for cell in cells))
    if facts["budget_trouble"]:
        lines.append(facts["budget_trouble"])
    return "\n".join(lines)


def _row(name: str, total: dict[str, int]) -> str:
    cells = (total[f"{cell}_micros"] for cell in ("known", "estimated", "uncertain"))
    return f"{name:24} {total['requests']:>8} " + " ".join(f"{_usd(cell):>12}" for cell in cells)


def _usd(micros: int) -> str:
    return f"{'-' if micros < 0 else ''}${abs(micros) / 1e6:,.6f}"
