"""Lists that come in pages, followed to their bounded end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final, TypeVar

from jurymast.domain.errors import ExchangeUnavailable, SchemaDrift
from jurymast.exchange.kalshi.http import KalshiHttp, Query
from jurymast.exchange.kalshi.operations import Operation
from jurymast.exchange.kalshi.reading import UNREADABLE, Drift, Record, each_readable

PAGE_ITEMS: Final = 1_000
PAGES_MAX: Final = 200
_END: Final = ""

Item = TypeVar("Item")
Read = Callable[[Record, Drift], Item]


class Pages:
    """Reads lists over one :class:`KalshiHttp`. ``drift`` counts what was new or unreadable."""

    def __init__(self, http: KalshiHttp, drift: Drift, *, pages_max: int = PAGES_MAX) -> None:
        self.http: Final = http
        self.drift: Final = drift
        self._pages_max = pages_max

    async def all(self, operation: Operation, name: str, read: Read[Item], query: Query) -> list[Item]:
        """Every item. Money depends on them: one that can't be read raises SchemaDrift."""
        found: list[Item] = []
        try:
            async for page in self._pages(operation, query):
                found += [read(Record(operation.name, value), self.drift) for value in page.items(name)]
        except SchemaDrift as strange:
            self.drift.saw(operation.name, UNREADABLE, str(strange))
            raise
        return found

    async def readable(self, operation: Operation, name: str, read: Read[Item], query: Query) -> list[Item]:
        """Every item that can be read: one strange market must not hide the others."""
        found: list[Item] = []
        async for page in self._pages(operation, query):
            found += each_readable(operation.name, page.items(name), read, self.drift)
        return found

    async def _pages(self, operation: Operation, query: Query) -> AsyncIterator[Record]:
        """Raises ExchangeUnavailable past the bound: half a list must not be taken for the whole."""
        cursor = _END
        for _ in range(self._pages_max):
            page = await self.http.call(operation, query={**query, "cursor": cursor or None})
            yield page
            following = page.text_or("cursor", _END)
            if following == _END:
                return
            if following == cursor:
                raise SchemaDrift(f"{operation.name}: the cursor leads back to the same page")
            cursor = following
        raise ExchangeUnavailable(
            f"{operation.name}: more than {self._pages_max} pages; narrow the filter, nothing was concluded"
        )
