"""What every request passes before and after its handler: faults, signature, limits, errors.

unavailable, storms and dead endpoints strike first, as an edge in front of the exchange would
then the signature, for what is a member's own, and the clock it was made by
then the buckets; a request that finds none left costs nothing
then the handler, unless a write is to be lost on the way in
then what becomes of the answer: lost on the way out, replaced, or damaged
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any, Final, TypeAlias

import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware

from jurymast.domain.errors import ExchangeUnavailable, OrderRejected
from jurymast.exchange.embedded.server.faults import Fault
from jurymast.exchange.embedded.server.limits import API
from jurymast.exchange.embedded.server.replies import error_reply, refused, reply, too_many
from jurymast.exchange.embedded.server.site import Site

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

_WALL_SECS: Final = web.RequestKey("wall_secs", float)
SOCKET_PATH: Final = "/trade-api/ws/v2"
ANONYMOUS: Final = ""
BATCH_ITEMS_MAX: Final = 1_000
_OWN: Final = (f"{API}/portfolio", f"{API}/account/limits", SOCKET_PATH)
_ENUMS: Final = ("status", "side", "book_side", "time_in_force", "market_type")
_FIELDS: Final = (
    "remaining_count",
    "reduced_by",
    "remaining_count_fp",
    "count_fp",
    "position_fp",
    "balance",
    "yes_dollars",
    "yes_bid_dollars",
    "exchange_active",
)


class Gate:
    """The middleware of one server."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def middleware(self) -> Middleware:
        """The gate as aiohttp takes it."""

        @web.middleware
        async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self.let_through(request, handler)

        return gate

    async def let_through(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """One request from door to door; outside the API nothing is checked."""
        if not request.path.startswith(f"{API}/"):
            return await handler(request)
        struck = self._edge(request)
        if struck is not None:
            return struck
        try:
            caller = self.caller(request)
            if not await self._admitted(request, caller):
                return too_many()
            return await self._handled(request, handler)
        except OrderRejected as error:
            return self.refusal(request, error)
        except ExchangeUnavailable as error:
            return error_reply("service_unavailable", str(error))
        except web.HTTPException as error:
            code = "not_found" if error.status == 404 else "bad_request"
            return error_reply(code, error.reason, status=error.status)

    def caller(self, request: web.Request) -> str:
        """Who asks: a key id, or nobody for market data. Raises OrderRejected."""
        signed = "KALSHI-ACCESS-KEY" in request.headers
        if not signed and not request.path.startswith(_OWN):
            return ANONYMOUS
        wall_secs = self._site.clock.utc_now().timestamp()
        skew = self._site.faults.strikes(Fault.CLOCK_SKEW)
        if skew is not None:
            wall_secs += skew.number(120.0)
        request[_WALL_SECS] = wall_secs
        path = request.rel_url.raw_path
        return self._site.keys.check(request.headers, request.method, path, wall_secs)

    def refusal(self, request: web.Request, error: OrderRejected) -> web.Response:
        """A refusal, dated by the clock that judged the request: a client may set its own by it."""
        answer = refused(error)
        if _WALL_SECS in request:
            answer.headers["Date"] = formatdate(request[_WALL_SECS], usegmt=True)
        return answer

    def _edge(self, request: web.Request) -> web.Response | None:
        faults = self._site.faults
        if faults.strikes(Fault.UNAVAILABLE) is not None:
            return error_reply("service_unavailable", "SIMULATED: the exchange was told to be unavailable")
        if faults.strikes(Fault.STORM_429) is not None:
            return too_many()
        if "/orders" in request.path and faults.strikes(Fault.GONE_410) is not None:
            return error_reply("deprecated_v1_order_endpoint", "SIMULATED: this endpoint is gone")
        return None

    async def _admitted(self, request: web.Request, caller: str) -> bool:
        resource = request.match_info.route.resource
        path = (resource.canonical if resource is not None else request.path).removeprefix(API)
        items = 1
        if path.endswith("/batched"):
            items = _items(await request.read())
        now = self._site.clock.monotonic()
        return self._site.buckets(caller).admit(request.method, path, items, now)

    async def _handled(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        faults = self._site.faults
        writes = request.method != "GET"
        self._site.exchange.refresh()
        if writes and faults.strikes(Fault.REJECT_THEN_TIMEOUT) is not None:
            return await self._silence(request)
        unheard = writes and faults.strikes(Fault.ACCEPT_THEN_TIMEOUT) is not None
        broken = faults.strikes(Fault.ACCEPT_THEN_5XX) if writes else None
        try:
            answer = await handler(request)
        except OrderRejected:
            if unheard:
                return await self._silence(request)
            raise
        if unheard:
            return await self._silence(request)
        if broken is not None:
            return error_reply(
                "internal_error", "SIMULATED: lost on the way out", status=int(broken.number(503))
            )
        return self._damaged(answer)

    async def _silence(self, request: web.Request) -> web.Response:
        """No answer, then a broken connection; ends at once when the caller gives up."""
        await asyncio.sleep(self._site.settings.hold_secs)
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)

    def _damaged(self, answer: web.StreamResponse) -> web.StreamResponse:
        """Faults that damage answers strike those that have something to damage."""
        for spec in self._site.faults.active():
            if spec.fault not in _DAMAGE or not isinstance(answer, web.Response) or answer.status >= 300:
                continue
            names, damage = _DAMAGE[spec.fault]
            body = msgspec.json.decode(answer.body) if isinstance(answer.body, bytes) else None
            place = _first(body, (spec.value,) if spec.value else names)
            if place is not None and self._site.faults.strikes(spec.fault) is not None:
                damage(*place)
                answer = reply(body, answer.status)
        return answer


def _items(raw: bytes) -> int:
    """How many items a batch has; a body that is none is one request."""
    try:
        batch = msgspec.json.decode(raw, type=dict[str, list[Any]])
    except msgspec.MsgspecError:
        return 1
    count = sum(len(rows) for rows in batch.values())
    if count > BATCH_ITEMS_MAX:
        raise OrderRejected("invalid_parameters", f"more than {BATCH_ITEMS_MAX} items in a batch")
    return max(count, 1)


def _unheard_of(owner: dict[str, Any], name: str) -> None:
    owner[name] = "entangled"


def _left_out(owner: dict[str, Any], name: str) -> None:
    del owner[name]


def _first(value: Any, names: tuple[str, ...]) -> tuple[dict[str, Any], str] | None:
    """The first field of one of these names with the object it is in, outermost first."""
    if isinstance(value, dict):
        for name in names:
            if name in value:
                return value, name
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((found for part in parts if (found := _first(part, names)) is not None), None)


_DAMAGE: Final = {
    Fault.UNKNOWN_ENUM: (_ENUMS, _unheard_of),
    Fault.MISSING_FIELD: (_FIELDS, _left_out),
}
"""Which fields are damaged unless one is named, and how."""
