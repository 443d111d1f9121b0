"""What goes on beside the work, for a bot as for a gateway: each runs until it is cancelled."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

from jurymast.app.config import Config
from jurymast.domain.errors import JournalError
from jurymast.intelligence.fallback_manager import FallbackManager
from jurymast.journal.history import HistoryFile
from jurymast.journal.sqlite import SqliteJournal
from jurymast.lab.emulators.fleet import EmulatorFleet
from jurymast.lab.emulators.weather import parse_script, play, seeded_weather
from jurymast.ports import Clock

RECOVERY_SECS = 1.0
HISTORY_SECS = 60.0
ASIDE_GAP_SECS = 0.2
"""Between two lots that are put aside: what is appended comes first."""
WEATHER_SECS = 3_600.0
OPENING = parse_script(
    """
    20s xai refuse
    40s xai clear
    60s all 503
    75s all clear
    """
)
"""What every run with weather shows first, so that nobody has to wait for bad luck to see it handled."""


async def keep_probing(fallback: FallbackManager, clock: Clock) -> None:
    """Look who is well again, and let time pass for the mode."""
    while True:
        await fallback.check_recovery()
        await clock.sleep(RECOVERY_SECS)


async def keep_history(journal: SqliteJournal, config: Config, clock: Clock) -> None:
    """Keep the history beside the journal fresh, in a thread: it may take its time, and may fail, for whoever
    reads it reads what is missing in the journal. What it has, and is old, is put aside then."""
    history = HistoryFile(config.journal_path)
    while True:
        await clock.sleep(HISTORY_SECS)
        with suppress(JournalError):
            await asyncio.to_thread(history.catch_up)
            await keep_short(journal, history, config.journal.keep_days, clock)


async def keep_short(journal: SqliteJournal, history: HistoryFile, keep_days: float, clock: Clock) -> None:
    """Put aside what is of the everyday and older than so many days; 0 keeps all. Raises JournalError."""
    if not keep_days:
        return
    upto = await asyncio.to_thread(history.reached)
    before = clock.utc_now() - timedelta(days=keep_days)
    while await journal.put_aside(before, upto):
        await clock.sleep(ASIDE_GAP_SECS)


async def keep_weather(fleet: EmulatorFleet, seed: int, clock: Clock) -> None:
    """Outages of the emulated providers: the opening, then seeded ones, hour after hour."""
    await play(OPENING, fleet, clock)
    hour = 0
    while True:
        script = seeded_weather(seed + hour, WEATHER_SECS, fleet.models)
        await play(script, fleet, clock)
        hour += 1
