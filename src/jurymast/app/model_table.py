"""Every configured model with what is known of it: from the configuration, the price table and the journal.

Works without a bot and without a network; :func:`asked` asks the vendors' lists as well, which is free.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import date
from typing import Final

from jurymast.app.config import Config
from jurymast.app.models import LIST_SECS, entry_of
from jurymast.app.wiring import provider_configs
from jurymast.domain.errors import ConfigError, ProviderError
from jurymast.domain.events import CanaryFinished, ModelsListed, ModelSwapped, RoutesRanked
from jurymast.domain.provider import ModelInfo, ProviderName, Role, Tier, role_of
from jurymast.exchange.paths import PricePath
from jurymast.exchange.questions import load_bundle
from jurymast.intelligence.assembly import PROVIDERS
from jurymast.intelligence.provider_manager import ProviderManager
from jurymast.intelligence.providers.catalogue import Catalogue, ModelPrice
from jurymast.intelligence.providers.transport import AiohttpTransport
from jurymast.intelligence.purse import MemoryBooks, Purse
from jurymast.journal.queries import JournalReader
from jurymast.lab.emulators.fleet import EmulatorFleet
from jurymast.lab.world import QuestionOracle
from jurymast.policy.ledger import Cap
from jurymast.policy.retirement import end_of
from jurymast.ports import Clock


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One model of one provider. ``listed`` is None where no list has told; prices are None where it is free.

    ``notice`` is about its name, ``failure`` why the provider's list could not be had.
    """

    provider: ProviderName
    model: str
    role: Role
    tier: Tier
    price: ModelPrice | None
    context: int | None
    notice: str = ""
    listed: bool | None = None
    failure: str = ""
    ends_on: date | None = None
    served: str = ""
    canary: CanaryFinished | None = None
    place: int | None = None
    """In the order in which the last run asks routes of equal health, from 1; None where it is not asked."""
    place_reason: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """What lists and answers have told, by provider and model."""

    listed: Mapping[tuple[ProviderName, str], bool]
    ends: Mapping[tuple[ProviderName, str], str]
    failures: Mapping[ProviderName, str]
    served: Mapping[tuple[ProviderName, str], str]
    canaries: Mapping[tuple[ProviderName, str], CanaryFinished]
    places: Mapping[tuple[ProviderName, str], tuple[int | None, str]]


NOTHING_KNOWN: Final = Known({}, {}, {}, {}, {}, {})


def remembered(config: Config) -> Known:
    """What the journal has of the models; nothing before the first run."""
    listed: dict[tuple[ProviderName, str], bool] = {}
    ends: dict[tuple[ProviderName, str], str] = {}
    failures: dict[ProviderName, str] = {}
    served: dict[tuple[ProviderName, str], str] = {}
    canaries: dict[tuple[ProviderName, str], CanaryFinished] = {}
    places: dict[tuple[ProviderName, str], tuple[int | None, str]] = {}
    known = Known(listed, ends, failures, served, canaries, places)
    if not config.journal_path.exists():
        return known
    with JournalReader(config.journal_path) as journal:
        for recorded in journal.scan([ModelsListed, ModelSwapped, CanaryFinished, RoutesRanked]):
            match event := recorded.event:
                case ModelsListed(failure=""):
                    listed.update({(event.provider, model): True for model in event.listed})
                    listed.update({(event.provider, model): False for model in event.missing})
                    ends.update({(event.provider, model): end for model, end in (event.ends or {}).items()})
                    failures.pop(event.provider, None)
                case ModelsListed():
                    failures[event.provider] = event.failure
                case ModelSwapped():
                    served[event.route.provider, event.route.model] = event.served
                case RoutesRanked(category=""):
                    places.clear()
                    for place, each in enumerate(event.order, 1):
                        seen = (None if each.refused else place, each.reason)
                        places.setdefault((each.route.provider, each.route.model), seen)
                case CanaryFinished():
                    canaries[event.route.provider, event.route.model] = event
                case _:
                    pass
    return known


async def asked(config: Config, clock: Clock, known: Known) -> Known:
    """The same with what the vendors' lists say now. Emulated providers are started for it: SIMULATED."""
    async with AsyncExitStack() as stack:
        fleet = None
        if config.lab.emulate:
            models = {
                name: section.resolved(config.catalogue)
                for name, section in config.providers.enabled().items()
            }
            oracle = QuestionOracle(load_bundle(), PricePath(config.bot.seed))
            fleet = await stack.enter_async_context(EmulatorFleet(oracle, models=models, latency_scale=0.0))
        transport, catalogue = AiohttpTransport(), config.catalogue
        stack.push_async_callback(transport.close)
        try:
            providers = [
                PROVIDERS[each.name](each, transport, catalogue) for each in provider_configs(config, fleet)
            ]
        except ConfigError:  # no key, or a model without a price: the rows say so
            return known
        nothing = Purse(MemoryBooks([Cap(0)], clock), clock=clock)  # lists are free
        manager = ProviderManager(providers, clock=clock, catalogue=catalogue, purse=nothing)
        found = await manager.list_all_models(LIST_SECS)
    return _with_lists(config, known, found)


def _with_lists(
    config: Config, known: Known, found: Mapping[ProviderName, tuple[ModelInfo, ...] | ProviderError]
) -> Known:
    listed, ends, failures = dict(known.listed), dict(known.ends), dict(known.failures)
    for name, section in config.providers.enabled().items():
        answer = found.get(name)
        if isinstance(answer, ProviderError):
            failures[name] = str(answer.failure)
        elif answer is not None:
            failures.pop(name, None)
            for model in section.resolved(config.catalogue):
                entry = entry_of(answer, model)
                listed[name, model] = entry is not None
                if entry is not None and entry.retires_on:
                    ends[name, model] = entry.retires_on
    return Known(listed, ends, failures, known.served, known.canaries, known.places)


def table(config: Config, known: Known) -> list[ModelRow]:
    """A row for each configured model, in the order in which providers are asked."""
    catalogue = config.catalogue
    sections = sorted(config.providers.enabled().items(), key=lambda item: item[1].priority)
    rows = []
    for name, section in sections:
        old_names = {catalogue.resolve(old)[0]: notice for old, notice in section.notices(catalogue).items()}
        for model in section.resolved(catalogue):
            key = (name, model)
            price = _price(catalogue, name, model)
            tier = price.tier if price is not None else Tier.SMALL
            place, place_reason = known.places.get(key, (None, ""))
            rows.append(
                ModelRow(
                    provider=name,
                    model=model,
                    role=role_of(name, tier),
                    tier=tier,
                    price=price,
                    context=section.context_tokens or (price.context if price else None),
                    notice=old_names.get(model, ""),
                    listed=known.listed.get(key),
                    failure=known.failures.get(name, ""),
                    ends_on=end_of(known.ends.get(key), price.retires_on if price else None),
                    served=known.served.get(key, ""),
                    canary=known.canaries.get(key),
                    place=place,
                    place_reason=place_reason,
                )
            )
    return rows


def _price(catalogue: Catalogue, name: ProviderName, model: str) -> ModelPrice | None:
    """None for a model of one's own, which is free, and for one that nobody has a price for."""
    try:
        return None if name is ProviderName.LOCAL else catalogue.price(model)
    except ConfigError:
        return None
