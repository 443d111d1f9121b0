"""A loopback HTTP server that behaves as each test tells it to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]

DRIP_SECS = 0.02


@dataclass
class Received:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class WireServer:
    """Answers every path with ``behaviour`` and remembers what it was asked."""

    behaviour: Behaviour
    received: list[Received] = field(default_factory=list)
    gone: int = 0
    """Requests whose client hung up before the answer was complete."""
    _runner: web.AppRunner | None = None
    _port: int = 0

    async def __aenter__(self) -> Self:
        application = web.Application(client_max_size=2**24)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(
            application, handler_cancellation=True, access_log=None, shutdown_timeout=0.05
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def connections(self) -> int:
        """How many clients are connected now."""
        assert self._runner is not None
        assert self._runner.server is not None
        return len(self._runner.server.connections)

    async def asked(self, requests: int) -> None:
        """Wait, at most a second, until so many requests have arrived."""
        for _ in range(100):
            if len(self.received) >= requests:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"only {len(self.received)} requests have arrived")

    async def settle(self, connections: int) -> None:
        """Wait, at most a second, until so many clients are connected."""
        for _ in range(100):
            if self.connections == connections:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"{self.connections} clients are still connected")

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(Received(request.method, request.path, headers, body))
        try:
            return await self.behaviour(request)
        except asyncio.CancelledError:
            self.gone += 1
            raise


def plain(
    body: object, status: int = 200, content_type: str = "application/json", **headers: str
) -> Behaviour:
    """Answer with this body at once; anything but text and bytes goes out as JSON."""
    raw = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=raw, status=status, content_type=content_type, headers=named)

    return answer


def sse(events: Iterable[object], *, named: bool = False) -> bytes:
    """Events as the bytes of a stream; ``named`` writes Anthropic's ``event:`` lines too."""
    out = []
    for event in events:
        if named and isinstance(event, dict):
            out.append(f"event: {event['type']}\n")
        data = event if isinstance(event, str) else json.dumps(event)
        out.append(f"data: {data}\n\n")
    return "".join(out).encode()


def stream(
    *pieces: bytes, then: str = "end", gap_secs: float = 0.0, nothing: bytes = b": ping\n\n", **headers: str
) -> Behaviour:
    """Send these bytes as a stream, then: ``end``, ``cut``, ``stall``, or ``drip`` the ``nothing``."""

    async def answer(request: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response = web.StreamResponse(headers={"content-type": "text/event-stream", **named})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
            if gap_secs:
                await asyncio.sleep(gap_secs)
        await _finish(request, response, then, nothing)
        return response

    return answer


def body_then(head: bytes, length: int, then: str, status: int = 200) -> Behaviour:
    """Promise ``length`` bytes of JSON, send ``head``, then ``cut``, ``stall`` or drip blanks."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers={"content-type": "application/json"})
        response.content_length = length
        await response.prepare(request)
        await response.write(head)
        await _finish(request, response, then, b" ")
        return response

    return answer


async def reset(request: web.Request) -> web.StreamResponse:
    """Hang up without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def silence(_: web.Request) -> web.StreamResponse:
    """Never answer."""
    await asyncio.sleep(60)
    raise AssertionError("the client waited a minute")


async def _finish(request: web.Request, response: web.StreamResponse, then: str, nothing: bytes) -> None:
    if then == "cut":
        assert request.transport is not None
        request.transport.abort()
    elif then == "stall":
        await asyncio.sleep(60)
    elif then == "drip":
        for _ in range(3_000):
            await response.write(nothing)
            await asyncio.sleep(DRIP_SECS)
