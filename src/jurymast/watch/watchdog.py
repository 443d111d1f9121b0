"""The dead man's switch: looks at a heartbeat, and takes every resting order back when it stops.

Order of work when a bot is silent
  1. The halt latch, so that neither this bot, if it wakes, nor the next one sends an entry.
  2. The alert: standard error and the hook, beside the work and never in its way.
  3. Every resting order is cancelled with the watchdog's own key and proven gone, retried for ever.
  4. Each step goes into a record of its own. What can't be written is said, and stops nothing.

It never places an order, and acts on no bot that is well, has ended in order, or was dealt with before.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from jurymast.domain.errors import ExchangeError, JurymastError
from jurymast.exchange.withdrawing import Withdrawing
from jurymast.policy import deadman, withdrawal
from jurymast.policy.deadman import Beat, Deadman, Verdict
from jurymast.policy.withdrawal import Withdrawal
from jurymast.ports import Clock, Exchange
from jurymast.watch import heartbeat, record
from jurymast.watch.record import Firing

LOOK_SECS: Final = 1.0
ARRIVAL_SECS: Final = 120.0
"""How long the one that `run` has started waits for the first beat: its bot may have been refused."""
SPELL_SECS: Final = 60.0
"""One go at the exchange; another follows until nothing rests."""


class End(StrEnum):
    """Why the watchdog stopped watching."""

    ORDERLY = "orderly"
    NOTHING_RESTED = "nothing_rested"
    FIRED = "fired"


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """``once``: stop with the bot; otherwise wait for its next run."""

    silence_secs: float = 30.0
    once: bool = False


class Watchdog:
    """Watches the bot of one data directory. ``reach`` opens the exchange with the watchdog's own key."""

    def __init__(
        self,
        directory: Path,
        reach: Callable[[], Awaitable[Exchange]],
        *,
        clock: Clock,
        latch: Callable[[str], None],
        say: Callable[[str], None],
        alert: Callable[[str, Firing], Coroutine[None, None, None]],
        settings: WatchSettings,
    ) -> None:
        self._directory = directory
        self._reach = reach
        self._clock = clock
        self._latch = latch
        self._voice = say
        self._alert = alert
        self._settings = settings
        self._unwritten: list[Firing] = []

    async def run(self) -> End:
        """Watch until the bot has ended, or is dead and dealt with. One that was stopped and wakes up again
        is watched on; a dead one that was dealt with in an earlier watch is not acted on twice."""
        state, fired = Deadman(), False
        give_up_at = self._clock.monotonic() + ARRIVAL_SECS
        passed_over = self._history()
        while True:
            found = heartbeat.read(self._directory)
            if found is not None and found.beat == passed_over:
                if fired and not _lives(found.pid):
                    return End.FIRED
                found = None
            state = deadman.look(state, None if found is None else found.beat, self._clock.monotonic())
            verdict = state.verdict(self._settings.silence_secs)
            late = self._clock.monotonic() >= give_up_at
            if verdict is Verdict.WAITING and self._settings.once and late and not fired:
                self._say("no bot has come to life: nothing to watch")
                return End.NOTHING_RESTED
            if verdict is Verdict.ENDED and self._settings.once:
                return End.FIRED if fired else End.ORDERLY
            if verdict is Verdict.SILENT and state.beat is not None:
                acted = await self._silent(state, state.beat)
                fired = fired or acted
                if not acted and self._settings.once:
                    return End.NOTHING_RESTED
                passed_over, state = state.beat, Deadman()
            await self._clock.sleep(LOOK_SECS)

    def _history(self) -> Beat | None:
        """The beat that is there already, if it is of a bot that needs no watching any more."""
        found = heartbeat.read(self._directory)
        if found is None:
            return None
        over = found.beat.ended or record.dealt_with(self._directory, found.beat.run_id)
        return found.beat if over else None

    async def _silent(self, state: Deadman, beat: Beat) -> bool:
        """The bot is silent: act if an order may rest; whether it did."""
        if beat.may_rest or await self._something_rests():
            await self._fire(state, beat)
            return True
        self._say(f"the bot is gone ({state.why(self._settings.silence_secs)}) and nothing of it rests")
        return False

    def _say(self, line: str) -> None:
        with suppress(OSError, ValueError):  # a terminal that is gone, a log on the full disk: stops nothing
            self._voice(line)

    async def _something_rests(self) -> bool:
        """Whether the list shows an order, though the bot knew of none. In doubt, yes."""
        try:
            return bool(await (await self._reach()).list_open_orders())
        except (ExchangeError, JurymastError):
            return True

    async def _fire(self, state: Deadman, beat: Beat) -> None:
        reason = state.why(self._settings.silence_secs)
        firing = Firing(
            uuid.uuid4().hex, beat.run_id, self._clock.utc_now(), reason, round(state.silent_secs, 1)
        )
        try:
            self._latch(f"watchdog: {reason}")
        except JurymastError as error:
            self._say(f"THE HALT LATCH IS NOT SET: {error}")
        self._say(f"WATCHDOG: {reason} while orders may rest. Halted; taking back everything that rests.")
        self._write(firing)
        alert = asyncio.create_task(self._alert("fired", firing))
        end = await self._take_back()
        firing = replace(
            firing,
            at=self._clock.utc_now(),
            count=len(end.taken),
            tries=end.tries,
            secs=round(self._clock.monotonic() - end.started_at, 3),
            proven=True,
        )
        self._write(firing)
        self._say(
            f"WATCHDOG: {firing.count} orders taken back in {firing.secs:.1f} s and {firing.tries} requests; "
            "the list was read empty twice. Entries stay blocked until `jurymast resume --reason ...`."
        )
        await alert
        await self._alert("cleared", firing)
        self._write_late()

    async def _take_back(self) -> Withdrawal:
        """Cancel until nothing rests; an exchange that can't be reached is tried again."""
        state = withdrawal.begin(self._clock.monotonic(), everything=True)
        while not state.done:
            try:
                exchange = await self._reach()
            except (ExchangeError, JurymastError) as error:
                self._say(f"WATCHDOG: the exchange can't be reached, trying again: {error}")
                await self._clock.sleep(withdrawal.RETRY_SECS_MAX)
                continue
            work = Withdrawing(exchange, self._clock, state, ours=lambda _: True, delayed=self._still_at_it)
            state = await work.run(SPELL_SECS)
        return state

    async def _still_at_it(self, state: Withdrawal) -> None:
        self._say(
            f"WATCHDOG: orders may still rest ({state.left} seen) after {state.tries} requests, trying on: "
            f"{state.trouble or 'not proven yet'}"
        )
        self._write_late()

    def _write(self, firing: Firing) -> None:
        self._unwritten.append(firing)
        self._write_late()

    def _write_late(self) -> None:
        """Write what is not written yet; a full disk is said once for each try."""
        while self._unwritten:
            try:
                record.append(self._directory, self._unwritten[0])
            except OSError as error:
                self._say(f"WATCHDOG: its record can't be written ({error.strerror}); the work goes on")
                return
            self._unwritten.pop(0)


def _lives(pid: int) -> bool:
    """Whether there is a process of this id, stopped or not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
