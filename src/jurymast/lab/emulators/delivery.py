"""Puts an answer on the socket at its pace, or fails to in the way that was asked for."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass
from typing import Final, NoReturn

from aiohttp import web

from jurymast.lab.emulators.faults import Fault
from jurymast.lab.emulators.tempo import FIRST_TOKEN_SHARE
from jurymast.lab.emulators.wire import Frames

SLOW_FIRST_TOKEN_SECS: Final = 60.0
"""Silence of ``slow_first_token`` at latency scale 1."""

SLOW_FIRST_TOKEN_SECS_MIN: Final = 1.0
DRIP_SECS: Final = 0.5
"""Between two useless bytes of ``drip`` at latency scale 1."""

DRIP_SECS_MIN: Final = 0.05

_LINGER_NONE: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Pacing:
    """How long one answer takes, in seconds, and what is wrong with its delivery."""

    secs: float
    latency_scale: float
    fault: Fault | None = None

    @property
    def first_token_secs(self) -> float:
        return FIRST_TOKEN_SHARE * self.secs + self.silence_secs

    @property
    def silence_secs(self) -> float:
        if self.fault is not Fault.SLOW_FIRST_TOKEN:
            return 0.0
        return max(SLOW_FIRST_TOKEN_SECS * self.latency_scale, SLOW_FIRST_TOKEN_SECS_MIN)

    @property
    def drip_secs(self) -> float:
        return max(DRIP_SECS * self.latency_scale, DRIP_SECS_MIN)


async def send_whole(request: web.Request, body: bytes, pacing: Pacing) -> web.StreamResponse:
    """Answer with one JSON body."""
    await asyncio.sleep(pacing.secs + pacing.silence_secs)
    match pacing.fault:
        case Fault.DRIP:
            response = await _open_stream(request, "application/json")
            await _drip(response, b" ", pacing)
        case Fault.CUT:
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            response.content_length = len(body)
            await response.prepare(request)
            await response.write(body[: len(body) // 2])
            await hang_up(request)
        case Fault.INVALID_JSON:
            body = body[: len(body) // 2]
    return web.Response(body=body, content_type="application/json")


async def send_stream(
    request: web.Request, frames: Frames, error_frame: bytes, pacing: Pacing
) -> web.StreamResponse:
    """Answer as a stream; its faults strike after half of the text."""
    await asyncio.sleep(pacing.first_token_secs)
    response = await _open_stream(request, frames.content_type)
    half = len(frames.deltas) // 2
    gap_secs = (1 - FIRST_TOKEN_SHARE) * pacing.secs / max(len(frames.deltas), 1)
    for frame in frames.opening:
        await response.write(frame)
    await _write_paced(response, frames.deltas[:half], gap_secs)
    deltas, closing = frames.deltas[half:], frames.closing
    match pacing.fault:
        case Fault.DRIP:
            await _drip(response, frames.keepalive, pacing)
        case Fault.CUT:
            await hang_up(request)
        case Fault.STREAM_ERROR:
            deltas, closing = (), (error_frame,)
        case Fault.INVALID_JSON:
            first, *others = (*deltas, *closing)
            deltas, closing = (), (first[: len(first) // 2] + b"\n\n", *others)
    await _write_paced(response, deltas, gap_secs)
    for frame in closing:
        await response.write(frame)
    await response.write_eof()
    return response


async def hang_up(request: web.Request, *, reset: bool = False) -> NoReturn:
    """Close the connection now: in order after what was written, or with a TCP reset."""
    transport = request.transport
    if transport is not None:
        if reset:
            connection = transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
            transport.abort()
        else:
            transport.close()
    await never()


async def never() -> NoReturn:
    """Wait until the server cancels this request, because its caller left or the port closes."""
    while True:
        await asyncio.get_running_loop().create_future()


async def _open_stream(request: web.Request, content_type: str) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": content_type, "Cache-Control": "no-cache"})
    await response.prepare(request)
    return response


async def _write_paced(response: web.StreamResponse, frames: tuple[bytes, ...], gap_secs: float) -> None:
    for frame in frames:
        await response.write(frame)
        if gap_secs:
            await asyncio.sleep(gap_secs)


async def _drip(response: web.StreamResponse, nothing: bytes, pacing: Pacing) -> NoReturn:
    while True:
        await response.write(nothing)
        await asyncio.sleep(pacing.drip_secs)
