"""``jurymast rollout``: the move from another bot's AI layer, by phases.

The phase stands in ``rollout.json`` of the data directory. The host looks at it before each decision, so a
step counts from the next one on, and no host has to run for it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jurymast.domain.rollout import Phase
from jurymast.faces.cli.options import data_dir_option, json_option

if TYPE_CHECKING:
    from jurymast.app.config import Config
    from jurymast.app.rollout import RolloutFile

PHASE = click.Choice([phase.value for phase in Phase])
config_option = click.option(
    "--config", "config_file", type=click.Path(path_type=Path, dir_okay=False), help="TOML file."
)


@click.group()
def rollout() -> None:
    """Take over from another bot's AI layer: shadow, gradual, tuned, full.

    \b
    Examples:
      jurymast rollout back --to shadow --reason "new here"     begin: theirs decides, ours beside it
      jurymast rollout status
      jurymast rollout advance
    """


@rollout.command("status")
@config_option
@data_dir_option
@json_option
def status(config_file: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """The phase, since when and why, and what the next step still needs.

    \b
    Example:
      jurymast rollout status --json
    """
    facts = _facts(*_open(config_file, data_dir))
    if as_json:
        click.echo(json.dumps(facts))
        return
    share = f", ours in {facts['share_pct']} % of the markets" if facts["phase"] == Phase.GRADUAL else ""
    by = "by hand" if facts["by_hand"] else "BY RULE"
    click.echo(
        f"phase      {facts['phase'].upper()}{share}, {facts['since'] or 'always'} ({by}: {facts['reason']})"
    )
    click.echo(f"compared   {facts['compared']} markets in this phase")
    for line in facts["missing"] or ["nothing: `jurymast rollout advance`"]:
        click.echo(f"missing    {line}")
    for step in facts["steps"]:
        click.echo(f"step       {step['at'][:19]}Z {step['old']} -> {step['new']}: {step['reason']}")


@rollout.command("report")
@config_option
@data_dir_option
@json_option
def report(config_file: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """Agreement, quality, latency and cost of the two since the phase began.

    Quality here is what the market thought later: each bet marked to the last price seen of its market.

    \b
    Example:
      jurymast rollout report
    """
    from jurymast.app import rollout as rollouts

    config, file = _open(config_file, data_dir)
    rows = _compared(config, file)
    facts = {"phase": file.state().phase.value, **rollouts.report(rows)}
    click.echo(json.dumps(facts) if as_json else _report_text(facts))


@rollout.command("advance")
@click.option("--share", type=click.IntRange(1, 100), help="Stay in GRADUAL, with this share of the markets.")
@click.option("--reason", default="", help="For the record.")
@click.option("--force", is_flag=True, help="Also without the evidence; needs --reason.")
@config_option
@data_dir_option
def advance(
    share: int | None, reason: str, force: bool, config_file: Path | None, data_dir: Path | None
) -> None:
    """One phase on, on evidence: refused while something is missing, unless forced with a reason.

    \b
    Examples:
      jurymast rollout advance --reason "read the report"
      jurymast rollout advance --share 50
      jurymast rollout advance --force --reason "paper account"
    """
    from jurymast.policy import rollout as rules

    if force and not reason:
        raise click.UsageError(
            "--force goes on without the evidence: it needs --reason. Nothing was changed."
        )
    config, file = _open(config_file, data_dir)
    state, now = file.state(), _now()
    if state.phase is Phase.FULL:
        raise click.UsageError("the move is complete: there is no further phase. Nothing was changed.")
    missing = rules.lacking(state, rules.tally(_compared(config, file)), config.rollout.limits, now)
    if missing and not force:
        told = "; ".join(missing)
        raise click.UsageError(
            f"not yet: {told}. Nothing was changed; --force with --reason goes on all the same."
        )
    why = reason or "on evidence"
    if share is None:
        after = file.change(
            lambda old: rules.stepped_on(old, share_pct=config.rollout.share_pct, reason=why, now=now)
        )
    elif state.phase is Phase.GRADUAL and share > state.share_pct:
        after = file.change(lambda old: replace(old, share_pct=share, reason=why, since=now, by_hand=True))
    else:
        raise click.UsageError("--share is a larger share of GRADUAL: nothing was changed")
    _say(after.phase, after.share_pct, why)


@rollout.command("back")
@click.option("--to", "phase", type=PHASE, help="Further back than one phase.")
@click.option("--reason", default="", help="For the record.")
@config_option
@data_dir_option
def back(phase: str | None, reason: str, config_file: Path | None, data_dir: Path | None) -> None:
    """One phase back, or to the one named; needs no evidence. It stays there until somebody goes on.

    \b
    Examples:
      jurymast rollout back
      jurymast rollout back --to shadow --reason "odd answers"
    """
    from jurymast.policy import rollout as rules

    config, file = _open(config_file, data_dir)
    why = reason or "back by hand"
    wanted = None if phase is None else Phase(phase)
    try:
        after = file.change(
            lambda old: rules.stepped_back(
                old, to=wanted, reason=why, now=_now(), by_hand=True, share_pct=config.rollout.share_pct
            )
        )
    except ValueError as error:
        raise click.UsageError(f"{error}. Nothing was changed.") from None
    _say(after.phase, after.share_pct, why)


def _open(config_file: Path | None, data_dir: Path | None) -> tuple[Config, RolloutFile]:
    from jurymast.app.rollout import RolloutFile
    from jurymast.faces.cli.loading import load_config

    config = load_config(config_file, data_dir=data_dir, seed=None, weather=None)
    return config, RolloutFile(config.data_dir)


def _compared(config: Config, file: RolloutFile) -> list[Any]:
    from jurymast.app.rollout import compared
    from jurymast.domain.errors import JournalError

    try:
        return list(compared(config.data_dir, file.state(), config.rollout.window))
    except JournalError:
        return []


def _facts(config: Config, file: RolloutFile) -> dict[str, Any]:
    from dataclasses import asdict

    from jurymast.app.rollout import changes
    from jurymast.policy import rollout as rules

    state, rows = file.state(), _compared(config, file)
    return {
        "phase": state.phase.value,
        "share_pct": state.share_pct,
        "since": None if state.since is None else state.since.isoformat(),
        "reason": state.reason,
        "by_hand": state.by_hand,
        "compared": len(rows),
        "missing": list(rules.lacking(state, rules.tally(rows), config.rollout.limits, _now())),
        "steps": [asdict(step) for step in changes(config.data_dir)],
    }


def _report_text(facts: dict[str, Any]) -> str:
    def pair(name: str, form: str, unit: str = "") -> str:
        values = (facts[f"{who}_{name}"] for who in ("ours", "theirs"))
        ours, theirs = ("unknown" if value is None else f"{value:{form}}{unit}" for value in values)
        return f"ours {ours}, theirs {theirs}"

    agreement = "unknown" if facts["agreement"] is None else f"{facts['agreement']:.0%}"
    return "\n".join(
        [
            f"phase         {facts['phase'].upper()}, {facts['count']} markets compared",
            f"agreement     {agreement} of {facts['both']} answered by both, {facts['opposite']} opposite",
            f"no answer     {pair('errors', 'd')}",
            f"latency p95   {pair('secs', '.1f', ' s')}",
            f"cost, mean    {pair('cost', '.4f', ' USD')}",
            f"bets, marked  {pair('bets_marked', 'd')}",
            f"a contract    {pair('mark_cents', '+.1f', 'c')}, before costs",
        ]
    )


def _say(phase: Phase, share_pct: int, why: str) -> None:
    share = f", ours decides {share_pct} % of the markets" if phase is Phase.GRADUAL else ""
    click.echo(f"phase {phase.upper()}{share} from the next decision on ({why})")


def _now() -> datetime:
    return datetime.now(UTC)
