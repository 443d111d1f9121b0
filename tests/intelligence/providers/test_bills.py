"""What we book is what the vendor bills, to the micro-dollar: every vendor, every way of counting.

The emulators bill by a tariff of their own, from the tokens they have really used.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from jurymast.domain.errors import ProviderError
from jurymast.domain.provider import AIRequest, Billing, Message, ProviderConfig, ProviderName, Route, Secret
from jurymast.exchange.paths import PricePath
from jurymast.exchange.questions import load_bundle
from jurymast.intelligence.assembly import PROVIDERS
from jurymast.intelligence.provider_manager import ProviderManager
from jurymast.intelligence.providers.catalogue import Catalogue
from jurymast.intelligence.purse import MemoryBooks, Purse
from jurymast.lab.emulators.fleet import EmulatorFleet
from jurymast.lab.emulators.tariff import TARIFFS
from jurymast.lab.world import QuestionOracle
from jurymast.policy.ledger import Cap
from jurymast.testing.clock import FakeClock

XAI, OPENAI, ANTHROPIC, LOCAL = ProviderName
ALL_MODELS = {
    XAI: ("grok-4.7", "grok-4.6", "grok-4.5", "grok-4.3", "grok-4.20"),
    OPENAI: ("gpt-6-astra", "gpt-6.1-sol", "gpt-6.1-terra", "gpt-6-luna"),
    ANTHROPIC: ("claude-fable-5-2", "claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"),
}
ONE_EACH = {XAI: "grok-4.3", OPENAI: "gpt-6.1-terra", ANTHROPIC: "claude-opus-5-5"}
PRICED = [(name, model) for name, models in ALL_MODELS.items() for model in models]
MILLION = 10**12
"""Micro-dollars: never the limit here."""
FAILURES = (
    "refuse", "reset", "hang", "500", "503", "529", "429", "auth", "model_gone", "cut", "stream_error",
    "html", "error_object", "no_choices", "content_filter", "invalid_json", "wrong_schema",
)  # fmt: skip
BYTES_PER_TOKEN = 3.3
"""The emulators'."""
LONG = AIRequest((Message("user", "x" * round(300_000 * BYTES_PER_TOKEN)),), max_output_tokens=2_000)
SHORT = AIRequest(
    (Message("system", "Be brief."), Message("user", "How likely is rain tomorrow? " * 60)),
    max_output_tokens=2_000,
)


@asynccontextmanager
async def bank(
    *, stream: bool = True, redirects: dict[str, str] | None = None
) -> AsyncIterator[tuple[EmulatorFleet, ProviderManager]]:
    """Emulators of every model we price, and the manager that pays them."""
    catalogue = Catalogue()
    oracle = QuestionOracle(load_bundle(), PricePath(0))
    async with EmulatorFleet(oracle, latency_scale=0.0, models=ALL_MODELS, redirects=redirects) as fleet:
        configs = [
            ProviderConfig(
                name,
                fleet.base_urls[name],
                models,
                1,
                api_key=Secret("emulated"),
                stream=stream,
                simulated=True,
            )
            for name, models in ALL_MODELS.items()
        ]
        providers = [PROVIDERS[config.name](config, None, catalogue) for config in configs]
        clock = FakeClock()
        purse = Purse(MemoryBooks([Cap(MILLION)], clock), clock=clock)
        manager = ProviderManager(providers, clock=clock, catalogue=catalogue, purse=purse)
        try:
            yield fleet, manager
        finally:
            await manager.close()


async def asked(manager: ProviderManager, route: Route, request: AIRequest = SHORT) -> ProviderError | None:
    try:
        await manager.make_request(request, route, timeout_secs=20.0)
    except ProviderError as error:
        return error
    return None


def test_the_tariff_and_the_price_table_are_of_the_same_models() -> None:
    """A model that is priced can be billed by the emulators, so that no price goes untested."""
    assert {model for _, model in PRICED} == set(TARIFFS)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fault", ["clear", "cached", "truncated", "empty", "swapped_model"])
async def test_every_model_is_booked_at_its_bill(fault: str, stream: bool) -> None:
    """Reasoning, cache reads and cache writes are counted otherwise by each vendor; the sum is the same."""
    async with bank(stream=stream) as (fleet, manager):
        for name, model in PRICED:
            if fault == "swapped_model" and name is not XAI:
                continue  # who answered has no price; only xAI bills in the reply itself
            if fault != "clear":
                await fleet.set_fault(name.value, fault)
            spent, before = manager.get_total_cost(), fleet.ledger(name)
            await asked(manager, Route(name, model))
            after = fleet.ledger(name)
            assert after.billed == before.billed + 1
            assert manager.get_total_cost() - spent == after.bill - before.bill > 0, model


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("cached", [False, True], ids=["fresh", "cached"])
async def test_a_long_prompt_costs_the_long_price_in_whole(cached: bool, stream: bool) -> None:
    """Above a vendor's step all tokens cost more, and the reservation had that price in it."""
    async with bank(stream=stream) as (fleet, manager):
        for name, model in PRICED:
            if cached:
                await fleet.set_fault(name.value, "cached")
            route = Route(name, model)
            held, spent, before = (
                manager.worst_case(LONG, route),
                manager.get_total_cost(),
                fleet.ledger(name).bill,
            )
            assert await asked(manager, route, LONG) is None
            bill = fleet.ledger(name).bill - before
            assert manager.get_total_cost() - spent == bill
            assert bill <= held, model
            rates = manager.catalogue.price(model)
            assert (rates.rates(300_000) == rates.rates(1)) is (rates.long is None)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fault", FAILURES)
async def test_what_fails_is_never_booked_below_its_bill(fault: str, stream: bool) -> None:
    """Where the vendor says what it used, or that it used nothing, that is booked; else the worst case."""
    async with bank(stream=stream) as (fleet, manager):
        for name, model in ONE_EACH.items():
            await fleet.set_fault(name.value, fault)
            route = Route(name, model)
            timeout_secs = 0.4 if fault == "hang" else 20.0
            failure = None
            try:
                await manager.make_request(SHORT, route, timeout_secs=timeout_secs)
            except ProviderError as error:
                failure = error.failure
            booked, bill = manager.stats[route].cost, fleet.ledger(name).bill
            known = (
                failure is None
                or failure.usage is not None
                or failure.billing
                in {
                    Billing.NOT_SENT,
                    Billing.NOT_BILLED,
                }
            )
            assert booked == bill if known else bill <= booked == manager.worst_case(SHORT, route), (
                name,
                failure,
            )


async def test_a_redirected_name_is_billed_as_what_it_leads_to() -> None:
    """An id that a vendor redirects costs what its target costs, not what it once cost itself."""
    async with bank(redirects={"grok-4.7": "grok-4.3", "gpt-6.1-sol": "gpt-6-luna"}) as (fleet, manager):
        for name, asked_for, target in ((XAI, "grok-4.7", "grok-4.3"), (OPENAI, "gpt-6.1-sol", "gpt-6-luna")):
            response = await manager.make_request(SHORT, Route(name, asked_for), timeout_secs=5.0)
            assert response.served_model == target
            assert response.swapped
            assert (
                response.cost
                == fleet.ledger(name).bill
                == manager.catalogue.price(target).cost(response.usage)
            )
            assert response.cost < manager.catalogue.price(asked_for).cost(response.usage)


async def test_vendors_quotes_come_before_the_table_and_the_operator_before_both() -> None:
    """xAI's list has prices: they are ours exactly, in units that a mistake of ten would show."""
    async with bank() as (_, manager):
        listed = await manager.providers[XAI].list_models(5.0)
        assert [info.model for info in listed] == list(ALL_MODELS[XAI])
        for info in listed:
            price = manager.catalogue.price(info.model)
            assert (info.input, info.cached_input, info.output) == (
                price.input,
                price.cached_input,
                price.output,
            )
            assert manager.catalogue.quoted(info) == ""
            assert info.aliases == (f"{info.model}-latest",)
