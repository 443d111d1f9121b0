"""``jurymast drill``: game days on the real program in paper mode, graded. SIMULATED."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jurymast.faces.cli.narration import describe
from jurymast.faces.cli.options import DATA_DIR, data_dir_option, json_option

if TYPE_CHECKING:
    from jurymast.app.drills.running import Outcome

ALL = "all"
FAILED = 1
STORY_LINES_MAX = 40
REPORT = "drill-report.md"


@click.command()
@click.argument("scenario", required=False)
@click.option("--seed", type=click.IntRange(0, 2**31), default=0, show_default=True, help="Of every die.")
@click.option(
    "--report", type=click.Path(path_type=Path, dir_okay=False), help="Write the report here instead."
)
@data_dir_option
@json_option
def drill(scenario: str | None, seed: int, report: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """Play SCENARIO, or all of them: break the bot on purpose and grade what it does. SIMULATED.

    Without SCENARIO it lists what there is. A bot of its own runs in a directory of its own, on virtual time;
    yours and its data are not touched. The report, Markdown, goes to drill-report.md in the data directory.
    Exit code 1 when a day failed.

    \b
    Examples:
      jurymast drill
      jurymast drill everything-down
      jurymast drill all --json
    """
    from jurymast.app.drills.days import DAYS

    if scenario is None:
        width = max(len(day.name) for day in DAYS)
        click.echo("\n".join(f"{day.name:{width}}  {day.story}" for day in DAYS))
        return
    chosen = [day for day in DAYS if scenario in {ALL, day.name}]
    if not chosen:
        raise click.UsageError(f"no drill {scenario!r}; there are {', '.join(day.name for day in DAYS)}")
    outcomes = []
    from jurymast.app.drills.running import play

    for day in chosen:
        outcome = asyncio.run(play(day, seed))
        outcomes.append(outcome)
        if not as_json:
            click.echo(text(outcome))
    path = report or (data_dir or Path(DATA_DIR)) / REPORT
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(markdown(outcomes), encoding="utf-8")
    failed = [outcome.day.name for outcome in outcomes if not outcome.passed]
    if as_json:
        days = [outcome.as_json() for outcome in outcomes]
        click.echo(json.dumps({"simulated": True, "seed": seed, "passed": not failed, "drills": days}))
    else:
        verdict = f"{len(failed)} of {len(outcomes)} failed: {', '.join(failed)}" if failed else "all passed"
        click.echo(f"SIMULATED. {verdict}. Report: {path}")
    if failed:
        sys.exit(FAILED)


def text(outcome: Outcome) -> str:
    """A day in some lines."""
    head = f"{'passed' if outcome.passed else 'FAILED'}  {outcome.day.name}: {outcome.day.story}"
    rows = [
        f"  {'ok  ' if check.passed else 'FAIL'}  {check.what}: {check.measured} (at most {check.limit})"
        for check in outcome.checks
    ]
    return "\n".join([head, *rows])


def markdown(outcomes: list[Outcome]) -> str:
    """The report."""
    passed = sum(outcome.passed for outcome in outcomes)
    lines = [
        "# Game days",
        "",
        "SIMULATED: providers, exchange and time. "
        f"{passed} of {len(outcomes)} passed, seed {outcomes[0].seed}.",
        "",
        "| day | | noticed | safe | back |",
        "|---|---|---|---|---|",
    ]
    for outcome in outcomes:
        found = {check.what: check.measured for check in outcome.checks}
        times = " | ".join(found[what] for what in ("noticed", "safe", "back to normal"))
        lines.append(f"| {outcome.day.name} | {_verdict(outcome)} | {times} |")
    for outcome in outcomes:
        lines += ["", f"## {outcome.day.name}: {_verdict(outcome)}", "", outcome.day.story, ""]
        lines += ["| | measured | at most | |", "|---|---|---|---|"]
        lines += [
            f"| {check.what} | {check.measured} | {check.limit} | {'ok' if check.passed else '**failed**'} |"
            for check in outcome.checks
        ]
        lines += ["", "```", *_story(outcome), "```"]
    return "\n".join(lines) + "\n"


def _verdict(outcome: Outcome) -> str:
    return "passed" if outcome.passed else "**FAILED**"


def _story(outcome: Outcome) -> list[str]:
    """What happened from the trouble on, but for single questions and orders."""
    seen = outcome.seen
    told = []
    for at, event in seen.events:
        line = describe(event)
        if at < seen.trouble_at or line is None or line[0] in {"quiet", "plain"} or event.ticker is not None:
            continue
        told.append(f"{at - seen.trouble_at:7.0f} s  {line[1]}")
    if len(told) > STORY_LINES_MAX:
        left_out = len(told) - STORY_LINES_MAX
        half = STORY_LINES_MAX // 2
        told = [*told[:half], f"          ... {left_out} lines left out", *told[-half:]]
    over = f"          (the trouble lasted {seen.over_at - seen.trouble_at:.0f} s)"
    return [*told, over]
