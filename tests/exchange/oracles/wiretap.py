"""A proxy on loopback that passes everything on and writes down who said what, REST and websocket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

PREFIX = "/trade-api/v2"
BODY_BYTES_MAX = 32 * 1024 * 1024
DROPPED = {"host", "content-length", "transfer-encoding", "connection", "accept-encoding"}


@dataclass(frozen=True)
class Exchanged:
    """One request with its answer. ``who`` is the client that was at work."""

    who: str
    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    body: Any
    status: int
    answer: Any


@dataclass
class Wiretap:
    """What was said so far, on the way from ``port`` to the exchange at ``origin``."""

    origin: str
    port: int = 0
    who: str = ""
    exchanged: list[Exchanged] = field(default_factory=list)
    commands: list[tuple[str, Any]] = field(default_factory=list)
    frames: list[tuple[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{PREFIX}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("upgrade", "").lower() == "websocket":
            return await self._stream(request)
        raw = await request.read()
        headers = {name: value for name, value in request.headers.items() if name.lower() not in DROPPED}
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(
                request.method, self.origin + request.path_qs, data=raw or None, headers=headers
            ) as answer,
        ):
            body = await answer.read()
            self.exchanged.append(
                Exchanged(
                    who=self.who,
                    method=request.method,
                    path=request.path.removeprefix(PREFIX),
                    query=tuple(request.query.items()),
                    body=json.loads(raw) if raw else None,
                    status=answer.status,
                    answer=json.loads(body) if body else None,
                )
            )
            return web.Response(
                status=answer.status, body=body, headers={"content-type": answer.content_type}
            )

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        who = self.who
        headers = {name: value for name, value in request.headers.items() if name.startswith("KALSHI")}
        headers |= {name: value for name, value in request.headers.items() if name.startswith("kalshi")}
        near = web.WebSocketResponse()
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(self.origin + request.path, headers=headers) as far,
        ):
            await near.prepare(request)

            async def inward() -> None:
                async for message in near:
                    self.commands.append((who, json.loads(message.data)))
                    await far.send_str(message.data)

            async def outward() -> None:
                async for message in far:
                    self.frames.append((who, json.loads(message.data)))
                    await near.send_str(message.data)

            tasks = [asyncio.create_task(inward()), asyncio.create_task(outward())]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return near


@asynccontextmanager
async def tapped(origin: str) -> AsyncIterator[Wiretap]:
    """A tap in front of the exchange at ``origin``, on a port of its own."""
    tap = Wiretap(origin)
    application = web.Application(client_max_size=BODY_BYTES_MAX)
    application.router.add_route("*", "/{path:.*}", tap.handle)
    runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    tap.port = runner.addresses[0][1]
    try:
        yield tap
    finally:
        await runner.cleanup()
