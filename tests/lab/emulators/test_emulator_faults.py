from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import anthropic
import openai
import pytest
from emulator_world import CHAT_FORMAT, FORECAST_SCHEMA, question

from jurymast.domain.provider import ProviderName
from jurymast.lab.emulators.faults import (
    ALL,
    Fault,
    FaultBoard,
    FaultSpec,
    parse_fault,
    parse_providers,
    retry_after_headers,
)
from jurymast.lab.emulators.fleet import EmulatorFleet

ChatClient = Callable[[ProviderName], openai.AsyncOpenAI]

XAI, OPENAI, ANTHROPIC, LOCAL = ProviderName
SHORT_SECS = 0.2
"""How long a test waits for an answer that never comes."""

KEYS = {"Authorization": "Bearer k", "anthropic-version": "2023-06-01"}
MODELS = {XAI: "grok-4.7", OPENAI: "gpt-6.1-sol", ANTHROPIC: "claude-sonnet-5-5", LOCAL: "llama3.1:8b"}

STATUSES: dict[Fault, dict[ProviderName, int]] = {
    Fault.SERVER_ERROR: dict.fromkeys(ProviderName, 500),
    Fault.UNAVAILABLE: dict.fromkeys(ProviderName, 503),
    Fault.OVERLOADED: dict.fromkeys(ProviderName, 529),
    Fault.RATE_LIMITED: dict.fromkeys(ProviderName, 429),
    Fault.SLOW_DOWN: {XAI: 429, OPENAI: 429, ANTHROPIC: 429, LOCAL: 503},
    Fault.QUOTA: {XAI: 403, OPENAI: 429, ANTHROPIC: 402, LOCAL: 402},
    Fault.AUTH: dict.fromkeys(ProviderName, 401),
    Fault.WRONG_KEY: {XAI: 400, OPENAI: 401, ANTHROPIC: 401, LOCAL: 401},
    Fault.FORBIDDEN: dict.fromkeys(ProviderName, 403),
    Fault.MODEL_GONE: dict.fromkeys(ProviderName, 404),
    Fault.BAD_REQUEST: dict.fromkeys(ProviderName, 400),
    Fault.CONTEXT_LENGTH: dict.fromkeys(ProviderName, 400),
}
ODD_ANSWERS = {
    Fault.OBEDIENT,
    Fault.CONTENT_FILTER,
    Fault.HTML,
    Fault.HTML_502,
    Fault.ERROR_OBJECT,
    Fault.EMPTY,
    Fault.NO_CHOICES,
    Fault.TRUNCATED,
    Fault.INVALID_JSON,
    Fault.WRONG_SCHEMA,
    Fault.CONSTANT,
    Fault.SWAPPED_MODEL,
    Fault.SHIFTED,
    Fault.CACHED,
}
LISTINGS = {Fault.UNLISTED, Fault.RETIRING}
DELIVERY = {
    Fault.REFUSE,
    Fault.RESET,
    Fault.HANG,
    Fault.SLOW_FIRST_TOKEN,
    Fault.DRIP,
    Fault.CUT,
    Fault.STREAM_ERROR,
}

OPENAI_CLASSES = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    402: openai.APIStatusError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
    503: openai.InternalServerError,
    529: openai.InternalServerError,
}
ANTHROPIC_ERRORS = {
    Fault.SERVER_ERROR: (anthropic.InternalServerError, "api_error"),
    Fault.UNAVAILABLE: (anthropic.InternalServerError, "overloaded_error"),
    Fault.OVERLOADED: (anthropic.InternalServerError, "overloaded_error"),
    Fault.RATE_LIMITED: (anthropic.RateLimitError, "rate_limit_error"),
    Fault.SLOW_DOWN: (anthropic.RateLimitError, "rate_limit_error"),
    Fault.QUOTA: (anthropic.APIStatusError, "billing_error"),
    Fault.AUTH: (anthropic.AuthenticationError, "authentication_error"),
    Fault.WRONG_KEY: (anthropic.AuthenticationError, "authentication_error"),
    Fault.FORBIDDEN: (anthropic.PermissionDeniedError, "permission_error"),
    Fault.MODEL_GONE: (anthropic.NotFoundError, "not_found_error"),
    Fault.BAD_REQUEST: (anthropic.BadRequestError, "invalid_request_error"),
    Fault.CONTEXT_LENGTH: (anthropic.BadRequestError, "invalid_request_error"),
}


def _chat(provider: ProviderName, **more: Any) -> dict[str, Any]:
    return {
        "model": MODELS[provider],
        "messages": [{"role": "user", "content": question("M5", ["s1"])}],
        "response_format": CHAT_FORMAT,
        **more,
    }


def _messages(**more: Any) -> dict[str, Any]:
    return {
        "model": MODELS[ANTHROPIC],
        "max_tokens": 2_000,
        "messages": [{"role": "user", "content": question("M5", ["s1"])}],
        "output_config": {"format": {"type": "json_schema", "schema": FORECAST_SCHEMA}},
        **more,
    }


def _post(
    http: aiohttp.ClientSession, fleet: EmulatorFleet, provider: ProviderName, *, stream: bool = False
) -> Any:
    path = "messages" if provider is ANTHROPIC else "chat/completions"
    body = _messages(stream=stream) if provider is ANTHROPIC else _chat(provider, stream=stream)
    return http.post(f"{fleet.base_urls[provider]}/{path}", json=body, headers=KEYS)


async def _read_into(received: bytearray, reply: aiohttp.ClientResponse) -> None:
    async for part in reply.content.iter_any():
        received += part


def test_every_fault_is_in_these_tests() -> None:
    """The list is closed: a new fault needs a test of what it does."""
    assert set(STATUSES) | ODD_ANSWERS | DELIVERY | LISTINGS == set(Fault)
    assert set(ANTHROPIC_ERRORS) == set(STATUSES)
    assert all(fault.meaning for fault in Fault)


@pytest.mark.parametrize("fault", STATUSES)
@pytest.mark.parametrize("provider", [XAI, OPENAI, LOCAL])
async def test_status_faults_over_openai_sdk(
    fleet: EmulatorFleet, chat_client: ChatClient, provider: ProviderName, fault: Fault
) -> None:
    """The official SDK raises the class that belongs to each status, plain and streamed."""
    status = STATUSES[fault][provider]
    await fleet.set_fault(provider, fault)
    for stream in (False, True):
        with pytest.raises(OPENAI_CLASSES[status]) as caught:
            await chat_client(provider).chat.completions.create(**_chat(provider, stream=stream))
        assert caught.value.status_code == status
        body = caught.value.response.json()
        assert isinstance(body["error"], str if provider is XAI else dict)
    assert fleet.ledger(provider).billed == 0


@pytest.mark.parametrize("fault", STATUSES)
async def test_status_faults_over_anthropic_sdk(
    fleet: EmulatorFleet, messages_client: anthropic.AsyncAnthropic, fault: Fault
) -> None:
    """Anthropic's SDK raises its class for each error type."""
    kind, word = ANTHROPIC_ERRORS[fault]
    await fleet.set_fault(ANTHROPIC, fault)
    with pytest.raises(kind) as caught:
        await messages_client.messages.create(**_messages())
    assert caught.value.status_code == STATUSES[fault][ANTHROPIC]
    assert caught.value.response.json()["error"]["type"] == word


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault.QUOTA, "insufficient_quota"),
        (Fault.RATE_LIMITED, "rate_limit_exceeded"),
        (Fault.SLOW_DOWN, "slow_down"),
        (Fault.AUTH, "invalid_api_key"),
        (Fault.MODEL_GONE, "model_not_found"),
        (Fault.CONTEXT_LENGTH, "context_length_exceeded"),
        (Fault.UNAVAILABLE, "server_is_overloaded"),
    ],
)
async def test_openai_error_codes(
    fleet: EmulatorFleet, chat_client: ChatClient, fault: Fault, code: str
) -> None:
    """What tells OpenAI's errors of one status apart is their code."""
    await fleet.set_fault("openai", fault)
    with pytest.raises(openai.APIStatusError) as caught:
        await chat_client(OPENAI).chat.completions.create(**_chat(OPENAI))
    assert caught.value.code == code


async def test_xai_says_it_is_about_credits(fleet: EmulatorFleet, chat_client: ChatClient) -> None:
    """xAI without credits answers 403 in the words that are on record."""
    await fleet.set_fault("xai", Fault.QUOTA)
    with pytest.raises(openai.PermissionDeniedError) as caught:
        await chat_client(XAI).chat.completions.create(**_chat(XAI))
    assert "used all available credits" in caught.value.response.json()["error"]


async def test_reset_and_cut_break_the_connection(fleet: EmulatorFleet, chat_client: ChatClient) -> None:
    """A reset or half an answer is a connection error to the SDK, whether streamed or not."""
    client = chat_client(OPENAI)
    for fault in (Fault.RESET, Fault.CUT):
        await fleet.set_fault("openai", fault)
        with pytest.raises(openai.APIConnectionError):
            await client.chat.completions.create(**_chat(OPENAI))
    stream = await client.chat.completions.create(**_chat(OPENAI, stream=True))
    with pytest.raises(openai.APIConnectionError):
        _ = [chunk async for chunk in stream]


async def test_reset_is_a_tcp_reset(fleet: EmulatorFleet) -> None:
    """The reset fault resets: the peer sees ECONNRESET, not an orderly end."""
    await fleet.set_fault("xai", Fault.RESET)
    host, port = fleet.base_urls[XAI].removeprefix("http://").removesuffix("/v1").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_cut_stream_has_half_the_text(fleet: EmulatorFleet, http: aiohttp.ClientSession) -> None:
    """A cut stream gave something first, which must not be taken for an answer."""
    await fleet.set_fault("anthropic", Fault.CUT)
    received = bytearray()
    async with _post(http, fleet, ANTHROPIC, stream=True) as reply:
        assert reply.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await _read_into(received, reply)
    assert b"content_block_delta" in received
    assert b"message_stop" not in received


@pytest.mark.parametrize("provider", ProviderName)
async def test_hang_answers_nothing(
    fleet: EmulatorFleet, http: aiohttp.ClientSession, provider: ProviderName
) -> None:
    """A hanging provider accepts the request and sends no byte."""
    await fleet.set_fault(provider, Fault.HANG)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(SHORT_SECS), _post(http, fleet, provider):
            pytest.fail("an answer began")
    assert fleet.ledger(provider).requests == 1


async def test_slow_first_token_comes_late_and_whole(
    fleet: EmulatorFleet, http: aiohttp.ClientSession
) -> None:
    """Silence before the first byte outlasts an impatient caller; a patient one gets the answer."""
    await fleet.set_fault("openai", Fault.SLOW_FIRST_TOKEN)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(SHORT_SECS), _post(http, fleet, OPENAI, stream=True):
            pytest.fail("an answer began")
    async with _post(http, fleet, OPENAI, stream=True) as reply:
        assert (await reply.text()).rstrip().endswith("[DONE]")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("provider", ProviderName)
async def test_drip_never_ends(
    fleet: EmulatorFleet, http: aiohttp.ClientSession, provider: ProviderName, stream: bool
) -> None:
    """A dripping answer keeps sending filler and neither fails nor finishes."""
    await fleet.set_fault(provider, Fault.DRIP)
    filler = b" " if not stream else b"event: ping" if provider is ANTHROPIC else b": keep-alive"
    received = bytearray()
    async with _post(http, fleet, provider, stream=stream) as reply:
        assert reply.status == 200
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_read_into(received, reply), SHORT_SECS)
    assert received.count(filler) >= 2
    assert b"[DONE]" not in received
    assert b"message_stop" not in received


async def test_stream_error_comes_after_200(
    fleet: EmulatorFleet, chat_client: ChatClient, messages_client: anthropic.AsyncAnthropic
) -> None:
    """An error inside a stream reaches both SDKs after the text began; a plain call gets a 503."""
    await fleet.set_fault(ALL, Fault.STREAM_ERROR)
    for provider in (XAI, OPENAI, LOCAL):
        stream = await chat_client(provider).chat.completions.create(**_chat(provider, stream=True))
        with pytest.raises(openai.APIError):
            _ = [chunk async for chunk in stream]
    events = await messages_client.messages.create(**_messages(stream=True))
    with pytest.raises(anthropic.APIStatusError) as caught:
        _ = [event async for event in events]
    assert "overloaded_error" in str(caught.value)
    with pytest.raises(openai.InternalServerError):
        await chat_client(OPENAI).chat.completions.create(**_chat(OPENAI))


@pytest.mark.parametrize("provider", ProviderName)
@pytest.mark.parametrize(("fault", "status"), [(Fault.HTML, 200), (Fault.HTML_502, 502)])
async def test_web_pages_instead_of_answers(
    fleet: EmulatorFleet, http: aiohttp.ClientSession, provider: ProviderName, fault: Fault, status: int
) -> None:
    """A portal or an edge answers with a web page."""
    await fleet.set_fault(provider, fault)
    async with _post(http, fleet, provider) as reply:
        assert (reply.status, reply.content_type) == (status, "text/html")
        assert "SIMULATED" in await reply.text()


@pytest.mark.parametrize("provider", ProviderName)
async def test_error_object_with_status_200(
    fleet: EmulatorFleet, http: aiohttp.ClientSession, provider: ProviderName
) -> None:
    """Success by status, error by content."""
    await fleet.set_fault(provider, Fault.ERROR_OBJECT)
    async with _post(http, fleet, provider) as reply:
        assert reply.status == 200
        assert "error" in await reply.json()


@pytest.mark.parametrize("provider", [XAI, OPENAI, LOCAL])
async def test_odd_chat_answers(
    fleet: EmulatorFleet, chat_client: ChatClient, provider: ProviderName
) -> None:
    """Empty, choiceless, truncated, misshapen, constant and swapped answers are complete to the SDK."""
    client = chat_client(provider)

    async def answer(fault: Fault) -> Any:
        await fleet.set_fault(provider, fault)
        return await client.chat.completions.create(**_chat(provider))

    assert (await answer(Fault.EMPTY)).choices[0].message.content == ""
    assert (await answer(Fault.NO_CHOICES)).choices == []
    cut = (await answer(Fault.TRUNCATED)).choices[0]
    assert cut.finish_reason == "length"
    with pytest.raises(json.JSONDecodeError):
        json.loads(cut.message.content)
    wrong = json.loads((await answer(Fault.WRONG_SCHEMA)).choices[0].message.content)
    assert not set(wrong) & set(FORECAST_SCHEMA["required"])
    constant = json.loads((await answer(Fault.CONSTANT)).choices[0].message.content)
    assert constant["probability_pct"] == constant["base_rate_pct"] == 50
    assert (await answer(Fault.SWAPPED_MODEL)).model not in fleet.models[provider]
    cached = (await answer(Fault.CACHED)).usage
    assert provider is LOCAL or 0 < cached.prompt_tokens_details.cached_tokens < cached.prompt_tokens
    with pytest.raises(json.JSONDecodeError):
        await answer(Fault.INVALID_JSON)


async def test_odd_messages_answers(fleet: EmulatorFleet, messages_client: anthropic.AsyncAnthropic) -> None:
    """The same oddities over Anthropic's wire."""

    async def answer(fault: Fault) -> Any:
        await fleet.set_fault("anthropic", fault)
        return await messages_client.messages.create(**_messages())

    assert (await answer(Fault.EMPTY)).content[0].text == ""
    assert (await answer(Fault.NO_CHOICES)).content == []
    assert (await answer(Fault.TRUNCATED)).stop_reason == "max_tokens"
    assert "verdict" in json.loads((await answer(Fault.WRONG_SCHEMA)).content[0].text)
    assert json.loads((await answer(Fault.CONSTANT)).content[0].text)["probability_pct"] == 50
    assert (await answer(Fault.SWAPPED_MODEL)).model not in fleet.models[ANTHROPIC]
    usage = (await answer(Fault.CACHED)).usage
    assert usage.cache_read_input_tokens > usage.input_tokens > usage.cache_creation_input_tokens > 0
    refused = await answer(Fault.CONTENT_FILTER)
    assert (refused.stop_reason, refused.content) == ("refusal", [])
    with pytest.raises(json.JSONDecodeError):
        await answer(Fault.INVALID_JSON)


@pytest.mark.parametrize("provider", ProviderName)
async def test_invalid_json_in_a_stream(
    fleet: EmulatorFleet, http: aiohttp.ClientSession, provider: ProviderName
) -> None:
    """One event of the stream is cut inside its JSON, the others are whole."""
    await fleet.set_fault(provider, Fault.INVALID_JSON)
    async with _post(http, fleet, provider, stream=True) as reply:
        events = (await reply.text()).strip().split("\n\n")
    assert [_is_sound(event) for event in events].count(False) == 1


def _is_sound(event: str) -> bool:
    """Whether an event has whole data; the end mark counts as such."""
    data = [line.removeprefix("data: ") for line in event.splitlines() if line.startswith("data: ")]
    return bool(data) and all(text == "[DONE]" or _is_json(text) for text in data)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


async def test_refusals_by_content_filter(fleet: EmulatorFleet, chat_client: ChatClient) -> None:
    """Each vendor refuses content in its own way."""
    await fleet.set_fault(ALL, Fault.CONTENT_FILTER)
    message = (await chat_client(OPENAI).chat.completions.create(**_chat(OPENAI))).choices[0].message
    assert message.content is None
    assert message.refusal
    with pytest.raises(openai.PermissionDeniedError):
        await chat_client(XAI).chat.completions.create(**_chat(XAI))
    local = await chat_client(LOCAL).chat.completions.create(**_chat(LOCAL))
    assert not _is_json(local.choices[0].message.content or "")


NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("form", "headers"),
    [
        (None, {}),
        ("30", {"Retry-After": "30"}),
        ("2.5s", {"Retry-After": "2.5"}),
        ("1500ms", {"retry-after-ms": "1500"}),
        ("garbage", {"Retry-After": "in a while"}),
    ],
)
def test_retry_after_forms(form: str | None, headers: dict[str, str]) -> None:
    """Every form of asking to wait that vendors use can be sent, and none."""
    assert retry_after_headers(form, NOW) == headers


def test_retry_after_as_a_date() -> None:
    """A date lies so many seconds ahead."""
    date = retry_after_headers("date:120", NOW)["Retry-After"]
    assert parsedate_to_datetime(date) == NOW + timedelta(seconds=120)


@pytest.mark.parametrize("form", ["soon", "-3", "date:3s", ""])
def test_unknown_retry_after_is_refused(form: str) -> None:
    """A wrong form is refused with the right ones."""
    with pytest.raises(ValueError, match="known forms"):
        retry_after_headers(form, NOW)


async def test_retry_after_reaches_the_wire(fleet: EmulatorFleet, http: aiohttp.ClientSession) -> None:
    """The chosen header is on the 429, with the vendor's own limit headers."""
    await fleet.set_fault("openai", Fault.RATE_LIMITED, retry_after="1500ms")
    async with _post(http, fleet, OPENAI) as reply:
        assert reply.status == 429
        assert reply.headers["retry-after-ms"] == "1500"
        assert reply.headers["x-ratelimit-remaining-requests"] == "0"
        assert "Retry-After" not in reply.headers


@pytest.mark.parametrize(
    "wrong",
    [
        {"probability": 0.0},
        {"probability": 1.5},
        {"probability": float("nan")},
        {"for_secs": 0.0},
        {"for_secs": float("inf")},
        {"fault": Fault.REFUSE, "model": "grok-4.7"},
        {"fault": Fault.REFUSE, "probability": 0.5},
        {"retry_after": "3s"},
    ],
)
def test_impossible_faults_are_refused(wrong: dict[str, Any]) -> None:
    """A fault that makes no sense can't be described."""
    with pytest.raises(ValueError):  # noqa: PT011 (each has its own words)
        FaultSpec(**{"provider": XAI, "fault": Fault.SERVER_ERROR} | wrong)


def test_words_are_checked_with_the_list_of_known_ones() -> None:
    """An unknown word is answered with the known ones."""
    assert parse_providers(ALL) == tuple(ProviderName)
    assert parse_fault("503") is Fault.UNAVAILABLE
    with pytest.raises(ValueError, match=r"known are refuse, reset"):
        parse_fault("explode")
    with pytest.raises(ValueError, match=r"known are xai, openai"):
        parse_providers("gemini")


def test_fault_of_a_model_comes_before_its_providers() -> None:
    """The model's own fault strikes first; the others keep the provider's."""
    board = FaultBoard()
    board.set(FaultSpec(XAI, Fault.SERVER_ERROR))
    board.set(FaultSpec(XAI, Fault.HANG, "grok-4.7"))
    struck = [board.strike(XAI, model, 0.5) for model in ("grok-4.7", "grok-4.3", None)]
    assert [spec.fault if spec else None for spec in struck] == [
        Fault.HANG,
        Fault.SERVER_ERROR,
        Fault.SERVER_ERROR,
    ]
    assert board.strike(OPENAI, "grok-4.7", 0.5) is None
    board.clear([XAI], "grok-4.7")
    assert [spec.fault for spec in board.active()] == [Fault.SERVER_ERROR]


async def test_model_list_survives_what_hits_models_only(
    fleet: EmulatorFleet, http: aiohttp.ClientSession
) -> None:
    """Overload leaves the model list well, a broken site does not: the list is no health probe."""
    url = f"{fleet.base_urls[XAI]}/models"
    for fault, status in ((Fault.UNAVAILABLE, 200), (Fault.QUOTA, 200), (Fault.SERVER_ERROR, 500)):
        await fleet.set_fault("xai", fault)
        async with http.get(url, headers=KEYS) as reply:
            assert reply.status == status


@pytest.mark.parametrize("provider", ProviderName)
async def test_a_shifted_model_has_other_opinions_under_the_same_name(
    fleet: EmulatorFleet, http: aiohttp.ClientSession, provider: ProviderName
) -> None:
    """Nothing in the reply but the opinion itself tells that the model is not what it was."""

    async def answer() -> tuple[str, str]:
        async with _post(http, fleet, provider) as reply:
            body = await reply.json()
        if provider is ANTHROPIC:
            return body["model"], next(block["text"] for block in body["content"] if block["type"] == "text")
        return body["model"], body["choices"][0]["message"]["content"]

    model, before = await answer()
    await fleet.set_fault(provider, Fault.SHIFTED)
    assert (await answer())[0] == model
    assert (await answer())[1] != before
    await fleet.clear_faults()
    assert await answer() == (model, before)


@pytest.mark.parametrize("provider", ProviderName)
async def test_the_model_list_can_leave_out_a_model_or_give_its_end(
    fleet: EmulatorFleet, http: aiohttp.ClientSession, provider: ProviderName
) -> None:
    """Lists change before anything else does: the model still answers."""

    async def listed() -> dict[str, Any]:
        async with http.get(f"{fleet.base_urls[provider]}/models", headers=KEYS) as reply:
            return {entry["id"]: entry for entry in (await reply.json())["data"]}

    first, *others = fleet.models[provider]
    await fleet.set_fault(provider, Fault.UNLISTED, model=first)
    assert list(await listed()) == others
    async with _post(http, fleet, provider) as reply:
        assert reply.status == 200
    await fleet.set_fault(provider, Fault.RETIRING, model=first)
    entry = (await listed())[first]
    dated = entry.get("shutdown_date") or entry.get("retires_at")
    assert (dated is not None) is (provider in {OPENAI, ANTHROPIC})
