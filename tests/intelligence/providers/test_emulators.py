"""The providers against the emulators of the lab: every fault they know has its kind here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

import pytest

from jurymast.domain.provider import FailureKind, ProviderName
from jurymast.intelligence.providers.transport import AiohttpTransport
from jurymast.lab.emulators.faults import Fault
from jurymast.lab.emulators.fleet import EmulatorFleet

from .samples import MODELS, ask, failing, provider

LIMIT_SECS = 0.5
UNHURRIED_SECS = 10.0
XAI, OPENAI, ANTHROPIC, LOCAL = ProviderName


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
    models = {LOCAL: (MODELS[LOCAL],)}
    async with EmulatorFleet(CoinOracle(), seed=7, latency_scale=0.0, models=models) as running:
        yield running


KINDS: dict[Fault, FailureKind] = {
    Fault.REFUSE: FailureKind.CONNECT,
    Fault.RESET: FailureKind.RESET,
    Fault.SERVER_ERROR: FailureKind.SERVER_ERROR,
    Fault.UNAVAILABLE: FailureKind.OVERLOADED,
    Fault.OVERLOADED: FailureKind.OVERLOADED,
    Fault.RATE_LIMITED: FailureKind.RATE_LIMITED,
    Fault.SLOW_DOWN: FailureKind.RATE_LIMITED,
    Fault.QUOTA: FailureKind.QUOTA,
    Fault.AUTH: FailureKind.AUTH,
    Fault.WRONG_KEY: FailureKind.AUTH,
    Fault.FORBIDDEN: FailureKind.AUTH,
    Fault.MODEL_GONE: FailureKind.MODEL_GONE,
    Fault.BAD_REQUEST: FailureKind.BAD_REQUEST,
    Fault.CONTEXT_LENGTH: FailureKind.CONTEXT_LENGTH,
    Fault.CONTENT_FILTER: FailureKind.CONTENT_FILTER,
    Fault.CUT: FailureKind.CUT,
    Fault.HTML: FailureKind.EDGE_ERROR,
    Fault.HTML_502: FailureKind.EDGE_ERROR,
    Fault.ERROR_OBJECT: FailureKind.SERVER_ERROR,
    Fault.EMPTY: FailureKind.EMPTY,
    Fault.TRUNCATED: FailureKind.TRUNCATED,
    Fault.STREAM_ERROR: FailureKind.OVERLOADED,
    Fault.INVALID_JSON: FailureKind.MALFORMED,
    Fault.NO_CHOICES: FailureKind.EMPTY,
}
DIFFERENT: dict[tuple[Fault, ProviderName], FailureKind] = {
    # Ollama has one answer to every kind of rush.
    (Fault.SLOW_DOWN, LOCAL): FailureKind.OVERLOADED,
}
SILENT = {Fault.HANG, Fault.DRIP}
COMPLETE = {Fault.WRONG_SCHEMA, Fault.CONSTANT, Fault.SWAPPED_MODEL, Fault.SLOW_FIRST_TOKEN}
"""Whole answers on the wire, in time here: others find out that they are worth nothing."""
PLAIN_WORDS = (Fault.CONTENT_FILTER, LOCAL)
"""A local model refuses in an ordinary answer; the parser of decisions refuses that."""
CASES = [
    pytest.param(fault, name, streaming, id=f"{fault}-{name}-{'stream' if streaming else 'whole'}")
    for fault in KINDS
    for name in ProviderName
    for streaming in (False, True)
    if (fault, name) != PLAIN_WORDS
]


def test_every_fault_of_the_lab_is_covered() -> None:
    """A fault added to the lab needs its kind here."""
    assert set(KINDS) | SILENT | COMPLETE == set(Fault)


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", list(ProviderName))
async def test_healthy_emulator_is_billed_as_its_ledger_says(
    fleet: EmulatorFleet, transport: AiohttpTransport, name: ProviderName, streaming: bool
) -> None:
    """An emulated answer is marked SIMULATED, and its usage is what the emulator would bill."""
    response = await ask(provider(name, fleet.base_urls[name], transport, stream=streaming), UNHURRIED_SECS)
    ledger = fleet.ledger(name)
    assert response.simulated
    assert not response.swapped
    assert "probability_pct" in response.content
    assert (response.usage.input, response.usage.output) == (ledger.input_tokens, ledger.output_tokens)
    assert response.usage.output > 0


@pytest.mark.parametrize(("fault", "name", "streaming"), CASES)
async def test_emulated_fault_gets_its_kind(
    fleet: EmulatorFleet, transport: AiohttpTransport, fault: Fault, name: ProviderName, streaming: bool
) -> None:
    """What the lab breaks, the providers name correctly, after at most one request."""
    await fleet.set_fault(name, fault)
    asked = provider(name, fleet.base_urls[name], transport, stream=streaming)
    failure = (await failing(asked, UNHURRIED_SECS)).failure
    assert failure.kind is DIFFERENT.get((fault, name), KINDS[fault])
    assert fleet.ledger(name).requests == (0 if fault is Fault.REFUSE else 1)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [(Fault.HANG, FailureKind.FIRST_TOKEN_TIMEOUT), (Fault.DRIP, FailureKind.TIMEOUT)],
)
async def test_emulated_silence_ends_in_time(
    fleet: EmulatorFleet, transport: AiohttpTransport, fault: Fault, kind: FailureKind
) -> None:
    """A stream without a token is given up early; pings after half an answer last to the time-out only."""
    await fleet.set_fault(XAI, fault)
    asked = provider(XAI, fleet.base_urls[XAI], transport)
    assert (await failing(asked, LIMIT_SECS)).failure.kind is kind


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        (fault, name)
        for fault in sorted(COMPLETE)
        for name in ProviderName
        if fault is not Fault.SLOW_FIRST_TOKEN or name is XAI
    ],
)
async def test_emulated_answer_that_is_complete_passes(
    fleet: EmulatorFleet, transport: AiohttpTransport, fault: Fault, name: ProviderName
) -> None:
    """An answer that is whole is handed on whatever it says, with the model that gave it."""
    await fleet.set_fault(name, fault)
    response = await ask(provider(name, fleet.base_urls[name], transport), UNHURRIED_SECS)
    assert response.swapped is (fault is Fault.SWAPPED_MODEL)


@pytest.mark.parametrize(
    ("form", "least", "most"),
    [("30", 30.0, 30.0), ("1500ms", 1.5, 1.5), ("date:30", 25.0, 30.0), ("garbage", None, None)],
)
async def test_emulated_wish_to_wait_is_understood(
    fleet: EmulatorFleet, transport: AiohttpTransport, form: str, least: float | None, most: float | None
) -> None:
    """Retry-After arrives in all its forms, and as none when it is garbage."""
    await fleet.set_fault(OPENAI, Fault.RATE_LIMITED, retry_after=form)
    failure = (await failing(provider(OPENAI, fleet.base_urls[OPENAI], transport))).failure
    if least is None or most is None:
        assert failure.retry_after_secs is None
    else:
        assert failure.retry_after_secs is not None
        assert least <= failure.retry_after_secs <= most


@pytest.mark.parametrize("name", list(ProviderName))
async def test_emulated_models_are_listed_and_probed(
    fleet: EmulatorFleet, transport: AiohttpTransport, name: ProviderName
) -> None:
    """The probe asks the model even where the list is well: a model-only outage is found."""
    asked = provider(name, fleet.base_urls[name], transport)
    assert (await asked.health_check(MODELS[name], UNHURRIED_SECS)).is_healthy
    await fleet.set_fault(name, Fault.UNAVAILABLE, model=MODELS[name])
    assert MODELS[name] in {info.model for info in await asked.list_models(UNHURRIED_SECS)}
    result = await asked.health_check(MODELS[name], UNHURRIED_SECS)
    assert (result.is_healthy, result.failure) == (False, FailureKind.OVERLOADED)
