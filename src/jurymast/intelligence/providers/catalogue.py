"""What models cost, how good they are taken to be, and what became of old names.

The table is ``prices.toml`` beside this file, dated. A model without a price is refused, never priced at
nothing: a bill that reads $0 stops no budget. Operators add or correct entries by handing in a mapping.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from typing import Any, Final

from jurymast.domain.errors import ConfigError
from jurymast.domain.money import Micros
from jurymast.domain.provider import ProviderName, Tier, Usage

PER_TOKENS: Final = 1_000_000
_DATED = re.compile(r"(.+?)-(?:\d{4}-\d{2}-\d{2}|\d{8}|\d{4})")


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """One model. Prices in micro-dollars per million tokens, ``context`` in tokens where known.

    ``cached_input`` is the price of input read from the vendor's cache, absent where unknown: cached
    tokens then count at the full price.
    """

    model: str
    provider: ProviderName
    tier: Tier
    input: Micros
    output: Micros
    cached_input: Micros | None = None
    context: int | None = None
    source: str = "operator"
    checked_on: date | None = None
    retires_on: date | None = None

    def cost(self, usage: Usage) -> Micros:
        """What a usage costs, rounded up to the micro-dollar."""
        cached_price = self.input if self.cached_input is None else self.cached_input
        cached = min(usage.cached_input, usage.input)
        total = (usage.input - cached) * self.input + cached * cached_price + usage.output * self.output
        return -(-total // PER_TOKENS)


@dataclass(frozen=True, slots=True)
class Alias:
    """A name from an older configuration and its successor, with the notice to show."""

    model: str
    note: str


class Catalogue:
    """Models by id. ``overrides`` come before the entries that ship."""

    def __init__(
        self,
        overrides: Mapping[str, ModelPrice] | None = None,
        *,
        shipped: Mapping[str, ModelPrice] | None = None,
        aliases: Mapping[str, Alias] | None = None,
    ) -> None:
        if shipped is None or aliases is None:
            shipped, aliases = _shipped()
        self._models = {**shipped, **(overrides or {})}
        self._aliases = aliases

    def price(self, model: str) -> ModelPrice:
        """The price of a model, by its id or a dated form of it. Raises ConfigError when not known.

        Old names are not priced: several still answer at prices of their own. ``resolve`` them first.
        """
        found = self._models.get(model)
        if found is None and (dated := _DATED.fullmatch(model)):
            found = self._models.get(dated.group(1))
        if found is None:
            raise ConfigError(
                f"no price is known for model {model!r}, so its cost can't be limited and it is not used; "
                + self._cure(model)
            )
        return found

    def context(self, model: str) -> int | None:
        """Tokens a model holds, prompt and answer together; None when not known."""
        try:
            return self.price(model).context
        except ConfigError:
            return None

    def tier(self, model: str) -> Tier:
        """How good a model is taken to be. Raises ConfigError for a model it does not know."""
        return self.price(model).tier

    def resolve(self, alias: str) -> tuple[str, str | None]:
        """The id to use for a name, and the notice to show when it is another one."""
        if alias in self._models or alias not in self._aliases:
            return alias, None
        entry = self._aliases[alias]
        return entry.model, f"{alias} {entry.note}; {entry.model} is used instead"

    def _cure(self, model: str) -> str:
        if model in self._aliases:
            entry = self._aliases[model]
            return f"it {entry.note}: use {entry.model}"
        return f"add its price to the configuration or use one of {', '.join(sorted(self._models))}"

    def models(self, provider: ProviderName) -> tuple[ModelPrice, ...]:
        """Everything known of one provider, in the order of the table."""
        return tuple(entry for entry in self._models.values() if entry.provider is provider)


@cache
def default_catalogue() -> Catalogue:
    """The catalogue as shipped, read once."""
    return Catalogue()


@cache
def _shipped() -> tuple[dict[str, ModelPrice], dict[str, Alias]]:
    import tomllib

    text = resources.files(__package__).joinpath("prices.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)
    models = {
        model: _entry(model, entry, table["sources"], table["checked_on"])
        for model, entry in table["models"].items()
    }
    return models, {name: Alias(**entry) for name, entry in table["aliases"].items()}


def _entry(model: str, entry: dict[str, Any], sources: dict[str, str], checked_on: date) -> ModelPrice:
    provider = ProviderName(entry.pop("provider"))
    return ModelPrice(
        model,
        provider,
        Tier(entry.pop("tier")),
        source=sources[provider],
        checked_on=checked_on,
        **entry,
    )
