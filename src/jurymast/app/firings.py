"""What the watchdog has done while no bot could write: taken over into the journal at the next start."""

from __future__ import annotations

from contextlib import suppress

from jurymast.app.wiring import Bot
from jurymast.domain.events import WatchdogFired
from jurymast.watch import record


async def take_over_firings(bot: Bot) -> None:
    """Journal what is not there yet, then put the watchdog's record aside. Raises JournalUnwritable."""
    firings = record.untaken(bot.config.data_dir)
    if not firings:
        return
    known = {
        (event.firing_id, event.proven)
        for event in (row.event for row in bot.journal.read((WatchdogFired,)))
        if isinstance(event, WatchdogFired)
    }
    for firing in firings:
        if (firing.firing_id, firing.proven) not in known:
            await bot.recorder.record(
                WatchdogFired(
                    at=firing.at,
                    firing_id=firing.firing_id,
                    reason=firing.reason,
                    silent_secs=firing.silent_secs,
                    count=firing.count,
                    tries=firing.tries,
                    secs=firing.secs,
                    proven=firing.proven,
                )
            )
    with suppress(OSError):
        record.taken(bot.config.data_dir)
