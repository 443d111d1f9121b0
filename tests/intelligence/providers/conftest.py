"""A server to break and a transport that leaves nothing behind."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime

import pytest

from jurymast.domain.provider import ProviderName
from jurymast.intelligence.providers.transport import AiohttpTransport
from jurymast.lab.emulators.fleet import EmulatorFleet

from .samples import MODELS
from .server import WireServer, silence


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "llama: needs a real llama-server (LLAMA_SERVER_BIN)")


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


class CoinOracle:
    """A world in which every market is a coin."""

    def log_odds(self, ticker: str, as_of: datetime) -> float | None:
        return 0.0

    def outcome(self, ticker: str) -> bool | None:
        return True

    def calibration_sample(self) -> Sequence[tuple[float, bool]]:
        return [(0.0, True), (0.0, False)] * 50


@pytest.fixture
async def fleet() -> AsyncIterator[EmulatorFleet]:
    """The lab's emulators, answering at once."""
    models = {ProviderName.LOCAL: (MODELS[ProviderName.LOCAL],)}
    async with EmulatorFleet(CoinOracle(), seed=7, latency_scale=0.0, models=models) as running:
        yield running
