from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest
from emulator_world import FORECAST_SCHEMA, question

from jurymast.domain.provider import ProviderName
from jurymast.lab.emulators.faults import Fault
from jurymast.lab.emulators.fleet import EmulatorFleet


def _url(fleet: EmulatorFleet, path: str) -> str:
    return fleet.base_urls[ProviderName.LOCAL].removesuffix("/v1") + path


def _asked(**more: Any) -> dict[str, Any]:
    return {
        "model": "llama3.1:8b",
        "messages": [{"role": "user", "content": question("M5")}],
        "format": FORECAST_SCHEMA,
        **more,
    }


async def test_chat_streams_lines_by_default(fleet: EmulatorFleet, http: aiohttp.ClientSession) -> None:
    """Without being told otherwise the native chat sends one JSON object a line, the last one done."""
    async with http.post(_url(fleet, "/api/chat"), json=_asked()) as reply:
        assert reply.content_type == "application/x-ndjson"
        lines = [json.loads(line) for line in (await reply.text()).splitlines()]
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    text = "".join(line["message"]["content"] for line in lines)
    assert "SIMULATED" in json.loads(text)["would_change_mind"]
    assert lines[-1]["done_reason"] == "stop"
    assert lines[-1]["prompt_eval_count"] > 0
    assert lines[-1]["eval_count"] > 0


async def test_chat_in_one_piece(fleet: EmulatorFleet, http: aiohttp.ClientSession) -> None:
    """With stream off the native chat answers with one object, cut at num_predict."""
    async with http.post(_url(fleet, "/api/chat"), json=_asked(stream=False)) as reply:
        whole = await reply.json()
    assert whole["done"] is True
    assert json.loads(whole["message"]["content"])
    async with http.post(
        _url(fleet, "/api/chat"), json=_asked(stream=False, options={"num_predict": 5})
    ) as reply:
        cut = await reply.json()
    assert (cut["done_reason"], cut["eval_count"]) == ("length", 5)


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
async def test_only_present_models_are_served(
    fleet: EmulatorFleet, http: aiohttp.ClientSession, path: str
) -> None:
    """A model that was not pulled is answered with Ollama's 404 text."""
    async with http.post(_url(fleet, path), json=_asked(model="phi9")) as reply:
        assert reply.status == 404
        error = (await reply.json())["error"]
    assert (error if path == "/api/chat" else error["message"]) == "model 'phi9' not found"


async def test_lists_version_and_greeting(fleet: EmulatorFleet, http: aiohttp.ClientSession) -> None:
    """The local server lists what is present and says what it is."""
    async with http.get(_url(fleet, "/api/tags")) as reply:
        names = tuple(model["name"] for model in (await reply.json())["models"])
    assert names == fleet.models[ProviderName.LOCAL]
    async with http.get(_url(fleet, "/api/version")) as reply:
        assert "version" in await reply.json()
    async with http.get(_url(fleet, "/")) as reply:
        assert await reply.text() == "Ollama is running"


async def test_name_without_tag_means_latest(http: aiohttp.ClientSession, oracle: Any) -> None:
    """Ollama takes a bare name for its latest tag, and nothing else for it."""
    models = {ProviderName.LOCAL: ["mistral:latest"]}
    async with EmulatorFleet(oracle, latency_scale=0.0, models=models) as fleet:
        for name, status in (("mistral", 200), ("mistral:latest", 200), ("mistral:7b", 404)):
            async with http.post(_url(fleet, "/api/chat"), json=_asked(model=name)) as reply:
                assert reply.status == status


async def test_error_in_the_middle_of_lines(fleet: EmulatorFleet, http: aiohttp.ClientSession) -> None:
    """A native stream that fails ends with a line that holds nothing but an error."""
    await fleet.set_fault("local", Fault.STREAM_ERROR)
    async with http.post(_url(fleet, "/api/chat"), json=_asked()) as reply:
        assert reply.status == 200
        lines = [json.loads(line) for line in (await reply.text()).splitlines()]
    assert list(lines[-1]) == ["error"]
    assert not any(line.get("done") for line in lines)
