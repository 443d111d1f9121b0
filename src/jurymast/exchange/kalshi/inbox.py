"""Frames between the socket and whoever reads them, bounded without ever losing what is ours.

When the reader falls behind, all market data in the queue is thrown away at once: a fresh snapshot is
better than a long way through old changes. Fills, orders and answers to commands are kept in their order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final

from jurymast.exchange.kalshi.frames import MARKET_DATA, kind_of

FRAMES_MAX: Final = 10_000
OURS_MAX: Final = 100_000
"""So many of our own frames unread: the reader is dead, and the connection is given up."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection was made; the frames that follow are its."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection ended. What happened until the next one has to be asked for."""

    reason: str


Item = str | Opened | Lost


class InboxFull(Exception):
    """Nobody reads what is ours."""


class Inbox:
    """A queue of frames and connection marks. ``shed`` counts frames of market data thrown away."""

    def __init__(self, *, frames_max: int = FRAMES_MAX, ours_max: int = OURS_MAX) -> None:
        self.shed = 0
        self._frames_max = frames_max
        self._ours_max = ours_max
        self._items: deque[Item] = deque()
        self._shed_at = frames_max
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def drained(self) -> bool:
        """Whether the reader keeps up: a new connection is worth making."""
        return len(self._items) < self._frames_max

    def put(self, frame: str) -> bool:
        """Queue a frame; True when market data was thrown away for it. Raises InboxFull."""
        shed = False
        if len(self._items) >= self._shed_at:
            shed = self._make_room()
        self.mark(frame)
        return shed

    def mark(self, item: Item) -> None:
        """Queue a mark of the connection: there are two of them per connection."""
        self._items.append(item)
        self._arrived.set()

    async def get(self, timeout_secs: float) -> Item | None:
        """The next item; None when none came in time."""
        if not self._items:
            self._arrived.clear()
            try:
                async with asyncio.timeout(timeout_secs):
                    await self._arrived.wait()
            except TimeoutError:
                return None
        return self._items.popleft()

    def _make_room(self) -> bool:
        kept = deque(item for item in self._items if not _is_market_data(item))
        dropped = len(self._items) - len(kept)
        if len(kept) >= self._ours_max:
            raise InboxFull(f"{len(kept)} frames about our own orders wait unread")
        self.shed += dropped
        self._items = kept
        # With many of our own frames waiting, room is looked for again only after as many more.
        self._shed_at = max(self._frames_max, 2 * len(kept))
        return dropped > 0


def _is_market_data(item: Item) -> bool:
    return isinstance(item, str) and kind_of(item) in MARKET_DATA
