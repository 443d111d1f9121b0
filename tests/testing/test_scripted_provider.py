"""ScriptedProvider: answers in the order of the script."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jurymast.domain.errors import ProviderError
from jurymast.domain.provider import (
    AIRequest,
    AIResponse,
    Failure,
    FailureKind,
    Message,
    ModelInfo,
    ProviderConfig,
    ProviderName,
    Usage,
)
from jurymast.testing.clock import FakeClock
from jurymast.testing.provider import Asked, Delay, ScriptedProvider, ScriptItem

REQUEST = AIRequest(messages=(Message("user", "Will it rain?"),))
OVERLOADED = Failure(FailureKind.OVERLOADED, "try later", status=529)


def answer(content: str) -> AIResponse:
    return AIResponse(content, ProviderName.OPENAI, "m", "m", Usage(100, 10), 110, 0.5)


def scripted(*script: ScriptItem, clock: FakeClock | None = None) -> ScriptedProvider:
    config = ProviderConfig(ProviderName.OPENAI, "http://127.0.0.1:9/v1", ("m", "n"), priority=1)
    return ScriptedProvider(config, script, clock=clock or FakeClock())


async def test_the_script_is_played_in_order() -> None:
    """Answers and failures come one per request, in the order they were written."""
    provider = scripted(answer("first"), OVERLOADED, answer("second"))
    assert (await provider.make_request(REQUEST, model="m", timeout_secs=5)).content == "first"
    with pytest.raises(ProviderError) as raised:
        await provider.make_request(REQUEST, model="m", timeout_secs=5)
    assert raised.value.failure is OVERLOADED
    assert not provider.finished
    assert (await provider.make_request(REQUEST, model="m", timeout_secs=5)).content == "second"
    assert provider.finished


async def test_scripted_answers_say_simulated() -> None:
    """No scripted answer can pass for a model's."""
    provider = scripted(answer("first"))
    assert (await provider.make_request(REQUEST, model="m", timeout_secs=5)).simulated


async def test_every_request_is_remembered() -> None:
    """What was asked, of which model and with which time-out can be looked up afterwards."""
    provider = scripted(answer("first"))
    await provider.make_request(REQUEST, model="n", timeout_secs=5)
    assert provider.asked == [Asked(REQUEST, "n", 5)]


async def test_a_short_delay_is_waited_for() -> None:
    """An answer within the time-out arrives, after the delays before it."""
    clock = FakeClock()
    provider = scripted(Delay(2), Delay(1), answer("late"), clock=clock)
    assert (await provider.make_request(REQUEST, model="m", timeout_secs=5)).content == "late"
    assert clock.monotonic() == 3.0


async def test_a_long_delay_is_a_timeout() -> None:
    """A delay past the time-out fails when the time-out ends, and the answer it held is lost."""
    clock = FakeClock()
    provider = scripted(Delay(60), answer("lost"), answer("next"), clock=clock)
    with pytest.raises(ProviderError) as raised:
        await provider.make_request(REQUEST, model="m", timeout_secs=5)
    assert raised.value.failure.kind is FailureKind.TIMEOUT
    assert clock.monotonic() == 5.0
    assert (await provider.make_request(REQUEST, model="m", timeout_secs=5)).content == "next"


async def test_a_late_first_token_is_a_timeout_of_its_own() -> None:
    """A delay past the first token's limit fails when that ends, and says so."""
    clock = FakeClock()
    provider = scripted(Delay(3), answer("lost"), clock=clock)
    with pytest.raises(ProviderError) as raised:
        await provider.make_request(REQUEST, model="m", timeout_secs=5, first_token_secs=2)
    assert raised.value.failure.kind is FailureKind.FIRST_TOKEN_TIMEOUT
    assert clock.monotonic() == 2.0
    assert provider.asked == [Asked(REQUEST, "m", 5, 2)]


async def test_an_exhausted_script_is_a_mistake_of_the_test() -> None:
    """Running out raises AssertionError, which no failover takes for a failing provider."""
    with pytest.raises(AssertionError, match="openai has run out at request 1"):
        await scripted().make_request(REQUEST, model="m", timeout_secs=5)


async def test_health_checks_play_the_script() -> None:
    """A probe is healthy when the script has an answer for it, and says why when not."""
    provider = scripted(answer("pong"), replace(OVERLOADED, retry_after_secs=7.0))
    healthy = await provider.health_check("m", 5)
    sick = await provider.health_check("m", 5)
    assert healthy.is_healthy
    assert healthy.cost == 110
    assert not sick.is_healthy
    assert (sick.failure, sick.retry_after_secs) == (FailureKind.OVERLOADED, 7.0)


async def test_models_and_costs_come_from_the_configuration() -> None:
    """The configured models are listed, and a token costs a micro-dollar."""
    provider = scripted()
    assert await provider.list_models(5) == (ModelInfo("m"), ModelInfo("n"))
    assert provider.calculate_cost(Usage(input=100, output=10), "m") == 110
