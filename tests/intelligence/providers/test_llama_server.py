"""The local provider against llama.cpp's real server, which knows tricks that no emulator would think of.

Needs the server's binary: ``tools/build_llama_server.sh DIRECTORY`` builds one. The model is made here and
knows nothing.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from jurymast.domain.decision import Forecast
from jurymast.domain.provider import (
    AIRequest,
    Billing,
    Failure,
    FailureKind,
    Message,
    ProviderName,
    Secret,
)
from jurymast.intelligence.prompts import FORECAST_SCHEMA, SYSTEM
from jurymast.intelligence.providers.base import BaseProvider
from jurymast.intelligence.providers.transport import AiohttpTransport
from jurymast.policy.parsing import parse_forecast

from .samples import ask, failing, provider
from .tiny_gguf import write_model

BINARY = os.environ.get("LLAMA_SERVER_BIN", "")
pytestmark = [
    pytest.mark.llama,
    pytest.mark.skipif(
        not BINARY,
        reason="LLAMA_SERVER_BIN names no llama-server; tools/build_llama_server.sh DIRECTORY builds one",
    ),
]

KEY = Secret("sekrit")
SLOTS = 2
READY_SECS_MAX = 30.0
UNHURRIED_SECS = 30.0
SHORT_SECS = 0.4
LAYERS_OF_A_SLOW_START = 60
FORMS = pytest.mark.parametrize("streaming", [False, True], ids=["whole", "stream"])

FORECAST = AIRequest(
    messages=(Message("system", SYSTEM), Message("user", "Question: Will it rain in Bergen tomorrow?")),
    schema=FORECAST_SCHEMA,
    schema_name="forecast",
    max_output_tokens=1_000,
)
ENDLESS = AIRequest((Message("user", "Talk."),), max_output_tokens=3_000)
"""Without a schema the model never stops by itself."""
ONE_WORD = AIRequest((Message("user", "Talk."),), max_output_tokens=2)


class Llama:
    """One llama-server process."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}/v1"

    async def ready(self) -> None:
        """Wait, within bounds, until the model is loaded."""
        async with asyncio.timeout(READY_SECS_MAX), aiohttp.ClientSession() as http:
            while True:
                try:
                    async with http.get(self.url.replace("/v1", "/health")) as reply:
                        if reply.status == 200:
                            return
                except aiohttp.ClientConnectionError:
                    assert self.process.returncode is None, "llama-server has ended"
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def stopped(self) -> AsyncIterator[None]:
        """Frozen in mid-air: its sockets accept, and nothing answers."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "tiny.gguf")


@asynccontextmanager
async def running(model: Path) -> AsyncIterator[Llama]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = f"--host 127.0.0.1 --port {port} -c 8192 -np {SLOTS} -t 1 --jinja --no-webui --offline"
    process = await asyncio.create_subprocess_exec(
        BINARY,
        *("--model", str(model), "--alias", "tiny", "--api-key", KEY.value, *arguments.split()),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    llama = Llama(process, port)
    try:
        yield llama
    finally:
        await llama.kill()


@pytest.fixture
async def llama(model: Path) -> AsyncIterator[Llama]:
    async with running(model) as started:
        await started.ready()
        yield started


def local(
    llama: Llama,
    transport: AiohttpTransport,
    *,
    streaming: bool = True,
    key: Secret = KEY,
    model: str = "tiny",
) -> BaseProvider:
    return provider(
        ProviderName.LOCAL,
        llama.url,
        transport,
        stream=streaming,
        api_key=key,
        models=(model,),
        max_concurrent=32,
    )


@FORMS
async def test_forecast_of_a_real_server(llama: Llama, transport: AiohttpTransport, streaming: bool) -> None:
    """Bound to the bot's own schema, a real server gives forecasts that pass the strict parser."""
    asked = local(llama, transport, streaming=streaming)
    for _ in range(5):
        response = await ask(asked, UNHURRIED_SECS, FORECAST)
        assert isinstance(parse_forecast(response.content, ()), Forecast)
        assert response.usage.input > len(SYSTEM) / 4
        assert response.usage.output > 100
        assert (response.cost, response.finish_reason) == (0, "stop")
        assert (response.first_token_secs is not None) is streaming


async def test_requests_one_after_the_other(llama: Llama, transport: AiohttpTransport) -> None:
    """A server that hangs up after each stream, against its word, loses no request of ours."""
    asked = local(llama, transport)
    for _ in range(30):
        assert (await failing(asked, UNHURRIED_SECS, ONE_WORD)).failure.kind is FailureKind.TRUNCATED


@FORMS
async def test_wrong_key(llama: Llama, transport: AiohttpTransport, streaming: bool) -> None:
    """A key the server does not know is an access failure, and costs nothing."""
    asked = local(llama, transport, streaming=streaming, key=Secret("guess"))
    failure = (await failing(asked, UNHURRIED_SECS, FORECAST)).failure
    assert (failure.kind, failure.status, failure.billing) == (FailureKind.AUTH, 401, Billing.NOT_BILLED)


@FORMS
async def test_prompt_that_does_not_fit(llama: Llama, transport: AiohttpTransport, streaming: bool) -> None:
    """A prompt beyond the context is known as such, not as sickness."""
    long = AIRequest((Message("user", "word " * 4_000),))
    failure = (await failing(local(llama, transport, streaming=streaming), UNHURRIED_SECS, long)).failure
    assert (failure.kind, failure.status) == (FailureKind.CONTEXT_LENGTH, 400)
    assert failure.code == "exceed_context_size_error"


@FORMS
@pytest.mark.parametrize(
    "request_",
    [
        AIRequest(ENDLESS.messages, max_output_tokens=40),
        AIRequest(FORECAST.messages, FORECAST_SCHEMA, max_output_tokens=40),
        AIRequest((Message("user", "x" * 4_000),), max_output_tokens=3_000),
    ],
    ids=["limit", "limit within the schema", "context full half-way"],
)
async def test_cut_off_answer(
    llama: Llama, transport: AiohttpTransport, request_: AIRequest, streaming: bool
) -> None:
    """An answer cut off by a limit is a failure that says what it has used, never half a forecast."""
    asked = local(llama, transport, streaming=streaming)
    failure = (await failing(asked, UNHURRIED_SECS, request_)).failure
    assert (failure.kind, failure.billing) == (FailureKind.TRUNCATED, Billing.BILLED)
    assert failure.usage is not None
    assert 0 < failure.usage.output <= request_.max_output_tokens


@FORMS
async def test_schema_that_is_none(llama: Llama, transport: AiohttpTransport, streaming: bool) -> None:
    """A schema the server can't read is our own mistake."""
    wrong = AIRequest(FORECAST.messages, {"type": "nonsense"})
    failure = (await failing(local(llama, transport, streaming=streaming), UNHURRIED_SECS, wrong)).failure
    assert (failure.kind, failure.status) == (FailureKind.BAD_REQUEST, 400)


async def test_probe_and_models(llama: Llama, transport: AiohttpTransport) -> None:
    """A model that never stops is alive; the list names it, and needs the key no more than it says."""
    asked = local(llama, transport)
    assert [info.model for info in await asked.list_models(UNHURRIED_SECS)] == ["tiny"]
    assert (await asked.health_check("tiny", UNHURRIED_SECS)).is_healthy


async def test_model_auto_is_what_the_server_lists(llama: Llama, transport: AiohttpTransport) -> None:
    """Whoever configures no model gets the one that is loaded, by name."""
    response = await ask(local(llama, transport, model="auto"), UNHURRIED_SECS, FORECAST)
    assert (response.requested_model, response.served_model, response.swapped) == ("tiny", "tiny", False)


async def test_unknown_model_is_served_by_another(llama: Llama, transport: AiohttpTransport) -> None:
    """llama.cpp answers for any model; the response names the one that really did."""
    response = await ask(local(llama, transport, model="mistral"), UNHURRIED_SECS, FORECAST)
    assert (response.requested_model, response.served_model, response.swapped) == ("mistral", "tiny", True)


@FORMS
async def test_frozen_server_is_given_up_and_recovers(
    llama: Llama, transport: AiohttpTransport, streaming: bool
) -> None:
    """A stopped process accepts and says nothing: the time-out ends it; set going again, it answers."""
    asked = local(llama, transport, streaming=streaming)
    async with llama.stopped():
        failure = (await failing(asked, SHORT_SECS, FORECAST)).failure
        assert (failure.kind, failure.billing) == (FailureKind.TIMEOUT, Billing.UNKNOWN)
        assert not (await asked.health_check("tiny", SHORT_SECS)).is_healthy
    assert isinstance(parse_forecast((await ask(asked, UNHURRIED_SECS, FORECAST)).content, ()), Forecast)


async def test_server_frozen_in_mid_answer(llama: Llama, transport: AiohttpTransport) -> None:
    """A stream that stops half-way is a stall, found before the time-out."""
    asked = local(llama, transport)
    asking = asyncio.ensure_future(failing(asked, 1.0, ENDLESS))
    await asyncio.sleep(0.1)
    async with llama.stopped():
        failure = (await asking).failure
    assert (failure.kind, failure.billing) == (FailureKind.STALLED, Billing.UNKNOWN)


async def test_killed_server(llama: Llama, transport: AiohttpTransport) -> None:
    """A process killed in mid-answer cuts it; after that nobody listens, and nothing is sent."""
    asked = local(llama, transport)
    asking = asyncio.ensure_future(failing(asked, UNHURRIED_SECS, ENDLESS))
    await asyncio.sleep(0.1)
    await llama.kill()
    assert (await asking).failure.kind is FailureKind.CUT
    failure = (await failing(asked, UNHURRIED_SECS, FORECAST)).failure
    assert (failure.kind, failure.billing) == (FailureKind.CONNECT, Billing.NOT_SENT)


@FORMS
async def test_more_requests_than_slots(llama: Llama, transport: AiohttpTransport, streaming: bool) -> None:
    """The server queues what it has no slot for; every request of a crowd gets its answer."""
    asked = local(llama, transport, streaming=streaming)
    responses = await asyncio.gather(*(ask(asked, UNHURRIED_SECS, FORECAST) for _ in range(6 * SLOTS)))
    assert all(isinstance(parse_forecast(response.content, ()), Forecast) for response in responses)


async def test_queue_of_the_server_against_slots_of_ours(llama: Llama, transport: AiohttpTransport) -> None:
    """With as many slots as the server has, a crowd waits on our side, and blames nobody for it."""
    asked = provider(
        ProviderName.LOCAL, llama.url, transport, api_key=KEY, models=("tiny",), max_concurrent=SLOTS
    )
    async with llama.stopped():
        errors = await asyncio.gather(*(failing(asked, SHORT_SECS, FORECAST) for _ in range(4 * SLOTS)))
    kinds = [error.failure.kind for error in errors]
    assert kinds.count(FailureKind.TIMEOUT) == SLOTS
    assert kinds.count(FailureKind.BUSY) == 3 * SLOTS


async def test_hanging_up_frees_the_slot(llama: Llama, transport: AiohttpTransport) -> None:
    """A cancelled request stops the server's work: those after it need not wait for its end."""
    asked = local(llama, transport)
    for _ in range(3 * SLOTS):
        asking = asyncio.ensure_future(ask(asked, UNHURRIED_SECS, ENDLESS))
        await asyncio.sleep(0.05)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY.value}"}) as http:
        async with asyncio.timeout(READY_SECS_MAX):
            while True:
                async with http.get(llama.url.replace("/v1", "/slots")) as reply:
                    if not any(slot["is_processing"] for slot in await reply.json()):
                        break
                await asyncio.sleep(0.02)
    assert isinstance(parse_forecast((await ask(asked, UNHURRIED_SECS, FORECAST)).content, ()), Forecast)


async def test_loading_is_not_sickness_of_the_model(tmp_path: Path, transport: AiohttpTransport) -> None:
    """While a server starts it is not there, then overloaded, then it speaks; never anything worse."""
    slow = write_model(tmp_path / "slow.gguf", layers=LAYERS_OF_A_SLOW_START)
    failures: list[Failure] = []
    async with running(slow) as llama, asyncio.timeout(READY_SECS_MAX):
        asked = local(llama, transport, model="auto")
        while not failures or failures[-1].kind is not FailureKind.TRUNCATED:
            failures.append((await failing(asked, UNHURRIED_SECS, ONE_WORD)).failure)
            await asyncio.sleep(0.001)
    *loading, spoken = failures
    assert {failure.kind for failure in loading} == {FailureKind.CONNECT, FailureKind.OVERLOADED}
    assert {failure.billing for failure in loading} == {Billing.NOT_SENT, Billing.NOT_BILLED}
    assert spoken.usage is not None
