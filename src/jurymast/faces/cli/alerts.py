"""``alerts``: what is the matter, who is told, and whether telling works."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jurymast.faces.cli.options import DATA_DIR, data_dir_option, json_option

if TYPE_CHECKING:
    from jurymast.app.alerts import AlertState
    from jurymast.app.alerts_config import ContactSection

config_option = click.option(
    "--config", "config_file", type=click.Path(path_type=Path, dir_okay=False), help="TOML file."
)


@click.group()
def alerts() -> None:
    """What is the matter, and whom it is told to.

    \b
    Examples:
      jurymast alerts test --config bot.toml      does telling work?
      jurymast alerts list
      jurymast alerts ack 3f09ac
    """


@alerts.command("list")
@data_dir_option
@json_option
def list_alerts(data_dir: Path | None, as_json: bool) -> None:
    """Open alerts, worst first, and how deliveries to each contact went.

    \b
    Examples:
      jurymast alerts list
      jurymast alerts list --json
    """
    from jurymast.app.alerts import AlertState, read

    facts = alert_facts(read(data_dir or Path(DATA_DIR)) or AlertState())
    click.echo(json.dumps(facts) if as_json else "\n".join(alert_lines(facts)))


@alerts.command("ack")
@click.argument("ids", nargs=-1, required=True, metavar="ID... | all")
@data_dir_option
@json_option
def ack(ids: tuple[str, ...], data_dir: Path | None, as_json: bool) -> None:
    """Say that you have taken alerts on: no more reminders, and nobody else is called. The trouble goes on.

    \b
    Examples:
      jurymast alerts ack 3f09ac
      jurymast alerts ack all
    """
    from jurymast.app.alerts import AlertState, acknowledge, read
    from jurymast.domain.errors import ControlUnwritable

    directory = data_dir or Path(DATA_DIR)
    found = {trouble.id for trouble in (read(directory) or AlertState()).alerts.open}
    wanted = found if ids == ("all",) else set(ids)
    if unknown := sorted(wanted - found):
        raise click.UsageError(f"no open alert has the id {', '.join(unknown)}; see `jurymast alerts list`")
    try:
        acknowledge(directory, wanted)
    except OSError as error:
        raise ControlUnwritable(f"nothing is acknowledged: {error.strerror}") from error
    done = sorted(wanted)
    click.echo(
        json.dumps({"acknowledged": done}) if as_json else f"acknowledged: {', '.join(done) or 'none'}"
    )


@alerts.command("test")
@click.argument("contact", required=False)
@config_option
@json_option
def test(contact: str | None, config_file: Path | None, as_json: bool) -> None:
    """Send a test message to CONTACT, or to each; exit code 1 when one did not arrive.

    \b
    Examples:
      jurymast alerts test --config bot.toml
      jurymast alerts test phone --config bot.toml --json
    """
    from jurymast.faces.cli.loading import load_config

    config = load_config(config_file, data_dir=None, seed=None, weather=None)
    contacts = config.alerts.contacts
    if contact is not None and contact not in contacts:
        raise click.UsageError(f"no contact {contact!r}; known: {', '.join(contacts) or 'none'}")
    chosen = contacts if contact is None else {contact: contacts[contact]}
    results = asyncio.run(_try(chosen))
    if as_json:
        click.echo(
            json.dumps({name: {"sent": not detail, "detail": detail} for name, detail in results.items()})
        )
    elif not results:
        click.echo("nobody to tell: there is no [alerts.contacts.NAME] in the configuration")
    else:
        for name, detail in results.items():
            click.echo(f"{name:<16} {f'FAILED: {detail}' if detail else 'sent'}")
    if any(results.values()):
        sys.exit(1)


async def _try(contacts: dict[str, ContactSection]) -> dict[str, str]:
    """What went wrong by contact, empty where it arrived."""
    from jurymast.app.alert_channels import Undelivered, deliver, letter
    from jurymast.policy.alert_contacts import Message
    from jurymast.policy.alert_signals import Level
    from jurymast.policy.alerts import Change, Notice

    now = datetime.now(UTC)
    text = "this is a test; nothing is the matter"
    notice = Notice(Change.OPENED, "test:test", "test", Level.INFO, text, now, now)

    async def one(name: str, section: ContactSection) -> str:
        try:
            await deliver(section, letter(Message(name, (notice,)), (), str))
        except Undelivered as error:
            return str(error)
        return ""

    told = await asyncio.gather(*(one(*each) for each in contacts.items()))
    return dict(zip(contacts, told, strict=True))


def alert_facts(state: AlertState) -> dict[str, Any]:
    """Open alerts and deliveries, ready for JSON."""
    return {
        "alerts": [
            {
                "id": trouble.id,
                "level": trouble.level.value,
                "cause": trouble.cause,
                "text": trouble.text,
                "since": trouble.since.isoformat(),
                "count": trouble.count,
                "going": trouble.clear_since is not None,
                "acknowledged": trouble.acknowledged_at is not None,
            }
            for trouble in state.alerts.open
        ],
        "contacts": {
            name: asdict(delivery) | {"waiting": len(state.inboxes[name].waiting)}
            for name, delivery in state.deliveries.items()
            if name in state.inboxes
        },
    }


def alert_lines(facts: dict[str, Any]) -> list[str]:
    """The facts for people."""
    lines = [] if facts["alerts"] else ["no open alert"]
    for each in facts["alerts"]:
        notes = [f"since {each['since'][:16]}", *([f"{each['count']} times"] if each["count"] > 1 else [])]
        notes += ["going away"] if each["going"] else []
        notes += ["acknowledged"] if each["acknowledged"] else []
        lines.append(
            f"{each['id']}  {each['level'].upper():<8} {each['cause']}: {each['text']} ({', '.join(notes)})"
        )
    for name, each in facts["contacts"].items():
        failed = f", last one failed: {each['detail']}" if each["detail"] else ""
        lines.append(
            f"{name}: {each['sent']} sent, {each['failed']} failed, {each['waiting']} waiting{failed}"
        )
    return lines
