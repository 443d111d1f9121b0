"""Kalshi's websocket: connect, stay connected, hand out events. The protocol itself is :mod:`.session`.

Frames are taken in by whoever iterates over :meth:`KalshiStream.events`, at his own pace; the socket is
read by a task of its own into a bounded inbox. Kalshi pings every 10 s: a connection on which nothing at
all arrives for longer is dead, whatever TCP thinks.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable
from typing import TYPE_CHECKING, Final

from jurymast.exchange.kalshi.hosts import STREAM_PATH
from jurymast.exchange.kalshi.http import KalshiHttp
from jurymast.exchange.kalshi.inbox import Inbox, InboxFull, Lost, Opened
from jurymast.exchange.kalshi.live_books import LiveBooks
from jurymast.exchange.kalshi.reading import Drift
from jurymast.exchange.kalshi.session import BOOKS, FILLS, ORDERS, Event, Session, SessionBroken
from jurymast.ports import Clock

if TYPE_CHECKING:
    import aiohttp

CHANNELS: Final = (BOOKS, FILLS, ORDERS)
SILENCE_SECS_MAX: Final = 25.0
"""Two pings and a half."""
CONNECT_SECS: Final = 10.0
SEND_SECS: Final = 5.0
BACKOFF_SECS: Final = 0.5
BACKOFF_SECS_MAX: Final = 30.0
HEAL_SECS: Final = 0.5
DRAIN_SECS: Final = 0.5
FRAME_BYTES_MAX: Final = 8 * 1024 * 1024
"""A snapshot of many levels in many markets comes as one frame per market."""

StreamEvent = Event | Opened | Lost


class KalshiStream:
    """One websocket with the key and host of ``http``, whose clock offset it shares.

    ``books`` are kept while events are read; a book that can't be believed is not there.
    """

    def __init__(
        self,
        http: KalshiHttp,
        *,
        clock: Clock,
        channels: tuple[str, ...] = CHANNELS,
        tickers: Iterable[str] = (),
        inbox: Inbox | None = None,
        drift: Drift | None = None,
        silence_secs_max: float = SILENCE_SECS_MAX,
        backoff_secs: float = BACKOFF_SECS,
    ) -> None:
        self.books: Final = LiveBooks()
        self.drift: Final = drift or Drift()
        self.inbox: Final = Inbox() if inbox is None else inbox
        self._http = http
        self._clock = clock
        self._channels = channels
        self._tickers = set(tickers)
        self._silence_secs_max = silence_secs_max
        self._backoff_secs = backoff_secs
        self._session: Session | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._reason = ""

    def follow(self, tickers: Iterable[str]) -> None:
        """Keep the books of these markets and of no others."""
        self._tickers = set(tickers)
        if self._session is not None:
            self._session.follow(self._tickers)

    async def events(self) -> AsyncGenerator[StreamEvent, None]:
        """Everything that happens, for ever; reconnects by itself. One reader at a time.

        After Lost, Opened and Missed the account is to be reconciled: what happened in between, and
        orders and fills that were not told, are not told again.
        """
        reader = asyncio.create_task(self._connect_for_ever())
        try:
            while True:
                item = await self.inbox.get(HEAL_SECS)
                if isinstance(item, Opened):
                    self._open()
                    yield item
                elif isinstance(item, Lost):
                    self._drop()
                    yield item
                elif item is not None:
                    for event in await self._take(item):
                        yield event
                await self._tend()
                if reader.done():
                    await reader
        finally:
            self._drop()
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    def _open(self) -> None:
        self._session = Session(self.books, self._channels, set(self._tickers), self.drift)
        self._session.start()

    def _drop(self) -> None:
        """The session is over and none of its books is believed."""
        self._session = None
        self.books.spoil(self._tickers)

    async def _take(self, frame: str) -> tuple[Event, ...]:
        if self._session is None:
            return ()
        try:
            return self._session.receive(frame)
        except SessionBroken as broken:
            await self._give_up(str(broken))
            return ()

    async def _tend(self) -> None:
        """Ask for missing snapshots and send what is to be sent."""
        if self._session is None or self._socket is None:
            return
        try:
            self._session.heal(self._clock.monotonic())
            for command in self._session.commands():
                async with asyncio.timeout(SEND_SECS):
                    await self._socket.send_str(json.dumps(command, separators=(",", ":")))
        except SessionBroken as broken:
            await self._give_up(str(broken))
        except (OSError, RuntimeError) as error:  # TimeoutError is an OSError; aiohttp's are both
            await self._give_up(f"{type(error).__name__}: {error}")

    async def _give_up(self, reason: str) -> None:
        """Leave this connection; the reader makes a new one."""
        self._drop()
        self._reason = reason
        socket, self._socket = self._socket, None
        if socket is not None:
            await _abandon(socket)

    async def _connect_for_ever(self) -> None:
        pause_secs = self._backoff_secs
        while True:
            self._reason = ""
            heard = await self._connection()
            self._socket = None
            self.books.spoil(self._tickers)
            pause_secs = self._backoff_secs if heard else min(2 * pause_secs, BACKOFF_SECS_MAX)
            await self._clock.sleep(pause_secs)
            while not self.inbox.drained:
                await self._clock.sleep(DRAIN_SECS)

    async def _connection(self) -> bool:
        """One connection from handshake to end; whether anything was heard on it."""
        import aiohttp

        heard = False
        try:
            async with asyncio.timeout(CONNECT_SECS):
                socket = await self._http.open_stream(STREAM_PATH, FRAME_BYTES_MAX)
        except (aiohttp.ClientError, OSError) as error:
            self.inbox.mark(Lost(f"no connection: {type(error).__name__}: {error}"[:300]))
            return False
        self._socket = socket
        self.inbox.mark(Opened())
        try:
            while (message := await socket.receive(self._silence_secs_max)).type is aiohttp.WSMsgType.TEXT:
                heard = True
                if self.inbox.put(message.data) and self._session is not None:
                    self._session.shed()
            reason = self._reason or f"closed by Kalshi with code {socket.close_code}"
        except TimeoutError:
            reason = f"nothing was heard for {self._silence_secs_max} s"
        except InboxFull as full:
            reason = str(full)
        finally:
            await _abandon(socket)
        self.inbox.mark(Lost(reason))
        return heard


async def _abandon(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Close without waiting for a farewell: what is left may be a dead line."""
    try:
        async with asyncio.timeout(1.0):
            await socket.close()
    except TimeoutError:
        pass
