"""What systemd is told: ready, still at work, stopping. Says nothing where nobody listens.

At work means that cycles come to an end: a bot that hangs is started anew by systemd, whatever its loop does.
The protocol is ``sd_notify(3)``: datagrams to the socket in ``NOTIFY_SOCKET``.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from jurymast.ports import Clock

ASK_SECS: Final = 1.0
MICROS: Final = 1_000_000


class Systemd:
    """Notifies for one run. ``progress`` counts finished cycles, each of which may take ``quiet_secs``."""

    def __init__(
        self,
        clock: Clock,
        *,
        progress: Callable[[], int],
        quiet_secs: float,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._clock = clock
        self._progress = progress
        self.quiet_secs = quiet_secs
        self._address = environ.get("NOTIFY_SOCKET", "")
        watched = environ.get("WATCHDOG_USEC", "")
        self._watched = watched.isdecimal() and int(watched) > 0

    async def run(self) -> None:
        """Tell until cancelled, and that it stops then. Ends at once where nobody listens."""
        if not self._address:
            return
        seen, seen_at, ready = self._progress(), self._clock.monotonic(), False
        try:
            while True:
                now, cycles = self._clock.monotonic(), self._progress()
                if cycles != seen:
                    seen, seen_at = cycles, now
                if cycles and not ready:
                    ready = True
                    self._tell("READY=1\nSTATUS=cycles come to an end")
                if self._watched and now - seen_at <= self.quiet_secs:
                    self._tell("WATCHDOG=1")
                await self._clock.sleep(ASK_SECS)
        finally:
            self._tell("STOPPING=1")

    def _tell(self, message: str) -> None:
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wire:
            wire.setblocking(False)
            wire.sendto(message.encode(), address)
