"""A journal that forgets everything when the test ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jurymast.domain.errors import JournalUnwritable
from jurymast.domain.events import Event
from jurymast.journal import codec
from jurymast.ports import Recorded


class MemoryJournal:
    """``ports.Journal`` in a list, with the order and the refusals of the real one.

    An event that could not be recorded on disk is refused here too (JournalError).
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._closed = False

    async def append(self, *events: Event) -> None:
        self.post(*events)

    def post(self, *events: Event) -> None:
        if self._closed:
            raise JournalUnwritable("the journal is closed; nothing was written")
        for event in events:
            codec.encode(event)
        self.events += events

    def read(self, kinds: Iterable[type[Event]] | None = None, *, after_seq: int = 0) -> Iterator[Recorded]:
        wanted = None if kinds is None else set(kinds)
        for seq, event in enumerate(list(self.events), start=1):
            if seq > after_seq and (wanted is None or type(event) in wanted):
                yield Recorded(seq, event)

    async def close(self) -> None:
        self._closed = True
