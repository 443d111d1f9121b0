"""A server to break and a transport that leaves nothing behind."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from jurymast.intelligence.providers.transport import AiohttpTransport

from .server import WireServer, silence


@pytest.fixture
async def server() -> AsyncIterator[WireServer]:
    """Answers nothing until told how."""
    async with WireServer(silence) as running:
        yield running


@pytest.fixture
async def transport() -> AsyncIterator[AiohttpTransport]:
    opened = AiohttpTransport()
    yield opened
    await opened.close()


@pytest.fixture
def refused_url() -> Iterator[str]:
    """An address where nobody listens: the port is held but not open."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}/v1"


@pytest.fixture
def unaccepting_url() -> Iterator[str]:
    """An address whose queue of connections is full, so that connecting hangs."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        yield f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        for client in waiting:
            client.close()
