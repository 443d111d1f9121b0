"""The providers against well emulators of the lab: bills, lists, probes, wishes to wait."""

from __future__ import annotations

import pytest

from jurymast.domain.provider import FailureKind, ProviderName
from jurymast.intelligence.providers.transport import AiohttpTransport
from jurymast.lab.emulators.faults import Fault
from jurymast.lab.emulators.fleet import EmulatorFleet

from .samples import MODELS, ask, failing, provider

UNHURRIED_SECS = 10.0
OPENAI = ProviderName.OPENAI


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
