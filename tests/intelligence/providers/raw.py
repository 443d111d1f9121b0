"""A server below HTTP: sends the bytes it is told to, at the pace it is told to, right or wrong."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final, Self

DRIP_SECS: Final = 0.02
HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
JSON_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

Script = Callable[[], AsyncIterator[bytes]]


@dataclass
class RawServer:
    """Plays ``script`` to every request and hangs up at its end. ``requests`` counts whole ones."""

    script: Script
    requests: int = 0
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**20)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self.settle(0)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def settle(self, connections: int) -> None:
        """Wait, at most a second, until so many clients are connected."""
        for _ in range(100):
            if len(self._writers) == connections:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"{len(self._writers)} clients are still connected")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
            self.requests += 1
            playing = asyncio.ensure_future(self._play(writer))
            leaving = asyncio.ensure_future(reader.read())
            await asyncio.wait({playing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            playing.cancel()
            leaving.cancel()
            await asyncio.gather(playing, leaving, return_exceptions=True)
        except asyncio.IncompleteReadError:
            pass  # a client that left before it had asked
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _play(self, writer: asyncio.StreamWriter) -> None:
        async for piece in self.script():
            writer.write(piece)
            await writer.drain()


def once(*pieces: bytes, gap_secs: float = 0.0, stall: bool = False) -> Script:
    """These bytes, then the end of the connection, or nothing ever again."""

    async def play() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece
            await asyncio.sleep(gap_secs)
        if stall:
            await asyncio.sleep(60)

    return play


def endless(head: bytes, piece: bytes, gap_secs: float = 0.0) -> Script:
    """A head, and then the same bytes for ever."""

    async def play() -> AsyncIterator[bytes]:
        yield head
        while True:
            yield piece
            await asyncio.sleep(gap_secs)

    return play


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def chunks(data: bytes, size: int) -> bytes:
    """A whole chunked body in chunks of so many bytes, its end included."""
    return b"".join(chunk(data[at : at + size]) for at in range(0, len(data), size)) + b"0\r\n\r\n"


def bomb(inflated_bytes: int) -> bytes:
    """Blanks that gzip packs a thousandfold."""
    packer = zlib.compressobj(9, wbits=31)
    packed = [packer.compress(b" " * 2**20) for _ in range(inflated_bytes >> 20)]
    return b"".join(packed) + packer.flush()
