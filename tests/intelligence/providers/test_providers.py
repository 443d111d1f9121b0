"""The four providers when they are well: answers, money, slots, probes, model lists, cancelling."""

from __future__ import annotations

import asyncio
from datetime import date

import pytest
from aiohttp import web

from jurymast.domain.errors import ConfigError, ProviderError
from jurymast.domain.provider import (
    AIRequest,
    Billing,
    FailureKind,
    Message,
    ModelInfo,
    ProviderConfig,
    ProviderName,
    Secret,
    Tier,
    Usage,
)
from jurymast.intelligence.providers import (
    AiohttpTransport,
    Catalogue,
    ModelPrice,
    OpenAIProvider,
    XAIProvider,
)

from .samples import (
    ASK,
    CHAT,
    CHAT_USAGE,
    MESSAGES,
    MODELS,
    TEXT,
    Sample,
    ask,
    chat_reply,
    failing,
    messages_reply,
    provider,
)
from .server import Behaviour, WireServer, body_then, plain, silence, stream


def good(name: ProviderName, *, streaming: bool, **headers: str) -> Behaviour:
    sample = MESSAGES if name is ProviderName.ANTHROPIC else CHAT
    return stream(sample.streamed, **headers) if streaming else plain(sample.whole, **headers)


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", list(ProviderName))
async def test_answer_is_complete(
    server: WireServer, transport: AiohttpTransport, name: ProviderName, streaming: bool
) -> None:
    """Every provider gives text, both model names, usage and latency, whole or streamed."""
    server.behaviour = good(name, streaming=streaming)
    response = await ask(provider(name, server.url, transport, stream=streaming))
    assert (response.content, response.provider) == (TEXT, name)
    assert (response.requested_model, response.served_model) == (MODELS[name], "served-model")
    assert response.usage == Usage(input=100, output=40, cached_input=60, reasoning=25, cache_written=10)
    assert response.latency_secs > 0
    assert (response.first_token_secs is not None) is streaming
    assert not response.simulated


@pytest.mark.parametrize("name", list(ProviderName))
async def test_key_and_question_go_where_the_vendor_wants_them(
    server: WireServer, transport: AiohttpTransport, name: ProviderName
) -> None:
    """Each request goes to the vendor's path with the key as a bearer token; a slash too many is no harm.

    A local server's connection is not kept: llama.cpp hangs up on kept ones.
    """
    server.behaviour = good(name, streaming=True)
    await ask(provider(name, server.url + "/", transport))
    received = server.received[0]
    messages = name is ProviderName.ANTHROPIC
    assert received.path == ("/v1/messages" if messages else "/v1/chat/completions")
    assert received.headers["authorization"] == "Bearer sekrit"
    assert received.headers.get("anthropic-version") == ("2026-10-21" if messages else None)
    assert received.headers["content-type"] == "application/json"
    assert (received.headers.get("connection") == "close") is (name is ProviderName.LOCAL)


async def test_local_server_needs_no_key(server: WireServer, transport: AiohttpTransport) -> None:
    """Without a key no empty one is sent."""
    server.behaviour = plain(CHAT.whole)
    await ask(provider(ProviderName.LOCAL, server.url, transport, api_key=Secret()))
    assert "authorization" not in server.received[0].headers


async def test_cost_is_the_price_of_the_model_that_answered(
    server: WireServer, transport: AiohttpTransport
) -> None:
    """A redirected request is billed at the price of its target, a dated name at that of its model."""
    asked = provider(ProviderName.OPENAI, server.url, transport, stream=False)
    usage = {"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100}
    costs = {}
    for served in ("gpt-6.1-terra", "gpt-6.1-sol-2026-09-01", "unheard-of"):
        server.behaviour = plain(chat_reply(model=served, usage=usage))
        costs[served] = (await ask(asked)).cost
    assert costs == {"gpt-6.1-terra": 1_500, "gpt-6.1-sol-2026-09-01": 3_000, "unheard-of": 1_500}


async def test_bill_of_the_vendor_counts_before_our_prices(
    server: WireServer, transport: AiohttpTransport
) -> None:
    """A reply that says what it cost is booked at that."""
    server.behaviour = plain(chat_reply(usage={**CHAT_USAGE, "cost_in_usd_ticks": 37_756_000}))
    assert (await ask(provider(ProviderName.XAI, server.url, transport))).cost == 3_776


@pytest.mark.parametrize("name", [ProviderName.OPENAI, ProviderName.ANTHROPIC])
async def test_answer_without_usage_costs_its_maximum(
    server: WireServer, transport: AiohttpTransport, name: ProviderName
) -> None:
    """An answer whose usage is unknown is booked at the most it can have cost, never at zero."""
    reply = chat_reply if name is ProviderName.OPENAI else messages_reply
    server.behaviour = plain(reply(usage=None))
    response = await ask(provider(name, server.url, transport))
    assert response.usage == Usage(len(server.received[0].body), ASK.max_output_tokens)
    assert response.cost > 0


async def test_local_answers_cost_nothing(server: WireServer, transport: AiohttpTransport) -> None:
    """A model of one's own is free, whatever it is called."""
    server.behaviour = plain(CHAT.whole)
    assert (await ask(provider(ProviderName.LOCAL, server.url, transport))).cost == 0


async def test_failure_that_was_billed_carries_its_usage(
    server: WireServer, transport: AiohttpTransport
) -> None:
    """A truncated answer is paid for: its failure says how much was used."""
    server.behaviour = plain(chat_reply(finish="length"))
    failure = (await failing(provider(ProviderName.XAI, server.url, transport))).failure
    assert (failure.billing, failure.usage) == (Billing.BILLED, Usage(100, 40, 60, 25, 10))


def test_model_without_a_price_is_refused_at_construction() -> None:
    """A cloud model whose cost could not be limited stops the start, with the cure in the message."""
    config = ProviderConfig(ProviderName.OPENAI, "http://127.0.0.1:9/v1", ("gpt-99",), 1)
    with pytest.raises(ConfigError, match=r"gpt-99.*add its price"):
        OpenAIProvider(config)
    price = ModelPrice("gpt-99", ProviderName.OPENAI, Tier.STRONG, 1, 1, checked_on=date(2026, 11, 23))
    OpenAIProvider(config, prices=Catalogue({"gpt-99": price}))


def test_configuration_of_another_provider_is_refused() -> None:
    """A provider does not speak for another one."""
    config = ProviderConfig(ProviderName.OPENAI, "http://127.0.0.1:9/v1", ("gpt-6-luna",), 1)
    with pytest.raises(ConfigError, match="XAIProvider"):
        XAIProvider(config)


@pytest.mark.parametrize("key", ["sk-1\n", "sk\t1", "sk-\N{EN DASH}1"])
def test_key_that_can_be_none_is_refused_without_showing_it(key: str) -> None:
    """A key copied with a line end is found at the start, and not printed."""
    config = ProviderConfig(ProviderName.XAI, "http://127.0.0.1:9/v1", ("grok-4.3",), 1, Secret(key))
    with pytest.raises(ConfigError, match="API key of xai") as caught:
        XAIProvider(config)
    assert "sk" not in str(caught.value)


async def test_unpriced_model_is_not_sent(server: WireServer, transport: AiohttpTransport) -> None:
    """Asking for a model that was not configured and has no price fails before anything leaves."""
    asked = provider(ProviderName.OPENAI, server.url, transport)
    with pytest.raises(ProviderError) as caught:
        await asked.make_request(ASK, model="gpt-99", timeout_secs=1.0)
    assert caught.value.failure.billing is Billing.NOT_SENT
    assert not server.received


async def test_text_that_is_no_unicode_is_not_sent(server: WireServer, transport: AiohttpTransport) -> None:
    """A prompt with half a character fails as our own mistake, without a crash."""
    broken = AIRequest((Message("user", "\ud800"),))
    failure = (await failing(provider(ProviderName.XAI, server.url, transport), request=broken)).failure
    assert (failure.kind, failure.billing) == (FailureKind.BAD_REQUEST, Billing.NOT_SENT)


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "stream"])
async def test_emulated_answers_say_so(
    server: WireServer, transport: AiohttpTransport, streaming: bool
) -> None:
    """An answer is marked SIMULATED when the server says so, or the configuration does."""
    server.behaviour = good(ProviderName.XAI, streaming=streaming, x_jurymast_simulated="true")
    assert (await ask(provider(ProviderName.XAI, server.url, transport))).simulated
    server.behaviour = good(ProviderName.XAI, streaming=streaming)
    assert (await ask(provider(ProviderName.XAI, server.url, transport, simulated=True))).simulated


async def test_slots_bound_the_requests_in_flight(server: WireServer, transport: AiohttpTransport) -> None:
    """No more requests are in flight than there are slots, and every one gets its turn."""
    running = highest = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal running, highest
        running += 1
        highest = max(highest, running)
        await asyncio.sleep(0.02)
        running -= 1
        return await plain(CHAT.whole)(request)

    server.behaviour = answer
    asked = provider(ProviderName.LOCAL, server.url, transport, max_concurrent=2)
    responses = await asyncio.gather(*(ask(asked) for _ in range(6)))
    assert len(responses) == 6
    assert highest == 2


async def test_waiting_for_a_slot_counts_against_the_time_out(
    server: WireServer, transport: AiohttpTransport
) -> None:
    """A request that got no turn while there was time for an answer was not sent, and blames nobody."""
    asked = provider(ProviderName.XAI, server.url, transport, max_concurrent=1)
    holding = asyncio.create_task(ask(asked, 30.0))
    await server.settle(1)
    failure = (await failing(asked, 0.1)).failure
    assert (failure.kind, failure.billing) == (FailureKind.BUSY, Billing.NOT_SENT)
    assert "0.05 s" in failure.detail
    assert len(server.received) == 1
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "stream"])
async def test_cancelling_hangs_up_and_frees_the_slot(
    server: WireServer, transport: AiohttpTransport, streaming: bool
) -> None:
    """A cancelled request, waiting or half read, leaves no connection and no taken slot."""
    asked = provider(ProviderName.XAI, server.url, transport, max_concurrent=1, stream=streaming)
    for behaviour in (silence, stream(CHAT.half, then="stall"), body_then(b"{", 9, "stall")):
        server.behaviour = behaviour
        before = len(server.received)
        sent, queued = asyncio.create_task(ask(asked, 30.0)), asyncio.create_task(ask(asked, 30.0))
        await server.asked(before + 1)
        queued.cancel()
        sent.cancel()
        assert await asyncio.gather(sent, queued, return_exceptions=True)
        assert sent.cancelled()
        assert queued.cancelled()
        await server.settle(0)
    server.behaviour = good(ProviderName.XAI, streaming=streaming)
    assert (await ask(asked)).content == TEXT


@pytest.mark.parametrize("name", list(ProviderName))
async def test_probe_is_a_tiny_real_question(
    server: WireServer, transport: AiohttpTransport, name: ProviderName
) -> None:
    """A probe asks the model itself, with a few tokens, and books what it cost."""
    server.behaviour = good(name, streaming=True)
    asked = provider(name, server.url, transport)
    result = await asked.health_check(MODELS[name], 2.0)
    assert result.is_healthy
    assert (result.provider, result.model, result.failure) == (name, MODELS[name], None)
    assert (result.cost > 0) is (name is not ProviderName.LOCAL)
    body = server.received[0].json
    assert body.get("max_tokens", body.get("max_completion_tokens")) == 16


async def test_probe_cut_off_by_its_limit_is_healthy(server: WireServer, transport: AiohttpTransport) -> None:
    """A reasoning model that thinks its few tokens away is alive, and its tokens are booked."""
    server.behaviour = plain(chat_reply("", finish="length"))
    result = await provider(ProviderName.OPENAI, server.url, transport).health_check("gpt-6.1-terra", 2.0)
    assert (result.is_healthy, result.failure) == (True, None)
    assert result.cost == 246


@pytest.mark.parametrize(
    ("body", "status", "kind", "billed"),
    [
        ({"error": {"message": "no", "code": "invalid_api_key"}}, 401, FailureKind.AUTH, False),
        ({"error": {"message": "no", "type": "server_error"}}, 500, FailureKind.SERVER_ERROR, True),
        ({}, 200, FailureKind.EMPTY, True),
    ],
)
async def test_sick_probe_says_why_and_never_raises(
    server: WireServer,
    transport: AiohttpTransport,
    body: dict[str, object],
    status: int,
    kind: FailureKind,
    billed: bool,
) -> None:
    """A failed probe is a result with its kind; what may have been billed is booked."""
    server.behaviour = plain(body, status)
    result = await provider(ProviderName.OPENAI, server.url, transport).health_check("gpt-6.1-terra", 2.0)
    assert (result.is_healthy, result.failure) == (False, kind)
    assert (result.cost > 0) is billed


async def test_probe_hands_on_the_wish_to_wait(server: WireServer, transport: AiohttpTransport) -> None:
    """A probe that meets a rate limit says how long the vendor asks to be left alone."""
    server.behaviour = plain({"error": {"code": "rate_limit_exceeded"}}, 429, retry_after="7")
    result = await provider(ProviderName.OPENAI, server.url, transport).health_check("gpt-6.1-terra", 2.0)
    assert (result.failure, result.retry_after_secs) == (FailureKind.RATE_LIMITED, 7.0)


async def test_probe_where_nobody_listens_is_free(refused_url: str, transport: AiohttpTransport) -> None:
    """A probe that could not be sent costs nothing."""
    result = await provider(ProviderName.XAI, refused_url, transport).health_check("grok-4.3", 2.0)
    assert (result.is_healthy, result.failure, result.cost) == (False, FailureKind.CONNECT, 0)


async def test_models_are_listed_with_their_end(server: WireServer, transport: AiohttpTransport) -> None:
    """A model list gives ids and, where the vendor states it, the day a model ends."""
    entries = [
        {"id": "gpt-5", "object": "model", "shutdown_date": "2026-12-11"},
        {"id": "claude-sonnet-4-5", "retires_at": "2026-11-30T00:00:00Z"},
        {"id": "grok-4.3"},
        {"id": 7},
        "nonsense",
    ]
    server.behaviour = plain({"object": "list", "data": entries})
    listed = await provider(ProviderName.OPENAI, server.url, transport).list_models(2.0)
    assert listed == (
        ModelInfo("gpt-5", "2026-12-11"),
        ModelInfo("claude-sonnet-4-5", "2026-11-30"),
        ModelInfo("grok-4.3"),
    )
    assert (server.received[0].method, server.received[0].path) == ("GET", "/v1/models")
    assert server.received[0].headers["authorization"] == "Bearer sekrit"


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ("<html>portal</html>", 200, FailureKind.EDGE_ERROR),
        ({"object": "list"}, 200, FailureKind.MALFORMED),
        ({"error": "unauthorized"}, 401, FailureKind.AUTH),
    ],
)
async def test_model_list_that_is_none_is_a_failure(
    server: WireServer, transport: AiohttpTransport, body: object, status: int, kind: FailureKind
) -> None:
    """A list that can't be read fails with its kind."""
    server.behaviour = plain(body, status)
    with pytest.raises(ProviderError) as caught:
        await provider(ProviderName.XAI, server.url, transport).list_models(2.0)
    assert caught.value.failure.kind is kind


async def test_model_list_meets_its_time_out(server: WireServer, transport: AiohttpTransport) -> None:
    """A server that is silent about its models is given up in time."""
    with pytest.raises(ProviderError) as caught:
        await provider(ProviderName.XAI, server.url, transport).list_models(0.1)
    assert caught.value.failure.kind is FailureKind.TIMEOUT


def local_server(*models: str) -> Behaviour:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            return await plain({"data": [{"id": model} for model in models]})(request)
        asked = (await request.json())["model"]
        if asked not in models:
            return await plain({"error": f"model '{asked}' not found, try pulling it first"}, 404)(request)
        return await plain(chat_reply(model=asked))(request)

    return answer


async def test_local_model_is_taken_from_the_servers_list(
    server: WireServer, transport: AiohttpTransport
) -> None:
    """With model "auto" the local server is asked once what it has, and again after the model is gone."""
    server.behaviour = local_server("qwen3:8b", "mistral:7b")
    asked = provider(ProviderName.LOCAL, server.url, transport, models=("auto",))
    for _ in range(2):
        response = await ask(asked)
        assert (response.requested_model, response.swapped) == ("qwen3:8b", False)
    assert [received.method for received in server.received] == ["GET", "POST", "POST"]
    server.behaviour = local_server("mistral:7b")
    assert (await failing(asked)).failure.kind is FailureKind.MODEL_GONE
    assert (await ask(asked)).requested_model == "mistral:7b"


async def test_local_server_without_models_says_so(server: WireServer, transport: AiohttpTransport) -> None:
    """An empty local server is a missing model, not a crash."""
    server.behaviour = local_server()
    failure = (await failing(provider(ProviderName.LOCAL, server.url, transport, models=("auto",)))).failure
    assert (failure.kind, failure.billing) == (FailureKind.MODEL_GONE, Billing.NOT_SENT)


async def test_local_server_may_take_its_time_before_the_first_token(
    server: WireServer, transport: AiohttpTransport
) -> None:
    """A cold local server that speaks late, but in time, is waited for where a cloud is not."""
    server.behaviour = stream(b": loading\n\n", CHAT.streamed, gap_secs=0.5)
    assert (await ask(provider(ProviderName.LOCAL, server.url, transport), 1.5)).content == TEXT
    failure = (await failing(provider(ProviderName.XAI, server.url, transport), 0.7)).failure
    assert failure.kind is FailureKind.FIRST_TOKEN_TIMEOUT


@pytest.mark.parametrize("name", list(ProviderName))
async def test_caller_may_set_the_limit_of_the_first_token(
    server: WireServer, transport: AiohttpTransport, name: ProviderName
) -> None:
    """A caller who knows a model's pace gives up earlier, or waits longer, than the provider would."""
    sample = MESSAGES if name is ProviderName.ANTHROPIC else CHAT
    server.behaviour = stream(b": thinking\n\n", sample.streamed, gap_secs=0.3)
    asked = provider(name, server.url, transport)
    with pytest.raises(ProviderError) as caught:
        await asked.make_request(ASK, model=MODELS[name], timeout_secs=30.0, first_token_secs=0.1)
    assert caught.value.failure.kind is FailureKind.FIRST_TOKEN_TIMEOUT
    response = await asked.make_request(ASK, model=MODELS[name], timeout_secs=0.5, first_token_secs=0.45)
    assert response.content == TEXT


async def test_limit_of_the_first_token_is_at_most_the_time_out(
    server: WireServer, transport: AiohttpTransport
) -> None:
    """However long a caller would wait for the first token, the time-out ends the request."""
    asked = provider(ProviderName.XAI, server.url, transport)
    with pytest.raises(ProviderError) as caught:
        await asked.make_request(ASK, model=MODELS[ProviderName.XAI], timeout_secs=0.2, first_token_secs=9.0)
    assert caught.value.failure.kind is FailureKind.TIMEOUT


@pytest.mark.parametrize("behaviour", [silence, stream(CHAT.opening, then="stall")], ids=["mute", "head"])
async def test_local_server_that_says_nothing_is_a_plain_timeout(
    server: WireServer, transport: AiohttpTransport, behaviour: Behaviour
) -> None:
    """Where the first token may take the whole time-out, nothing is said about first tokens."""
    server.behaviour = behaviour
    failure = (await failing(provider(ProviderName.LOCAL, server.url, transport), 0.2)).failure
    assert failure.kind is FailureKind.TIMEOUT


@pytest.mark.parametrize(
    ("chars_per_sec", "kind"), [(1_000.0, FailureKind.STALLED), (1.0, FailureKind.TIMEOUT)]
)
@pytest.mark.parametrize("sample", [CHAT, MESSAGES], ids=lambda sample: sample.name)
async def test_drip_of_text_that_can_not_end_is_a_stall(
    server: WireServer,
    transport: AiohttpTransport,
    monkeypatch: pytest.MonkeyPatch,
    sample: Sample,
    chars_per_sec: float,
    kind: FailureKind,
) -> None:
    """An answer that grows too slowly to be finished is given up; one that grows has the whole time-out."""
    monkeypatch.setattr("jurymast.intelligence.providers.base.PROGRESS_CHARS_PER_SEC", chars_per_sec)
    server.behaviour = stream(sample.half, then="drip", nothing=sample.half.split(b"\n\n")[-2] + b"\n\n")
    failure = (await failing(provider(sample.name, server.url, transport), 0.5)).failure
    assert failure.kind is kind
    assert ("grew by less" in failure.detail) is (kind is FailureKind.STALLED)


async def test_provider_closes_its_own_connections_only(
    server: WireServer, transport: AiohttpTransport
) -> None:
    """A provider without a transport opens and closes its own; one handed in stays open."""
    server.behaviour = plain(CHAT.whole)
    config = ProviderConfig(ProviderName.XAI, server.url, ("grok-4.3",), 1)
    owning, borrowing = XAIProvider(config), XAIProvider(config, transport)
    await ask(owning)
    await ask(borrowing)
    await server.settle(2)
    await owning.close()
    await borrowing.close()
    await server.settle(1)


async def test_failing_requests_leave_nothing_behind(server: WireServer, transport: AiohttpTransport) -> None:
    """A hundred failures later every slot is free and no connection is left in use."""
    asked = provider(ProviderName.XAI, server.url, transport, max_concurrent=2)
    for behaviour in (plain({"error": "no"}, 500), stream(CHAT.half, then="cut"), plain("{")):
        server.behaviour = behaviour
        outcomes = await asyncio.gather(*(failing(asked) for _ in range(34)))
        assert len(outcomes) == 34
    assert server.connections <= 2
    server.behaviour = plain(CHAT.whole)
    assert (await ask(asked)).content == TEXT
