"""The real clock."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime


class SystemClock:
    """``ports.Clock`` of the machine: UTC for records, the monotonic clock for durations."""

    def utc_now(self) -> datetime:
        return datetime.now(UTC)

    monotonic = staticmethod(time.monotonic)

    async def sleep(self, secs: float) -> None:
        await asyncio.sleep(secs)
