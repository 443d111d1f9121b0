"""A fleet that answers at once, and the vendors' own clients to talk to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import aiohttp
import anthropic
import openai
import pytest
from emulator_world import SyntheticOracle

from jurymast.domain.provider import ProviderName
from jurymast.lab.emulators.fleet import EmulatorFleet

CLIENT_TIMEOUT_SECS = 5.0


@pytest.fixture(scope="session")
def oracle() -> SyntheticOracle:
    return SyntheticOracle()


@pytest.fixture
async def fleet(oracle: SyntheticOracle) -> AsyncIterator[EmulatorFleet]:
    async with EmulatorFleet(oracle, seed=7, latency_scale=0.0) as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=CLIENT_TIMEOUT_SECS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        yield session


@pytest.fixture
async def chat_client(
    fleet: EmulatorFleet,
) -> AsyncIterator[Callable[[ProviderName], openai.AsyncOpenAI]]:
    # One plain HTTP client for all: loading certificates for each would be most of the test run.
    async with openai.DefaultAsyncHttpxClient(verify=False) as http_client:

        def client(provider: ProviderName) -> openai.AsyncOpenAI:
            return openai.AsyncOpenAI(
                api_key="test",
                base_url=fleet.base_urls[provider],
                max_retries=0,
                timeout=CLIENT_TIMEOUT_SECS,
                http_client=http_client,
            )

        yield client


@pytest.fixture
async def messages_client(fleet: EmulatorFleet) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(
        api_key="test",
        base_url=fleet.base_urls[ProviderName.ANTHROPIC].removesuffix("/v1"),
        max_retries=0,
        timeout=CLIENT_TIMEOUT_SECS,
        http_client=anthropic.DefaultAsyncHttpxClient(verify=False),
    ) as client:
        yield client
