"""Signed requests to one host, each sent once, each with its limits.

A request that may have left and has no answer is never sent again: for a write that is OrderUnknown, to be
resolved by asking. What the exchange refused before it looked any further is repeated, once: a request for
which our clock is off (the offset is measured from the reply's ``Date``), and a read or a cancel that came
too soon, after its bucket has filled again. An order that came too soon is not: its price is of a moment ago.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from jurymast.domain.errors import ExchangeUnavailable, OrderRejected, OrderUnknown, SchemaDrift
from jurymast.exchange.kalshi.budget import Budgets, BudgetSpent
from jurymast.exchange.kalshi.hosts import REST_PREFIX, Credentials, Host
from jurymast.exchange.kalshi.operations import Draw, Operation
from jurymast.exchange.kalshi.reading import Record, decoded
from jurymast.exchange.kalshi.refusals import CLOCK_SKEWED, NOT_SENT, TOO_MANY, error_of, refusal_of
from jurymast.ports import Clock

if TYPE_CHECKING:
    import aiohttp

BODY_BYTES_MAX: Final = 32 * 1024 * 1024
CONNECTIONS_MAX: Final = 16
CONNECT_SECS: Final = 5.0
TOTAL_SECS: Final = 10.0
KEEP_ALIVE_SECS: Final = 30.0
USER_AGENT: Final = "jurymast"

_HALF_SECOND: Final = timedelta(milliseconds=500)
"""``Date`` has whole seconds, cut off."""

Query = Mapping[str, str | int | bool | Sequence[str] | None]
"""Parameters of a request; None is left out, a sequence repeats its name."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer."""

    status: int
    body: bytes
    date: str


class KalshiHttp:
    """The way to one host with one key. ``total_secs`` bounds every request, the wait for tokens apart.

    Raises ConfigError when the key belongs to another environment.
    """

    def __init__(
        self,
        host: Host,
        credentials: Credentials,
        *,
        clock: Clock,
        budgets: Budgets | None = None,
        total_secs: float = TOTAL_SECS,
        connect_secs: float = CONNECT_SECS,
    ) -> None:
        credentials.check(host)
        self.host: Final = host
        self.budgets: Final = budgets or Budgets(clock)
        self.skew: timedelta = timedelta(0)
        """Exchange time less our time, as last measured."""
        self._signer = credentials.signer
        self._clock = clock
        self._total_secs = total_secs
        self._connect_secs = connect_secs
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def call(
        self,
        operation: Operation,
        *ids: str,
        query: Query | None = None,
        body: Mapping[str, Any] | None = None,
        items: int = 1,
    ) -> Record:
        """Do an operation and read its answer. An empty answer (204) is an empty record.

        ``items`` is the size of a batch. Raises OrderRejected, OrderUnknown, SchemaDrift or
        ExchangeUnavailable as :mod:`.refusals` says.
        """
        answer = await self.fetch(operation, *ids, query=query, body=body, items=items)
        return _record(operation, answer or b"{}")

    async def fetch(
        self,
        operation: Operation,
        *ids: str,
        query: Query | None = None,
        body: Mapping[str, Any] | None = None,
        items: int = 1,
    ) -> bytes:
        """The same for an answer that the caller reads itself. Raises as :meth:`call`, SchemaDrift apart."""
        path = REST_PREFIX + operation.path.format(*(quote(each, safe="") for each in ids))
        target = path + _query_text(query)
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        await self._pay(operation, items)
        reply = await self._send(operation, target, data)
        if reply.status == 429:
            self.budgets.refused(operation)
            if operation.draw is not Draw.WRITE:
                await self._pay(operation, items)
                reply = await self._send(operation, target, data)
        if _clock_refused(reply) and self._measure_skew(reply.date):
            reply = await self._send(operation, target, data)
        if not 200 <= reply.status < 300:
            raise error_of(operation, reply.status, reply.body)
        return reply.body

    async def close(self) -> None:
        """Close every connection, for good. Harmless to repeat."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def open_stream(self, path: str, frame_bytes_max: int) -> aiohttp.ClientWebSocketResponse:
        """A websocket with a signed handshake. Raises aiohttp's errors; a clock that is off is corrected
        for the next time. The caller bounds the time."""
        import aiohttp

        session = self._opened()
        try:
            return await session.ws_connect(
                self.host.stream_origin + path,
                headers=self.signed_headers("GET", path),
                max_msg_size=frame_bytes_max,
                timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
            )
        except aiohttp.WSServerHandshakeError as refused:
            if refused.status == 401 and refused.headers is not None:
                self._measure_skew(refused.headers.get("date", ""))
            raise

    def signed_headers(self, method: str, path: str) -> dict[str, str]:
        """Headers of a request that leaves now, by the exchange's clock."""
        at = self._clock.utc_now() + self.skew
        return self._signer.headers(int(at.timestamp() * 1000), method, path)

    async def _pay(self, operation: Operation, items: int) -> None:
        try:
            await self.budgets.take(operation, items)
        except BudgetSpent as spent:
            if operation.draw.changes:
                raise OrderRejected(TOO_MANY, f"{spent}; nothing was sent") from None
            raise ExchangeUnavailable(f"{spent}; ask later") from None

    async def _send(self, operation: Operation, target: str, data: bytes | None) -> Reply:
        import aiohttp

        trail = _Trail()
        try:
            async with asyncio.timeout(self._total_secs):
                return await self._exchange(operation, target, data, trail)
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            raise _silence(operation, trail, f"{type(error).__name__}: {error}"[:300]) from error

    async def _exchange(self, operation: Operation, target: str, data: bytes | None, trail: _Trail) -> Reply:
        import aiohttp
        import yarl

        headers = self.signed_headers(operation.method, target)
        if data is not None:
            headers["content-type"] = "application/json"
        session = self._opened()
        async with session.request(
            operation.method,
            # Encoded already: what is signed is what is sent.
            yarl.URL(self.host.rest_origin + target, encoded=True),
            headers=headers,
            data=data,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=self._connect_secs),
            trace_request_ctx=trail,
        ) as response:
            body = await _bounded(response)
            return Reply(response.status, body, response.headers.get("date", ""))

    def _opened(self) -> aiohttp.ClientSession:
        if self._closed:
            raise ConnectionError("the connection to the exchange is closed")
        self._session = self._session or _open_session()
        return self._session

    def _measure_skew(self, date: str) -> bool:
        """Take the offset of our clock from a reply's ``Date``; False when it can't be read."""
        try:
            theirs = parsedate_to_datetime(date)
        except ValueError:
            return False
        if theirs.tzinfo is None:
            return False
        self.skew = theirs + _HALF_SECOND - self._clock.utc_now()
        return True


@dataclass(slots=True)
class _Trail:
    """Whether a connection was at hand: from then on the request counts as sent."""

    sent: bool = False


def _clock_refused(reply: Reply) -> bool:
    return reply.status == 401 and refusal_of(reply.status, reply.body).code == CLOCK_SKEWED


def _record(operation: Operation, body: bytes) -> Record:
    """The answer to a success. Raises SchemaDrift, or OrderUnknown where something was changed."""
    try:
        return decoded(operation.name, body)
    except SchemaDrift as drift:
        if operation.draw.changes:
            raise OrderUnknown(f"{drift}; it was done, but what became of it must be asked for") from None
        raise


def _silence(operation: Operation, trail: _Trail, detail: str) -> Exception:
    if not operation.draw.changes:
        return ExchangeUnavailable(f"{operation.name}: {detail}; nothing is known, ask again")
    if not trail.sent:
        return OrderRejected(NOT_SENT, f"{operation.name}: {detail}; no connection, nothing was sent")
    return OrderUnknown(f"{operation.name}: {detail}; it may have arrived: ask before sending more")


def _query_text(query: Query | None) -> str:
    given = {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in (query or {}).items()
        if value is not None
    }
    return f"?{urlencode(given, doseq=True)}" if given else ""


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    import aiohttp

    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > BODY_BYTES_MAX:
            raise aiohttp.ClientPayloadError(f"the answer is larger than {BODY_BYTES_MAX} bytes")
    return bytes(body)


def _open_session() -> aiohttp.ClientSession:
    import aiohttp

    async def connected(_session: object, context: Any, _params: object) -> None:
        if context.trace_request_ctx is not None:  # a websocket's handshake has none
            context.trace_request_ctx.sent = True

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(connected)
    trace.on_connection_reuseconn.append(connected)
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX, keepalive_timeout=KEEP_ALIVE_SECS),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"user-agent": USER_AGENT},
        trace_configs=[trace],
    )
    # aiohttp sends PUT and DELETE again when a kept connection turns out to be dead; we send once.
    session._retry_connection = False  # noqa: SLF001 (no public switch; a test holds it to its word)
    return session
