from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from emulator_world import SyntheticOracle, question

from jurymast.domain.errors import PortTaken
from jurymast.domain.provider import ProviderName
from jurymast.lab.emulators.delivery import Pacing
from jurymast.lab.emulators.faults import ALL, Fault
from jurymast.lab.emulators.fleet import EmulatorFleet
from jurymast.lab.emulators.tempo import FIRST_TOKEN_SHARE, PACES, answer_secs

XAI, OPENAI, ANTHROPIC, LOCAL = ProviderName
HEADERS = {"Authorization": "Bearer k"}
WAIT_SECS = 3.0


def _body(model: str = "grok-4.7", ticker: str = "M1", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": question(ticker)}], **more}


async def _status(
    http: aiohttp.ClientSession, fleet: EmulatorFleet, model: str = "grok-4.7", provider: ProviderName = XAI
) -> int:
    url = f"{fleet.base_urls[provider]}/chat/completions"
    async with http.post(url, json=_body(model), headers=HEADERS) as reply:
        await reply.read()
        return reply.status


async def _until(happened: Callable[[], bool]) -> None:
    for _ in range(round(WAIT_SECS / 0.01)):
        if happened():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not happen in time")


async def _eventually_well(http: aiohttp.ClientSession, fleet: EmulatorFleet) -> None:
    await _until(lambda: not fleet.faults())
    assert await _status(http, fleet) == 200


async def test_refuse_closes_the_port_and_healing_opens_the_same(
    fleet: EmulatorFleet, http: aiohttp.ClientSession
) -> None:
    """A refusing provider has no listener, drops kept connections, and comes back at its address."""
    before = dict(fleet.base_urls)
    for _ in range(3):
        assert await _status(http, fleet) == 200
        await fleet.set_fault("xai", "refuse")
        with pytest.raises(aiohttp.ClientConnectorError) as caught:
            await _status(http, fleet)
        assert isinstance(caught.value.os_error, ConnectionRefusedError)
        assert await _status(http, fleet, "gpt-6.1-sol", OPENAI) == 200
        await fleet.clear_faults("xai")
    assert await _status(http, fleet) == 200
    assert fleet.base_urls == before


async def test_port_of_a_refusing_provider_is_kept(fleet: EmulatorFleet) -> None:
    """While it refuses, no other program can be given the port by accident."""
    await fleet.set_fault("xai", "refuse")
    port = int(fleet.base_urls[XAI].removesuffix("/v1").rpartition(":")[2])
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))


async def test_refuse_drops_requests_in_flight(fleet: EmulatorFleet, http: aiohttp.ClientSession) -> None:
    """Closing the port loses what was being answered."""
    await fleet.set_fault("xai", "hang")
    waiting = asyncio.ensure_future(_status(http, fleet))
    await _until(lambda: fleet.ledger(XAI).requests == 1)
    await fleet.set_fault("xai", "refuse")
    with pytest.raises(aiohttp.ClientConnectionError):
        await waiting


@pytest.mark.parametrize("fault", ["refuse", "503"])
async def test_fault_heals_itself(oracle: SyntheticOracle, http: aiohttp.ClientSession, fault: str) -> None:
    """A fault given a duration ends by itself, and both ends are told."""
    told: list[tuple[str, str | None, str]] = []
    async with EmulatorFleet(
        oracle, latency_scale=0.0, on_change=lambda *change: told.append(change)
    ) as fleet:
        await fleet.set_fault("xai", fault, for_secs=0.05)
        await _eventually_well(http, fleet)
    assert told == [("xai", None, fault), ("xai", None, "clear")]


async def test_newer_fault_is_not_healed_by_an_older_timer(
    fleet: EmulatorFleet, http: aiohttp.ClientSession
) -> None:
    """Setting a fault again replaces the timer of the one before."""
    await fleet.set_fault("xai", "503", for_secs=0.05)
    await fleet.set_fault("xai", "500")
    await asyncio.sleep(0.1)
    assert await _status(http, fleet) == 500


async def test_healing_provider_leaves_the_fault_of_its_model(
    fleet: EmulatorFleet, http: aiohttp.ClientSession
) -> None:
    """Each fault has its own end: a provider that heals keeps what is wrong with one model."""
    await fleet.set_fault("xai", "529", model="grok-4.7")
    await fleet.set_fault("xai", "503", for_secs=0.05)
    await _until(lambda: len(fleet.faults()) == 1)
    assert [await _status(http, fleet, model) for model in ("grok-4.7", "grok-4.3")] == [529, 200]


async def test_fault_of_one_model_leaves_its_sibling(
    fleet: EmulatorFleet, http: aiohttp.ClientSession
) -> None:
    """Half of all real incidents hit one model only."""
    await fleet.set_fault("xai", "529", model="grok-4.7")
    assert [await _status(http, fleet, model) for model in ("grok-4.7", "grok-4.3")] == [529, 200]
    with pytest.raises(ValueError, match=r"known are grok-4\.7"):
        await fleet.set_fault("xai", "529", model="grok-9")
    with pytest.raises(ValueError, match="unknown provider"):
        await fleet.set_fault("gemini", "529")
    assert len(fleet.faults()) == 1


async def test_partial_fault_hits_its_share(oracle: SyntheticOracle, http: aiohttp.ClientSession) -> None:
    """A partial fault hits about its share of requests, the same ones with the same seed."""

    async def strikes(seed: int) -> list[int]:
        async with EmulatorFleet(oracle, seed=seed, latency_scale=0.0) as fleet:
            await fleet.set_fault("xai", "500", probability=0.4)
            return [await _status(http, fleet) for _ in range(100)]

    first = await strikes(3)
    assert 25 <= first.count(500) <= 55
    assert set(first) == {200, 500}
    assert first == await strikes(3)
    assert first != await strikes(4)


async def test_all_providers_at_once(fleet: EmulatorFleet, http: aiohttp.ClientSession) -> None:
    """The word all breaks and mends every provider."""
    await fleet.set_fault(ALL, "503")
    assert len(fleet.faults()) == len(ProviderName)
    assert await _status(http, fleet) == await _status(http, fleet, "llama3.1:8b", LOCAL) == 503
    await fleet.clear_faults()
    assert fleet.faults() == ()
    assert await _status(http, fleet) == 200


async def test_same_seed_same_answers(oracle: SyntheticOracle, http: aiohttp.ClientSession) -> None:
    """Two fleets of one seed give the same texts and tokens, whatever was asked before."""

    async def answer(seed: int, others: int) -> Any:
        async with EmulatorFleet(oracle, seed=seed, latency_scale=0.0) as fleet:
            for _ in range(others):
                await _status(http, fleet, "gpt-6.1-sol", OPENAI)
            url = f"{fleet.base_urls[XAI]}/chat/completions"
            body = _body(response_format={"type": "json_object"})
            async with http.post(url, json=body, headers=HEADERS) as reply:
                whole = await reply.json()
        return {name: whole[name] for name in ("id", "choices", "usage")}

    assert await answer(5, others=0) == await answer(5, others=3)
    assert await answer(5, others=0) != await answer(6, others=0)


def test_latency_is_realistic_and_scaled() -> None:
    """Answer times scatter around the provider's median and come again with the seed."""
    for provider, pace in PACES.items():
        times = sorted(answer_secs(provider, 1, serial) for serial in range(1_001))
        assert times[500] == pytest.approx(pace.median_secs, rel=0.1)
        assert times[-1] < 10 * pace.median_secs
        assert answer_secs(provider, 1, 7) == answer_secs(provider, 1, 7) != answer_secs(provider, 2, 7)
    assert Pacing(secs=4.0, latency_scale=1.0).first_token_secs == pytest.approx(1.0)


async def test_latency_scale_slows_the_wire(oracle: SyntheticOracle, http: aiohttp.ClientSession) -> None:
    """An answer takes its drawn time on the wire."""
    scale = 0.02
    async with EmulatorFleet(oracle, seed=1, latency_scale=scale) as fleet:
        started = time.monotonic()
        assert await _status(http, fleet) == 200
        assert time.monotonic() - started >= scale * FIRST_TOKEN_SHARE * answer_secs(XAI, 1, 1)


async def test_ledger_holds_what_was_billed(fleet: EmulatorFleet, http: aiohttp.ClientSession) -> None:
    """The ledger agrees with the usage in the answers and counts errors as requests only."""
    url = f"{fleet.base_urls[OPENAI]}/chat/completions"
    prompt = completion = 0
    for number in range(3):
        body = _body("gpt-6.1-sol", f"M{number}", response_format={"type": "json_object"})
        async with http.post(url, json=body, headers=HEADERS) as reply:
            usage = (await reply.json())["usage"]
        prompt += usage["prompt_tokens"]
        completion += usage["completion_tokens"]
    await fleet.set_fault("openai", "500")
    await _status(http, fleet, "gpt-6.1-sol", OPENAI)
    ledger = fleet.ledger(OPENAI)
    assert (ledger.requests, ledger.billed) == (4, 3)
    assert (ledger.input_tokens, ledger.output_tokens) == (prompt, completion)
    assert 0 < ledger.reasoning_tokens < ledger.output_tokens
    assert fleet.ledger(XAI).requests == 0


async def test_caller_who_leaves_is_billed(fleet: EmulatorFleet, http: aiohttp.ClientSession) -> None:
    """Giving up on an answer that a model works on does not save its price."""
    await fleet.set_fault("xai", Fault.SLOW_FIRST_TOKEN)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await _status(http, fleet)
    assert fleet.ledger(XAI).billed == 1


async def test_control_server_sets_shows_and_clears(
    fleet: EmulatorFleet, http: aiohttp.ClientSession
) -> None:
    """Faults can be set, seen and cleared over HTTP, also while the provider refuses."""
    url = f"{fleet.control_url}/faults"
    order = {"provider": "xai", "model": None, "fault": "refuse", "for_secs": None, "probability": 1.0}
    async with http.post(url, json=order) as reply:
        assert reply.status == 200
    with pytest.raises(aiohttp.ClientConnectorError):
        await _status(http, fleet)
    async with http.post(url, json={"provider": "openai", "fault": "429", "retry_after": 2}) as reply:
        faults = (await reply.json())["faults"]
    assert [(f["provider"], f["fault"], f["retry_after"]) for f in faults] == [
        ("xai", "refuse", None),
        ("openai", "429", "2"),
    ]
    async with http.delete(f"{url}/xai") as reply:
        assert [f["provider"] for f in (await reply.json())["faults"]] == ["openai"]
    assert await _status(http, fleet) == 200
    async with http.delete(url) as reply:
        assert (await reply.json())["faults"] == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "truncated"),
        (b'{"provider":"xai"}', "fault"),
        (b'{"provider":"xai","fault":"explode"}', "known are refuse"),
        (b'{"provider":"gemini","fault":"503"}', "known are xai"),
        (b'{"provider":"xai","fault":"503","model":"grok-9"}', "known are grok-4.7"),
        (b'{"provider":"xai","fault":"503","probability":7}', "probability"),
        (b'{"provider":"xai","fault":"503","colour":"red"}', "colour"),
    ],
)
async def test_control_server_explains_mistakes(
    fleet: EmulatorFleet, http: aiohttp.ClientSession, body: bytes, words: str
) -> None:
    """A wrong order is answered with 400, the reason, every valid word, and changes nothing."""
    async with http.post(f"{fleet.control_url}/faults", data=body) as reply:
        assert reply.status == 400
        answer = await reply.json()
    assert words in answer["error"]
    assert set(answer["faults"]) == set(Fault)
    assert answer["providers"] == [*ProviderName, ALL]
    assert fleet.faults() == ()
    async with http.delete(f"{fleet.control_url}/faults/gemini") as reply:
        assert reply.status == 400


async def test_control_server_guides_people(fleet: EmulatorFleet, http: aiohttp.ClientSession) -> None:
    """The front page names every fault and provider with commands to copy; the ledger is open."""
    async with http.get(fleet.control_url) as reply:
        text = await reply.text()
    assert "SIMULATED" in text
    assert all(fault in text and fault.meaning in text for fault in Fault)
    assert f"curl -X POST {fleet.control_url}/faults" in text
    await _status(http, fleet)
    async with http.get(f"{fleet.control_url}/ledger") as reply:
        assert (await reply.json())["ledger"]["xai"]["billed"] == 1


async def test_taken_port_is_named_with_the_cure(oracle: SyntheticOracle) -> None:
    """A port in use stops the start, says which and what to do, and leaves nothing behind."""
    before = asyncio.all_tasks()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        for wrong in ({"ports": {ANTHROPIC: port}}, {"control_port": port}):
            fleet = EmulatorFleet(oracle, **wrong)
            with pytest.raises(PortTaken, match=rf"127\.0\.0\.1:{port}.*another port"):
                await fleet.start()
            for url in fleet.base_urls.values():
                await _assert_closed(url, unless=port)
    assert asyncio.all_tasks() == before


async def _assert_closed(url: str, unless: int) -> None:
    port = int(url.removesuffix("/v1").rpartition(":")[2])
    if port in {0, unless}:
        return
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_fixed_ports_are_used_and_given_back(
    oracle: SyntheticOracle, http: aiohttp.ClientSession
) -> None:
    """A fleet can be stopped and started again on the same ports."""
    async with EmulatorFleet(oracle, latency_scale=0.0) as fleet:
        port = int(fleet.base_urls[XAI].removesuffix("/v1").rpartition(":")[2])
    for _ in range(2):
        async with EmulatorFleet(oracle, latency_scale=0.0, ports={XAI: port}) as fleet:
            assert fleet.base_urls[XAI] == f"http://127.0.0.1:{port}/v1"
            assert await _status(http, fleet) == 200


async def test_stop_leaves_nothing_running(oracle: SyntheticOracle) -> None:
    """Hanging, dripping, healing: after stop there is no task and no listener, and soon."""
    before = asyncio.all_tasks()
    fleet = EmulatorFleet(oracle, latency_scale=0.0)
    await fleet.start()
    await fleet.set_fault("xai", "hang")
    await fleet.set_fault("openai", "drip", for_secs=1_000)
    await fleet.set_fault("local", "refuse")
    urls = fleet.base_urls
    async with aiohttp.ClientSession() as http:
        calls = [
            asyncio.ensure_future(_status(http, fleet, model, provider))
            for model, provider in (("grok-4.7", XAI), ("gpt-6.1-sol", OPENAI))
        ]
        await _until(lambda: bool(fleet.ledger(XAI).requests and fleet.ledger(OPENAI).billed))
        async with asyncio.timeout(WAIT_SECS):
            await fleet.stop()
            results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(result, aiohttp.ClientError) for result in results)
    assert asyncio.all_tasks() == before
    for url in (*urls.values(), fleet.control_url):
        await _assert_closed(url, unless=0)
    await fleet.stop()


def test_fleet_needs_models_and_sane_time(oracle: SyntheticOracle) -> None:
    """A provider without models or negative time is a mistake of the caller."""
    with pytest.raises(ValueError, match="at least one model"):
        EmulatorFleet(oracle, models={XAI: []})
    with pytest.raises(ValueError, match="latency_scale"):
        EmulatorFleet(oracle, latency_scale=-1.0)
