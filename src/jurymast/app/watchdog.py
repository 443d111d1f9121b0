"""The watchdog put together: its files, its key, its alerts; and the child that `run` starts."""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from jurymast.app.alert_channels import Undelivered, deliver, letter, run_command
from jurymast.app.alerts_config import ContactSection
from jurymast.app.clock import SystemClock
from jurymast.app.config import Config
from jurymast.app.control import ControlFile
from jurymast.app.exchange import open_reach
from jurymast.app.redaction import Redactor
from jurymast.domain.errors import ConfigError, ControlUnwritable
from jurymast.exchange.kalshi.hosts import Environment
from jurymast.policy.alert_contacts import Message
from jurymast.policy.alert_signals import AlertKind, Level
from jurymast.policy.alerts import Change, Notice
from jurymast.ports import Exchange
from jurymast.watch.record import Firing
from jurymast.watch.watchdog import End, Watchdog, WatchSettings

LOCK: Final = "watchdog.lock"
STOP_SECS: Final = 5.0


class Outcome(StrEnum):
    """How a watch ended."""

    NOTHING_TO_REACH = "nothing_to_reach"
    WATCHED_ALREADY = "watched_already"
    ORDERLY = "orderly"
    NOTHING_RESTED = "nothing_rested"
    FIRED = "fired"


async def watch(config: Config, *, once: bool, say: Callable[[str], None]) -> Outcome:
    """Watch the bot of a data directory until it ended or was acted on. Raises ConfigError without a key."""
    if not outlives_the_bot(config):
        say(
            "the exchange lives inside the bot's process and ends with it: a watchdog has nothing to reach. "
            "Resting orders expire by themselves, within two minutes of the exchange's time."
        )
        return Outcome.NOTHING_TO_REACH
    if config.exchange.host not in config.watchdog.keys:
        say("no key of its own under [watchdog.keys]: it uses the bot's, and fails with it")
    clock = SystemClock()
    with _sole(config.data_dir) as sole:
        if not sole:
            say("another watchdog watches this data directory already")
            return Outcome.WATCHED_ALREADY
        async with AsyncExitStack() as stack:
            opened: list[Exchange] = []

            async def reach() -> Exchange:
                if not opened:
                    exchange = await open_reach(config, clock=clock, stack=stack)
                    assert exchange is not None  # noqa: S101 (narrowing: it outlives the bot)
                    opened.append(exchange)
                return opened[0]

            with suppress(ConfigError):  # it may be away for the moment; then it is opened when needed
                await reach()
            watchdog = Watchdog(
                config.data_dir,
                reach,
                clock=clock,
                latch=ControlFile(config.data_dir, clock).halt,
                say=say,
                alert=lambda what, firing: _alert(config, what, firing, say),
                settings=WatchSettings(config.watchdog.silence_secs, once),
            )
            end = await watchdog.run()
    return {
        End.ORDERLY: Outcome.ORDERLY,
        End.NOTHING_RESTED: Outcome.NOTHING_RESTED,
        End.FIRED: Outcome.FIRED,
    }[end]


def outlives_the_bot(config: Config) -> bool:
    """Whether orders can rest when the bot is dead."""
    return config.exchange.host is not Environment.EMBEDDED or bool(config.exchange.url)


@contextmanager
def companion(config: Config, arguments: Sequence[str]) -> Iterator[int | None]:
    """A watchdog beside a bot, in a session of its own so that no signal to the bot's reaches it: its process
    id, or None where there is nothing to watch. Ended with the bot only when that ends in order."""
    if not config.watchdog.enabled or not outlives_the_bot(config):
        yield None
        return
    command = [sys.executable, "-m", "jurymast", "watchdog", "--with-bot", *arguments]
    child = subprocess.Popen(  # noqa: S603 (our own program, by its own interpreter)
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
    )
    yield child.pid
    # Reached without an error only: it has read of the orderly end, or is about to.
    try:
        child.wait(STOP_SECS)
    except subprocess.TimeoutExpired:
        return  # the end was not in order, as far as it knows: it goes on watching


@contextmanager
def _sole(directory: Path) -> Iterator[bool]:
    """Whether no other watchdog has this data directory; held until the end. Raises ControlUnwritable."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        handle = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ControlUnwritable(
            f"{directory / LOCK} can't be made: {error.strerror}. Nothing is watched."
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)


async def _alert(config: Config, what: str, firing: Firing, say: Callable[[str], None]) -> None:
    await asyncio.gather(
        _hook(config.watchdog.hook, what, firing, say), _tell_contacts(config, what, firing, say)
    )


async def _hook(command: str, what: str, firing: Firing, say: Callable[[str], None]) -> None:
    """Run the user's alert, bounded in time; whatever becomes of it changes nothing here."""
    if not command:
        return
    body = msgspec.json.encode({"what": what, "firing": firing})
    try:
        await run_command(command, body)
    except Undelivered as error:
        say(f"WATCHDOG: the hook: {error}")


async def _tell_contacts(config: Config, what: str, firing: Firing, say: Callable[[str], None]) -> None:
    """Tell every contact by itself: the bot that would have done it is silent."""
    end = f"{firing.count} orders taken back, none rests" if what == "cleared" else "taking back what rests"
    text = f"the watchdog acted, {firing.reason}: {end}"
    change = Change.RESOLVED if what == "cleared" else Change.OPENED
    cause = f"{AlertKind.WATCHDOG}:{firing.firing_id[:8]}"
    notice = Notice(change, cause, firing.firing_id[:8], Level.CRITICAL, text, firing.at, firing.at)

    simulated = () if config.exchange.host is Environment.PRODUCTION else ("exchange",)

    async def tell(name: str, contact: ContactSection) -> None:
        try:
            await deliver(contact, letter(Message(name, (notice,)), simulated, Redactor(config)))
        except Undelivered as error:
            say(f"WATCHDOG: {name} could not be told: {error}")

    await asyncio.gather(*(tell(*each) for each in config.alerts.contacts.items()))
