"""Settings of providers, models and prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from jurymast.app.settings import REQUIRED, bounded, documented
from jurymast.domain.money import Micros, usd
from jurymast.domain.provider import ProviderConfig, ProviderName, Secret, Tier
from jurymast.intelligence.providers.catalogue import Catalogue, LongContext, ModelPrice, default_catalogue
from jurymast.policy.canary import DAY_SECS, CanarySettings

TOKENS_MAX = 100_000_000
USD_MAX = 10_000.0
"""For a million tokens."""


@dataclass(frozen=True, slots=True)
class InstanceSection:
    """One of several keys, regions or servers of a provider. What is empty is the provider's own."""

    base_url: str = documented("", doc="up to and with /v1; empty for the provider's")
    api_key: Secret = documented(
        Secret(), doc='{ env = "NAME" } or { file = "PATH" }; empty for the provider\'s'
    )
    weight: float = bounded(1.0, low=0.01, high=1_000.0, unit="", doc="share of the work")
    edge: str = documented("", doc="what it stands behind; empty for the provider's")


@dataclass(frozen=True, slots=True)
class ProviderSection:
    """One provider. Without a key, a provider that needs one is left out."""

    base_url: str = documented(REQUIRED, doc="up to and with /v1")
    models: tuple[str, ...] = documented(REQUIRED, doc="in order of preference; old names are replaced")
    priority: int = bounded(REQUIRED, low=0, high=1_000, unit="", doc="the smallest is asked first")
    enabled: bool = documented(True, doc="whether it may be asked")
    api_key: Secret = documented(Secret(), doc='{ env = "NAME" } or { file = "PATH" }, never the key itself')
    max_concurrent: int = bounded(8, low=1, high=1_000, unit="", doc="requests under way at once")
    context_tokens: int = bounded(
        0, low=0, high=100_000_000, unit="tokens", doc="its models hold; 0 leaves it to the price list"
    )
    stream: bool = documented(True, doc="stream answers, so that a stall is seen early")
    edge: str = documented("internet", doc="what it stands behind; providers of one edge may fail together")
    instances: dict[str, InstanceSection] = documented({}, doc="several keys, regions or servers, by name")

    def resolved(self, catalogue: Catalogue) -> tuple[str, ...]:
        """The ids to ask for: old names replaced, each once."""
        return tuple(dict.fromkeys(catalogue.resolve(model)[0] for model in self.models))

    def notices(self, catalogue: Catalogue) -> dict[str, str]:
        """What was replaced, by the old name, and why."""
        told = {model: catalogue.resolve(model)[1] for model in self.models}
        return {model: notice for model, notice in told.items() if notice is not None}

    def configs(self, name: ProviderName, catalogue: Catalogue) -> tuple[ProviderConfig, ...]:
        """The same as the provider layer wants it, one per instance."""
        return tuple(
            ProviderConfig(
                name=name,
                base_url=instance.base_url or self.base_url,
                models=self.resolved(catalogue),
                priority=self.priority,
                api_key=instance.api_key or self.api_key,
                max_concurrent=self.max_concurrent,
                context_tokens=self.context_tokens or None,
                stream=self.stream,
                instance=label,
                weight=instance.weight,
                edge=instance.edge or self.edge,
            )
            for label, instance in (self.instances or {"": InstanceSection()}).items()
        )


@dataclass(frozen=True, slots=True)
class ProvidersSection:
    """The four providers, in order of default priority. Model ids checked on 2026-11-23."""

    xai: ProviderSection = ProviderSection("https://api.x.ai/v1", ("grok-4.3",), 1)
    openai: ProviderSection = ProviderSection("https://api.openai.com/v1", ("gpt-6.1-terra",), 2)
    anthropic: ProviderSection = ProviderSection("https://api.anthropic.com/v1", ("claude-sonnet-5-5",), 3)
    local: ProviderSection = ProviderSection(
        "http://127.0.0.1:11434/v1", ("llama3.1:8b",), 4, edge="this machine"
    )

    def enabled(self) -> dict[ProviderName, ProviderSection]:
        sections = {name: getattr(self, name.value) for name in ProviderName}
        return {name: section for name, section in sections.items() if section.enabled}


@dataclass(frozen=True, slots=True)
class ModelsSection:
    """How models are watched. See docs/policies/models.md."""

    list_hours: float = bounded(
        24.0, low=0.0, high=720.0, unit="h", doc="between looks at the vendors' lists; 0 is at the start only"
    )
    canary_days: float = bounded(
        7.0, low=0.0, high=365.0, unit="d", doc="between the 20 questions that never change; 0 is never"
    )
    canary_shift_max: float = bounded(
        0.5, low=0.01, high=10.0, unit="", doc="mean move of their answers in log-odds, before it is a swap"
    )

    @property
    def canary(self) -> CanarySettings:
        every_secs = self.canary_days * DAY_SECS
        return CanarySettings(every_secs, min(DAY_SECS, every_secs), self.canary_shift_max)


@dataclass(frozen=True, slots=True)
class PriceSection:
    """What a model costs for a million tokens, before the table that ships. What is left out stays as it is
    there; a model that is new to it needs provider, tier, input and output. The ``long_*`` prices are for all
    tokens of a request whose prompt is longer than ``long_above_tokens``."""

    provider: ProviderName | None = documented(None, doc="xai, openai or anthropic")
    tier: Tier | None = documented(None, doc="strong, mid, or small, which can't open risk")
    input_usd: float | None = bounded(None, low=0.0, high=USD_MAX, unit="USD/M", doc="fresh input")
    output_usd: float | None = bounded(None, low=0.0, high=USD_MAX, unit="USD/M", doc="output")
    cached_usd: float | None = bounded(None, low=0.0, high=USD_MAX, unit="USD/M", doc="input from the cache")
    cache_write_usd: float | None = bounded(
        None, low=0.0, high=USD_MAX, unit="USD/M", doc="input written to the cache"
    )
    reasoning_usd: float | None = bounded(
        None, low=0.0, high=USD_MAX, unit="USD/M", doc="reasoning, where it is dearer than other output"
    )
    long_above_tokens: int | None = bounded(
        None, low=1, high=TOKENS_MAX, unit="tokens", doc="a longer prompt costs what follows, all of it"
    )
    long_input_usd: float | None = bounded(None, low=0.0, high=USD_MAX, unit="USD/M", doc="fresh input")
    long_output_usd: float | None = bounded(None, low=0.0, high=USD_MAX, unit="USD/M", doc="output")
    long_cached_usd: float | None = bounded(
        None, low=0.0, high=USD_MAX, unit="USD/M", doc="input from the cache"
    )
    long_cache_write_usd: float | None = bounded(
        None, low=0.0, high=USD_MAX, unit="USD/M", doc="input written to the cache"
    )
    context_tokens: int | None = bounded(
        None, low=1, high=TOKENS_MAX, unit="tokens", doc="it holds, prompt and answer together"
    )
    retires_on: str | None = documented(None, doc="its last day, as 2027-01-31")

    def applied(self, model: str) -> ModelPrice:
        """The price of ``model``. Raises ValueError for one that is not whole or out of order."""
        told = self._told(
            provider=self.provider,
            tier=self.tier,
            input=_micros(self.input_usd),
            output=_micros(self.output_usd),
            cached_input=_micros(self.cached_usd),
            cache_write=_micros(self.cache_write_usd),
            reasoning=_micros(self.reasoning_usd),
            context=self.context_tokens,
            retires_on=None if self.retires_on is None else date.fromisoformat(self.retires_on),
        )
        shipped = default_catalogue().entry(model)
        if shipped is None:
            if missing := [name for name in ("provider", "tier", "input", "output") if name not in told]:
                raise ValueError(
                    f"prices.{model} is new to the price table: it needs {', '.join(missing)} too"
                )
            price = ModelPrice(model, **told)
        else:
            price = replace(shipped, **_fitting(shipped, told), long=None, source="operator", checked_on=None)
        long = self._long(model, None if shipped is None else shipped.long)
        return price if long is None else replace(price, long=long.at_least(price))

    def _long(self, model: str, shipped: LongContext | None) -> LongContext | None:
        told = self._told(
            above=self.long_above_tokens,
            input=_micros(self.long_input_usd),
            output=_micros(self.long_output_usd),
            cached_input=_micros(self.long_cached_usd),
            cache_write=_micros(self.long_cache_write_usd),
        )
        if not told:
            return shipped
        if shipped is not None:
            return replace(shipped, **told)
        if missing := {"above", "input", "output"} - told.keys():
            needed = ", ".join(sorted(f"long_{name}" for name in missing))
            raise ValueError(f"prices.{model} has a long context: it needs {needed} as well")
        return LongContext(**told)

    @staticmethod
    def _told(**values: Any) -> dict[str, Any]:
        return {name: value for name, value in values.items() if value is not None}


def _fitting(shipped: ModelPrice, told: dict[str, Any]) -> dict[str, Any]:
    """What was told, and the shipped cache prices fitted to it where they were not: never below the bound."""
    fresh = told.get("input", shipped.input)
    if shipped.cached_input is not None:
        told.setdefault("cached_input", min(shipped.cached_input, fresh))
    if shipped.cache_write is not None:
        told.setdefault("cache_write", max(shipped.cache_write, fresh))
    return told


def _micros(dollars: float | None) -> Micros | None:
    return None if dollars is None else usd(str(dollars))


def catalogue_of(prices: Mapping[str, PriceSection]) -> Catalogue:
    """Models and prices, the operator's before those that ship. Raises ValueError for a bad price."""
    return Catalogue({model: section.applied(model) for model, section in prices.items()})
