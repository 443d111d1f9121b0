"""Facts go one way: into the journal, then into the books, then to whoever watches."""

from __future__ import annotations

from collections.abc import Callable

from jurymast.domain.events import Event
from jurymast.ports import Journal
from jurymast.trading.portfolio import Portfolio


class Recorder:
    """Writes events. ``watch`` sees each one after it was written or queued."""

    def __init__(
        self, journal: Journal, portfolio: Portfolio, watch: Callable[[Event], None] = lambda _: None
    ) -> None:
        self._journal = journal
        self._portfolio = portfolio
        self._watch = watch

    async def record(self, *events: Event) -> None:
        """Durable first, then believed. Raises JournalUnwritable, and then nothing has changed."""
        await self._journal.append(*events)
        for event in events:
            self._portfolio.apply(event)
            self._watch(event)

    def emit(self, event: Event) -> None:
        """For facts that no order depends on: queued in order, durable with the next commit."""
        self._journal.post(event)
        self._watch(event)
