from __future__ import annotations

import json
from typing import Any

import aiohttp
import anthropic
import pytest
from emulator_world import FORECAST_SCHEMA, question

from jurymast.domain.provider import ProviderName
from jurymast.lab.emulators.emulator import SIMULATED_HEADER
from jurymast.lab.emulators.fleet import EmulatorFleet

HEADERS = {"x-api-key": "k", "anthropic-version": "2023-06-01"}


def _asked(model: str = "claude-sonnet-5-5", **more: Any) -> dict[str, Any]:
    return {
        "model": model,
        "max_tokens": 2_000,
        "system": "You forecast.",
        "messages": [{"role": "user", "content": question("M5", ["s1"])}],
        "output_config": {"format": {"type": "json_schema", "schema": FORECAST_SCHEMA}},
        **more,
    }


def _text(message: anthropic.types.Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


async def test_plain_forecast_over_the_official_sdk(messages_client: anthropic.AsyncAnthropic) -> None:
    """Anthropic's own SDK gets a structured forecast."""
    message = await messages_client.messages.create(**_asked())
    assert message.stop_reason == "end_turn"
    assert message.model == "claude-sonnet-5-5"
    assert 1 <= json.loads(_text(message))["probability_pct"] <= 99
    assert message.usage.output_tokens > len(_text(message)) / 4


@pytest.mark.parametrize("model", ["claude-sonnet-5-5", "claude-opus-5-5"])
async def test_stream_is_the_plain_answer_in_events(
    messages_client: anthropic.AsyncAnthropic, model: str
) -> None:
    """The SDK puts the events together to what the plain call answers."""
    plain = await messages_client.messages.create(**_asked(model))
    async with messages_client.messages.stream(**_asked(model)) as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_message()
    assert _text(final) == _text(plain)
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens > 1
    assert {"message_start", "content_block_start", "content_block_delta", "message_delta"} <= set(kinds)
    assert kinds[-1] == "message_stop"


async def test_stream_begins_with_start_and_ping(fleet: EmulatorFleet, http: aiohttp.ClientSession) -> None:
    """On the wire every event is named, and a ping follows the start."""
    url = f"{fleet.base_urls[ProviderName.ANTHROPIC]}/messages"
    async with http.post(url, json=_asked(stream=True), headers=HEADERS) as reply:
        assert reply.content_type == "text/event-stream"
        assert reply.headers[SIMULATED_HEADER] == "true"
        lines = (await reply.text()).splitlines()
    names = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    assert names[:2] == ["message_start", "ping"]
    assert names[-1] == "message_stop"
    data = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert [event["type"] for event in data] == names


async def test_opus_opens_with_withheld_thinking(messages_client: anthropic.AsyncAnthropic) -> None:
    """The text of a model that always thinks is not its first block."""
    message = await messages_client.messages.create(**_asked("claude-opus-5-5"))
    assert [block.type for block in message.content] == ["thinking", "text"]


async def test_model_list(messages_client: anthropic.AsyncAnthropic, fleet: EmulatorFleet) -> None:
    """The list holds the models the fleet was given, alive."""
    models = [model async for model in messages_client.models.list()]
    assert tuple(model.id for model in models) == fleet.models[ProviderName.ANTHROPIC]
    assert {model.lifecycle for model in models} == {"active"}


async def test_unknown_model(messages_client: anthropic.AsyncAnthropic) -> None:
    """A model that is not served gets Anthropic's own 404."""
    with pytest.raises(anthropic.NotFoundError) as caught:
        await messages_client.messages.create(**_asked("claude-unheard-of"))
    assert caught.value.response.json()["error"] == {
        "type": "not_found_error",
        "message": "model: claude-unheard-of",
    }
    assert caught.value.request_id
    assert caught.value.request_id.startswith("req_")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"anthropic-version": "2023-06-01"}, 401),
        ({"x-api-key": " ", "anthropic-version": "2023-06-01"}, 401),
        ({"x-api-key": "k"}, 400),
        ({"Authorization": "Bearer k", "anthropic-version": "2023-06-01"}, 200),
        (HEADERS, 200),
    ],
)
async def test_key_and_version_are_required(
    fleet: EmulatorFleet, http: aiohttp.ClientSession, headers: dict[str, str], status: int
) -> None:
    """A call without a key or without a version is refused."""
    base = fleet.base_urls[ProviderName.ANTHROPIC]
    async with http.post(f"{base}/messages", json=_asked(), headers=headers) as reply:
        assert reply.status == status
    async with http.get(f"{base}/models", headers=headers) as reply:
        assert reply.status == status


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": 0.2}, "temperature"),
        ({"top_p": 0.9}, "top_p"),
        ({"messages": []}, "messages"),
        (
            {
                "output_config": {
                    "format": {
                        "type": "json_schema",
                        "schema": {
                            "type": "object",
                            "properties": {"minimum": {"type": "integer", "minimum": 1}},
                        },
                    }
                }
            },
            "'minimum' is not supported",
        ),
    ],
)
async def test_invalid_requests(
    fleet: EmulatorFleet, http: aiohttp.ClientSession, change: dict[str, Any], words: str
) -> None:
    """What Anthropic calls invalid is refused with 400 and the reason."""
    body = {name: value for name, value in (_asked() | change).items() if value is not None}
    url = f"{fleet.base_urls[ProviderName.ANTHROPIC]}/messages"
    async with http.post(url, json=body, headers=HEADERS) as reply:
        assert reply.status == 400
        error = (await reply.json())["error"]
    assert error["type"] == "invalid_request_error"
    assert words in error["message"]


async def test_property_named_like_a_bound_is_fine(messages_client: anthropic.AsyncAnthropic) -> None:
    """Only bounds are refused, not fields that happen to be called like one."""
    schema = {
        "type": "object",
        "required": ["minimum"],
        "additionalProperties": False,
        "properties": {"minimum": {"type": "integer"}},
    }
    message = await messages_client.messages.create(
        **_asked(output_config={"format": {"type": "json_schema", "schema": schema}})
    )
    assert json.loads(_text(message)) == {"minimum": 0}


async def test_output_limit_is_kept(messages_client: anthropic.AsyncAnthropic) -> None:
    """A limit too small for thinking and text gives stop reason max_tokens and no token more."""
    message = await messages_client.messages.create(**_asked(max_tokens=50))
    assert message.stop_reason == "max_tokens"
    assert message.usage.output_tokens <= 50
