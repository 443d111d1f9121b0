"""Recording: our own client listens to some markets, and every frame is written down before it is read.

The client keeps the books as it does while trading, so gaps are healed by snapshots that land on the tape
as well. Markets are read over REST at the start, every few minutes, and at the end, for what frames don't
tell: rules, ticks, times, results. Nothing is sent but reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from jurymast.domain.errors import ConfigError, ExchangeError
from jurymast.exchange.kalshi import operations
from jurymast.exchange.kalshi.inbox import Inbox, Item, Lost, Opened
from jurymast.exchange.kalshi.markets import Lifecycle, MarketFilter
from jurymast.exchange.kalshi.rest import KalshiRest
from jurymast.exchange.kalshi.session import BOOKS, TRADES, Missed
from jurymast.exchange.kalshi.stream import KalshiStream
from jurymast.exchange.tapes.file import VERSION, Head, TapeWriter
from jurymast.ports import Clock

MARKETS_MAX: Final = 500
MARKET_READ_SECS: Final = 300.0
FLUSH_SECS: Final = 1.0
"""So much a crash may cost."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_ANSWERS: Final = msgspec.json.Encoder(decimal_format="number")


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a run has written, and why it ended: ``time``, ``size`` or ``stopped``.

    ``missed`` counts breaks in the numbering of frames, ``lost`` broken connections.
    """

    path: Path
    rows: int
    size_bytes: int
    missed: int
    lost: int
    ended: str


class TapedInbox(Inbox):
    """An inbox that writes everything down the moment it arrives, before any of it may be shed."""

    def __init__(self, writer: TapeWriter, clock: Clock) -> None:
        super().__init__()
        self.lost = 0
        self._writer = writer
        self._clock = clock

    def put(self, frame: str) -> bool:
        """Write a frame down and queue it. Raises InboxFull."""
        self._writer.frame(micros_at(self._clock), frame)
        return super().put(frame)

    def mark(self, item: Item) -> None:
        """Write a mark of the connection down and queue it."""
        if isinstance(item, Opened):
            self._writer.mark(micros_at(self._clock), "opened")
        elif isinstance(item, Lost):
            self.lost += 1
            self._writer.mark(micros_at(self._clock), "lost")
        super().mark(item)


class Recorder:
    """Records ``tickers`` at the host of ``rest`` until ``secs`` are over or the file has ``bytes_max``."""

    def __init__(
        self, rest: KalshiRest, tickers: Sequence[str], path: Path, *, clock: Clock, bytes_max: int
    ) -> None:
        if not 0 < len(tickers) <= MARKETS_MAX:
            raise ConfigError(f"a tape is of 1 to {MARKETS_MAX} markets, not {len(tickers)}")
        self._rest = rest
        self._tickers = tuple(tickers)
        self._path = path
        self._clock = clock
        self._bytes_max = bytes_max
        self._missed = 0
        self._stopped = asyncio.Event()

    async def record(self, secs: float) -> Recorded:
        """Record until the end, whatever happens to the connection. Raises ConfigError."""
        host = self._rest.http.host.environment
        made_at = self._clock.utc_now().isoformat(timespec="seconds")
        head = Head(VERSION, str(host), yes_price=True, made_at=made_at)
        with TapeWriter(self._path, head, bytes_max=self._bytes_max) as writer:
            if writer.resumed:
                writer.mark(micros_at(self._clock), "resumed")
            inbox = TapedInbox(writer, self._clock)
            stream = KalshiStream(
                self._rest.http,
                clock=self._clock,
                channels=(BOOKS, TRADES),
                tickers=self._tickers,
                inbox=inbox,
            )
            try:
                ended = await self._run(stream, writer, secs)
            finally:
                with suppress(ExchangeError):
                    await self._read_markets(writer)
        return Recorded(self._path, writer.rows, self._path.stat().st_size, self._missed, inbox.lost, ended)

    def stop(self) -> None:
        """End the recording as if its time were over."""
        self._stopped.set()

    async def _run(self, stream: KalshiStream, writer: TapeWriter, secs: float) -> str:
        listens = asyncio.create_task(self._listen(stream, writer))
        stops = asyncio.create_task(self._stopped.wait())
        others = [asyncio.create_task(each) for each in (self._read_on(writer), self._flush_on(writer))]
        try:
            await asyncio.wait((listens, stops), timeout=secs, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (listens, stops, *others):
                task.cancel()
            results = await asyncio.gather(listens, stops, *others, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result
        return "stopped" if self._stopped.is_set() else "size" if writer.full else "time"

    async def _listen(self, stream: KalshiStream, writer: TapeWriter) -> None:
        """Until the tape is full."""
        async with aclosing(stream.events()) as events:
            async for event in events:
                self._missed += isinstance(event, Missed)
                if writer.full:
                    return

    async def _flush_on(self, writer: TapeWriter) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECS)
            writer.flush()

    async def _read_on(self, writer: TapeWriter) -> None:
        while True:
            with suppress(ExchangeError):  # it is read again, and frames go on
                await self._read_markets(writer)
            await self._clock.sleep(MARKET_READ_SECS)

    async def _read_markets(self, writer: TapeWriter) -> None:
        for ticker in self._tickers:
            answer = await self._rest.http.call(operations.MARKET, ticker)
            body = _ANSWERS.encode(answer.fields)
            writer.answer(micros_at(self._clock), f"GET /markets/{ticker}", body)


async def busiest(rest: KalshiRest, count: int) -> list[str]:
    """Tickers of the open markets with the most contracts in the last day."""
    events = await rest.markets.list_events(status=MarketFilter.OPEN)
    markets = [market for event in events for market in event.markets if market.status is Lifecycle.ACTIVE]
    markets.sort(key=lambda market: (-market.volume_24h, market.ticker))
    return [market.ticker for market in markets[:count]]


def micros_at(clock: Clock) -> int:
    """Wall time as tapes count it."""
    return (clock.utc_now() - _EPOCH) // _MICROSECOND
