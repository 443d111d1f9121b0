from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import aiohttp
import openai
import pytest
from emulator_world import CHAT_FORMAT, SyntheticOracle, question

from jurymast.domain.provider import ProviderName
from jurymast.lab.emulators.emulator import SIMULATED_HEADER
from jurymast.lab.emulators.fleet import EmulatorFleet

ChatClient = Callable[[ProviderName], openai.AsyncOpenAI]

MODELS = {
    ProviderName.XAI: "grok-4.7",
    ProviderName.OPENAI: "gpt-6.1-sol",
    ProviderName.LOCAL: "llama3.1:8b",
}
CHAT_PROVIDERS = tuple(MODELS)


def _asked(provider: ProviderName, **more: Any) -> dict[str, Any]:
    return {
        "model": MODELS[provider],
        "messages": [
            {"role": "system", "content": "You forecast."},
            {"role": "user", "content": question("M5", ["s1"])},
        ],
        "response_format": CHAT_FORMAT,
        **more,
    }


@pytest.mark.parametrize("provider", CHAT_PROVIDERS)
async def test_plain_forecast_over_the_official_sdk(chat_client: ChatClient, provider: ProviderName) -> None:
    """OpenAI's own SDK gets a structured forecast from every chat server."""
    reply = await chat_client(provider).chat.completions.create(**_asked(provider))
    choice = reply.choices[0]
    assert choice.finish_reason == "stop"
    assert 1 <= json.loads(choice.message.content or "")["probability_pct"] <= 99
    assert reply.model == MODELS[provider]
    assert reply.object == "chat.completion"


@pytest.mark.parametrize("provider", CHAT_PROVIDERS)
async def test_stream_is_the_plain_answer_in_pieces(chat_client: ChatClient, provider: ProviderName) -> None:
    """Streamed pieces add up to the plain answer, with usage in a last chunk when asked for."""
    client = chat_client(provider)
    plain = await client.chat.completions.create(**_asked(provider))
    stream = await client.chat.completions.create(
        **_asked(provider, stream=True, stream_options={"include_usage": True})
    )
    chunks = [chunk async for chunk in stream]
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert len([piece for piece in pieces if piece]) > 3
    assert "".join(pieces) == plain.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert plain.usage is not None
    assert chunks[-1].usage.prompt_tokens == plain.usage.prompt_tokens


async def test_stream_without_usage_has_none(chat_client: ChatClient) -> None:
    """Usage is streamed only to those who ask."""
    stream = await chat_client(ProviderName.OPENAI).chat.completions.create(
        **_asked(ProviderName.OPENAI, stream=True)
    )
    assert [chunk.usage async for chunk in stream if chunk.usage] == []


async def test_sdk_streaming_helper_parses_the_events(chat_client: ChatClient) -> None:
    """The SDK's own accumulator accepts the stream as complete."""
    async with chat_client(ProviderName.OPENAI).chat.completions.stream(
        **_asked(ProviderName.OPENAI)
    ) as stream:
        final = await stream.get_final_completion()
    assert "SIMULATED" in (final.choices[0].message.content or "")


async def test_openai_counts_reasoning_in(chat_client: ChatClient) -> None:
    """OpenAI's completion tokens include the hidden ones."""
    reply = await chat_client(ProviderName.OPENAI).chat.completions.create(**_asked(ProviderName.OPENAI))
    usage = reply.usage
    assert usage is not None
    assert usage.completion_tokens_details is not None
    hidden = usage.completion_tokens_details.reasoning_tokens or 0
    assert 0 < hidden < usage.completion_tokens
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


async def test_xai_counts_reasoning_apart(chat_client: ChatClient) -> None:
    """xAI's completion tokens leave the hidden ones out, its total and its price in ticks do not."""
    reply = await chat_client(ProviderName.XAI).chat.completions.create(**_asked(ProviderName.XAI))
    usage = reply.usage
    assert usage is not None
    assert usage.completion_tokens_details is not None
    hidden = usage.completion_tokens_details.reasoning_tokens or 0
    assert hidden > 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens + hidden
    expected = usage.prompt_tokens * 20_000 + (usage.completion_tokens + hidden) * 60_000
    assert (usage.model_extra or {})["cost_in_usd_ticks"] == expected


@pytest.mark.parametrize("provider", CHAT_PROVIDERS)
async def test_model_list(chat_client: ChatClient, provider: ProviderName, fleet: EmulatorFleet) -> None:
    """The list holds the models the fleet was given."""
    listed = [model.id async for model in chat_client(provider).models.list()]
    assert tuple(listed) == fleet.models[provider]


@pytest.mark.parametrize(
    ("provider", "code", "words"),
    [
        (ProviderName.XAI, "Some requested entity was not found", "grok-1 does not exist"),
        (ProviderName.OPENAI, "model_not_found", "`grok-1` does not exist"),
        (ProviderName.LOCAL, None, "model 'grok-1' not found"),
    ],
)
async def test_unknown_model(
    chat_client: ChatClient, provider: ProviderName, code: str | None, words: str
) -> None:
    """A model that is not served gets the vendor's own 404."""
    with pytest.raises(openai.NotFoundError) as caught:
        await chat_client(provider).chat.completions.create(
            model="grok-1", messages=[{"role": "user", "content": "hi"}]
        )
    body = caught.value.response.json()
    error = body if provider is ProviderName.XAI else body["error"]
    assert words in (body["error"] if provider is ProviderName.XAI else error["message"])
    assert error["code"] == code


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer "}, {"Authorization": "Basic abc"}])
@pytest.mark.parametrize("provider", [ProviderName.XAI, ProviderName.OPENAI])
async def test_missing_key(
    fleet: EmulatorFleet, http: aiohttp.ClientSession, provider: ProviderName, header: dict[str, str]
) -> None:
    """Without a key nothing is answered and nothing is billed, on either endpoint."""
    url = fleet.base_urls[provider]
    async with http.post(f"{url}/chat/completions", json=_asked(provider), headers=header) as reply:
        assert reply.status == 401
        assert "error" in await reply.json()
    async with http.get(f"{url}/models", headers=header) as reply:
        assert reply.status == 401
    assert fleet.ledger(provider).billed == 0


async def test_local_server_asks_for_no_key(fleet: EmulatorFleet, http: aiohttp.ClientSession) -> None:
    """The local server answers anyone on this machine."""
    url = fleet.base_urls[ProviderName.LOCAL]
    async with http.post(f"{url}/chat/completions", json=_asked(ProviderName.LOCAL)) as reply:
        assert reply.status == 200
        assert (await reply.json())["system_fingerprint"] == "fp_ollama"


@pytest.mark.parametrize("provider", CHAT_PROVIDERS)
async def test_every_response_says_simulated(
    fleet: EmulatorFleet, http: aiohttp.ClientSession, provider: ProviderName
) -> None:
    """Good, bad, streamed or unheard of: every response carries the mark."""
    url = fleet.base_urls[provider]
    headers = {"Authorization": "Bearer k"}
    for body in (_asked(provider), _asked(provider, stream=True), _asked(provider, model="nope")):
        async with http.post(f"{url}/chat/completions", json=body, headers=headers) as reply:
            assert reply.headers[SIMULATED_HEADER] == "true"
            assert reply.headers["x-request-id"].startswith("req_")
    for path in ("models", "nothing-here"):
        async with http.get(f"{url}/{path}", headers=headers) as reply:
            assert reply.headers[SIMULATED_HEADER] == "true"


@pytest.mark.parametrize("provider", [ProviderName.XAI, ProviderName.OPENAI])
async def test_output_limit_is_kept(chat_client: ChatClient, provider: ProviderName) -> None:
    """A limit too small for thinking and text gives finish reason length and no token more."""
    reply = await chat_client(provider).chat.completions.create(**_asked(provider, max_completion_tokens=40))
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage is not None
    assert reply.usage.total_tokens - reply.usage.prompt_tokens <= 40


async def test_probe_fits_into_one_token(chat_client: ChatClient) -> None:
    """A short prompt is answered in one token, without hidden ones."""
    reply = await chat_client(ProviderName.OPENAI).chat.completions.create(
        model="gpt-6-luna", messages=[{"role": "user", "content": "ping"}], max_completion_tokens=1
    )
    assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == ("ok", "stop")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"max_tokens": 10}, "max_completion_tokens"),
        ({"messages": []}, "messages"),
        ({"response_format": {"type": "yaml"}}, "response_format"),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "strict": True, "schema": {"type": "object"}},
                }
            },
            "additionalProperties",
        ),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
    ],
)
async def test_invalid_requests(chat_client: ChatClient, change: dict[str, Any], words: str) -> None:
    """What OpenAI calls invalid is refused with 400 and the reason."""
    with pytest.raises(openai.BadRequestError, match=words):
        await chat_client(ProviderName.OPENAI).chat.completions.create(**_asked(ProviderName.OPENAI) | change)


async def test_body_that_is_no_json(fleet: EmulatorFleet, http: aiohttp.ClientSession) -> None:
    """A body that can't be read is the caller's fault, in the vendor's words."""
    url = f"{fleet.base_urls[ProviderName.XAI]}/chat/completions"
    async with http.post(url, data=b"{", headers={"Authorization": "Bearer k"}) as reply:
        assert reply.status == 400
        assert (await reply.json())["code"] == "Client specified an invalid argument"


async def test_retired_model_is_redirected(oracle: SyntheticOracle) -> None:
    """A retired id is answered by its successor, which says so and bills its own price."""
    redirects = {"grok-4": "grok-4.3"}
    async with (
        EmulatorFleet(oracle, latency_scale=0.0, redirects=redirects) as fleet,
        openai.AsyncOpenAI(api_key="k", base_url=fleet.base_urls[ProviderName.XAI], max_retries=0) as client,
    ):
        reply = await client.chat.completions.create(
            model="grok-4", messages=[{"role": "user", "content": "hi"}]
        )
        assert reply.model == "grok-4.3"
        assert "grok-4" not in [model.id async for model in client.models.list()]
