"""How a message gets to a contact: a webhook, a command, or whatever Apprise knows.

Every way is bounded in time and raises Undelivered, with a detail that holds no address: addresses are
secrets. Apprise is an extra, and works in a process of its own (:mod:`jurymast.app.alert_apprise`).
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, Final

import aiohttp
import msgspec

from jurymast.app import alert_apprise
from jurymast.app.alerts_config import ContactSection
from jurymast.policy.alert_contacts import Message
from jurymast.policy.alert_signals import Level
from jurymast.policy.alerts import Change, Notice

WEBHOOK_SECS: Final = 10.0
COMMAND_SECS: Final = 30.0
APPRISE_SECS: Final = 30.0
LINES_MAX: Final = 25
"""Troubles written out in one message; the others are counted."""
MISSING: Final = "this address needs Apprise: pip install 'jurymast[alerts]'"

_KINDS: Final = {Level.INFO: "info", Level.WARNING: "warning", Level.CRITICAL: "failure"}
_APPRISE_CODES: Final = {
    alert_apprise.NOT_SENT: "Apprise could not deliver it",
    alert_apprise.NOT_UNDERSTOOD: "Apprise does not understand the address",
    alert_apprise.NOT_INSTALLED: MISSING,
}


class Undelivered(Exception):
    """The contact was not told, as far as is known."""


@dataclass(frozen=True, slots=True)
class Letter:
    """What is delivered. ``good``: everything in it is over."""

    title: str
    text: str
    level: Level
    good: bool
    facts: dict[str, Any]

    @property
    def json(self) -> bytes:
        """For webhooks and commands. Slack and Mattermost show ``text``, Discord ``content``."""
        said = f"{self.title}\n{self.text}"
        head = {"title": self.title, "text": said, "content": said[:2_000], "level": self.level.value}
        return msgspec.json.encode(head | self.facts)


def letter(message: Message, simulated: tuple[str, ...], redact: Callable[[str], str]) -> Letter:
    """A message in words, without secrets. What is not real is said."""
    notices = tuple(replace(notice, text=redact(notice.text)) for notice in message.notices)
    first, *others = notices
    mark = "SIMULATED " if simulated else ""
    more = f" (+{len(others)} more)" if others else ""
    lines = [_line(notice) for notice in notices[:LINES_MAX]]
    if len(notices) > LINES_MAX:
        lines.append(f"and {len(notices) - LINES_MAX} more: jurymast alerts list")
    return Letter(
        title=f"{mark}jurymast {_headline(first)}{more}",
        text="\n".join(lines),
        level=message.level,
        good=all(notice.change is Change.RESOLVED for notice in notices),
        facts={"simulated": simulated, "notices": notices[: 4 * LINES_MAX]},
    )


def _headline(notice: Notice) -> str:
    word = notice.level.upper() if notice.change is not Change.RESOLVED else "resolved"
    return f"{word}: {notice.text}"[:150]


def _line(notice: Notice) -> str:
    times = f", {notice.count} times" if notice.count > 1 else ""
    return (
        f"[{notice.change}] {notice.level} {notice.cause}: {notice.text} "
        f"(since {notice.since:%Y-%m-%d %H:%M} UTC{times}, id {notice.id})"
    )


def address_of(contact: ContactSection) -> str:
    """What is wrong with an address, as far as can be told without using it; empty when nothing is."""
    url = contact.url.value
    if contact.command or is_webhook(contact):
        return ""
    if not url:
        return "it has no address: its environment variable is not set"
    if "://" not in url:
        return "its address is none: https://..., or what Apprise knows"
    return "" if find_spec("apprise") else MISSING


def is_webhook(contact: ContactSection) -> bool:
    """Whether we can tell this contact without Apprise."""
    return contact.url.value.startswith(("http://", "https://"))


async def deliver(contact: ContactSection, what: Letter) -> None:
    """Tell a contact, once. Raises Undelivered."""
    if contact.command:
        await run_command(contact.command, what.json)
    elif is_webhook(contact):
        await _post(contact.url.value, what.json)
    elif wrong := address_of(contact):
        raise Undelivered(wrong)
    else:
        await _apprise(contact.url.value, what)


async def _apprise(url: str, what: Letter) -> None:
    kind = "success" if what.good else _KINDS[what.level]
    body = {"url": url, "title": what.title, "text": what.text, "kind": kind}
    command = [sys.executable, "-m", "jurymast.app.alert_apprise"]
    code = await _run(command, msgspec.json.encode(body), APPRISE_SECS)
    if code:
        raise Undelivered(_APPRISE_CODES.get(code, "Apprise failed"))


async def _post(url: str, body: bytes) -> None:
    """POST as JSON; any 2xx will do, and nothing of the answer is read. Redirects are not followed."""
    limits = aiohttp.ClientTimeout(total=WEBHOOK_SECS)
    headers = {"Content-Type": "application/json"}
    try:
        async with (
            aiohttp.ClientSession(timeout=limits, trust_env=True) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as reply,
        ):
            status = reply.status
    except TimeoutError:
        raise Undelivered(f"no answer within {WEBHOOK_SECS:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise Undelivered(type(error).__name__) from None
    if not 200 <= status < 300:
        raise Undelivered(f"HTTP {status}")


async def run_command(command: str, body: bytes) -> None:
    """Run it with ``body`` on standard input. Raises Undelivered, also for a code other than 0."""
    try:
        words = shlex.split(command)
    except ValueError:
        raise Undelivered("the command can't be read: its quotes do not match") from None
    if code := await _run(words, body, COMMAND_SECS):
        raise Undelivered(f"the command ended with {code}")


async def _run(words: list[str], body: bytes, secs_max: float) -> int:
    """Its exit code; it and its children are killed when time is up. Raises Undelivered."""
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
    except (OSError, ValueError, TypeError) as error:
        raise Undelivered(f"the command can't be run: {type(error).__name__}") from None
    try:
        async with asyncio.timeout(secs_max):
            await process.communicate(body)
    except TimeoutError:
        raise Undelivered(f"it took longer than {secs_max:g} s and was stopped") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return process.returncode or 0
