"""The seam to the network: one HTTP exchange with every limit explicit.

What it guarantees:
  - ``limits.total`` bounds everything, waiting for a connection and a drip of bytes included.
  - A request is sent once. aiohttp repeats idempotent methods on a connection that went stale, POST
    never; tests hold it to that. Redirects are not followed.
  - An error says whether the request may have left: from the moment a connection is at hand it counts
    as sent, since money may depend on it.
  - Bodies and lines have bounds. An exchange left before its end closes its connection.

One transport belongs to the event loop of its first request.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from enum import StrEnum
from functools import cache, lru_cache, partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from jurymast.intelligence.alarms import Alarms, Timer
from jurymast.ports import HttpReply, TimeLimits

if TYPE_CHECKING:
    import aiohttp
    import yarl

BODY_BYTES_MAX: Final = 4 * 1024 * 1024
LINE_BYTES_MAX: Final = 1024 * 1024
"""Of one line, and of a body read whole: what is parsed in one go, while nothing else runs."""
CONNECTIONS_MAX: Final = 128
KEEP_ALIVE_SECS: Final = 30.0
"""Below the idle limit of the vendors' front ends, so that we close first and seldom meet a stale one."""
URLS_KEPT: Final = 64
USER_AGENT: Final = "jurymast"


class Stage(StrEnum):
    """How far an exchange came before it failed."""

    REFUSED = "refused"
    RESET = "reset"
    CONNECT_TIMEOUT = "connect_timeout"
    FIRST_BYTE_TIMEOUT = "first_byte_timeout"
    IDLE_TIMEOUT = "idle_timeout"
    TOTAL_TIMEOUT = "total_timeout"
    CUT = "cut"
    NOT_HTTP = "not_http"
    TOO_LARGE = "too_large"


class TransportError(Exception):
    """An exchange failed below HTTP. ``sent`` is False only when no byte can have left."""

    def __init__(self, stage: Stage, *, sent: bool, detail: str) -> None:
        super().__init__(f"{stage}: {detail}")
        self.stage = stage
        self.sent = sent
        self.detail = detail


class AiohttpTransport:
    """Implements :class:`jurymast.ports.Transport` with one pooled aiohttp session.

    ``trust_env`` makes it honour the proxy variables of the environment.
    """

    def __init__(
        self,
        *,
        trust_env: bool = False,
        body_bytes_max: int = BODY_BYTES_MAX,
        line_bytes_max: int = LINE_BYTES_MAX,
    ) -> None:
        self._trust_env = trust_env
        self._body_bytes_max = body_bytes_max
        self._line_bytes_max = line_bytes_max
        self._session: aiohttp.ClientSession | None = None
        self._alarms = Alarms()

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, limits: TimeLimits
    ) -> AbstractAsyncContextManager[HttpReply]:
        session = self._session = self._session or _open_session(trust_env=self._trust_env)
        request = partial(session.request, method, _parsed(url), headers=headers, data=body)
        return _Exchange(request, limits, self._alarms, self._body_bytes_max, self._line_bytes_max)

    async def close(self) -> None:
        """Close every connection. Harmless to repeat; a later request opens a new session."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        self._alarms.close()


class _Exchange:
    """One exchange: how far it came, and its one timer. Of several limits the nearest is waited for.

    Not a generator: the loop keeps a list of those, and an exchange is short.
    """

    def __init__(
        self, request: Callable[..., Awaitable[aiohttp.ClientResponse]], limits: TimeLimits,
        alarms: Alarms, body_max: int, line_max: int,
    ) -> None:  # fmt: skip
        self._request = request
        self._limits = limits
        self._bounds = alarms, body_max, line_max
        self.reused = True
        """Whether its connection had been used before."""
        self._sent = False
        self._timer = Timer(math.inf, alarms)

    async def __aenter__(self) -> _Reply:
        limits = self._limits
        self._started_at = asyncio.get_running_loop().time()
        self._timer.start()
        if limits.first_byte is not None and limits.first_byte < limits.connect:
            self._wait(Stage.FIRST_BYTE_TIMEOUT, limits.first_byte)
        else:
            self._wait(Stage.CONNECT_TIMEOUT, limits.connect)
        token = _EXCHANGE.set(self)
        try:
            self._response = await self._request(allow_redirects=False)
        except BaseException as error:
            if self._timer.stop(error):
                raise self._overdue() from None
            if isinstance(error, _errors()):
                raise self._failed(error) from error
            raise
        finally:
            _EXCHANGE.reset(token)
        if self._stage is not Stage.TOTAL_TIMEOUT:
            self._wait(Stage.TOTAL_TIMEOUT, limits.total)
        return _Reply(self._response, limits.idle, *self._bounds)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # No-op after a body read to its end: that connection is back in the pool already.
        self._response.close()
        if self._timer.stop(error):
            raise self._overdue() from None

    def connected(self) -> None:
        """A connection is at hand: the request leaves now."""
        self._sent = True
        self._wait(Stage.FIRST_BYTE_TIMEOUT, self._limits.first_byte)

    def _wait(self, stage: Stage, secs: float | None) -> None:
        """Wait until ``secs`` after the start, and never longer than for everything."""
        if secs is None or secs >= self._limits.total:
            stage, secs = Stage.TOTAL_TIMEOUT, self._limits.total
        self._stage, self._stage_secs = stage, secs
        self._timer.move(self._started_at + secs)

    def _overdue(self) -> TransportError:
        detail = f"no {_MISSED[self._stage]} in {self._stage_secs:.3g} s"
        return TransportError(self._stage, sent=self._sent, detail=detail)

    def _failed(self, error: BaseException) -> TransportError:
        import aiohttp

        detail = _describe(error)
        if isinstance(error, aiohttp.ClientResponseError):
            return TransportError(Stage.NOT_HTTP, sent=self._sent, detail=detail)
        stage = Stage.RESET if self._sent else Stage.REFUSED
        detail += " (on a kept connection)" if self._sent and self.reused else ""
        return TransportError(stage, sent=self._sent, detail=detail)


_EXCHANGE: Final[ContextVar[_Exchange | None]] = ContextVar("exchange", default=None)
_MISSED: Final[Mapping[Stage, str]] = {
    Stage.CONNECT_TIMEOUT: "connection",
    Stage.FIRST_BYTE_TIMEOUT: "reply",
    Stage.TOTAL_TIMEOUT: "complete reply",
}


_IN_WORDS: Final = {
    "ClientPayloadError": "the reply broke off before its end",
    "ServerDisconnectedError": "the server hung up without a reply",
}
"""What aiohttp says of these is about itself."""


class _Reply:
    """A reply whose head has arrived."""

    def __init__(
        self, response: aiohttp.ClientResponse, idle_secs: float | None,
        alarms: Alarms, body_max: int, line_max: int,
    ) -> None:  # fmt: skip
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self._content = response.content
        self._idle_secs = idle_secs
        self._alarms = alarms
        self._room = body_max
        self._line_max = line_max

    async def read(self) -> bytes:
        pieces = []
        self._room = min(self._room, self._line_max)
        if self._content.is_eof():
            return self._rest()
        if self._idle_secs is None:
            while piece := await self.piece():
                pieces.append(piece)
            return b"".join(pieces)
        loop = asyncio.get_running_loop()
        try:
            with Timer(loop.time() + self._idle_secs, self._alarms) as idle:
                while piece := await self.piece():
                    pieces.append(piece)
                    idle.move(loop.time() + self._idle_secs)
        except TimeoutError:
            raise self._idle() from None
        return b"".join(pieces)

    def _rest(self) -> bytes:
        """What has come whole needs no waiting."""
        try:
            pieces = [self._content.read_nowait()]
            while not self._content.at_eof():  # a compressed body comes in parts
                pieces.append(self._content.read_nowait())
        except _errors() as error:
            raise _cut(error) from error
        return self._within(b"".join(pieces))

    def lines(self) -> AsyncIterator[bytes]:
        return _Lines(self, self._line_max)

    async def piece_in_time(self) -> bytes:
        """The same within the idle limit, if there is one."""
        if self._idle_secs is None:
            return await self.piece()
        try:
            async with asyncio.timeout(self._idle_secs):
                return await self.piece()
        except TimeoutError:
            raise self._idle() from None

    def _idle(self) -> TransportError:
        detail = f"no byte for {self._idle_secs:.3g} s"
        return TransportError(Stage.IDLE_TIMEOUT, sent=True, detail=detail)

    async def piece(self) -> bytes:
        """What has arrived, at least a byte; empty at the end."""
        try:
            piece = await self._content.readany()
        except _errors() as error:
            raise _cut(error) from error
        return self._within(piece)

    def _within(self, piece: bytes) -> bytes:
        """The same, as long as there is room for it."""
        self._room -= len(piece)
        if self._room < 0:
            raise TransportError(Stage.TOO_LARGE, sent=True, detail="the body is larger than allowed")
        return piece


class _Lines:
    """Lines of a body as they arrive. A last line without an end counts too."""

    def __init__(self, reply: _Reply, line_max: int) -> None:
        self._reply = reply
        self._line_max = line_max
        self._ready: list[bytes] = []
        self._begun: list[bytes] = []
        self._begun_bytes = 0
        self._ended = False

    def __aiter__(self) -> _Lines:
        return self

    async def __anext__(self) -> bytes:
        while not self._ready:
            if self._ended:
                raise StopAsyncIteration
            await self._fill()
        return self._ready.pop().removesuffix(b"\r")

    async def _fill(self) -> None:
        piece = await self._reply.piece_in_time()
        self._ended = not piece
        first, *others = piece.split(b"\n")
        # Collected, not concatenated: a line that comes byte by byte would cost its square.
        self._begun.append(first)
        self._begun_bytes += len(first)
        if self._begun_bytes > self._line_max:
            raise TransportError(Stage.TOO_LARGE, sent=True, detail="a line is longer than allowed")
        if others or (self._ended and self._begun_bytes):
            lines = [b"".join(self._begun), *others]
            self._begun = [] if self._ended else [lines.pop()]
            self._begun_bytes = sum(map(len, self._begun))
            self._ready = lines[::-1]


@cache
def _errors() -> tuple[type[Exception], ...]:
    """What aiohttp raises when an exchange fails; it is imported with the first request."""
    import aiohttp

    return aiohttp.ClientError, OSError


@lru_cache(maxsize=URLS_KEPT)
def _parsed(url: str) -> yarl.URL:
    import yarl

    return yarl.URL(url)


def _open_session(*, trust_env: bool) -> aiohttp.ClientSession:
    import aiohttp

    class Connector(aiohttp.TCPConnector):
        """Tells the exchange when a connection is at hand. A trace of aiohttp's would tell the same and cost
        ten awaits a request."""

        async def connect(self, req: Any, traces: Any, timeout: Any) -> Any:
            connection = await super().connect(req, traces, timeout)
            if (exchange := _EXCHANGE.get()) is not None:
                exchange.connected()
            return connection

        async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> Any:
            if (exchange := _EXCHANGE.get()) is not None:
                exchange.reused = False
            return await super()._create_connection(req, traces, timeout)

    return aiohttp.ClientSession(
        connector=Connector(limit=CONNECTIONS_MAX, keepalive_timeout=KEEP_ALIVE_SECS),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(),  # none: one timer of ours keeps every limit
        headers={"user-agent": USER_AGENT},
        trust_env=trust_env,
    )


def _cut(error: BaseException) -> TransportError:
    return TransportError(Stage.CUT, sent=True, detail=_describe(error))


def _describe(error: BaseException) -> str:
    """The cause in plain words, in the system's own where it has some: aiohttp's repeat the address."""
    if isinstance(error, OSError) and error.errno:
        # Below zero are those of looking a name up, which strerror does not know.
        return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)
    name = type(error).__name__
    return _IN_WORDS.get(name) or f"{name}: {error}"[:300]
